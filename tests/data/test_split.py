"""No patient is in two parts and every class is in every part, or an error says why not."""

import itertools
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from xrcam_jax.data.manifest import PARTS, write_split
from xrcam_jax.data.split import absent_classes, kept_or_drawn, split_patients

LUNG, ORAL = [f"lung{number}" for number in range(18)], [f"oral{number}" for number in range(16)]

cohorts = st.dictionaries(
    st.text(min_size=1, max_size=3),
    st.sets(st.integers(0, 25).map("p{}".format), min_size=3, max_size=20),
    min_size=1,
    max_size=4,
)


def possible(patients, parts):
    """Tells whether any assignment at all has every class in every part."""
    everyone = sorted(set().union(*patients.values()))
    for taken in itertools.product(parts, repeat=len(everyone)):
        of = dict(zip(everyone, taken, strict=True))
        if all({of[patient] for patient in members} == set(parts) for members in patients.values()):
            return True
    return False


@given(cohorts, st.integers(0, 2**32))
def test_random_cohorts(patients, seed):
    """A name is one patient, however many classes it is found under."""
    try:
        parts = split_patients(patients, seed=seed)
    except ValueError:
        # Small classes that share patients may have no split at all; larger ones always have.
        assume(False)
    assert set(parts) == set().union(*patients.values())
    assert set(parts.values()) == set(PARTS)
    for members in patients.values():
        assert {parts[patient] for patient in members} == set(PARTS)
    assert absent_classes(patients, parts) == []
    shuffled = {label: sorted(patients[label], reverse=True) for label in reversed(patients)}
    assert split_patients(shuffled, seed=seed) == parts


@given(st.lists(st.sets(st.sampled_from("abcdef"), min_size=3), min_size=1, max_size=3), st.integers(0, 99))
def test_a_split_is_found_wherever_there_is_one(members, seed):
    patients = {f"class{number}": taken for number, taken in enumerate(members)}
    try:
        parts = split_patients(patients, seed=seed)
    except ValueError:
        assert not possible(patients, PARTS)
    else:
        assert absent_classes(patients, parts) == []


@given(st.lists(st.integers(3, 60), min_size=1, max_size=4), st.integers(0, 99))
def test_classes_are_near_the_fractions(sizes, seed):
    patients = {f"c{label}": [f"{label}-{number}" for number in range(size)] for label, size in enumerate(sizes)}
    parts = split_patients(patients, (0.8, 0.1, 0.1), seed)
    for members in patients.values():
        counts = Counter(parts[patient] for patient in members)
        for part, fraction in zip(PARTS, (0.8, 0.1, 0.1), strict=True):
            # Each part has one, however few there are, and the training part does without those two.
            assert abs(counts[part] - fraction * len(members)) < (2 if part == "train" else 1)


def test_a_cohort_of_34():
    parts = split_patients({"lung": LUNG, "oral": ORAL})
    assert Counter(parts.values()) == {"train": 27, "validation": 3, "test": 4}


def test_seeds_differ_and_one_seed_does_not():
    patients = {"lung": LUNG, "oral": ORAL}
    drawn = [split_patients(patients, seed=seed) for seed in range(10)]
    assert len({tuple(parts.items()) for parts in drawn}) == 10
    assert split_patients(patients, seed=3) == drawn[3]
    assert split_patients(patients, (80, 10, 10), seed=3) == drawn[3]


def test_a_part_may_be_left_out():
    parts = split_patients({"a": ["1", "2"], "b": ["3", "4"]}, (0.5, 0, 0.5))
    assert Counter(parts.values()) == {"train": 2, "test": 2}
    assert set(split_patients({"a": ["1"]}, (1, 0, 0)).values()) == {"train"}


@pytest.mark.parametrize(
    ("patients", "fractions", "message"),
    [
        (
            {"a": ["1", "2", "2"], "b": LUNG},
            (8, 1, 1),
            r"class 'a' has 2 patients \(1, 2\), but train, validation, test",
        ),
        ({"a": list("123"), "b": list("124"), "c": list("345")}, (8, 1, 1), "found no way .* a, b, c in each of train"),
        ({"a": LUNG}, (0, 1, 1), "share of train is 0"),
        ({"a": LUNG}, (8, -1, 1), "expected 3 numbers from 0"),
        ({"a": LUNG}, (8, float("nan"), 1), "expected 3 numbers from 0"),
        ({"a": LUNG}, (8, 2), "expected 3 numbers from 0"),
    ],
)
def test_errors_explain_themselves(patients, fractions, message):
    with pytest.raises(ValueError, match=message):
        split_patients(patients, fractions)


def test_an_edited_split_is_kept(tmp_path):
    patients = {"a": ["1", "2"], "b": ["3"]}
    edited = {"1": "train", "2": "test", "3": "train", "gone": "validation"}
    write_split(tmp_path, edited)
    assert kept_or_drawn(tmp_path, patients, (8, 1, 1), 0) == edited
    assert absent_classes(patients, edited) == [("validation", "a"), ("validation", "b"), ("test", "b")]
    with pytest.raises(ValueError, match=r"split.csv: not listed: 4, 5; add a line"):
        kept_or_drawn(tmp_path, {"a": ["1", "5"], "b": ["3", "4"]}, (8, 1, 1), 0)
