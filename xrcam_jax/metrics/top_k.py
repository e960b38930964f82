"""How many of a map's highest pixels lie within an outline.

References:
  theiner2022
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from xrcam_jax.metrics.judged import Figures, Maps, Masks
from xrcam_jax.metrics.outlined import rows, where_outlined
from xrcam_jax.runtime.compiling import compiled


def share_of_highest(
    maps: Float[Array, "*b n"], inside: Bool[Array, "*b n"], count: Int[Array, "*b 1"]
) -> Float[Array, "*b"]:
    """Returns how many of the highest pixels lie within, as a share of them.

    Pixels that tie for the last of the ranks count by their mean over all orders in which they could be sorted: of m
    that tie, m' of them within, each of the k ranks that are left to them gets m' / m.

    Args:
      maps: of any range; pixels along the last axis.
      inside: which pixels are within.
      count: how many are the highest, at most n.

    Returns:
      The share in [0, 1]; 0 of none, NaN where a map has NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.top_k import share_of_highest
      >>> maps, inside = jnp.array([3.0, 1.0, 1.0, 0.0]), jnp.array([False, True, False, False])
      >>> float(share_of_highest(maps, inside, jnp.array([2])))
      0.25
    """

    def number(pixels: Array) -> Array:
        return pixels.sum(-1, dtype=maps.dtype)

    last = jnp.take_along_axis(jnp.sort(maps, descending=True), jnp.maximum(count - 1, 0), -1)
    above, ties, wanted = maps > last, maps == last, count[..., 0].astype(maps.dtype)
    left = wanted - number(above)
    share = (number(above & inside) + left * number(ties & inside) / number(ties)) / jnp.maximum(wanted, 1)
    return jnp.where(jnp.isnan(maps).any(-1), jnp.nan, jnp.where(wanted > 0, share, 0))


def top_k_intersection(maps: Maps, masks: Masks, *, k: int = 1000, concept_influence: bool = False) -> Figures:
    """Returns how many of a map's k highest pixels lie within the outline, as a share of k (theiner2022).

    The concept influence is that share by what chance would give, (|top-k ∩ G| / k) / (|G| / n) with G the outline and
    n the number of pixels: above 1 where the map prefers the outline.

    Args:
      maps: of any range. Pixels that tie for the last ranks count by their mean over all orders, so that none is
        preferred for its place, as some are by Quantus.
      masks: G.
      k: how many pixels count.
      concept_influence: whether to divide by the outline's share of the picture.

    Returns:
      The share in [0, 1], or the concept influence from 0; NaN where the mask is empty or a map has NaN.

    Raises:
      ValueError: k is not one of the numbers of pixels, or the shapes do not fit together.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.top_k import top_k_intersection
      >>> maps, masks = jnp.array([[[4.0, 3.0, 2.0, 1.0]]]), jnp.array([[True, False, False, False]])
      >>> [float(top_k_intersection(maps, masks, k=2, concept_influence=c)[0, 0]) for c in (False, True)]
      [0.5, 2.0]

    References:
      theiner2022
    """
    flat, inside = rows(maps, masks)
    if not 1 <= k <= flat.shape[-1]:
        raise ValueError(f"k must be from 1 to the number of pixels, {flat.shape[-1]}; got {k}, give another k=")
    return _top_k(flat, inside, k=k, concept_influence=concept_influence)


@compiled(static=("k", "concept_influence"))
def _top_k(flat: Float[Array, "m b n"], inside: Bool[Array, "b n"], *, k: int, concept_influence: bool) -> Figures:
    count = jnp.full((len(inside), 1), k, jnp.int32)
    share = jax.lax.map(lambda one: share_of_highest(one, inside, count), flat)
    if concept_influence:
        share = share / inside.mean(-1, dtype=flat.dtype)
    return where_outlined(share, inside)
