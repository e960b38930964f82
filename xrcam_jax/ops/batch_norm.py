"""Batch normalisation by a batch's own statistics, for training.

Sums over all places of all images are written as sums of a few parts of each image, whose places are summed as
products with a vector of ones: XLA's CPU backend runs them up to twenty times faster than reductions over the same
axes, and products alone, which have to be given squares as an array, a third as fast.
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Vector = Float[Array, " c"]

# Parts of an image that are added up: more of them take longer to compile, and no less time to run.
_PARTS = 8


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise_batch(
    x: Float[Array, "b h w c"], scale: Vector, bias: Vector, eps: float
) -> tuple[Float[Array, "b h w c"], Vector, Vector]:
    """(x - m) / sqrt(v + ε) · scale + bias, and m and v: each channel's mean and (biased) variance over b, h, w.

    Derivatives flow through the first result only. Forward mode is not defined.

    Source: Ioffe and Szegedy, Batch normalization, ICML 2015, algorithm 1; the derivatives are theirs too.
    """
    return _forward(x, scale, bias, eps)[0]


def _forward(x: Array, scale: Array, bias: Array, eps: float) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
    mean = _channel_means(x)
    variance = jnp.maximum(0, _channel_means(x * x) - mean**2)
    inverse = lax.rsqrt(variance + eps)
    return ((x - mean) * (inverse * scale) + bias, mean, variance), (x, scale, mean, inverse)


def _backward(eps: float, residuals: tuple[Array, ...], cotangents: tuple[Array, Array, Array]) -> tuple[Array, ...]:
    x, scale, mean, inverse = residuals
    g, _, _ = cotangents
    count = x.size // x.shape[-1]
    mean_g = _channel_means(g)
    # mean of g · x̂, x̂ = (x - mean) · inverse
    mean_gx = (_channel_means(g * x) - mean_g * mean) * inverse
    g_x = (scale * inverse) * (g - mean_g - (x - mean) * (inverse * mean_gx))
    return g_x, count * mean_gx, count * mean_g


normalise_batch.defvjp(_forward, _backward)


def _channel_means(a: Float[Array, "b h w c"]) -> Vector:
    batch, height, width, channels = a.shape
    parts = max(n for n in range(1, _PARTS + 1) if height * width % n == 0)
    split = a.reshape(batch, parts, -1, channels)
    rows = reduce(jnp.add, [split[:, i] for i in range(parts)]).reshape(-1, channels)
    # In full precision everywhere: a GPU's fast products would cost the variance its digits.
    return jnp.matmul(jnp.ones(len(rows), a.dtype), rows, precision=lax.Precision.HIGHEST) / (batch * height * width)
