"""What is known is computed once, and the rest is the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.lrp.ahead import ahead
from xrcam_jax.lrp.parts import in_parts
from xrcam_jax.lrp.program import trace


def pullback(x, w):
    """Returns relevance of a small network by the z⁺ rule, written out, and relevance it is of."""
    positive = jnp.maximum(w, 0)
    z = x @ positive

    def down(r):
        unused = r * jnp.exp(z).sum()
        del unused
        return (x * ((r / jnp.where(z == 0, jnp.inf, z)) @ positive.T),)

    return down, z


@pytest.fixture
def case():
    x, w = jax.random.split(jax.random.key(0))
    return jnp.abs(jax.random.normal(x, (2, 5))), jax.random.normal(w, (5, 3))


def test_it_is_the_same_function(case):
    down, r = pullback(*case)
    np.testing.assert_allclose(ahead(down, r)(2 * r)[0], down(2 * r)[0], rtol=1e-6)


def test_nothing_but_what_the_argument_is_needed_for_is_left(case):
    down, r = pullback(*case)
    found = ahead(down, r)
    assert [equation.primitive for equation in found.program.equations] == ["div", "dot_general", "mul"]
    # The divisor, the positive weights turned, and x; not z, which only what nobody reads needs.
    assert sorted(a.shape for a in found.known) == [(2, 3), (2, 5), (3, 5)]


def test_a_compiled_function_returns_it_and_others_are_compiled_and_differentiated_with_it(case):
    found = jax.jit(lambda x, w: ahead(*pullback(x, w)))(*case)
    down, r = pullback(*case)
    many = jnp.stack([r, -r, 0 * r])
    np.testing.assert_allclose(
        jax.jit(jax.vmap(lambda f, r: f(r)[0], in_axes=(None, 0)))(found, many), jax.vmap(down)(many)[0], rtol=1e-6
    )

    def total(f, r):
        return (f(r)[0] ** 2).sum()

    np.testing.assert_allclose(
        jax.grad(total, argnums=1)(found, r), jax.grad(lambda r: (down(r)[0] ** 2).sum())(r), rtol=1e-5
    )


def test_of_an_argument_that_all_depends_on_nothing_is_known():
    found = ahead(lambda x: {"a": jnp.tanh(x), "b": x}, jnp.ones(2))
    assert found.known == ()
    assert found(jnp.zeros(2))["b"].tolist() == [0.0, 0.0]


def test_what_does_not_depend_on_the_argument_is_returned_as_it_is():
    found = ahead(lambda x: jnp.arange(3.0) ** 2, jnp.ones(2))
    assert found.program.equations == ()
    assert found(jnp.ones(2)).tolist() == [0.0, 1.0, 4.0]


@pytest.mark.usefixtures("float64")
def test_the_pullbacks_of_a_network_divide_by_sums_that_are_known():
    rng = np.random.default_rng(0)
    first, second = jnp.asarray(rng.normal(size=(3, 3, 3, 4))), jnp.asarray(rng.normal(size=(4, 2)))

    def convolved(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def model(x):
        return xr.mark(jax.nn.relu(convolved(x, first)), "layer").mean((1, 2)) @ second

    x = jnp.asarray(rng.normal(size=(1, 6, 6, 3)))
    closed, _ = trace(lambda x: model(xr.mark(x, "input")), x)
    parts = in_parts(closed, xr.composites.epsilon_plus(), ["input", "layer"], [True])
    _, activations, (down, _) = parts.run([x])
    # Two go down, with weights above zero and below, and the two up that make the sums are known.
    assert [equation.primitive for equation in down.program.equations].count("conv_general_dilated") == 2
    r = jnp.asarray(rng.normal(size=activations[1].shape))
    # The z+ rule for inputs of both signs: x+ (W+ᵀ s) + x- (W-ᵀ s), s = R / (W+ x+ + W- x-).
    sides = [(f(x, 0), f(first, 0)) for f in (jnp.maximum, jnp.minimum)]
    s = r / sum(convolved(*side) for side in sides)
    expected = sum(a * jax.vjp(lambda a, kernel=kernel: convolved(a, kernel), a)[1](s)[0] for a, kernel in sides)
    np.testing.assert_allclose(down(r)[0], expected, rtol=1e-4)
