"""Arrays that take turns along an axis."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array


def interleaved(parts: Sequence[Array], axis: int) -> Array:
    """The first of each of ``parts`` along ``axis``, the second of each, and so on; all have one shape."""
    shape = list(parts[0].shape)
    shape[axis] *= len(parts)
    return jnp.stack(parts, axis + 1).reshape(shape)
