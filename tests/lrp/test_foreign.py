"""Functions as other people's packages write them: what they are is recognised, and no relevance is lost silently."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr

pytestmark = pytest.mark.usefixtures("float64")


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def report_of(f, x, composite=None):
    return xr.conservation(f, composite or xr.composites.attn_lrp(), x, seed=jnp.ones_like)


def kinds(report):
    return [site.role or site.kind for site, _ in report.operations]


def unexplained(report):
    lost = sum(balance.bias + balance.stabiliser + balance.zero for _, balance in report.operations)
    return abs(report.seed - report.reached - lost)


def test_division_by_a_sum_keeps_relevance():
    """The sum is a fixed factor, so that each value keeps what arrives at it."""
    x = jnp.abs(drawn(4, 6)) + 0.1
    rules = xr.lrp(lambda x: x / (x.sum(1, keepdims=True) + 1e-6), xr.composites.attn_lrp(eps=0))
    (relevance,) = jax.vjp(rules, x)[1](drawn(4, 6, seed=1))
    np.testing.assert_allclose(relevance, drawn(4, 6, seed=1), rtol=1e-12)


def test_a_mean_that_is_subtracted_and_divided_by_is_no_fixed_factor():
    x = jnp.abs(drawn(4, 6)) + 0.1

    def deviation(x):
        mean = x.mean(1, keepdims=True)
        return (x - mean) / mean

    report = report_of(deviation, x)
    assert "norm" not in kinds(report)
    assert unexplained(report) < 1e-9


@pytest.mark.parametrize("composite", [xr.composites.attn_lrp(), xr.composites.cp_lrp()])
def test_an_added_mask_of_minus_infinity(composite):
    """It is the same as the mask that selects."""
    x, w, masked = drawn(4, 6), drawn(6, 6, seed=1), jnp.eye(4, dtype=bool)

    def adding(x):
        return jax.nn.softmax(x @ w @ x.T + jnp.where(masked, -jnp.inf, 0.0)) @ x

    def selecting(x):
        return jax.nn.softmax(jnp.where(masked, -jnp.inf, x @ w @ x.T)) @ x

    assert unexplained(report_of(adding, x, composite)) < 1e-9
    each = [jax.vjp(xr.lrp(f, composite), x)[1](jnp.ones_like(x))[0] for f in (adding, selecting)]
    np.testing.assert_allclose(*each, rtol=1e-6)


def test_heads_that_are_masked_by_einsum():
    """BERT in Flax multiplies attention weights with a mask of the heads, by a product that adds nothing up."""
    x, heads = drawn(4, 6), jnp.array([1.0, 0.5])

    def attend(x):
        split = x.reshape(4, 2, 3)
        weights = jax.nn.softmax(jnp.einsum("qhd,khd->hqk", split, split))
        return jnp.einsum("hqk,khd->qhd", jnp.einsum("hqk,h->hqk", weights, heads), split)

    assert kinds(report_of(attend, x)) == ["attention", "dense", "softmax", "attention"]
    assert kinds(report_of(attend, x, xr.composites.cp_lrp())) == ["attention"]


def test_capped_scores_are_attention():
    report = report_of(lambda x: jax.nn.softmax(5 * jnp.tanh(x @ x.T / 5)) @ x, drawn(4, 6))
    assert kinds(report) == ["attention", "softmax", "scale", "activation", "scale", "attention"]


def test_log_cosh_is_an_activation():
    """It is log(e^x + e^-x), a function with a derivative of its own of two values that are made of one."""
    x = drawn(4, 6)
    rules = xr.lrp(lambda x: jnp.logaddexp(x, -x), xr.composites.epsilon_plus())
    np.testing.assert_array_equal(jax.vjp(rules, x)[1](jnp.ones_like(x))[0], jnp.ones_like(x))
