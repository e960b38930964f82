"""Batch normalisation in training, against its definition in float64 and JAX's derivatives of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xrcam_jax.ops.batch_norm import normalise_batch

pytestmark = pytest.mark.long(one_in=3)


def definition(x, scale, bias, eps):
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / jnp.sqrt(variance + eps) * scale + bias, mean, variance


# Pictures of 20 places, which can be split into parts, and of 11, which cannot.
@pytest.fixture(params=[(3, 5, 4, 6), (3, 11, 1, 6)], ids=str)
def operands(request):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in (request.param, (6,), (6,), request.param)]


@pytest.mark.usefixtures("float64")
def test_value_and_derivatives_are_those_of_the_definition(operands):
    *operands, g = map(jnp.asarray, operands)
    for found, wanted in zip(normalise_batch(*operands, 1e-5), definition(*operands, 1e-5), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-12)

    def gradients(f):
        return jax.vjp(lambda *o: f(*o, 1e-5)[0], *operands)[1](g)

    for found, wanted in zip(gradients(normalise_batch), gradients(definition), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-11)


@pytest.mark.usefixtures("float64")
def test_the_derivative_has_a_derivative(operands):
    *operands, g = map(jnp.asarray, operands)

    def squares(f):
        return jax.grad(lambda x: (jax.grad(lambda x: (f(x, *operands[1:], 1e-5)[0] * g).sum())(x) ** 2).sum())

    np.testing.assert_allclose(squares(normalise_batch)(operands[0]), squares(definition)(operands[0]), atol=1e-10)


def test_a_constant_channel_becomes_the_bias():
    y, mean, variance = normalise_batch(jnp.full((2, 3, 3, 2), 7.0), jnp.ones(2), jnp.array([1.0, -2.0]), 1e-5)
    np.testing.assert_allclose(y, jnp.broadcast_to(jnp.array([1.0, -2.0]), y.shape), atol=1e-4)
    np.testing.assert_allclose(mean, 7, rtol=1e-6)
    np.testing.assert_allclose(variance, 0, atol=1e-5)


def test_it_is_flax_batch_norm_in_training(operands):
    x = jnp.asarray(operands[0], jnp.float32)
    flax = nnx.BatchNorm(6, momentum=0.9, epsilon=1e-5, use_running_average=False, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(normalise_batch(x, jnp.ones(6), jnp.zeros(6), 1e-5)[0], flax(x), atol=1e-5)
