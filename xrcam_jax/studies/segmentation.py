"""Does the saliency cover what a person outlined, without having been taught to (Tables 5.1 to 5.4)?

    xrcam evaluate segmentation --data prepared --annotations annotations.json --weights run/ --part all

For every method, layer and aggregate, the study measures the pooled IoU of the pixels above mean + standard deviation
(eq. 5.1) with the outlines, over the annotated frames that are classified correctly; the labelled class is explained.
Precision, recall and false-positive rate of the same pixels, pooled likewise, say whether a map fails by pointing
elsewhere or by pointing at too little. The study also gives the mean IoU, Dice, eq. 2.22, box IoU and the pointing
game. A disc in the middle, as large as what is outlined, is the baseline that never looks. Give the weights of several
networks to compare them.

Seven methods at four layers cost one forward and two backward passes: 0.4 s for a frame of 224 x 224 with ResNet50 on
2 cores, and half a minute of compilation.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Num

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.cam.saliency import Aggregation
from xrcam_jax.figures.curves import lines
from xrcam_jax.figures.save import save
from xrcam_jax.metrics import localisation, overlap
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.devices import first_alone
from xrcam_jax.runtime.files import write_rows
from xrcam_jax.studies.batches import Arrays, Batch, each_batch
from xrcam_jax.studies.layers import all_maps, columns, described
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.per_picture import (
    Ratio,
    counted,
    iou_p_value,
    mean_figure,
    pooled_iou,
    pooled_ratio,
    write_figures,
)
from xrcam_jax.studies.study import Study, open_study
from xrcam_jax.studies.tables import Table, mean_of, scaled, write_contents
from xrcam_jax.titles import layer_title, method_title

NAME = "segmentation"
DISC = "(centred disc)"
#: Figures that are pooled as the IoU is: the title of each, and whether more or less of it is better.
POOLED: dict[Ratio, tuple[str, Literal["max", "min"]]] = {
    "precision": ("Pooled precision: the share of the salient pixels that is outlined", "max"),
    "recall": ("Pooled recall: the share of the outlined pixels that is salient", "max"),
    "false_positive_rate": ("Pooled false-positive rate: the share of what is not outlined that is salient", "min"),
}
#: What these say, for clinicians.
READ = (
    "Precision says how much of what a map points at was outlined, recall how much of what was outlined the map points "
    "at, and the false-positive rate how much of what lies outside the outlines the map points at in error. A map that "
    "points at little has few false positives and misses much, so that these are read together; none of them says that "
    "the network is right."
)
MEANS = {
    "iou": "Mean of the IoU of each picture",
    "dice": "Mean Dice",
    "iou_eq_2_22": "Mean of eq. 2.22, half of Dice",
    "box_iou": "IoU of the box around the largest salient part with the best annotated box",
    "pointing": "Pointing game: the map's maximum is in an outline",
}


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    with open_study(NAME, options, annotated=True, aggregate=options.aggregate) as study:
        found = overlaps(study, options.aggregate)
        first_alone(lambda: write(study, found))
    return 0


def overlaps(study: Study, how: Aggregation = "mean") -> dict[str, Arrays]:
    """Returns by network what :func:`figures` finds of all frames."""

    def measuring(judge: Network) -> Callable[[Batch], Mapping[str, Array]]:
        return figures(judge.model, study.methods, study.layers, how)

    return {network.label: each_batch(study, network, measuring) for network in study.networks}


def figures(
    model: Callable[..., Any], methods: Sequence[str], layers: Sequence[str], how: Aggregation = "mean"
) -> Callable[[Batch], Mapping[str, Array]]:
    """Returns a function that measures a batch: logits, and each figure by ``FIGURE/METHOD/COLUMN``."""
    explain = xr.Explainer(model, methods, layers)

    def compute(batch: Batch) -> Mapping[str, Array]:
        e = explain(batch.images, targets=batch.labels)
        maps = all_maps(e, how)
        found = by_place(measured(maps, batch.masks)) | by_place(boxed(maps, batch.boxes))
        return {"logits": e.logits, **found, **baseline(maps, batch.masks)}

    return compute


@jax.jit
def measured(
    maps: Mapping[str, Float[Array, "b h w"]], masks: Bool[Array, "b h w"]
) -> dict[str, dict[str, Num[Array, " b"]]]:
    """Returns all figures but those of boxes, by the maps' names."""
    return {
        place: {
            **_overlaps(overlap.salient(each), masks),
            "pointing": localisation.points_at(each, masks).astype(jnp.float32),
        }
        for place, each in maps.items()
    }


def boxed(
    maps: Mapping[str, Float[Array, "b h w"]], boxes: Int[Array | np.ndarray, "b n 4"]
) -> dict[str, dict[str, Float[Array, " b"]]]:
    """Returns the figures of boxes, by the maps' names."""
    found = localisation.localised(_salient(list(maps.values())), boxes)
    return {place: {"box_iou": values} for place, values in zip(maps, found, strict=True)}


@jax.jit
def _salient(maps: Sequence[Float[Array, "b h w"]]) -> Bool[Array, "p b h w"]:
    return jnp.stack([overlap.salient(each) for each in maps])


def _overlaps(found: Array, masks: Array) -> dict[str, Array]:
    counts = overlap.overlap(found, masks)
    pixels = math.prod(masks.shape[-2:])
    return {
        **counts._asdict(),
        "pixels": jnp.full_like(counts.truth, pixels),
        "iou": overlap.iou(counts),
        "dice": overlap.dice(counts),
        "iou_eq_2_22": overlap.iou_eq_2_22(counts),
        "precision": overlap.precision(counts),
        "recall": overlap.recall(counts),
        "false_positive_rate": overlap.false_positive_rate(counts, pixels),
    }


def by_place(figures: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """Returns ``{PLACE: {FIGURE: x}}`` as ``{FIGURE/PLACE: x}``."""
    return {f"{figure}/{place}": x for place, by_figure in figures.items() for figure, x in by_figure.items()}


def counts_by_place(figures: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """Returns the numbers of pixels that a pooled IoU is made of, by ``FIGURE/PLACE``."""
    return by_place(
        {place: {name: each[name] for name in ("both", "found", "truth")} for place, each in figures.items()}
    )


def baseline(maps: Mapping[str, Array], masks: Bool[ArrayLike, "b h w"]) -> dict[str, Array]:
    """Returns the overlaps of a disc in the middle of each picture, as large as its outlines, for every column."""
    found = _overlaps(overlap.centred_discs(np.asarray(masks)), jnp.asarray(masks))
    places = dict.fromkeys(f"{DISC}/{place.partition('/')[2]}" for place in maps)
    return by_place(dict.fromkeys(places, found))


def write(study: Study, found: Mapping[str, Arrays]) -> None:
    """Writes the figures of each picture, tables, tests and plots."""
    write_figures(study, found)
    chosen = {label: counted(study, arrays) for label, arrays in found.items()}
    _write_tests(study, found, chosen)
    tables = _tables(study, found, chosen)
    counts = ", ".join(f"{label} {int(mask.sum())}" for label, mask in chosen.items())
    write_contents(
        study.folder,
        title="Segmentation by saliency",
        text=f"{len(study.frames)} annotated frames of {study.settings['data']['patients']} patients; those that are "
        f"classified correctly count: {counts}. Intervals are bootstrapped over {_unit(study)}. "
        f"{DISC} never looks at the picture: a method that is not above it has found nothing. "
        f"{described(study.settings['aggregate'])} {READ}",
        order=1,
        tables=tables,
        pictures=_plots(study, tables[0], tables[1]),
    )


def _tables(study: Study, found: Mapping[str, Arrays], chosen: Mapping[str, np.ndarray]) -> list[Table]:
    """Returns the pooled IoU of layers and of aggregates, other pooled figures, then the means of all others."""
    rows = list(product([*study.methods, DISC], found))
    names, layers, labels = columns(study.layers), study.layers, ("method", "network")

    def cells(measure: Callable[[Arrays, str, np.ndarray], Estimate], needs: str) -> dict[Any, list[Estimate]]:
        """Returns rows of a figure, which is made of what ``needs`` names; NaN where a method has no such map."""
        return {
            (method, label): [
                scaled(measure(found[label], place, chosen[label]))
                if f"{needs}/{place}" in found[label]
                else Estimate(float("nan"))
                for place in (f"{method}/{column}" for column in names)
            ]
            for method, label in rows
        }

    def pooled(ratio: Ratio) -> dict[Any, list[Estimate]]:
        return cells(lambda arrays, place, right: pooled_ratio(study, arrays, ratio, place, right), "both")

    def means(figure: str) -> dict[Any, list[Estimate]]:
        return cells(lambda arrays, place, right: mean_figure(study, arrays, f"{figure}/{place}", right), figure)

    iou = pooled("iou")
    per_layer = {row: [*each[: len(layers)], mean_of(each[: len(layers)])] for row, each in iou.items()}
    together = {row: each[len(layers) - 1 :] for row, each in iou.items()}
    return [
        Table("per_layer", "Pooled IoU of each layer's maps", per_layer, [*layers, "average"], labels),
        Table("aggregated", "Pooled IoU of aggregated maps", together, names[len(layers) - 1 :], labels),
        *(Table(ratio, title, pooled(ratio), names, labels, best) for ratio, (title, best) in POOLED.items()),
        *(Table(figure, title, means(figure), names, labels) for figure, title in MEANS.items()),
    ]


def _plots(study: Study, per_layer: Table, together: Table) -> list[tuple[str, str]]:
    """Draws all methods at each layer and in aggregate, for each network; returns the files with their captions."""
    heads = list(map(layer_title, [*study.layers, together.columns[-1]]))
    pictures = []
    for label in (network.label for network in study.networks):
        series = {
            method_title(name): [*per_layer.rows[name, label][: len(study.layers)], together.rows[name, label][-1]]
            for name in (*study.methods, DISC)
        }
        save(lines(series, heads, "pooled IoU (%)"), study.folder / f"iou_{label}.png")
        pictures.append((f"iou_{label}.png", f"{label}: pooled IoU and its 95 % interval over {_unit(study)}"))
    return pictures


def _unit(study: Study) -> str:
    return "patients" if study.settings["data"]["patients"] > 1 else "frames"


def _write_tests(study: Study, found: Mapping[str, Arrays], chosen: Mapping[str, np.ndarray]) -> None:
    """Writes ``tests.csv``: in each column it compares the best method with each other one."""
    rows: list[dict[str, str]] = []
    for (label, arrays), column in product(found.items(), columns(study.layers)):
        values = {
            method: pooled_iou(study, arrays, f"{method}/{column}", chosen[label]).value
            for method in study.methods
            if f"both/{method}/{column}" in arrays
        }
        finite = [method for method, value in values.items() if not np.isnan(value)]
        best = max(finite, key=values.__getitem__, default="")
        for method in finite:
            if method != best:
                p = iou_p_value(study, arrays, f"{best}/{column}", f"{method}/{column}", chosen[label])
                row = {"network": label, "column": column, "best": best, "iou_best": f"{values[best]:.6f}"}
                rows.append(row | {"other": method, "iou_other": f"{values[method]:.6f}", "p": f"{p:.6f}"})
    write_rows(study.folder / "tests.csv", rows)
