"""Pictures from files, folders and videos, as uint8 RGB arrays.

Whatever a file holds (grey, 16 bits, a palette, transparency, a camera held sideways), an (H, W, 3) array
comes out. What cannot be read is named and never silently half read.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
    taken: set[str] = set()
    for path in list_files(paths):
        try:
            for picture in _read(path, every):
                yield Picture(picture.source, _unique(picture.name, taken), picture.pixels)
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


def _read(path: Path, every: int) -> Iterator[Picture]:
    if _is_video(path):
        yield from _read_video(path, every)
    else:
        yield Picture(path, path.stem, read_picture(path))


def _read_video(path: Path, every: int) -> Iterator[Picture]:
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
                yield Picture(path, f"{path.stem}_{frame:06d}", cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
            frame += 1
    finally:
        capture.release()
    if frame == 0:
        raise ValueError(f"{path}: damaged, or not a video that OpenCV can read")
    if frame < expected - FRAMES_MISSING_AT_MOST:
        raise ValueError(f"{path}: damaged or truncated video, ends after {frame} of {expected} frames")


def _frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    try:
        return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
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


def _unique(name: str, taken: set[str]) -> str:
    """``name``, or ``name_2``, ``name_3``, ... where pictures of several folders share one."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate
