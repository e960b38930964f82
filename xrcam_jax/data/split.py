"""Splitting patients into those for training, validation and test; no patient is in two parts."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from xrcam_jax.data.manifest import PARTS, SPLIT, read_split

# An attempt can only fail where another would do if patients are in several classes.
ATTEMPTS = 500


def split_patients(
    patients: Mapping[str, Collection[str]], fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> dict[str, str]:
    """Draws a part for each patient, with every class in every part and each class near the fractions.

    Args:
      patients: for each class, its patients. A name under two classes is one patient, and counts for both.
      fractions: of ``PARTS``, in proportion to one another; a part of 0 stays empty.
      seed: of the draw, from 0. The same patients, fractions and seed give the same parts.

    Returns:
      One of ``PARTS`` for each patient.

    Raises:
      ValueError: the fractions make no sense, or a class has fewer patients than there are parts.

    Example:
      >>> from xrcam_jax.data.split import split_patients
      >>> sorted(split_patients({"sick": ["p1", "p2"], "well": ["p3", "p4"]}, (0.5, 0, 0.5)).values())
      ['test', 'test', 'train', 'train']
    """
    shares = _shares(fractions)
    classes_of = classes_of_patients(patients)
    for label, members in sorted(patients.items()):
        if len(set(members)) < len(shares):
            raise ValueError(_too_few(label, sorted(set(members)), list(shares)))
    random = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        order = [str(patient) for patient in random.permutation(np.array(list(classes_of), dtype=object))]
        parts = _one_of_each(order, classes_of, list(shares))
        if parts is not None:
            return dict(sorted(_fill(parts, order, classes_of, shares).items()))
    raise ValueError(
        f"found no way to have each of the classes {', '.join(sorted(patients))} in each of {', '.join(shares)}: "
        "too many patients are in several classes; add patients, or leave a part out"
    )


def classes_of_patients(patients: Mapping[str, Collection[str]]) -> dict[str, tuple[str, ...]]:
    """Returns the classes of each patient.

    Args:
      patients: for each class, its patients.

    Returns:
      The classes by patient, all in order of name.

    Example:
      >>> from xrcam_jax.data.split import classes_of_patients
      >>> classes_of_patients({"well": ["p2", "p1"], "sick": ["p1"]})
      {'p1': ('sick', 'well'), 'p2': ('well',)}
    """
    return {
        patient: tuple(sorted(label for label, members in patients.items() if patient in members))
        for patient in sorted({patient for members in patients.values() for patient in members})
    }


def kept_or_drawn(
    folder: str | os.PathLike[str], patients: Mapping[str, Collection[str]], fractions: Sequence[float], seed: int
) -> dict[str, str]:
    """Returns the split of a prepared folder as it is, or a new one where there is none.

    Args:
      folder: the prepared folder.
      patients: for each class, its patients.
      fractions: of ``PARTS``, for a new split, see :func:`split_patients`.
      seed: of a new split.

    Returns:
      One of ``PARTS`` for each patient.

    Raises:
      ValueError: the file is wrong or a patient is not listed in it, or a new split cannot be drawn.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.data.manifest import write_split
      >>> from xrcam_jax.data.split import kept_or_drawn
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     drawn = kept_or_drawn(folder, {"sick": ["p1"]}, (1, 0, 0), seed=0)
      ...     write_split(folder, {"p1": "test"})
      ...     kept = kept_or_drawn(folder, {"sick": ["p1"]}, (1, 0, 0), seed=0)
      >>> drawn, kept
      ({'p1': 'train'}, {'p1': 'test'})
    """
    path = Path(folder) / SPLIT
    if not path.exists():
        return split_patients(patients, fractions, seed)
    parts = read_split(folder)
    missing = sorted({patient for members in patients.values() for patient in members} - set(parts))
    if missing:
        raise ValueError(
            f"{path}: not listed: {', '.join(missing)}; add a line 'PATIENT,PART' for each, "
            "or delete the file to split all patients anew"
        )
    return parts


def absent_classes(
    patients: Mapping[str, Collection[str]], parts: Mapping[str, str], names: Sequence[str] = PARTS
) -> list[tuple[str, str]]:
    """Finds the classes that are missing in a part, as may happen in an edited split.

    Args:
      patients: for each class, its patients.
      parts: for each patient, one of ``names``.
      names: of the parts, in their order.

    Returns:
      Pairs of a part that has patients and a class that none of them is in.

    Example:
      >>> from xrcam_jax.data.split import absent_classes
      >>> absent_classes({"sick": ["p1"], "well": ["p2"]}, {"p1": "train", "p2": "test"})
      [('train', 'well'), ('test', 'sick')]
    """
    return [
        (part, label)
        for part in names
        if part in parts.values()
        for label, members in sorted(patients.items())
        if all(parts[patient] != part for patient in members)
    ]


def _shares(fractions: Sequence[float]) -> dict[str, float]:
    """Returns the parts that are to have patients, each with its share of all."""
    if len(fractions) != len(PARTS) or not all(0 <= fraction < float("inf") for fraction in fractions):
        raise ValueError(f"expected {len(PARTS)} numbers from 0, for {', '.join(PARTS)}; found {tuple(fractions)}")
    if not fractions[0]:
        raise ValueError(f"the share of {PARTS[0]} is 0: there would be nothing to train on")
    total = sum(fractions)
    return {part: fraction / total for part, fraction in zip(PARTS, fractions, strict=True) if fraction}


def _too_few(label: str, members: Sequence[str], parts: Sequence[str]) -> str:
    return (
        f"class {label!r} has {len(members)} patients ({', '.join(members)}), but {', '.join(parts)} each need one "
        "of their own, since no patient may be in two parts; add patients, or set the share of a part to 0"
    )


def _one_of_each(
    order: Sequence[str], classes_of: Mapping[str, Sequence[str]], parts: Sequence[str]
) -> dict[str, str] | None:
    """Places so few patients, first come first served, that each class is in each part; None where it cannot."""
    placed: dict[str, str] = {}
    for part in parts:
        for label in _labels(classes_of):
            if any(label in classes_of[patient] for patient, taken in placed.items() if taken == part):
                continue
            free = [patient for patient in order if patient not in placed and label in classes_of[patient]]
            if not free:
                return None
            placed[free[0]] = part
    return placed


def _fill(
    placed: Mapping[str, str],
    order: Sequence[str],
    classes_of: Mapping[str, Sequence[str]],
    shares: Mapping[str, float],
) -> dict[str, str]:
    """Places all other patients, each in the part that lacks most of its classes; of equal parts in the last."""
    counts = {label: sum(label in classes for classes in classes_of.values()) for label in _labels(classes_of)}
    lacking = {(part, label): share * counts[label] for part, share in shares.items() for label in counts}
    parts = dict(placed)
    for patient in [*placed, *(patient for patient in order if patient not in placed)]:
        if patient not in parts:
            parts[patient] = max(
                reversed(list(shares)), key=lambda part: sum(lacking[part, label] for label in classes_of[patient])
            )
        for label in classes_of[patient]:
            lacking[parts[patient], label] -= 1
    return parts


def _labels(classes_of: Mapping[str, Sequence[str]]) -> list[str]:
    return sorted({label for classes in classes_of.values() for label in classes})
