"""Recordings: which there are in a folder of classes and patients, and their frames in grey, one at a time."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from xrcam_jax.pictures.decode import Grey, read_rgb
from xrcam_jax.pictures.read import is_video, stream

# A patient's folder also holds notes and thumbnail databases: what counts as a picture is told by suffix.
PICTURE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Recording:
    """A video, or a folder of pictures that are its frames.

    Attributes:
      label: name of the class's folder.
      patient: name of the patient's folder.
      path: the video file, or the folder that the pictures are in.
      video: the same, relative to the folder of recordings, with ``/`` between folders.
    """

    label: str
    patient: str
    path: Path
    video: str


@dataclass(frozen=True)
class Recordings:
    """What a folder of recordings holds.

    Attributes:
      found: the recordings, in order of ``video``.
      misplaced: videos and pictures that are not in a patient's folder.
      others: files that are neither videos nor pictures.
    """

    found: tuple[Recording, ...]
    misplaced: tuple[Path, ...]
    others: tuple[Path, ...]


def find_recordings(folder: str | os.PathLike[str]) -> Recordings:
    """Looks through ``folder/CLASS/PATIENT/...``; folders in a patient's folder may be nested.

    Each video is a recording, and so are all the pictures of one folder together. What is hidden is passed over.

    Raises:
      OSError: a folder cannot be listed.
    """
    found: dict[str, Recording] = {}
    misplaced, others = [], []
    for file in _files(Path(folder)):
        if not is_video(file) and not _is_picture(file):
            others.append(file)
            continue
        path = file if is_video(file) else file.parent
        place = path.relative_to(folder)
        if len(file.relative_to(folder).parts) < 3:
            misplaced.append(file)
        else:
            label, patient = place.parts[:2]
            found[place.as_posix()] = Recording(label, patient, path, place.as_posix())
    return Recordings(tuple(found[video] for video in sorted(found)), tuple(misplaced), tuple(others))


def grey_frames(recording: Recording, *, every: int = 1) -> Iterator[tuple[int, Grey]]:
    """Numbers and intensities, in [0, 255], of the frames 0, every, 2 * every, ...; one is in memory at a time.

    Pictures are taken in order of their names, in which numbers count as numbers.

    Raises:
      ValueError: names the file that is missing, damaged, cut off, of several pictures, or of another size than the
        frames before. A video that does not tell its length, such as .mpg or .wmv, may end early unnoticed.
    """
    shape: tuple[int, ...] | None = None
    for number, source, pixels in _read(recording.path, every):
        shape = shape or pixels.shape[:2]
        if pixels.shape[:2] != shape:
            height, width = pixels.shape[:2]
            raise ValueError(f"{source}: frame {number} is {width}x{height}, those before are {shape[1]}x{shape[0]}")
        yield number, cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def files_of(recording: Recording) -> list[Path]:
    """The files that a recording is read from: the video, or its pictures in order."""
    if not recording.path.is_dir():
        return [recording.path]
    pictures = [path for path in recording.path.iterdir() if _is_picture(path) and not path.name.startswith(".")]
    return sorted(pictures, key=_natural)


def _read(path: Path, every: int) -> Iterator[tuple[int, Path, UInt8[np.ndarray, "h w 3"]]]:
    if path.is_dir():
        pictures = files_of(Recording("", "", path, ""))
        for number in range(0, len(pictures), every):
            yield number, pictures[number], read_rgb(pictures[number], single=True)
    else:
        for index, picture in enumerate(stream([path], every=every)):
            yield index * every, path, picture.pixels


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _natural(path: Path) -> list[str | int]:
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", path.name))]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES
