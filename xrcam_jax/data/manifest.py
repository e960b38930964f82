"""What a prepared folder holds: ``manifest.csv`` lists the frames, ``split.csv`` says which part a patient is in,
``statistics.json`` has the intensities of the training part, ``origin.txt`` whether they were recorded or drawn.

All can be read, and the split edited, with any text editor.
"""

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from xrcam_jax.data.crop import Crop, columns, flattened, gathered
from xrcam_jax.runtime.files import write_whole

MANIFEST, SPLIT, STATISTICS, ORIGIN = "manifest.csv", "split.csv", "statistics.json", "origin.txt"
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Frame:
    """One prepared frame and where it comes from.

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
    """Mean and population standard deviation of the training part's intensities, in [0, 1], over all pixels."""

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
        """Names of the classes, sorted; a frame's class number is its label's place here."""
        return sorted({frame.label for frame in self.frames})

    def part(self, name: str) -> list[Frame]:
        """The frames of one of ``PARTS``."""
        return [frame for frame in self.frames if self.parts[frame.patient] == name]


def _table(names: Sequence[str], rows: Sequence[dict]) -> bytes:
    text = io.StringIO()
    # The writer only quotes line ends of its own kind, but the reader takes a bare carriage return for one too.
    bare = any("\r" in str(value) for row in rows for value in row.values())
    writer = csv.DictWriter(text, names, lineterminator="\n", quoting=csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def write_manifest(folder: str | os.PathLike[str], frames: Sequence[Frame]) -> None:
    """Writes ``manifest.csv``, whole or not at all."""
    write_whole(Path(folder) / MANIFEST, _table(columns(Frame), [flattened(frame) for frame in frames]))


def write_split(folder: str | os.PathLike[str], parts: dict[str, str]) -> None:
    """Writes ``split.csv``, whole or not at all."""
    rows = [{"patient": patient, "part": part} for patient, part in sorted(parts.items())]
    write_whole(Path(folder) / SPLIT, _table(["patient", "part"], rows))


def write_statistics(folder: str | os.PathLike[str], statistics: Statistics) -> None:
    """Writes ``statistics.json``, whole or not at all."""
    write_whole(Path(folder) / STATISTICS, (json.dumps(asdict(statistics), indent=1) + "\n").encode())


def write_origin(folder: str | os.PathLike[str], origin: str) -> None:
    """Writes ``origin.txt``: ``"recordings"``, or ``"drawn ..."`` for what stands for no patient."""
    write_whole(Path(folder) / ORIGIN, f"{origin}\n".encode())


def read_origin(folder: str | os.PathLike[str]) -> str | None:
    """What ``origin.txt`` of a prepared folder, or ``.origin.txt`` of one of recordings, says; None without."""
    for path in (Path(folder) / ORIGIN, Path(folder) / f".{ORIGIN}"):
        if path.is_file():
            return path.read_text(encoding="utf-8").strip()
    return None


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"{path}: the columns {', '.join(missing)} are missing; found {reader.fieldnames}")
            return list(reader)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; 'xrcam prepare' makes it") from None


def read_manifest(folder: str | os.PathLike[str]) -> list[Frame]:
    """The frames of a prepared folder.

    Raises:
      ValueError: names the file and the line that is not as ``write_manifest`` writes it.
    """
    path = Path(folder) / MANIFEST
    types: dict[str, Any] = {field.name: field.type for field in (*fields(Frame), *fields(Crop))}
    frames = []
    for line, row in enumerate(_rows(path, columns(Frame)), start=2):
        try:
            frames.append(Frame(**gathered({name: types[name](row[name]) for name in columns(Frame)})))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {line}: {error}") from None
    return frames


def read_split(folder: str | os.PathLike[str]) -> dict[str, str]:
    """For each patient, one of ``PARTS``.

    Raises:
      ValueError: names the file and the line where a part is unknown or a patient is listed again.
    """
    path = Path(folder) / SPLIT
    parts: dict[str, str] = {}
    for line, row in enumerate(_rows(path, ["patient", "part"]), start=2):
        patient, part = row["patient"], row["part"]
        if part not in PARTS:
            raise ValueError(f"{path}, line {line}: part {part!r} is none of {', '.join(PARTS)}")
        if patient in parts:
            raise ValueError(f"{path}, line {line}: patient {patient!r} is listed twice")
        parts[patient] = part
    return parts


def read_statistics(folder: str | os.PathLike[str]) -> Statistics:
    """Intensities of the training part.

    Raises:
      ValueError: names the file that is missing or not as ``write_statistics`` writes it.
    """
    path = Path(folder) / STATISTICS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        statistics = Statistics(float(content["mean"]), float(content["std"]))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; 'xrcam prepare' makes it") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected numbers under 'mean' and 'std' ({error!r})") from None
    if not (math.isfinite(statistics.mean) and statistics.std > 0):
        raise ValueError(f"{path}: mean {statistics.mean} and std {statistics.std} cannot normalise")
    return statistics


def read_prepared(folder: str | os.PathLike[str]) -> Prepared:
    """A prepared folder: manifest, split and statistics, checked against each other.

    Raises:
      ValueError: names the file that is missing or wrong, or a patient that the split does not have.
    """
    folder = Path(folder)
    prepared = Prepared(folder, tuple(read_manifest(folder)), read_split(folder), read_statistics(folder))
    unknown = sorted({frame.patient for frame in prepared.frames} - set(prepared.parts))
    if unknown:
        raise ValueError(f"{folder / SPLIT}: the patients {', '.join(unknown)} of {MANIFEST} are not listed")
    if not prepared.frames:
        raise ValueError(f"{folder / MANIFEST}: lists no frames")
    return prepared
