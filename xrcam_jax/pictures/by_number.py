"""Any picture of a folder or a video by its number, for programs in which somebody pages to and fro."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xrcam_jax.pictures.crop import Crop
from xrcam_jax.pictures.decode import opened
from xrcam_jax.pictures.decode_video import VideoFrame, frames_of_video
from xrcam_jax.pictures.pages import Facts, PathLike
from xrcam_jax.pictures.read import Picture, is_video, list_files, pages_of, readers, stem_of
from xrcam_jax.pictures.unique_names import UniqueNames
from xrcam_jax.pictures.views import FieldOfView, Views, fitting, natural


@dataclass(frozen=True)
class Entry:
    """A picture that has not been read.

    Attributes:
      path: the file that it is in.
      name: as :func:`xrcam_jax.pictures.read.stream` calls it.
      page: its number in the file, from 0.
      pages: how many the file has, as far as its headers say.
    """

    path: Path
    name: str
    page: int
    pages: int


class PicturesByNumber:
    """Reads pictures of a folder or a file in any order; those of a video are quick in the order in which they are.

    Only one thread may read at a time.

    Args:
      path: a picture, a video, or a folder of both.
      field_of_view: what the network is shown of each picture, as :func:`xrcam_jax.pictures.read.stream` has it.
      notice: called with a line about each field of view that is found.

    Raises:
      ValueError: ``field_of_view`` is none of those that there are.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> from PIL import Image
      >>> from xrcam_jax.pictures.by_number import PicturesByNumber
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for number in range(3):
      ...         Image.new("L", (4, 2), number).save(f"{folder}/{number}.png")
      ...     pictures = PicturesByNumber(folder)
      ...     len(pictures), pictures.entries[1].name, int(pictures.read(2).pixels.max())
      (3, '1', 2)
    """

    def __init__(
        self,
        path: PathLike,
        *,
        field_of_view: FieldOfView = "none",
        notice: Callable[[str], None] = lambda line: None,
    ):
        path = Path(path)
        self.entries = tuple(_entries(path))
        singles = sorted({entry.path for entry in self.entries if _is_single(entry)}, key=natural)
        self._views = Views(field_of_view, {path: singles} if path.is_dir() else {}, notice)
        self._of_files: dict[Path, Crop | None] = {}
        self._video: _OpenVideo | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def read(self, number: int) -> Picture:
        """Returns a picture, with the square that the network is shown.

        Raises:
          ValueError: naming the file that cannot be read, or has no such square or no such frame.
        """
        entry = self.entries[number]
        path, name = entry.path, entry.name
        if is_video(path):
            view = self._of_file(path)
            frame = self._frame(path, entry.page)
            pixels = frame()
            return Picture(path, name, pixels, number, Facts(), fitting(view, path, pixels), frame.time)
        view = None if _is_single(entry) else self._of_file(path)
        with opened(path) as pages:
            page = pages.read(entry.page)
        view = self._views.of_picture(path, page.pixels) if _is_single(entry) else fitting(view, path, page.pixels)
        return Picture(path, name, page.pixels, number, Facts(page.depth, entry.pages, page.window), view)

    def _of_file(self, path: Path) -> Crop | None:
        """Returns the square that all frames of a file share."""
        if path not in self._of_files:
            self._of_files[path] = self._views.of_frames(path, readers(path))
        return self._of_files[path]

    def _frame(self, path: Path, number: int) -> VideoFrame:
        if self._video is None or self._video.path != path or self._video.next > number:
            self._video = _OpenVideo(path, frames_of_video(path))
        try:
            return self._video.frame(number)
        except ValueError:
            # A decoder that has failed does not go on; the next frame is looked for from the start.
            self._video = None
            raise


@dataclass
class _OpenVideo:
    """Holds a video as far as it has been read.

    Attributes:
      path: of the file.
      frames: those that are still to come, with their numbers.
      next: the number of the first of them.
    """

    path: Path
    frames: Iterator[tuple[int, VideoFrame]]
    next: int = 0

    def frame(self, number: int) -> VideoFrame:
        for found, frame in self.frames:
            self.next = found + 1
            if found == number:
                return frame
        raise ValueError(f"{self.path}: has no frame {number}: it ends after {self.next}, its header says more")


def _entries(path: Path) -> Iterator[Entry]:
    names = UniqueNames()
    for file in list_files([path]):
        if is_video(file):
            pages = pages_of(file) or _counted(file)
            stem = names.take(stem_of(file), "video")
            yield from (Entry(file, f"{stem}_{page:06d}", page, pages) for page in range(max(1, pages)))
            continue
        pages = pages_of(file)
        stem = names.take(stem_of(file), "pages" if pages > 1 else "picture")
        yield from (Entry(file, f"{stem}#{page + 1}" if pages > 1 else stem, page, pages) for page in range(pages))


def _is_single(entry: Entry) -> bool:
    return entry.pages == 1 and not is_video(entry.path)


def _counted(video: Path) -> int:
    """Counts the frames of a video whose header does not tell; one that cannot be read has those before the damage."""
    count = 0
    try:
        for _ in readers(video):
            count += 1
    except ValueError:
        pass
    return count
