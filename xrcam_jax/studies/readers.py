"""What readers say of pairs of maps, as tables: how far they agree, and which method they prefer.

Intervals are over patients and say nothing of other readers, but for that of ICC(2,1).
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from xrcam_jax.metrics.agreement import (
    Weighting,
    cohen_kappa,
    fleiss_kappa,
    icc_agreement,
    icc_consistency,
    preference,
)
from xrcam_jax.metrics.uncertainty import Estimate, sampling_units
from xrcam_jax.report.ratings import MOST, Rating
from xrcam_jax.studies.tables import Table, scaled

#: How many answers each question has. Of two methods, the second by name is better, neither, or the first.
CATEGORIES = {"preference": 3, "rating": MOST}
NOTHING = Estimate(math.nan)
#: How many couples of readers are named.
MANY = 5
#: All readers together; the page takes no name in brackets.
ALL = "(all)"

ByReader = Mapping[str, Mapping[int, Rating]]


def rated_by_all(found: ByReader) -> list[int]:
    """Returns the pairs that all readers have rated.

    Args:
      found: what :func:`xrcam_jax.report.ratings.read_ratings` returns.
    """
    return sorted(set.intersection(*(set(of_reader) for of_reader in found.values())))


def counted(pairs: int) -> str:
    """Returns a number of pairs in words."""
    return f"{pairs} pair{'' if pairs == 1 else 's'}"


def cautions(found: ByReader) -> list[str]:
    """Returns what a reader of the tables has to know: who has rated which pairs, if not all have rated the same.

    Args:
      found: what :func:`xrcam_jax.report.ratings.read_ratings` returns, of two or more readers.
    """
    common, pairs = rated_by_all(found), set().union(*found.values())
    if len(common) == len(pairs):
        return []
    rated = ", ".join(f"{reader} has rated {len(of_reader)}" for reader, of_reader in found.items())
    said = [f"figures of all readers are on the {counted(len(common))} that all have rated, of {len(pairs)}: {rated}"]
    if not common:
        said = [f"there are no figures of all readers together: of {len(pairs)} pairs none is rated by all; {rated}"]
    most = max(map(len, found.values()))
    said += [
        f"{reader} has rated {counted(len(of_reader))}, others up to {most}: is the name right?"
        for reader, of_reader in found.items()
        if 2 * len(of_reader) < most
    ]
    apart = [
        f"{one} and {other}"
        for one, other in itertools.combinations(found, 2)
        if not found[one].keys() & found[other].keys()
    ]
    if apart:
        more = f" and {len(apart) - MANY} more" if len(apart) > MANY else ""
        said.append(f"no pair is rated by both {', nor by both '.join(apart[:MANY])}{more}")
    return said


def agreement_table(found: ByReader, weighting: Weighting) -> Table:
    """Returns how far readers agree: all of them on the pairs that all have rated, and two and two on theirs.

    Args:
      found: what :func:`xrcam_jax.report.ratings.read_ratings` returns, of two or more readers.
      weighting: of Cohen's kappa.
    """
    common = rated_by_all(found)
    rows: dict[tuple[str, str], list[Estimate]] = {}
    for question in CATEGORIES:
        rows[question, ALL] = _of_all(found, common, question)
        for one, other in itertools.combinations(found, 2):
            kappa = _of_two(found[one], found[other], question, weighting)
            rows[question, f"{one}, {other}"] = [kappa, NOTHING, NOTHING, NOTHING]
    named = "Cohen's kappa" if weighting == "none" else f"Cohen's kappa, {weighting} weights"
    columns = [named, "Fleiss's kappa", "ICC(2,1)", "ICC(3,1)"]
    title = f"Agreement of {len(found)} readers; {ALL}: on the {counted(len(common))} that all have rated"
    return Table("agreement", title, rows, columns, ("question", "readers"), best=None, unit="", decimals=3)


def preference_table(found: ByReader) -> Table:
    """Returns how often each method was preferred to another one, by all readers together and by each.

    Args:
      found: what :func:`xrcam_jax.report.ratings.read_ratings` returns.
    """

    def of(readers: Sequence[str]) -> dict[str, Estimate]:
        ratings = [rating for reader in readers for rating in found[reader].values()]
        first, second = ([rating.methods[place] for rating in ratings] for place in (0, 1))
        return preference(first, second, _answers(ratings, "preference") - 1, _units(ratings))

    shares = {ALL: of(list(found)), **{reader: of([reader]) for reader in found}}
    rows = {
        (method, who): [scaled(each[method])]
        for method in shares[ALL]
        for who, each in shares.items()
        if method in each
    }
    labels, title = ("method", "readers"), "Comparisons won, where equal counts as half"
    return Table("preference", title, rows, ["comparisons won"], labels, best=None)


def _of_all(found: ByReader, common: Sequence[int], question: str) -> list[Estimate]:
    if not common:
        return [NOTHING] * 4
    by_reader = [[of_reader[pair] for pair in common] for of_reader in found.values()]
    answers = np.stack([_answers(ratings, question) for ratings in by_reader], axis=1)
    fleiss = fleiss_kappa(answers, CATEGORIES[question], units=_units(by_reader[0]))
    if question == "preference" or len(common) < 2:
        return [NOTHING, fleiss, NOTHING, NOTHING]
    return [NOTHING, fleiss, icc_agreement(answers), icc_consistency(answers)]


def _of_two(one: Mapping[int, Rating], other: Mapping[int, Rating], question: str, weighting: Weighting) -> Estimate:
    shared = sorted(one.keys() & other.keys())
    if not shared:
        return NOTHING
    a, b = (_answers([ratings[pair] for pair in shared], question) for ratings in (one, other))
    units = _units([one[pair] for pair in shared])
    return cohen_kappa(a, b, CATEGORIES[question], weighting=weighting, units=units)


def _answers(ratings: Sequence[Rating], question: str) -> Int[np.ndarray, " n"]:
    """Returns the answers to a question as numbers from 0."""
    return np.asarray([each.outcome + 1 if question == "preference" else each.rating - 1 for each in ratings], int)


def _units(ratings: Sequence[Rating]) -> Int[np.ndarray, " n"]:
    """Returns the patients as numbers, or the frames where all are of one patient; of one frame there is one unit."""
    patients, frames = [rating.patient for rating in ratings], [rating.frame for rating in ratings]
    if len(set(frames)) == len(set(patients)) == 1:
        return np.zeros(len(ratings), int)
    return sampling_units(patients if len(set(patients)) > 1 else frames)
