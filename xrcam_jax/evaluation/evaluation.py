"""The figures of an explanation: by metric, method and layer, for each picture; as a table, and as a file."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from jaxtyping import Float

from xrcam_jax.errors import unknown
from xrcam_jax.evaluation.metric import metric_title
from xrcam_jax.evaluation.metrics import METRICS
from xrcam_jax.explain.variants import base, check_value
from xrcam_jax.metrics.uncertainty import Estimate, mean
from xrcam_jax.runtime.files import write_rows
from xrcam_jax.runtime.names import markdown_cell
from xrcam_jax.titles import layer_title, method_title

#: By method and layer, a figure for each picture.
ByPlace = Mapping[str, Mapping[str, Float[np.ndarray, " b"]]]
_ARROWS = {"max": " ↑", "min": " ↓", None: ""}


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Holds the figures of an explanation's maps, on the host.

    ``v["deletion", "grad_cam", "layer4"]`` has one for each picture, (b,), and ``v["deletion"]`` those of all maps. NaN
    is what is undefined, such as the pointing game where nothing is outlined; it is left out of means, and counted.

    Attributes:
      values: by metric, method and layer.
    """

    values: Mapping[str, ByPlace]

    def __len__(self) -> int:
        """Returns how many pictures there are."""
        return len(next(each for by in self.values.values() for layers in by.values() for each in layers.values()))

    @overload
    def __getitem__(self, chosen: str) -> ByPlace: ...
    @overload
    def __getitem__(self, chosen: tuple[str, str, str]) -> Float[np.ndarray, " b"]: ...
    def __getitem__(self, chosen: Any) -> Any:
        """Returns the figures of a metric by method and layer, or those of one method at one layer.

        Args:
          chosen: a metric; or a metric, a method and a layer.

        Raises:
          ValueError: one of them was not asked for, or it is no metric.
        """
        found: Any = self.values
        names = chosen if isinstance(chosen, tuple) else (chosen,)
        if len(names) not in (1, 3) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"expected a metric, or a metric, a method and a layer, by name; got {chosen!r}")
        for what, name in zip(("metric", "method", "layer"), names, strict=False):
            if name not in found:
                raise unknown(what, name, found)
            found = found[name]
        return found

    def mean(
        self, metric: str, method: str, layer: str, *, patients: Sequence[str] | None = None, seed: int = 0
    ) -> Estimate:
        """Returns the mean over pictures, without what is undefined, and its 95 % bootstrap interval.

        Args:
          metric: that was asked for.
          method: likewise.
          layer: likewise.
          patients: of each picture, where several are of one: these belong together, which makes intervals honest.
          seed: of the draws.

        Raises:
          ValueError: one of the names was not asked for, or there is not one patient for each picture.
        """
        values = self[metric, method, layer]
        check_value("seed", seed, int)
        named = list(range(len(values))) if patients is None else self._one_each("patients", patients)
        if None in named:
            raise ValueError("patients must be known of each picture; got None")
        units = np.unique(np.asarray(named), return_inverse=True)[1]
        return mean(values, units, seed=seed)

    def undefined(self, metric: str, method: str, layer: str) -> int:
        """Returns of how many pictures a figure is undefined or infinite, and so left out of the mean.

        Args:
          metric: that was asked for.
          method: likewise.
          layer: likewise.

        Raises:
          ValueError: one of them was not asked for.
        """
        return int((~np.isfinite(self[metric, method, layer])).sum())

    def table(self, *, patients: Sequence[str] | None = None, decimals: int = 3, seed: int = 0) -> str:
        """Returns the means with their intervals as Markdown: a row for each map, a column for each metric.

        An arrow says whether more or less is better, and ``(3 of 8)`` of how many pictures a figure is known, if not of
        all.

        Args:
          patients: as of :meth:`mean`.
          decimals: after the point, from 0.
          seed: of the draws of the intervals.

        Raises:
          ValueError: a negative number of decimals, or not one patient for each picture.
        """
        check_value("decimals", decimals, int)
        if decimals < 0:
            raise ValueError(f"decimals must be at least 0; got {decimals}")
        heads = [f"{metric_title(name, METRICS)}{_ARROWS[METRICS[base(name)].best]}" for name in self.values]
        lines = ["| " + " | ".join(["method", "layer", *heads]) + " |", "|---|---|" + "---:|" * len(heads)]
        for method, layer in self._places():
            cells = [self._cell(metric, method, layer, decimals, patients, seed) for metric in self.values]
            named = [markdown_cell(method_title(method)), markdown_cell(layer_title(layer))]
            lines.append("| " + " | ".join([*named, *cells]) + " |")
        return "\n".join(lines) + "\n"

    def rows(self, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Returns a row for each picture, method and layer, with a column for each metric, as data frames want them.

        Args:
          names: of the pictures; their numbers by default.

        Raises:
          ValueError: there are not as many names as pictures.
        """
        named = list(range(len(self))) if names is None else self._one_each("names", names)
        return [
            {"picture": name, "method": method, "layer": layer}
            | {metric: self._figure(metric, method, layer, i) for metric in self.values}
            for method, layer in self._places()
            for i, name in enumerate(named)
        ]

    def to_csv(self, path: str | os.PathLike[str], *, names: Sequence[str] | None = None) -> None:
        """Writes :meth:`rows` as a CSV file, empty where a figure is undefined.

        Args:
          path: of the file.
          names: as of :meth:`rows`.

        Raises:
          ValueError: there are not as many names as pictures.
          OSError: naming the file that cannot be written.
        """
        write_rows(path, [{k: "" if v != v else v for k, v in row.items()} for row in self.rows(names)])

    def __repr__(self) -> str:
        places = list(self._places())
        count = len(self)
        layers: dict[str, list[str]] = {}
        for method, layer in places:
            layers.setdefault(method, []).append(layer)
        said = [f"{method}: {', '.join(some)}" for method, some in layers.items()]
        head = (
            f"Evaluation of {count} picture{'' if count == 1 else 's'}, {len(places)} map{'s'[: len(places) != 1]} each"
        )
        means = [f"{metric}: {self._range(metric)}" for metric in self.values]
        return "\n  ".join([head, *said, *means])

    def _repr_markdown_(self) -> str:
        return self.table()

    def _one_each(self, what: str, given: Sequence[Any]) -> list[Any]:
        """Returns what is given for the pictures, if it is one for each."""
        found = given if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
        if not isinstance(found, list) or len(found) != len(self):
            got = len(found) if isinstance(found, list) else repr(found)
            raise ValueError(f"{what} must be one for each of the {len(self)} pictures; got {got}")
        return found

    def _places(self) -> Iterator[tuple[str, str]]:
        """Yields methods and layers in their order. Metrics of signed maps have no aggregates."""
        for method in dict.fromkeys(method for by_method in self.values.values() for method in by_method):
            layers = (layer for by_method in self.values.values() for layer in by_method.get(method, {}))
            yield from ((method, layer) for layer in dict.fromkeys(layers))

    def _has(self, metric: str, method: str, layer: str) -> bool:
        return layer in self.values[metric].get(method, {})

    def _figure(self, metric: str, method: str, layer: str, i: int) -> float:
        return float(self.values[metric][method][layer][i]) if self._has(metric, method, layer) else math.nan

    def _cell(
        self, metric: str, method: str, layer: str, decimals: int, patients: Sequence[str] | None, seed: int
    ) -> str:
        if not self._has(metric, method, layer):
            return "–"
        count, figure = len(self), self.mean(metric, method, layer, patients=patients, seed=seed)
        known = count - self.undefined(metric, method, layer)
        if not known:
            return f"– (0 of {count})"
        low_high = "" if math.isnan(figure.low) else f" [{figure.low:z.{decimals}f}, {figure.high:z.{decimals}f}]"
        return f"{figure.value:z.{decimals}f}{low_high}" + (f" ({known} of {count})" if known < count else "")

    def _range(self, metric: str) -> str:
        """Returns the least and the largest mean of a metric."""
        figures = [self.mean(metric, *place).value for place in self._places() if self._has(metric, *place)]
        known = [value for value in figures if math.isfinite(value)]
        if not known:
            return "undefined"
        low, high = f"{min(known):.3g}", f"{max(known):.3g}"
        return low if low == high else f"{low} to {high}"
