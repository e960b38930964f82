"""Reading many pictures and videos as one stream of named pictures.

What cannot be read is named and never silently half read.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count as count_from
from pathlib import Path

from xrcam_jax.pictures.decode import RGB, PathLike, decoded, opened
from xrcam_jax.pictures.decode_video import VideoFrame, frames_of_video, video_header
from xrcam_jax.pictures.unique_names import UniqueNames

VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts"),
    *(".webm", ".wmv"),
)


@dataclass(frozen=True)
class Picture:
    """A picture or a frame of a video, as :func:`stream` gives it.

    Attributes:
      source: the file that it comes from.
      name: unique in its stream, made from the file's name.
      pixels: in RGB.
      number: its place in the stream, from 0; what cannot be read has a number too.
      time: when a frame is shown, in seconds on the clock of its video; None for a picture.
    """

    source: Path
    name: str
    pixels: RGB
    number: int = 0
    time: float | None = None


def load_images(paths: PathLike | Iterable[PathLike]) -> list[RGB]:
    """Reads pictures and all frames of videos.

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
    ``clip.mp4`` stands for its frames ``clip_000000``, ``clip_000001``, ...

    Args:
      paths: pictures, videos and folders of both, in any mixture.
      every: of each video, the frames 0, every, 2 * every, ... are taken.
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
            for frame, read in _pictures(path, every):
                # What is damaged has a name and a number too, so that they are the same in all shares.
                stem, number = stem or names.take(path.stem, is_video(path)), next(numbers)
                if number % shares != mine:
                    continue
                try:
                    pixels = read()
                except ValueError as error:
                    _tell(error, report)
                    continue
                name = stem if frame is None else f"{stem}_{frame:06d}"
                yield Picture(path, name, pixels, number, read.time if isinstance(read, VideoFrame) else None)
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
      The number; that of a video's frames is what its header says.

    Example:
      >>> from xrcam_jax.pictures.read import count
      >>> count(["a.png", "b.png"])
      2
    """
    return sum(-(-video_header(path).frames // every) if is_video(path) else 1 for path in list_files(paths))


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


def _pictures(path: Path, every: int) -> Iterator[tuple[int | None, Callable[[], RGB]]]:
    """Yields the number of each picture, None where it is no frame, and what reads it before the next is asked for."""
    if is_video(path):
        yield from frames_of_video(path, every=every)
    else:
        with opened(path) as file:
            yield None, partial(decoded, path, file)


def _listed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
