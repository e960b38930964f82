"""Pictures in rows, with texts beside them, as one figure of matplotlib. All lengths are in inches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from xrcam_jax.figures.style import Style
from xrcam_jax.figures.texts import FONT, fitted, known, width
from xrcam_jax.pictures.pages import RGB

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Pixels to an inch in PNG and JPEG files, and the longer side of a picture in a figure.
DPI, CELL = 140, 1.6
INK, FAINT_INK = "#202020", "#606060"
TITLE, LABEL = 11, 9
_MARGIN, _GAP, _LINE, _TITLE_LINE = 0.12, 0.06, 0.17, 0.2
#: Height and width of a scale's bar, and the least width of a figure, which leaves room for a title.
_BAR, _NARROWEST = (0.1, 1.2), 3.4


@dataclass(frozen=True)
class Row:
    """Holds what stands side by side.

    Attributes:
      pictures: of any sizes; None where the place belongs to the picture above.
      headings: what stands above the pictures.
      label: what stands beside them, upwards.
    """

    pictures: Sequence[RGB | None]
    headings: Sequence[str] = ()
    label: str = ""


@dataclass(frozen=True)
class Scale:
    """Holds the colours of values, from the lowest to the highest.

    Attributes:
      low: what stands before the lowest.
      colours: of values in equal steps.
      high: what stands behind the highest.
    """

    low: str
    colours: UInt8[np.ndarray, "n 3"]
    high: str


def scales(style: Style, *, unsigned: bool = True, signed: bool = False) -> list[Scale]:
    """Returns the scales of maps.

    Args:
      style: how the maps are drawn. Masks have no colours, and so no scales.
      unsigned: whether there are maps in [0, 1].
      signed: whether there are maps in [-1, 1].

    Example:
      >>> from xrcam_jax.figures.grid import scales
      >>> from xrcam_jax.figures.style import Style
      >>> [(scale.low, scale.high) for scale in scales(Style(), signed=True)]
      [('saliency 0', '1'), ('against −1', '+1 for the class')]
    """
    if style.look == "mask":
        return []
    found = [Scale("saliency 0", style.colours(np.linspace(0, 1, 256)), "1")] if unsigned else []
    if signed:
        found.append(Scale("against −1", style.colours(np.linspace(-1, 1, 255), signed=True), "+1 for the class"))
    return found


def grid(
    rows: Sequence[Row],
    *,
    title: str = "",
    scales: Sequence[Scale] = (),
    cell: float = CELL,
    lead: int = 0,
    head: RGB | None = None,
) -> "Figure":
    """Sets pictures in rows on white paper, each as large as fits its cell.

    Args:
      rows: from above; they begin at the left and may differ in length.
      title: what stands on top, on up to three lines.
      scales: what stands below.
      cell: the longer side of the cells.
      lead: how many pictures stand before the labels of rows.
      head: a picture that stands above all others; title and scales are then beside it.

    Returns:
      A figure with an axes for each picture and each scale.

    Raises:
      ValueError: there is no picture in any row.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.grid import Row, grid
      >>> picture = np.zeros((30, 40, 3), np.uint8)
      >>> figure = grid([Row([picture, picture], ["before", "after"]), Row([picture])])
      >>> len(figure.axes)
      3
    """
    from matplotlib.figure import Figure

    if all(picture is None for row in rows for picture in row.pictures):
        raise ValueError("rows: expected one picture or more, found none")
    page = _Page(rows, cell, lead, _size(head, cell) if head is not None else None)
    left = _MARGIN if page.head is None else _MARGIN + page.head[1] + 2 * _GAP
    lines = fitted(title, page.width - _MARGIN - left, TITLE, 3).split("\n") if title else []
    tiers = _side_by_side(scales, page.width - _MARGIN - left)
    above = len(lines) * _TITLE_LINE + (_GAP if lines else 0)
    below = len(tiers) * (_LINE + _GAP) + (_GAP if tiers else 0)
    start = _MARGIN + above if page.head is None else _MARGIN + max(page.head[0], above + below) + 2 * _GAP
    tops = page.tops(start)
    end = tops[-1] + page.heights[-1] + _GAP
    scales_at = end if page.head is None else _MARGIN + above
    height = end - _GAP + _MARGIN + (below if page.head is None else 0)

    figure = Figure(figsize=(page.width, height), dpi=DPI, facecolor="white")
    if head is not None and page.head is not None:
        _show(figure, head, _MARGIN, _MARGIN, page.head)
    for number, line in enumerate(lines):
        _write(figure, line, left, _MARGIN + _TITLE_LINE * (number + 0.5), size=TITLE, color=INK)
    for number, top in enumerate(tops):
        _draw_row(figure, page, number, top)
    _draw_scales(figure, scales, tiers, left, scales_at)
    return figure


class _Page:
    """Says where things are.

    Args:
      rows: what is shown.
      cell: the longer side of the cells.
      lead: how many pictures stand before the labels.
      head: height and width of the picture above all others.

    Attributes:
      wide: the width of the columns.
      heights: of the rows.
      headings: of each row, fitted.
      labels: likewise.
      width: of the figure.
    """

    def __init__(self, rows: Sequence[Row], cell: float, lead: int, head: tuple[float, float] | None):
        self.rows, self.cell, self.lead, self.head = rows, cell, lead, head
        sizes = [[_size(picture, cell) for picture in row.pictures if picture is not None] for row in rows]
        self.wide = max(width for row in sizes for _, width in row)
        self.heights = [max((height for height, _ in row), default=cell) for row in sizes]
        self.headings = [[_lines(text, self.wide) for text in row.headings] for row in rows]
        self.labels = [_lines(row.label, height) for row, height in zip(rows, self.heights, strict=True)]
        self._room = _LINE * max(map(len, self.labels)) + (_GAP if any(self.labels) else 0)
        across = max(len(row.pictures) for row in rows)
        beside = head[1] + 2 * _GAP if head is not None else 0
        self.width = max(self.left(across) - _GAP + _MARGIN, _NARROWEST + beside)

    def tops(self, y: float) -> list[float]:
        """Returns where the pictures of each row begin, if the first row's headings begin at ``y``."""
        found = []
        for headings, height in zip(self.headings, self.heights, strict=True):
            y += _LINE * max(map(len, headings), default=0)
            found.append(y)
            y += height + _GAP
        return found

    def left(self, column: int) -> float:
        """Returns where a column begins."""
        return _MARGIN + column * (self.wide + _GAP) + (self._room if column >= self.lead else 0)


def _size(picture: RGB, cell: float) -> tuple[float, float]:
    """Returns height and width of a picture in a figure."""
    height, width = picture.shape[:2]
    return cell * height / max(height, width), cell * width / max(height, width)


def _lines(text: str, room: float) -> list[str]:
    return fitted(text, room, LABEL, 2).split("\n") if text else []


def _draw_row(figure: "Figure", page: _Page, number: int, top: float) -> None:
    """Draws the pictures of a row, and the texts at them."""
    row, height = page.rows[number], page.heights[number]
    for column, picture in enumerate(row.pictures):
        if picture is not None:
            h, w = _size(picture, page.cell)
            _show(figure, picture, page.left(column) + (page.wide - w) / 2, top + (height - h) / 2, (h, w))
    for column, lines in enumerate(page.headings[number]):
        for index, line in enumerate(reversed(lines)):
            x, y = page.left(column) + page.wide / 2, top - _LINE * (index + 0.5)
            _write(figure, line, x, y, ha="center")
    for index, line in enumerate(reversed(page.labels[number])):
        x, y = page.left(page.lead) - _GAP - _LINE * (index + 0.5), top + height / 2
        _write(figure, line, x, y, ha="center", rotation=90)


def _draw_scales(figure: "Figure", scales: Sequence[Scale], tiers: list[list[int]], left: float, y: float) -> None:
    for tier in tiers:
        x, middle = left, y + _LINE / 2
        for scale in (scales[index] for index in tier):
            _write(figure, scale.low, x, middle)
            x += width(known(scale.low), LABEL) + _GAP
            _show(figure, scale.colours[None], x, middle - _BAR[0] / 2, _BAR)
            x += _BAR[1] + _GAP
            _write(figure, scale.high, x, middle)
            x += width(known(scale.high), LABEL) + 4 * _GAP
        y += _LINE + _GAP


def _side_by_side(scales: Sequence[Scale], room: float) -> list[list[int]]:
    """Returns which scales stand on each line."""
    tiers, left = list[list[int]](), 0.0
    for index, scale in enumerate(scales):
        needed = width(known(scale.low), LABEL) + width(known(scale.high), LABEL) + _BAR[1] + 2 * _GAP
        if tiers and needed <= left:
            tiers[-1].append(index)
        else:
            tiers.append([index])
            left = room
        left -= needed + 4 * _GAP
    return tiers


def _show(figure: "Figure", picture: RGB, x: float, y: float, size: tuple[float, float]) -> None:
    """Shows a picture, whose upper left corner is so far from the left and from above."""
    (wide, high), (height, width) = figure.get_size_inches(), size
    axes = figure.add_axes((x / wide, 1 - (y + height) / high, width / wide, height / high))
    axes.imshow(picture, aspect="auto", interpolation="antialiased")
    axes.set_axis_off()


def _write(
    figure: "Figure", text: str, x: float, y: float, *, size: float = LABEL, color: str = FAINT_INK, **how: Any
) -> None:
    """Writes a line at a place that is so far from the left and from above, in the middle of its height."""
    wide, high = figure.get_size_inches()
    # Dollars stand for themselves.
    text_at = {"size": size, "color": color, "va": "center", "family": FONT, "parse_math": False, **how}
    figure.text(x / wide, 1 - y / high, known(text), **text_at)
