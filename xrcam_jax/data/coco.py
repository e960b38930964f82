"""Reading structures marked by hand: masks of prepared frames from a COCO file, such as MakeSense.ai exports.

An image of the file belongs to the frame with its base name; folders in ``file_name`` are ignored. Where its width and
height are those of the crop, its coordinates are the crop's. Where they are those of the recording's frames, they are
shifted and clipped to the crop. Images of any other size are left out and not scaled, as nothing says what was cut or
stretched.

Every annotation has one outcome, which :class:`Tally` counts:

- used: it marks at least one pixel of the crop.
- duplicate: it is the same in every respect as another one, which is kept.
- dropped frame: its frame was left out by the preparation, which kept others of the same recording.
- unknown image: its image is no frame of any prepared recording, or is not listed, or it has none.
- unknown category: its category is not listed, or it has none.
- size mismatch: its image has neither the size of the crop nor that of the recording's frames.
- no geometry: it has neither a segmentation nor a box.
- empty: the points of all its polygons lie on one line, or it is too thin to cover a pixel.
- outside the crop: it marks something, but no pixel of the crop.

The tally also counts what those that are used are, and what is remarkable about them:

- polygon, RLE, box: what the mask was drawn from. The box counts only where there is no segmentation.
- clipped to the crop: what it marks outside of the crop is cut off.
- self-crossing: parts that are encircled an even number of times are outside (as in pycocotools).
- renumbered: its id belongs to another annotation as well, or is no number; it gets the next free one.
- crowd: it is marked as a group (``iscrowd``); its mask counts like any other.
"""

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from pycocotools import mask as coco

from xrcam_jax.data.coco_format import Annotation, Id, Polygon, parsed
from xrcam_jax.data.manifest import Frame
from xrcam_jax.pictures.preprocessing import Box
from xrcam_jax.runtime.texts import read_json

OUTCOMES = (
    *("used", "duplicate", "dropped frame", "unknown image", "unknown category"),
    *("size mismatch", "no geometry", "empty", "outside the crop"),
)
REMARKS = ("polygon", "RLE", "box", "clipped to the crop", "self-crossing", "renumbered", "crowd")

# Largest coordinate, in sides of the image. pycocotools allocates in proportion to an outline's length, so absurd
# coordinates would take all memory.
FARTHEST = 10
# Longest outline, in pixels, for the same reason.
LONGEST = 2_000_000
# Most pairs of edges that are looked at for crossings; edges of real outlines lie near a few others each.
PAIRS = 20_000_000


@dataclass(frozen=True, eq=False)
class Instance:
    """One annotated structure.

    Attributes:
      number: the annotation's id, unique in its file.
      category: its name.
      crowd: whether it is a group marked as one.
      box: the least rows and columns of the crop that hold the mask.
      inside: the mask within ``box``.
    """

    number: int
    category: str
    crowd: bool
    box: Box
    inside: Bool[np.ndarray, "box_h box_w"]


@dataclass(frozen=True)
class Tally:
    """Counts what became of annotations; printed, it is a table.

    Attributes:
      outcomes: how many annotations had each of ``OUTCOMES``.
      remarks: how many of those that are used had each of ``REMARKS``.
    """

    outcomes: dict[str, int]
    remarks: dict[str, int]

    def __str__(self) -> str:
        rows = [("annotations", sum(self.outcomes.values()), "")]
        rows += [(name, count, "  ") for name, count in self.outcomes.items()]
        rows[2:2] = [(name, count, "    ") for name, count in self.remarks.items() if count]
        return "\n".join(f"{indent + name:24}{count:8}" for name, count, indent in rows)


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotations of prepared frames, as :func:`read_annotations` finds them.

    Attributes:
      frames: the prepared frames, by their ``file``.
      instances: for each frame, by its ``file``, what is marked in it, in the COCO file's order; often nothing.
      report: what became of all annotations.
      stranger: the name of the first image with annotations that is no frame's; None where there is none.
    """

    frames: dict[str, Frame]
    instances: dict[str, tuple[Instance, ...]]
    report: Tally
    stranger: str | None = None

    @property
    def annotated(self) -> list[str]:
        """The files of the frames with at least one usable annotation, in the frames' order."""
        return [file for file, instances in self.instances.items() if instances]

    @property
    def mismatch(self) -> str | None:
        """Says, with an example of each, that no image with annotations has the name of a frame; None if one has."""
        counts = self.report.outcomes
        known = sum(counts.values()) - counts["unknown image"] - counts["duplicate"]
        if known or self.stranger is None or not self.frames:
            return None
        frame = _base(next(iter(self.frames)))
        return f"no image has the name of a frame: expected names such as {frame!r}, found {self.stranger!r:.200}"

    def masks(self, file: str, size: int | None = None) -> Bool[np.ndarray, "size size"]:
        """Returns what all instances of a frame cover together.

        Args:
          file: the frame's, as in the manifest.
          size: side in pixels that the crop has been resized to, its own by default.

        Returns:
          The mask. A resized pixel is covered where at least half of it is.

        Raises:
          ValueError: where no frame has this file, or the size is not positive.
        """
        if file not in self.frames:
            raise ValueError(f"file: {file!r} is none of the prepared frames")
        side = self.frames[file].size
        mask = np.zeros((side, side), bool)
        for instance in self.instances[file]:
            mask[instance.box.slices] |= instance.inside
        return mask if size is None else resized(mask, (size, size))


def read_annotations(path: str | os.PathLike[str], frames: Sequence[Frame]) -> Annotations:
    """Reads a COCO file and puts its annotations onto the crops of prepared frames.

    Args:
      path: of the JSON file.
      frames: the prepared ones, as in the manifest.

    Returns:
      The instances of each frame, and a tally of what became of all annotations.

    Raises:
      ValueError: names the file and the key that is missing or not as COCO has it, or the image or category id that
        stands for two different things.

    Example:
      >>> import json
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.data.coco import read_annotations
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.manifest import Frame
      >>> frame = Frame("sick/clip_000000.png", "sick", "p1", "sick/p1/clip.avi", 0, Crop(0, 0, 3, 8, 8))
      >>> content = {
      ...     "images": [{"id": 7, "width": 3, "height": 3, "file_name": "clip_000000.png"}],
      ...     "categories": [{"id": 2, "name": "lesion"}],
      ...     "annotations": [{"id": 1, "image_id": 7, "category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 1, 0, 1]]}],
      ... }
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "annotations.json"
      ...     _ = path.write_text(json.dumps(content))
      ...     annotations = read_annotations(path, [frame])
      >>> annotations.masks(frame.file).astype(int).tolist()
      [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
      >>> print(annotations.report)
      annotations                    1
        used                         1
          polygon                    1
        duplicate                    0
        dropped frame                0
        unknown image                0
        unknown category             0
        size mismatch                0
        no geometry                  0
        empty                        0
        outside the crop             0
    """
    try:
        content = read_json(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    try:
        images, categories, annotations = parsed(content)
        by_name = {_base(frame.file): frame for frame in frames}
        recordings = {name.rpartition("_")[0] for name in by_name}
        places = {id: _place(image, by_name, recordings) for id, image in images.items()}
        outcomes, remarks = Counter[str](), Counter[str]()
        instances: dict[str, list[Instance]] = {frame.file: [] for frame in frames}
        stranger = None
        for annotation in annotations:
            place = places.get(annotation.image, "unknown image") if annotation.image is not None else "unknown image"
            outcome, found, remarkable = _judged(annotation, place, categories)
            outcomes[outcome] += 1
            if outcome == "unknown image" and annotation.image in images:
                stranger = stranger or _base(images[annotation.image]["file_name"])
            remarks.update(remarkable)
            if found is not None and isinstance(place, _Place):
                instances[place.frame.file].append(found)
    except RecursionError:
        raise ValueError(f"{path}: expected COCO annotations, found JSON nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    counts = Tally({name: outcomes[name] for name in OUTCOMES}, {name: remarks[name] for name in REMARKS})
    by_file = {file: tuple(marked) for file, marked in instances.items()}
    return Annotations({frame.file: frame for frame in frames}, by_file, counts, stranger)


class _Place(NamedTuple):
    """Says which frame an image shows, how large the image is, and where the crop lies in it."""

    frame: Frame
    height: int
    width: int
    crop: Box


def _judged(
    annotation: Annotation, place: _Place | str, categories: dict[Id, str]
) -> tuple[str, Instance | None, list[str]]:
    """Returns the outcome of an annotation, the instance if it is used, and what is remarkable about it."""
    regions = annotation.regions
    if annotation.duplicate or isinstance(place, str):
        return ("duplicate" if annotation.duplicate else str(place)), None, []
    if annotation.category is None or annotation.category not in categories:
        return "unknown category", None, []
    if regions.kind == "nothing":
        return "no geometry", None, []
    mask = _mask(annotation, place)
    cropped = mask[place.crop.slices]
    leaves = any(
        polygon.min() < 0 or (polygon.max(axis=0) > (place.width, place.height)).any() for polygon in regions.polygons
    )
    if not cropped.any():
        return ("outside the crop" if leaves or mask.any() else "empty"), None, []
    remarkable = {
        regions.kind: True,
        "clipped to the crop": leaves or mask.sum() > cropped.sum(),
        "self-crossing": any(_crosses_itself(annotation.where, polygon) for polygon in regions.polygons),
        "renumbered": annotation.renumbered,
        "crowd": annotation.crowd,
    }
    box = _bounds(cropped)
    category = categories[annotation.category]
    instance = Instance(annotation.number, category, annotation.crowd, box, cropped[box.slices].copy())
    return "used", instance, [name for name, applies in remarkable.items() if applies]


def _place(image: dict[str, Any], by_name: dict[str, Frame], recordings: set[str]) -> _Place | str:
    """Returns where an image's annotations go, or the outcome that all of them have."""
    name, width, height = _base(image["file_name"]), image["width"], image["height"]
    frame = by_name.get(name)
    if frame is None:
        recording, _, number = name.rpartition("_")
        is_frame = recording in recordings and re.fullmatch(r"\d{6,}\.png", number)
        return "dropped frame" if is_frame else "unknown image"
    if (width, height) == (frame.size, frame.size):
        return _Place(frame, height, width, Box(0, 0, frame.size, frame.size))
    if (width, height) == (frame.crop.width, frame.crop.height):
        return _Place(frame, height, width, frame.crop.box)
    return "size mismatch"


def _base(file: str) -> str:
    return re.split(r"[/\\]", file)[-1]


def _mask(annotation: Annotation, place: _Place) -> Bool[np.ndarray, "h w"]:
    """Returns all that an annotation marks in its image, before it is cropped."""
    polygons, rle = annotation.regions.polygons, annotation.regions.rle
    height, width = place.height, place.width
    if rle is not None and list(rle["size"]) != [height, width]:
        where = f"{annotation.where}.segmentation.size"
        raise ValueError(f"{where}: expected the image's height and width {[height, width]}, found {rle['size']}")
    farthest = FARTHEST * max(height, width)
    if any(np.abs(polygon).max() > farthest for polygon in polygons):
        raise ValueError(f"{annotation.where}: expected coordinates of at most {farthest} pixels")
    length = sum(np.abs(polygon - np.roll(polygon, -1, axis=0)).max(axis=1).sum() for polygon in polygons)
    if length > LONGEST:
        raise ValueError(f"{annotation.where}: expected outlines of at most {LONGEST} pixels, found {length:.0f}")
    if rle is None and not polygons:
        return np.zeros((height, width), bool)
    outlines = [polygon.ravel().tolist() for polygon in polygons]
    runs = coco.frPyObjects(outlines if rle is None else rle, height, width)
    if rle is None:
        runs = coco.merge(runs)
    with warnings.catch_warnings():
        # pycocotools 2.0.11 does not know a parameter that NumPy 2 passes.
        warnings.simplefilter("ignore", DeprecationWarning)
        return coco.decode(runs).astype(bool)


def _crosses_itself(where: str, polygon: Polygon) -> bool:
    """Tells whether two edges of a polygon cross; edges that merely touch do not."""
    starts, ends = polygon, np.roll(polygon, -1, axis=0)
    for one, other in _near(where, starts, ends):
        parted = _side(starts[one], ends[one], starts[other]) * _side(starts[one], ends[one], ends[other]) < 0
        parts = _side(starts[other], ends[other], starts[one]) * _side(starts[other], ends[other], ends[one]) < 0
        if (parted & parts).any():
            return True
    return False


def _near(where: str, starts: Polygon, ends: Polygon) -> Iterator[tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]]:
    """Yields pairs of edges that overlap along one axis, many at a time; edges that do not cannot cross."""
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    # Of the edges in order of where they begin, those near an edge are the next ones that begin before it ends.
    orders = [np.argsort(low[:, axis], kind="stable") for axis in (0, 1)]
    counts = [
        np.searchsorted(low[order, axis], high[order, axis], side="right") - np.arange(1, len(order) + 1)
        for axis, order in enumerate(orders)
    ]
    axis = int(counts[1].sum() < counts[0].sum())
    order, count = orders[axis], counts[axis]
    if count.sum() > PAIRS:
        raise ValueError(f"{where}: expected a polygon of simpler shape, found {len(order)} edges beside each other")
    for part in np.array_split(np.arange(len(order)), 1 + count.sum() // 1_000_000):
        one = np.repeat(part, count[part])
        first = np.repeat(np.cumsum(count[part]) - count[part], count[part])
        other = one + 1 + np.arange(len(one)) - first
        yield order[one], order[other]


def _side(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> Float[np.ndarray, "n"]:
    """Returns a sign that says on which side of the line from start to end a point lies."""
    along, towards = end - start, point - start
    return np.sign(along[..., 0] * towards[..., 1] - along[..., 1] * towards[..., 0])


def _bounds(mask: Bool[np.ndarray, "h w"]) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def resized(mask: Bool[np.ndarray, "p q"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Resizes a mask.

    Args:
      mask: of any size.
      size: height and width in pixels, from 1.

    Returns:
      The mask at that size; a pixel is covered where at least half of it is.

    Raises:
      ValueError: the size is not positive.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.data.coco import resized
      >>> resized(np.array([[True, False, False, False], [True, True, False, True]]), (1, 2)).tolist()
      [[True, False]]
    """
    if min(size) < 1:
        raise ValueError(f"size: expected 1 or more pixels, got {min(size)}")
    interpolation = cv2.INTER_AREA if size < mask.shape else cv2.INTER_LINEAR
    covered = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=interpolation)
    return covered >= 0.5 - 1e-6
