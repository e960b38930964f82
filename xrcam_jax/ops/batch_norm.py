"""Batch normalisation by a batch's own statistics, for training.

Each sum over all places of all images is written in two steps: a few parts of each image are added up, and the places
that are left are summed by a product with a vector of ones. On XLA's CPU backend that is up to twenty times faster than
a reduction over the same axes. A product alone would have to be given the squares as an array, and be three times
slower than both steps together.
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Vector = Float[Array, " c"]

# Parts of an image that are added up. More of them take longer to compile, and no less time to run.
_PARTS = 8


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise_batch(
    x: Float[Array, "b h w c"], scale: Vector, bias: Vector, eps: float
) -> tuple[Float[Array, "b h w c"], Vector, Vector]:
    """Returns ``(x - m) / sqrt(v + eps) * scale + bias``, with each channel's mean ``m`` and variance ``v``.

    Derivatives flow through the first result only. Forward mode is not defined (``jax.custom_vjp``).

    Args:
      x: inputs, channels last.
      scale: of each channel.
      bias: of each channel.
      eps: what keeps the divisor from zero, positive.

    Returns:
      The normalised inputs, and ``m`` and the biased ``v`` over all places of all images; all of the dtype of ``x``.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([1.0, 3.0]).reshape(2, 1, 1, 1)
      >>> y, mean, variance = normalise_batch(x, jnp.ones(1), jnp.zeros(1), 1e-6)
      >>> [round(float(v), 3) for v in y.ravel()], mean.tolist(), variance.tolist()
      ([-1.0, 1.0], [2.0], [1.0])

    References:
      ioffe2015, algorithm 1, and its derivatives there
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
    # The mean of g · x̂ with x̂ = (x - mean) · inverse.
    mean_gx = (_channel_means(g * x) - mean_g * mean) * inverse
    g_x = (scale * inverse) * (g - mean_g - (x - mean) * (inverse * mean_gx))
    return g_x, count * mean_gx, count * mean_g


normalise_batch.defvjp(_forward, _backward)


def _channel_means(a: Float[Array, "b h w c"]) -> Vector:
    batch, height, width, channels = a.shape
    parts = max(n for n in range(1, _PARTS + 1) if height * width % n == 0)
    split = a.reshape(batch, parts, -1, channels)
    rows = reduce(jnp.add, [split[:, i] for i in range(parts)]).reshape(-1, channels)
    # In full precision everywhere, since a GPU's fast products would cost the variance its digits.
    return jnp.matmul(jnp.ones(len(rows), a.dtype), rows, precision=lax.Precision.HIGHEST) / (batch * height * width)
