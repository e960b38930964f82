"""Figures of numbers: lines with their intervals, bars, and the course of a training."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xrcam_jax.figures.grid import DPI
from xrcam_jax.figures.texts import FONT, known

#: Letters of a name.
_LONGEST = 24
_SMALL = 8


#: A figure and the ends of its interval, which are NaN where there is none.
Interval = tuple[float, float, float]


def lines(series: Mapping[str, Sequence[Interval]], columns: Sequence[str], ylabel: str) -> Figure:
    """Draws a line for each series with its intervals as bars, slightly apart so that none hides another.

    Args:
      series: by name, one figure for each column; names in brackets are drawn in grey, as baselines.
      columns: their names.
      ylabel: what the figures are.

    Returns:
      The figure.

    Example:
      >>> from xrcam_jax.figures.curves import lines
      >>> figure = lines({"Grad-CAM": [(40.0, 30.0, 50.0)]}, ["layer 4"], "pooled IoU (%)")
      >>> figure.axes[0].get_ylabel()
      'pooled IoU (%)'
    """
    figure = _figure(9)
    axes = figure.subplots()
    for number, (name, found) in enumerate(series.items()):
        places = [i + 0.06 * (number - (len(series) - 1) / 2) for i in range(len(columns))]
        bars = [[_length(value - low) for value, low, _ in found], [_length(high - value) for value, _, high in found]]
        baseline = name.startswith("(")
        axes.errorbar(
            places,
            [value for value, *_ in found],
            bars,
            label=known(name),
            marker="." if baseline else "o",
            color="grey" if baseline else None,
            linestyle=":" if baseline else "-",
            capsize=2,
            markersize=4,
            linewidth=1,
        )
    axes.set_xticks(range(len(columns)), list(map(known, columns)), parse_math=False, family=FONT)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3, axis="y")
    axes.legend(fontsize=_SMALL, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def bars(panels: Mapping[str, Mapping[str, tuple[float, float]]], names: tuple[str, str], ylabel: str) -> Figure:
    """Draws for each item two bars, one before the other, in a panel for each group of items.

    Args:
      panels: by group and item, the height of the pale bar behind, and that of the dark one in front, a part of it.
      names: of the two.
      ylabel: what the heights are.

    Returns:
      The figure.

    Example:
      >>> from xrcam_jax.figures.curves import bars
      >>> figure = bars({"glioma": {"patient 1": (20, 12)}}, ("before", "after"), "frames")
      >>> figure.axes[0].get_title()
      'glioma'
    """
    counts = [len(items) for items in panels.values()]
    figure = _figure(min(24, max(6, 2 + 0.3 * sum(counts))))
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=counts)[0]
    for number, (axes, (title, items)) in enumerate(zip(row, panels.items(), strict=True)):
        for place, colour, alpha in ((0, f"C{number}", 0.35), (1, f"C{number}", 1.0)):
            heights = [item[place] for item in items.values()]
            axes.bar(range(len(items)), heights, color=colour, alpha=alpha, label=names[place])
        # Names are shown as they are, whatever dollars they have, but no longer than their bars.
        labels = list(map(_short, items))
        axes.set_xticks(range(len(items)), labels, rotation=90, fontsize=_SMALL, parse_math=False, family=FONT)
        axes.set_title(_short(title), parse_math=False, family=FONT)
        axes.grid(alpha=0.3, axis="y")
        axes.legend(fontsize=_SMALL, ncols=2, loc="upper center")
        # The legend has the space above the bars.
        axes.margins(y=0.2)
    row[0].set_ylabel(ylabel)
    return figure


def training_curves(history: Sequence[Mapping[str, float]], best_epoch: int | None) -> Figure:
    """Draws loss and accuracy by epoch, for training and validation.

    Args:
      history: for each epoch its figures by name, as :class:`xrcam_jax.train.loop.Progress` has them.
      best_epoch: number of the epoch that is marked, if any.

    Returns:
      The figure.

    Example:
      >>> from xrcam_jax.figures.curves import training_curves
      >>> row = {"epoch": 1, "train_loss": 1, "validation_loss": 2, "train_accuracy": 0.5, "validation_accuracy": 0.4}
      >>> [axes.get_ylabel() for axes in training_curves([row], best_epoch=1).axes]
      ['loss', 'accuracy']
    """
    epochs = [row["epoch"] for row in history]
    figure = _figure(10)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part in ("train", "validation"):
            axes.plot(epochs, [row[f"{part}_{name}"] for row in history], marker=".", label=part)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="grey", linestyle=":", label="best")
        # Half an epoch on either side, so that a single one has whole numbers around it.
        axes.set(xlabel="epoch", ylabel=name, xlim=(min(epochs) - 0.5, max(epochs) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def _short(name: str) -> str:
    name = known(name)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _figure(width: float) -> Figure:
    return Figure(figsize=(width, 4.5), dpi=DPI, facecolor="white", layout="constrained")


def _length(value: float) -> float:
    """Returns the length of a bar; 0 where there is no interval, or where it ends on the figure's other side."""
    return 0.0 if math.isnan(value) else max(0.0, value)
