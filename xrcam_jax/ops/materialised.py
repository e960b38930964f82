"""A value that XLA computes once and keeps in memory, instead of once more for each of its readers."""

import jax
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array


@jax.jit
def materialised(x: Array) -> Array:
    """``x`` itself.

    XLA's CPU backend fuses a chain of elementwise operations into everything that reads its end. In a
    stage of residual blocks each block would so add up all blocks before it anew, in the forward pass and
    at every operation of the backward pass. A call that it may not inline stops that; it costs one copy.
    Elsewhere this does nothing.

    In a jaxpr it is one ``jit`` equation named ``materialised``: a structural operation to a transformation.
    """
    return _identity(x)


@jax.custom_jvp
def _identity(x: Array) -> Array:
    return lax.platform_dependent(x, cpu=_call, default=lambda x: x)


@_identity.defjvp
def _identity_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # The cotangent needs no copy.
    return _identity(*primals), tangents[0]


@set_xla_metadata(inlineable="false")
@jax.jit
def _call(x: Array) -> Array:
    return x
