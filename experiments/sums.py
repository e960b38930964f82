"""Sums over the frames of each patient: all that the figures of a reproduction are made of, small enough to be kept.

A study writes a row for each frame into ``images.csv``. Here these become a row for each patient, so that a figure can
be made anew with its interval over patients and trainings, and traced to what was measured.
"""

import csv
import gzip
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from xrcam_jax.runtime.files import write_whole

#: A confidence drop is a share of the score. It is taken over frames whose score is at least this.
FLOOR = 0.05
#: By experiment: the figures that are summed.
FIGURES: Mapping[str, tuple[str, ...]] = {
    "segmentation": ("frames", "both", "found", "truth", "pixels"),
    "transfer": ("frames", "both", "found", "truth", "pixels"),
    "dropout": ("frames", "both", "found", "truth"),
    "ensemble": ("frames", "both", "found", "truth"),
    "confidence": ("frames", "absolute_drop", "scored", "drop"),
    "axioms": ("frames", "conservation", "sensitivity"),
    "sanity": ("frames", "ssim", "rank"),
}
#: An experiment whose figures are kept as those of another.
KEPT_AS = {"transfer": "segmentation"}
LABELS = ("network", "seed", "patient", "method", "column")

Row = Mapping[str, str]
Values = Float[np.ndarray, "s p m c"]


@dataclass(frozen=True, eq=False)
class Sums:
    """Holds sums over the frames of each patient, of one network that was trained once or more.

    Attributes:
      methods: what axis m is.
      columns: what axis c is: layers, aggregates, or parts with random weights.
      by_figure: by the figure's name, a sum for each seed, patient, method and column; NaN where there is none.
    """

    methods: tuple[str, ...]
    columns: tuple[str, ...]
    by_figure: Mapping[str, Values]

    def ratio(self, part: str, whole: str, weights: Float[np.ndarray, "d s p"]) -> Float[np.ndarray, "d m c"]:
        """Returns sum part / sum whole in each draw.

        Args:
          part: the figure above the line.
          whole: the figure below it.
          weights: how often each training and patient is in each draw.

        Returns:
          A ratio for each draw, method and column; NaN where there is nothing below the line.
        """
        above, below = (np.einsum("dsp,spmc->dmc", weights, self.by_figure[name]) for name in (part, whole))
        return np.divide(above, below, out=np.full_like(above, math.nan), where=below != 0)


def condensed(experiment: str, images: Path, run: str | None = None) -> str:
    """Returns the sums over each patient's frames of an experiment's ``images.csv``, as CSV.

    The networks are called as their runs' folders are, ROLE_SEED.

    Args:
      experiment: its name.
      images: the file.
      run: the run's folder where there is one network alone, which is called by its architecture then.

    Returns:
      A row for each network, seed, patient, method and column.
    """
    sums: dict[tuple[str, ...], dict[str, float]] = {}
    with images.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            figures = _figures(experiment, row)
            if figures is None:
                continue
            role, seed = role_and_seed(run or row["network"])
            for name in _columns(row):
                total = sums.setdefault((role, seed, row["patient"], row["method"], name), dict.fromkeys(figures, 0.0))
                for figure, value in figures.items():
                    total[figure] += value
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*LABELS, *FIGURES[experiment]])
    for labels, total in sums.items():
        writer.writerow([*labels, *(f"{total[figure]:.7g}" for figure in FIGURES[experiment])])
    return text.getvalue()


def _columns(row: Row) -> list[str]:
    """Returns the columns of a row's figures: passes of one column count together, and so do networks of an ensemble.

    A frame of an ensemble counts in the half of the frames that it is in, too.
    """
    column = row["column"]
    for one, together in ((" pass ", "with dropout"), (" of network ", "alone")):
        if one in column:
            return [f"{column.partition(one)[0]} {together}"]
    half = {"1": "less", "2": "more"}.get(row.get("half", ""))
    return [column] if half is None else [column, f"{column} varying {half}"]


def role_and_seed(label: str) -> tuple[str, str]:
    """Returns what a network is for and the seed of its training, of a label that ends in its run's ROLE_SEED.

    Example:
      >>> role_and_seed("skresnet18_narrow-sk_dropout_3")
      ('sk_dropout', '3')
    """
    role, _, seed = label.rpartition("-")[2].rpartition("_")
    if not role or not seed.isdigit():
        raise ValueError(f"{label}: expected the label of a run whose folder is called ROLE_SEED")
    return role, seed


def write_sums(file: Path, text: str) -> None:
    """Writes sums compressed, the same bytes for the same sums.

    Args:
      file: to be written, ``.csv.gz``.
      text: CSV.
    """
    write_whole(file, gzip.compress(text.encode(), mtime=0))


def rows_of(file: Path) -> list[Row]:
    """Returns the rows of a file of sums."""
    with gzip.open(file, "rt", newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def read_sums(file: Path, role: str) -> Sums:
    """Reads back what :func:`condensed` made, of the network with a role.

    Args:
      file: as :func:`write_sums` writes it.
      role: of the network.

    Returns:
      Its sums; the patients are those of all networks in the file, sorted by name.

    Raises:
      ValueError: the file has nothing of such a network.
    """
    everything = rows_of(file)
    rows = [row for row in everything if row["network"] == role]
    if not rows:
        raise ValueError(f"{file}: nothing of a network {role!r}")
    axes = [_distinct(row[name] for row in rows) for name in LABELS[1:]]
    # The patients of all networks, so that these can be drawn together.
    axes[1] = sorted({row["patient"] for row in everything})
    figures = [name for name in rows[0] if name not in LABELS]
    shape = tuple(map(len, axes))
    # A patient whose frames were all misjudged in one training has no row of it, and adds nothing there.
    found = {figure: np.zeros(shape) for figure in figures}
    places = [{name: i for i, name in enumerate(axis)} for axis in axes]
    for row in rows:
        at = tuple(place[row[name]] for place, name in zip(places, LABELS[1:], strict=True))
        for figure in figures:
            found[figure][at] = float(row[figure])
    return Sums(tuple(axes[2]), tuple(axes[3]), found)


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _figures(experiment: str, row: Row) -> dict[str, float] | None:
    """Returns what a row adds to its patient's sums; None where its frame does not count."""
    if "both" in FIGURES[experiment]:
        if row["predicted"] != row["class"] or not float(row["truth"] or 0):
            return None
        return {"frames": 1.0} | {name: float(row[name]) for name in FIGURES[experiment][1:]}
    values = {name: float(row[name]) for name in FIGURES[experiment] if name in row}
    if experiment == "confidence":
        scored = float(row["score"]) >= FLOOR
        return {
            "frames": 1.0,
            "absolute_drop": values["absolute_drop"],
            "scored": float(scored),
            "drop": values["drop"] if scored else 0.0,
        }
    return {"frames": 1.0} | values if all(map(math.isfinite, values.values())) else None


def accuracies(runs: Iterable[Path]) -> str:
    """Returns of each run and patient of the test part how many frames there are, and how many are judged rightly.

    Args:
      runs: folders of ``xrcam train`` that are called ROLE_SEED.

    Returns:
      CSV, as :func:`condensed` has it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*LABELS, "frames", "right"])
    for run in runs:
        counts: dict[str, list[int]] = {}
        with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["part"] == "test":
                    count = counts.setdefault(row["patient"], [0, 0])
                    count[0] += 1
                    count[1] += row["label"] == row["predicted"]
        for patient, count in counts.items():
            writer.writerow([*role_and_seed(run.name), patient, "", "", *count])
    return text.getvalue()


def store(results: Path, folder: Path, alone: Mapping[str, str]) -> None:
    """Writes the sums of all experiments in a folder of results into another, with the settings that they came of.

    Args:
      results: has a folder for each experiment.
      folder: gets ``EXPERIMENT.csv.gz`` and ``EXPERIMENT.json``.
      alone: by experiment, the run's folder where there was one network alone.
    """
    for experiment in FIGURES:
        images = results / experiment / "images.csv"
        if images.exists():
            name = KEPT_AS.get(experiment, experiment)
            write_sums(folder / f"{name}.csv.gz", condensed(experiment, images, alone.get(experiment)))
            write_whole(folder / f"{name}.json", (results / experiment / "settings.json").read_bytes())
