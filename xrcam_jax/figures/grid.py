"""Pictures in rows, with texts beside them, as one figure of matplotlib. All lengths are in inches."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from xrcam_jax.figures.style import Style
from xrcam_jax.figures.texts import FONT, fitted, known, width
from xrcam_jax.pictures.pages import RGB

#: Pixels to an inch in PNG and JPEG files, and the longer side of a picture in a figure.
DPI, CELL = 140, 1.6
INK, FAINT_INK = "#202020", "#606060"
TITLE, LABEL = 11, 9
_MARGIN, _GAP, _LINE, _TITLE_LINE = 0.12, 0.06, 0.17, 0.2
#: A scale's bar, and the least width of a figure, which leaves room for a title.
_BAR, _NARROWEST = (1.2, 0.1), 3.4


@dataclass(frozen=True)
class Row:
    """Holds what stands side by side.

    Attributes:
      pictures: of any sizes; None where the picture above goes on, in the middle of its rows.
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


def grid(rows: Sequence[Row], *, title: str = "", scales: Sequence[Scale] = (), cell: float = CELL, lead: int = 0) -> Figure:
    """Sets pictures in rows on white paper, each as large as fits its cell.

    Args:
      rows: from above; they begin at the left and may differ in length.
      title: what stands on top, on up to three lines.
      scales: what stands below.
      cell: the longer side of the cells.
      lead: how many pictures stand before the labels of rows.

    Returns:
      A figure with an axes for each picture and each scale.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.grid import Row, grid
      >>> picture = np.zeros((30, 40, 3), np.uint8)
      >>> figure = grid([Row([picture, picture], ["before", "after"]), Row([picture])])
      >>> len(figure.axes)
      3
    """
    page = _Page.of(rows, title, scales, cell, lead)
    figure = Figure(figsize=(page.width, page.height), dpi=DPI, facecolor="white")
    y = _MARGIN
    for line in page.title:
        _write(figure, line, _MARGIN, y + _TITLE_LINE / 2, size=TITLE, color=INK, ha="left")
        y += _TITLE_LINE
    y += _GAP if page.title else 0
    tops = page.tops(y)
    for number, (row, top) in enumerate(zip(rows, tops, strict=True)):
        _row(figure, page, rows, number, top, tops)
        _label(figure, page, row, top)
    _draw_scales(figure, page, scales)
    return figure


@dataclass(frozen=True)
class _Page:
    """Says what is how large.

    Attributes:
      width: of the figure.
      height: of the figure.
      cell: height and width of the cells.
      lead: how many pictures stand before the labels.
      room: for the labels of rows.
      title: its lines.
      headings: of each row the lines of each of its headings, fitted.
      lines: of scales: which of them stand side by side.
    """

    width: float
    height: float
    cell: tuple[float, float]
    lead: int
    room: float
    title: list[str]
    headings: list[list[str]]
    lines: list[list[int]]

    @staticmethod
    def of(rows: Sequence[Row], title: str, scales: Sequence[Scale], cell: float, lead: int) -> "_Page":
        shapes = [p.shape[:2] for row in rows for p in row.pictures if p is not None]
        if not shapes:
            raise ValueError("rows: expected one picture or more, found none")
        high = max(cell * h / max(h, w) for h, w in shapes)
        wide = max(cell * w / max(h, w) for h, w in shapes)
        room = max((_LINE * (1 + fitted(r.label, high, LABEL, 2).count("\n")) for r in rows if r.label), default=0)
        room += _GAP / 2 if room else 0
        across = max(len(row.pictures) for row in rows)
        total = max(2 * _MARGIN + room + across * (wide + _GAP) - _GAP, _NARROWEST)
        titles = fitted(title, total - 2 * _MARGIN, TITLE, 3).split("\n") if title else []
        headings = [[fitted(text, wide, LABEL, 2) for text in row.headings] for row in rows]
        lines = _side_by_side(scales, total - 2 * _MARGIN)
        page = _Page(total, 0, (high, wide), lead, room, titles, headings, lines)
        top = _MARGIN + len(titles) * _TITLE_LINE + (_GAP if titles else 0)
        end = page.tops(top)[-1] + high
        height = end + len(lines) * (_LINE + _GAP) + (_GAP if lines else 0) + _MARGIN
        return _Page(total, height, (high, wide), lead, room, titles, headings, lines)

    def tops(self, y: float) -> list[float]:
        """Returns where the pictures of each row begin, if the first row's headings begin at ``y``."""
        found = []
        for headings in self.headings:
            y += _LINE * max((text.count("\n") + 1 for text in headings if text), default=0)
            found.append(y)
            y += self.cell[0] + _GAP
        return found

    def left(self, column: int) -> float:
        """Returns where a column begins."""
        return _MARGIN + column * (self.cell[1] + _GAP) + (self.room if column >= self.lead else 0)


def _row(figure: Figure, page: _Page, rows: Sequence[Row], number: int, top: float, tops: Sequence[float]) -> None:
    """Draws the pictures of a row, and its headings."""
    high, wide = page.cell
    for column, picture in enumerate(rows[number].pictures):
        if picture is None:
            continue
        below = takewhile(lambda row: _goes_on(row, column), rows[number + 1 :])  # noqa: B023 - it is used here
        last = tops[number + sum(1 for _ in below)] + high
        scale = min(high / picture.shape[0], wide / picture.shape[1])
        h, w = scale * picture.shape[0], scale * picture.shape[1]
        y, x = (top + last - h) / 2, page.left(column) + (wide - w) / 2
        axes = figure.add_axes((x / page.width, 1 - (y + h) / page.height, w / page.width, h / page.height))
        axes.imshow(picture, aspect="auto", interpolation="antialiased")
        axes.set_axis_off()
    for column, text in enumerate(page.headings[number]):
        lines = text.split("\n") if text else []
        for index, line in enumerate(reversed(lines)):
            middle = top - _LINE * (index + 0.5)
            _write(figure, line, page.left(column) + wide / 2, middle, size=LABEL, color=FAINT_INK, ha="center")


def _goes_on(row: Row, column: int) -> bool:
    return column < len(row.pictures) and row.pictures[column] is None


def _label(figure: Figure, page: _Page, row: Row, top: float) -> None:
    lines = fitted(row.label, page.cell[0], LABEL, 2).split("\n") if row.label else []
    for index, line in enumerate(reversed(lines)):
        x = page.left(page.lead) - _GAP / 2 - _LINE * (index + 0.5)
        y = top + page.cell[0] / 2
        _write(figure, line, x, y, size=LABEL, color=FAINT_INK, ha="center", rotation=90)


def _draw_scales(figure: Figure, page: _Page, scales: Sequence[Scale]) -> None:
    y = page.height - _MARGIN - len(page.lines) * (_LINE + _GAP) + _GAP
    bar, thick = _BAR
    for line in page.lines:
        x = _MARGIN
        for scale in (scales[index] for index in line):
            _write(figure, scale.low, x, y + _LINE / 2, size=LABEL, color=FAINT_INK, ha="left")
            x += width(known(scale.low), LABEL) + _GAP
            place = (x / page.width, 1 - (y + (_LINE + thick) / 2) / page.height, bar / page.width, thick / page.height)
            axes = figure.add_axes(place)
            axes.imshow(scale.colours[None], aspect="auto", interpolation="nearest")
            axes.set_axis_off()
            x += bar + _GAP
            _write(figure, scale.high, x, y + _LINE / 2, size=LABEL, color=FAINT_INK, ha="left")
            x += width(known(scale.high), LABEL) + 4 * _GAP
        y += _LINE + _GAP


def _side_by_side(scales: Sequence[Scale], room: float) -> list[list[int]]:
    """Returns which scales stand on each line."""
    lines, left = list[list[int]](), 0.0
    for index, scale in enumerate(scales):
        needed = width(known(scale.low), LABEL) + width(known(scale.high), LABEL) + _BAR[0] + 2 * _GAP
        if lines and needed <= left:
            lines[-1].append(index)
        else:
            lines.append([index])
            left = room
        left -= needed + 4 * _GAP
    return lines


def _write(figure: Figure, text: str, x: float, y: float, *, size: float, color: str, ha: str, rotation: int = 0) -> None:
    """Writes a line at a place that is given from the left and from above, in the middle of its height."""
    wide, high = figure.get_size_inches()
    # Dollars stand for themselves.
    figure.text(
        x / wide, 1 - y / high, known(text), size=size, color=color, ha=ha, va="center", rotation=rotation, family=FONT,
        parse_math=False,
    )  # fmt: skip
