"""``xrcam prepare``: turns recordings into frames with a manifest and a split by patient."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from xrcam_jax.arguments.checks import check_at_least_one, prepare_folder
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.outputs import alone_in
from xrcam_jax.arguments.parser import Argument, Options, Text
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.names import printable

if TYPE_CHECKING:
    from xrcam_jax.data.frames import Extracted
    from xrcam_jax.data.manifest import Frame, Prepared
    from xrcam_jax.data.recordings import Recordings

NAME = "prepare"
EXAMPLE = """RECORDINGS has a folder for each class, in it one for each patient, in it videos or folders of pictures:
  recordings/lung/patient_07/clip.avi

Example:
  xrcam prepare recordings prepared --every 2 --split 80/10/10 --seed 0
  xrcam prepare recordings prepared --folds 5

Run it again to go on after an interruption or to add recordings; those that have changed are done anew, and all are
with another --every. OUT/split.csv may be edited: a split that is there is kept, and a new patient must be added to it.
Delete it to split anew. The same holds for OUT/folds.csv, which --folds adds for cross-validation: xrcam train --fold I
is tested on the patients of fold I, chooses its best epoch by those of the next, and learns from all others."""


def _fractions(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in text.replace(",", "/").split("/"))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise ValueError(f"expected three numbers such as 80/10/10, found {text!r}")
    return numbers


PARAMETERS = (
    Argument("recordings", option="--recordings", help="folder of classes, see below"),
    Argument("out", option="--out", help="folder for frames, manifest, split and statistics"),
    click.Option(["--every"], type=int, default=2, metavar="N", help="take every Nth frame"),
    click.Option(
        ["--split"],
        type=Text(_fractions),
        default="80/10/10",
        metavar="A/B/C",
        help="shares of the patients for training, validation and test",
    ),
    click.Option(
        ["--folds"],
        type=int,
        metavar="K",
        help="also put the patients into K folds, each class in each, for train --fold",
    ),
    click.Option(["--seed"], type=int, default=0, metavar="N", help="of the split and the folds"),
)


def run(options: Options) -> int:
    """Prepares the recordings; returns the exit status."""
    recordings = _check(options)
    with alone_in("OUT", options.out):
        return _prepare(options, recordings)


def _prepare(options: Options, recordings: "Recordings") -> int:
    from tqdm import tqdm

    from xrcam_jax.data.frames import collate, extract_all
    from xrcam_jax.data.manifest import read_origin, write_origin

    failures: list[str] = [f"{path}: not in the folder of a class and a patient" for path in recordings.misplaced]
    failures += [f"{path}: the folder cannot be listed" for path in recordings.closed]
    for line in [*failures, *_left_out(recordings)]:
        _say(line)

    def remark(line: str) -> None:
        tqdm.write(printable(f"xrcam {NAME}: {line}"), file=sys.stderr)

    def report(line: str) -> None:
        failures.append(line)
        remark(line)

    def progress(items: Sequence):
        return tqdm(items, unit="recording", disable=None)

    extracted = extract_all(
        recordings.found, options.out, every=options.every, report=report, remark=remark, progress=progress
    )
    if not extracted:
        _say("no recording could be read")
        return 1
    try:
        prepared = collate(options.out, extracted, options.split, options.seed, options.folds)
    except ValueError as error:
        _say(str(error))
        return 1
    write_settings(options.out, options.repeat)
    write_origin(options.out, read_origin(options.recordings) or "recordings")
    _summarise(prepared, extracted)
    print(f"{len(extracted)} recordings prepared, {len(failures)} could not be. Look into {options.out}")
    return 1 if failures else 0


def _check(options: Options) -> "Recordings":
    """Refuses what can be refused before a video is opened; returns what there is to do."""
    check_at_least_one("--every", options.every)
    if options.seed < 0:
        raise CommandError(f"--seed: {options.seed} is less than 0")
    if options.recordings.is_file():
        raise CommandError(f"RECORDINGS: {options.recordings} is a file, expected a folder of classes")
    if not options.recordings.is_dir():
        raise CommandError(f"RECORDINGS: there is no folder {options.recordings}")
    if options.out.resolve().is_relative_to(options.recordings.resolve()):
        raise CommandError(f"OUT: {options.out} is in {options.recordings}, where its frames would pass for recordings")

    from xrcam_jax.data.recordings import find_recordings

    recordings = find_recordings(options.recordings)
    if not recordings.found:
        # Who names the folder of a class, or of a patient, has recordings less deep.
        near = f", but {recordings.misplaced[0]}: name the folder of all classes" if recordings.misplaced else ""
        expected = f"expected CLASS/PATIENT/VIDEO in {options.recordings}"
        raise CommandError(f"RECORDINGS: {expected}, found no such recording{near}")
    try:
        _check_patients(options, recordings)
    except ValueError as error:
        raise CommandError(f"{error}{_too_high(recordings)}") from error
    prepare_folder("OUT", options.out)
    return recordings


def _too_high(recordings: "Recordings") -> str:
    """Says so where all that is found lies one folder deeper than it should: a folder above that of classes was named.

    A patient's folder may have folders in it, and so this is told from a split that cannot be drawn.
    """
    deep = all(len(recording.video.split("/")) > 3 for recording in recordings.found)
    return f"; of {recordings.found[0].video}, the first folder counts as class, the second as patient" if deep else ""


def _check_patients(options: Options, recordings: "Recordings") -> None:
    """Refuses a split and folds that are not possible, though some recordings may yet turn out to be damaged."""
    from xrcam_jax.data.folds import FOLDS, draw_folds, read_folds
    from xrcam_jax.data.frames import patients_of
    from xrcam_jax.data.manifest import SPLIT, read_split
    from xrcam_jax.data.split import split_patients

    patients = patients_of(recordings.found)
    if (options.out / SPLIT).exists():
        read_split(options.out)
        print(f"{options.out / SPLIT} is there and is kept; --split and --seed are without effect")
    else:
        split_patients(patients, options.split, options.seed)
    if (options.out / FOLDS).exists():
        read_folds(options.out)
        print(f"{options.out / FOLDS} is there and is kept; --folds and --seed are without effect")
    elif options.folds is not None:
        try:
            draw_folds(patients, options.folds, options.seed)
        except ValueError as error:
            raise CommandError(f"--{error}") from error


def _left_out(recordings: "Recordings") -> list[str]:
    names = [path.name for path in recordings.others]
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    others = [f"left out, since neither videos nor pictures: {len(names)} files ({listed})"] if names else []
    why = "a link to a folder above, to what is found elsewhere, or to nothing; passed over"
    return others + [f"{path}: {why}" for path in recordings.links]


def _summarise(prepared: "Prepared", extracted: Sequence["Extracted"]) -> None:
    from xrcam_jax.data.folds import FOLDS
    from xrcam_jax.data.frames import patients_of, same_content
    from xrcam_jax.data.manifest import PARTS, SPLIT
    from xrcam_jax.data.split import absent_classes

    for part, label in absent_classes(patients_of(extracted), prepared.parts):
        _say(f"{prepared.folder / SPLIT}: no patient of class {label!r} is in the part {part}")
    for one, other in same_content(extracted):
        _say(f"{one.video} and {other.video} have the same frames: are they two patients?")
    for part in PARTS:
        _print_part(part, prepared.part(part), prepared.classes)
    if (prepared.folder / FOLDS).exists():
        _summarise_folds(prepared, extracted)
    duplicates = sum(entry.duplicates for entry in extracted)
    print(
        f"{duplicates} duplicate frames left out; intensities of the training part: "
        f"mean {prepared.statistics.mean:.4f}, standard deviation {prepared.statistics.std:.4f}"
    )


def _summarise_folds(prepared: "Prepared", extracted: Sequence["Extracted"]) -> None:
    from xrcam_jax.data.folds import FOLDS, fold_of_patients
    from xrcam_jax.data.frames import patients_of
    from xrcam_jax.data.split import absent_classes

    folds = {patient: f"fold {number}" for patient, number in fold_of_patients(prepared).items()}
    names = [f"fold {number}" for number in range(len(set(folds.values())))]
    for name, label in absent_classes(patients_of(extracted), folds, names):
        _say(f"{prepared.folder / FOLDS}: no patient of class {label!r} is in {name}")
    for name in names:
        _print_part(name, [frame for frame in prepared.frames if folds[frame.patient] == name], prepared.classes)


def _print_part(name: str, frames: Sequence["Frame"], classes: Sequence[str]) -> None:
    patients = len({frame.patient for frame in frames})
    counts = ", ".join(f"{label} {sum(f.label == label for f in frames)}" for label in classes)
    print(printable(f"{name}: {patients} patients, {len(frames)} frames ({counts})"))


def _say(line: str) -> None:
    print(printable(f"xrcam {NAME}: {line}"), file=sys.stderr)
