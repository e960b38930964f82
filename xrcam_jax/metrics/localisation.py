"""Whether a saliency map points at what a person outlined; pure functions of batches.

References:
  zhou2016, zhang2018
"""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from xrcam_jax.metrics import judged
from xrcam_jax.metrics.outlined import rows, where_outlined

Boxes = Int[Array, "*b 4"]
Masks = Bool[Array | np.ndarray, "*b h w"]


def largest_part(masks: Bool[np.ndarray, "*b h w"]) -> Bool[np.ndarray, "*b h w"]:
    """Returns the largest connected part of each mask.

    OpenCV finds it on the host: XLA would take a hundred times as long. So this is no function to compile: a callback
    from a compiled one may wait for ever for the threads that wait for it (issues 24255 and 25861 of JAX).

    Args:
      masks: the masks, whose pixels connect by their corners too.

    Returns:
      Masks of one part, or empty ones. Of equally large parts the lower one counts, then the one to the right.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.localisation import largest_part
      >>> largest_part(np.array([[True, False, True, True]])).tolist()
      [[False, False, True, True]]
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
    """Returns the least box that holds all pixels of each mask.

    Args:
      masks: the masks.

    Returns:
      Top, left, bottom and right in pixels, the ends excluded; four zeros for an empty mask.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.localisation import bounding_box
      >>> bounding_box(jnp.array([[False, False, False], [False, True, True]])).tolist()
      [1, 1, 2, 3]
    """

    def ends(along: Bool[Array, "*b n"]) -> tuple[Array, Array]:
        return jnp.argmax(along, -1), along.shape[-1] - jnp.argmax(along[..., ::-1], -1)

    masks = jnp.asarray(masks)
    (top, bottom), (left, right) = ends(masks.any(-1)), ends(masks.any(-2))
    boxes = jnp.stack([top, left, bottom, right], axis=-1)
    return jnp.where(masks.any((-2, -1))[..., None], boxes, 0)


def box_iou(a: Int[Array, "*#b 4"], b: Int[Array, "*#b 4"]) -> Float[Array, "*b"]:
    """Returns the area of two boxes' intersection over that of their union.

    Args:
      a: top, left, bottom and right in pixels, the ends excluded.
      b: likewise. The arguments broadcast.

    Returns:
      IoU in [0, 1]; 0 where a box is empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.localisation import box_iou
      >>> box_iou(jnp.array([0, 0, 2, 2]), jnp.array([[0, 0, 2, 2], [0, 1, 2, 4], [0, 0, 0, 0]])).tolist()
      [1.0, 0.25, 0.0]
    """
    sides = jnp.minimum(a[..., 2:], b[..., 2:]) - jnp.maximum(a[..., :2], b[..., :2])
    both = jnp.prod(jnp.maximum(sides, 0), axis=-1)
    areas = [jnp.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (a, b)]
    return both / jnp.maximum(areas[0] + areas[1] - both, 1)


def localised(found: Bool[ArrayLike, "*p b h w"], boxes: Int[ArrayLike, "b n 4"]) -> Float[Array, "*p b"]:
    """Returns the IoU of the box around the largest salient part with the annotated box that fits it best (zhou2016).

    It looks at ``found`` on the host, once for all (see :func:`largest_part`).

    Args:
      found: the salient pixels.
      boxes: around what a person outlined; rows of zeros where a picture has fewer than n.

    Returns:
      IoU in [0, 1].

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.localisation import localised
      >>> found = np.zeros((1, 4, 4), bool)
      >>> found[0, :2, :2] = found[0, 3, 3] = True
      >>> localised(found, np.array([[[0, 0, 2, 4], [0, 0, 0, 0]]])).tolist()
      [0.5]

    References:
      zhou2016
    """
    return _best_fit(largest_part(np.asarray(found)), jnp.asarray(boxes))


@jax.jit
def _best_fit(parts: Masks, boxes: Int[Array, "_ n 4"]) -> Float[Array, "*b"]:
    return jnp.max(box_iou(bounding_box(parts)[..., None, :], boxes), axis=-1, initial=0)


def points_at(
    maps: Float[Array | np.ndarray, "*#b h w"], truth: Bool[Array | np.ndarray, "*#b h w"]
) -> Bool[Array, "*b"]:
    """Plays the pointing game: tells whether a map is largest within the outline (zhang2018).

    Args:
      maps: saliency maps, of any range. Of several equal maxima the first counts, row by row.
      truth: what a person outlined. The arguments broadcast.

    Returns:
      True where the map points into the outline. A constant map points nowhere.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.localisation import points_at
      >>> outline = jnp.array([[True, False]])
      >>> points_at(jnp.array([[[0.9, 0.1]], [[0.1, 0.9]], [[0.5, 0.5]]]), outline).tolist()
      [True, False, False]

    References:
      zhang2018
    """
    maps, truth = jnp.broadcast_arrays(maps, truth)
    flat = maps.reshape(*maps.shape[:-2], -1)
    at = jnp.take_along_axis(truth.reshape(flat.shape), jnp.argmax(flat, -1, keepdims=True), -1)[..., 0]
    return at & (flat.max(-1) > flat.min(-1))


def pointing_game(maps: judged.Maps, masks: judged.Masks) -> judged.Figures:
    """Plays :func:`points_at` with m maps of each picture; the mean over pictures is the accuracy (zhang2018).

    Args:
      maps: of any range. Of several equal maxima the first counts, row by row; for Quantus any of them does.
      masks: what a person outlined, one for each picture. The paper widens them by 15 pixels, which is left to the
        caller.

    Returns:
      1 where a map points into the outline and 0 where it does not, as a constant map; NaN where the mask is empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.localisation import pointing_game
      >>> maps, masks = jnp.array([[[0.9, 0.1], [0.1, 0.9]]]), jnp.array([[True, False], [True, False]])
      >>> pointing_game(maps, masks).tolist()
      [[1.0, 0.0]]

    Raises:
      ValueError: the shapes do not fit together.

    References:
      zhang2018
    """
    flat, inside = rows(maps, masks)
    return where_outlined(points_at(flat[:, :, None], inside[:, None]).astype(flat.dtype), inside)
