"""Draws figures with their intervals into PNG files; no window is opened."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.names import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Letters of a name.
LONGEST = 24


def lines(path: Path, series: Mapping[str, Sequence[Estimate]], columns: Sequence[str], ylabel: str) -> None:
    """Draws a line for each series with its intervals as bars, slightly apart so that none hides another.

    Args:
      path: of the PNG file.
      series: by name, one figure for each column; names in brackets are drawn in grey, as baselines.
      columns: their names.
      ylabel: what the figures are.

    Raises:
      ImportError: matplotlib is not installed.
    """
    figure = _figure(9)
    axes = figure.subplots()
    for number, (name, estimates) in enumerate(series.items()):
        places = [i + 0.06 * (number - (len(series) - 1) / 2) for i in range(len(columns))]
        bars = [[_length(e.value - e.low) for e in estimates], [_length(e.high - e.value) for e in estimates]]
        baseline = name.startswith("(")
        axes.errorbar(
            places,
            [e.value for e in estimates],
            bars,
            label=name,
            marker="." if baseline else "o",
            color="grey" if baseline else None,
            linestyle=":" if baseline else "-",
            capsize=2,
            markersize=4,
            linewidth=1,
        )
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3, axis="y")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _save(figure, path)


def bars(
    path: Path, panels: Mapping[str, Mapping[str, tuple[float, float]]], names: tuple[str, str], ylabel: str
) -> None:
    """Draws for each item two bars, one before the other, in a panel for each group of items.

    Args:
      path: of the PNG file.
      panels: by group and item, the height of the pale bar behind, and that of the dark one in front, a part of it.
      names: of the two.
      ylabel: what the heights are.

    Raises:
      ImportError: matplotlib is not installed.
    """
    counts = [len(items) for items in panels.values()]
    figure = _figure(min(24, max(6, 2 + 0.3 * sum(counts))))
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=counts)[0]
    for number, (axes, (title, items)) in enumerate(zip(row, panels.items(), strict=True)):
        for place, colour, alpha in ((0, f"C{number}", 0.35), (1, f"C{number}", 1.0)):
            heights = [item[place] for item in items.values()]
            axes.bar(range(len(items)), heights, color=colour, alpha=alpha, label=names[place])
        # Names are shown as they are, whatever dollars they have, but no longer than their bars.
        axes.set_xticks(range(len(items)), map(_short, items), rotation=90, fontsize=8, parse_math=False)
        axes.set_title(_short(title), parse_math=False)
        axes.grid(alpha=0.3, axis="y")
        axes.legend(fontsize=8, ncols=2, loc="upper center")
        # The legend has the space above the bars.
        axes.margins(y=0.2)
    row[0].set_ylabel(ylabel)
    _save(figure, path)


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _figure(width: float) -> "Figure":
    """Returns an empty figure."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'xrcam-jax[evaluate]'") from None

    # Not with pyplot, which would look for a display and keep the figure.
    return Figure(figsize=(width, 4.5), layout="constrained")


def _save(figure: "Figure", path: Path) -> None:
    content = io.BytesIO()
    with warnings.catch_warnings():
        # A script that the font lacks is drawn as boxes; the table beside has it.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(content, format="png", dpi=120)
    write_whole(path, content.getvalue())


def _length(value: float) -> float:
    """Returns the length of a bar; 0 where there is no interval, or where it ends on the figure's other side."""
    return 0.0 if math.isnan(value) else max(0.0, value)
