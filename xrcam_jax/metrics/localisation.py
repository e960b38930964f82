"""Whether a saliency map points at what a person outlined; pure functions of batches.

References:
  zhou2016: Zhou et al., Learning deep features for discriminative localization, CVPR 2016.
  zhang2018: Zhang et al., Top-down neural attention by excitation backprop, IJCV 2018.
"""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

Boxes = Int[Array, "*b 4"]
Masks = Bool[Array | np.ndarray, "*b h w"]


def largest_part(masks: Bool[np.ndarray, "*b h w"]) -> Bool[np.ndarray, "*b h w"]:
    """The largest connected part of each mask, corners connecting too; of equally large ones the lower, then the right.

    OpenCV finds it on the host: in XLA it would take a hundred times as long. Not for compiled functions: a callback
    from one may wait for ever for the threads that wait for it (jax issues 24255 and 25861).
    """
    parts = np.zeros(masks.shape, bool)
    for place in np.ndindex(masks.shape[:-2]):
        parts[place] = _largest_part(masks[place])
    return parts


def _largest_part(mask: np.ndarray) -> np.ndarray:
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 1:
        return np.zeros_like(mask)
    left, top, width, height, area = boxes[1:].T
    return labels == 1 + np.lexsort((left + width, top + height, area))[-1]


def bounding_box(masks: Masks) -> Boxes:
    """Top, left, bottom, right (the ends excluded) of the pixels of each mask; four zeros for an empty one."""

    def ends(along: Bool[Array, "*b n"]) -> tuple[Array, Array]:
        return jnp.argmax(along, -1), along.shape[-1] - jnp.argmax(along[..., ::-1], -1)

    masks = jnp.asarray(masks)
    (top, bottom), (left, right) = ends(masks.any(-1)), ends(masks.any(-2))
    boxes = jnp.stack([top, left, bottom, right], axis=-1)
    return jnp.where(masks.any((-2, -1))[..., None], boxes, 0)


def box_iou(a: Int[Array, "*#b 4"], b: Int[Array, "*#b 4"]) -> Float[Array, "*b"]:
    """Area of intersection over area of union, in [0, 1]; 0 where a box is empty. The arguments broadcast."""
    sides = jnp.minimum(a[..., 2:], b[..., 2:]) - jnp.maximum(a[..., :2], b[..., :2])
    both = jnp.prod(jnp.maximum(sides, 0), axis=-1)
    areas = [jnp.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (a, b)]
    return both / jnp.maximum(areas[0] + areas[1] - both, 1)


def localised(found: Bool[ArrayLike, "*p b h w"], boxes: Int[ArrayLike, "b n 4"]) -> Float[Array, "*p b"]:
    """IoU of the box around the largest part of ``found`` with the annotated box that fits best (zhou2016).

    It looks at ``found`` on the host, once for all (see :func:`largest_part`).

    Args:
      found: the salient pixels.
      boxes: around what a person outlined; rows of zeros where a picture has fewer than n.
    """
    return _best_fit(largest_part(np.asarray(found)), jnp.asarray(boxes))


@jax.jit
def _best_fit(parts: Bool[Array, "*p b h w"], boxes: Int[Array, "b n 4"]) -> Float[Array, "*p b"]:
    return jnp.max(box_iou(bounding_box(parts)[..., None, :], boxes), axis=-1, initial=0)


def points_at(
    maps: Float[Array | np.ndarray, "*#b h w"], truth: Bool[Array | np.ndarray, "*#b h w"]
) -> Bool[Array, "*b"]:
    """The pointing game (zhang2018): whether the map is largest in the outline. A constant map points nowhere.

    Of several equal maxima the first counts, row by row.
    """
    maps, truth = jnp.broadcast_arrays(maps, truth)
    flat = maps.reshape(*maps.shape[:-2], -1)
    at = jnp.take_along_axis(truth.reshape(flat.shape), jnp.argmax(flat, -1, keepdims=True), -1)[..., 0]
    return at & (flat.max(-1) > flat.min(-1))
