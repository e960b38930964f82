"""Finding recordings in a folder of classes and patients, and reading their frames in grey, one at a time."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from xrcam_jax.pictures.decode import read_rgb
from xrcam_jax.pictures.pages import Grey
from xrcam_jax.pictures.read import is_video, pages_of, stream
from xrcam_jax.pictures.signatures import is_dicom

# Suffixes say what counts as a picture, since a patient's folder also holds notes and databases of thumbnails. Scanners
# write DICOM without a suffix, or with any.
_MEDICAL = (".dcm", ".nii", ".nii.gz")
_PLAIN = (".apng", ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
PICTURE_SUFFIXES = (*_MEDICAL, *_PLAIN)


@dataclass(frozen=True)
class Recording:
    """A video, a file of several pictures, or a folder of pictures: these are its frames.

    Attributes:
      label: name of the class's folder.
      patient: name of the patient's folder.
      path: the video or other file, or the folder that the pictures are in.
      video: the same, relative to the folder of recordings, with ``/`` between folders.
    """

    label: str
    patient: str
    path: Path
    video: str


@dataclass(frozen=True)
class Recordings:
    """Lists what a folder of recordings holds.

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

    Each video is a recording, and so is each file of several pictures (a stack, a DICOM of many frames), and all other
    pictures of one folder together. What is hidden is passed over.

    Args:
      folder: where the classes' folders are.

    Returns:
      The recordings and all other files.

    Raises:
      OSError: a folder cannot be listed.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.data.recordings import find_recordings
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for place in ("sick/p1/a.avi", "sick/p2/1.png", "sick/p2/2.png", "sick/notes.txt"):
      ...         (Path(folder) / place).parent.mkdir(parents=True, exist_ok=True)
      ...         (Path(folder) / place).touch()
      ...     recordings = find_recordings(folder)
      >>> [recording.video for recording in recordings.found], [path.name for path in recordings.others]
      (['sick/p1/a.avi', 'sick/p2'], ['notes.txt'])
    """
    found: dict[str, Recording] = {}
    misplaced, others = [], []
    for file in _files(Path(folder)):
        if not is_video(file) and not _is_picture(file):
            others.append(file)
            continue
        path = file if is_recording(file) else file.parent
        place = path.relative_to(folder)
        if len(file.relative_to(folder).parts) < 3:
            misplaced.append(file)
        else:
            label, patient = place.parts[:2]
            found[place.as_posix()] = Recording(label, patient, path, place.as_posix())
    return Recordings(tuple(found[video] for video in sorted(found)), tuple(misplaced), tuple(others))


def grey_frames(recording: Recording, *, every: int = 1) -> Iterator[tuple[int, Grey]]:
    """Reads the frames 0, every, 2 * every, ... of a recording in grey, with one in memory at a time.

    Args:
      recording: a video, a file of several pictures, or pictures, which are taken in order of their names; numbers in
        these count as numbers.
      every: distance from one frame to the next, from 1.

    Returns:
      The number of each frame and its intensities, in [0, 255].

    Raises:
      ValueError: names the file that is missing, damaged, cut off or of another size than the
        frames before. A video that does not tell its length, such as .mpg or .wmv, may end early unnoticed.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from xrcam_jax.data.recordings import Recording, grey_frames
      >>> from xrcam_jax.pictures.plot import save_picture
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for number in range(3):
      ...         save_picture(f"{folder}/{number}.png", np.full((2, 2, 3), number, np.uint8))
      ...     recording = Recording("sick", "p1", Path(folder), "sick/p1")
      ...     [(number, int(pixels.max())) for number, pixels in grey_frames(recording, every=2)]
      [(0, 0), (2, 2)]
    """
    shape: tuple[int, ...] | None = None
    for number, source, pixels in _read(recording.path, every):
        shape = shape or pixels.shape[:2]
        if pixels.shape[:2] != shape:
            height, width = pixels.shape[:2]
            raise ValueError(f"{source}: frame {number} is {width}x{height}, those before are {shape[1]}x{shape[0]}")
        yield number, cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def files_of(recording: Recording) -> list[Path]:
    """Lists the files that a recording is read from.

    Args:
      recording: a video or pictures.

    Returns:
      The video or other file, or the pictures in order of their names.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.data.recordings import Recording, files_of
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for name in ("10.png", "9.png", "notes.txt"):
      ...         (Path(folder) / name).touch()
      ...     [path.name for path in files_of(Recording("sick", "p1", Path(folder), "sick/p1"))]
      ['9.png', '10.png']
    """
    if not recording.path.is_dir():
        return [recording.path]
    inside = [path for path in recording.path.iterdir() if not path.name.startswith(".")]
    return sorted((path for path in inside if _is_picture(path) and not is_recording(path)), key=_natural)


def is_recording(path: Path) -> bool:
    """Tells whether a file is a recording of its own: a video, or of several pictures.

    Args:
      path: of a video or picture.

    Returns:
      Whether it is one; a picture that cannot be opened is not.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.data.recordings import is_recording
      >>> is_recording(Path("clip.avi")), is_recording(Path("missing.png"))
      (True, False)
    """
    return is_video(path) or pages_of(path) > 1


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
    return path.name.lower().endswith(PICTURE_SUFFIXES) or is_dicom(path)
