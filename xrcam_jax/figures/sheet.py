"""Sheets of maps: pictures, and what methods show of them at each layer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Array, Float, UInt8

from xrcam_jax.figures.grid import CELL, DPI, Row, grid, scales
from xrcam_jax.figures.overlay import as_uint8, overlay, reduced
from xrcam_jax.figures.save import save as save
from xrcam_jax.figures.style import Style
from xrcam_jax.pictures.pages import RGB
from xrcam_jax.pictures.preprocessing import Box
from xrcam_jax.titles import layer_title, method_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A picture; they may differ in size.
Picture = UInt8[np.ndarray, "_ _ 3"] | Float[np.ndarray, "_ _ 3"]
#: By method and layer, the maps of all pictures.
Maps = Mapping[str, Mapping[str, Float[Array | np.ndarray, "b _ _"]]]
#: Pixels of the longer side of a picture in a sheet, for screens that show a sheet at twice its size.
_SIDE = round(2 * CELL * DPI)
#: Up to so many rows of maps a picture stands beside them; above them if there are more.
_BESIDE = 3
#: Maps side by side, of methods that have one each.
_ACROSS = 6


def sheet(
    pictures: Sequence[Picture],
    maps: Maps,
    *,
    titles: Sequence[str] | None = None,
    signed: Collection[str] = (),
    style: Style = Style(),
    heading: str = "",
    boxes: Sequence[Box] | None = None,
    columns: Literal["layers", "methods"] = "layers",
) -> "Figure":
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
      columns: what stands side by side: the layers, or the methods, which then have a row for each layer.

    Returns:
      The figure. A notebook shows it, and :func:`xrcam_jax.figures.save.save` writes it to a file.

    Raises:
      ValueError: naming the argument that does not fit the others.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.sheet import sheet
      >>> maps = {"grad_cam": {"layer3": np.ones((1, 7, 7)), "layer4": np.ones((1, 4, 4))}}
      >>> figure = sheet([np.zeros((32, 32, 3), np.uint8)], maps)
      >>> [text.get_text() for text in figure.texts]
      ['picture', 'layer 3', 'layer 4', 'Grad-CAM', 'saliency 0', '1']
    """
    _check(pictures, maps, titles, signed, boxes)
    several, names = len(pictures) > 1, list(titles or [""] * len(pictures))
    if not heading:
        heading = names[0] if not several else method_title(next(iter(maps))) if len(maps) == 1 else ""
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
        block = _Block.of(laid, columns)
        rows += block.rows(shown, names[index] if several else "", first=index == 0)
    of_sign = [method in signed for method in maps]
    found = scales(style, unsigned=not all(of_sign), signed=any(of_sign))
    if not several and block.beside and len(block.many) > _BESIDE:
        return grid(block.many, title=heading, scales=found, head=shown)
    named = several and len(rows) == len(pictures)
    return grid(rows, title=heading, scales=found, lead=1 if block.beside and not named else 0)


@dataclass(frozen=True)
class _Block:
    """Holds the maps of a picture.

    Attributes:
      many: rows of methods that have several maps.
      alone: the maps of the other methods, under their headings.
    """

    many: list[Row]
    alone: list[tuple[str, RGB]]

    @staticmethod
    def of(laid: Mapping[str, Mapping[str, RGB]], columns: str) -> "_Block":
        groups = dict[tuple[str, ...], list[str]]()
        for method, by_layer in laid.items():
            groups.setdefault(tuple(by_layer), []).append(method)
        many, alone = list[Row](), list[tuple[str, RGB]]()
        for layers, methods in groups.items():
            if len(layers) == 1:
                alone += [(_of_one_map(method, *layers), laid[method][layers[0]]) for method in methods]
                continue
            across, down = list(map(layer_title, layers)), list(map(method_title, methods))
            cells = [[laid[method][layer] for layer in layers] for method in methods]
            if columns == "methods":
                across, down, cells = down, across, [list(column) for column in zip(*cells, strict=True)]
            many += [
                Row(row, () if number else across, label)
                for number, (row, label) in enumerate(zip(cells, down, strict=True))
            ]
        return _Block(many, alone)

    @property
    def beside(self) -> bool:
        """Says whether the picture stands beside the rows, and not before the maps that stand alone."""
        return len(self.many) == 1 or (bool(self.many) and not self.alone)

    def rows(self, picture: RGB, name: str, *, first: bool) -> list[Row]:
        """Returns the rows with the picture among them, which has a name if there are several."""
        head = (name or "picture", picture)
        if not self.beside:
            rows = [*_side_by_side([head, *self.alone], len(self.many[0].pictures) if self.many else 0), *self.many]
        else:
            rows = [
                Row(
                    [None if number else picture, *row.pictures],
                    row.headings and ["" if number else head[0], *row.headings],
                    row.label,
                )
                for number, row in enumerate(self.many)
            ] + _side_by_side(self.alone, len(self.many[0].pictures) + 1)
        if name and len(rows) == 1:
            # The name has the row for itself, and the headings stand above the first picture.
            return [Row(rows[0].pictures, ["picture", *rows[0].headings[1:]] if first else (), name)]
        return rows


def _of_one_map(method: str, layer: str) -> str:
    return method_title(method) if layer in ("input", "aggregate") else f"{method_title(method)}, {layer_title(layer)}"


def _side_by_side(cells: Sequence[tuple[str, RGB]], across: int) -> list[Row]:
    """Returns rows of headed pictures, none longer than ``across``, or as long as suits them if that is 0."""
    across = across or ceil(len(cells) / max(1, ceil(len(cells) / _ACROSS)))
    rows = [cells[start : start + across] for start in range(0, len(cells), across)]
    return [Row([picture for _, picture in row], [text for text, _ in row]) for row in rows]


def _check(
    pictures: Sequence, maps: Maps, titles: Sequence[str] | None, signed: Collection[str], boxes: Sequence | None
) -> None:
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
