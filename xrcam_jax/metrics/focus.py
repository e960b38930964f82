"""Mosaics of pictures of several classes, and how much of a map lies on those of the class that it explains.

References:
  ariasduart2022
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from xrcam_jax.metrics.judged import Figures, Maps, Masks
from xrcam_jax.metrics.mass import relevance_mass_accuracy


def mosaics(images: Float[Array, "b 4 h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Returns four pictures as one: the first two side by side, the others below them (ariasduart2022).

    Two of them are of the class that is to be explained in the paper, and two of other classes.

    Args:
      images: four for each mosaic.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.focus import mosaics
      >>> mosaics(jnp.arange(4.0).reshape(1, 4, 1, 1, 1))[0, ..., 0].tolist()
      [[0.0, 1.0], [2.0, 3.0]]

    References:
      ariasduart2022
    """
    return _laid(jnp.asarray(images))


def quadrants(held: Bool[Array | np.ndarray, "b 4"], size: tuple[int, int]) -> Bool[Array, "b h w"]:
    """Returns masks of those quarters of mosaics that hold pictures of the class that is explained.

    Args:
      held: whether each of the four pictures is of that class, in the order of :func:`mosaics`.
      size: height and width of a mosaic.

    Raises:
      ValueError: the size is odd.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.focus import quadrants
      >>> quadrants(jnp.array([[True, False, False, True]]), (2, 4))[0].astype(int).tolist()
      [[1, 1, 0, 0], [0, 0, 1, 1]]
    """
    height, width = size
    if height % 2 or width % 2:
        raise ValueError(f"size must be that of a mosaic of four pictures, with even sides; got {size}")
    each = jnp.asarray(held)[:, :, None, None, None]
    return _laid(jnp.broadcast_to(each, (*held.shape, height // 2, width // 2, 1)))[..., 0]


def _laid(images: Array) -> Array:
    count, _, height, width, channels = images.shape
    table = images.reshape(count, 2, 2, height, width, channels)
    return jnp.moveaxis(table, 2, 3).reshape(count, 2 * height, 2 * width, channels)


def focus(maps: Maps, masks: Masks) -> Figures:
    """Returns the share of a mosaic's positive relevance that lies on pictures of the class explained (ariasduart2022).

    Focus = sum_{p in C} max(R_p, 0) / sum_p max(R_p, 0), with C the quarters of that class. So it is
    :func:`xrcam_jax.metrics.mass.relevance_mass_accuracy` of mosaics.

    Args:
      maps: R, of mosaics (see :func:`mosaics`); only what is positive counts.
      masks: C, see :func:`quadrants`.

    Returns:
      The share in [0, 1], 1/2 of a blind map where two of four pictures are of the class. 0 of a map that is positive
      nowhere, NaN where no picture is of the class.

    Raises:
      ValueError: the shapes do not fit together.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.focus import focus, quadrants
      >>> maps = jnp.array([[[[3.0, 1.0], [-1.0, 0.0]]]])
      >>> focus(maps, quadrants(jnp.array([[True, False, False, True]]), (2, 2))).tolist()
      [[0.75]]

    References:
      ariasduart2022
    """
    return relevance_mass_accuracy(maps, masks)
