"""Draws figures with their intervals into PNG files; no window is opened."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.files import write_whole


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
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'xrcam-jax[evaluate]'") from None

    # Not with pyplot, which would look for a display and keep the figure.
    figure = Figure(figsize=(9, 4.5), layout="constrained")
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
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_whole(path, content.getvalue())


def _length(value: float) -> float:
    """Returns the length of a bar; 0 where there is no interval, or where it ends on the figure's other side."""
    return 0.0 if math.isnan(value) else max(0.0, value)
