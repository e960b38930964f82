"""Values that are kept in memory: the identity to everything but XLA's CPU backend."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import xrcam_jax as xr
from xrcam_jax.ops.materialised import materialised

BLOCKS = 12


def chain(keep):
    """Makes a stage of residual blocks, each of which is read by a matrix product and by the next block."""

    def stage(x, weights):
        for w in weights:
            x = keep(jax.nn.relu(jnp.tanh(x @ w) + x))
        return x.sum()

    return stage


def additions(keep):
    x, weights = jnp.ones((64, 128)), jnp.ones((BLOCKS, 128, 128))
    text = jax.jit(jax.grad(chain(keep))).lower(x, weights).compile().as_text()
    return len(re.findall(r"= f32\[64,128\]\S* add\(", text))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only the CPU backend needs it")
def test_a_chain_of_additions_is_not_computed_anew_by_each_reader():
    assert additions(materialised) <= 5 * BLOCKS < additions(lambda x: x)


def test_identity_and_its_derivatives(float64):
    x, t = jnp.linspace(-1, 1, 12).reshape(3, 4), jnp.linspace(2, 3, 12).reshape(3, 4)
    np.testing.assert_array_equal(jax.jvp(materialised, (x,), (t,)), (x, t))
    np.testing.assert_array_equal(jax.vjp(materialised, x)[1](t)[0], t)
    np.testing.assert_array_equal(jax.vmap(materialised)(x), x)
    np.testing.assert_array_equal(jax.jit(materialised)(x), x)
    square = jax.grad(lambda x: (materialised(x) ** 3).sum())
    np.testing.assert_allclose(jax.grad(lambda x: square(x).sum())(x), 6 * x)


@pytest.mark.parametrize("axis", [AxisType.Auto, AxisType.Explicit])
def test_a_sharded_value_stays_sharded(axis):
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis,))
    sharding = NamedSharding(mesh, PartitionSpec("batch"))
    x = jax.device_put(jnp.arange(32.0).reshape(16, 2), sharding)
    with jax.set_mesh(mesh):
        out = jax.jit(materialised)(x)
        inside = jax.shard_map(materialised, in_specs=PartitionSpec("batch"), out_specs=PartitionSpec("batch"))(x)
    assert out.sharding.is_equivalent_to(sharding, 2)
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(inside, x)


def test_relevance_passes_through_unchanged():
    x = jnp.array([[1.0, -2.0, 3.0]])
    out, pullback = jax.vjp(xr.lrp(lambda x: materialised(materialised(x)), xr.composites.epsilon_plus()), x)
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(pullback(x)[0], x)
