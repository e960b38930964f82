"""Where operands lie: what an operation with a derivative of its own has to see to on several devices."""

from collections.abc import Callable

import jax
from jax import Array, lax
from jax.sharding import PartitionSpec


def vary_alike(x: Array, kernel: Array) -> tuple[Array, Array]:
    """Inside shard_map, let both vary over the same mesh axes: transposing that adds up over the devices.

    A rule of ``jax.custom_vjp`` has to return cotangents that vary as the operands do.
    """
    of_x, of_kernel = (jax.typeof(operand).manual_axis_type.varying for operand in (x, kernel))
    x = lax.pcast(x, tuple(of_kernel - of_x), to="varying")
    return x, lax.pcast(kernel, tuple(of_x - of_kernel), to="varying")


def added_up(f: Callable[..., Array], *operands: Array) -> Callable[..., Array]:
    """``f``, a sum over the batch that has four axes, for operands whose batch may lie across devices.

    On a mesh of explicit axes such a batch could not be reshaped or summed over without saying where the sum is to lie.
    """
    if all(jax.typeof(operand).sharding.spec[0] is None for operand in operands):
        return f
    return jax.sharding.auto_axes(f, out_sharding=PartitionSpec(None, None, None, None))
