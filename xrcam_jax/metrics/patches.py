"""Square patches of pictures, by number.

Those at the far sides are smaller where the sides of the patches do not divide those of the pictures.
"""

from math import prod

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from xrcam_jax.attribution.perturbations import PerAxis, per_axis


def patch_numbers(space: tuple[int, ...], side: PerAxis) -> tuple[Int[np.ndarray, "*space"], int]:
    """Returns which patch each pixel lies in, and how many patches there are.

    Args:
      space: size of the pictures, (height, width) of images.
      side: of the patches, in pixels, or one number for each axis, from 1.

    Returns:
      Numbers from 0, row by row.

    Example:
      >>> from xrcam_jax.metrics.patches import patch_numbers
      >>> numbers, count = patch_numbers((2, 5), 2)
      >>> numbers.tolist(), count
      ([[0, 0, 1, 1, 2], [0, 0, 1, 1, 2]], 3)
    """
    sides = per_axis("side", side, space)
    grid = tuple(-(-length // each) for length, each in zip(space, sides, strict=True))
    places = (each // of_axis for each, of_axis in zip(np.indices(space, np.int32), sides, strict=True))
    return np.ravel_multi_index(tuple(places), grid).astype(np.int32), prod(grid)


def patch_sums(maps: Float[Array, "..."], numbers: Int[np.ndarray, "*space"], count: int) -> Float[Array, "..."]:
    """Returns the sums of maps over each patch.

    Args:
      maps: (..., *space), of any range.
      numbers: which patch each pixel lies in.
      count: p, how many patches there are.

    Returns:
      (..., p).

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.patches import patch_numbers, patch_sums
      >>> patch_sums(jnp.array([[1.0, 2.0, 3.0, 4.0, 5.0]]), *patch_numbers((1, 5), 2)).tolist()
      [3.0, 7.0, 5.0]
    """
    flat = maps.reshape(*maps.shape[: maps.ndim - numbers.ndim], -1)
    return jnp.zeros((*flat.shape[:-1], count), maps.dtype).at[..., numbers.ravel()].add(flat)


def patch_largest(maps: Float[Array, "..."], numbers: Int[np.ndarray, "*space"], count: int) -> Float[Array, "..."]:
    """Returns the largest value of maps in each patch.

    Args:
      maps: (..., *space), of any range.
      numbers: which patch each pixel lies in.
      count: p, how many patches there are.

    Returns:
      (..., p).

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.patches import patch_largest, patch_numbers
      >>> patch_largest(jnp.array([[1.0, 2.0, 4.0, 3.0, 5.0]]), *patch_numbers((1, 5), 2)).tolist()
      [2.0, 4.0, 5.0]
    """
    flat = maps.reshape(*maps.shape[: maps.ndim - numbers.ndim], -1)
    return jnp.full((*flat.shape[:-1], count), -jnp.inf, maps.dtype).at[..., numbers.ravel()].max(flat)
