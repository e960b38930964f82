"""Kappas and intraclass correlations are those of the papers, of scikit-learn, and of loops over all ratings."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from xrcam_jax.metrics.agreement import (
    WEIGHTINGS,
    cohen_kappa,
    fleiss_kappa,
    icc_agreement,
    icc_consistency,
    preference,
)

#: Six targets by four judges: table 2 of Shrout & Fleiss (1979).
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
#: How many of 14 readers put each of ten things into each of five categories; kappa is 0.210.
COUNTS = """0 0 0 0 14  0 2 6 4 2  0 0 3 5 6  0 3 9 2 0  2 2 8 1 1
            7 7 0 0 0   3 2 6 3 0  2 5 3 2 2  6 5 2 1 0  0 2 2 3 7"""
#: How two readers put 200 things into three categories, and what cohen_kappa_score of scikit-learn 1.9.1 says of it.
CLINICIANS = np.array([[150, 2, 8], [10, 8, 2], [0, 10, 10]])
SCIKIT_LEARN = {"none": 0.5294117647058824, "linear": 0.6, "quadratic": 0.6585365853658536}

pairs = st.integers(2, 30).flatmap(lambda n: arrays.arrays(int, (2, n), elements=st.integers(0, 4)))
tables = st.tuples(st.integers(2, 9), st.integers(2, 5)).flatmap(
    lambda shape: arrays.arrays(int, shape, elements=st.integers(1, 5))
)


def test_the_example_of_shrout_and_fleiss():
    # Table 4 of the paper has the correlations; R's psych prints the intervals.
    assert [round(value, 3) for value in icc_agreement(JUDGES)] == [0.290, 0.019, 0.761]
    assert [round(value, 3) for value in icc_consistency(JUDGES)] == [0.715, 0.342, 0.946]


def test_the_example_of_fourteen_readers():
    counts = np.array(COUNTS.split(), int).reshape(10, 5)
    ratings = np.stack([np.repeat(np.arange(5), row) for row in counts])
    assert round(fleiss_kappa(ratings, 5).value, 3) == 0.210


def cohen_by_loops(a, b, categories, weighting):
    """1 - (how far apart the readers are) / (how far apart any two of their ratings are)."""
    far = {"none": lambda i, j: i != j, "linear": lambda i, j: abs(i - j), "quadratic": lambda i, j: (i - j) ** 2}
    distance = far[weighting]
    observed = sum(distance(i, j) for i, j in zip(a, b, strict=True)) / len(a)
    expected = sum(distance(i, j) for i, j in itertools.product(a, b)) / len(a) ** 2
    return 1 - observed / expected if expected else math.nan


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@given(ratings=pairs)
def test_cohens_kappa_is_that_of_loops(weighting, ratings):
    a, b = ratings
    expected = cohen_by_loops(a.tolist(), b.tolist(), 5, weighting)
    # Of one unit, so that nothing is drawn.
    found = cohen_kappa(a, b, 5, weighting=weighting, units=np.zeros(len(a), int)).value
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_cohens_kappa_is_scikit_learns(weighting):
    a, b = np.repeat(np.argwhere(CLINICIANS >= 0), CLINICIANS.ravel(), axis=0).T
    assert cohen_kappa(a, b, 3, weighting=weighting).value == pytest.approx(SCIKIT_LEARN[weighting], rel=1e-12)


def test_cohens_kappa_by_hand():
    a, b = np.repeat(np.argwhere(CLINICIANS >= 0), CLINICIANS.ravel(), axis=0).T
    expected = (160 * 160 + 20 * 20 + 20 * 20) / 200**2
    assert cohen_kappa(a, b, 3).value == pytest.approx((168 / 200 - expected) / (1 - expected), rel=1e-12)


@given(ratings=tables)
def test_fleisss_kappa_is_that_of_loops_over_pairs_of_readers(ratings):
    ratings = ratings - 1
    n, k = ratings.shape
    agreed = np.mean([row[i] == row[j] for row in ratings for i, j in itertools.combinations(range(k), 2)])
    by_chance = sum((np.count_nonzero(ratings == category) / (n * k)) ** 2 for category in range(5))
    expected = (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan
    found = fleiss_kappa(ratings, 5, units=np.zeros(n, int)).value
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@given(ratings=tables)
def test_intraclass_correlations_are_those_of_loops(ratings):
    n, k = ratings.shape
    mean = ratings.mean()
    msr = k * sum((row.mean() - mean) ** 2 for row in ratings) / (n - 1)
    msc = n * sum((column.mean() - mean) ** 2 for column in ratings.T) / (k - 1)
    rest = [ratings[i, j] - ratings[i].mean() - ratings[:, j].mean() + mean for i in range(n) for j in range(k)]
    mse = sum(value**2 for value in rest) / ((n - 1) * (k - 1))
    agreement, consistency = icc_agreement(ratings), icc_consistency(ratings)
    if abs(msr + (k - 1) * mse + k / n * (msc - mse)) > 1e-9:
        expected = (msr - mse) / (msr + (k - 1) * mse + k / n * (msc - mse))
        assert agreement.value == pytest.approx(expected, abs=1e-9)
    if msr + mse > 1e-9:
        assert consistency.value == pytest.approx((msr - mse) / (msr + (k - 1) * mse), abs=1e-9)
        assert consistency.low - 1e-9 <= consistency.value <= consistency.high + 1e-9


def test_the_interval_of_consistency_is_that_of_the_f_distribution():
    special = pytest.importorskip("scipy.special")
    n, k = JUDGES.shape
    squares = {0: 0.0, 1: 0.0}
    for axis, each in ((0, k), (1, n)):
        squares[axis] = each * ((JUDGES.mean(1 - axis) - JUDGES.mean()) ** 2).sum()
    left = ((JUDGES - JUDGES.mean()) ** 2).sum() - sum(squares.values())
    ratio = (squares[0] / (n - 1)) / (left / ((n - 1) * (k - 1)))
    found = icc_consistency(JUDGES, confidence=0.9)
    for rho, share in ((found.low, 0.95), (found.high, 0.05)):
        # MSR / MSE over 1 + k rho / (1 - rho) has that distribution.
        found_share = special.fdtr(n - 1, (n - 1) * (k - 1), ratio / (1 + k * rho / (1 - rho)))
        assert found_share == pytest.approx(share, abs=1e-9)


def test_the_interval_of_agreement_holds_the_correlation_as_often_as_it_says():
    rng = np.random.default_rng(0)
    n, k, things, readers, rest = 25, 6, 1.0, 0.25, 0.75
    expected, runs = things / (things + readers + rest), 400
    held = 0
    for _ in range(runs):
        ratings = rng.normal(size=(n, 1)) + math.sqrt(readers) * rng.normal(size=k)
        found = icc_agreement(ratings + math.sqrt(rest) * rng.normal(size=(n, k)))
        held += found.low <= expected <= found.high
    # Three standard deviations of 400 draws, around 95 %.
    assert abs(held / runs - 0.95) < 3 * math.sqrt(0.95 * 0.05 / runs)


def test_readers_who_are_one():
    same = np.array([[1, 1], [3, 3], [5, 5]])
    assert icc_agreement(same) == icc_consistency(same) == (1, 1, 1)
    # Three draws of one thing have a single category, of which nothing can be said, and are left out.
    assert fleiss_kappa(same, 6) == cohen_kappa(same[:, 0], same[:, 1], 6, weighting="linear") == (1, 1, 1)


def test_a_stricter_reader_is_consistent_and_does_not_agree():
    strict = np.array([[1, 3], [2, 4], [3, 5]])
    assert icc_consistency(strict) == (1, 1, 1)
    # MSR 2, MSC 6, MSE 0: 2 / (2 + 2 · 6 / 3).
    assert icc_agreement(strict).value == pytest.approx(1 / 3)


@pytest.mark.parametrize("ratings", [np.full((4, 3), 2), np.full((4, 3), 0.1)])
def test_nothing_can_be_said_of_ratings_that_are_all_the_same(ratings):
    assert math.isnan(icc_agreement(ratings).value)
    assert math.isnan(icc_consistency(ratings).value)
    whole = ratings.astype(int)
    assert math.isnan(fleiss_kappa(whole, 5).value)
    assert math.isnan(cohen_kappa(whole[:, 0], whole[:, 1], 5).value)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"two or more things by two or more readers; got 1 by 3"):
        icc_agreement(np.ones((1, 3)))
    with pytest.raises(ValueError, match="got NaN or infinity"):
        icc_consistency(np.array([[1, 2], [np.nan, 1]]))
    with pytest.raises(ValueError, match="from 0 to 1; got 0 to 2"):
        cohen_kappa(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="of two or more readers; got 1"):
        fleiss_kappa(np.array([[0], [1]]), 2)
    with pytest.raises(ValueError, match="one of none, linear, quadratic; got 'cubic'"):
        cohen_kappa(np.array([0]), np.array([1]), 2, weighting="cubic")
    with pytest.raises(ValueError, match="categories must be 2 or more; got 1"):
        fleiss_kappa(np.array([[0, 0]]), 1)


def test_intervals_of_kappas_draw_whole_units():
    a, b, units = np.array([0, 1, 0, 0, 1]), np.array([0, 1, 1, 0, 1]), np.array([0, 0, 1, 1, 2])
    # Every sample of three units: each of the 27 is as likely as another.
    samples = [np.concatenate([np.flatnonzero(units == unit) for unit in drawn]) for drawn in np.ndindex(3, 3, 3)]
    cohen = [cohen_by_loops(a[places].tolist(), b[places].tolist(), 2, "none") for places in samples]
    found = cohen_kappa(a, b, 2, units=units)
    known = [value for value in cohen if not math.isnan(value)]
    assert found.value == pytest.approx(cohen_by_loops(a.tolist(), b.tolist(), 2, "none"))
    assert (found.low, found.high) == pytest.approx((min(known), max(known)))
    both = fleiss_kappa(np.stack([a, b], 1), 2, units=units)
    fleiss = [fleiss_kappa(np.stack([a, b], 1)[places], 2, units=np.zeros(len(places), int)) for places in samples]
    values = [one.value for one in fleiss if not math.isnan(one.value)]
    assert (both.low, both.high) == pytest.approx((min(values), max(values)))
    assert all(math.isnan(one.low) for one in fleiss)


def test_shares_of_comparisons_won():
    first, second = ["a", "a", "b", "c"], ["b", "b", "c", "a"]
    won = preference(first, second, np.array([1, 0, -1, 1]), np.arange(4))
    # a wins one, draws one, loses one; b draws one of three; c wins both.
    assert {name: share.value for name, share in won.items()} == {"a": 0.5, "b": pytest.approx(0.5 / 3), "c": 1.0}
    assert won["c"] == (1, 1, 1)
    assert won["a"].low < 0.5 < won["a"].high
