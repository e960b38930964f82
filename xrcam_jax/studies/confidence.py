"""Does the network need what the saliency shows (Table 5.7)?

    xrcam evaluate confidence --data prepared --weights run/ --limit 40

For every method, layer and aggregate, the study measures how the score of the labelled class changes: the confidence
drop with the salient pixels replaced by the mean intensity, softly (eq. 5.3) and by the mask; the average drop and the
increase in confidence with all other pixels replaced, likewise; and the areas under the curves of deletion and
insertion, which take the pixels in order of saliency. A confidence drop is a share of the score, which says nothing
where the score is near zero: frames whose score is below --floor are left out of it, and the drop as a difference of
scores, of all frames, is beside it. A sheet shows a few frames with the map, its mask, and what
hiding them leaves of the frame (Figure 5.18).

Each map costs a forward pass for each figure, and 2 x (--steps + 1) more for the curves: with seven methods, seven
columns and ten steps these are 1,274 passes a picture. 48 frames of 96 x 96 take the demo's network about five minutes
on 2 cores. --steps 0 leaves the curves out.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.targets import Score
from xrcam_jax.errors import CommandError
from xrcam_jax.explain.functional import as_function
from xrcam_jax.figures.comparison import comparison
from xrcam_jax.figures.grid import scales
from xrcam_jax.figures.overlay import overlay
from xrcam_jax.figures.save import save
from xrcam_jax.figures.style import Style
from xrcam_jax.metrics import faithfulness
from xrcam_jax.metrics.faithfulness import Hidden, Kept
from xrcam_jax.metrics.overlap import salient
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.studies.batches import Arrays, Batch, denormalised, each_batch, rgb
from xrcam_jax.studies.compare import explained, frame_title, pictured, some_frames
from xrcam_jax.studies.folds import CrossValidated
from xrcam_jax.studies.layers import all_maps, columns, described, last_column
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.per_picture import accuracy, mean_figure, write_figures
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import Table, accuracy_table, scaled, write_contents
from xrcam_jax.titles import layer_title, method_title

NAME = "confidence"
TABLES: dict[str, tuple[str, Literal["max", "min"]]] = {
    "drop": ("Confidence drop, salient pixels replaced softly (eq. 5.3)", "max"),
    "absolute_drop": ("The same as a difference of scores, of all frames", "max"),
    "drop_mask": ("Confidence drop, salient pixels replaced by the mask", "max"),
    "absolute_drop_mask": ("The same as a difference of scores, of all frames", "max"),
    "average_drop": ("Average drop, all but the salient pixels replaced softly", "min"),
    "average_drop_mask": ("Average drop, all but the salient pixels replaced by the mask", "min"),
    "increase": ("Increase in confidence, all but the salient pixels replaced softly", "max"),
    "increase_mask": ("Increase in confidence, all but the salient pixels replaced by the mask", "max"),
    "deletion": ("Area under the score as salient pixels are deleted first", "min"),
    "insertion": ("Area under the score as salient pixels are inserted first", "max"),
}
#: Figures that are shares of the score, and without a limit where it is near zero.
SHARES = ("drop", "drop_mask")
#: What the figures say, for clinicians.
READ = (
    "A large drop says that the network needs what the map shows for its score. It does not say that this is a tumour, "
    "and a frame with hidden pixels looks like none that the network was trained on."
)
SHOWN = 2


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    if options.steps < 0:
        raise CommandError(f"--steps: {options.steps} is less than 0")
    if not 0 <= options.floor < float("inf"):
        raise CommandError(f"--floor: expected a score of 0 or more, got {options.floor}")
    chosen = {name: getattr(options, name) for name in ("score", "steps", "floor", "aggregate")}
    with open_study(NAME, options, **chosen) as study:
        found = {network.label: each_batch(study, network, partial(figures, study)) for network in study.networks}
        first_alone(lambda: write(study, found))
    return 0


def figures(study: Study, network: Network) -> Callable[[Batch], Mapping[str, Array]]:
    """Returns a function that measures a batch: logits, and each figure by ``FIGURE/METHOD/COLUMN``."""
    explain = xr.Explainer(network.model, study.methods, study.layers)
    function, parameters = as_function(network.model)
    score, steps, how = (study.settings[name] for name in ("score", "steps", "aggregate"))

    def compute(batch: Batch) -> Mapping[str, Array]:
        e = explain(batch.images, targets=batch.labels)
        places, maps = zip(*all_maps(e, how).items(), strict=True)
        case = Case(function, parameters, jnp.asarray(batch.images), jnp.asarray(batch.labels)[:, None])
        found = measured(case, jnp.stack(maps), score=score, steps=steps)
        return {
            "logits": e.logits,
            **{f"{figure}/{place}": values[i] for figure, values in found.items() for i, place in enumerate(places)},
        }

    return compute


def measured(case: Case, maps: Float[Array, "m b h w"], *, score: Score, steps: int) -> dict[str, Float[Array, "m b"]]:
    """Returns all figures of m maps of each picture, by their names; the curves' with ``steps`` above 0."""
    intact = faithfulness.intact_scores(case, score=score)
    found = {"score": jnp.broadcast_to(intact, maps.shape[:2])}
    for suffix, shown in (("", maps), ("_mask", salient(maps).astype(maps.dtype))):
        hidden, kept = (faithfulness.scores_when(change, case, shown, score=score) for change in (Hidden(), Kept()))
        found[f"drop{suffix}"] = faithfulness.confidence_drop(intact, hidden)
        found[f"absolute_drop{suffix}"] = intact - hidden
        found[f"average_drop{suffix}"] = faithfulness.average_drop(intact, kept)
        found[f"increase{suffix}"] = faithfulness.increase(intact, kept)
    orders: tuple[Literal["deletion", "insertion"], ...] = ("deletion", "insertion") if steps else ()
    for order in orders:
        scores = faithfulness.ordered_scores(case, maps, order, steps=steps, score=score)
        found[order] = faithfulness.area_under(scores)
    return found


def write(study: Study, found: Mapping[str, Arrays]) -> None:
    """Writes the figures of each picture, and the tables."""
    write_figures(study, found)
    everything = np.ones(len(study.frames), bool)
    scored = {label: _scores(arrays) >= study.settings["floor"] for label, arrays in found.items()}
    names = columns(study.layers)

    def cell(figure: str, method: str, label: str, column: str) -> Estimate:
        name = f"{figure}/{method}/{column}"
        if name not in found[label]:
            return Estimate(float("nan"))
        return scaled(mean_figure(study, found[label], name, scored[label] if figure in SHARES else everything))

    rows = list(product(study.methods, found))
    tables = []
    for figure, (title, best) in TABLES.items():
        if any(name.startswith(f"{figure}/") for arrays in found.values() for name in arrays):
            cells = {row: [cell(figure, *row, column) for column in names] for row in rows}
            tables.append(Table(figure, title, cells, names, ("method", "network"), best))
    right = {label: accuracy(study, arrays) for label, arrays in found.items()}
    tables.append(accuracy_table(right))
    left_out = ", ".join(f"{label} {int((~each).sum())}" for label, each in scored.items())
    said = ", ".join(f"{label} {100 * figure.value:.1f} %" for label, figure in right.items())
    write_contents(
        study.folder,
        title="Confidence with the salient pixels hidden or alone",
        text=f"{len(study.frames)} frames of {study.settings['data']['patients']} patients, the labelled class's "
        f"{study.settings['score']}. Right: {said}. A pixel that is taken away gets the mean intensity of the "
        f"training data. Confidence drops are of frames whose score is {study.settings['floor']:g} or more; below it "
        f"and left out of them: {left_out}. {described(study.settings['aggregate'])} {READ}",
        order=3,
        tables=tables,
        pictures=[_sheet(study, network) for network in study.networks],
    )


def _scores(arrays: Arrays) -> Float[np.ndarray, " n"]:
    """Returns the score of each frame as it is, which is the same whatever map it stands beside."""
    return next(values for name, values in arrays.items() if name.startswith("score/"))


def _sheet(study: Study, network: Network | CrossValidated) -> tuple[str, str]:
    """Saves a sheet of what hiding a map does to a few frames (Figure 5.18); returns its file and caption."""
    method = pictured(study.methods)
    explain = explained(study, network, study.methods, study.layers)
    rows, names = [], []
    for place in some_frames(study, SHOWN):
        batch, e = explain(place)
        maps = all_maps(e, study.settings["aggregate"])
        config = network.judge(study.frames[place].patient).model.preprocessing
        column = last_column(study.layers, method, maps)
        saliency = np.asarray(maps[f"{method}/{column}"])
        mask = np.asarray(salient(saliency))
        left = [with_hidden(batch.images, each, config)[0] for each in (saliency, mask)]
        picture = rgb(batch.pictures[0])
        rows.append([picture, overlay(picture, saliency[0]), rgb(mask[0]), *map(rgb, left)])
        names.append(frame_title(study.frames[place]))
    file, heads = f"hidden_{network.label}.jpg", ["frame", "map", "mask of the map", "map hidden", "mask hidden"]
    save(comparison(rows, columns=heads, row_labels=names, scales=scales(Style())), study.folder / file)
    return file, (
        f"{network.label}: {method_title(method)} at {layer_title(column)}, its mask (eq. 5.1), and "
        "the frame with either hidden, I (1 - M) + μ M (eq. 5.3)"
    )


def with_hidden(
    images: Float[np.ndarray, "b h w c"],
    maps: Float[np.ndarray, "b h w"] | Bool[np.ndarray, "b h w"],
    config: Preprocessing,
) -> UInt8[np.ndarray, "b h w"]:
    """Returns normalised pictures as they are looked at, with what a map of each shows hidden as in the experiment."""
    shares = jnp.asarray(maps, images.dtype)[None]
    return denormalised(np.asarray(Hidden()(jnp.asarray(images), jnp.array(0), shares)), config)
