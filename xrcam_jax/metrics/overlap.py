"""How well a saliency map covers what a person outlined; pure functions of batches.

Equations 5.1 and 2.22 are those of the XRelevance-CAM thesis.

References:
  you2024, dice1945
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Num

from xrcam_jax.metrics import judged


def salient(maps: Float[Array | np.ndarray, "*b h w"]) -> Bool[Array, "*b h w"]:
    """Returns the pixels above mean + standard deviation of their map (the thesis's eq. 5.1).

    Args:
      maps: saliency maps, of any range.

    Returns:
      The mask of each map. The standard deviation is that of the population.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.overlap import salient
      >>> salient(jnp.array([[0.0, 0.0], [0.0, 1.0]])).tolist()
      [[False, False], [False, True]]

    References:
      you2024
    """
    maps = jnp.asarray(maps)
    mean = jnp.mean(maps, axis=(-2, -1), keepdims=True)
    return maps > mean + jnp.std(maps, axis=(-2, -1), keepdims=True)


def salient_pixels(maps: judged.Maps) -> Bool[Array, "m b *space"]:
    """Returns :func:`salient` of m maps of each picture, signal or volume.

    Args:
      maps: of any range.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.overlap import salient_pixels
      >>> salient_pixels(jnp.array([[[0.0, 0.0, 1.0], [9.0, 0.0, 0.0]]])).tolist()
      [[[False, False, True], [True, False, False]]]

    References:
      you2024
    """
    return salient(maps.reshape(*maps.shape[:2], 1, -1)).reshape(maps.shape)


class Overlap(NamedTuple):
    """Holds numbers of pixels; summed over pictures they give pooled figures, in which large structures count for more.

    Attributes:
      both: in both masks.
      found: in the salient one.
      truth: in the one that a person drew.
    """

    both: Num[Array, "*b"]
    found: Num[Array, "*b"]
    truth: Num[Array, "*b"]


def overlap(found: Bool[Array | np.ndarray, "*#b h w"], truth: Bool[Array | np.ndarray, "*#b h w"]) -> Overlap:
    """Counts the pixels of two masks and those that they share, picture by picture.

    Args:
      found: the salient pixels.
      truth: what a person outlined. The masks broadcast against each other.

    Returns:
      The counts of each picture.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.overlap import overlap
      >>> counts = overlap(jnp.array([[[True, True, False]]]), jnp.array([[[False, True, False]]]))
      >>> [count.tolist() for count in counts]
      [[1], [2], [1]]
    """
    found, truth = jnp.broadcast_arrays(found, truth)
    return Overlap((found & truth).sum((-2, -1)), found.sum((-2, -1)), truth.sum((-2, -1)))


def iou(counts: Overlap) -> Float[Array, "*b"]:
    """Returns intersection over union, |both| / |either|.

    Args:
      counts: see :func:`overlap`.

    Returns:
      IoU in [0, 1]; 0 where both masks are empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.overlap import Overlap, iou
      >>> iou(Overlap(jnp.array([1, 0]), jnp.array([2, 0]), jnp.array([3, 0]))).tolist()
      [0.25, 0.0]
    """
    return _ratio(counts.both, counts.found + counts.truth - counts.both)


def dice(counts: Overlap) -> Float[Array, "*b"]:
    """Returns Dice's coefficient, 2 |both| / (|found| + |truth|) (dice1945).

    Args:
      counts: see :func:`overlap`.

    Returns:
      The coefficient in [0, 1]; 0 where both masks are empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.overlap import Overlap, dice
      >>> dice(Overlap(jnp.array([1, 0]), jnp.array([1, 0]), jnp.array([3, 0]))).tolist()
      [0.5, 0.0]

    References:
      dice1945
    """
    return 2 * iou_eq_2_22(counts)


def iou_eq_2_22(counts: Overlap) -> Float[Array, "*b"]:
    """Returns |both| / (|found| + |truth|), which the thesis prints as IoU (eq. 2.22); it is half of :func:`dice`.

    Args:
      counts: see :func:`overlap`.

    Returns:
      The ratio in [0, 0.5]; 0 where both masks are empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.overlap import Overlap, iou_eq_2_22
      >>> iou_eq_2_22(Overlap(jnp.array([1, 0]), jnp.array([1, 0]), jnp.array([3, 0]))).tolist()
      [0.25, 0.0]

    References:
      you2024
    """
    return _ratio(counts.both, counts.found + counts.truth)


def precision(counts: Overlap) -> Float[Array, "*b"]:
    """Returns |both| / |found|, the share of the salient pixels that lie in what a person outlined.

    Args:
      counts: see :func:`overlap`.

    Returns:
      The share in [0, 1]; 0 where nothing is salient.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.overlap import Overlap, precision
      >>> precision(Overlap(jnp.array([1, 0]), jnp.array([4, 0]), jnp.array([2, 3]))).tolist()
      [0.25, 0.0]
    """
    return _ratio(counts.both, counts.found)


def recall(counts: Overlap) -> Float[Array, "*b"]:
    """Returns |both| / |truth|, the share of what a person outlined that is salient.

    Args:
      counts: see :func:`overlap`.

    Returns:
      The share in [0, 1]; 0 where nothing is outlined.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.overlap import Overlap, recall
      >>> recall(Overlap(jnp.array([1, 0]), jnp.array([4, 2]), jnp.array([2, 0]))).tolist()
      [0.5, 0.0]
    """
    return _ratio(counts.both, counts.truth)


def false_positive_rate(counts: Overlap, pixels: Int[Array, "*#b"] | int) -> Float[Array, "*b"]:
    """Returns (|found| - |both|) / (pixels - |truth|), the share of what is not outlined that is salient all the same.

    Args:
      counts: see :func:`overlap`.
      pixels: how many there are in all, of one picture or, of pooled counts, of all pictures.

    Returns:
      The share in [0, 1]; 0 where everything is outlined.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.overlap import Overlap, false_positive_rate
      >>> false_positive_rate(Overlap(jnp.array([1, 2]), jnp.array([3, 2]), jnp.array([2, 10])), 10).tolist()
      [0.25, 0.0]
    """
    return _ratio(counts.found - counts.both, pixels - counts.truth)


def pooled(counts: Overlap) -> Overlap:
    """Sums counts over all pictures: ``iou(pooled(counts))`` is the figure of the thesis's tables.

    Args:
      counts: see :func:`overlap`.

    Returns:
      The sums, each of shape (), rounded to float32: 65,536 pictures of 256 x 256 have more pixels than int32 has.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.overlap import Overlap, iou, pooled
      >>> float(iou(pooled(Overlap(jnp.array([1, 0]), jnp.array([1, 1]), jnp.array([2, 1])))))
      0.25
    """

    def total(part: ArrayLike) -> Array:
        # Eleven bits of each number at a time: of a million pictures int32 holds their sum.
        sums = {bits: ((jnp.asarray(part) >> bits) & 2047).sum() for bits in (22, 11, 0)}
        return sum((2.0**bits * each.astype(jnp.float32) for bits, each in sums.items()), jnp.float32(0))

    return Overlap(*map(total, counts))


def centred_discs(masks: Bool[np.ndarray, "b h w"]) -> Bool[Array, "b h w"]:
    """Returns for each mask a disc of the same area in the middle of the picture, as a guess that sees no picture.

    Args:
      masks: what a person outlined.

    Returns:
      The discs; their areas are those of the masks as nearly as whole pixels allow.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.overlap import centred_discs
      >>> corner = np.zeros((1, 5, 5), bool)
      >>> corner[:, :2, :2] = True
      >>> centred_discs(corner)[0].astype(int).tolist()
      [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    """
    height, width = masks.shape[1:]
    rows, across = np.ogrid[:height, :width]
    distance = (rows - (height - 1) / 2) ** 2 + (across - (width - 1) / 2) ** 2
    return jnp.asarray(distance <= masks.sum((1, 2), keepdims=True) / np.pi)


def _ratio(part: Num[Array, "*b"], whole: Num[Array, "*b"]) -> Float[Array, "*b"]:
    return part / jnp.maximum(whole, 1)
