"""Do the maps of two classes of one picture differ, or do they show the same (section 1.1 of the thesis)?

    xrcam evaluate classes --data prepared --weights run/ --limit 40

A network whose maps of two tumours are nearly the same points at no feature that tells them apart. For every method,
layer and aggregate, the study correlates the maps of both classes of each frame, or of the two likeliest of more: by
Pearson's correlation and by Spearman's, of the maps as they are shown (in 256 levels for the ranks) and of the signed
sums at the layer before ReLU and scaling. It warns where the mean correlation of the maps is above --warn. A constant
map, such as an empty one of a class that all evidence is against, has no correlation; such frames are counted.

A high correlation of some methods only is due to them. Where relevance is shared out by positive contributions
alone, as relevance CAMs do it, it converges on its way down whatever class it started from (Sixt et al., ICML 2020),
so that maps of low layers come out alike. Their seed of 1 at the class and -1/2 at the other does not help there: of
the relevance A and B of either class it makes A - B/2 and B - A/2, which are alike where A and B are. A low
correlation proves nothing. Training with two classes drives their logits apart, which makes gradients of the two
nearly opposite whatever the network looks at, and of a network with one output they are opposite by construction.

Each frame costs one forward pass and four backward passes, and the ranks of all maps: 24 frames of 96 x 96 take the
demo's network a minute on 2 cores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.figures.comparison import comparison
from xrcam_jax.figures.grid import scales
from xrcam_jax.figures.overlay import outlined, overlay
from xrcam_jax.figures.save import save
from xrcam_jax.figures.style import Style
from xrcam_jax.metrics.correlation import pearson, spearman
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.studies.batches import Arrays, Batch, each_batch, rgb
from xrcam_jax.studies.compare import explained, frame_title, some_frames
from xrcam_jax.studies.folds import CrossValidated
from xrcam_jax.studies.layers import all_maps, columns
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.per_picture import mean_figure, write_figures
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import Table, scaled, write_contents
from xrcam_jax.titles import method_title

NAME = "classes"
TITLES = {
    "pearson": "Mean correlation of the maps of the two classes",
    "spearman": "Mean rank correlation of the maps of the two classes",
    "signed_pearson": "Mean correlation of the signed sums, before ReLU and scaling",
    "signed_spearman": "Mean rank correlation of the signed sums, before ReLU and scaling",
}
#: What the figures say, for clinicians.
READ = (
    "Where the correlation is near 1, the map of one class is that of the other: it shows where the network looks, "
    "but nothing that tells the two classes apart, and must not be read as evidence for either. Where this is so of "
    "all methods, the network itself may not tell the classes apart; where it is so of some, these methods do not "
    "depend on the class at that layer. A low correlation says only that the maps differ, not that the network is "
    "right. A method without a correlation (–) has an empty map of one class in every frame: nothing speaks for it."
)
SHOWN = 2


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    if not 0 <= options.warn <= 1:
        raise CommandError(f"--warn: {options.warn} is not between 0 and 1")
    with open_study(NAME, options, target="the two likeliest classes") as study:
        found = {n.label: each_batch(study, n, partial(figures, study)) for n in study.networks}
        first_alone(lambda: write(study, found, options.warn))
    return 0


def figures(study: Study, network: Network) -> Callable[[Batch], Mapping[str, Array]]:
    """Returns a function that measures a batch: logits, and each correlation by ``FIGURE/METHOD/COLUMN``."""
    explain = xr.Explainer(network.model, study.methods, study.layers)

    def compute(batch: Batch) -> Mapping[str, Array]:
        e = explain(batch.images, top_k=2)
        return {"logits": e.logits, **correlations(e)}

    return compute


@jax.jit
def correlations(e: Explanation) -> dict[str, Float[Array, " b"]]:
    """Returns how alike the maps of two targets are, of the maps and of the signed sums, by ``FIGURE/METHOD/COLUMN``.

    Args:
      e: the explanation of two targets for each picture.
    """
    first, second = (maps_of(e, target) for target in (0, 1))
    pairs = jnp.stack(list(first.values())), jnp.stack(list(second.values()))

    def alike_in(pair: tuple[Array, Array]) -> dict[str, Array]:
        # Ranks are of the levels that a screen shows: where a map is flat, rounding would put its places in any order.
        levels = [jnp.rint(255 * maps) for maps in pair]
        return {"pearson": pearson(*pair), "spearman": spearman(*levels)}

    # One after the other, since the ranks of all maps at once would need many times their memory.
    alike = jax.lax.map(alike_in, pairs)
    found = {f"{figure}/{place}": r[i] for figure, r in alike.items() for i, place in enumerate(first)}
    for method, raws in e.raw.items():
        for layer, raw in raws.items():
            found[f"signed_pearson/{method}/{layer}"] = pearson(raw[:, 0], raw[:, 1])
            found[f"signed_spearman/{method}/{layer}"] = spearman(raw[:, 0], raw[:, 1])
    return found


def maps_of(e: Explanation, target: int) -> dict[str, Float[Array, "b h w"]]:
    """Returns the maps of one of several targets by ``METHOD/COLUMN``."""
    maps, raw = jax.tree.map(lambda values: values[:, target], (e.maps, e.raw))
    return all_maps(replace(e, maps=maps, raw=raw))


def write(study: Study, found: Mapping[str, Arrays], warn: float) -> None:
    """Writes the figures of each picture, tables and sheets; warns of maps whose mean correlation is above ``warn``."""
    write_figures(study, found)
    everything, names = np.ones(len(study.frames), bool), columns(study.layers)
    counted = {label: arrays | _counts(arrays, warn) for label, arrays in found.items()}
    rows = list(product(study.methods, found))

    def cells(figure: str, factor: float) -> dict[tuple[str, str], list[Estimate]]:
        """Returns the means of a figure; NaN where a method has no such map, or no map has a correlation."""
        return {
            (method, label): [
                scaled(mean_figure(study, counted[label], name, everything), factor)
                if name in counted[label]
                else Estimate(float("nan"))
                for name in (f"{figure}/{method}/{column}" for column in names)
            ]
            for method, label in rows
        }

    labels = ("method", "network")
    means = {figure: cells(figure, 1) for figure in TITLES}
    shares = {
        "above": f"Share of the frames whose maps of the two classes correlate by more than {warn:g}",
        "constant": "Share of the frames without a correlation, since the map of a class is constant",
    }
    tables = [
        Table(figure, TITLES[figure], each, names, labels, best=None, unit="", decimals=3)
        for figure, each in means.items()
    ]
    tables[1:1] = [Table(name, title, cells(name, 100), names, labels, best=None) for name, title in shares.items()]
    write_contents(
        study.folder,
        title="The maps of two classes of one picture",
        text=f"{len(study.frames)} frames of {study.settings['data']['patients']} patients; the maps of "
        f"{_which(study)} are compared. {READ}{warning(means['pearson'], names, warn)}",
        order=4,
        tables=tables,
        pictures=[_sheet(study, network) for network in study.networks],
    )


def _counts(arrays: Arrays, warn: float) -> Arrays:
    """Returns whether each correlation is above ``warn``, NaN where there is none, and whether there is none."""
    counts = {}
    for name, r in arrays.items():
        figure, _, place = name.partition("/")
        if figure == "pearson":
            counts[f"above/{place}"] = np.where(np.isnan(r), np.nan, r > warn)
            counts[f"constant/{place}"] = np.isnan(r)
    return counts


def _which(study: Study) -> str:
    classes = study.prepared.classes
    if len(classes) == 2:
        return f"both classes, {classes[0]} and {classes[1]},"
    return f"the two likeliest of {len(classes)} classes"


def warning(means: Mapping[tuple[str, str], Sequence[Estimate]], names: Sequence[str], warn: float) -> str:
    """Returns a line that names the maps whose mean correlation is above ``warn``; nothing if there are none.

    Args:
      means: by method and network, the mean correlation of each column.
      names: of the columns.
      warn: the threshold.
    """
    alike = []
    for (method, label), estimates in means.items():
        high = [f"{c} ({r.value:.2f})" for c, r in zip(names, estimates, strict=True) if r.value > warn]
        if high:
            alike.append(f"{method} of {label} at {', '.join(high)}")
    if not alike:
        return ""
    return (
        "\n\nWarning: the maps of the two classes are nearly the same: they do not tell the classes apart. Their mean "
        f"correlation is above {warn:g} for {'; '.join(alike)}."
    )


def _sheet(study: Study, network: Network | CrossValidated) -> tuple[str, str]:
    """Saves a sheet of a few frames, the maps of their two classes below each other; returns its file and caption."""
    explain = explained(study, network, study.methods, study.layers, top_k=2)
    classes, last = study.prepared.classes, columns(study.layers)[-1]
    rows, names = [], []
    for place in some_frames(study, SHOWN):
        batch, e = explain(place)
        picture = rgb(batch.pictures[0])
        frame = outlined(picture, batch.masks[0])
        for target in (0, 1):
            maps = maps_of(e, target)
            shown = [np.asarray(maps[f"{m}/{last}"][0]) for m in study.methods if f"{m}/{last}" in maps]
            rows.append([frame, *(overlay(picture, each) for each in shown)])
            names.append(f"{classes[int(e.targets[0, target])]}, {frame_title(study.frames[place])}")
    heads = [m for m in study.methods if f"{m}/{last}" in maps_of(e, 0)]
    file = f"classes_{network.label}.jpg"
    figure = comparison(rows, columns=["frame", *map(method_title, heads)], row_labels=names, scales=scales(Style()))
    save(figure, study.folder / file)
    return file, f"{network.label}: maps at {last} of the two classes of each frame, the likelier one first"
