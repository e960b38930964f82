"""Pictures from files, folders and videos, as uint8 RGB arrays.

Whatever a file holds (grey, 16 bits, a palette, transparency, a camera held sideways), an (H, W, 3) array
comes out. What cannot be read is named and never silently half read.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
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
RGB = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Picture:
    """One picture or frame: where it comes from, a name that is unique in its stream, and its pixels."""

    source: Path
    name: str
    pixels: RGB


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
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as file:
            image = ImageOps.exif_transpose(file)
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path}: neither a picture ({', '.join(PICTURE_FORMATS)}) nor a video") from None
    # Pillow's decoders raise anything from SyntaxError to struct.error on a damaged file.
    except Exception as error:
        raise ValueError(f"{path}: damaged or truncated picture ({error})") from error
    if image.mode in ("I", "F"):
        raise ValueError(f"{path}: 32-bit pixels have no known range, save it with 8 or 16 bits")
    return _rgb(image)


def stream(
    paths: Iterable[PathLike], *, every: int = 1, report: Callable[[str], None] | None = None
) -> Iterator[Picture]:
    """Reads files, folders and videos lazily, one picture in memory at a time.

    A folder stands for its files in order of name, without those of its folders and hidden ones;
    a video ``clip.mp4`` for the frames ``clip_000000``, ``clip_000001``, ...

    Args:
      paths: pictures, videos and folders of both, in any mixture.
      every: of each video, take frames 0, every, 2 * every, ...
      report: called with a line that names each file that cannot be read; the others go on.

    Raises:
      ValueError: that same line, where ``report`` is None.
    """
    taken = _Taken()
    for path in list_files(paths):
        stem = ""
        try:
            for number, pixels in _read(path, every):
                stem = stem or taken.unique(path)
                yield Picture(path, stem if number is None else f"{stem}_{number:06d}", pixels)
        except ValueError as error:
            if report is None:
                raise
            report(str(error))


def list_files(paths: Iterable[PathLike]) -> list[Path]:
    """Replaces each folder by its files in order of name, without hidden ones and those of its folders."""
    return [file for path in map(Path, paths) for file in (_listed(path) if path.is_dir() else [path])]


def count(paths: Iterable[PathLike], *, every: int = 1) -> int:
    """How many pictures ``stream`` will give if all can be read, as the videos' headers say."""
    return sum(-(-_frames(path) // every) if _is_video(path) else 1 for path in list_files(paths))


def frame_rate(path: Path) -> float | None:
    """Frames per second of a video, as its header says: some say 0; None of a picture."""
    return _header(path, cv2.CAP_PROP_FPS) if _is_video(path) else None


def _read(path: Path, every: int) -> Iterator[tuple[int | None, RGB]]:
    """Pixels, of videos with the number of the frame."""
    if _is_video(path):
        yield from _read_video(path, every)
    else:
        yield None, read_picture(path)


def _read_video(path: Path, every: int) -> Iterator[tuple[int, RGB]]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    capture = cv2.VideoCapture(str(path))
    frame = 0
    try:
        expected = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        while capture.grab():
            if frame % every == 0:
                decoded, pixels = capture.retrieve()
                if not decoded:
                    break
                yield frame, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
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


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


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
        while not self._take(stem, _is_video(path)):
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
