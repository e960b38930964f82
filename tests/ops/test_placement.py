"""Operands on several devices: cotangents are added up, and it is settled where a sum over the batch lies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from xrcam_jax.ops.placement import added_up, vary_alike


@jax.custom_vjp
def scaled(x, kernel):
    return x * kernel


scaled.defvjp(
    lambda x, kernel: (scaled(x, kernel), (x, kernel)),
    lambda operands, g: (g * operands[1], (g * operands[0]).sum(0)),
)


@pytest.fixture
def mesh():
    return jax.make_mesh((8,), ("b",), axis_types=(AxisType.Explicit,))


def kernel_gradient(mesh, together):
    """Computes the gradient of a kernel that all devices share, for a batch of which each has a part."""

    def loss(x, kernel):
        return lax.psum(scaled(*together(x, kernel)).sum(), "b")

    x, kernel = jnp.arange(16.0).reshape(16, 1), jnp.ones((1,))
    by_device = jax.shard_map(jax.grad(loss, 1), mesh=mesh, in_specs=(P("b"), P()), out_specs=P())
    with jax.set_mesh(mesh):
        return jax.jit(by_device)(jax.device_put(x, NamedSharding(mesh, P("b"))), kernel)


def test_a_shared_operands_cotangent_is_added_up_over_the_devices(mesh):
    np.testing.assert_array_equal(kernel_gradient(mesh, vary_alike), [sum(range(16))])


def test_without_it_jax_refuses_the_rule(mesh):
    with pytest.raises(ValueError, match="Custom VJP"):
        kernel_gradient(mesh, lambda x, kernel: (x, kernel))


def squares(x):
    return jnp.einsum("bhwc,bhwd->cd", x, x)[None, None]


def test_the_sum_over_a_batch_across_devices_lies_on_all_of_them(mesh):
    values = np.random.default_rng(0).integers(-9, 10, (8, 2, 3, 4)).astype(np.float32)
    with jax.set_mesh(mesh):
        x = jax.device_put(values, NamedSharding(mesh, P("b")))
        with pytest.raises(Exception, match="out_sharding"):
            jax.jit(squares)(x)
        found = jax.jit(lambda x: added_up(squares, x)(x))(x)
    rows = values.reshape(-1, 4)
    np.testing.assert_array_equal(found[0, 0], rows.T @ rows)
    assert found.sharding.is_fully_replicated


def test_of_a_batch_on_one_device_it_is_the_function_itself():
    assert added_up(squares, jnp.ones((2, 1, 1, 3))) is squares
