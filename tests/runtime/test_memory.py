"""The estimate of what a program's intermediate values take."""

import jax
import jax.numpy as jnp
import pytest

from xrcam_jax.runtime.memory import peak_bytes


def wide(x):
    for _ in range(2):
        x = jnp.sin(jnp.broadcast_to(x[..., None], (10, 30))).sum(-1)
    return x


def looped(x):
    return jax.lax.fori_loop(0, 2, lambda _, x: jnp.sin(jnp.broadcast_to(x[..., None], (10, 30))).sum(-1), x)


def test_peak_of_a_chain_is_two_values_and_of_a_fan_all():
    x = jax.ShapeDtypeStruct((10,), jnp.float32)
    assert peak_bytes(jax.make_jaxpr(lambda x: jnp.cos(jnp.sin(jnp.exp(x))))(x)) == 80
    assert peak_bytes(jax.make_jaxpr(lambda x: (jnp.cos(x), jnp.sin(x), jnp.exp(x)))(x)) == 120


@pytest.mark.parametrize("function", [wide, jax.jit(wide), jax.checkpoint(wide), looped, jax.jit(looped)])
def test_what_a_model_wraps_in_a_call_or_a_loop_takes_memory_all_the_same(function):
    x = jax.ShapeDtypeStruct((10,), jnp.float32)
    # two arrays of 10 x 30, and at most one of 10
    assert 2400 <= peak_bytes(jax.make_jaxpr(function)(x)) <= 2440


def test_a_branch_takes_what_its_largest_does():
    x = jax.ShapeDtypeStruct((10,), jnp.float32)
    branches = jax.make_jaxpr(lambda x: jax.lax.cond(x[0] > 0, wide, jnp.cos, x))(x)
    assert 2400 <= peak_bytes(branches) <= 2480
