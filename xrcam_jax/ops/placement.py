"""Where operands lie: what an operation with a derivative of its own has to see to on several devices."""

from collections.abc import Callable

import jax
from jax import Array, lax
from jax.sharding import PartitionSpec


def vary_alike(x: Array, kernel: Array) -> tuple[Array, Array]:
    """Lets both operands vary over the same mesh axes, inside of ``shard_map``.

    A rule of ``jax.custom_vjp`` has to return cotangents that vary as the operands do. The transposition of what is
    done here adds the kernel's up over the devices.

    Args:
      x: the one operand.
      kernel: the other operand.

    Returns:
      Both, unchanged in value; outside of ``shard_map`` unchanged altogether.

    Example:
      >>> import jax.numpy as jnp
      >>> x, kernel = vary_alike(jnp.array([1.0, 2.0]), jnp.array([3.0]))
      >>> x.tolist(), kernel.tolist()
      ([1.0, 2.0], [3.0])
    """
    of_x, of_kernel = (jax.typeof(operand).manual_axis_type.varying for operand in (x, kernel))
    x = lax.pcast(x, tuple(of_kernel - of_x), to="varying")
    return x, lax.pcast(kernel, tuple(of_x - of_kernel), to="varying")


def added_up(f: Callable[..., Array], *operands: Array) -> Callable[..., Array]:
    """Returns ``f``, a sum over the batch, ready for operands whose batch may lie across devices.

    On a mesh of explicit axes, such a batch can only be reshaped or summed over where it is said on which devices the
    sum is to lie. Here it lies on all of them.

    Args:
      f: from the operands to a sum that has four axes.
      operands: what ``f`` will be called with; only where they lie counts.

    Returns:
      ``f``, or a function that calls it.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.ones((2, 1, 1, 3))
      >>> added_up(lambda x: x.sum(0, keepdims=True), x)(x).tolist()
      [[[[2.0, 2.0, 2.0]]]]
    """
    if all(jax.typeof(operand).sharding.spec[0] is None for operand in operands):
        return f
    return jax.sharding.auto_axes(f, out_sharding=PartitionSpec(None, None, None, None))
