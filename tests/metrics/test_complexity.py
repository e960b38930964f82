"""Gini index and entropy are those of their other definitions, and of maps of one pixel or none that differs."""

import numpy as np
import pytest
from scipy.stats import entropy

from xrcam_jax.metrics.complexity import complexity, effective_complexity, sparseness

SHAPE = (2, 3, 4, 5)
SIZE = 20
MAPS = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def of_each(figure, maps=MAPS):
    return [[figure(np.abs(maps[m, b].astype(float)).ravel()) for b in range(maps.shape[1])] for m in range(len(maps))]


def test_gini_is_half_the_relative_mean_difference():
    def gini(values):
        return np.abs(values[:, None] - values).mean() / (2 * values.mean())

    np.testing.assert_allclose(sparseness(MAPS), of_each(gini), rtol=1e-5)


def test_complexity_is_scipys_entropy():
    np.testing.assert_allclose(complexity(MAPS), of_each(entropy), rtol=1e-5)


def test_effective_complexity_counts():
    for threshold in (1e-5, 0.3, 0.9):
        wanted = of_each(lambda values, t=threshold: sum(value > t * values.max() for value in values))
        np.testing.assert_array_equal(effective_complexity(MAPS, threshold=threshold), wanted)


def test_one_pixel_constants_and_nothing():
    maps = np.zeros((4, 1, 4, 5), np.float32)
    maps[0, 0, 2, 3], maps[1], maps[2, 0, :2] = -7, 1e30, 0.25
    np.testing.assert_allclose(sparseness(maps)[:, 0], [1 - 1 / SIZE, 0, 0.5, np.nan], atol=1e-6)
    np.testing.assert_allclose(complexity(maps)[:, 0], [0, np.log(20), np.log(10), np.nan], atol=1e-6)
    np.testing.assert_array_equal(effective_complexity(maps)[:, 0], [1, 20, 10, 0])


@pytest.mark.parametrize("scale", [1e-30, -3.0, 1e30])
def test_scale_sign_and_order_do_not_matter(scale):
    changed = (np.float32(scale) * MAPS)[:, [2, 0], ::-1]
    for metric in (sparseness, complexity, effective_complexity):
        whole = np.asarray(metric(MAPS))
        np.testing.assert_allclose(metric(changed), whole[:, [2, 0]], rtol=1e-5)


def test_half_precision_and_large_maps():
    maps = np.random.default_rng(0).random((1, 1, 260, 260)).astype(np.float16)
    for metric in (sparseness, complexity, effective_complexity):
        np.testing.assert_allclose(metric(maps), metric(maps.astype(np.float32)), rtol=1e-6)
    np.testing.assert_allclose(complexity(maps), of_each(entropy, maps), rtol=1e-5)


def test_wrong_threshold():
    for threshold in (-0.1, 1.0):
        with pytest.raises(ValueError, match="threshold must be a share of the maximum in"):
            effective_complexity(MAPS, threshold=threshold)
