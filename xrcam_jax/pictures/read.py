"""Pictures from files, folders and videos, as uint8 RGB arrays.

Whatever a file holds (grey, 16 bits, a palette, transparency, a camera held sideways), an (H, W, 3) array
comes out. What cannot be read is named and never silently half read.
"""

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count as count_from
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm", ".wmv")

# Told apart by content, not by suffix. A closed list: Pillow also knows formats that start other programs.
PICTURE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

# The length in a video's header is off by a frame or two in files that are perfectly sound.
FRAMES_MISSING_AT_MOST = 2

PathLike = str | os.PathLike[str]
# Of any size each: a name in place of "_" would ask for the same size of all that one function handles.
RGB = UInt8[np.ndarray, "_ _ 3"]
Grey = UInt8[np.ndarray, "_ _"]


@dataclass(frozen=True)
class Picture:
    """One picture or frame: where it comes from, a name that is unique in its stream, its pixels, its number there."""

    source: Path
    name: str
    pixels: RGB
    number: int = 0


def is_video(path: PathLike) -> bool:
    """Whether a file is read as a video, which its suffix says."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def load_images(paths: PathLike | Iterable[PathLike]) -> list[RGB]:
    """Reads a file, several, or the files of a folder, each picture (or frame of a video) of its own size.

    Raises:
      ValueError: naming the file that is missing, damaged or not a picture.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    return [picture.pixels for picture in stream(paths)]


def read_picture(path: PathLike) -> RGB:
    """Reads one picture upright in RGB; 16-bit grey is scaled from its full range, transparency is ignored.

    Raises:
      ValueError: naming the file that is missing, damaged or not a picture.
    """
    with _opened(path) as file:
        return _decoded(path, file)


def read_single(path: PathLike) -> RGB:
    """Reads a picture as ``read_picture`` does, from a file that holds no other.

    Raises:
      ValueError: naming the file that is missing, damaged, not a picture or of several pictures.
    """
    pixels = read_picture(path)
    with _opened(path) as file:
        held = getattr(file, "n_frames", 1)
    if held > 1:
        raise ValueError(f"{path}: holds {held} pictures; expected one each, or a video")
    return pixels


def read_grey(path: PathLike) -> Grey:
    """Reads a PNG picture in grey by OpenCV, which lets other threads go on while it decodes.

    Raises:
      ValueError: naming the file that is missing, damaged or not a picture.
    """
    try:
        content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    picture = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if picture is None:
        raise ValueError(f"{path}: expected a PNG picture, found {content.size} bytes that are none")
    return picture


def format_and_size(content: bytes, formats: Sequence[str]) -> tuple[str, tuple[int, int]]:
    """The format of an encoded picture, and its width and height; all of it is decoded to see that it is whole.

    Raises:
      ValueError: the content is damaged or in none of ``formats``, some of ``PICTURE_FORMATS``.
    """
    try:
        with Image.open(io.BytesIO(content), formats=list(formats)) as picture:
            picture.load()
    except Image.UnidentifiedImageError:
        raise ValueError(f"no picture in {' or '.join(formats)}") from None
    except Exception as error:
        # Pillow's decoders raise anything on damaged content, from SyntaxError to struct.error.
        raise ValueError(str(error)) from error
    # A camera's MPO, which is several JPEG pictures in one file, is opened where JPEG is asked for.
    if picture.format is None or picture.format not in formats:
        raise ValueError(f"a picture in {picture.format}")
    return picture.format, picture.size


def stream(
    paths: Iterable[PathLike],
    *,
    every: int = 1,
    report: Callable[[str], None] | None = None,
    share: tuple[int, int] = (0, 1),
) -> Iterator[Picture]:
    """Reads files, folders and videos lazily, one picture in memory at a time.

    A folder stands for its files in order of name, without those of its folders and hidden ones;
    a video ``clip.mp4`` for the frames ``clip_000000``, ``clip_000001``, ...

    Args:
      paths: pictures, videos and folders of both, in any mixture.
      every: of each video, take frames 0, every, 2 * every, ...
      report: called with a line that names each file that cannot be read; the others go on.
      share: (i, n) gives every nth picture, from the ith on, each with the name that it has among all. Only these
        are read; all n go through the videos, and the first one reports those that are damaged.

    Raises:
      ValueError: that same line, where ``report`` is None.
    """
    taken = _Taken()
    numbers, (mine, shares) = count_from(0), share
    for path in list_files(paths):
        stem = ""
        try:
            for frame, read in _pictures(path, every):
                # What is damaged has a name and a number too: so they are the same in all shares.
                stem, number = stem or taken.unique(path), next(numbers)
                if number % shares != mine:
                    continue
                try:
                    pixels = read()
                except ValueError as error:
                    _tell(error, report)
                    continue
                yield Picture(path, stem if frame is None else f"{stem}_{frame:06d}", pixels, number)
        except ValueError as error:
            if report is None or mine == 0:
                _tell(error, report)


def _tell(error: ValueError, report: Callable[[str], None] | None) -> None:
    if report is None:
        raise error
    report(str(error))


def list_files(paths: Iterable[PathLike]) -> list[Path]:
    """Replaces each folder by its files in order of name, without hidden ones and those of its folders."""
    return [file for path in map(Path, paths) for file in (_listed(path) if path.is_dir() else [path])]


def count(paths: Iterable[PathLike], *, every: int = 1) -> int:
    """How many pictures ``stream`` will give if all can be read, as the videos' headers say."""
    return sum(-(-_frames(path) // every) if is_video(path) else 1 for path in list_files(paths))


def frame_rate(path: Path) -> float | None:
    """Frames per second of a video, as its header says: some say 0; None of a picture."""
    return _header(path, cv2.CAP_PROP_FPS) if is_video(path) else None


def has_all_frames(path: Path, frames: int) -> bool:
    """Whether a video's header counts so many frames, which is written last in some formats, and the last is there."""
    capture = cv2.VideoCapture(str(path))
    try:
        counted = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.set(cv2.CAP_PROP_POS_FRAMES, frames - 1)
        return abs(counted - frames) <= FRAMES_MISSING_AT_MOST and capture.grab()
    finally:
        capture.release()


def _pictures(path: Path, every: int) -> Iterator[tuple[int | None, Callable[[], RGB]]]:
    """Of each picture in a file the number, if it is a frame, and what reads it; before the next one is asked for."""
    if is_video(path):
        yield from _frames_of_video(path, every)
    else:
        with _opened(path) as file:
            yield None, partial(_decoded, path, file)


def _opened(path: PathLike) -> Image.Image:
    """A picture of which no more than the header has been read."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file")
    try:
        return Image.open(path, formats=PICTURE_FORMATS)
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path}: neither a picture ({', '.join(PICTURE_FORMATS)}) nor a video") from None
    except Exception as error:
        raise _damaged(path, error) from error


def _decoded(path: PathLike, file: Image.Image) -> RGB:
    try:
        image = ImageOps.exif_transpose(file)
    except Exception as error:
        raise _damaged(path, error) from error
    if image.mode in ("I", "F"):
        raise ValueError(f"{path}: 32-bit pixels have no known range, save it with 8 or 16 bits")
    return _rgb(image)


def _damaged(path: PathLike, error: Exception) -> ValueError:
    """Of whatever Pillow's decoders raise on a damaged file, which is anything from SyntaxError to struct.error."""
    return ValueError(f"{path}: damaged or truncated picture ({error})")


def _frames_of_video(path: Path, every: int) -> Iterator[tuple[int, Callable[[], RGB]]]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    capture = cv2.VideoCapture(str(path))
    frame = 0

    def read() -> RGB:
        decoded, pixels = capture.retrieve()
        if not decoded:
            raise ValueError(f"{path}: damaged video, frame {frame} cannot be decoded")
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    try:
        expected = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        while capture.grab():
            if frame % every == 0:
                yield frame, read
            frame += 1
    finally:
        capture.release()
    if frame == 0:
        raise ValueError(f"{path}: damaged, or not a video that OpenCV can read")
    if frame < expected - FRAMES_MISSING_AT_MOST:
        raise ValueError(f"{path}: damaged or truncated video, ends after {frame} of {expected} frames")


def _frames(path: Path) -> int:
    return max(0, int(_header(path, cv2.CAP_PROP_FRAME_COUNT)))


def _header(path: Path, field: int) -> float:
    capture = cv2.VideoCapture(str(path))
    try:
        return capture.get(field)
    finally:
        capture.release()


def _listed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _rgb(image: Image.Image) -> RGB:
    if image.mode.startswith("I;16"):
        grey = np.rint(np.asarray(image) / 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


@dataclass
class _Taken:
    """Stems of names that were given: one for each file and none for each frame, as videos may be long."""

    pictures: set[str] = field(default_factory=set)
    videos: set[str] = field(default_factory=set)
    # "clip" of a picture clip_000012.png, which a frame of clip.mp4 could be called as well.
    like_frames: set[str] = field(default_factory=set)

    def unique(self, path: Path) -> str:
        """The file's stem, or ``stem_2``, ``stem_3``, ... where pictures or frames would share a name."""
        stem, number = path.stem, 1
        while not self._take(stem, is_video(path)):
            number += 1
            stem = f"{path.stem}_{number}"
        return stem

    def _take(self, stem: str, is_video: bool) -> bool:
        if is_video:
            free = stem not in self.videos and stem not in self.like_frames
            self.videos.add(stem)
            return free
        match = re.fullmatch(r"(.+)_\d{6,}", stem)
        of_video = match[1] if match else ""
        free = stem not in self.pictures and of_video not in self.videos
        self.pictures.add(stem)
        if of_video:
            self.like_frames.add(of_video)
        return free
