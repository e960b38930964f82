"""Every rule against its matrix form: contributions C_ji = W_ji x_i from the operation's Jacobian, in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from xrcam_jax.lrp import rules
from xrcam_jax.lrp.rules import Bilinear

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.long(one_in=5)]
EPS = 1e-3  # large, so that a rule that forgets it fails


def conv(x, w):
    return lax.conv_general_dilated(x, w, (2, 1), ((1, 1), (0, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"))


def dense(x, w):
    return x @ w


SHAPES = {conv: ((2, 5, 4, 2), (3, 3, 2, 3)), dense: ((2, 6), (6, 4))}


def example(apply, seed, nonnegative, bias=False):
    """Values for ``apply``: the operation, the relevance of its output, W as a matrix and b per output."""
    rng = np.random.default_rng(seed)
    x_shape, w_shape = SHAPES[apply]
    x, w = rng.standard_normal(x_shape), rng.standard_normal(w_shape)
    x[rng.random(x_shape) < 0.3] = 0
    if nonnegative:
        x = np.abs(x)
    b = rng.standard_normal(w_shape[-1]) if bias else None
    z = np.asarray(apply(jnp.asarray(x), jnp.asarray(w)))
    matrix = np.asarray(jax.jacobian(lambda a: apply(a, jnp.asarray(w)).ravel())(jnp.asarray(x)))
    op = Bilinear(apply, jnp.asarray(x), jnp.asarray(w), None if b is None else jnp.asarray(b), nonnegative)
    r = rng.standard_normal(z.shape)
    return op, r, matrix.reshape(z.size, x.size), np.broadcast_to(0 if b is None else b, z.shape).ravel()


def divide(r, z):
    stab = z + EPS * np.where(z < 0, -1, 1)
    return np.where(z == 0, 0, r / np.where(z == 0, 1, stab))


def epsilon(c, r, b):
    return c.T @ divide(r, c.sum(1) + b)


def alpha_beta(c, r, b, alpha, beta):
    up, down = np.maximum(c, 0), np.minimum(c, 0)
    return alpha * up.T @ divide(r, up.sum(1) + np.maximum(b, 0)) - beta * down.T @ divide(
        r, down.sum(1) + np.minimum(b, 0)
    )


def gamma(c, r, b, factor):
    z = c.sum(1) + b
    up, down = c + factor * np.maximum(c, 0), c + factor * np.minimum(c, 0)
    b_up, b_down = b + factor * np.maximum(b, 0), b + factor * np.minimum(b, 0)
    return up.T @ divide(np.where(z > 0, r, 0), up.sum(1) + b_up) + down.T @ divide(
        np.where(z < 0, r, 0), down.sum(1) + b_down
    )


CONTRIBUTIONS = {
    "epsilon": (lambda bias: rules.Epsilon(EPS, bias), epsilon),
    "z_plus": (lambda bias: rules.ZPlus(EPS, bias), lambda c, r, b: alpha_beta(c, r, b, 1, 0)),
    "alpha1_beta0": (
        lambda bias: rules.AlphaBeta(1, 0, EPS, bias),
        lambda c, r, b: alpha_beta(c, r, b, 1, 0),
    ),
    "alpha2_beta1": (
        lambda bias: rules.AlphaBeta(2, 1, EPS, bias),
        lambda c, r, b: alpha_beta(c, r, b, 2, 1),
    ),
    "alpha3.5_beta2.5": (
        lambda bias: rules.AlphaBeta(3.5, 2.5, EPS, bias),
        lambda c, r, b: alpha_beta(c, r, b, 3.5, 2.5),
    ),
    "gamma": (lambda bias: rules.Gamma(0.4, EPS, bias), lambda c, r, b: gamma(c, r, b, 0.4)),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("apply", SHAPES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", CONTRIBUTIONS)
@given(seed=st.integers(0, 10**6), nonnegative=st.booleans())
def test_rule_equals_its_matrix_form(name, apply, bias, seed, nonnegative):
    make, matrix_form = CONTRIBUTIONS[name]
    op, r, w, b = example(apply, seed, nonnegative, bias=True)
    r_in, _ = make(bias).relevance(op, jnp.asarray(r))
    wanted = matrix_form(w * np.ravel(op.x), r.ravel(), b if bias else 0 * b)
    np.testing.assert_allclose(np.ravel(r_in), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("apply", SHAPES, ids=lambda f: f.__name__)
@given(seed=st.integers(0, 10**6))
def test_rules_by_weight_alone_equal_their_matrix_form(apply, seed):
    op, r, w, _ = example(apply, seed, nonnegative=False)
    for rule, share in ((rules.Flat(EPS), (w != 0).astype(float)), (rules.WSquare(EPS), w**2)):
        r_in, _ = rule.relevance(op, jnp.asarray(r))
        wanted = share.T @ divide(r.ravel(), share.sum(1))
        np.testing.assert_allclose(np.ravel(r_in), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bounds", ["given", "per channel", "each example's"])
@pytest.mark.parametrize("apply", SHAPES, ids=lambda f: f.__name__)
@given(seed=st.integers(0, 10**6))
def test_z_box_equals_its_matrix_form(apply, bounds, seed):
    op, r, w, _ = example(apply, seed, nonnegative=False)
    x = np.asarray(op.x)
    axes = tuple(range(1, x.ndim))
    if bounds == "given":
        low, high, given_bounds = np.full_like(x, -3.0), np.full_like(x, 4.0), (-3.0, 4.0)
    elif bounds == "per channel":
        channels = np.arange(x.shape[-1])
        low, high = np.broadcast_to(-3.0 - channels, x.shape), np.broadcast_to(4.0 + channels, x.shape)
        given_bounds = tuple(-3.0 - channels), tuple(4.0 + channels)
    else:
        low = np.broadcast_to(x.min(axes, keepdims=True), x.shape)
        high = np.broadcast_to(x.max(axes, keepdims=True), x.shape)
        given_bounds = None, None
    c = w * x.ravel() - np.maximum(w, 0) * low.ravel() - np.minimum(w, 0) * high.ravel()
    r_in, _ = rules.ZBox(*given_bounds, eps=EPS).relevance(op, jnp.asarray(r))
    np.testing.assert_allclose(np.ravel(r_in), c.T @ divide(r.ravel(), c.sum(1)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CONTRIBUTIONS)
@given(seed=st.integers(0, 10**6), bias=st.booleans())
def test_what_is_lost_is_accounted_for(name, seed, bias):
    op, r, _, _ = example(conv, seed, nonnegative=False, bias=True)
    r_in, loss = CONTRIBUTIONS[name][0](bias).relevance(op, jnp.asarray(r))
    np.testing.assert_allclose(r.sum(), r_in.sum() + sum(map(np.sum, loss)), rtol=1e-9, atol=1e-9)
    assert bias or loss.bias == 0


def test_hand_computed_fractions():
    # z+ = 1*2 + 3*1 = 5 (the -1 takes no part); of R = 10 it gives 2/5 and 3/5.
    op = Bilinear(dense, jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[2.0], [-1.0], [1.0]]), None, True)
    r = jnp.array([[10.0]])
    np.testing.assert_allclose(rules.ZPlus(0).relevance(op, r)[0], [[4, 0, 6]])
    # z = 2 - 2 + 3 = 3
    np.testing.assert_allclose(rules.Epsilon(0).relevance(op, r)[0], [[20 / 3, -20 / 3, 10]])
    # 2 z+ - 1 z-: z- = -2, all of it from the second input
    np.testing.assert_allclose(rules.AlphaBeta(2, 1, 0).relevance(op, r)[0], [[8, -10, 12]])
    np.testing.assert_allclose(rules.Flat(0).relevance(op, r)[0], [[10 / 3] * 3])
    np.testing.assert_allclose(rules.WSquare(0).relevance(op, r)[0], [[40 / 6, 10 / 6, 10 / 6]])
    # γ = 1: weights 4, -1, 2; z = 4 - 2 + 6 = 8
    np.testing.assert_allclose(rules.Gamma(1, 0).relevance(op, r)[0], [[5, -2.5, 7.5]])


def test_relevance_is_dropped_where_z_is_zero_and_said_so():
    op = Bilinear(dense, jnp.array([[1.0, 1.0]]), jnp.array([[1.0, 1.0], [-1.0, 1.0]]))
    r_in, loss = rules.Epsilon(0).relevance(op, jnp.array([[5.0, 4.0]]))
    np.testing.assert_allclose(r_in, [[2, 2]])
    assert loss.zero.sum() == 5

    def passed_on(x):
        return rules.Epsilon(0).relevance(Bilinear(dense, x, op.w), jnp.array([[5.0, 4.0]]))[0].sum()

    assert np.isfinite(jax.grad(passed_on)(op.x)).all()


def test_pass_sums_over_copies_and_gates_share():
    op = Bilinear(lambda x, w: x, (jnp.ones((1, 3)),), ())
    np.testing.assert_allclose(rules.Pass().relevance(op, jnp.ones((4, 3)))[0][0], [[4, 4, 4]])
    gated = Bilinear(lambda x, w: x[0] * x[1], (jnp.ones((2, 3)), jnp.full((2, 1), 0.5)), ())
    signal, gate = rules.Gate(0.75, 0.25).relevance(gated, jnp.full((2, 3), 4.0))[0]
    np.testing.assert_allclose(signal, np.full((2, 3), 3.0))
    np.testing.assert_allclose(gate, np.full((2, 1), 3.0))


@pytest.mark.parametrize(("alpha", "beta"), [(1, 1), (2, 0), (0.5, -0.5)])
def test_alpha_minus_beta_has_to_be_one(alpha, beta):
    with pytest.raises(ValueError, match="alpha - beta must be 1"):
        rules.AlphaBeta(alpha, beta)
