"""From weighted activations to saliency maps of the picture's size; pure functions of batches."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# A GPU's fast products would cost sums their digits.
_EXACT = jax.lax.Precision.HIGHEST


def over_space(a: Float[Array, "b h w k"]) -> Float[Array, "b 1 1 k"]:
    """Returns sum_hw A.

    Args:
      a: A, a layer's activation or what arrives there.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import over_space
      >>> over_space(jnp.arange(8.0).reshape(1, 2, 2, 2)).ravel().tolist()
      [12.0, 16.0]
    """
    # As a product with ones, since XLA's CPU backend takes four to eight times as long for the reduction.
    b, h, w, k = a.shape
    sums = jnp.einsum("bp,bpk->bk", jnp.ones((b, h * w), a.dtype), a.reshape(b, h * w, k), precision=_EXACT)
    return sums[:, None, None]


def weighted_sum(a: Float[Array, "b h w k"], weights: Float[Array, "b #h #w k"]) -> Float[Array, "b h w"]:
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
    if weights.shape[1:3] == (1, 1):
        return jnp.einsum("bhwk,bk->bhw", a, weights[:, 0, 0], precision=_EXACT)
    return jnp.sum(a * weights, axis=-1)


def min_max(maps: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Returns each map scaled to [0, 1].

    Args:
      maps: of any range.

    Returns:
      Zeros where a map is constant.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import min_max
      >>> min_max(jnp.array([[[-1.0, 0.0, 1.0]], [[7.0, 7.0, 7.0]]])).tolist()
      [[[0.0, 0.5, 1.0]], [[0.0, 0.0, 0.0]]]
    """
    low = jnp.min(maps, axis=(-2, -1), keepdims=True)
    spread = jnp.max(maps, axis=(-2, -1), keepdims=True) - low
    # In compiled code the smallest value may differ by one ulp from what was taken for the minimum.
    return jnp.clip(jnp.where(spread > 0, (maps - low) / jnp.where(spread > 0, spread, 1), 0), 0, 1)


def upsample(maps: Float[Array, "*b p q"], size: tuple[int, int]) -> Float[Array, "*b h w"]:
    """Returns maps enlarged by bilinear interpolation with half-pixel centres, as ``cv2.resize`` does.

    Args:
      maps: of any range.
      size: (height, width).

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import upsample
      >>> upsample(jnp.array([[[0.0, 1.0]]]), (1, 4)).tolist()
      [[[0.0, 0.25, 0.75, 1.0]]]
    """
    return jax.image.resize(maps, (*maps.shape[:-2], *size), "bilinear")


def upsampled(raw: Float[Array, "*b p q"], size: tuple[int, int], *, relu: bool = True) -> Float[Array, "*b h w"]:
    """Returns a layer's weighted sum scaled to [0, 1], and then enlarged to the picture's size.

    Args:
      raw: weighted sum of activations, of either sign.
      size: (height, width) of the picture.
      relu: whether evidence against the target is cut off before scaling.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import upsampled
      >>> upsampled(jnp.array([[[-5.0, 8.0]]]), (1, 4)).tolist()
      [[[0.0, 0.25, 0.75, 1.0]]]
    """
    return upsample(min_max(jax.nn.relu(raw) if relu else raw), size)


def saliency(raw: Float[Array, "*b p q"], size: tuple[int, int], *, relu: bool = True) -> Float[Array, "*b h w"]:
    """Returns a layer's saliency map: :func:`upsampled`, and scaled once more.

    Args:
      raw: weighted sum of activations, of either sign.
      size: (height, width) of the picture.
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
    return min_max(upsampled(raw, size, relu=relu))


def aggregate(
    raws: Sequence[Float[Array, "*b _p _q"]], size: tuple[int, int], *, relu: bool = True
) -> Float[Array, "*b h w"]:
    """Returns the mean over layers of their :func:`upsampled` maps, scaled to [0, 1] (the thesis's section 4.4).

    Args:
      raws: weighted sums of activations, of one layer each.
      size: (height, width) of the picture.
      relu: whether evidence against the target is cut off before scaling.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import aggregate
      >>> aggregate([jnp.array([[[0.0, 1.0, 2.0]]]), jnp.array([[[0.0, 4.0, 2.0]]])], (1, 3)).tolist()
      [[[0.0, 1.0, 1.0]]]
    """
    return min_max(jnp.mean(jnp.stack([upsampled(raw, size, relu=relu) for raw in raws]), axis=0))
