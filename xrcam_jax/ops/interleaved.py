"""Arrays whose elements take turns along an axis."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Shaped


def interleaved(parts: Sequence[Shaped[Array, "*s"]], axis: int) -> Shaped[Array, "..."]:
    """Returns the first of each of ``parts`` along ``axis``, then the second of each, and so on.

    Args:
      parts: arrays of one shape and dtype.
      axis: from 0.

    Returns:
      An array of the shape of each part but along ``axis``, where it has the length of all together.

    Example:
      >>> import jax.numpy as jnp
      >>> interleaved([jnp.array([1, 2]), jnp.array([10, 20])], axis=0).tolist()
      [1, 10, 2, 20]
    """
    shape = list(parts[0].shape)
    shape[axis] *= len(parts)
    return jnp.stack(parts, axis + 1).reshape(shape)
