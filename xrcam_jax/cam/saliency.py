"""From weighted activations to saliency maps of the picture's size; pure functions of batches.

Space is (h, w) for images, (w,) for signals and (d, h, w) for volumes: the axes between the batch and the channels.
Its places are what a map has a value for.
"""

from collections.abc import Sequence
from math import prod

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# A GPU's fast products would cost sums their digits.
_EXACT = jax.lax.Precision.HIGHEST

#: How many places there are along each axis of space: (height, width) for images.
Size = tuple[int, ...]


def places(a: Float[Array, "b *space k"]) -> int:
    """Returns how many places a layer has: height times width for images.

    Args:
      a: A, a layer's activation or what arrives there.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import places
      >>> places(jnp.ones((1, 2, 5, 3)))
      10
    """
    return prod(a.shape[1:-1])


def over_space(a: Float[Array, "b *space k"]) -> Float[Array, "b *one k"]:
    """Returns sum_p A, over the places p.

    Args:
      a: A, a layer's activation or what arrives there.

    Returns:
      The sums, with axes of length 1 in the place of space.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import over_space
      >>> over_space(jnp.arange(8.0).reshape(1, 2, 2, 2)).ravel().tolist()
      [12.0, 16.0]
    """
    # As a product with ones, since XLA's CPU backend takes four to eight times as long for the reduction.
    rows = a.reshape(len(a), places(a), a.shape[-1])
    sums = jnp.einsum("bp,bpk->bk", jnp.ones(rows.shape[:2], a.dtype), rows, precision=_EXACT)
    return jnp.expand_dims(sums, range(1, a.ndim - 1))


def weighted_sum(a: Float[Array, "b *space k"], weights: Float[Array, "b *#space k"]) -> Float[Array, "b *space"]:
    """Returns sum_k weight · A_k, which may be of either sign.

    Args:
      a: A, the activation.
      weights: one for each channel, or for each channel and place.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import weighted_sum
      >>> a = jnp.arange(4.0).reshape(1, 1, 2, 2)
      >>> weighted_sum(a, jnp.array([10.0, -1.0]).reshape(1, 1, 1, 2)).tolist()
      [[[-1.0, 17.0]]]
    """
    if places(weights) == 1:
        per_channel = weights.reshape(len(weights), weights.shape[-1])
        return jnp.einsum("b...k,bk->b...", a, per_channel, precision=_EXACT)
    return jnp.sum(a * weights, axis=-1)


def min_max(maps: Float[Array, "*maps"], dimensions: int = 2) -> Float[Array, "*maps"]:
    """Returns each map scaled to [0, 1].

    Args:
      maps: (*b, *space), of any range.
      dimensions: how many axes space has: 2 for images.

    Returns:
      Zeros where a map is constant.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import min_max
      >>> min_max(jnp.array([[[-1.0, 0.0, 1.0]], [[7.0, 7.0, 7.0]]])).tolist()
      [[[0.0, 0.5, 1.0]], [[0.0, 0.0, 0.0]]]
    """
    space = tuple(range(-dimensions, 0))
    low = jnp.min(maps, axis=space, keepdims=True)
    spread = jnp.max(maps, axis=space, keepdims=True) - low
    # In compiled code the smallest value may differ by one ulp from what was taken for the minimum.
    return jnp.clip(jnp.where(spread > 0, (maps - low) / jnp.where(spread > 0, spread, 1), 0), 0, 1)


def upsample(maps: Float[Array, "*small"], size: Size) -> Float[Array, "*large"]:
    """Returns maps enlarged by linear interpolation along each axis, with half-pixel centres, as ``cv2.resize`` does.

    Args:
      maps: (*b, *layer), of any range.
      size: of the maps that are returned, (*b, *size).

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import upsample
      >>> upsample(jnp.array([[[0.0, 1.0]]]), (1, 4)).tolist()
      [[[0.0, 0.25, 0.75, 1.0]]]
    """
    return jax.image.resize(maps, (*maps.shape[: -len(size)], *size), "linear")


def upsampled(raw: Float[Array, "*small"], size: Size, *, relu: bool = True) -> Float[Array, "*large"]:
    """Returns a layer's weighted sum scaled to [0, 1], and then enlarged to the picture's size.

    Args:
      raw: weighted sum of activations (*b, *layer), of either sign.
      size: of the picture, and of the maps (*b, *size).
      relu: whether evidence against the target is cut off before scaling.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import upsampled
      >>> upsampled(jnp.array([[[-5.0, 8.0]]]), (1, 4)).tolist()
      [[[0.0, 0.25, 0.75, 1.0]]]
    """
    return upsample(min_max(jax.nn.relu(raw) if relu else raw, len(size)), size)


def saliency(raw: Float[Array, "*small"], size: Size, *, relu: bool = True) -> Float[Array, "*large"]:
    """Returns a layer's saliency map: :func:`upsampled`, and scaled once more.

    Args:
      raw: weighted sum of activations (*b, *layer), of either sign.
      size: of the picture, and of the maps (*b, *size).
      relu: whether evidence against the target is cut off before scaling.

    Returns:
      Maps in [0, 1], all zero where there is nothing to show.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import saliency
      >>> raw = jnp.array([[[-5.0, 8.0]], [[-5.0, -8.0]]])
      >>> saliency(raw, (1, 2)).tolist()
      [[[0.0, 1.0]], [[0.0, 0.0]]]
      >>> saliency(raw, (1, 2), relu=False).tolist()
      [[[0.0, 1.0]], [[1.0, 0.0]]]
    """
    return min_max(upsampled(raw, size, relu=relu), len(size))


def aggregate(raws: Sequence[Float[Array, "*_small"]], size: Size, *, relu: bool = True) -> Float[Array, "*large"]:
    """Returns the mean over layers of their :func:`upsampled` maps, scaled to [0, 1] (the thesis's section 4.4).

    Args:
      raws: weighted sums of activations (*b, *layer), of one layer each.
      size: of the picture, and of the maps (*b, *size).
      relu: whether evidence against the target is cut off before scaling.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import aggregate
      >>> aggregate([jnp.array([[[0.0, 1.0, 2.0]]]), jnp.array([[[0.0, 4.0, 2.0]]])], (1, 3)).tolist()
      [[[0.0, 1.0, 1.0]]]
    """
    return min_max(jnp.mean(jnp.stack([upsampled(raw, size, relu=relu) for raw in raws]), axis=0), len(size))
