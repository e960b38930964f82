"""At which scale did a network with Selective Kernels look (section 5.1.2 of the thesis)?

    xrcam evaluate scales --data prepared --weights skresnext/ --part all

Each unit weighs the output of a 3x3 kernel against that of a dilated one, which reaches as far as 5x5, by attention
that depends on the picture. For each unit the study gives the mean attention of each path over its channels, and the
share of the unit's output that comes from each, by the class of the frames; channels that are silent count for the
former only. The sheets show for a few frames where the output came from the dilated path: at each place, its share
sum_k a_2k x_2k / sum_p sum_k a_pk x_pk over the channels k, for outputs x of the paths p and attention a, as the mean
over the units of a stage. That is what the network computes, whatever class is explained; no relevance comes in.

It costs one forward pass for each frame.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import xrcam_jax as xr
from xrcam_jax.arguments.checks import check_at_least_one
from xrcam_jax.arguments.parser import Options
from xrcam_jax.cam.saliency import upsample
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.functional import as_function
from xrcam_jax.figures.comparison import comparison
from xrcam_jax.figures.grid import Scale
from xrcam_jax.figures.overlay import outlined, overlay
from xrcam_jax.figures.save import save
from xrcam_jax.figures.style import VARIATION, Style, table
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.models.selective_kernel import DILATIONS, passed, path_shares, selective_units
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.studies.batches import Arrays, Batch, each_batch, laid, read_batch, rgb
from xrcam_jax.studies.compare import frame_title, some_frames
from xrcam_jax.studies.folds import CrossValidated
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.per_picture import mean_figure, write_figures
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import Table, scaled, write_contents
from xrcam_jax.titles import layer_title

NAME = "scales"
_STYLE = Style(colormap=VARIATION, look="heat", alpha=0.5)
PATHS = ("3x3", "dilated")
TITLES = {
    "attention": "Mean attention of each path over the channels",
    "output": "Share of the unit's output that comes from each path",
}
#: What the figures say, for clinicians.
READ = (
    "In each unit the network weighs a fine look (3x3) against a coarser one (dilated): above 50 % for the dilated "
    "path, larger structures counted for more. This says at which scale the network looked, not what it saw there, nor "
    "whether that is the right scale for a tumour."
)

Images = Float[Array | np.ndarray, "b h w c"]
#: Arrays by name, and the maps of each stage by its name.
Measured = tuple[dict[str, Array], dict[str, Float[Array, "b h w"]]]


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    check_at_least_one("--shown", options.shown)
    # The study is about no maps.
    options.methods, options.layers = None, ()
    with open_study(NAME, options, target=None) as study:
        for judge in (_a_judge(study, network) for network in study.networks):
            if not selective_units(judge.model):
                raise CommandError(
                    f"--weights: {judge.weights} is of {judge.label}, which has no Selective Kernel; expected a "
                    "network such as skresnext50_32x4d"
                )
        measure_by = cache(measure)
        found = {n.label: each_batch(study, n, lambda judge: figures(measure_by(judge))) for n in study.networks}
        first_alone(lambda: write(study, found, measure_by, options.shown))
    return 0


def _a_judge(study: Study, network: Network | CrossValidated) -> Network:
    """Returns a network that judges some frames; those of all folds have the same units."""
    return network.judge(study.frames[0].patient)


def figures(run: Callable[[Images], Measured]) -> Callable[[Batch], Mapping[str, Array]]:
    """Returns a function that measures a batch: logits, and each figure by ``FIGURE/UNIT/PATH``."""
    return lambda batch: run(batch.images)[0]


def measure(network: Network) -> Callable[[Images], Measured]:
    """Returns a function of images, compiled once, that finds how much each path of each unit counts for.

    Its arrays are the logits, and each figure by ``FIGURE/UNIT/PATH``. Its maps are of the dilated path's share.
    """
    function, parameters = as_function(network.model)
    units = selective_units(network.model)
    wanted = [f"{unit}/{part}" for unit in units for part in ("paths/0", "paths/1", "attn")]

    @jax.jit
    def run(images: Array, parameters) -> Measured:
        # What is propagated backwards is not used, so that XLA leaves it out.
        taps = xr.taps(function, xr.composites.gradient(), images, parameters, seed=jnp.zeros_like, marks=wanted)
        found, shares = {"logits": taps.output}, {}
        for unit in units:
            signal = jnp.stack([taps.activations[f"{unit}/paths/{i}"] for i in range(len(DILATIONS))], axis=-2)
            gate = taps.activations[f"{unit}/attn"]
            amounts = passed(signal, gate)
            attention, output = gate.mean(axis=(1, 2, 4)), path_shares(amounts.sum(axis=(1, 2)))
            for i, path in enumerate(PATHS):
                found[f"attention/{_label(unit)}/{path}"] = attention[:, i]
                found[f"output/{_label(unit)}/{path}"] = output[:, i]
            shares[unit] = path_shares(amounts)[..., 1]
        return found, stage_maps(shares, (images.shape[1], images.shape[2]))

    return lambda images: run(images, parameters)


def stage_maps(
    shares: Mapping[str, Float[Array, "b _p _q"]], size: tuple[int, int]
) -> dict[str, Float[Array, "b h w"]]:
    """Returns the mean over the units of each stage of their maps, at the pictures' size.

    Args:
      shares: by unit, whose name begins with that of its stage.
      size: height and width of the pictures.
    """
    stages: dict[str, list[Array]] = {}
    for unit, share in shares.items():
        stages.setdefault(unit.partition("/")[0], []).append(upsample(share, size))
    return {stage: jnp.mean(jnp.stack(maps), axis=0) for stage, maps in stages.items()}


def _label(unit: str) -> str:
    return unit.replace("/", ".")


def write(
    study: Study, found: Mapping[str, Arrays], measure_by: Callable[[Network], Callable[[Images], Measured]], shown: int
) -> None:
    """Writes the figures of each picture, tables, and sheets with ``shown`` frames of each class."""
    write_figures(study, found, ("unit", "path"))
    classes = study.prepared.classes
    chosen = [study.labels == number for number in range(len(classes))] + [np.ones(len(study.frames), bool)]

    def cells(name: str, label: str) -> list[Estimate]:
        return [scaled(mean_figure(study, found[label], name, some)) for some in chosen]

    rows = [
        (_label(unit), path, network.label)
        for network in study.networks
        for unit, path in product(selective_units(_a_judge(study, network).model), PATHS)
    ]
    write_contents(
        study.folder,
        title="Which scale Selective Kernel chose",
        text=f"{len(study.frames)} frames of {study.settings['data']['patients']} patients. {READ}",
        order=6,
        tables=[
            Table(
                figure,
                title,
                {(unit, path, label): cells(f"{figure}/{unit}/{path}", label) for unit, path, label in rows},
                [*classes, "all frames"],
                ("unit", "path", "network"),
                best=None,
            )
            for figure, title in TITLES.items()
        ],
        pictures=[_sheet(study, network, measure_by, shown) for network in study.networks],
    )


def _sheet(
    study: Study,
    network: Network | CrossValidated,
    measure_by: Callable[[Network], Callable[[Images], Measured]],
    shown: int,
) -> tuple[str, str]:
    """Saves a sheet with frames as rows and stages as columns; returns its file and caption."""
    frames = []
    for place in some_frames(study, shown):
        judge = network.judge(study.frames[place].patient)
        batch = read_batch(study, judge, [place])
        found = measure_by(judge)(laid(study, batch).images)[1]
        maps = {stage: np.asarray(each[0]) for stage, each in found.items()}
        picture = rgb(batch.pictures[0])
        frames.append((frame_title(study.frames[place]), picture, outlined(picture, batch.masks[0]), maps))
    # Shares lie close together, so that each stage has a scale of its own, the same for all its frames.
    ends = {stage: _ends([maps[stage] for *_, maps in frames]) for stage in frames[0][3]}
    rows = [
        [marked, *(overlay(picture, _between(maps[stage], *ends[stage]), _STYLE) for stage in maps)]
        for _, picture, marked, maps in frames
    ]
    heads = [f"{layer_title(stage)}: {100 * low:.0f}-{100 * high:.0f} %" for stage, (low, high) in ends.items()]
    file = f"scales_{network.label}.jpg"
    labels = [label for label, *_ in frames]
    scale = Scale("least", table(_STYLE.colormap), "most of the stage")
    save(comparison(rows, columns=["frame", *heads], row_labels=labels, scales=[scale]), study.folder / file)
    return file, (
        f"{network.label}: where the output of each stage came from the dilated path, as its share, from the least to "
        "the most of the frames shown"
    )


def _ends(maps: Sequence[np.ndarray]) -> tuple[float, float]:
    return min(float(each.min()) for each in maps), max(float(each.max()) for each in maps)


def _between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns values as shares of the way from ``low`` to ``high``."""
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)
