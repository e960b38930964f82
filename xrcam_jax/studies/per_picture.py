"""The figures of each picture of a study: a CSV file has all of them, and tables what they come to together."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool

from xrcam_jax.classes import class_logits
from xrcam_jax.metrics.uncertainty import Estimate, estimate, mean, paired_p_value
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.names import cell
from xrcam_jax.studies.batches import Arrays
from xrcam_jax.studies.study import Study

IMAGES = "images.csv"
Ratio = Literal["iou", "precision", "recall", "false_positive_rate"]


def write_figures(
    study: Study, found: Mapping[str, Arrays], places_are: tuple[str, str] = ("method", "column")
) -> None:
    """Writes ``images.csv``, with a row for each picture, network, method and column.

    Args:
      study: of the figures.
      found: by network, the figures by ``FIGURE/METHOD/COLUMN``, and the logits.
      places_are: what stands in the place of METHOD and COLUMN.
    """
    arrays = next(iter(found.values()))
    places: dict[tuple[str, str], list[str]] = {}
    names = {_parts_of(name, study.methods): name for name in arrays if "/" in name}
    for figure, method, column in names:
        places.setdefault((method, column), []).append(figure)
    figures = list(dict.fromkeys(figure for figure, _, _ in names))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "patient", "class", "network", "predicted", *places_are, *figures])
    classes = study.prepared.classes
    for label, arrays in found.items():
        predicted = class_logits(arrays["logits"]).argmax(1)
        for (method, column), some in places.items():
            values = [arrays[names[f, method, column]].tolist() if f in some else None for f in figures]
            for i, frame in enumerate(study.frames):
                row = [frame.file, frame.patient, frame.label, label, classes[predicted[i]], method, column]
                writer.writerow([*map(cell, row), *("" if v is None else f"{v[i]:.7g}" for v in values)])
    write_whole(study.folder / IMAGES, text.getvalue().encode())


def _parts_of(name: str, methods: Sequence[str]) -> tuple[str, str, str]:
    """Returns FIGURE, METHOD and COLUMN of a name; any of them may have slashes, as options and layers do."""
    for method in methods:
        figure, _, column = name.partition(f"/{method}/")
        if column:
            return figure, method, column
    figure, place, *rest = name.split("/", 2)
    return figure, place, "/".join(rest)


def correct(study: Study, arrays: Arrays) -> Bool[np.ndarray, " n"]:
    """Returns which frames the network classifies correctly."""
    return class_logits(arrays["logits"]).argmax(1) == study.labels


def counted(study: Study, arrays: Arrays) -> Bool[np.ndarray, " n"]:
    """Returns which frames the overlap is measured on.

    They are classified correctly, and have an outline in what the network sees of them.
    """
    truth = next(values for name, values in arrays.items() if name.startswith("truth/"))
    return correct(study, arrays) & (truth > 0)


def accuracy(study: Study, arrays: Arrays) -> Estimate:
    """Returns the share of the frames that are classified correctly."""
    return mean(correct(study, arrays), study.units, seed=study.seed)


def pooled_iou(study: Study, arrays: Arrays, place: str, chosen: Bool[np.ndarray, " n"]) -> Estimate:
    """Returns the sum of intersections over the sum of unions of the chosen frames, for a ``METHOD/COLUMN``."""
    return pooled_ratio(study, arrays, "iou", place, chosen)


def pooled_ratio(study: Study, arrays: Arrays, ratio: Ratio, place: str, chosen: Bool[np.ndarray, " n"]) -> Estimate:
    """Returns a ratio of numbers of pixels, each summed over the chosen frames, for a ``METHOD/COLUMN``."""
    return estimate(*_parts(arrays, ratio, place, chosen), study.units[chosen], seed=study.seed)


def mean_figure(study: Study, arrays: Arrays, name: str, chosen: Bool[np.ndarray, " n"]) -> Estimate:
    """Returns the mean of ``FIGURE/METHOD/COLUMN`` over the chosen frames."""
    return mean(arrays[name][chosen], study.units[chosen], seed=study.seed)


def iou_p_value(study: Study, arrays: Arrays, a: str, b: str, chosen: Bool[np.ndarray, " n"]) -> float:
    """Returns the p-value of the difference in pooled IoU between two ``METHOD/COLUMN``."""
    parts = [_parts(arrays, "iou", place, chosen) for place in (a, b)]
    return paired_p_value(parts[0], parts[1], study.units[chosen], seed=study.seed)


def _parts(arrays: Arrays, ratio: Ratio, place: str, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns what is above and what is below the line of a ratio, for each chosen frame."""

    def count(name: str) -> np.ndarray:
        return arrays[f"{name}/{place}"][chosen].astype(np.int64)

    both, found, truth = count("both"), count("found"), count("truth")
    match ratio:
        case "iou":
            return both, found + truth - both
        case "precision":
            return both, found
        case "recall":
            return both, truth
        case "false_positive_rate":
            return found - both, count("pixels") - truth
