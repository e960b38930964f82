"""Folds of patients for cross-validation: ``folds.csv`` says which of K folds each patient is in.

The network of fold i is tested on the patients of fold i, validated on those of the next fold (that after the last is
the first), and trained on all others. Over all folds each patient is tested exactly once.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from xrcam_jax.data.counts import read_counts, statistics_of
from xrcam_jax.data.manifest import MANIFEST, PARTS, Prepared
from xrcam_jax.data.split import classes_of_patients
from xrcam_jax.data.tables import rows_of, table
from xrcam_jax.runtime.files import write_whole

FOLDS = "folds.csv"
#: Training, validation and test part each need one of their own.
FEWEST = 3
# An attempt can only fail where another would do if patients are in several of three classes or more.
ATTEMPTS = 500


def draw_folds(patients: Mapping[str, Collection[str]], count: int, seed: int = 0) -> dict[str, int]:
    """Draws a fold for each patient, with every class in every fold.

    Patients are dealt like cards, class after class. So the numbers of patients of any two folds differ by one at most,
    and so do those of each class, unless patients are in several classes.

    Args:
      patients: for each class, its patients. A name under two classes is one patient, and counts for both.
      count: number of folds, from ``FEWEST`` to the number of patients of the smallest class.
      seed: of the draw, from 0. The same patients, count and seed give the same folds.

    Returns:
      For each patient a number from 0, less than ``count``.

    Raises:
      ValueError: there are too few patients for so many folds, or too few folds to train, validate and test.

    Example:
      >>> from xrcam_jax.data.folds import draw_folds
      >>> folds = draw_folds({"sick": ["p1", "p2", "p3"], "well": ["q1", "q2", "q3", "q4"]}, 3)
      >>> sorted(folds[patient] for patient in ("p1", "p2", "p3")), sorted(folds.values())
      ([0, 1, 2], [0, 0, 0, 1, 1, 2, 2])
    """
    if count < FEWEST:
        raise ValueError(f"folds: expected {FEWEST} or more, for training, validation and test; found {count}")
    for label, members in sorted(patients.items()):
        names = sorted(set(members))
        if len(names) < count:
            raise ValueError(
                f"folds: expected at most {len(names)}, since each needs a patient of its own of class {label!r}, "
                f"which has {', '.join(names)}; found {count}"
            )
    classes_of = classes_of_patients(patients)
    random = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        folds = _dealt(classes_of, count, random)
        if all(len({folds[patient] for patient in members}) == count for members in patients.values()):
            return dict(sorted(folds.items()))
    raise ValueError(
        f"folds: found no way to have each of the classes {', '.join(sorted(patients))} in each of {count}: too many "
        "patients are in several classes; take fewer folds"
    )


def _dealt(classes_of: Mapping[str, tuple[str, ...]], count: int, random: np.random.Generator) -> dict[str, int]:
    """Deals patients out to folds in random order, those of the same classes one after another."""
    groups = sorted(set(classes_of.values()))
    rank = dict(zip(groups, random.permutation(len(groups)), strict=True))
    names = list(classes_of)
    order = [names[place] for place in random.permutation(len(names))]
    return {p: place % count for place, p in enumerate(sorted(order, key=lambda p: rank[classes_of[p]]))}


def kept_or_drawn_folds(
    folder: str | os.PathLike[str], patients: Mapping[str, Collection[str]], count: int | None, seed: int
) -> dict[str, int] | None:
    """Returns the folds of a prepared folder as they are, or new ones where there are none.

    Args:
      folder: the prepared folder.
      patients: for each class, its patients.
      count: of new folds, see :func:`draw_folds`; None for no new ones.
      seed: of new folds.

    Returns:
      The fold of each patient; None if there are none and none are asked for.

    Raises:
      ValueError: the file is wrong or a patient is not listed in it, or new folds cannot be drawn.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.data.folds import kept_or_drawn_folds
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     kept_or_drawn_folds(folder, {"sick": ["p1", "p2", "p3"]}, None, seed=0) is None
      True
    """
    path = Path(folder) / FOLDS
    if not path.exists():
        return None if count is None else draw_folds(patients, count, seed)
    folds = read_folds(folder)
    missing = sorted({patient for members in patients.values() for patient in members} - set(folds))
    if missing:
        raise ValueError(
            f"{path}: not listed: {', '.join(missing)}; add a line 'PATIENT,FOLD' for each, "
            "or delete the file to draw all folds anew"
        )
    _check_numbers(path, {folds[patient] for members in patients.values() for patient in members}, folds)
    return folds


def write_folds(folder: str | os.PathLike[str], folds: Mapping[str, int]) -> None:
    """Writes ``folds.csv``, whole or not at all.

    Args:
      folder: the prepared folder.
      folds: the fold of each patient, from 0.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.data.folds import write_folds
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_folds(folder, {"p2": 0, "p1": 1, "p3": 2})
      ...     print((Path(folder) / "folds.csv").read_text())
      patient,fold
      p1,1
      p2,0
      p3,2
    """
    rows = [{"patient": patient, "fold": fold} for patient, fold in sorted(folds.items())]
    write_whole(Path(folder) / FOLDS, table(["patient", "fold"], rows))


def read_folds(folder: str | os.PathLike[str]) -> dict[str, int]:
    """Reads which fold each patient is in.

    Args:
      folder: the prepared folder.

    Returns:
      For each patient a number from 0; there are ``FEWEST`` folds or more, and each has a patient.

    Raises:
      ValueError: names the file that is missing, the line where a fold is no number or a patient is listed again, or
        the fold that has no patient.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.data.folds import read_folds, write_folds
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_folds(folder, {"p1": 1, "p2": 0, "p3": 2})
      ...     read_folds(folder)
      {'p1': 1, 'p2': 0, 'p3': 2}
    """
    path = Path(folder) / FOLDS
    if not path.exists():
        raise ValueError(f"{path}: there is no such file; 'xrcam prepare --folds K' makes it")
    folds: dict[str, int] = {}
    for where, row in rows_of(path, ["patient", "fold"]):
        patient, fold = row["patient"], row["fold"]
        if not (fold.isascii() and fold.isdigit() and len(fold) < 10):
            raise ValueError(f"{where}: expected the number of a fold, from 0, found {fold!r:.200}")
        if patient in folds:
            raise ValueError(f"{where}: patient {patient!r:.200} is listed twice")
        folds[patient] = int(fold)
    _check_numbers(path, set(folds.values()), folds)
    return folds


def _check_numbers(path: Path, filled: Collection[int], folds: Mapping[str, int]) -> None:
    """Refuses folds of which one has no patient with frames."""
    last = max([FEWEST - 1, *folds.values()])
    if len(filled) <= last:
        empty = next(number for number in range(last + 1) if number not in filled)
        raise ValueError(f"{path}: expected patients in each of the folds 0 to {last}, found none in fold {empty}")


def parts_of_fold(folds: Mapping[str, int], number: int) -> dict[str, str]:
    """Returns what the network of one fold is trained, validated and tested on.

    Args:
      folds: the fold of each patient.
      number: of the fold.

    Returns:
      For each patient, one of ``manifest.PARTS``.

    Example:
      >>> from xrcam_jax.data.folds import parts_of_fold
      >>> parts_of_fold({"p1": 0, "p2": 1, "p3": 2, "p4": 3}, 3)
      {'p1': 'validation', 'p2': 'train', 'p3': 'train', 'p4': 'test'}
    """
    train, validation, test = PARTS
    following = (number + 1) % (max(folds.values()) + 1)
    return {p: test if fold == number else validation if fold == following else train for p, fold in folds.items()}


def fold_of_patients(prepared: Prepared) -> dict[str, int]:
    """Reads which fold each patient with frames is in.

    Args:
      prepared: the prepared folder.

    Returns:
      The fold of each patient of whom there are frames.

    Raises:
      ValueError: names the file that is missing or wrong, a patient that it lacks, or a fold without frames.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.data.folds import fold_of_patients, write_folds
      >>> from xrcam_jax.data.manifest import Frame, Prepared, Statistics
      >>> from xrcam_jax.pictures.crop import Crop
      >>> frames = tuple(Frame(f"{n}.png", "sick", f"p{n}", f"{n}.avi", 0, Crop(0, 0, 2, 8, 8)) for n in range(3))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_folds(folder, {"p0": 0, "p1": 1, "p2": 2, "gone": 1})
      ...     fold_of_patients(Prepared(Path(folder), frames, {}, Statistics(0.5, 0.25)))
      {'p0': 0, 'p1': 1, 'p2': 2}
    """
    folds, path = read_folds(prepared.folder), prepared.folder / FOLDS
    patients = sorted({frame.patient for frame in prepared.frames})
    unknown = [patient for patient in patients if patient not in folds]
    if unknown:
        raise ValueError(f"{path}: the patients {', '.join(unknown)} of {MANIFEST} are not listed")
    with_frames = {patient: folds[patient] for patient in patients}
    _check_numbers(path, set(with_frames.values()), folds)
    return with_frames


def of_fold(prepared: Prepared, number: int) -> Prepared:
    """Returns a prepared folder as the network of one fold is to see it.

    Args:
      prepared: the prepared folder.
      number: of the fold, from 0.

    Returns:
      The same frames with the parts of the fold, and the statistics of the patients that it is trained on.

    Raises:
      ValueError: there is no such fold, or names the file that is missing or wrong.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.data.counts import Counts, write_counts
      >>> from xrcam_jax.data.folds import of_fold, write_folds
      >>> from xrcam_jax.data.manifest import Frame, Prepared, Statistics
      >>> from xrcam_jax.pictures.crop import Crop
      >>> frames = tuple(Frame(f"{n}.png", "sick", f"p{n}", f"{n}.avi", 0, Crop(0, 0, 2, 8, 8)) for n in range(3))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_folds(folder, {"p0": 0, "p1": 1, "p2": 2})
      ...     write_counts(folder, [Counts(f"{n}.avi", "sick", f"p{n}", 1, 1, 1, 4, 510, 130050) for n in range(3)])
      ...     fold = of_fold(Prepared(Path(folder), frames, {}, Statistics(0.1, 0.1)), 2)
      >>> fold.parts, fold.statistics
      ({'p0': 'validation', 'p1': 'train', 'p2': 'test'}, Statistics(mean=0.5, std=0.5))
    """
    folds = fold_of_patients(prepared)
    last = max(folds.values())
    if not 0 <= number <= last:
        raise ValueError(f"fold: expected 0 to {last}, as in {prepared.folder / FOLDS}; found {number}")
    parts = parts_of_fold(folds, number)
    counts = read_counts(prepared.folder, prepared.frames)
    statistics = statistics_of([entry for entry in counts if parts.get(entry.patient) == PARTS[0]])
    return replace(prepared, parts=parts, statistics=statistics)
