"""What a page shows of a table: its figures as text, the best of each column, and no column that says nothing."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from xrcam_jax.metrics.uncertainty import Estimate, leading
from xrcam_jax.report.checked import is_baseline
from xrcam_jax.report.read import Figure, ResultTable
from xrcam_jax.titles import method_title as title

NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """A figure as it is printed.

    Attributes:
      text: the figure.
      interval: its two ends, or empty.
      best: whether it is the best of its column.
    """

    text: str
    interval: str
    best: bool


@dataclass(frozen=True)
class ShownTable:
    """A table as it is printed.

    Attributes:
      title: one line.
      unit: of all figures, or empty.
      constant: what holds for all rows, or empty.
      labels: what the first columns are called.
      columns: what the figures are called.
      rows: labels and figures of each.
      notes: how to read it.
    """

    title: str
    unit: str
    constant: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]
    notes: tuple[str, ...]


def shown_table(table: ResultTable, *, too_few: bool = False) -> ShownTable:
    """Turns a table into texts, without the columns that say the same in every row.

    Args:
      table: as it was read.
      too_few: whether its intervals are over too few patients to call anything the best.

    Returns:
      The table as it is printed.

    Example:
      >>> from xrcam_jax.report.read import Figure, ResultTable, Row
      >>> from xrcam_jax.report.tables import shown_table
      >>> rows = tuple(Row((name, "net"), (Figure(v, v - 1, v + 1),)) for name, v in (("grad_cam", 3), ("mine", 9)))
      >>> shown = shown_table(ResultTable("iou", "IoU", "%", "max", 1, ("method", "network"), ("layer4",), rows, "sd"))
      >>> shown.labels, shown.constant, shown.columns
      (('method',), 'network: net', ('Layer 4',))
      >>> [(labels, cell.text, cell.interval, cell.best) for labels, (cell,) in shown.rows]
      [(('Grad-CAM',), '3.0', '2.0 to 4.0', False), (('mine',), '9.0', '8.0 to 10.0', True)]
    """
    kept = _varying(table)
    measured = [i for i in range(len(table.columns)) if any(_known(row.figures[i]) for row in table.rows)]
    # A table without a single figure is shown as it is.
    measured = measured or list(range(len(table.columns)))
    best = [None if too_few else _best(table, i) for i in measured]
    rows = []
    for row in table.rows:
        marks = [None] * len(best) if is_baseline(row.labels) else best
        cells = (_cell(row.figures[i], table, mark) for i, mark in zip(measured, marks, strict=True))
        rows.append((tuple(title(row.labels[i]) for i in kept), tuple(cells)))
    return ShownTable(
        title=table.title,
        unit=table.unit,
        constant=_constant(table, kept, measured),
        labels=tuple(table.labels[i] for i in kept),
        columns=tuple(column_title(table.columns[i]) for i in measured),
        rows=tuple(rows),
        notes=_notes(table, best, too_few),
    )


def column_title(name: str) -> str:
    """Returns what tables call a column, where it is one of layers.

    Args:
      name: such as ``layer4`` or ``layer4+3``; any other text stays as it is.

    Returns:
      The name as people write it.

    Example:
      >>> from xrcam_jax.report.tables import column_title
      >>> column_title("layer4"), column_title("layer4+3"), column_title("average")
      ('Layer 4', 'Layers 4+3', 'average')
    """
    found = re.fullmatch(r"layer(\d+(?:\+\d+)*)", name)
    return name if found is None else f"Layer{'s' if '+' in found[1] else ''} {found[1]}"


def shown_number(value: float | None, decimals: int, unit: str = "") -> str:
    """Returns a number as it is printed.

    Args:
      value: None or NaN where there is none.
      decimals: digits after the point.
      unit: of the number. Tiny values get an exponent, lest they look like zero, but for those in ``"%"``.

    Returns:
      The text, with a true minus; what rounds to zero has none.

    Example:
      >>> from xrcam_jax.report.tables import shown_number
      >>> [shown_number(value, 1) for value in (-3.25, 0.001, None)]
      ['−3.2', '1.0e−03', '–']
      >>> shown_number(-0.04, 1, "%")
      '0.0'
    """
    if value is None or math.isnan(value):
        return NOTHING
    small = unit != "%" and 0 < abs(value) < 10**-decimals
    return (f"{value:.1e}" if small else f"{value:z.{decimals}f}").replace("-", "−").replace("inf", "∞")


def estimate(figure: Figure) -> Estimate:
    """Returns a figure as the metrics have it, NaN where there is no number.

    Args:
      figure: of a table.

    Returns:
      The same with its interval.

    Example:
      >>> from xrcam_jax.report.read import Figure
      >>> from xrcam_jax.report.tables import estimate
      >>> estimate(Figure(1.0, None, None))
      Estimate(value=1.0, low=nan, high=nan)
    """
    return Estimate(*(math.nan if value is None else value for value in (figure.value, figure.low, figure.high)))


def _known(figure: Figure) -> bool:
    return figure.value is not None and not math.isnan(figure.value)


def _varying(table: ResultTable) -> list[int]:
    """Returns the columns of labels that tell rows apart; the first one if none does."""
    different = [len({row.labels[i] for row in table.rows}) > 1 for i in range(len(table.labels))]
    return [i for i, differs in enumerate(different) if differs] or list(range(len(table.labels)))[:1]


def _constant(table: ResultTable, kept: Sequence[int], measured: Sequence[int]) -> str:
    """Says once what the columns that are left out would say in every row."""
    first = table.rows[0].labels if table.rows else ()
    same = [(name, value) for i, (name, value) in enumerate(zip(table.labels, first, strict=False)) if i not in kept]
    parts = [f"{name}: {title(value) or NOTHING}" for name, value in same]
    empty = [column_title(name) for i, name in enumerate(table.columns) if i not in measured]
    return "; ".join([*parts, *([f"no figures: {', '.join(empty)}"] if empty else [])])


def _best(table: ResultTable, column: int) -> str | None:
    """Returns the best figure of a column, as it is printed; None where intervals do not set one apart.

    Without an interval a figure is the highest by chance or not, and nobody can tell.
    """
    if table.best is None:
        return None
    figures = [estimate(row.figures[column]) for row in table.rows if not is_baseline(row.labels)]
    value = leading(figures, table.best)
    sure = any(figure.value == value and not math.isnan(figure.low) for figure in figures)
    return shown_number(value, table.decimals, table.unit) if sure and len(figures) > 1 else None


def _cell(figure: Figure, table: ResultTable, best: str | None) -> Cell:
    text = shown_number(figure.value, table.decimals, table.unit)
    ends = [shown_number(end, table.decimals, table.unit) for end in (figure.low, figure.high) if end is not None]
    # Figures that print alike cannot be told apart in the table, so all of them are the best.
    return Cell(text, " to ".join(ends), text == best)


def _notes(table: ResultTable, best: Sequence[str | None], too_few: bool) -> tuple[str, ...]:
    notes = []
    if any(mark is not None for mark in best):
        which = "highest" if table.best == "max" else "lowest"
        notes.append(f"Bold: the {which} of its column, which is the best, where no other one lies in its interval.")
    elif table.best is not None and len(table.rows) > 1:
        which = "highest" if table.best == "max" else "lowest"
        why = "intervals are over too few patients" if too_few else "another one lies in its interval, or it has none"
        notes.append(f"The {which} is best, and no figure is called the best: {why}.")
    if any(figure.low is not None for row in table.rows for figure in row.figures):
        notes.append(f"Small figures: {table.interval}.")
    return tuple(notes)
