"""What a COCO file says, each part checked for its own sake, before it is known which frames there are.

Where something is not as COCO has it, a ValueError names its key.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

Polygon = Float[np.ndarray, "points 2"]


class Regions(NamedTuple):
    """What an annotation marks: polygons in the image's pixels, or an uncompressed RLE."""

    kind: str
    polygons: list[Polygon]
    rle: dict[str, Any] | None


class Annotation(NamedTuple):
    """One annotation: its key in the file, an id of its own, and whether that or all of it had been there before."""

    where: str
    number: int
    image: int
    category: int
    crowd: bool
    regions: Regions
    duplicate: bool
    renumbered: bool


def parsed(content: Any) -> tuple[dict[int, dict], dict[int, str], list[Annotation]]:
    """The images and the categories' names by id, and the annotations, all checked for their own sake."""
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
    """The RLE, uncompressed, its runs checked: of too few pycocotools makes a mask of whatever is in memory."""
    height, width = _numbers(f"{where}.size", _value(where, fields, "size", list), 2)
    counts = fields.get("counts")
    runs = _uncompressed(counts) if isinstance(counts, str) else _numbers(f"{where}.counts", counts)
    if any(run < 0 or run != int(run) for run in runs) or sum(runs) != height * width:
        raise ValueError(f"{where}.counts: expected runs of {height * width:g} pixels in all, found {sum(runs)}")
    return {"size": [int(height), int(width)], "counts": [int(run) for run in runs]}


def _uncompressed(text: str) -> list[int]:
    """COCO's compressed string of runs.

    Each character stands for six bits, from '0' on: the lowest five of a number come first, the sixth says that more
    follow, the fifth of the last is the sign. From the fourth on, the number is the difference to the run before last.
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
    """The objects of a list, each with its name in the file."""
    entries = [(f"{key}[{place}]", fields) for place, fields in enumerate(_value("", content, key, list))]
    for where, fields in entries:
        if not isinstance(fields, dict):
            raise ValueError(f"{where}: expected an object, found {type(fields).__name__}")
    return entries


def _value(where: str, fields: dict, key: str, kind: type) -> Any:
    name = f"{where}.{key}".lstrip(".")
    if key not in fields:
        raise ValueError(f"{name}: is missing")
    # In Python true and false are integers; iscrowd is written as either.
    if not isinstance(fields[key], kind) or (isinstance(fields[key], bool) and key != "iscrowd"):
        raise ValueError(f"{name}: expected {kind.__name__}, found {fields[key]!r:.60}")
    return fields[key]


def _numbers(where: str, values: Any, count: int | None = None) -> list[float]:
    """Checked to be finite numbers, and as many as asked."""
    right = isinstance(values, list) and count in (None, len(values))
    if not right or not all(type(value) in (int, float) and abs(value) < 1e15 for value in values):
        raise ValueError(f"{where}: expected {count or 'a list of'} finite numbers, found {values!r:.60}")
    return values


def _has_area(polygon: Polygon) -> bool:
    return len(polygon) > 2 and bool(np.linalg.matrix_rank(polygon - polygon[0]) == 2)
