"""Max pooling with a derivative that is fast on CPU too.

XLA's CPU backend writes the derivative of a windowed maximum out as arrays of indices and a scatter. Here it is kept
as a small number which pixel of a window is its maximum, and then each pixel looks at the few windows that it lies in.
Other backends have an operation of their own for it.
"""

from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from xrcam_jax.ops.interleaved import interleaved
from xrcam_jax.ops.operation import operation

Edges = tuple[int, int]


class _Windows(NamedTuple):
    """Describes squares of ``size`` pixels, ``stride`` apart, on a picture with ``padding`` places around it."""

    size: int
    stride: int
    padding: int


@partial(operation, static_argnames=("window", "stride", "padding"))
def max_pool(x: Float[Array, "b h w c"], *, window: int, stride: int, padding: int) -> Float[Array, "b p q c"]:
    """Returns the maximum of each window, as PyTorch's layer of the same name computes it.

    The derivative goes to one pixel of each window: the first in reading order of those that are equal to the maximum.

    In a jaxpr it is one ``jit`` equation named ``xrcam_jax.max_pool``, so that a transformation can treat it as the one
    operation that it is. Reverse mode to any order, vmap and sharding along the batch work; forward mode does
    not (``jax.custom_vjp``).

    Args:
      x: pictures, channels last.
      window: height and width of a window.
      stride: from one window to the next, along both axes.
      padding: places added on each side; they are never the maximum.

    Returns:
      The maxima, of the dtype of ``x``.

    Raises:
      ValueError: naming the argument, if a window could lie in the padding altogether, or none fits.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
      >>> max_pool(x, window=2, stride=2, padding=0)[0, :, :, 0].tolist()
      [[5.0, 7.0], [13.0, 15.0]]
    """
    if not 0 <= 2 * padding <= window:
        raise ValueError(f"padding must be from 0 to half of window={window}, got {padding}")
    if min(x.shape[1:3]) + 2 * padding < window:
        raise ValueError(f"window={window} exceeds x of shape {x.shape} with padding={padding}")
    return _pool(_Windows(window, stride, padding), x)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pool(windows: _Windows, x: Array) -> Array:
    return lax.platform_dependent(x, cpu=partial(_maximum, windows), default=partial(_native, windows))


def _forward(windows: _Windows, x: Array) -> tuple[Array, tuple[Array, Array]]:
    y = _pool(windows, x)
    return y, (x, y)


def _backward(windows: _Windows, residuals: tuple[Array, Array], g: Array) -> tuple[Array]:
    cpu, default = partial(_to_winners, windows), partial(_native_to_winners, windows)
    return (lax.platform_dependent(*residuals, g, cpu=cpu, default=default),)


_pool.defvjp(_forward, _backward)


def _native(windows: _Windows, x: Array) -> Array:
    size, stride, padding = windows
    edges = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, stride, stride, 1), edges)


def _native_to_winners(windows: _Windows, x: Array, y: Array, g: Array) -> Array:
    return jax.vjp(partial(_native, windows), x)[1](g)[0]


def _padded(x: Array, value: float, rows: Edges, columns: Edges) -> Array:
    return lax.pad(x, jnp.array(value, x.dtype), ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0)))


def _places(windows: _Windows, x: Array) -> list[Array]:
    """Returns what all windows have at their first place, at their second one, and so on: ``(b, p, q, c)`` each."""
    size, stride, padding = windows
    padded = _padded(x, -jnp.inf, (padding, padding), (padding, padding))
    rows, columns = (n - size + 1 for n in padded.shape[1:3])
    return [padded[:, m : m + rows : stride, n : n + columns : stride] for m in range(size) for n in range(size)]


def _maximum(windows: _Windows, x: Array) -> Array:
    return reduce(jnp.maximum, _places(windows, x))


def _to_winners(windows: _Windows, x: Array, y: Array, g: Array) -> Array:
    """Sends to each pixel the cotangents of the windows whose maximum it is."""
    size, stride, padding = windows
    winner = jnp.full(y.shape, -1, jnp.int32)
    for number, place in reversed(list(enumerate(_places(windows, x)))):
        winner = jnp.where(place == y, number, winner)

    # With the padding, pixel stride·i + m lies in window i at place m, in window i - 1 at place m + stride, and so on.
    before = (size - 1) // stride
    height, width = (-(-(n + 2 * padding) // stride) for n in x.shape[1:3])
    edges = (before, height - y.shape[1]), (before, width - y.shape[2])
    g, winner = _padded(g, 0, *edges), _padded(winner, -1, *edges)

    def arriving(first_row: int, first_column: int) -> Array:
        """Returns what arrives at every ``stride``-th pixel from this one on."""
        total = jnp.zeros_like(g[:, :height, :width])
        for m in range(first_row, size, stride):
            for n in range(first_column, size, stride):
                top, left = before - m // stride, before - n // stride
                there = (slice(None), slice(top, top + height), slice(left, left + width))
                total += jnp.where(winner[there] == m * size + n, g[there], 0)
        return total

    rows = [interleaved([arriving(m, n) for n in range(stride)], axis=2) for m in range(stride)]
    whole = interleaved(rows, axis=1)
    return whole[:, padding : padding + x.shape[1], padding : padding + x.shape[2]]
