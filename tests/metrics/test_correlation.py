"""Correlations of maps are those of SciPy, where it has any."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from skimage.metrics import structural_similarity

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


@pytest.mark.parametrize(("low", "high", "window"), [(0, 1, 7), (-30, 50, 3)])
def test_structural_similarity_is_that_of_scikit_image(low, high, window):
    a, b = np.random.default_rng(1).uniform(low, high, size=(2, 3, 9, 11)).astype(np.float32)
    # A part where both are flat, in which squares of pixels less those of means would be noise.
    a[:, :5], b[:, :5] = high, high - (high - low) / 1000
    found = correlation.ssim(a, b, window=window)
    for one, other, value in zip(a.astype(float), b.astype(float), found, strict=True):
        span = max(one.max(), other.max()) - min(one.min(), other.min())
        expected = structural_similarity(one, other, win_size=window, data_range=span)
        assert float(value) == pytest.approx(expected, abs=1e-5)


def test_structural_similarity_of_constant_maps_and_of_small_ones():
    flat = np.full((1, 7, 7), 0.3, np.float32)
    assert float(correlation.ssim(flat, flat)[0]) == pytest.approx(1)
    with pytest.raises(ValueError, match="window must be from 2 to the smaller side of the maps, 7; got 8"):
        correlation.ssim(flat, flat, window=8)
