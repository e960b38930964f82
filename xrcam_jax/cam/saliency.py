"""From weighted activations to saliency maps of the picture's size; pure functions of batches.

Space is (h, w) for images, (w,) for signals and (d, h, w) for volumes: the axes between the batch and the channels.
Its places are what a map has a value for.
"""

from collections.abc import Sequence
from math import inf, prod
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xrcam_jax.errors import unknown

# A GPU's fast products would cost sums their digits.
_EXACT = jax.lax.Precision.HIGHEST

#: How many places there are along each axis of space: (height, width) for images.
Size = tuple[int, ...]
#: How the maps of several layers become one, see :func:`fused`.
Aggregation = Literal["mean", "maximum", "weighted", "product"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
#: What the map of several layers is called beside theirs.
AGGREGATE = "aggregate"


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


def aggregate(
    raws: Sequence[Float[Array, "*_small"]],
    size: Size,
    *,
    relu: bool = True,
    how: Aggregation = "mean",
    weights: Sequence[float] | None = None,
) -> Float[Array, "*large"]:
    """Returns one map of several layers: their :func:`upsampled` maps, fused and scaled to [0, 1].

    Args:
      raws: weighted sums of activations (*b, *layer), of one layer each.
      size: of the picture, and of the maps (*b, *size).
      relu: whether evidence against the target is cut off before scaling.
      how: see :func:`fused`.
      weights: of ``"weighted"``, one for each layer; by default :func:`stride` of each, so that deep layers count more.

    Raises:
      ValueError: ``how`` is unknown, or the weights do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import aggregate
      >>> raws = [jnp.array([[[0.0, 1.0, 2.0]]]), jnp.array([[[0.0, 4.0, 2.0]]])]
      >>> aggregate(raws, (1, 3)).tolist()
      [[[0.0, 1.0, 1.0]]]
      >>> [round(float(v), 3) for v in aggregate(raws, (1, 3), how="weighted", weights=(3, 1)).ravel()]
      [0.0, 0.714, 1.0]

    References:
      you2024, jiang2021, domeniconi2026
    """
    if how == "weighted" and weights is None:
        weights = [stride(raw, size) for raw in raws]
    return fused([upsampled(raw, size, relu=relu) for raw in raws], how, weights, len(size))


def fused(
    maps: Sequence[Float[Array, "*maps"]],
    how: Aggregation = "mean",
    weights: Sequence[float] | None = None,
    dimensions: int = 2,
) -> Float[Array, "*maps"]:
    """Returns the maps M_l of n layers as one, scaled to [0, 1].

    - ``"mean"``: sum_l M_l / n (the thesis's section 4.4).
    - ``"maximum"``: max_l tanh(2 M_l / max_p M_l), at each place; tanh lifts what is moderate (jiang2021).
    - ``"weighted"``: sum_l w_l M_l / sum_l w_l.
    - ``"product"``: (prod_l M_l)^(1/n), the geometric mean, which shows what all layers show (domeniconi2026).

    Args:
      maps: in [0, 1] and of one size, one or more.
      how: one of these.
      weights: w of ``"weighted"``, 0 or more, not all 0; None for all else.
      dimensions: how many axes space has: 2 for images.

    Raises:
      ValueError: ``how`` is unknown, or the weights do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import fused
      >>> maps = [jnp.array([[0.0, 0.5, 1.0]]), jnp.array([[0.0, 0.125, 1.0]])]
      >>> [round(float(fused(maps, how)[0, 1]), 3) for how in ("mean", "maximum", "product")]
      [0.312, 0.79, 0.25]

    References:
      you2024, jiang2021, domeniconi2026
    """
    _check_weights(how, weights, len(maps))
    layers = jnp.stack(maps)
    if how == "mean":
        together = jnp.mean(layers, axis=0)
    elif how == "maximum":
        largest = jnp.max(layers, axis=tuple(range(-dimensions, 0)), keepdims=True)
        together = jnp.max(jnp.tanh(2 * layers / jnp.where(largest > 0, largest, 1)), axis=0)
    elif how == "weighted":
        assert weights is not None
        # In float64, where the sum of weights can neither vanish nor overflow once the largest is 1.
        w = np.asarray(weights, np.float64) / max(weights)
        together = jnp.tensordot(jnp.asarray(w / w.sum(), layers.dtype), layers, axes=1, precision=_EXACT)
    else:
        together = jnp.exp(jnp.mean(jnp.log(layers), axis=0))
    return min_max(together, dimensions)


def stride(raw: Float[Array, "*small"], size: Size) -> float:
    """Returns how many pixels of the picture one place of a layer stands for along an axis: the deeper, the more.

    Args:
      raw: something of the layer's size, (*b, *layer).
      size: of the picture.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.saliency import stride
      >>> stride(jnp.ones((2, 7, 7)), (224, 224))
      32.0
    """
    return (prod(size) / prod(raw.shape[-len(size) :])) ** (1 / len(size))


def _check_weights(how: str, weights: Sequence[float] | None, count: int) -> None:
    if how not in AGGREGATIONS:
        raise unknown("aggregation", str(how), AGGREGATIONS)
    if (weights is not None) != (how == "weighted"):
        raise ValueError(f"weights are for how='weighted' and needed there; got {weights!r} for how={how!r}")
    if weights is None:
        return
    if len(weights) != count or not all(0 <= w < inf for w in weights) or not any(weights):
        raise ValueError(f"weights must be {count} numbers of 0 or more, not all 0; got {tuple(weights)}")
