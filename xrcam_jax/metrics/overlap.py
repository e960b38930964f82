"""How well a saliency map covers what a person outlined; pure functions of batches.

References:
  you2024: You et al., XRelevanceCAM, IJCARS 2024; the thesis's section 5.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def salient(maps: Float[Array, "*b h w"]) -> Bool[Array, "*b h w"]:
    """The pixels above mean + standard deviation of their map (the thesis's eq. 5.1, population deviation)."""
    mean = jnp.mean(maps, axis=(-2, -1), keepdims=True)
    return maps > mean + jnp.std(maps, axis=(-2, -1), keepdims=True)


def overlap(found: Bool[Array, "*b h w"], truth: Bool[Array, "*b h w"]) -> tuple[Int[Array, "*b"], Int[Array, "*b"]]:
    """Numbers of pixels in both masks and in either, for each picture."""
    return (found & truth).sum((-2, -1)), (found | truth).sum((-2, -1))


def pooled_iou(found: Bool[Array, "*b h w"], truth: Bool[Array, "*b h w"]) -> Float[Array, ""]:
    """Sum of intersections / sum of unions over all pictures, in [0, 1]; 0 where both masks are empty.

    So a large structure counts more than a small one, as in the thesis's tables.
    """
    both, either = overlap(found, truth)
    return both.sum() / jnp.maximum(either.sum(), 1)
