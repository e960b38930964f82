"""The part of each picture that a network is shown: the square that ``xrcam prepare`` would cut, a given one, or all.

A video has one square, found in frames from the whole of it, and so have the pictures of a folder that are of one size;
a picture that is named by itself has its own. Frames that ``xrcam prepare`` has written are cut already.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from xrcam_jax.pictures.crop import Crop
from xrcam_jax.pictures.decode import read_rgb
from xrcam_jax.pictures.field_of_view import find_view, spread
from xrcam_jax.pictures.pages import RGB, Grey
from xrcam_jax.pictures.preprocessing import to_grey
from xrcam_jax.runtime.texts import read_text

#: Found, not cut at all, or a square given by its first column, its first row and its side in pixels.
FieldOfView = Literal["auto", "none"] | tuple[int, int, int]

MANIFEST = "manifest.csv"

_HINT = "with the field of view none (--field-of-view none), pictures are taken whole"


class Views:
    """Finds the square of each picture, and says once of each recording what was found.

    Args:
      field_of_view: what is asked for.
      folders: the pictures of each folder that is one recording, in order.
      notice: called with a line about each square that is found.

    Raises:
      ValueError: ``field_of_view`` is none of those that there are.
    """

    def __init__(
        self, field_of_view: FieldOfView, folders: Mapping[Path, Sequence[Path]], notice: Callable[[str], None]
    ):
        self._wanted, self._folders, self._notice = checked(field_of_view), folders, notice
        self._found: dict[Path, dict[tuple[int, int], Crop | ValueError]] = {}
        self._manifests: dict[Path, dict[str, int]] = {}
        self._said: set[Path] = set()

    def of_frames(self, path: Path, readers: Iterable[Callable[[], RGB]]) -> Crop | None:
        """Returns the square that all frames of a file share, or None where they are shown whole.

        Args:
          path: of a video, or of another file of several pictures.
          readers: of each frame, what reads it. Those that cannot be read are passed over.

        Raises:
          ValueError: naming the file in which no square is found, or in which the given one does not lie.
        """
        if self._wanted == "none":
            return None
        if self._wanted != "auto":
            first = next((frame for read in _attempts(readers, []) if (frame := read()) is not None), None)
            return None if first is None else _given(self._wanted, path, *first.shape)
        errors: list[ValueError] = []
        samples = _samples(readers, errors)
        if not samples:
            raise errors[0] if errors else ValueError(f"{path}: no frame in which to look for the field of view")
        return self._searched(path, samples)

    def of_picture(self, path: Path, pixels: RGB) -> Crop | None:
        """Returns the square of a file's only picture, or None where it is shown whole.

        Raises:
          ValueError: naming the picture, or its folder, in which no square is found.
        """
        height, width = pixels.shape[:2]
        if self._wanted == "none":
            return None
        if self._wanted != "auto":
            return _given(self._wanted, path, height, width)
        if self._is_prepared(path, height, width):
            return None
        if path.parent in self._folders:
            found = self._of_folder(path.parent).get((height, width))
            if isinstance(found, ValueError):
                raise found
            if found is not None:
                return found
        return self._searched(path, [to_grey(pixels)])

    def _of_folder(self, folder: Path) -> dict[tuple[int, int], Crop | ValueError]:
        """Returns the square of each size that was met among the folder's samples, or why there is none."""
        if folder not in self._found:
            samples = _samples((partial(read_rgb, path) for path in self._folders[folder]), [])
            self._found[folder] = {
                shape: self._searched_or_error(folder, [sample for sample in samples if sample.shape == shape])
                for shape in dict.fromkeys(sample.shape for sample in samples)
            }
        return self._found[folder]

    def _searched_or_error(self, path: Path, samples: list[Grey]) -> Crop | ValueError:
        try:
            return self._searched(path, samples)
        except ValueError as error:
            return error

    def _searched(self, path: Path, samples: list[Grey]) -> Crop:
        try:
            crop = find_view(samples)
        except ValueError as error:
            raise ValueError(f"{path}: {error}; {_HINT}") from None
        self._notice(
            f"{path}: field of view {crop.left},{crop.top},{crop.size} of {crop.width}x{crop.height} pixels, "
            f"found in {len(samples)} frame{'s' if len(samples) > 1 else ''}"
        )
        return crop

    def _is_prepared(self, path: Path, height: int, width: int) -> bool:
        """Tells whether a manifest lists a picture, with this size, as a frame that was cut.

        The pixels cannot tell: a dark frame looks like a frame with something dark around it.
        """
        path = path.absolute()
        # CLASS/PATIENT/ in the folder of frames: so deep lies what prepare writes.
        for folder in path.parents[:4]:
            if folder not in self._manifests:
                self._manifests[folder] = _listed(folder / MANIFEST)
            if self._manifests[folder].get(path.relative_to(folder).as_posix()) == height == width:
                if folder not in self._said:
                    self._said.add(folder)
                    self._notice(f"{folder}: frames that xrcam prepare has cut are taken as they are")
                return True
        return False


def checked(field_of_view: Any) -> FieldOfView:
    """Checks what is asked for.

    Args:
      field_of_view: ``"auto"``, ``"none"``, or column, row and side of a square.

    Returns:
      The same.

    Raises:
      ValueError: it is something else, or no square.

    Example:
      >>> from xrcam_jax.pictures.views import checked
      >>> checked((40, 30, 200))
      (40, 30, 200)
    """
    is_square = (
        isinstance(field_of_view, tuple)
        and len(field_of_view) == 3
        and all(isinstance(number, int) and number >= 0 for number in field_of_view)
        and field_of_view[2] > 0
    )
    if not is_square and field_of_view not in ("auto", "none"):
        raise ValueError(f"field_of_view: expected auto, none or x,y,size in pixels, found {field_of_view!r}")
    return field_of_view


def fitting(view: Crop | None, path: Path, pixels: RGB) -> Crop | None:
    """Checks that a file's frame is of the size of those that its view was found in.

    Args:
      view: of the file; None where it is shown whole.
      path: of the file, for messages.
      pixels: the frame.

    Returns:
      The view.

    Raises:
      ValueError: naming the file whose frames have several sizes.

    Example:
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.pictures.views import fitting
      >>> fitting(Crop(1, 0, 2, 4, 3), Path("clip.avi"), np.zeros((3, 5, 3), np.uint8))
      Traceback (most recent call last):
      ...
      ValueError: clip.avi: its field of view is of 4x3 pixels, a frame has 5x3
    """
    height, width = pixels.shape[:2]
    if view is not None and (view.height, view.width) != (height, width):
        of = f"{view.width}x{view.height} pixels"
        raise ValueError(f"{path}: its field of view is of {of}, a frame has {width}x{height}")
    return view


def natural(path: Path) -> list[str | int]:
    """Returns a key to sort files by, in which numbers in their names count as numbers.

    Args:
      path: of the file.

    Returns:
      The parts of its name, of which every other one is a number.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.views import natural
      >>> [path.name for path in sorted([Path("10.png"), Path("9.png")], key=natural)]
      ['9.png', '10.png']
    """
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", path.name))]


def _given(square: tuple[int, int, int], path: Path, height: int, width: int) -> Crop:
    left, top, size = square
    if left + size > width or top + size > height:
        raise ValueError(f"{path}: the field of view {left},{top},{size} does not lie in its {width}x{height} pixels")
    return Crop(left, top, size, width, height)


def _listed(manifest: Path) -> dict[str, int]:
    """Returns the side of each frame that a manifest lists; none where it is no manifest of ours."""
    try:
        content = io.StringIO(read_text(manifest), newline="")
        return {row["file"]: int(row["size"]) for row in csv.DictReader(content)}
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}


def _samples(readers: Iterable[Callable[[], RGB]], errors: list[ValueError]) -> list[Grey]:
    """Returns frames from the whole of a stream in grey, without those that cannot be read; adds why to ``errors``."""
    return [frame for frame in spread(_attempts(readers, errors)) if frame is not None]


def _attempts(readers: Iterable[Callable[[], RGB]], errors: list[ValueError]) -> Iterator[Callable[[], Grey | None]]:
    try:
        for read in readers:
            yield partial(_attempt, read, errors)
    except ValueError as error:
        # A video that ends early has the frames before.
        errors.append(error)


def _attempt(read: Callable[[], RGB], errors: list[ValueError]) -> Grey | None:
    try:
        return to_grey(read())
    except ValueError as error:
        errors.append(error)
        return None
