"""Whether a map is higher within an outline than outside, whatever the threshold: the area under the ROC curve.

References:
  fawcett2006
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xrcam_jax.metrics.judged import Figures, Maps, Masks
from xrcam_jax.metrics.outlined import rows
from xrcam_jax.runtime.compiling import compiled


def auc(maps: Maps, masks: Masks) -> Figures:
    """Returns the area under the ROC curve of a map as a detector of the outline's pixels (fawcett2006).

    It is the probability that a pixel p within the outline is higher than a pixel q outside, ties counting half:
    AUC = sum_{p in G, q not in G} ([R_p > R_q] + [R_p = R_q] / 2) / (|G| |not G|).

    Args:
      maps: R, of any range; only the order of the pixels counts.
      masks: G.

    Returns:
      The area in [0, 1]; 1/2 of a constant map. NaN where the mask is empty or full, or a map has NaN.

    Raises:
      ValueError: the shapes do not fit together.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.roc import auc
      >>> maps = jnp.array([[[3.0, 2.0, 1.0, 0.0]], [[0.0, 2.0, 1.0, 3.0]], [[1.0, 1.0, 1.0, 1.0]]])
      >>> auc(maps, jnp.array([[True, True, False, False]])).tolist()
      [[1.0], [0.25], [0.5]]

    References:
      fawcett2006
    """
    return _auc(*rows(maps, masks))


@compiled()
def _auc(flat: Float[Array, "m b n"], inside: Bool[Array, "b n"]) -> Figures:
    return jax.lax.map(lambda one: jax.vmap(_area)(one, inside), flat)


def _area(values: Float[Array, " n"], inside: Bool[Array, " n"]) -> Float[Array, ""]:
    size = len(values)
    values, positive = jax.lax.sort_key_val(values, inside)
    # Where the run of equal values begins and ends in which each pixel is.
    place, new = jnp.arange(size), values[1:] != values[:-1]
    first = jax.lax.cummax(jnp.where(jnp.insert(new, 0, True), place, 0))
    end = jax.lax.cummin(jnp.where(jnp.append(new, True), place + 1, size), reverse=True)
    # How many pixels outside are lower, and how many are not higher.
    outside = jnp.insert(jnp.cumsum(~positive), 0, 0)
    beaten = (outside[first] + outside[end]).astype(values.dtype) / 2
    # Divided before they are summed, since the pairs of pixels are too many for float32 to count.
    area = jnp.where(positive, beaten / outside[-1].astype(values.dtype), 0).sum() / positive.sum(dtype=values.dtype)
    known = positive.any() & (outside[-1] > 0) & ~jnp.isnan(values).any()
    return jnp.where(known, area, jnp.nan)
