"""From weighted activations to saliency maps of the picture's size; pure functions of batches."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# A GPU's fast products would cost sums their digits.
_EXACT = jax.lax.Precision.HIGHEST


def over_space(a: Float[Array, "b h w k"]) -> Float[Array, "b 1 1 k"]:
    """sum_hw A, as a product with ones: XLA's CPU backend takes four to eight times as long for the reduction."""
    b, h, w, k = a.shape
    sums = jnp.einsum("bp,bpk->bk", jnp.ones((b, h * w), a.dtype), a.reshape(b, h * w, k), precision=_EXACT)
    return sums[:, None, None]


def weighted_sum(a: Float[Array, "b h w k"], weights: Float[Array, "b #h #w k"]) -> Float[Array, "b h w"]:
    """sum_k weight · A_k, of either sign."""
    if weights.shape[1:3] == (1, 1):
        return jnp.einsum("bhwk,bk->bhw", a, weights[:, 0, 0], precision=_EXACT)
    return jnp.sum(a * weights, axis=-1)


def min_max(maps: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Each map scaled to [0, 1]; a constant one gives zeros."""
    low = jnp.min(maps, axis=(-2, -1), keepdims=True)
    spread = jnp.max(maps, axis=(-2, -1), keepdims=True) - low
    # Compiled, the least value may come out an ulp below what is taken for it.
    return jnp.clip(jnp.where(spread > 0, (maps - low) / jnp.where(spread > 0, spread, 1), 0), 0, 1)


def upsample(maps: Float[Array, "*b p q"], size: tuple[int, int]) -> Float[Array, "*b h w"]:
    """Bilinear with half-pixel centres, as ``cv2.resize``; ``size`` is (height, width)."""
    return jax.image.resize(maps, (*maps.shape[:-2], *size), "bilinear")


def upsampled(raw: Float[Array, "*b p q"], size: tuple[int, int], *, relu: bool = True) -> Float[Array, "*b h w"]:
    """A layer's weighted sum, scaled to [0, 1] and brought to the picture's ``size`` (height, width).

    With ``relu`` evidence against the target is cut off before scaling.
    """
    return upsample(min_max(jax.nn.relu(raw) if relu else raw), size)


def saliency(raw: Float[Array, "*b p q"], size: tuple[int, int], *, relu: bool = True) -> Float[Array, "*b h w"]:
    """A layer's saliency map: :func:`upsampled`, scaled again; all zero where there is nothing to show."""
    return min_max(upsampled(raw, size, relu=relu))


def aggregate(
    raws: Sequence[Float[Array, "*b _p _q"]], size: tuple[int, int], *, relu: bool = True
) -> Float[Array, "*b h w"]:
    """Mean over layers of their :func:`upsampled` maps, scaled to [0, 1] (the thesis's section 4.4)."""
    return min_max(jnp.mean(jnp.stack([upsampled(raw, size, relu=relu) for raw in raws]), axis=0))
