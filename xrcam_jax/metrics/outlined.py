"""Maps beside outlines, as rows of pixels: what all metrics of localisation have in common."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.metrics.judged import Figures, Maps, Masks


def rows(maps: Maps, masks: Masks) -> tuple[Float[Array, "m b n"], Bool[Array, "b n"]]:
    """Returns maps and outlines with their pixels along one axis.

    Args:
      maps: m saliency maps of each picture.
      masks: what is outlined in each picture.

    Returns:
      The maps, in float32 at least, since numbers of pixels are beyond half precision; and the outlines.

    Raises:
      ValueError: the outlines are not those of the pictures, or are not of booleans.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.outlined import rows
      >>> maps, masks = rows(jnp.zeros((5, 2, 4, 4)), jnp.zeros((2, 4, 4), bool))
      >>> maps.shape, masks.shape
      ((5, 2, 16), (2, 16))
    """
    if maps.ndim < 3 or masks.shape != maps.shape[1:]:
        expected = "maps of shape (maps, pictures, ...) and masks of shape (pictures, ...)"
        raise ValueError(f"expected {expected}, with the same pixels; got maps of {maps.shape}, masks of {masks.shape}")
    if masks.dtype != bool:
        raise ValueError(f"masks must be of booleans; got {masks.dtype}")
    flat = at_least_float32(jnp.asarray(maps)).reshape(*maps.shape[:2], -1)
    return flat, jnp.asarray(masks).reshape(len(masks), -1)


def where_outlined(figures: Float[Array, "m b"], inside: Bool[Array, "b n"]) -> Figures:
    """Returns the figures, and NaN for pictures in which nothing is outlined.

    Args:
      figures: of each map.
      inside: the outlines, see :func:`rows`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.outlined import where_outlined
      >>> where_outlined(jnp.ones((1, 2)), jnp.array([[True, False], [False, False]])).tolist()
      [[1.0, nan]]
    """
    return jnp.where(inside.any(-1), figures, jnp.nan)
