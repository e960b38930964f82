"""Which methods find what a network provably reads, and ignore what it ignores?

    xrcam evaluate planted

The study needs no data and no weights: it draws pictures, and sets the weights of a network by hand, so that it is
known which pixels the decision depends on (xr.datasets.planted). In one set the network decides by a logo in a corner,
and the structure that is there too does not matter. For each method, at each layer and in aggregate, the study measures
whether the map is brighter on what is read than on what is ignored, how much of it lies there (mass and rank accuracy),
and precision and recall of the pixels above mean + standard deviation. The truth itself, and maps that see no picture,
are measured beside them. Methods for transformers are left out.

Seven sets of 16 pictures take all methods two minutes on 2 cores.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

import xrcam_jax as xr
from xrcam_jax.arguments.checks import check_at_least_one, check_methods, check_names, check_seed, prepare_folder
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.outputs import alone_in
from xrcam_jax.arguments.parser import Options
from xrcam_jax.cam.saliency import AGGREGATE, aggregate, saliency
from xrcam_jax.data.datasets import PLANTED, Planted
from xrcam_jax.data.detector import LAYERS
from xrcam_jax.explain.variants import base
from xrcam_jax.figures.comparison import comparison
from xrcam_jax.figures.grid import scales
from xrcam_jax.figures.overlay import outlined, overlay
from xrcam_jax.figures.save import save
from xrcam_jax.figures.style import Style
from xrcam_jax.metrics import mass, overlap
from xrcam_jax.metrics.uncertainty import Estimate, mean
from xrcam_jax.runtime.files import write_rows
from xrcam_jax.studies.settings import check_settings
from xrcam_jax.studies.tables import CONTENTS, Table, scaled, write_contents
from xrcam_jax.titles import method_title

NAME = "planted"
METHODS = tuple(name for name, method in xr.METHODS.items() if not method.kind.needs_attention)
#: Rows beside those of the methods: what is to be found, and what is found without a look at the picture.
TRUTH, UNIFORM, NOISE, DISC = "(the truth itself)", "(uniform)", "(noise)", "(centred disc)"
INPUT = "input"
FIGURES = {
    "outshines": "Pictures in which what is read is marked more brightly than what is ignored",
    "mass": "Mass accuracy: how much of the map lies on what is read",
    "rank": "Rank accuracy: how many of the highest pixels, as many as are read, are read",
    "precision": "Precision: how many of the salient pixels are read",
    "recall": "Recall: how many of the pixels that are read are salient",
}
#: A method has found what is read if it marks that more brightly in so many pictures, in per cent.
FOUND = 90.0

#: A method and a layer, the input or the aggregate.
Place = tuple[str, str]
Maps = Mapping[Place, Float[Array | np.ndarray, "n h w"]]
#: A set, and the maps of its first picture.
Shown = tuple[Planted, Mapping[Place, Float[np.ndarray, "h w"]]]
#: By place and figure, a number for each picture.
Figures = Mapping[Place, Mapping[str, Num[np.ndarray, " n"]]]


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    _check(options)
    folder = options.out / NAME
    prepare_folder("--out", folder)
    with alone_in("--out", folder):
        check_settings(folder, _settings(options))
        write_settings(folder, options.repeat)
        # Results of an earlier run are no longer whole once the first of these is written.
        (folder / CONTENTS).unlink(missing_ok=True)
        found: dict[str, Figures] = {}
        shown: dict[str, Shown] = {}
        for name in options.sets:
            print(f"{name}: {PLANTED[name].about}", flush=True)
            drawn = xr.datasets.planted(name, options.pictures, seed=options.seed)
            maps = explained(drawn, options.methods, options.seed)
            found[name] = figures(drawn, {**maps, **baselines(drawn, options.seed)})
            shown[name] = drawn, {place: np.asarray(each[0]) for place, each in maps.items()}
        write(folder, options, found, shown)
    return 0


def _check(options: Options) -> None:
    """Refuses what is wrong; all methods are compared if none is named."""
    options.methods = options.methods or list(METHODS)
    check_names("--sets", options.sets, PLANTED)
    check_methods("--method", options.methods, METHODS)
    check_at_least_one("--pictures", options.pictures)
    check_seed("--seed", options.seed)


def _settings(options: Options) -> dict[str, Any]:
    return {
        "experiment": NAME,
        "data": {
            "origin": "drawn by xr.datasets.planted",
            "synthetic": True,
            "frames": options.pictures * len(options.sets),
        },
        "sets": options.sets,
        "pictures": options.pictures,
        "methods": options.methods,
        "target": "the labelled class",
        "seed": options.seed,
        "version": version("xrcam-jax"),
    }


def explained(drawn: Planted, methods: Sequence[str], seed: int) -> dict[Place, Array]:
    """Returns the maps of the labelled class: of each method where it is defined, and aggregated over the layers."""
    e = xr.Explainer(drawn.network, methods, random_seed=seed)(drawn.images, targets=drawn.labels)
    maps: dict[Place, Array] = {}
    for method, by_layer in e.maps.items():
        maps |= {(method, layer): each for layer, each in by_layer.items()}
        if len(by_layer) > 1:
            maps[method, AGGREGATE] = e.aggregate(method)
    return maps


def baselines(drawn: Planted, seed: int) -> dict[Place, Array]:
    """Returns the truth as a map, also at the size of each layer as maps are made of it, and maps that see nothing."""
    truth, size = drawn.truth.astype(np.float32), drawn.truth.shape[1:]
    shares = {layer: jnp.asarray(_shrunk(truth, side)) for layer, side in LAYERS.items()}
    return {
        (TRUTH, INPUT): jnp.asarray(truth),
        **{(TRUTH, layer): saliency(each, size) for layer, each in shares.items()},
        (TRUTH, AGGREGATE): aggregate(list(shares.values()), size),
        (UNIFORM, INPUT): jnp.ones_like(truth),
        (NOISE, INPUT): jnp.asarray(np.random.default_rng(seed).random(truth.shape, np.float32)),
        (DISC, INPUT): overlap.centred_discs(drawn.truth).astype(np.float32),
    }


def _shrunk(truth: Float[np.ndarray, "n h w"], side: int) -> Float[np.ndarray, "n _ _"]:
    """Returns the mean over squares."""
    count, height, width = truth.shape
    return truth.reshape(count, height // side, side, width // side, side).mean((2, 4))


def figures(drawn: Planted, maps: Maps) -> dict[Place, dict[str, np.ndarray]]:
    """Returns all figures of all maps, for each picture."""
    stacked, truth = jnp.stack([jnp.asarray(each) for each in maps.values()]), drawn.truth
    counts = overlap.overlap(overlap.salient(stacked), truth)
    found = {
        "outshines": mass.outshines(stacked, truth, ignored(drawn)),
        "mass": mass.mass_accuracy(stacked, truth),
        "rank": mass.rank_accuracy(stacked, truth),
        "precision": overlap.precision(counts),
        "recall": overlap.recall(counts),
    }
    values = {figure: np.asarray(each) for figure, each in found.items()}
    return {place: {figure: each[i] for figure, each in values.items()} for i, place in enumerate(maps)}


def ignored(drawn: Planted) -> Bool[np.ndarray, "n h w"]:
    """Returns the pixels that may not be brighter than the truth.

    They are what else is planted. Where there is nothing, they are the tissue, but for a rim around the truth that is
    as wide as a place of the coarsest layer: a map of that layer cannot but spread into it.
    """
    if drawn.decoy.any():
        return drawn.decoy
    square = np.ones([2 * max(LAYERS.values()) + 1] * 2, np.uint8)
    return np.array([cv2.dilate(mask.astype(np.uint8), square) == 0 for mask in drawn.truth])


def write(
    folder: Path,
    options: Options,
    found: Mapping[str, Figures],
    shown: Mapping[str, Shown],
) -> None:
    """Writes the figures of each picture, tables, sheets, and what came out in a few sentences."""
    rows = [
        {"set": name, "picture": i, "method": method, "map": column}
        | {figure: f"{each[i]:.7g}" for figure, each in values.items()}
        for name, by_place in found.items()
        for (method, column), values in by_place.items()
        for i in range(options.pictures)
    ]
    write_rows(folder / "images.csv", rows)
    tables = _tables(found, options.seed)
    write_contents(
        folder,
        title="What a network provably reads",
        text=_text(options, tables[0]),
        order=9,
        tables=tables,
        pictures=_sheets(folder, options.methods, shown),
    )


def _tables(found: Mapping[str, Figures], seed: int) -> list[Table]:
    """Returns each figure of all methods by set, and each figure of class activation maps by layer."""
    columns = [*LAYERS, AGGREGATE]

    def row(figure: str, places: Sequence[tuple[str, Place]]) -> list[Estimate]:
        """Returns the means of a figure over the pictures of sets, NaN where a method has no such map."""
        some = [found[name][place][figure] if place in found[name] else np.array([]) for name, place in places]
        return [scaled(mean(values, np.arange(len(values)), seed=seed)) for values in some]

    whole = _whole(list(next(iter(found.values()))))
    layered = [method for method, column in whole.items() if column != INPUT]
    tables = []
    for figure, title in FIGURES.items():
        rows = {place: row(figure, [(name, place) for name in found]) for place in whole.items()}
        tables.append(Table(figure, title, rows, list(found), ("method", "map"), best=None, decimals=1))
    for figure, title in FIGURES.items() if layered else ():
        pairs = product(found, [*layered, TRUTH])
        rows = {(name, method): row(figure, [(name, (method, column)) for column in columns]) for name, method in pairs}
        labels = ("set", "method")
        tables.append(Table(f"{figure}_layers", f"{title}; by layer", rows, columns, labels, best=None, decimals=1))
    return tables


def _whole(places: Sequence[Place]) -> dict[str, str]:
    """Returns the map by which each method is compared: at the input, else the aggregate, else its only layer."""
    columns: dict[str, list[str]] = {}
    for method, column in places:
        columns.setdefault(method, []).append(column)
    return {
        method: next(column for column in (INPUT, AGGREGATE, *some) if column in some)
        for method, some in columns.items()
    }


def _text(options: Options, outshines: Table) -> str:
    """Says which methods have found what is read, and what that means."""
    lines = [
        f"{options.pictures} drawn pictures of each set. The weights of the networks are set by hand, so that it is "
        "proven which pixels they read. A method has found these if its map is brighter there than on anything that "
        f"the network ignores, in {FOUND:.0f} % of the pictures or more."
    ]
    for i, name in enumerate(outshines.columns):
        share = {m: figures[i].value for (m, _), figures in outshines.rows.items() if m in options.methods}
        missed = [f"{method} ({value:.0f} %)" for method, value in share.items() if value < FOUND]
        lines.append(
            f"{name} ({PLANTED[name].about}): found by {len(share) - len(missed)} of {len(share)} methods"
            + (f", not by {', '.join(missed)}." if missed else ".")
        )
    lines.append(
        "For clinicians: a method that fails marks tissue that the network has not looked at, so with it nobody would "
        "notice that a network goes by a logo. A method that passes is not thereby right about a trained network, "
        "whose reasons nobody knows."
    )
    return "\n\n".join(lines)


def _sheets(folder: Path, methods: Sequence[str], shown: Mapping[str, Shown]) -> list[tuple[str, str]]:
    """Saves a sheet for each family of methods, with the first picture of each set; returns files and captions."""
    columns = _whole(list(next(iter(shown.values()))[1]))
    saved = []
    for family in dict.fromkeys(xr.METHODS[base(method)].family for method in methods):
        some = [method for method in methods if xr.METHODS[base(method)].family == family]
        rows = []
        for drawn, maps in shown.values():
            marked = outlined(drawn.images[0], drawn.truth[0])
            marked = outlined(marked, drawn.decoy[0], ink=(226, 60, 60))
            rows.append([marked, *(overlay(drawn.images[0], maps[m, columns[m]]) for m in some)])
        heads = ["picture", *map(method_title, some)]
        save(comparison(rows, columns=heads, row_labels=list(shown), scales=scales(Style())), folder / f"{family}.jpg")
        saved.append((f"{family}.jpg", "Read by the network: outlined in yellow; ignored: in red"))
    return saved
