"""Finding recordings in a folder of classes and patients, and reading their frames in grey, one at a time."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from xrcam_jax.pictures.decode import read_rgb
from xrcam_jax.pictures.field_of_view import spread
from xrcam_jax.pictures.pages import RGB, Grey
from xrcam_jax.pictures.preprocessing import to_grey
from xrcam_jax.pictures.read import is_video, pages_of, readers
from xrcam_jax.pictures.signatures import is_dicom
from xrcam_jax.pictures.views import natural

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
      without: names of links in its folder that are passed over.
    """

    label: str
    patient: str
    path: Path
    video: str
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Recordings:
    """Lists what a folder of recordings holds.

    Attributes:
      found: the recordings, in order of ``video``.
      misplaced: videos and pictures that are not in a patient's folder.
      others: files that are neither videos nor pictures.
      links: those that are passed over, since they lead to a folder above, to what is found in its own place (another
        patient's, say), to what another link leads to as well, or to nothing.
      closed: folders that cannot be listed.
    """

    found: tuple[Recording, ...]
    misplaced: tuple[Path, ...]
    others: tuple[Path, ...]
    links: tuple[Path, ...] = ()
    closed: tuple[Path, ...] = ()


def find_recordings(folder: str | os.PathLike[str]) -> Recordings:
    """Looks through ``folder/CLASS/PATIENT/...``; folders in a patient's folder may be nested.

    Each video is a recording, and so is each file of several pictures (a stack, a DICOM of many frames), and all other
    pictures of one folder together. What is hidden is passed over. Links are followed to places outside of the folder,
    and each such place counts once: nothing is found under two patients.

    Args:
      folder: where the classes' folders are.

    Returns:
      The recordings and all other files.

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
    walk = _Walk(Path(folder))
    for file in walk.files():
        if not file.is_file() or not (is_video(file) or _is_picture(file)):
            others.append(file)
            continue
        path = file if is_recording(file) else file.parent
        place = path.relative_to(folder)
        if len(file.relative_to(folder).parts) < 3:
            misplaced.append(file)
        else:
            label, patient = place.parts[:2]
            found[place.as_posix()] = Recording(label, patient, path, place.as_posix())
    for link in walk.links:
        video = link.parent.relative_to(folder).as_posix()
        if video in found:
            found[video] = replace(found[video], without=found[video].without | {link.name})
    recordings = tuple(found[video] for video in sorted(found))
    return Recordings(recordings, tuple(misplaced), tuple(others), tuple(walk.links), tuple(walk.closed))


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
      >>> from xrcam_jax.pictures.write import save_picture
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for number in range(3):
      ...         save_picture(f"{folder}/{number}.png", np.full((2, 2, 3), number, np.uint8))
      ...     recording = Recording("sick", "p1", Path(folder), "sick/p1")
      ...     [(number, int(pixels.max())) for number, pixels in grey_frames(recording, every=2)]
      [(0, 0), (2, 2)]
    """
    shape: tuple[int, ...] | None = None
    for number, source, read in _readers(recording, every):
        pixels = read()
        shape = shape or pixels.shape[:2]
        if pixels.shape[:2] != shape:
            height, width = pixels.shape[:2]
            raise ValueError(f"{source}: frame {number} is {width}x{height}, those before are {shape[1]}x{shape[0]}")
        yield number, to_grey(pixels)


def samples(recording: Recording) -> tuple[list[Grey], int]:
    """Reads a few frames from the whole of a recording, to find its field of view in, and counts all.

    Args:
      recording: a video or pictures. Which frames are read does not depend on which are kept for training.

    Returns:
      Up to ``field_of_view.SAMPLES`` frames in grey, and how many frames the recording has.

    Raises:
      ValueError: names the file that is missing, damaged or cut off.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from xrcam_jax.data.recordings import Recording, samples
      >>> from xrcam_jax.pictures.write import save_picture
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for number in range(26):
      ...         save_picture(f"{folder}/{number}.png", np.full((2, 2, 3), number, np.uint8))
      ...     some, count = samples(Recording("sick", "p1", Path(folder), "sick/p1"))
      >>> [int(frame.max()) for frame in some], count
      ([0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24], 26)
    """
    count = 0

    def counted() -> Iterator[Callable[[], RGB]]:
        nonlocal count
        for _, _, read in _readers(recording, 1):
            count += 1
            yield read

    some = [to_grey(pixels) for pixels in spread(counted())]
    return some, count


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
    paths = [path for path in recording.path.iterdir() if path.name not in recording.without]
    pictures = [path for path in paths if _is_picture(path) and not path.name.startswith(".") and path.is_file()]
    return sorted((path for path in pictures if not is_recording(path)), key=natural)


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


def _readers(recording: Recording, every: int) -> Iterator[tuple[int, Path, Callable[[], RGB]]]:
    """Yields number and file of each frame, and what reads it before the next one is asked for."""
    path = recording.path
    if path.is_dir():
        pictures = files_of(recording)
        for number in range(0, len(pictures), every):
            yield number, pictures[number], partial(read_rgb, pictures[number], single=True)
    else:
        for index, read in enumerate(readers(path, every=every)):
            yield index * every, path, read


class _Walk:
    """Goes through a folder and all in it, and through each place that links lead to once.

    Args:
      folder: where it begins.

    Attributes:
      links: those that are passed over.
      closed: folders that cannot be listed.
    """

    def __init__(self, folder: Path):
        self.links: list[Path] = []
        self.closed: list[Path] = []
        self._folder, self._top = folder, folder.resolve()
        self._seen = {self._top}

    def files(self) -> Iterator[Path]:
        """Yields all files that are not hidden, folder by folder in order of name."""
        return self._files(self._folder, self._top)

    def _files(self, folder: Path, real: Path) -> Iterator[Path]:
        """Yields the files of a folder, whose path without links is ``real``."""
        try:
            paths = sorted(folder.iterdir())
        except OSError:
            self.closed.append(folder)
            return
        for path in paths:
            if path.name.startswith("."):
                continue
            linked = path.is_symlink()
            target = _target(path) if linked else real / path.name
            if target is None or (linked and self._has(target)) or target in self._seen:
                self.links.append(path)
                continue
            is_folder = path.is_dir()
            if linked or is_folder:
                self._seen.add(target)
            if is_folder:
                yield from self._files(path, target)
            else:
                yield path

    def _has(self, target: Path) -> bool:
        """Tells whether what a link leads to is found without it, or holds all."""
        if target.is_relative_to(self._top):
            # What is hidden is found in no other way; some programs keep all contents there.
            return not any(part.startswith(".") for part in target.relative_to(self._top).parts)
        return self._top.is_relative_to(target) or target.parent in self._seen


def _target(link: Path) -> Path | None:
    """Returns where a link leads, None if that is nowhere."""
    try:
        return link.resolve(strict=True)
    except (OSError, RuntimeError):
        return None


def _is_picture(path: Path) -> bool:
    return path.name.lower().endswith(PICTURE_SUFFIXES) or is_dicom(path)
