"""From recordings to frames: each is cropped to the view and written as one PNG, unless it is an exact duplicate.

Notes in ``.progress`` of the prepared folder say which recordings are done, so that an interrupted run goes on where it
stopped, and only what has changed is done again.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from xrcam_jax.data.counts import Counts, statistics_of, write_counts
from xrcam_jax.data.folds import FOLDS, kept_or_drawn_folds, write_folds
from xrcam_jax.data.manifest import (
    MANIFEST,
    PARTS,
    SPLIT,
    Frame,
    Prepared,
    read_prepared,
    write_manifest,
    write_split,
    write_statistics,
)
from xrcam_jax.data.picture_names import picture_names
from xrcam_jax.data.recordings import Recording, files_of, grey_frames, samples
from xrcam_jax.data.split import kept_or_drawn
from xrcam_jax.pictures.crop import Crop, columns, flattened, gathered
from xrcam_jax.pictures.field_of_view import find_view
from xrcam_jax.runtime.files import sync, write_whole
from xrcam_jax.runtime.reading import read_whole
from xrcam_jax.runtime.texts import read_json

FRAMES, PROGRESS = "frames", ".progress"

# Part of each fingerprint. Whoever changes what is cut or written takes another number, lest old frames be kept.
VERSION = 2


@dataclass(frozen=True)
class Extracted:
    """The frames of one recording, as they are in the prepared folder.

    Attributes:
      label: name of its class.
      patient: name of its patient.
      video: the recording, as in :class:`xrcam_jax.data.manifest.Frame`.
      name: what the names of its pictures begin with.
      fingerprint: digest of its files' names, sizes and times, and of the settings.
      numbers: of the frames kept.
      duplicates: how many frames are left out, since an earlier one has the same pixels.
      crop: the part of its frames that is kept.
      total: sum of the intensities, in [0, 255], of all pixels kept.
      squares: sum of their squares.
      content: digest of all pixels kept.
      digests: of the picture files, one for each of ``numbers``.
      length: how many frames the recording has.
    """

    label: str
    patient: str
    video: str
    name: str
    fingerprint: str
    numbers: list[int]
    duplicates: int
    crop: Crop
    total: int
    squares: int
    content: str
    digests: list[str] = field(default_factory=list)
    length: int = 0

    def counts(self) -> Counts:
        """Returns its line of ``recordings.csv``."""
        kept = len(self.numbers)
        taken, pixels = kept + self.duplicates, kept * self.crop.size**2
        where = self.video, self.label, self.patient
        return Counts(*where, self.length, taken, kept, pixels, self.total, self.squares)

    def frames(self) -> list[Frame]:
        """Returns its lines of the manifest."""
        return [Frame(self.file(n), self.label, self.patient, self.video, n, self.crop) for n in self.numbers]

    def file(self, number: int) -> str:
        """Returns the path of a frame's picture, relative to the prepared folder."""
        return _file(self.label, self.patient, self.name, number)


def extract_all(
    recordings: Sequence[Recording],
    out: str | os.PathLike[str],
    *,
    every: int = 2,
    report: Callable[[str], None] | None = None,
    remark: Callable[[str], None] = lambda line: None,
    progress: Callable[[Sequence[Recording]], Iterable[Recording]] = iter,
) -> list[Extracted]:
    """Writes the frames 0, every, 2 * every, ... of all recordings, except for those that are there already, unchanged.

    Frames of recordings that are gone or changed, or were taken with another ``every``, are removed, and so is the
    manifest that lists them.

    Args:
      recordings: all that the prepared folder is to have.
      out: the prepared folder, which is made where it is missing.
      every: distance from one frame to the next, from 1.
      report: called with a line that names each recording that cannot be read; the others go on.
      remark: called with a line about each recording whose frames are no longer as they were written.
      progress: given the recordings, returns them one by one.

    Returns:
      One entry for each recording that could be read, in the order of ``recordings``.

    Raises:
      ValueError: the line for ``report``, where that is None.
      OSError: a file cannot be written.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from xrcam_jax.data.frames import extract_all
      >>> from xrcam_jax.data.recordings import Recording
      >>> from xrcam_jax.pictures.write import save_picture
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for number in range(4):
      ...         save_picture(f"{folder}/{number}.png", np.full((20, 30, 3), 100 + number // 2, np.uint8))
      ...     recording = Recording("sick", "p1", Path(folder), "sick/p1/day1")
      ...     (extracted,) = extract_all([recording], f"{folder}/out", every=1)
      >>> extracted.numbers, extracted.duplicates, extracted.crop.size
      ([0, 2], 2, 20)
    """
    out = Path(out)
    names = picture_names(recordings)
    known = _read_progress(out)
    for gone in [entry for entry in known.values() if names.get(entry.video) != entry.name]:
        _remove(out, gone.label, gone.patient, gone.name, gone.video)
    done = []
    for recording in progress(recordings):
        name, before = names[recording.video], known.get(recording.video)
        try:
            if before is not None and (before.name, before.fingerprint) == (name, _fingerprint(recording, every)):
                changed = _changed(out, before)
                if not changed:
                    done.append(before)
                    continue
                remark(f"{recording.path}: {changed} of its frames in {out} are not as they were written; all are anew")
            done.append(_extract_anew(recording, name, out, every))
        except ValueError as error:
            # Of a folder, what is wrong with one picture does not say that the others are lost too.
            rest = f"; all of {recording.path} is left out" if recording.path.is_dir() else ""
            if report is None:
                raise ValueError(f"{error}{rest}") from error
            report(f"{error}{rest}")
    return done


def _extract(recording: Recording, name: str, out: Path, every: int) -> Extracted:
    """Writes the frames of one recording, which is read twice: first for the view, then for the frames."""
    fingerprint, (crop, length) = _fingerprint(recording, every), _view(recording)
    numbers: list[int] = []
    digests: list[str] = []
    seen: set[bytes] = set()
    content = hashlib.sha256()
    duplicates = total = squares = 0
    for number, frame in grey_frames(recording, every=every):
        pixels = frame[crop.box.slices]
        digest = hashlib.sha256(pixels.tobytes()).digest()
        if digest in seen:
            duplicates += 1
            continue
        seen.add(digest)
        encoded = cv2.imencode(".png", pixels)[1].tobytes()
        write_whole(out / _file(recording.label, recording.patient, name, number), encoded, synced=False)
        numbers.append(number)
        digests.append(_short(encoded))
        content.update(digest)
        total += int(pixels.sum(dtype="int64"))
        squares += int((pixels.astype("int64") ** 2).sum())
    return Extracted(
        label=recording.label,
        patient=recording.patient,
        video=recording.video,
        name=name,
        fingerprint=fingerprint,
        numbers=numbers,
        duplicates=duplicates,
        crop=crop,
        total=total,
        squares=squares,
        content=content.hexdigest(),
        digests=digests,
        length=length,
    )


def collate(
    out: str | os.PathLike[str],
    extracted: Sequence[Extracted],
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    folds: int | None = None,
) -> Prepared:
    """Writes split, folds, statistics, counts and, last, the manifest; a split and folds that are there are kept.

    Args:
      out: the prepared folder with the frames.
      extracted: what :func:`extract_all` returned.
      fractions: of ``manifest.PARTS``, see :func:`xrcam_jax.data.split.split_patients`.
      seed: of the split, and of the folds.
      folds: how many to draw, see :func:`xrcam_jax.data.folds.draw_folds`; None for none.

    Returns:
      The prepared folder.

    Raises:
      ValueError: there are no frames, the split or the folds that are there lack a patient, or there are too few
        patients.
      OSError: a file cannot be written.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.frames import Extracted, collate
      >>> crop = Crop(0, 0, 2, 4, 3)
      >>> extracted = Extracted("sick", "p1", "sick/p1/clip.avi", "clip", "", [0, 2], 1, crop, 1020, 260100, "")
      >>> with tempfile.TemporaryDirectory() as out:
      ...     prepared = collate(out, [extracted], (1, 0, 0))
      >>> prepared.statistics, [frame.file for frame in prepared.frames]
      (Statistics(mean=0.5, std=0.5), ['frames/sick/p1/clip_000000.png', 'frames/sick/p1/clip_000002.png'])
    """
    out = Path(out)
    patients = patients_of(extracted)
    parts = kept_or_drawn(out, patients, fractions, seed)
    fold_of = kept_or_drawn_folds(out, patients, folds, seed)
    counts = [entry.counts() for entry in extracted]
    statistics = statistics_of([entry for entry in counts if parts[entry.patient] == PARTS[0]])
    # Without a manifest the folder is not a prepared one, so its files are never of different runs.
    (out / MANIFEST).unlink(missing_ok=True)
    if not (out / SPLIT).exists():
        write_split(out, parts)
    if fold_of is not None and not (out / FOLDS).exists():
        write_folds(out, fold_of)
    write_statistics(out, statistics)
    write_counts(out, counts)
    # The manifest says that the frames are there: they are on the disk before it is.
    files = [out / entry.file(number) for entry in extracted for number in entry.numbers]
    sync([*files, *{file.parent for file in files}])
    write_manifest(out, [frame for entry in extracted for frame in entry.frames()])
    return read_prepared(out)


def patients_of(recordings: Iterable[Recording | Extracted]) -> dict[str, set[str]]:
    """Returns the patients of each class.

    Args:
      recordings: found, or extracted.

    Returns:
      Names of patients, by the name of their class.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.data.frames import patients_of
      >>> from xrcam_jax.data.recordings import Recording
      >>> patients_of([Recording("sick", "p1", Path("a.avi"), "sick/p1/a.avi")])
      {'sick': {'p1'}}
    """
    patients: dict[str, set[str]] = {}
    for recording in recordings:
        patients.setdefault(recording.label, set()).add(recording.patient)
    return patients


def same_content(extracted: Iterable[Extracted]) -> list[tuple[Extracted, Extracted]]:
    """Finds recordings of different patients whose frames are all the same.

    Args:
      extracted: what :func:`extract_all` returned.

    Returns:
      Pairs of the first such recording and a later one.

    Example:
      >>> from dataclasses import replace
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.frames import Extracted, same_content
      >>> one = Extracted("sick", "p1", "sick/p1/clip.avi", "clip", "", [0], 0, Crop(0, 0, 1, 1, 1), 9, 81, "0f")
      >>> [(first.patient, second.patient) for first, second in same_content([one, replace(one, patient="p2")])]
      [('p1', 'p2')]
    """
    first: dict[str, Extracted] = {}
    pairs = [(first.setdefault(entry.content, entry), entry) for entry in extracted]
    return [(one, other) for one, other in pairs if one.patient != other.patient]


def _file(label: str, patient: str, name: str, number: int) -> str:
    return f"{FRAMES}/{label}/{patient}/{name}_{number:06d}.png"


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def _changed(out: Path, entry: Extracted) -> int:
    """Counts the frames of a recording that are missing or have another content than was written."""
    if len(entry.digests) != len(entry.numbers):
        return len(entry.numbers)
    return sum(
        _digest_of(out / entry.file(number)) != digest
        for number, digest in zip(entry.numbers, entry.digests, strict=True)
    )


def _digest_of(path: Path) -> str | None:
    try:
        return _short(read_whole(path))
    except ValueError:
        return None


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _extract_anew(recording: Recording, name: str, out: Path, every: int) -> Extracted:
    _remove(out, recording.label, recording.patient, name, recording.video)
    try:
        extracted = _extract(recording, name, out, every)
    except ValueError:
        # Frames of a recording that is damaged further on are none.
        _remove(out, recording.label, recording.patient, name, recording.video)
        raise
    # Should a power cut take some frames and leave the note, their digests tell.
    note = flattened(extracted)
    sealed = {"note": note, "seal": _seal(note)}
    write_whole(_note(out, recording.video), json.dumps(sealed).encode(), synced=False)
    return extracted


def _fingerprint(recording: Recording, every: int) -> str:
    """Returns a digest that changes with a file's name, size or time, and with the settings."""
    try:
        recording.video.encode()
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files_of(recording)]
    except UnicodeEncodeError:
        raise ValueError(f"{recording.path}: the name is not UTF-8, as it must be in {MANIFEST}; rename it") from None
    except OSError as error:
        raise ValueError(f"{recording.path}: cannot be read ({error.strerror})") from error
    return _digest(json.dumps([VERSION, every, files]))


def _view(recording: Recording) -> tuple[Crop, int]:
    """Returns the square to crop, and how many frames there are."""
    some, length = samples(recording)
    try:
        return find_view(some), length
    except ValueError as error:
        raise ValueError(f"{recording.path}: {error}") from None


def _note(out: Path, video: str) -> Path:
    return out / PROGRESS / f"{_digest(video)[:32]}.json"


def _read_progress(out: Path) -> dict[str, Extracted]:
    """Reads the notes, by ``video``; those that are damaged or of another version are as good as none."""
    known = {}
    for path in sorted((out / PROGRESS).glob("*.json")):
        try:
            content = read_json(path)
            note = content["note"]
            if content["seal"] == _seal(note) and set(note) == set(columns(Extracted)):
                known[note["video"]] = Extracted(**gathered(note))
        except (OSError, KeyError, TypeError, ValueError):
            continue
    return known


def _seal(note: dict[str, Any]) -> str:
    return _digest(json.dumps(note, sort_keys=True))


def _remove(out: Path, label: str, patient: str, name: str, video: str) -> None:
    """Removes the frames of a recording, finished or not, and the note of it."""
    folder = out / FRAMES / label / patient
    own = re.compile(rf"{re.escape(name)}_\d{{6,}}\.png|\.{re.escape(name)}_\d{{6,}}\.png\.\d+(?:\.part)?")
    stale = [path for path in folder.iterdir() if own.fullmatch(path.name)] if folder.is_dir() else []
    if stale:
        (out / MANIFEST).unlink(missing_ok=True)
    _note(out, video).unlink(missing_ok=True)
    for path in stale:
        path.unlink()
