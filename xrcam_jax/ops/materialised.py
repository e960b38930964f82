"""A value that XLA computes once and keeps in memory, instead of once more for each of its readers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.ops.operation import operation


@operation
def materialised(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns ``x`` itself, but for the sign of a zero.

    XLA's CPU backend fuses a chain of elementwise operations into everything that reads its end. In a stage of residual
    blocks, each block would so compute anew the additions of all blocks before it, in the forward pass and at every
    operation of the backward pass. The fusion stops at an operation that reads two arrays, if one of its readers cannot
    be fused with it (a convolution cannot). A ReLU reads one array. So zero is chosen here where ``x`` is zero, which
    XLA does not see through; it costs nothing, not even a copy.

    In a jaxpr it is one ``jit`` equation named ``xrcam_jax.materialised``: a structural operation to a transformation.

    Args:
      x: any array.

    Returns:
      ``x``, of its shape and dtype.

    Example:
      >>> import jax.numpy as jnp
      >>> materialised(jnp.array([1.5, -2.0, 0.0])).tolist()
      [1.5, -2.0, 0.0]
    """
    return _identity(x)


@jax.custom_jvp
def _identity(x: Array) -> Array:
    return jnp.where(x == 0, 0, x)


@_identity.defjvp
def _identity_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _identity(*primals), tangents[0]
