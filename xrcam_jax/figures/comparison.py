"""Pictures side by side, under the same headings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xrcam_jax.figures.grid import CELL, Row, Scale, grid
from xrcam_jax.pictures.pages import RGB

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparison(
    rows: Sequence[Sequence[RGB | None]],
    *,
    columns: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    title: str = "",
    scales: Sequence[Scale] = (),
    cell: float = CELL,
) -> "Figure":
    """Sets pictures in rows and columns, each as large as fits its cell.

    Args:
      rows: pictures of any sizes; all rows have the same number of them. None stands where the place
        belongs to the picture above.
      columns: what stands above the columns.
      row_labels: what stands, upwards, beside the rows.
      title: what stands on top.
      scales: what the colours say (:func:`xrcam_jax.figures.grid.scales`).
      cell: the longer side of the cells, in inches.

    Returns:
      The figure, for :func:`xrcam_jax.figures.save.save` or to be looked at.

    Raises:
      ValueError: where rows or labels do not agree in number.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.comparison import comparison
      >>> picture = np.zeros((30, 40, 3), np.uint8)
      >>> figure = comparison([[picture, picture]], columns=["before", "after"])
      >>> [text.get_text() for text in figure.texts]
      ['before', 'after']
    """
    _check(rows, columns, row_labels)
    labels = row_labels or [""] * len(rows)
    heads = [columns, *[()] * (len(rows) - 1)]
    lines = [Row(*each) for each in zip(rows, heads, labels, strict=True)]
    return grid(lines, title=title, scales=scales, cell=cell)


def _check(rows: Sequence[Sequence], columns: Sequence[str], row_labels: Sequence[str]) -> None:
    across = len(rows[0]) if rows else 0
    if across == 0 or any(len(row) != across for row in rows):
        raise ValueError(f"rows: expected rows of equal length, got lengths {[len(row) for row in rows]}")
    if columns and len(columns) != across:
        raise ValueError(f"columns: {len(columns)} labels for {across} columns")
    if row_labels and len(row_labels) != len(rows):
        raise ValueError(f"row_labels: {len(row_labels)} labels for {len(rows)} rows")
    if any(picture is None for picture in rows[0]):
        raise ValueError("rows: expected pictures in the first row, above which there is none")
