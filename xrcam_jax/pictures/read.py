"""Reading many pictures and videos as one stream of named pictures.

What cannot be read is named and never silently half read.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count as count_from
from pathlib import Path
from typing import NamedTuple

from xrcam_jax.pictures.decode import opened
from xrcam_jax.pictures.decode_video import frames_of_video, video_header
from xrcam_jax.pictures.pages import RGB, Facts, Page, PathLike
from xrcam_jax.pictures.signatures import is_still_png
from xrcam_jax.pictures.unique_names import Kind, UniqueNames

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm", ".wmv")


@dataclass(frozen=True)
class Picture:
    """A picture, a page of a file or a frame of a video, as :func:`stream` gives it.

    Attributes:
      source: the file that it comes from.
      name: unique in its stream, made from the file's name.
      pixels: in RGB.
      number: its place in the stream, from 0; what cannot be read has a number too.
      facts: what the file says of it.
    """

    source: Path
    name: str
    pixels: RGB
    number: int = 0
    facts: Facts = field(default_factory=Facts)


def load_images(paths: PathLike | Iterable[PathLike]) -> list[RGB]:
    """Reads pictures, all pages of files that hold several, and all frames of videos.

    Args:
      paths: a file, a folder, which stands for its files, or several of both.

    Returns:
      The pictures, each of its own size.

    Raises:
      ValueError: naming the file that is missing, damaged or not a picture.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> from xrcam_jax.pictures.plot import save_picture
      >>> from xrcam_jax.pictures.read import load_images
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_picture(f"{folder}/a.png", np.zeros((2, 3, 3), np.uint8))
      ...     save_picture(f"{folder}/b.png", np.zeros((4, 4, 3), np.uint8))
      ...     [image.shape for image in load_images(folder)]
      [(2, 3, 3), (4, 4, 3)]
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    return [picture.pixels for picture in stream(paths)]


def stream(
    paths: Iterable[PathLike],
    *,
    every: int = 1,
    report: Callable[[str], None] | None = None,
    share: tuple[int, int] = (0, 1),
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

    Returns:
      The pictures, one after the other.

    Raises:
      ValueError: the line for ``report``, where that is None.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> from xrcam_jax.pictures.plot import save_picture
      >>> from xrcam_jax.pictures.read import stream
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for name in ("a.png", "a.jpg", "b.png"):
      ...         save_picture(f"{folder}/{name}", np.zeros((2, 3, 3), np.uint8))
      ...     [(picture.number, picture.name) for picture in stream([folder])]
      [(0, 'a'), (1, 'a_2'), (2, 'b')]
    """
    names = UniqueNames()
    numbers, (mine, shares) = count_from(0), share
    for path in list_files(paths):
        stem = ""
        try:
            for item in _items(path, every):
                # What is damaged has a name and a number too, so that they are the same in all shares.
                stem, number = stem or names.take(stem_of(path), item.kind), next(numbers)
                if number % shares != mine:
                    continue
                try:
                    page = item.read()
                except ValueError as error:
                    _tell(error, report)
                    continue
                facts = Facts(page.depth, item.pages, page.window)
                yield Picture(path, f"{stem}{item.suffix}", page.pixels, number, facts)
        except ValueError as error:
            if report is None or mine == 0:
                _tell(error, report)


def _tell(error: ValueError, report: Callable[[str], None] | None) -> None:
    if report is None:
        raise error
    report(str(error))


def list_files(paths: Iterable[PathLike]) -> list[Path]:
    """Replaces each folder by its files in order of name, without hidden ones and those of its own folders.

    Args:
      paths: of files and folders.

    Returns:
      Paths of files; those that do not exist are among them.

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
        return video_header(path).frames
    if is_still_png(path):
        return 1
    try:
        with opened(path) as pages:
            return pages.count
    except ValueError:
        return 1


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
    return video_header(path).rate if is_video(path) else None


class _Item(NamedTuple):
    """A picture of a file: what is added to the file's name, what decodes it, and how many pages the file has."""

    kind: Kind
    suffix: str
    read: Callable[[], Page]
    pages: int | None = None


def _frame(read: Callable[[], RGB]) -> Page:
    return Page(read())


def _items(path: Path, every: int) -> Iterator[_Item]:
    """Yields the pictures of a file, each of which is to be read before the next is asked for."""
    if is_video(path):
        for frame, read in frames_of_video(path, every=every):
            yield _Item("video", f"_{frame:06d}", partial(_frame, read))
        return
    with opened(path) as pages:
        several = pages.count > 1
        for number in range(0, pages.count, every):
            suffix = f"#{number + 1}" if several else ""
            yield _Item("pages" if several else "picture", suffix, partial(pages.read, number), pages.count)


def _listed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
