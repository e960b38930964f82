"""Figures of a reproduction in each draw of a bootstrap over trainings and patients."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from experiments.sums import Sums, read_sums, rows_of
from xrcam_jax.metrics.uncertainty import Estimate

LAYERS = ("layer1", "layer2", "layer3", "layer4")
ALL_LAYERS = "layer4+3+2+1"
DRAWS = 2000

PerDraw = Float[np.ndarray, " d"]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Holds a table in each draw; the first draw is the data as they are.

    Attributes:
      methods: the rows.
      columns: the columns.
      values: a figure for each draw, row and column; NaN where there is none.
    """

    methods: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float[np.ndarray, "d m c"]

    def of(self, method: str, *columns: str) -> PerDraw:
        """Returns a method's figure, the mean of several columns, in each draw."""
        at = [self.columns.index(column) for column in columns]
        return self.values[:, self.methods.index(method), at].mean(1)

    def among(self, methods: tuple[str, ...], *columns: str) -> Float[np.ndarray, "d m"]:
        """Returns the figures of several methods, side by side."""
        return np.stack([self.of(method, *columns) for method in methods], axis=1)

    def estimate(self, method: str, *columns: str) -> Estimate:
        """Returns a figure, the mean of several columns, with its interval."""
        return interval(self.of(method, *columns))

    def with_dropout(self) -> "Drawn":
        """Returns the figures of the passes with dropout, under the names of those without."""
        suffix = " with dropout"
        at = [i for i, column in enumerate(self.columns) if column.endswith(suffix)]
        names = tuple(self.columns[i].removesuffix(suffix) for i in at)
        return Drawn(self.methods, names, self.values[:, :, at])


def interval(values: PerDraw) -> Estimate:
    """Returns the first value, and the 95 % percentile interval of all others."""
    drawn = values[1:][np.isfinite(values[1:])]
    if not len(drawn):
        return Estimate(float(values[0]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(float(values[0]), float(low), float(high))


@dataclass(frozen=True, eq=False)
class Evidence:
    """Gives the tables of one reproduction in each draw.

    All networks meet the same patients of a draw, and their trainings are drawn independently.

    Attributes:
      folder: what :func:`experiments.sums.store` wrote, a folder for each way of aggregation: ``mean`` and others.
      draws: how many there are besides the data as they are.
    """

    folder: Path
    draws: int = DRAWS
    _tables: dict[tuple[str, ...], Drawn] = field(default_factory=dict)

    @cached_property
    def about(self) -> dict:
        """Returns what the reproduction is of: its networks by role, and what it calls itself."""
        return json.loads((self.folder / "about.json").read_text(encoding="utf-8"))

    def role(self, name: str) -> str:
        """Returns the role of a network, whose name may be ``"main"``."""
        return self.about["main"] if name == "main" else name

    def has(self, role: str, experiment: str, aggregation: str = "mean") -> bool:
        """Tells whether there is a table."""
        file = self.folder / aggregation / f"{experiment}.csv.gz"
        return file.exists() and any(row["network"] == self.role(role) for row in rows_of(file))

    def trainings(self, role: str) -> int:
        """Returns how often a network was trained."""
        return len(read_sums(self.folder / "accuracy.csv.gz", role).by_figure["right"])

    def accuracy(self, role: str) -> Estimate:
        """Returns how many frames of held-out patients a network judges rightly, in per cent."""
        sums = read_sums(self.folder / "accuracy.csv.gz", role)
        return interval(100 * sums.ratio("right", "frames", self._weights(sums, role))[:, 0, 0])

    def table(self, role: str, experiment: str, part: str, whole: str = "frames", aggregation: str = "mean") -> Drawn:
        """Returns the table of a ratio of sums."""
        role = self.role(role)
        key = (role, experiment, part, whole, aggregation)
        if key not in self._tables:
            sums = read_sums(self.folder / aggregation / f"{experiment}.csv.gz", role)
            values = sums.ratio(part, whole, self._weights(sums, role))
            self._tables[key] = Drawn(sums.methods, sums.columns, values)
        return self._tables[key]

    def iou(self, role: str, experiment: str = "segmentation", aggregation: str = "mean") -> Drawn:
        """Returns the pooled IoU in per cent."""
        role = self.role(role)
        key = (role, experiment, "iou", aggregation)
        if key not in self._tables:
            sums = read_sums(self.folder / aggregation / f"{experiment}.csv.gz", role)
            either = sums.by_figure["found"] + sums.by_figure["truth"] - sums.by_figure["both"]
            whole = Sums(sums.methods, sums.columns, {**sums.by_figure, "either": either})
            values = 100 * whole.ratio("both", "either", self._weights(sums, role))
            self._tables[key] = Drawn(sums.methods, sums.columns, values)
        return self._tables[key]

    def false_positive_rate(self, role: str) -> Drawn:
        """Returns the share of what is not outlined that is salient, in per cent."""
        role = self.role(role)
        sums = read_sums(self.folder / "mean" / "segmentation.csv.gz", role)
        by = sums.by_figure
        rates = Sums(
            sums.methods,
            sums.columns,
            {"outside": by["found"] - by["both"], "not outlined": by["pixels"] - by["truth"]},
        )
        return Drawn(
            sums.methods, sums.columns, 100 * rates.ratio("outside", "not outlined", self._weights(sums, role))
        )

    def _weights(self, sums: Sums, role: str) -> Float[np.ndarray, "d s p"]:
        """Returns how often each training of a network and each patient is in each draw."""
        seeds, patients = next(iter(sums.by_figure.values())).shape[:2]
        of_patients = _multiplicities(np.random.default_rng(0), patients, self.draws)
        of_seeds = _multiplicities(np.random.default_rng([*role.encode()]), seeds, self.draws)
        drawn = of_seeds[:, :, None] * of_patients[:, None, :]
        return np.concatenate([np.ones((1, seeds, patients)), drawn]).astype(np.float64)


def _multiplicities(rng: np.random.Generator, count: int, draws: int) -> Int[np.ndarray, "d n"]:
    """Returns how often each of some things is among as many that are drawn with replacement."""
    return rng.multinomial(count, np.full(count, 1 / count), size=draws)
