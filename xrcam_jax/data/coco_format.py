"""Reading what a COCO file says: each part is checked for its own sake, whatever frames there are.

Where something is not as COCO has it, a ValueError names its key.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

Polygon = Float[np.ndarray, "points 2"]


class Regions(NamedTuple):
    """Regions are what an annotation marks.

    Attributes:
      kind: what it is drawn from, ``"polygon"``, ``"RLE"`` or ``"box"``.
      polygons: x and y of corners, in the image's pixels; a box is a polygon too.
      rle: uncompressed, with its ``size`` and ``counts``; None where there are polygons.
    """

    kind: str
    polygons: list[Polygon]
    rle: dict[str, Any] | None


class Annotation(NamedTuple):
    """One annotation.

    Attributes:
      where: its key in the file.
      number: its id, unique in the file.
      image: id of the image that it is of.
      category: id of its category.
      crowd: whether it marks a group.
      regions: what it marks.
      duplicate: whether an annotation before it is the same in every respect.
      renumbered: whether its id in the file belongs to an annotation before it.
    """

    where: str
    number: int
    image: int
    category: int
    crowd: bool
    regions: Regions
    duplicate: bool
    renumbered: bool


def parsed(content: Any) -> tuple[dict[int, dict], dict[int, str], list[Annotation]]:
    """Takes a COCO file apart.

    Args:
      content: the file's JSON.

    Returns:
      The images and the names of the categories, both by id, and the annotations in their order.

    Raises:
      ValueError: naming the key of what is missing or not as COCO has it.

    Example:
      >>> from xrcam_jax.data.coco_format import parsed
      >>> image = {"id": 7, "width": 4, "height": 3, "file_name": "a.png"}
      >>> annotation = {"id": 1, "image_id": 7, "category_id": 2, "bbox": [0, 0, 2, 1]}
      >>> categories = [{"id": 2, "name": "lesion"}]
      >>> content = {"images": [image], "annotations": [annotation], "categories": categories}
      >>> images, names, (found,) = parsed(content)
      >>> images[7]["width"], names, found.regions.kind
      (4, {2: 'lesion'}, 'box')
    """
    if not isinstance(content, dict):
        raise ValueError(f"expected a COCO object, found {type(content).__name__}")
    images: dict[int, dict] = {}
    for where, fields in _entries(content, "images"):
        sides = {name: _value(where, fields, name, int) for name in ("width", "height")}
        image = {"file_name": _value(where, fields, "file_name", str), **sides}
        if images.setdefault(_value(where, fields, "id", int), image) != image:
            raise ValueError(f"{where}.id: {fields['id']} is also the id of another image")
    categories: dict[int, str] = {}
    for where, fields in _entries(content, "categories"):
        name = _value(where, fields, "name", str)
        if categories.setdefault(_value(where, fields, "id", int), name) != name:
            raise ValueError(f"{where}.id: {fields['id']} is also the id of another category")
    return images, categories, _annotations(content)


def _annotations(content: dict) -> list[Annotation]:
    entries = _entries(content, "annotations")
    numbers = [_value(where, fields, "id", int) for where, fields in entries]
    free = max(numbers, default=0) + 1
    same_id: dict[int, list[dict]] = {}
    annotations = []
    for number, (where, fields) in zip(numbers, entries, strict=True):
        others = same_id.setdefault(number, [])
        duplicate = fields in others
        renumbered = bool(others) and not duplicate
        others.append(fields)
        if renumbered:
            number, free = free, free + 1
        image, category = _value(where, fields, "image_id", int), _value(where, fields, "category_id", int)
        crowd = bool(_value(where, {"iscrowd": 0, **fields}, "iscrowd", int))
        regions = _regions(where, fields)
        annotations.append(Annotation(where, number, image, category, crowd, regions, duplicate, renumbered))
    return annotations


def _regions(where: str, fields: dict) -> Regions:
    segmentation = fields.get("segmentation")
    if isinstance(segmentation, dict):
        return Regions("RLE", [], _rle(f"{where}.segmentation", segmentation))
    if not isinstance(segmentation, list | None):
        raise ValueError(f"{where}.segmentation: expected polygons or an RLE, found {type(segmentation).__name__}")
    if segmentation and any(segmentation):
        polygons = [_polygon(f"{where}.segmentation[{place}]", values) for place, values in enumerate(segmentation)]
        return Regions("polygon", [one for one in polygons if _has_area(one)], None)
    left, top, width, height = _numbers(f"{where}.bbox", _value(where, fields, "bbox", list), 4)
    right, bottom = left + width, top + height
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    return Regions("box", [corners] if width > 0 and height > 0 else [], None)


def _polygon(where: str, values: Any) -> Polygon:
    numbers = _numbers(where, values)
    if len(numbers) % 2:
        raise ValueError(f"{where}: expected x and y in turn, found {len(numbers)} numbers")
    return np.array(numbers, np.float64).reshape(-1, 2)


def _rle(where: str, fields: dict) -> dict[str, Any]:
    """Uncompresses an RLE and checks its runs: from too few, pycocotools makes a mask of whatever is in memory."""
    height, width = _numbers(f"{where}.size", _value(where, fields, "size", list), 2)
    counts = fields.get("counts")
    runs = _uncompressed(counts) if isinstance(counts, str) else _numbers(f"{where}.counts", counts)
    if any(run < 0 or run != int(run) for run in runs) or sum(runs) != height * width:
        raise ValueError(f"{where}.counts: expected runs of {height * width:g} pixels in all, found {sum(runs)}")
    return {"size": [int(height), int(width)], "counts": [int(run) for run in runs]}


def _uncompressed(text: str) -> list[int]:
    """Reads the runs from COCO's compressed string.

    Each character, from '0' on, stands for six bits. The lowest five bits of a number come first, the sixth says that
    more follow, and the fifth of the last is the sign. From the fourth on, a number is the difference to the run before
    the last.
    """
    runs: list[int] = []
    value = bits = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << bits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = bits = 0
    return runs


def _entries(content: dict, key: str) -> list[tuple[str, dict]]:
    """Returns the objects of a list, each with its key in the file."""
    entries = [(f"{key}[{place}]", fields) for place, fields in enumerate(_value("", content, key, list))]
    for where, fields in entries:
        if not isinstance(fields, dict):
            raise ValueError(f"{where}: expected an object, found {type(fields).__name__}")
    return entries


def _value(where: str, fields: dict, key: str, kind: type) -> Any:
    name = f"{where}.{key}".lstrip(".")
    if key not in fields:
        raise ValueError(f"{name}: is missing")
    # True and false are integers in Python, but not in a file; only iscrowd is written as either.
    if not isinstance(fields[key], kind) or (isinstance(fields[key], bool) and key != "iscrowd"):
        raise ValueError(f"{name}: expected {kind.__name__}, found {fields[key]!r:.60}")
    return fields[key]


def _numbers(where: str, values: Any, count: int | None = None) -> list[float]:
    """Checks that there are finite numbers, and as many as asked."""
    right = isinstance(values, list) and count in (None, len(values))
    if not right or not all(type(value) in (int, float) and abs(value) < 1e15 for value in values):
        raise ValueError(f"{where}: expected {count or 'a list of'} finite numbers, found {values!r:.60}")
    return values


def _has_area(polygon: Polygon) -> bool:
    return len(polygon) > 2 and bool(np.linalg.matrix_rank(polygon - polygon[0]) == 2)
