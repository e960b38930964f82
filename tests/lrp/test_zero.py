"""Relevance of outputs to which no input contributes: spread, with the bias, or dropped, and always accounted for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

import xrcam_jax as xr
from xrcam_jax.lrp import rules
from xrcam_jax.lrp.rules import Bilinear

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.long(one_in=5)]
LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv(x, w):
    return lax.conv_general_dilated(x, w, (2, 1), ((1, 1), (0, 1)), dimension_numbers=LAYOUT)


def depthwise(x, w):
    return lax.conv_general_dilated(
        x, w, (1, 2), ((2, 1), (1, 2)), rhs_dilation=(1, 2), dimension_numbers=LAYOUT, feature_group_count=3
    )


def dense(x, w):
    return x @ w


SHAPES = {
    conv: ((2, 5, 4, 2), (3, 3, 2, 3)),
    depthwise: ((2, 5, 4, 3), (3, 3, 1, 6)),
    dense: ((2, 6), (6, 4)),
}
RULES = {
    "z_plus": lambda bias, zero, eps=0.0: rules.ZPlus(eps, bias, zero),
    "alpha1_beta0": lambda bias, zero, eps=0.0: rules.AlphaBeta(1, 0, eps, bias, zero),
    "alpha2_beta1": lambda bias, zero, eps=0.0: rules.AlphaBeta(2, 1, eps, bias, zero),
    "gamma": lambda bias, zero, eps=0.0: rules.Gamma(0.4, eps, bias, zero),
}
OPERATIONS = pytest.mark.parametrize("apply", SHAPES, ids=lambda f: f.__name__)
EVERY_RULE = pytest.mark.parametrize("name", RULES)


def example(apply, seed, inputs="sparse", weights="mixed"):
    """An operation with a bias, of which many outputs have no contributions, and the relevance of its output."""
    rng = np.random.default_rng(seed)
    x, w = (rng.standard_normal(shape) for shape in SHAPES[apply])
    x[rng.random(x.shape) < {"sparse": 0.7, "none": 1, "all": 0}[inputs]] = 0
    if weights == "negative":
        x, w = abs(x), -abs(w)
    b = rng.standard_normal(w.shape[-1])
    op = Bilinear(apply, jnp.asarray(x), jnp.asarray(w), jnp.asarray(b), nonnegative=bool((x >= 0).all()))
    return op, jnp.asarray(rng.standard_normal(apply(op.x, op.w).shape))


def assert_sums_equal(found, wanted, r):
    assert abs(float(found) - float(wanted)) <= 1e-10 * float(abs(r).sum())


@OPERATIONS
@EVERY_RULE
@given(
    seed=st.integers(0, 10**6),
    inputs=st.sampled_from(["sparse", "none", "all"]),
    weights=st.sampled_from(["mixed", "negative"]),
)
def test_spread_flat_all_relevance_is_conserved(name, apply, seed, inputs, weights):
    op, r = example(apply, seed, inputs, weights)
    r_in, loss = RULES[name](False, "flat").relevance(op, r)
    assert_sums_equal(r_in.sum(), r.sum(), r)
    assert float(abs(loss.zero).sum()) == 0


@OPERATIONS
@EVERY_RULE
@pytest.mark.parametrize("bias", [False, True])
@given(seed=st.integers(0, 10**6), inputs=st.sampled_from(["sparse", "none"]))
def test_with_the_bias_nothing_is_lost_to_zero(name, apply, bias, seed, inputs):
    op, r = example(apply, seed, inputs)
    r_in, loss = RULES[name](bias, "bias", 1e-3).relevance(op, r)
    dropped_in, dropped = RULES[name](bias, "drop", 1e-3).relevance(op, r)
    assert_sums_equal(r_in.sum() + loss.bias.sum() + loss.stabiliser.sum(), r.sum(), r)
    np.testing.assert_array_equal(r_in, dropped_in)
    assert_sums_equal(loss.bias.sum(), dropped.bias.sum() + dropped.zero.sum(), r)


def test_spread_flat_only_pixels_receive():
    """A slow loop over the windows of a padded depthwise convolution, whose kernels never speak for an output."""
    op, r = example(depthwise, 0, "all", "negative")
    wanted = np.zeros(op.x.shape)
    for n, i, j, o in np.ndindex(*r.shape):
        rows, columns = i + np.arange(3) - 2, 2 * j + 2 * np.arange(3) - 1
        pixels = [(p, q) for p in rows for q in columns if 0 <= p < 5 and 0 <= q < 4]
        for p, q in pixels:
            wanted[n, p, q, o // 2] += r[n, i, j, o] / len(pixels)
    r_in, _ = rules.ZPlus(0, zero="flat").relevance(op, r)
    np.testing.assert_allclose(r_in, wanted, rtol=1e-12, atol=1e-12)


def test_parts_of_beta_are_spread_too():
    """Nothing speaks against the output, so that its part - β R is spread: 2 R (1/4, 3/4) - R (1/2, 1/2)."""
    op = Bilinear(dense, jnp.array([[1.0, 3.0]]), jnp.ones((2, 1)))
    r_in, loss = rules.AlphaBeta(2, 1, 0, zero="flat").relevance(op, jnp.array([[8.0]]))
    np.testing.assert_allclose(r_in, [[4 - 4, 12 - 4]])
    dropped_in, dropped = rules.AlphaBeta(2, 1, 0).relevance(op, jnp.array([[8.0]]))
    np.testing.assert_allclose(dropped_in, [[4, 12]])
    assert (float(loss.zero.sum()), float(dropped.zero.sum())) == (0, -8)


def test_outputs_that_see_only_padding_keep_what_they_have():
    def padded(x, w):
        return lax.conv_general_dilated(x, w, (1, 1), ((0, 0), (3, 0)), dimension_numbers=LAYOUT)

    op = Bilinear(padded, jnp.zeros((1, 1, 2, 1)), jnp.ones((1, 2, 1, 1)))
    r_in, loss = rules.ZPlus(0, zero="flat").relevance(op, jnp.array([5.0, 7.0, 1.0, 4.0]).reshape(1, 1, 4, 1))
    # The windows see two zeros of the padding, two zeros, the first pixel, and both pixels.
    np.testing.assert_array_equal(loss.zero.ravel(), [5, 7, 0, 0])
    np.testing.assert_array_equal(r_in.ravel(), [1 + 2, 2])


@given(seed=st.integers(0, 10**6))
def test_a_dark_corner_keeps_its_relevance_under_z_box(seed):
    """In the corner all pixels are at their bound, so that filters of positive weights see nothing of it."""
    op, r = example(conv, seed, "all")
    box = Bilinear(conv, jnp.abs(op.x).at[:, :3, :3].set(0), jnp.abs(op.w).at[..., 0].set(op.w[..., 0]))
    (dropped_in, dropped), (r_in, loss) = (
        rules.ZBox(0.0, None, 0, zero).relevance(box, r) for zero in ("drop", "flat")
    )
    assert float(abs(dropped.zero).sum()) > 0
    assert float(abs(dropped_in - r_in).sum()) > 0
    assert float(abs(loss.zero).sum()) == 0
    assert_sums_equal(r_in.sum(), r.sum(), r)


@pytest.mark.parametrize(("x", "shares"), [(3.0, (0.75, 1)), (1e-9, (1e-9, 1)), (0.0, (0, 0))])
def test_only_with_the_bias_in_z_nothing_jumps_where_contributions_vanish(x, shares):
    op = Bilinear(dense, jnp.array([[x]]), jnp.ones((1, 1)), jnp.ones(1))
    for bias, share in zip((True, False), shares, strict=True):
        r_in, loss = rules.ZPlus(0, bias, "bias").relevance(op, jnp.array([[10.0]]))
        np.testing.assert_allclose([r_in.sum(), loss.bias.sum()], [10 * share, 10 - 10 * share], rtol=1e-8, atol=1e-12)


@EVERY_RULE
@pytest.mark.parametrize("zero", ["drop", "bias", "flat"])
def test_gradients_of_relevance_are_finite(name, zero):
    op, r = example(depthwise, 1)

    def squared(x, w, r):
        r_in, _ = RULES[name](False, zero).relevance(Bilinear(depthwise, x, w), r)
        return (r_in**2).sum()

    for gradient in jax.grad(squared, (0, 1, 2))(op.x, op.w, r):
        assert np.isfinite(gradient).all()
        assert abs(gradient).max() > 0


@pytest.mark.parametrize(
    "make",
    [
        rules.ZPlus,
        rules.AlphaBeta,
        rules.Gamma,
        rules.ZBox,
        xr.composites.relevance_cam,
        xr.composites.epsilon_plus,
        xr.composites.epsilon_plus_flat,
        xr.composites.epsilon_alpha2_beta1,
        xr.composites.epsilon_gamma_box,
    ],
)
def test_another_choice_is_refused(make):
    with pytest.raises(ValueError, match="zero must be one of drop, bias, flat; got 'even'"):
        make(zero="even")


def mobile(x, p):
    """A block of a mobile network, whose depthwise convolution often sees nothing and fires by the shift behind it."""
    x = jnp.clip(x @ p["expand"] + p["shift"], 0, 6)
    x = lax.conv_general_dilated(x, p["depthwise"], (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=8)
    x = xr.mark(jnp.clip(x * p["scale"] + p["up"], 0, 6), "depthwise")
    return (x @ p["project"]).mean((1, 2))


@pytest.fixture
def block():
    rng = np.random.default_rng(0)
    shapes = {"expand": (3, 8), "depthwise": (3, 3, 1, 8), "project": (8, 4), "shift": 8, "scale": 8, "up": 8}
    p = {key: jnp.asarray(rng.standard_normal(shape)) for key, shape in shapes.items()}
    p |= {"shift": p["shift"] - 2, "scale": abs(p["scale"]), "up": abs(p["up"])}
    return jnp.asarray(rng.standard_normal((2, 6, 6, 3))), p


COMPOSITES = ("relevance_cam", "epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1", "epsilon_gamma_box")


@pytest.mark.parametrize("name", COMPOSITES)
def test_composites_of_depthwise_networks_lose_keep_or_give_away(name, block):
    options = {"eps": 0.0, **({} if name == "relevance_cam" else {"bias": False})}
    reports = {
        zero: xr.conservation(mobile, getattr(xr.composites, name)(zero=zero, **options), *block, seed=jnp.ones_like)
        for zero in ("drop", "bias", "flat")
    }
    lost = {
        zero: [sum(abs(getattr(balance, cause)) for _, balance in report.operations) for cause in ("bias", "zero")]
        for zero, report in reports.items()
    }
    assert lost["drop"][0] == 0
    assert lost["drop"][1] > 0.1
    assert lost["bias"][0] > 0.1
    assert lost["bias"][1] < 1e-12
    assert max(lost["flat"]) < 1e-12
    assert reports["flat"].reached == pytest.approx(reports["flat"].seed, rel=1e-10)
    for report in reports.values():
        assert all(balance.relative_rest < 1e-10 for _, balance in report.operations)
