"""Sheets of maps: pictures, and what methods show of them at each layer."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import ceil

import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from xrcam_jax.figures.grid import CELL, DPI, Row, grid, scales
from xrcam_jax.figures.overlay import Pixels, as_uint8, overlay, reduced
from xrcam_jax.figures.save import save as save
from xrcam_jax.figures.style import Style
from xrcam_jax.pictures.pages import RGB
from xrcam_jax.pictures.preprocessing import Box
from xrcam_jax.titles import layer_title, title

#: By method and layer, the maps of all pictures.
Maps = Mapping[str, Mapping[str, Float[Array | np.ndarray, "b _ _"]]]
#: Pixels of the longer side of a picture in a sheet, for screens that show a sheet at twice its size.
_SIDE = round(2 * CELL * DPI)
#: How many rows of maps a picture stands beside, in their middle, if there are other maps beside which it can stand.
_BESIDE = 3
#: Maps side by side, of methods that have one each.
_ACROSS = 6


def sheet(
    pictures: Sequence[Pixels],
    maps: Maps,
    *,
    titles: Sequence[str] | None = None,
    signed: Collection[str] = (),
    style: Style = Style(),  # noqa: B008 - it is frozen
    heading: str = "",
    boxes: Sequence[Box] | None = None,
) -> Figure:
    """Sets pictures and their maps on one sheet: a row for each picture and method, a column for each layer.

    Methods of one map each stand side by side.

    Args:
      pictures: uint8, or floats in [0, 1], (h, w, 3); they may differ in size.
      maps: by method and layer, in [0, 1], or in [-1, 1] for methods in ``signed``; one for each picture.
      titles: what stands at each picture.
      signed: the methods whose maps have evidence for and against.
      style: how the maps are drawn.
      heading: what stands on top.
      boxes: the part of each picture that its maps are of, all of it by default.

    Returns:
      The figure. A notebook shows it, and :func:`xrcam_jax.figures.save.save` writes it to a file.

    Raises:
      ValueError: naming the argument that does not fit the others.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.sheet import sheet
      >>> maps = {"grad_cam": {"layer3": np.ones((1, 7, 7)), "layer4": np.ones((1, 4, 4))}}
      >>> figure = sheet(np.zeros((1, 32, 32, 3), np.uint8), maps)
      >>> [text.get_text() for text in figure.texts]
      ['picture', 'layer 3', 'layer 4', 'Grad-CAM', 'saliency 0', '1']
    """
    _check(pictures, maps, titles, signed, boxes)
    several, names = len(pictures) > 1, list(titles or [""] * len(pictures))
    if not heading:
        heading = names[0] if not several else title(next(iter(maps))) if len(maps) == 1 else ""
    rows = list[Row]()
    for index, picture in enumerate(pictures):
        shown, box = reduced(as_uint8(picture), boxes[index] if boxes else None, _SIDE)
        laid = {
            method: {
                layer: overlay(shown, np.asarray(each[index]), style, signed=method in signed, box=box)
                for layer, each in by_layer.items()
            }
            for method, by_layer in maps.items()
        }
        rows += _rows(shown, names[index] if several else "", laid, first=index == 0)
    of_sign = [method in signed for method in maps]
    found = scales(style, unsigned=not all(of_sign), signed=any(of_sign))
    return grid(rows, title=heading, scales=found, lead=_lead(rows, len(pictures)))


def _rows(picture: RGB, name: str, laid: Mapping[str, Mapping[str, RGB]], *, first: bool) -> list[Row]:
    """Returns the rows of a picture: methods of several layers have one each, and the others stand side by side."""
    many = [(method, by_layer) for method, by_layer in laid.items() if len(by_layer) > 1]
    alone = [(_of_one_map(method, by_layer), *by_layer.values()) for method, by_layer in laid.items() if len(by_layer) == 1]
    beside = bool(many) and (len(many) <= _BESIDE or not alone)
    head = (name or "picture", picture)
    rows, across = list[Row](), max((len(by_layer) for _, by_layer in many), default=0)
    before = None
    for number, (method, by_layer) in enumerate(many):
        heads = [] if list(by_layer) == before else list(map(layer_title, by_layer))
        before, cells = list(by_layer), list[RGB | None](by_layer.values())
        if beside:
            heads = heads and [head[0] if number == 0 else "", *heads]
            cells = [None if number else picture, *cells]
        rows.append(Row(cells, heads, title(method)))
    side_by_side = list(_flow(alone if beside else [head, *alone], across + 1 if beside else across))
    rows = rows + side_by_side if beside else side_by_side + rows
    if name and len(rows) == 1:
        # The name has the row for itself, and the headings stand above the first picture.
        (row,) = rows
        return [Row(row.pictures, ["picture", *row.headings[1:]] if first else [], name)]
    return rows


def _of_one_map(method: str, by_layer: Mapping[str, RGB]) -> str:
    (layer,) = by_layer
    return title(method) if layer in ("input", "aggregate") else f"{title(method)}, {layer_title(layer)}"


def _flow(cells: Sequence[tuple[str, RGB]], across: int) -> Iterator[Row]:
    """Yields rows of headed pictures, none longer than ``across``, or as long as suits them if that is 0."""
    across = across or ceil(len(cells) / max(1, ceil(len(cells) / _ACROSS)))
    for start in range(0, len(cells), across):
        heads, pictures = zip(*cells[start : start + across], strict=True)
        yield Row(pictures, heads)


def _lead(rows: Sequence[Row], pictures: int) -> int:
    """Returns how many pictures stand before the labels: one where it stands beside several rows of methods."""
    named = pictures > 1 and len(rows) == pictures
    beside = any(row.label and row.headings[:1] for row in rows) and not named
    return 1 if beside else 0


def _check(pictures: Sequence, maps: Maps, titles: Sequence[str] | None, signed: Collection[str], boxes: Sequence | None) -> None:
    count = len(pictures)
    if not count:
        raise ValueError("pictures: expected one or more, found none")
    if not any(maps.values()):
        raise ValueError("maps: expected those of one method or more, found none")
    for method, by_layer in maps.items():
        for layer, each in by_layer.items():
            if len(each) != count:
                raise ValueError(f"maps: {len(each)} of {method} at {layer} for {count} pictures")
    for name, values in (("titles", titles), ("boxes", boxes)):
        if values is not None and len(values) != count:
            raise ValueError(f"{name}: {len(values)} for {count} pictures")
    if isinstance(signed, str) or set(signed) - set(maps):
        raise ValueError(f"signed: expected names among {', '.join(maps)}, found {signed!r}")
