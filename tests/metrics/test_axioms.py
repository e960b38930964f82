"""Errors of the two axioms are those of loops, and those that a linear head gives by hand for each method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xrcam_jax.cam import weights
from xrcam_jax.metrics import axioms

BATCH, HEIGHT, WIDTH, CHANNELS = 2, 3, 4, 5
ACTIVATIONS = arrays(np.float32, (BATCH, HEIGHT, WIDTH, CHANNELS), elements=st.floats(0, 4, width=32))
PER_CHANNEL = arrays(np.float32, (BATCH, CHANNELS), elements=st.floats(-4, 4, width=32, allow_subnormal=False))

contributions, sensitivity_error, conservation_error = (
    jax.jit(f) for f in (axioms.contributions, axioms.sensitivity_error, axioms.conservation_error)
)


@given(ACTIVATIONS, PER_CHANNEL, st.booleans())
def test_contributions_are_sums_over_places(activation, factors, everywhere):
    by_channel = factors[:, None, None, :]
    each = np.broadcast_to(by_channel, activation.shape) * (1 + (activation > 2)) if everywhere else by_channel
    found = np.asarray(contributions(activation, each))
    for b, k in np.ndindex(BATCH, CHANNELS):
        total = 0.0
        for y, x in np.ndindex(HEIGHT, WIDTH):
            weight = each[b, y, x, k] if everywhere else each[b, 0, 0, k]
            total += float(weight) * float(activation[b, y, x, k])
        assert found[b, k] == pytest.approx(total, rel=1e-5, abs=1e-3)


@given(PER_CHANNEL, PER_CHANNEL)
def test_errors_are_relative(drops, claimed):
    found = sensitivity_error(drops, claimed), conservation_error(drops[:, 0], claimed)
    for b in range(BATCH):
        off = sum(abs(float(d) - float(c)) for d, c in zip(drops[b], claimed[b], strict=True))
        scale = sum(abs(float(d)) for d in drops[b])
        score, total = float(drops[b, 0]), sum(float(c) for c in claimed[b])
        if scale:
            assert float(found[0][b]) == pytest.approx(off / scale, rel=1e-4)
        # A total near the score is a difference of rounded sums.
        if abs(score) > 1e-3:
            assert float(found[1][b]) == pytest.approx(abs(score - total) / abs(score), rel=1e-4, abs=5e-3)


def test_of_a_map_of_zeros_and_of_a_perfect_one():
    drops = jnp.array([[1.0, -2.0, 0.5], [0.0, 3.0, 0.0]])
    np.testing.assert_array_equal(sensitivity_error(drops, jnp.zeros((2, 3))), [1, 1])
    np.testing.assert_array_equal(sensitivity_error(drops, drops), [0, 0])
    np.testing.assert_array_equal(conservation_error(drops.sum(1), jnp.zeros((2, 3))), [1, 1])
    np.testing.assert_array_equal(conservation_error(drops.sum(1), drops), [0, 0])


def test_where_nothing_is_to_be_explained():
    """Nothing claimed is right then, and anything claimed infinitely wrong; never NaN."""
    claimed = jnp.array([[0.0, 0.0], [0.0, -1.0]])
    np.testing.assert_array_equal(sensitivity_error(jnp.zeros((2, 2)), claimed), [0, np.inf])
    np.testing.assert_array_equal(conservation_error(jnp.zeros(2), claimed), [0, np.inf])
    # Conservation is about the sum, even of claims that cancel.
    np.testing.assert_array_equal(conservation_error(jnp.zeros(1), jnp.array([[2.0, -2.0]])), [0])


@given(
    arrays(np.float32, (BATCH, HEIGHT, WIDTH, CHANNELS), elements=st.floats(0.5, 4, width=32)),
    arrays(np.float32, CHANNELS, elements=st.floats(0.5, 4, width=32)),
    st.sampled_from([0.0, 2.0]),
)
def test_behind_pooling_and_a_linear_layer(activation, head, bias):
    """S = sum_k v_k mean_hw A_k + c. Without channel k it loses v_k mean A_k, and G = v_k / hw everywhere.

    So Grad-CAM's claim, v_k / hw · sum A_k, is exactly that, and all that it misses of S is the bias. CAM's weights are
    hw times as large: hw - 1 too much of each channel, and of S if there is no bias.
    """
    places = HEIGHT * WIDTH
    lost = head * activation.mean((1, 2), dtype=np.float64)
    score = lost.sum(1) + bias
    gradient = jnp.broadcast_to(head / places, activation.shape)
    activation = jnp.asarray(activation)
    tolerances = {"rtol": 1e-4, "atol": 1e-5}
    for method in (weights.grad_cam, weights.x_grad_cam, weights.hires_cam):
        claimed = contributions(activation, method(activation, gradient))
        np.testing.assert_allclose(sensitivity_error(lost, claimed), 0, **tolerances)
        np.testing.assert_allclose(conservation_error(score, claimed), bias / score, **tolerances)
    claimed = contributions(activation, weights.cam(activation, gradient))
    np.testing.assert_allclose(sensitivity_error(lost, claimed), places - 1, **tolerances)
    np.testing.assert_allclose(
        conservation_error(score, claimed), np.abs(score - places * (score - bias)) / score, **tolerances
    )


@given(ACTIVATIONS, arrays(np.float32, (BATCH, HEIGHT, WIDTH, CHANNELS), elements=st.floats(-2, 2, width=32)))
def test_xrelevance_cam_conserves_what_arrives(activation, relevance):
    """Its claim is sum R by construction, whatever R is, wherever there is any activation to weigh."""
    activation = jnp.asarray(activation + np.float32(0.5))
    claimed = contributions(activation, weights.xrelevance_cam(activation, jnp.asarray(relevance)))
    np.testing.assert_allclose(claimed, relevance.sum((1, 2), dtype=np.float64), rtol=1e-4, atol=1e-4)
