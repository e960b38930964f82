"""Scaling, upsampling and aggregation against OpenCV and plain numpy."""

import cv2
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xrcam_jax.cam import saliency

MAPS = arrays(np.float32, (2, 3, 4), elements=st.floats(-100, 100, width=32))


def scaled(m):
    m = m - m.min()
    return m / m.max() if m.max() > 0 else m


@given(MAPS)
def test_min_max_scales_each_map_to_the_unit_interval(maps):
    found = np.asarray(saliency.min_max(jnp.asarray(maps)))
    np.testing.assert_allclose(found, np.stack([scaled(m) for m in maps]), atol=1e-5)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6


def test_a_constant_map_shows_nothing():
    np.testing.assert_array_equal(saliency.min_max(jnp.full((2, 4, 4), 7.0)), 0)


@given(MAPS, st.integers(4, 40), st.integers(5, 40))
def test_upsampling_is_opencvs(maps, height, width):
    found = saliency.upsample(jnp.asarray(maps), (height, width))
    for one, m in zip(found, maps, strict=True):
        wanted = cv2.resize(m, (width, height), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(one, wanted, atol=1e-4 * max(1, np.abs(m).max()))


@given(MAPS, MAPS)
def test_aggregate_is_the_scaled_mean_of_scaled_maps(first, second):
    found = saliency.aggregate([jnp.asarray(first), jnp.asarray(second)], (12, 16))
    for i in range(2):
        both = [cv2.resize(scaled(np.maximum(m[i], 0)), (16, 12)) for m in (first, second)]
        mean = np.mean(both, axis=0)
        if np.ptp(mean) > 1e-3:
            np.testing.assert_allclose(found[i], scaled(mean), atol=1e-3)


def test_without_relu_evidence_against_the_target_keeps_its_rank():
    raw = jnp.array([[[-2.0, 0.0], [2.0, 6.0]]])
    np.testing.assert_allclose(saliency.saliency(raw, (2, 2), relu=False), [[[0, 0.25], [0.5, 1]]])
    np.testing.assert_allclose(saliency.saliency(raw, (2, 2)), [[[0, 0], [1 / 3, 1]]], rtol=1e-6)
