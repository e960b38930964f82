"""Winograd's minimal filtering: a correlation with 3 x 3 taps by 16 products for every 4 outputs, in place of 36.

References:
  lavin2016, there called F(2 x 2, 3 x 3)
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from xrcam_jax.ops.interleaved import interleaved

Matrix = Sequence[Sequence[float]]
Pair = tuple[int, int]

# Bᵀ, G and Aᵀ of lavin2016, section 4.1.
_OF_PIXELS = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_OF_TAPS = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_OF_OUTPUTS = ((1, 1, 1, 0), (0, 1, -1, -1))

# With fewer channels or tiles, the additions take longer than the products that they save. The batch does not count, so
# that pictures get the same maps in every share of a batch.
_MIN_CHANNELS = 128
_MIN_TILES = 49


def winograd_pays(kernel: tuple[int, ...], size: Pair) -> bool:
    """Tells whether :func:`winograd` is the faster way on CPU.

    Args:
      kernel: shape of the filters: height, width, inputs, outputs.
      size: height and width of the output.

    Returns:
      True for 3 x 3 taps with many channels and tiles.

    Example:
      >>> winograd_pays((3, 3, 128, 128), (28, 28)), winograd_pays((3, 3, 64, 64), (56, 56))
      (True, False)
    """
    *taps, inputs, outputs = kernel
    tiles = _tiles(size[0]) * _tiles(size[1])
    return taps == [3, 3] and min(inputs, outputs) >= _MIN_CHANNELS and tiles >= _MIN_TILES


def winograd(
    x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c o"], padding: tuple[Pair, Pair]
) -> Float[Array, "b oh ow o"]:
    """Correlates at stride 1: ``z = Aᵀ [sum_c (G g Gᵀ) ⊙ (Bᵀ d B)] A`` for each tile of 2 x 2 outputs.

    No output depends on pixels that only others of its tile see, not even in its rounding: the products that it adds up
    hold its own pixels alone. So what sees only zeros is zero, on which rules that divide by ``z`` rely.

    Args:
      x: inputs, channels last; a tile's 4 x 4 pixels are ``d``.
      kernel: filters ``g``, of the dtype of ``x``.
      padding: zeros added to ``x``, ``((top, bottom), (left, right))``; negative ones take pixels away.

    Returns:
      ``z``, of the dtype of ``x``.

    Example:
      >>> import jax.numpy as jnp
      >>> z = winograd(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), ((0, 0), (0, 0)))
      >>> z[0, :, :, 0].tolist()
      [[9.0, 9.0], [9.0, 9.0]]

    References:
      lavin2016, eq. 12
    """
    oh, ow = (n + sum(added) - 2 for n, added in zip(x.shape[1:3], padding, strict=True))
    edges = [(before, after + n % 2, 0) for (before, after), n in zip(padding, (oh, ow), strict=True)]
    padded = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    of_taps = np.kron(_OF_TAPS, _OF_TAPS).astype(x.dtype) @ kernel.reshape(9, -1)
    of_pixels = _applied(_OF_PIXELS, _by_place(padded, axis=1))
    # One row of a tile's products at a time, so that they are still in the cache when they are added up.
    sums = [_row(*both) for both in zip(of_pixels, of_taps.reshape(4, 4, *kernel.shape[2:]), strict=True)]
    return interleaved(_applied(_OF_OUTPUTS, sums), axis=1)[:, :oh, :ow]


def _row(pixels: Float[Array, "b tiles w c"], taps: Float[Array, "4 c o"]) -> Float[Array, "b tiles ow o"]:
    of_pixels = jnp.stack(_applied(_OF_PIXELS, _by_place(pixels, axis=2)))
    products = lax.dot_general(of_pixels, taps, (((4,), (1,)), ((0,), (0,))))
    return interleaved(_applied(_OF_OUTPUTS, products), axis=2)


def _tiles(outputs: int) -> int:
    return -(-outputs // 2)


def _by_place(x: Array, axis: int) -> list[Array]:
    """Returns the first, second, third and last pixel of every tile along ``axis``; tiles begin two pixels apart."""
    reach = x.shape[axis] - 3
    return [lax.slice_in_dim(x, place, place + reach, 2, axis) for place in range(4)]


def _applied(matrix: Matrix, vector: Sequence[Array] | Array) -> list[Array]:
    # Written out, since most factors are zero or one, and XLA makes one loop of this and of what it is applied to.
    return [sum(factor * entry for factor, entry in zip(row, vector, strict=True) if factor) for row in matrix]
