"""A value that XLA computes once and keeps in memory, instead of once more for each of its readers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from xrcam_jax.ops.operation import operation


@operation
def materialised(x: Array) -> Array:
    """``x`` itself, but for the sign of a zero.

    XLA's CPU backend fuses a chain of elementwise operations into everything that reads its end. In a
    stage of residual blocks each block would so add up all blocks before it anew, in the forward pass and
    at every operation of the backward pass. It stops at an operation that reads two arrays if one of its
    readers cannot take it in, as a convolution cannot; a ReLU reads one. So here zero is chosen where ``x``
    is zero, which XLA does not see through: it costs nothing, not even a copy.

    In a jaxpr it is one ``jit`` equation named ``xrcam_jax.materialised``: a structural operation to a transformation.
    """
    return _identity(x)


@jax.custom_jvp
def _identity(x: Array) -> Array:
    return jnp.where(x == 0, 0, x)


@_identity.defjvp
def _identity_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _identity(*primals), tangents[0]
