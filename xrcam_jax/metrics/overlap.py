"""How well a saliency map covers what a person outlined; pure functions of batches.

References:
  you2024: You et al., XRelevanceCAM, IJCARS 2024; the thesis's section 5.
  dice1945: Dice, Measures of the amount of ecologic association between species, Ecology 1945.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num


def salient(maps: Float[Array | np.ndarray, "*b h w"]) -> Bool[Array, "*b h w"]:
    """The pixels above mean + standard deviation of their map (the thesis's eq. 5.1, population deviation)."""
    maps = jnp.asarray(maps)
    mean = jnp.mean(maps, axis=(-2, -1), keepdims=True)
    return maps > mean + jnp.std(maps, axis=(-2, -1), keepdims=True)


class Overlap(NamedTuple):
    """Numbers of pixels; summed over pictures they give pooled figures, in which large structures count for more.

    Attributes:
      both: in both masks.
      found: in the salient one.
      truth: in the one that a person drew.
    """

    both: Int[Array, "*b"]
    found: Int[Array, "*b"]
    truth: Int[Array, "*b"]


def overlap(found: Bool[Array | np.ndarray, "*#b h w"], truth: Bool[Array | np.ndarray, "*#b h w"]) -> Overlap:
    """Counts for each picture; the masks broadcast against each other."""
    found, truth = jnp.broadcast_arrays(found, truth)
    return Overlap((found & truth).sum((-2, -1)), found.sum((-2, -1)), truth.sum((-2, -1)))


def iou(counts: Overlap) -> Float[Array, "*b"]:
    """|both| / |either| in [0, 1]; 0 where both masks are empty."""
    return _ratio(counts.both, counts.found + counts.truth - counts.both)


def dice(counts: Overlap) -> Float[Array, "*b"]:
    """2 |both| / (|found| + |truth|) in [0, 1] (dice1945); 0 where both masks are empty."""
    return 2 * iou_eq_2_22(counts)


def iou_eq_2_22(counts: Overlap) -> Float[Array, "*b"]:
    """|both| / (|found| + |truth|) in [0, 0.5], as the thesis's eq. 2.22 prints it: half of :func:`dice`."""
    return _ratio(counts.both, counts.found + counts.truth)


def pooled(counts: Overlap) -> Overlap:
    """The sums over all pictures: ``iou(pooled(counts))`` is the figure of the thesis's tables."""
    return Overlap(*(part.sum() for part in counts))


def _ratio(part: Num[Array, "*b"], whole: Num[Array, "*b"]) -> Float[Array, "*b"]:
    return part / jnp.maximum(whole, 1)


def centred_discs(masks: Bool[np.ndarray, "b h w"]) -> Bool[Array, "b h w"]:
    """For each mask a disc of the same area in the middle of the picture."""
    height, width = masks.shape[1:]
    rows, across = np.ogrid[:height, :width]
    distance = (rows - (height - 1) / 2) ** 2 + (across - (width - 1) / 2) ** 2
    return jnp.asarray(distance <= masks.sum((1, 2), keepdims=True) / np.pi)
