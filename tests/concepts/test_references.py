"""References are those that sorting all pictures would find, however the pictures come in batches."""

import numpy as np
import pytest

from xrcam_jax.concepts.references import among_top, in_units, no_references, references_of


def sorted_all(scores, places, patients, room, each):
    """Goes through all pictures from the best on, and takes what the patients have left."""
    found = []
    for concept in range(scores.shape[1]):
        taken, counts = [], {}
        for number in sorted(range(len(scores)), key=lambda n: (-scores[n, concept], n)):
            patient = patients[number]
            if scores[number, concept] > 0 and counts.get(patient, 0) < each and len(taken) < room:
                counts[patient] = counts.get(patient, 0) + 1
                taken.append((number, places[number, concept], scores[number, concept]))
        found.append(taken)
    return found


@pytest.mark.parametrize("each", [1, 2, 40])
@pytest.mark.parametrize("size", [1, 7, 40])
def test_the_best_of_all_pictures(size, each):
    random = np.random.default_rng(each)
    # Few values, so that there are ties, and some of them below zero.
    scores = random.integers(-2, 6, (40, 5)).astype(np.float32) / 8
    places, patients = random.integers(0, 9, (40, 5)).astype(np.int32), random.integers(0, 6, 40).astype(np.int32)
    order = random.permutation(40).astype(np.int32)
    kept = no_references(5, 4)
    for start in range(0, 40, size):
        some = order[start : start + size]
        kept = kept.joined(references_of(scores[some], some, places[some]), patients, each)
    for concept, wanted in enumerate(sorted_all(scores, places, patients, 4, each)):
        columns = (kept.pictures[concept], kept.places[concept], kept.scores[concept])
        found = list(zip(*(column.tolist() for column in columns), strict=True))
        assert found == [*wanted, *[(-1, -1, 0.0)] * (4 - len(wanted))]


def test_sums_of_shares_do_not_depend_on_their_order():
    share = np.random.default_rng(0).uniform(-1, 1, (1000, 1)).astype(np.float32)
    sums = in_units(share).sum()
    assert sums == in_units(share[::-1]).cumsum()[-1]
    assert sums * 2.0**-32 == pytest.approx(share.astype(np.float64).sum(), abs=1000 * 2.0**-32)


def test_concepts_that_speak_against_the_class_are_not_among_the_top():
    share = np.array([[0.2, -0.5, 0.2, 0.1], [-0.1, -0.2, -0.3, -0.4]], np.float32)
    assert among_top(share, 2).tolist() == [[True, False, True, False], [False] * 4]
