"""Many figures of many methods at once: parallel axes, one for each metric, on which up is better."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from matplotlib.figure import Figure

from xrcam_jax.figures.grid import DPI
from xrcam_jax.figures.texts import FONT, fitted, known

_SMALL = 8
#: Inches that an axis has for its name.
_ROOM = 1.1


class Axis(NamedTuple):
    """Holds what an axis is of.

    Attributes:
      title: what it is called.
      best: whether more or less is better; with less, the axis is drawn upside down. None where neither is.
    """

    title: str
    best: Literal["max", "min"] | None


def profile(series: Mapping[str, Sequence[float]], axes: Sequence[Axis]) -> Figure:
    """Draws a line for each series across parallel axes, each from the worst of its figures to the best.

    Args:
      series: by name, one figure for each axis, NaN where there is none; names in brackets are drawn in grey.
      axes: from left to right.

    Returns:
      The figure. The two numbers at an axis are those at its ends; where all figures are the same, they lie in the
      middle.

    Example:
      >>> from xrcam_jax.figures.profile import Axis, profile
      >>> figure = profile({"Grad-CAM": [0.2, 0.9], "LRP": [0.1, 0.4]}, [Axis("Deletion", "min"), Axis("IoU", "max")])
      >>> [line.get_ydata().tolist() for line in figure.axes[0].get_lines()[:2]]
      [[0.0, 1.0], [1.0, 0.0]]
    """
    figure = Figure(figsize=(max(5.0, _ROOM * len(axes) + 3), 4.5), dpi=DPI, facecolor="white", layout="constrained")
    shown = figure.subplots()
    ends = [_ends([values[i] for values in series.values()], axis) for i, axis in enumerate(axes)]
    for name, values in series.items():
        baseline = name.startswith("(")
        heights = [_height(value, *end) for value, end in zip(values, ends, strict=True)]
        shown.plot(
            range(len(axes)),
            heights,
            label=known(name),
            marker="." if baseline else "o",
            color="grey" if baseline else None,
            linestyle=":" if baseline else "-",
            markersize=4,
            linewidth=1,
        )
    for i, end in enumerate(ends):
        shown.axvline(i, color="black", linewidth=0.5, zorder=0)
        for value, height, lies in zip(end, (0, 1), ("top", "bottom"), strict=True):
            if math.isfinite(value):
                away = -0.02 if lies == "top" else 0.02
                shown.text(i, height + away, f"{value:.3g}", ha="center", va=lies, fontsize=_SMALL, family=FONT)
    titles = [fitted(axis.title, _ROOM, _SMALL, lines=3) for axis in axes]
    shown.set_xticks(range(len(axes)), titles, parse_math=False, family=FONT, fontsize=_SMALL)
    shown.tick_params(axis="x", length=0, pad=8)
    shown.set(ylim=(-0.12, 1.12), yticks=[0, 1], yticklabels=["worst", "best"])
    shown.spines[:].set_visible(False)
    shown.legend(fontsize=_SMALL, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def _ends(values: Sequence[float], axis: Axis) -> tuple[float, float]:
    """Returns the figures at the lower and upper end of an axis, NaN where there are none."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (math.nan, math.nan)
    return (high, low) if axis.best == "min" else (low, high)


def _height(value: float, worst: float, best: float) -> float:
    if not math.isfinite(value):
        return math.nan
    # Nothing is added to zero but its sign.
    return 0.5 if best == worst else (value - worst) / (best - worst) + 0.0
