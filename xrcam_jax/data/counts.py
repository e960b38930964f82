"""``recordings.csv`` says of each recording how many frames it has, how many were kept, and the sums of their pixels.

The sums of any recordings together give mean and deviation of all their pixels to the last digit. So the statistics of
any training part, such as that of a fold, are known without reading a picture again.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from xrcam_jax.data.manifest import MANIFEST, PARTS, Frame, Statistics
from xrcam_jax.data.tables import rows_of, table
from xrcam_jax.runtime.files import write_whole

COUNTS = "recordings.csv"


@dataclass(frozen=True)
class Counts:
    """Says what one recording has and what was kept of it.

    Attributes:
      video: the recording, as in :class:`xrcam_jax.data.manifest.Frame`.
      label: name of its class.
      patient: name of its patient.
      frames: how many frames it has.
      taken: how many of them were looked at, every second one by default.
      kept: how many of these were kept, since no earlier one has the same pixels.
      pixels: number of all pixels kept.
      total: sum of their intensities, in [0, 255].
      squares: sum of the squares of their intensities.
    """

    video: str
    label: str
    patient: str
    frames: int
    taken: int
    kept: int
    pixels: int
    total: int
    squares: int


NAMES = [field.name for field in fields(Counts)]
TEXTS = ("video", "label", "patient")


def statistics_of(counts: Sequence[Counts]) -> Statistics:
    """Computes the statistics of all pixels of some recordings from their sums.

    The sums are exact, so no last digit depends on the order or the number of recordings.

    Args:
      counts: of the recordings of a training part.

    Returns:
      Mean and standard deviation of the intensities, in [0, 1].

    Raises:
      ValueError: there are no pixels, or all of them are equal.

    Example:
      >>> from xrcam_jax.data.counts import Counts, statistics_of
      >>> black, white = (
      ...     Counts(f"sick/{name}/a.avi", "sick", name, 2, 1, 1, 4, total, 255 * total)
      ...     for name, total in (("p1", 0), ("p2", 4 * 255))
      ... )
      >>> statistics_of([black, white])
      Statistics(mean=0.5, std=0.5)
    """
    count, total, squares = (sum(getattr(entry, name) for entry in counts) for name in ("pixels", "total", "squares"))
    if not count:
        raise ValueError(f"the part {PARTS[0]} has no frames")
    if count * squares == total**2:
        raise ValueError(f"all pixels of the part {PARTS[0]} are equal: there is nothing to learn from them")
    return Statistics(total / count / 255, math.sqrt((count * squares - total**2) / count**2) / 255)


def write_counts(folder: str | os.PathLike[str], counts: Sequence[Counts]) -> None:
    """Writes ``recordings.csv``, whole or not at all.

    Args:
      folder: the prepared folder.
      counts: of each recording.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.data.counts import Counts, write_counts
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_counts(folder, [Counts("sick/p1/a.avi", "sick", "p1", 9, 5, 4, 400, 4000, 50000)])
      ...     print((Path(folder) / "recordings.csv").read_text())
      video,label,patient,frames,taken,kept,pixels,total,squares
      sick/p1/a.avi,sick,p1,9,5,4,400,4000,50000
    """
    write_whole(Path(folder) / COUNTS, table(NAMES, [asdict(entry) for entry in counts]))


def read_counts(folder: str | os.PathLike[str], frames: Sequence[Frame]) -> list[Counts]:
    """Reads what each recording has, and checks it against the frames of the manifest.

    Args:
      folder: the prepared folder.
      frames: those that its manifest lists.

    Returns:
      The counts of each recording, in the order of the file.

    Raises:
      ValueError: names the file, and the line that is not as :func:`write_counts` writes it or the recording of which
        the manifest lists other frames.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.data.counts import Counts, read_counts, write_counts
      >>> from xrcam_jax.data.manifest import Frame
      >>> from xrcam_jax.pictures.crop import Crop
      >>> frame = Frame("frames/a.png", "sick", "p1", "sick/p1/a.avi", 0, Crop(0, 0, 2, 8, 8))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_counts(folder, [Counts("sick/p1/a.avi", "sick", "p1", 3, 2, 1, 4, 100, 3000)])
      ...     read_counts(folder, [frame])[0].frames
      3
    """
    path = Path(folder) / COUNTS
    found: dict[str, Counts] = {}
    for where, row in rows_of(path, NAMES):
        try:
            entry = Counts(**{name: row[name] if name in TEXTS else int(row[name]) for name in NAMES})  # type: ignore[arg-type]
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if not _possible(entry):
            raise ValueError(f"{where}: expected counts and sums of pixels that go together, found {entry!r:.300}")
        if found.setdefault(entry.video, entry) is not entry:
            raise ValueError(f"{where}: {entry.video!r:.200} is listed twice")
    _check_frames(path, found, frames)
    return list(found.values())


def _possible(entry: Counts) -> bool:
    """Tells whether any pixels at all have such sums."""
    ordered = 0 <= entry.kept <= entry.taken <= entry.frames and entry.kept <= entry.pixels
    within = 0 <= entry.total <= entry.squares <= 255 * entry.total <= 255**2 * entry.pixels
    return ordered and within and entry.total**2 <= entry.pixels * entry.squares


def _check_frames(path: Path, found: dict[str, Counts], frames: Sequence[Frame]) -> None:
    """Refuses counts that are of other frames than the manifest's."""
    listed: dict[tuple[str, str, str], list[int]] = {}
    for frame in frames:
        listed.setdefault((frame.video, frame.label, frame.patient), []).append(frame.size**2)
    ours = {(e.video, e.label, e.patient): (e.kept, e.pixels) for e in found.values() if e.kept}
    theirs = {key: (len(sizes), sum(sizes)) for key, sizes in listed.items()}
    differ = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
    if differ:
        raise ValueError(
            f"{path}: not of the frames that {MANIFEST} lists of {differ[0][0]!r:.200}; 'xrcam prepare' makes both anew"
        )
