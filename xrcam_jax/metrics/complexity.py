"""How few pixels a map rests on; functions of the map alone.

References:
  chalasani2020, bhatt2020, nguyen2020
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.metrics.judged import Figures, Maps
from xrcam_jax.runtime.compiling import compiled


def sparseness(maps: Maps) -> Figures:
    """Returns the Gini index of a map's absolute values (chalasani2020).

    With |R| sorted from the smallest to the largest, G = sum_i (2 i - n - 1) |R|_(i) / (n sum_i |R|_(i)).

    Args:
      maps: R, of any range.

    Returns:
      G in [0, 1): 0 of a constant map, 1 - 1 / n of one with a single pixel. NaN of a map of zeros, which has no
      shares; Quantus refuses it.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.complexity import sparseness
      >>> sparseness(jnp.array([[[0.0, 0.0, -3.0, 0.0]], [[1.0, 1.0, 1.0, 1.0]]])).tolist()
      [[0.75], [0.0]]

    References:
      chalasani2020
    """
    return _sparseness(maps)


@compiled()
def _sparseness(maps: Maps) -> Figures:
    shares = jnp.sort(_shares(maps))
    size = shares.shape[-1]
    # Divided by n before they are summed, since numbers of pixels are large.
    places = (2 * jnp.arange(1, size + 1) - size - 1).astype(shares.dtype) / size
    return (places * shares).sum(-1)


def complexity(maps: Maps) -> Figures:
    """Returns the entropy of pixels' shares of a map, -sum_i p_i log p_i with p_i = |R_i| / sum_j |R_j| (bhatt2020).

    Args:
      maps: R, of any range.

    Returns:
      The natural entropy in [0, log n]: 0 of a map with a single pixel, log n of a constant one. NaN of a map of zeros.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.complexity import complexity
      >>> complexity(jnp.array([[[0.0, 0.0, -3.0, 0.0]], [[1.0, 1.0, 1.0, 1.0]]])) / jnp.log(4.0)
      Array([[0.],
             [1.]], dtype=float32)

    References:
      bhatt2020
    """
    return _complexity(maps)


@compiled()
def _complexity(maps: Maps) -> Figures:
    # jax.scipy.special.entr is -p log p, and 0 of 0.
    return jnp.abs(jax.scipy.special.entr(_shares(maps)).sum(-1))


def effective_complexity(maps: Maps, *, threshold: float = 1e-5) -> Figures:
    """Returns how many pixels of a map count, |{i : |R_i| > threshold max |R|}| (after nguyen2020).

    The paper asks for the least number of the highest pixels that, held fixed, keep the expected loss of a model below
    a tolerance, which needs the model; that curve is :func:`xrcam_jax.metrics.faithfulness.ordered_scores`. This is the
    count that Quantus gives the name, on maps that are scaled to a maximum of 1 as it scales them.

    Args:
      maps: R, of any range.
      threshold: the share of the maximum above which a pixel counts, in [0, 1).

    Returns:
      Numbers of pixels, from 0 of a map of zeros to n. NaN where a map has NaN.

    Raises:
      ValueError: the threshold is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.complexity import effective_complexity
      >>> effective_complexity(jnp.array([[[0.0, 1e-6, -3.0, 0.1]]])).tolist()
      [[2.0]]

    References:
      nguyen2020
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must be a share of the maximum in [0, 1); got {threshold}")
    return _effective(maps, jnp.float32(threshold))


@compiled()
def _effective(maps: Maps, threshold: Float[Array, ""]) -> Figures:
    sizes = _sizes(maps)
    largest = sizes.max(-1, keepdims=True)
    count = (sizes > threshold.astype(sizes.dtype) * largest).sum(-1, dtype=sizes.dtype)
    return jnp.where(jnp.isnan(largest[..., 0]), jnp.nan, count)


def _sizes(maps: Maps) -> Float[Array, "m b n"]:
    return jnp.abs(at_least_float32(jnp.asarray(maps))).reshape(*maps.shape[:2], -1)


def _shares(maps: Maps) -> Float[Array, "m b n"]:
    """Returns what each pixel has of a map's absolute values; NaN of a map of zeros."""
    # Divided by its maximum, a map can neither overflow in the sum nor vanish in it.
    scaled = _sizes(maps)
    scaled = scaled / scaled.max(-1, keepdims=True)
    return scaled / scaled.sum(-1, keepdims=True)
