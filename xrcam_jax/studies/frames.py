"""How many frames are there of each patient, before and after they were prepared (Figure 3.3)?

    xrcam evaluate frames --data prepared

For every patient and class, the study counts the frames of the recordings, those that were looked at, and those that
were kept. It reads no picture and needs no network, and opens the report.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xrcam_jax.arguments.checks import prepare_folder
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.outputs import alone_in
from xrcam_jax.arguments.parser import Options
from xrcam_jax.data.counts import COUNTS, Counts, read_counts
from xrcam_jax.data.manifest import Prepared, read_prepared
from xrcam_jax.figures.curves import bars
from xrcam_jax.figures.save import save
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.studies.data import origin_settings
from xrcam_jax.studies.settings import check_settings, checksum
from xrcam_jax.studies.tables import Table, write_contents

NAME = "frames"
COLUMNS = ("before", "looked at", "after")
ALL = "(all)"


def run(options: Options) -> int:
    """Runs the study; returns the exit status."""
    prepared = read_prepared(options.data)
    counts = read_counts(options.data, prepared.frames)
    folder = options.out / NAME
    prepare_folder("--out", folder)
    with alone_in("--out", folder):
        check_settings(folder, _settings(options, prepared))
        write_settings(folder, options.repeat)
        write(folder, prepared, counts)
    return 0


def _settings(options: Options, prepared: Prepared) -> dict[str, Any]:
    data = {
        **origin_settings(options.data),
        "frames": len(prepared.frames),
        "patients": len({frame.patient for frame in prepared.frames}),
        "classes": prepared.classes,
        "checksum": checksum(options.data / COUNTS),
    }
    return {"experiment": NAME, "data": data, "version": version("xrcam-jax")}


def by_patient(counts: Sequence[Counts]) -> dict[str, dict[str, tuple[int, int, int]]]:
    """Returns by class and patient how many frames were recorded, looked at and kept."""
    found: dict[str, dict[str, tuple[int, int, int]]] = {}
    for entry in sorted(counts, key=lambda entry: (entry.label, entry.patient)):
        before, taken, after = found.setdefault(entry.label, {}).get(entry.patient, (0, 0, 0))
        found[entry.label][entry.patient] = before + entry.frames, taken + entry.taken, after + entry.kept
    return found


def write(folder: Path, prepared: Prepared, counts: Sequence[Counts]) -> None:
    """Writes the table of all patients, the bars, and what they say."""
    found = by_patient(counts)
    rows = {}
    for label, patients in found.items():
        sums = tuple(map(sum, zip(*patients.values(), strict=True)))
        for patient, numbers in [*patients.items(), (ALL, sums)]:
            rows[label, patient] = [Estimate(float(number)) for number in numbers]
    table = Table(
        "frames", "Frames of each patient", rows, COLUMNS, ("class", "patient"), best=None, unit="frames", decimals=0
    )
    heights = {
        label: {name: (each[0], each[2]) for name, each in patients.items()} for label, patients in found.items()
    }
    save(bars(heights, ("before", "after"), "frames"), folder / "frames.png")
    write_contents(
        folder,
        title="Frames before and after preparation",
        text=_text(prepared, counts, found),
        order=0,
        tables=[table],
        pictures=[("frames.png", "Frames of each patient: all that were recorded, and in dark those that were kept")],
    )


def _text(prepared: Prepared, counts: Sequence[Counts], found: Mapping[str, Mapping[str, Any]]) -> str:
    before, taken, kept = (sum(getattr(entry, name) for entry in counts) for name in ("frames", "taken", "kept"))
    crops = [frame.crop for frame in prepared.frames]
    area = sum(crop.size**2 / (crop.width * crop.height) for crop in crops) / len(crops)
    classes = "; ".join(f"{label} {sum(after for *_, after in each.values())}" for label, each in found.items())
    return (
        f"Of {before} frames in {len(counts)} recordings, {kept} were kept ({100 * kept / before:.1f} %; {classes}). "
        f"{taken} were looked at, since neighbouring frames show nearly the same; {taken - kept} of these repeat an "
        "earlier frame of their recording pixel by pixel and were left out. Of each frame the largest square within "
        f"the field of view was kept, on average {100 * area:.1f} % of the picture: the dark surroundings and what the "
        "device writes there reach no network.\n\n"
        "The bars say how much each patient contributes: who has many frames weighs more in training, and in figures "
        "over frames. They do not say how good the frames are, nor whether these patients stand for others."
    )
