"""Intervals and tests agree with loops, enumeration, SciPy's bootstrap and cases that are known."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from xrcam_jax.metrics.uncertainty import Estimate, by_unit, estimate, mean, paired_p_value, sampling_units

COUNTS = arrays(np.int64, 12, elements=st.integers(0, 50))
UNITS = arrays(np.int64, 12, elements=st.integers(0, 4))


@given(st.lists(st.sampled_from(["p1", "p2", "p10", ""]), min_size=1, max_size=8))
def test_sampling_units_are_patients_if_there_are_several(patients):
    units = sampling_units(patients)
    several = len(set(patients)) > 1
    for i, j in itertools.product(range(len(patients)), repeat=2):
        assert (units[i] == units[j]) == (patients[i] == patients[j] if several else i == j)


@given(COUNTS, UNITS)
def test_by_unit_is_a_sum(values, units):
    sums = {}
    for value, unit in zip(values.tolist(), units.tolist(), strict=True):
        sums[unit] = sums.get(unit, 0) + value
    np.testing.assert_array_equal(by_unit(values, units), [sums[unit] for unit in sorted(sums)])


@given(COUNTS, COUNTS, UNITS)
def test_the_value_is_pooled(parts, wholes, units):
    found = estimate(parts, wholes, units, draws=50)
    part = whole = 0
    for p, w in zip(parts.tolist(), wholes.tolist(), strict=True):
        part, whole = part + p, whole + w
    if whole == 0:
        assert all(math.isnan(value) for value in found)
        return
    assert found.value == pytest.approx(part / whole, rel=1e-12)
    if len(set(units.tolist())) == 1:
        assert math.isnan(found.low)
        assert math.isnan(found.high)
    else:
        assert found.low <= found.high


@given(COUNTS, COUNTS, UNITS, st.permutations(range(12)))
def test_how_a_unit_is_cut_up_does_not_matter(parts, wholes, units, order):
    """Pictures in another order, and units summed beforehand as shards would be, give the same to the digit."""
    whole = estimate(parts, wholes, units, draws=50)
    order = np.array(order)
    shuffled = estimate(parts[order], wholes[order], units[order], draws=50)
    names = np.unique(units)
    summed = [np.array([values[units == unit].sum() for unit in names]) for values in (parts, wholes)]
    assert repr(whole) == repr(shuffled) == repr(estimate(*summed, names, draws=50))


def test_two_units():
    """Drawn twice of two, a sample is one of them alone as often as both: the interval goes from one to the other."""
    found = estimate(np.array([1, 3]), np.array([10, 10]), np.array([0, 1]))
    assert found == (pytest.approx(0.2), pytest.approx(0.1), pytest.approx(0.3))


def test_units_of_unequal_size_weigh_as_they_should():
    """Two units of ratios 1 and 1/100 have 11/110 together."""
    found = estimate(np.array([5, 5, 1]), np.array([5, 5, 100]), np.array([7, 7, 2]))
    assert found == (pytest.approx(0.1), pytest.approx(0.01), pytest.approx(1.0))


def test_interval_of_many_normal_values():
    """The interval is as wide as theory has it, around the mean."""
    values = np.random.default_rng(0).normal(5, 2, 500)
    found = mean(values, np.arange(500))
    half = 1.96 * values.std() / 500**0.5
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(found.value - half, abs=0.1 * half)
    assert found.high == pytest.approx(found.value + half, abs=0.1 * half)


def test_interval_of_a_ratio_is_scipys():
    random = np.random.default_rng(1)
    wholes = random.integers(50, 200, 60)
    parts = (wholes * random.random(60)).astype(int)
    patients = np.arange(60) % 15
    sums = [np.array([values[patients == p].sum() for p in range(15)]) for values in (parts, wholes)]
    expected = stats.bootstrap(
        sums,
        lambda p, w, axis: p.sum(axis) / w.sum(axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    found = estimate(parts, wholes, patients, draws=4000)
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.05 * width)
    assert found.high == pytest.approx(expected.high, abs=0.05 * width)


@given(st.integers(0, 99), arrays(np.float64, 6, elements=st.floats(0.1, 4)))
def test_interval_of_symmetric_data_holds_the_value(seed, offsets):
    values = np.concatenate([5 + offsets, 5 - offsets])
    found = mean(values, np.arange(12), seed=seed)
    assert found.value == pytest.approx(5)
    assert found.low < 5 < found.high


def test_the_same_seed_gives_the_same_interval():
    values, units = np.random.default_rng(3).random(20), np.arange(20)
    assert mean(values, units, seed=1) == mean(values, units, seed=1)
    assert mean(values, units, seed=1)[1:] != mean(values, units, seed=2)[1:]
    assert mean(values, units, seed=1).value == mean(values, units, seed=2).value


def test_where_nothing_can_be_said():
    nothing = estimate(np.ones(3), np.zeros(3), np.arange(3))
    assert [math.isnan(value) for value in nothing] == [True, True, True]
    one = estimate(np.array([1, 2]), np.array([4, 4]), np.array([5, 5]))
    assert one.value == 3 / 8
    assert [math.isnan(value) for value in one] == [False, True, True]
    empty = estimate(np.zeros(0), np.zeros(0), np.zeros(0, int))
    assert math.isnan(empty.value)
    assert [math.isnan(value) for value in Estimate(1.0)] == [False, True, True]


def test_units_without_a_denominator():
    """They weigh nothing; samples of them alone say nothing and are left out."""
    found = estimate(np.array([0, 3, 0]), np.array([0, 4, 0]), np.arange(3))
    assert found == (0.75, 0.75, 0.75)


def test_mean_leaves_out_what_is_not_finite():
    values = np.array([1.0, np.inf, 3.0, np.nan, -np.inf])
    assert mean(values, np.arange(5)).value == 2
    assert all(math.isnan(value) for value in mean(np.array([np.inf, np.nan]), np.arange(2)))


def enumerated(differences):
    """Returns how many of all sign flips set the mean as far from zero."""
    flips = [
        abs(sum(sign * d for sign, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(flip >= flips[0] - 1e-9 for flip in flips) / len(flips)


@given(arrays(np.int64, (2, 7), elements=st.integers(0, 16)))
def test_p_value_by_enumeration(parts):
    """Seven units are swapped in all 128 ways."""
    wholes, units = np.full(7, 16), np.array([3, 1, 4, 0, 5, 9, 2])
    found = paired_p_value((parts[0], wholes), (parts[1], wholes), units)
    assert found == pytest.approx(enumerated((parts[0] - parts[1]) / 16))
    assert paired_p_value((parts[1], wholes), (parts[0], wholes), units) == pytest.approx(found)


def test_p_value_by_hand():
    """Where five units all agree, two of 32 ways are as extreme. Frames of a patient count once."""
    better, worse = (np.array([4, 4, 5, 6, 7, 4, 4]), np.full(7, 9)), (np.array([3, 3, 3, 3, 3, 3, 3]), np.full(7, 9))
    units = np.array([0, 0, 1, 2, 3, 4, 4])
    assert paired_p_value(better, worse, units) == pytest.approx(2 / 32)
    assert paired_p_value(better, better, units) == 1


def test_p_value_of_many_units_is_drawn():
    random = np.random.default_rng(5)
    a, b, wholes, units = random.random(40), random.random(40), np.ones(40), np.arange(40)
    same = [paired_p_value((a, wholes), (b, wholes), units, seed=seed) for seed in (0, 0, 1)]
    assert same[0] == same[1]
    # The normal approximation is good for so many, and draws have a standard error of half a per cent.
    differences = a - b
    expected = 2 * stats.norm.sf(abs(differences.sum()) / (differences**2).sum() ** 0.5)
    assert 0.05 < expected < 0.95
    assert same[0] == pytest.approx(expected, abs=0.04)
    assert paired_p_value((a + 1, wholes), (b, wholes), units) < 0.001


def test_p_value_needs_two_units_with_something_in_both():
    parts, wholes = np.array([1, 2, 3]), np.array([4, 4, 4])
    assert math.isnan(paired_p_value((parts, wholes), (parts + 1, wholes), np.zeros(3, int)))
    one_left = np.array([4, 0, 0])
    assert math.isnan(paired_p_value((parts, one_left), (parts + 1, wholes), np.arange(3)))
    two_left = np.array([4, 4, 0])
    assert paired_p_value((parts, two_left), (parts + 1, wholes), np.arange(3)) == pytest.approx(0.5)
