"""Reading many pictures and videos as one stream of named pictures.

What cannot be read is named and never silently half read.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import count as count_from
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from xrcam_jax.pictures.crop import Crop
from xrcam_jax.pictures.decode import opened
from xrcam_jax.pictures.pages import RGB, Facts, Page, PathLike
from xrcam_jax.pictures.preprocessing import Box, Preprocessing, crop_box, exact_box
from xrcam_jax.pictures.signatures import is_still_png
from xrcam_jax.pictures.unique_names import Kind, UniqueNames
from xrcam_jax.pictures.video_kinds import lacking
from xrcam_jax.pictures.views import FieldOfView, Views, fitting, natural

VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts"),
    *(".webm", ".wmv"),
)


@dataclass(frozen=True)
class Picture:
    """A picture, a page of a file or a frame of a video, as :func:`stream` gives it.

    Attributes:
      source: the file that it comes from.
      name: unique in its stream, made from the file's name.
      pixels: in RGB.
      number: its place in the stream, from 0; what cannot be read has a number too.
      facts: what the file says of it.
      view: the square that a network is shown; None where it is shown all.
      time: when a frame is shown, in seconds on the clock of its video; None for a picture.
    """

    source: Path
    name: str
    pixels: RGB
    number: int = 0
    facts: Facts = field(default_factory=Facts)
    view: Crop | None = None
    time: float | None = None

    @property
    def shown(self) -> RGB:
        """What a network is shown, before it is resized."""
        return self.pixels if self.view is None else self.pixels[self.view.box.slices]

    def seen(self, config: Preprocessing) -> Box:
        """Returns the part of the whole picture that a network sees, which takes a crop of what it is shown."""
        height, width = self.shown.shape[:2]
        box = crop_box(height, width, config)
        top, left = (0, 0) if self.view is None else (self.view.top, self.view.left)
        return Box(box.top + top, box.left + left, box.bottom + top, box.right + left)

    def seen_exactly(self, config: Preprocessing) -> tuple[float, float, float, float]:
        """Returns top, left, bottom and right of what a network sees, without rounding to whole pixels."""
        height, width = self.shown.shape[:2]
        box = exact_box(height, width, config)
        top, left = (0, 0) if self.view is None else (self.view.top, self.view.left)
        return box[0] + top, box[1] + left, box[2] + top, box[3] + left


def load_images(paths: PathLike | Iterable[PathLike], *, field_of_view: FieldOfView = "none") -> list[RGB]:
    """Reads pictures, all pages of files that hold several, and all frames of videos.

    Args:
      paths: a file, a folder, which stands for its files, or several of both.
      field_of_view: what of each picture is returned: ``"none"`` for all; ``"auto"`` for the square that
        ``xrcam prepare`` cuts out, one for all frames of a video and for all pictures of one size of a folder; or
        (x, y, size), its first column, first row and side in pixels. ``model.preprocessing.field_of_view`` says what
        a network was trained on.

    Returns:
      The pictures, each of its own size.

    Raises:
      ValueError: naming the file that is missing, damaged, not a picture, or has no such square.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> from xrcam_jax.pictures.write import save_picture
      >>> from xrcam_jax.pictures.read import load_images
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_picture(f"{folder}/a.png", np.zeros((2, 3, 3), np.uint8))
      ...     save_picture(f"{folder}/b.png", np.zeros((4, 4, 3), np.uint8))
      ...     [image.shape for image in load_images(folder)]
      ...     [image.shape for image in load_images(f"{folder}/b.png", field_of_view=(1, 0, 3))]
      [(2, 3, 3), (4, 4, 3)]
      [(3, 3, 3)]
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    return [picture.shown for picture in stream(paths, field_of_view=field_of_view)]


def stream(
    paths: Iterable[PathLike],
    *,
    every: int = 1,
    report: Callable[[str], None] | None = None,
    share: tuple[int, int] = (0, 1),
    field_of_view: FieldOfView = "none",
    notice: Callable[[str], None] | None = None,
) -> Iterator[Picture]:
    """Reads files, folders and videos lazily, with one picture in memory at a time.

    A folder stands for its files in order of name, without hidden ones and those of its own folders. A video
    ``clip.mp4`` stands for its frames ``clip_000000``, ``clip_000001``, ..., and a file of several pictures
    ``stack.tif`` for its pages ``stack#1``, ``stack#2``, ...

    Args:
      paths: pictures, videos and folders of both, in any mixture.
      every: of each video, the frames 0, every, 2 * every, ... are taken, and of each file of several pictures
        the pages 1, 1 + every, ...
      report: called with a line that names each file that cannot be read; the others go on.
      share: (i, n) gives every nth picture, from the ith on, each with the name that it has among all. Only these
        are read; all n go through the videos, and the first one reports those that are damaged.
      field_of_view: as for :func:`load_images`; the pictures come whole, with ``view`` set.
      notice: called with a line about each field of view that is found.

    Returns:
      The pictures, one after the other.

    Raises:
      ValueError: the line for ``report``, where that is None.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> from xrcam_jax.pictures.write import save_picture
      >>> from xrcam_jax.pictures.read import stream
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for name in ("a.png", "a.jpg", "b.png"):
      ...         save_picture(f"{folder}/{name}", np.zeros((2, 3, 3), np.uint8))
      ...     [(picture.number, picture.name) for picture in stream([folder])]
      [(0, 'a'), (1, 'a_2'), (2, 'b')]
    """
    paths, names = list(paths), UniqueNames()
    numbers, (mine, shares) = count_from(0), share
    folders = _recordings(paths) if field_of_view == "auto" else {}
    views = Views(field_of_view, folders, notice if notice and mine == 0 else _no_notice)
    told: set[str] = set()
    for path in list_files(paths):
        stem, view = "", None
        try:
            if path.is_dir():
                raise ValueError(f"{path}: the folder cannot be listed")
            for item in _items(path, every):
                if not stem and item.kind != "picture":
                    # All shares look, so that all leave out the same files.
                    view = views.of_frames(path, readers(path))
                # What is damaged has a name and a number too, so that they are the same in all shares.
                stem, number = stem or names.take(stem_of(path), item.kind), next(numbers)
                if number % shares != mine:
                    continue
                try:
                    page = item.read()
                    single = item.kind == "picture"
                    view = views.of_picture(path, page.pixels) if single else fitting(view, path, page.pixels)
                except ValueError as error:
                    _tell(error, report, told)
                    continue
                facts = Facts(page.depth, item.pages, page.window)
                yield Picture(path, f"{stem}{item.suffix}", page.pixels, number, facts, view, item.time)
        except ValueError as error:
            if report is None or mine == 0:
                _tell(error, report, told)


def _no_notice(line: str) -> None:
    pass


def _recordings(paths: Iterable[PathLike]) -> dict[Path, list[Path]]:
    """Returns the pictures of each folder in the order in which they were taken, as their numbers count."""
    folders = [Path(path) for path in paths if Path(path).is_dir()]
    return {folder: sorted(filter(_is_single, _listed(folder)), key=natural) for folder in folders}


def _is_single(path: Path) -> bool:
    return not is_video(path) and pages_of(path) == 1


def _tell(error: ValueError, report: Callable[[str], None] | None, told: set[str]) -> None:
    """Reports an error once, also where it is that of a whole folder."""
    if report is None:
        raise error
    if str(error) not in told:
        told.add(str(error))
        report(str(error))


def list_files(paths: Iterable[PathLike]) -> list[Path]:
    """Replaces each folder by its files in order of name, without hidden ones and those of its own folders.

    Args:
      paths: of files and folders.

    Returns:
      Paths of files; those that do not exist are among them, and so are folders that cannot be listed.

    Example:
      >>> from xrcam_jax.pictures.read import list_files
      >>> [path.name for path in list_files(["b.png", "a.png"])]
      ['b.png', 'a.png']
    """
    return [file for path in map(Path, paths) for file in (_listed(path) if path.is_dir() else [path])]


def stem_of(path: PathLike) -> str:
    """Returns the name of a file without its suffix; that of a compressed NIfTI has two parts.

    Args:
      path: of the file.

    Returns:
      What the names of its pictures begin with.

    Example:
      >>> from xrcam_jax.pictures.read import stem_of
      >>> stem_of("day1/scan.2.png"), stem_of("day1/brain.nii.gz")
      ('scan.2', 'brain')
    """
    path = Path(path)
    compressed = path.name.lower().endswith(".nii.gz")
    return path.name[: -len(".nii.gz")] if compressed else path.stem


def is_video(path: PathLike) -> bool:
    """Returns whether a file is taken for a video, which its suffix tells.

    Args:
      path: of the file, which need not exist.

    Returns:
      Whether its suffix is one of ``VIDEO_SUFFIXES``, in small letters or capitals.

    Example:
      >>> from xrcam_jax.pictures.read import is_video
      >>> is_video("clip.MP4"), is_video("scan.png")
      (True, False)
    """
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def count(paths: Iterable[PathLike], *, every: int = 1) -> int:
    """Counts the pictures that :func:`stream` gives if all can be read.

    Args:
      paths: as for :func:`stream`.
      every: as for :func:`stream`.

    Returns:
      The number; that of a video's frames is what its header says, and a file that cannot be opened counts as one.

    Example:
      >>> from xrcam_jax.pictures.read import count
      >>> count(["a.png", "b.png"])
      2
    """
    return sum(-(-pages_of(path) // every) for path in list_files(paths))


def pages_of(path: Path) -> int:
    """Counts the pictures of one file by its headers.

    Args:
      path: of a picture or video.

    Returns:
      How many pages or frames it has, as far as its headers say; 1 if it is a picture that cannot be opened.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.read import pages_of
      >>> pages_of(Path("missing.png"))
      1
    """
    if is_video(path):
        return _videos(path).video_header(path).frames
    if is_still_png(path):
        return 1
    try:
        with opened(path) as pages:
            return pages.count
    except ValueError:
        return 1


def readers(path: Path, *, every: int = 1) -> Iterator[Callable[[], RGB]]:
    """Goes through the pictures of one file, of which only those are decoded that are asked for.

    Args:
      path: of a picture or video.
      every: as for :func:`stream`.

    Returns:
      Of each picture, a function that reads it, before the next one is asked for.

    Raises:
      ValueError: names the file that is missing or damaged; so do the functions.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.read import readers
      >>> list(readers(Path("missing.png")))
      Traceback (most recent call last):
      ...
      ValueError: missing.png: no such file
    """
    for item in _items(path, every):
        yield partial(_pixels, item)


def frame_rate(path: Path) -> float | None:
    """Returns the frames per second of a video.

    Args:
      path: of a picture or video.

    Returns:
      The rate that the header says, which is 0 in some; None for a picture.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.read import frame_rate
      >>> frame_rate(Path("a.png")) is None
      True
    """
    return _videos(path).video_header(path).rate if is_video(path) else None


class _Item(NamedTuple):
    """A picture of a file: what is added to the file's name, what decodes it, of how many pages, and its time."""

    kind: Kind
    suffix: str
    read: Callable[[], Page]
    pages: int | None = None
    time: float | None = None


def _videos(path: Path) -> ModuleType:
    """Returns what reads videos; only now is its library loaded, which is an extra."""
    try:
        return import_module("xrcam_jax.pictures.decode_video")
    except ModuleNotFoundError as error:
        raise lacking(error, path) from error


def _pixels(item: _Item) -> RGB:
    return item.read().pixels


def _frame(read: Callable[[], RGB]) -> Page:
    return Page(read())


def _items(path: Path, every: int) -> Iterator[_Item]:
    """Yields the pictures of a file, each of which is to be read before the next is asked for."""
    if is_video(path):
        for frame, read in _videos(path).frames_of_video(path, every=every):
            yield _Item("video", f"_{frame:06d}", partial(_frame, read), time=read.time)
        return
    with opened(path) as pages:
        several = pages.count > 1
        for number in range(0, pages.count, every):
            suffix = f"#{number + 1}" if several else ""
            yield _Item("pages" if several else "picture", suffix, partial(pages.read, number), pages.count)


def _listed(folder: Path) -> list[Path]:
    """Lists a folder's files; links to nothing are among them, so that they are named when they cannot be read."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return [folder]
    return [path for path in paths if path.is_file() or (path.is_symlink() and not path.exists())]
