"""Plots of figures with their intervals, as PNG files; nothing opens a window."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.files import write_whole


def lines(path: Path, series: Mapping[str, Sequence[Estimate]], columns: Sequence[str], ylabel: str) -> None:
    """A line for each series, its intervals as bars, slightly apart so that none hides another.

    Raises:
      ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'xrcam-jax[evaluate]'") from None

    # No pyplot: it would look for a display and keep the figure.
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, estimates) in enumerate(series.items()):
        places = [i + 0.06 * (number - (len(series) - 1) / 2) for i in range(len(columns))]
        below, above = (
            [
                max(0.0, sign * (getattr(e, end) - e.value)) if getattr(e, end) == getattr(e, end) else 0.0
                for e in estimates
            ]
            for sign, end in ((-1, "low"), (1, "high"))
        )
        plain = name.startswith("(")
        axes.errorbar(
            places, [e.value for e in estimates], [below, above], label=name, marker="." if plain else "o", capsize=2,
            markersize=4, linewidth=1, color="grey" if plain else None, linestyle=":" if plain else "-",
        )  # fmt: skip
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3, axis="y")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_whole(path, content.getvalue())
