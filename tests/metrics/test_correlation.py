"""Correlations of maps are those of SciPy, where it has any."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from xrcam_jax.metrics import correlation

mean_ranks, pearson, spearman = map(jax.jit, (correlation.mean_ranks, correlation.pearson, correlation.spearman))

#: Few values, so that many are equal.
TIED = arrays(np.float32, (2, 4, 5), elements=st.integers(-2, 2).map(float))


@given(TIED)
def test_ranks_of_ties_are_shared(maps):
    expected = [stats.rankdata(one).reshape(one.shape) for one in maps]
    np.testing.assert_array_equal(mean_ranks(maps), expected)


@given(TIED, TIED)
def test_correlations_are_those_of_scipy(a, b):
    found = np.asarray(pearson(a, b)), np.asarray(spearman(a, b))
    for i, (x, y) in enumerate(zip(a.reshape(2, -1), b.reshape(2, -1), strict=True)):
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            assert np.isnan(found[0][i])
            assert np.isnan(found[1][i])
        else:
            np.testing.assert_allclose(found[0][i], stats.pearsonr(x, y).statistic, atol=1e-6)
            np.testing.assert_allclose(found[1][i], stats.spearmanr(x, y).statistic, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_neither_small_nor_large_values_are_lost(scale):
    a, b = np.random.default_rng(0).standard_normal((2, 3, 6, 7))
    expected = [stats.pearsonr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(pearson((scale * a).astype(np.float32), b.astype(np.float32)), expected, atol=1e-6)


def test_a_constant_that_rounding_would_spread_is_constant():
    """The mean of many times 0.1 is not 0.1 in float32."""
    assert np.isnan(pearson(np.full((1, 7, 9), 0.1, np.float32), np.ones((1, 7, 9), np.float32).cumsum(1))[0])


def test_large_maps_of_half_precision_are_ranked_exactly():
    a, b = np.random.default_rng(0).normal(size=(2, 1, 257, 257)).astype(np.float16)
    assert float(correlation.spearman(a, b)[0]) == pytest.approx(stats.spearmanr(a.ravel(), b.ravel())[0], abs=1e-5)


def test_maps_with_nan_correlate_with_nothing():
    a, b = np.float32([[[np.nan, 1.0, 2.0]]]), np.float32([[[0.0, 1.0, 2.0]]])
    assert np.isnan(correlation.spearman(a, b)).all()
    assert np.isnan(correlation.pearson(a, b)).all()
