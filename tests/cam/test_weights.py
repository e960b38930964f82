"""The weights against loops, and the identity that XRelevance-CAM is made for."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.cam import weights
from xrcam_jax.cam.saliency import weighted_sum


def example(seed):
    rng = np.random.default_rng(seed)
    return np.maximum(rng.standard_normal((2, 3, 4, 5)), 0).astype(np.float32), rng.standard_normal(
        (2, 3, 4, 5)
    ).astype(np.float32)


@given(st.integers(0, 10**6))
def test_weights_are_the_loops_of_their_equations(seed):
    a, r = example(seed)
    mean, ratio = weights.grad_cam(a, r), weights.xrelevance_cam(a, r, eps=0.5)
    np.testing.assert_array_equal(mean, weights.relevance_cam(a, r))
    for b in range(2):
        for k in range(5):
            np.testing.assert_allclose(mean[b, 0, 0, k], r[b, :, :, k].sum() / 12, rtol=1e-4, atol=1e-6)
            wanted = r[b, :, :, k].sum() / (0.5 + a[b, :, :, k].sum())
            np.testing.assert_allclose(ratio[b, 0, 0, k], wanted, rtol=1e-4, atol=1e-6)


@given(st.integers(0, 10**6))
def test_xrelevance_cam_conserves_relevance(seed):
    a, r = example(seed)
    a[..., 0] += 0.1  # no dead channel
    r = r * (a.sum((1, 2), keepdims=True) > 0)
    maps = weighted_sum(jnp.asarray(a), weights.xrelevance_cam(a, r))
    np.testing.assert_allclose(maps.sum((1, 2)), r.sum((1, 2, 3)), rtol=1e-3, atol=1e-4)


def test_a_dead_channel_without_relevance_weighs_nothing():
    zeros = jnp.zeros((1, 2, 2, 3))
    np.testing.assert_array_equal(weights.xrelevance_cam(zeros, zeros), 0)
