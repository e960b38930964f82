"""The weights against loops over their equations, and the identity that XRelevance-CAM is made for."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.cam import weights
from xrcam_jax.cam.saliency import weighted_sum

SEEDS = st.integers(0, 10**6)


def example(seed):
    """A layer behind a ReLU with a dead channel, and what arrives there: of both signs, zero at some places."""
    rng = np.random.default_rng(seed)
    a = np.maximum(rng.standard_normal((2, 3, 4, 5)), 0)
    signal = rng.standard_normal((2, 3, 4, 5)) * (rng.random((2, 3, 4, 5)) < 0.8)
    a[..., 3] = 0
    signal[0, ..., 4] = 0
    return a, signal


def mean(a, g):
    return g.sum() / g.size


def total(a, g):
    return g.sum()


def averaged_by_activation(eps):
    return lambda a, g: sum(g[i] * a[i] for i in np.ndindex(a.shape)) / (eps + a.sum())


def share_of_activation(eps):
    return lambda a, r: r.sum() / (eps + a.sum())


def grad_cam_pp(variant, eps=1e-6):
    """Place by place, with a division by zero taken for zero."""

    def weight(a, g):
        alphas = np.zeros(g.shape)
        for i in np.ndindex(g.shape):
            if g[i] == 0:
                continue
            if variant == "inside":
                denominator = 2 * g[i] ** 2 + sum(a[j] * g[j] ** 3 for j in np.ndindex(g.shape))
            else:
                denominator = 2 * g[i] ** 2 + a.sum() * g[i] ** 3 + (eps if variant == "library" else 0)
            alphas[i] = g[i] ** 2 / denominator if denominator else 0
        if variant == "normalised":
            divisor = sum(alphas[i] for i in np.ndindex(g.shape) if g[i] > 0)
            alphas = alphas / divisor if divisor else np.zeros(g.shape)
        return sum(alphas[i] * g[i] for i in np.ndindex(g.shape) if g[i] > 0)

    return weight


PER_CHANNEL = {
    "cam": (weights.cam, {}, total),
    "grad_cam": (weights.grad_cam, {}, mean),
    "relevance_cam": (weights.relevance_cam, {}, mean),
    "x_grad_cam": (weights.x_grad_cam, {}, averaged_by_activation(1e-7)),
    "x_grad_cam, eps": (weights.x_grad_cam, {"eps": 0.5}, averaged_by_activation(0.5)),
    "xrelevance_cam": (weights.xrelevance_cam, {}, share_of_activation(1e-9)),
    "xrelevance_cam, eps": (weights.xrelevance_cam, {"eps": 0.5}, share_of_activation(0.5)),
    "grad_cam_pp": (weights.grad_cam_pp, {}, grad_cam_pp("library")),
    "grad_cam_pp, eps": (weights.grad_cam_pp, {"eps": 0.1}, grad_cam_pp("library", 0.1)),
    "grad_cam_pp, inside": (weights.grad_cam_pp, {"variant": "inside"}, grad_cam_pp("inside")),
    "grad_cam_pp, normalised": (weights.grad_cam_pp, {"variant": "normalised"}, grad_cam_pp("normalised")),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", PER_CHANNEL)
@given(SEEDS)
def test_a_channels_weight_is_the_loop_of_its_equation(name, seed):
    function, options, loop = PER_CHANNEL[name]
    a, signal = example(seed)
    found = function(jnp.asarray(a), jnp.asarray(signal), **options)
    assert found.shape == (2, 1, 1, 5)
    for b in range(2):
        for k in range(5):
            wanted = loop(a[b, :, :, k], signal[b, :, :, k])
            np.testing.assert_allclose(found[b, 0, 0, k], wanted, rtol=1e-9, atol=1e-12)


PLACE_BY_PLACE = {
    "hires_cam": (weights.hires_cam, lambda a, g: g * a),
    "layer_cam": (weights.layer_cam, lambda a, g: max(g, 0) * a),
    "elementwise_grad_cam": (weights.elementwise_grad_cam, lambda a, g: max(g * a, 0)),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", PLACE_BY_PLACE)
@given(SEEDS)
def test_a_map_made_place_by_place_is_the_loop_of_its_equation(name, seed):
    function, term = PLACE_BY_PLACE[name]
    a, g = example(seed)
    # A layer need not be behind a ReLU.
    a = a - 0.3
    found = weighted_sum(jnp.asarray(a), function(jnp.asarray(a), jnp.asarray(g)))
    for b, y, x in np.ndindex(2, 3, 4):
        wanted = sum(term(a[b, y, x, k], g[b, y, x, k]) for k in range(5))
        np.testing.assert_allclose(found[b, y, x], wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("float64")
@given(SEEDS)
def test_smooth_grad_cam_pp_takes_each_mean_power_for_itself(seed):
    a, _ = example(seed)
    g, g2, g3 = np.random.default_rng(seed + 1).standard_normal((3, *a.shape))
    g2 = g2**2
    found = weights.smooth_grad_cam_pp(*map(jnp.asarray, (a, g, g2, g3)), eps=0.5)
    for b in range(2):
        for k in range(5):
            s = a[b, :, :, k].sum()
            wanted = sum(
                g2[b, y, x, k] / (2 * g2[b, y, x, k] + s * g3[b, y, x, k] + 0.5) * max(g[b, y, x, k], 0)
                for y, x in np.ndindex(3, 4)
            )
            np.testing.assert_allclose(found[b, 0, 0, k], wanted, rtol=1e-7)


@pytest.mark.usefixtures("float64")
@given(SEEDS)
def test_smooth_grad_cam_pp_of_one_gradient_is_grad_cam_pp(seed):
    a, g = map(jnp.asarray, example(seed))
    np.testing.assert_allclose(weights.smooth_grad_cam_pp(a, g, g**2, g**3), weights.grad_cam_pp(a, g), rtol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("function", [weights.eigen_cam, weights.eigen_grad_cam])
def test_eigen_weights_are_the_first_right_singular_vector(function):
    a, g = example(0)
    found = function(jnp.asarray(a), jnp.asarray(g))
    assert found.shape == (2, 1, 1, 5)
    for b, m in enumerate((g * a if function is weights.eigen_grad_cam else a).reshape(2, -1, 5)):
        wanted = np.linalg.svd(m - m.mean(0))[2][0]
        np.testing.assert_allclose(np.abs(found[b, 0, 0] @ wanted), 1, rtol=1e-9)


@pytest.mark.long(one_in=3)
@pytest.mark.parametrize("name", [*PER_CHANNEL, "eigen_cam", "eigen_grad_cam", *PLACE_BY_PLACE])
@pytest.mark.parametrize("nothing", ["activation", "signal", "both"])
def test_nothing_in_gives_weights_that_are_finite(name, nothing):
    a, signal = (part.astype(np.float32) for part in example(3))
    a = a * (nothing == "signal")
    signal = signal * (nothing == "activation")
    function, options = PER_CHANNEL[name][:2] if name in PER_CHANNEL else (getattr(weights, name), {})
    found = function(jnp.asarray(a), jnp.asarray(signal), **options)
    assert bool(jnp.isfinite(found).all())
    if nothing != "activation" and name != "eigen_cam":
        np.testing.assert_array_equal(found, 0)


def test_an_unknown_variant_of_grad_cam_pp_is_refused():
    zeros = jnp.zeros((1, 2, 2, 3))
    with pytest.raises(ValueError, match="variant must be library, inside or normalised; got 'paper'"):
        weights.grad_cam_pp(zeros, zeros, variant="paper")


@given(SEEDS)
def test_xrelevance_cam_conserves_relevance(seed):
    a, r = (part.astype(np.float32) for part in example(seed))
    a[..., :3] += 0.1
    r = r * (a.sum((1, 2), keepdims=True) > 0)
    maps = weighted_sum(jnp.asarray(a), weights.xrelevance_cam(jnp.asarray(a), jnp.asarray(r)))
    np.testing.assert_allclose(maps.sum((1, 2)), r.sum((1, 2, 3)), rtol=1e-3, atol=1e-4)


def test_a_dead_channel_without_relevance_weighs_nothing():
    zeros = jnp.zeros((1, 2, 2, 3))
    np.testing.assert_array_equal(weights.xrelevance_cam(zeros, zeros), 0)
