"""Max pooling over windows with gaps, which JAX computes and has no derivative of.

Windows whose places are d pixels apart, and which begin at pixels with the same remainder by d, see nothing but the
pixels with that remainder. So these are pooled by themselves, without gaps, and what comes out takes turns.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Shaped

from xrcam_jax.ops.interleaved import interleaved
from xrcam_jax.ops.operation import operation

Lengths = tuple[int, ...]


class _Windows(NamedTuple):
    """Describes windows of ``size`` places, ``dilation`` apart; ``least`` is never more than what is in them."""

    size: Lengths
    strides: Lengths
    dilation: Lengths
    least: Any

    @property
    def reach(self) -> Lengths:
        return tuple(gap * (size - 1) + 1 for size, gap in zip(self.size, self.dilation, strict=True))


@partial(operation, static_argnames=("window", "strides", "dilation", "padding"))
def dilated_max_pool(
    x: Shaped[Array, "b *places c"],
    *,
    window: Lengths,
    strides: Lengths,
    dilation: Lengths,
    padding: tuple[tuple[int, int], ...],
) -> Shaped[Array, "b *windows c"]:
    """Returns the maximum of each window.

    The derivative goes to one place of each window: the first in reading order of those that are equal to the maximum.

    In a jaxpr it is one ``jit`` equation named ``xrcam_jax.dilated_max_pool``, so that a transformation can treat it as
    the one operation that it is.

    Args:
      x: signals, pictures or volumes, channels last.
      window: how many places a window has along each axis between the batch and the channels.
      strides: from one window to the next, along each of these axes.
      dilation: from one place in a window to the next.
      padding: places added before and after each axis; they are never the maximum.

    Returns:
      The maxima, of the dtype of ``x``.

    Raises:
      ValueError: no window fits.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> x = jnp.array([5.0, 1.0, 2.0, 3.0, 4.0]).reshape(1, 5, 1)
      >>> pool = lambda x: dilated_max_pool(x, window=(2,), strides=(1,), dilation=(2,), padding=((0, 0),))
      >>> pool(x).ravel().tolist(), jax.grad(lambda x: pool(x).sum())(x).ravel().tolist()
      ([5.0, 3.0, 4.0], [1.0, 0.0, 0.0, 1.0, 1.0])
    """
    windows = _Windows(window, strides, dilation, _least(x))
    padded = lax.pad(x, windows.least, ((0, 0, 0), *((before, after, 0) for before, after in padding), (0, 0, 0)))
    if any(n < reach for n, reach in zip(padded.shape[1:-1], windows.reach, strict=True)):
        raise ValueError(f"windows that reach over {windows.reach} exceed x of shape {x.shape} with padding={padding}")
    return _pooled(windows, padded, 1)


def _least(x: Array) -> Any:
    least = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    return np.asarray(least, x.dtype)[()]


def _pooled(windows: _Windows, x: Array, axis: int) -> Array:
    """Pools along all axes, where those before ``axis`` have lost the pixels that lie in the gaps."""
    if axis == x.ndim - 1:
        steps = (step // math.gcd(step, gap) for step, gap in zip(windows.strides, windows.dilation, strict=True))
        return lax.reduce_window(x, windows.least, lax.max, (1, *windows.size, 1), (1, *steps, 1), "VALID")
    step, gap = windows.strides[axis - 1], windows.dilation[axis - 1]
    count = (x.shape[axis] - windows.reach[axis - 1]) // step + 1
    # So many windows further on, one begins at a pixel with the same remainder.
    turns = min(gap // math.gcd(step, gap), count)
    # The windows that lack to as many of each remainder lie behind the picture, and are cut off again.
    behind = (0, -count % turns * step, 0)
    x = lax.pad(x, windows.least, [behind if a == axis else (0, 0, 0) for a in range(x.ndim)])
    parts = [_pooled(windows, lax.slice_in_dim(x, turn * step, None, gap, axis), axis + 1) for turn in range(turns)]
    return lax.slice_in_dim(interleaved(parts, axis), 0, count, axis=axis)
