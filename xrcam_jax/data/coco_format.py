"""Reading what a COCO file says: each part is checked for its own sake, whatever frames there are.

Where something is not as COCO has it, a ValueError names its key. What common tools write in other ways counts as
what it means: ids as text or as 7.0, ``iscrowd`` as null or text, one polygon without a list around it or as pairs of x
and y, and compressed runs without the image's size.
"""

import json
import re
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

Polygon = Float[np.ndarray, "points 2"]
#: An id is a number, also where it is written as text, or else a text.
Id = int | str

# In six bits a character, as many as a run of 2^64 pixels has.
_LONGEST_NUMBER = 13


class Regions(NamedTuple):
    """Regions are what an annotation marks.

    Attributes:
      kind: what it is drawn from, ``"polygon"``, ``"RLE"`` or ``"box"``; ``"nothing"`` where there is none of these.
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
      image: id of the image that it is of, or None.
      category: id of its category, or None.
      crowd: whether it marks a group.
      regions: what it marks.
      duplicate: whether an annotation before it is the same in every respect.
      renumbered: whether its id in the file belongs to an annotation before it.
    """

    where: str
    number: int
    image: Id | None
    category: Id | None
    crowd: bool
    regions: Regions
    duplicate: bool
    renumbered: bool


def parsed(content: Any) -> tuple[dict[Id, dict], dict[Id, str], list[Annotation]]:
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
    images: dict[Id, dict] = {}
    for where, fields in _entries(content, "images"):
        sides = {name: _whole(where, fields, name) for name in ("width", "height")}
        image = {"file_name": _value(where, fields, "file_name", str), **sides}
        if images.setdefault(_known_id(where, fields), image) != image:
            raise ValueError(f"{where}.id: {fields['id']} is also the id of another image")
    categories: dict[Id, str] = {}
    for where, fields in _entries(content, "categories"):
        name = _value(where, fields, "name", str)
        if categories.setdefault(_known_id(where, fields), name) != name:
            raise ValueError(f"{where}.id: {fields['id']} is also the id of another category")
    return images, categories, _annotations(content, images)


def _annotations(content: dict, images: dict[Id, dict]) -> list[Annotation]:
    entries = _entries(content, "annotations")
    numbers = [_id(where, fields, "id") for where, fields in entries]
    free = max((number for number in numbers if isinstance(number, int)), default=0) + 1
    same_id: dict[Id | None, set[str]] = {}
    annotations = []
    for number, (where, fields) in zip(numbers, entries, strict=True):
        others, written = same_id.setdefault(number, set()), json.dumps(fields, sort_keys=True)
        duplicate = written in others
        renumbered = not duplicate and (bool(others) or not isinstance(number, int))
        others.add(written)
        if not isinstance(number, int) or renumbered:
            number, free = free, free + 1
        image, category = _id(where, fields, "image_id"), _id(where, fields, "category_id")
        regions = _regions(where, fields, None if image is None else images.get(image))
        crowd = _crowd(where, fields)
        annotations.append(Annotation(where, number, image, category, crowd, regions, duplicate, renumbered))
    return annotations


def _known_id(where: str, fields: dict) -> Id:
    found = _id(where, fields, "id")
    if found is None:
        raise ValueError(f"{where}.id: is missing")
    return found


def _id(where: str, fields: dict, key: str) -> Id | None:
    """Returns an id; None where there is none, or null."""
    value = fields.get(key)
    if isinstance(value, str):
        number = re.fullmatch(r"\s*(-?[0-9]{1,18})(?:\.0+)?\s*", value)
        return int(number[1]) if number else value
    return None if value is None else _whole(where, fields, key)


def _whole(where: str, fields: dict, key: str) -> int:
    value = _value(where, fields, key, int | float)
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{where}.{key}: expected int, found {value!r}")
    return int(value)


def _crowd(where: str, fields: dict) -> bool:
    value = fields.get("iscrowd")
    if value in (None, 0, "0"):
        return False
    if value not in (1, "1"):
        raise ValueError(f"{where}.iscrowd: expected 0 or 1, found {value!r:.60}")
    return True


def _regions(where: str, fields: dict, image: dict | None) -> Regions:
    segmentation = fields.get("segmentation")
    if isinstance(segmentation, str) and segmentation and image is not None:
        segmentation = {"size": [image["height"], image["width"]], "counts": segmentation}
    if isinstance(segmentation, dict) and segmentation:
        return Regions("RLE", [], _rle(f"{where}.segmentation", segmentation))
    if segmentation and not isinstance(segmentation, list | str):
        raise ValueError(f"{where}.segmentation: expected polygons or an RLE, found {type(segmentation).__name__}")
    if isinstance(segmentation, list) and any(segmentation):
        polygons = [
            _polygon(f"{where}.segmentation[{place}]", values) for place, values in enumerate(_outlines(segmentation))
        ]
        return Regions("polygon", [one for one in polygons if _has_area(one)], None)
    if not fields.get("bbox"):
        return Regions("nothing", [], None)
    left, top, width, height = _numbers(f"{where}.bbox", _value(where, fields, "bbox", list), 4)
    right, bottom = left + width, top + height
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    return Regions("box", [corners] if width > 0 and height > 0 else [], None)


def _outlines(segmentation: list) -> list:
    """Returns a list of polygons, also where there is one without a list around it, or one as pairs of x and y."""
    if all(type(value) in (int, float) for value in segmentation):
        return [segmentation]
    if all(isinstance(pair, list) and len(pair) == 2 for pair in segmentation):
        return [[number for pair in segmentation for number in pair]]
    return segmentation


def _polygon(where: str, values: Any) -> Polygon:
    numbers = _numbers(where, values)
    if len(numbers) % 2:
        raise ValueError(f"{where}: expected x and y in turn, found {len(numbers)} numbers")
    return np.array(numbers, np.float64).reshape(-1, 2)


def _rle(where: str, fields: dict) -> dict[str, Any]:
    """Uncompresses an RLE and checks its runs: from too few, pycocotools makes a mask of whatever is in memory."""
    height, width = _numbers(f"{where}.size", _value(where, fields, "size", list), 2)
    counts = fields.get("counts")
    runs = _uncompressed(f"{where}.counts", counts) if isinstance(counts, str) else _numbers(f"{where}.counts", counts)
    if any(run < 0 or run != int(run) for run in runs) or sum(runs) != height * width:
        raise ValueError(f"{where}.counts: expected runs of {height * width:g} pixels in all, found {sum(runs)}")
    return {"size": [int(height), int(width)], "counts": [int(run) for run in runs]}


def _uncompressed(where: str, text: str) -> list[int]:
    """Reads the runs from COCO's compressed string.

    Each character, from '0' on, stands for six bits. The lowest five bits of a number come first, the sixth says that
    more follow, and the fifth of the last is the sign. From the fourth on, a number is the difference to the run before
    the last.
    """
    runs: list[int] = []
    value = bits = 0
    for place, character in enumerate(text):
        code = ord(character) - 48
        if not 0 <= code < 64 or bits >= 5 * _LONGEST_NUMBER:
            raise ValueError(f"{where}: expected runs in COCO's letters, found {text[place:]!r:.20} at {place}")
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


def _value(where: str, fields: dict, key: str, kind: Any) -> Any:
    name = f"{where}.{key}".lstrip(".")
    if key not in fields:
        raise ValueError(f"{name}: is missing")
    # True and false are integers in Python, but not in a file.
    if not isinstance(fields[key], kind) or isinstance(fields[key], bool):
        expected = "int" if kind == int | float else kind.__name__
        raise ValueError(f"{name}: expected {expected}, found {fields[key]!r:.60}")
    return fields[key]


def _numbers(where: str, values: Any, count: int | None = None) -> list[float]:
    """Checks that there are finite numbers, and as many as asked."""
    right = isinstance(values, list) and count in (None, len(values))
    if not right or not all(type(value) in (int, float) and abs(value) < 1e15 for value in values):
        raise ValueError(f"{where}: expected {count or 'a list of'} finite numbers, found {values!r:.60}")
    return values


def _has_area(polygon: Polygon) -> bool:
    return len(polygon) > 2 and bool(np.linalg.matrix_rank(polygon - polygon[0]) == 2)
