"""The files that say what a prepared folder holds, besides its pictures.

- ``manifest.csv`` lists the frames.
- ``split.csv`` says which part each patient is in.
- ``statistics.json`` has mean and deviation of the training part's intensities.
- ``origin.txt`` says whether the frames were recorded or drawn.

Beside them lie ``recordings.csv`` (``counts.py``) and, if asked for, ``folds.csv`` (``folds.py``). All can be read with
any text editor, and the split may be edited.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from xrcam_jax.data.tables import content_of, rows_of, table
from xrcam_jax.pictures.crop import Crop, columns, flattened, gathered
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.texts import decoded_json

MANIFEST, SPLIT, STATISTICS, ORIGIN = "manifest.csv", "split.csv", "statistics.json", "origin.txt"
PARTS = ("train", "validation", "test")
#: Sides of pictures, in pixels, that a manifest may list.
LARGEST = 65536
#: Of intensities in [0, 1]. A single grey pixel among a billion black ones has a hundred times as much.
SMALLEST_STD = 1e-9


@dataclass(frozen=True)
class Frame:
    """A prepared frame and where it comes from.

    Attributes:
      file: the picture, relative to the prepared folder, with ``/`` between folders. Its last part is unique.
      label: name of the class, that of the folder that the recording was found in.
      patient: name of the patient's folder. The same name under two classes is the same patient.
      video: the recording, relative to the folder of recordings, with ``/`` between folders.
      number: of the frame in the recording, from 0.
      crop: the part of the recording's frame that the picture shows.
    """

    file: str
    label: str
    patient: str
    video: str
    number: int
    crop: Crop

    @property
    def size(self) -> int:
        """Side of the picture, in pixels."""
        return self.crop.size


@dataclass(frozen=True)
class Statistics:
    """Describes the intensities, in [0, 1], of all pixels of the training part.

    Attributes:
      mean: their mean.
      std: their standard deviation, that of the population.
    """

    mean: float
    std: float


@dataclass(frozen=True)
class Prepared:
    """A prepared folder, read and checked.

    Attributes:
      folder: where it is.
      frames: all frames, in the manifest's order.
      parts: for each patient, one of ``PARTS``.
      statistics: of the training part.
    """

    folder: Path
    frames: tuple[Frame, ...]
    parts: dict[str, str]
    statistics: Statistics

    @property
    def classes(self) -> list[str]:
        """Names of the classes, sorted; the number of a frame's class is its label's place here."""
        return sorted({frame.label for frame in self.frames})

    def part(self, name: str) -> list[Frame]:
        """Returns the frames of one of ``PARTS``."""
        return [frame for frame in self.frames if self.parts[frame.patient] == name]


def write_manifest(folder: str | os.PathLike[str], frames: Sequence[Frame]) -> None:
    """Writes ``manifest.csv``, whole or not at all.

    Args:
      folder: the prepared folder.
      frames: in the order that they are to have.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.manifest import Frame, write_manifest
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_manifest(folder, [Frame("frames/a.png", "sick", "p1", "sick/p1/a.avi", 4, Crop(12, 7, 50, 90, 80))])
      ...     print((Path(folder) / "manifest.csv").read_text())
      file,label,patient,video,number,left,top,size,width,height
      frames/a.png,sick,p1,sick/p1/a.avi,4,12,7,50,90,80
    """
    write_whole(Path(folder) / MANIFEST, table(columns(Frame), [flattened(frame) for frame in frames]))


def write_split(folder: str | os.PathLike[str], parts: dict[str, str]) -> None:
    """Writes ``split.csv``, whole or not at all.

    Args:
      folder: the prepared folder.
      parts: for each patient, one of ``PARTS``.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.data.manifest import write_split
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_split(folder, {"p2": "test", "p1": "train"})
      ...     print((Path(folder) / "split.csv").read_text())
      patient,part
      p1,train
      p2,test
    """
    rows = [{"patient": patient, "part": part} for patient, part in sorted(parts.items())]
    write_whole(Path(folder) / SPLIT, table(["patient", "part"], rows))


def write_statistics(folder: str | os.PathLike[str], statistics: Statistics) -> None:
    """Writes ``statistics.json``, whole or not at all.

    Args:
      folder: the prepared folder.
      statistics: of the training part.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.data.manifest import Statistics, read_statistics, write_statistics
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_statistics(folder, Statistics(0.5, 0.25))
      ...     read_statistics(folder)
      Statistics(mean=0.5, std=0.25)
    """
    write_whole(Path(folder) / STATISTICS, (json.dumps(asdict(statistics), indent=1) + "\n").encode())


def write_origin(folder: str | os.PathLike[str], origin: str) -> None:
    """Writes ``origin.txt``, whole or not at all.

    Args:
      folder: the prepared folder.
      origin: ``"recordings"``, or ``"drawn ..."`` for frames that stand for no patient.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.data.manifest import read_origin, write_origin
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_origin(folder, "recordings")
      ...     read_origin(folder)
      'recordings'
    """
    write_whole(Path(folder) / ORIGIN, f"{origin}\n".encode())


def read_origin(folder: str | os.PathLike[str]) -> str | None:
    """Reads where frames or recordings come from.

    Args:
      folder: a prepared folder, with ``origin.txt``, or one of recordings, with ``.origin.txt``.

    Returns:
      The text of that file; None without one.

    Raises:
      ValueError: naming the file that cannot be read.

    Example:
      >>> from xrcam_jax.data.manifest import read_origin
      >>> read_origin("missing") is None
      True
    """
    for path in (Path(folder) / ORIGIN, Path(folder) / f".{ORIGIN}"):
        if path.is_file():
            return content_of(path).strip()
    return None


def read_manifest(folder: str | os.PathLike[str]) -> list[Frame]:
    """Reads the frames of a prepared folder.

    Args:
      folder: the prepared folder.

    Returns:
      The frames, in the manifest's order.

    Raises:
      ValueError: names the file and the line that is not as :func:`write_manifest` writes it.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.manifest import Frame, read_manifest, write_manifest
      >>> frame = Frame("frames/a.png", "sick", "p1", "sick/p1/a.avi", 4, Crop(12, 7, 50, 90, 80))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_manifest(folder, [frame])
      ...     read_manifest(folder) == [frame]
      True
    """
    path = Path(folder) / MANIFEST
    types: dict[str, Any] = {field.name: field.type for field in (*fields(Frame), *fields(Crop))}
    inside = _Inside(Path(folder))
    frames: dict[str, Frame] = {}
    for where, row in rows_of(path, columns(Frame)):
        try:
            frame = Frame(**gathered({name: types[name](row[name]) for name in columns(Frame)}))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        _check_crop(where, frame)
        if not inside.has(frame.file):
            raise ValueError(f"{where}: expected a file in {folder}, found {frame.file!r:.200}")
        # Annotations know a frame by the last part alone.
        name = frame.file.rpartition("/")[2]
        if frames.setdefault(name, frame) is not frame:
            raise ValueError(f"{where}: {name!r:.200} is listed twice")
    return list(frames.values())


def read_rows(folder: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Reads the manifest as it is written, with the columns that somebody has added, such as the recording device.

    Args:
      folder: the prepared folder.

    Returns:
      For each file, the text in each column.

    Raises:
      ValueError: names the file and the line that is not as a table has it.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.data.manifest import MANIFEST, read_rows
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     _ = (Path(folder) / MANIFEST).write_text("file,device\\na.png,Cellvizio\\n")
      ...     read_rows(folder)
      {'a.png': {'file': 'a.png', 'device': 'Cellvizio'}}
    """
    return {row["file"]: row for _, row in rows_of(Path(folder) / MANIFEST, ["file"])}


class _Inside:
    """Tells whether files lie in a folder; what lies elsewhere, or is reached by a link, may be anybody's."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._parents: dict[str, bool] = {}

    def has(self, file: str) -> bool:
        """Tells whether a file, which need not exist, lies in the folder."""
        parent, _, name = file.rpartition("/")
        if not name or "\0" in file or os.path.isabs(file) or ".." in re.split(r"[/\\]", file):
            return False
        try:
            if parent not in self._parents:
                place = (self._folder / parent).resolve()
                self._parents[parent] = place == self._folder.resolve() / parent
            return self._parents[parent] and not (self._folder / file).is_symlink()
        except OSError:
            # No file can have such a name: it is too long.
            return False


def _check_crop(where: str, frame: Frame) -> None:
    crop = frame.crop
    ends = (crop.left + crop.size, crop.width), (crop.top + crop.size, crop.height)
    fits = min(crop.left, crop.top, frame.number) >= 0 and crop.size > 0 and all(end <= side for end, side in ends)
    if not fits or max(crop.width, crop.height) > LARGEST:
        raise ValueError(f"{where}: expected a square in a picture of at most {LARGEST} pixels a side, found {crop}")


def read_split(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Reads which part each patient is in.

    Args:
      folder: the prepared folder.

    Returns:
      For each patient, one of ``PARTS``.

    Raises:
      ValueError: names the file and the line where a part is unknown or a patient is listed again.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.data.manifest import read_split, write_split
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_split(folder, {"p1": "train"})
      ...     read_split(folder)
      {'p1': 'train'}
    """
    path = Path(folder) / SPLIT
    parts: dict[str, str] = {}
    for where, row in rows_of(path, ["patient", "part"]):
        patient, part = row["patient"], row["part"]
        if part not in PARTS:
            raise ValueError(f"{where}: part {part!r:.200} is none of {', '.join(PARTS)}")
        if patient in parts:
            raise ValueError(f"{where}: patient {patient!r:.200} is listed twice")
        parts[patient] = part
    return parts


def read_statistics(folder: str | os.PathLike[str]) -> Statistics:
    """Reads the statistics of the training part.

    Args:
      folder: the prepared folder.

    Returns:
      Mean and standard deviation; the latter is ``SMALLEST_STD`` or more.

    Raises:
      ValueError: names the file that is missing or not as :func:`write_statistics` writes it.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.data.manifest import Statistics, read_statistics, write_statistics
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_statistics(folder, Statistics(0.5, 0.25))
      ...     read_statistics(folder).mean
      0.5
    """
    path = Path(folder) / STATISTICS
    content = decoded_json(content_of(path), path)
    try:
        statistics = Statistics(float(content["mean"]), float(content["std"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: expected numbers under 'mean' and 'std' ({error!r:.200})") from None
    # Intensities are in [0, 1], and so are these of them. Less than the bound is zero in float32, or nearly.
    if not (0 <= statistics.mean <= 1 and SMALLEST_STD <= statistics.std <= 1):
        raise ValueError(f"{path}: mean {statistics.mean} and std {statistics.std} cannot normalise")
    return statistics


def read_prepared(folder: str | os.PathLike[str]) -> Prepared:
    """Reads manifest, split and statistics of a prepared folder, and checks them against each other.

    Args:
      folder: the prepared folder.

    Returns:
      All that they say.

    Raises:
      ValueError: names the file that is missing or wrong, or a patient that the split does not have.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.manifest import Frame, Statistics, read_prepared
      >>> from xrcam_jax.data.manifest import write_manifest, write_split, write_statistics
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_manifest(folder, [Frame("frames/a.png", "sick", "p1", "sick/p1/a.avi", 4, Crop(12, 7, 50, 90, 80))])
      ...     write_split(folder, {"p1": "test"})
      ...     write_statistics(folder, Statistics(0.5, 0.25))
      ...     prepared = read_prepared(folder)
      >>> prepared.classes, len(prepared.part("test"))
      (['sick'], 1)
    """
    folder = Path(folder)
    prepared = Prepared(folder, tuple(read_manifest(folder)), read_split(folder), read_statistics(folder))
    unknown = sorted({frame.patient for frame in prepared.frames} - set(prepared.parts))
    if unknown:
        raise ValueError(f"{folder / SPLIT}: the patients {', '.join(unknown)} of {MANIFEST} are not listed")
    if not prepared.frames:
        raise ValueError(f"{folder / MANIFEST}: lists no frames")
    return prepared
