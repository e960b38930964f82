"""How alike two maps are, place by place; pure functions of batches.

References:
  spearman1904, wang2004
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xrcam_jax.attribution.shapes import at_least_float32

Maps = Float[Array | np.ndarray, "*b h w"]


def pearson(a: Maps, b: Maps) -> Float[Array, "*b"]:
    """Returns sum_p (a - mean a)(b - mean b) / sqrt(sum_p (a - mean a)² sum_p (b - mean b)²) over the places p.

    Args:
      a: maps, of any range.
      b: maps of the same places.

    Returns:
      Pearson's correlation in [-1, 1] of each pair; NaN where one of the two is constant.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.correlation import pearson
      >>> a, b = jnp.array([[[0.0, 1.0, 2.0]], [[3.0, 3.0, 3.0]]]), jnp.array([[[1.0, 3.0, 5.0]], [[0.0, 1.0, 2.0]]])
      >>> [round(float(r), 3) for r in pearson(a, b)]
      [1.0, nan]
    """
    a, b = _standard(a), _standard(b)
    return jnp.clip(jnp.sum(a * b, axis=(-2, -1)), -1, 1)


def spearman(a: Maps, b: Maps) -> Float[Array, "*b"]:
    """Returns Pearson's correlation of the ranks of two maps: 1 where both put all places in one order (spearman1904).

    Args:
      a: maps, of any range.
      b: maps of the same places.

    Returns:
      Spearman's correlation in [-1, 1] of each pair; NaN where one of the two is constant.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.correlation import spearman
      >>> [round(float(r), 3) for r in spearman(jnp.array([[[0.0, 1.0, 2.0]]]), jnp.array([[[0.0, 1.0, 100.0]]]))]
      [1.0]

    References:
      spearman1904
    """
    return pearson(mean_ranks(a), mean_ranks(b))


def ssim(a: Maps, b: Maps, *, window: int = 7) -> Float[Array, "*b"]:
    """Returns the structural similarity of two maps: the mean over square windows of (wang2004, eq. 13)

        (2 μa μb + c1) (2 σab + c2) / ((μa² + μb² + c1) (σa² + σb² + c2)),  c1 = (L / 100)², c2 = (3 L / 100)²

    with means μ and sample covariances σ of a window, all of whose pixels weigh the same. L is the range of the two
    maps together, so that it is 1 for maps in [0, 1] that have both.

    Args:
      a: maps, of any range.
      b: maps of the same places.
      window: side of the windows, in pixels.

    Returns:
      The similarity of each pair, at most 1; 1 where both maps are constant and the same.

    Raises:
      ValueError: the maps are smaller than a window, or windows have less than 2 pixels a side.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.correlation import ssim
      >>> a = jnp.arange(64.0).reshape(8, 8)
      >>> float(ssim(a, a)), float(ssim(a, a[::-1, ::-1])) < 0
      (1.0, True)

    References:
      wang2004
    """
    if window < 2 or min(a.shape[-2:]) < window:
        raise ValueError(f"window must be from 2 to the smaller side of the maps, {min(a.shape[-2:])}; got {window}")
    return _ssim(at_least_float32(jnp.asarray(a)), at_least_float32(jnp.asarray(b)), window=window)


@partial(jax.jit, static_argnames="window")
def _ssim(a: Maps, b: Maps, *, window: int) -> Float[Array, "*b"]:
    size = tuple(side - window + 1 for side in a.shape[-2:])
    space = (-2, -1)

    def at(maps: Maps, shift: Array) -> Array:
        """Returns of each window the pixel at one place in it."""
        places: list[Any] = [*(0,) * (maps.ndim - 2), shift // window, shift % window]
        return jax.lax.dynamic_slice(maps, places, (*maps.shape[:-2], *size))

    def over_windows(of_place: Callable[[Array], tuple[Array, ...]], like: tuple[Array, ...]) -> tuple[Array, ...]:
        # Place by place, since squares of pixels less squares of means would lose what is left of them.
        def add(shift: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            return tuple(map(jnp.add, sums, of_place(shift)))

        return jax.lax.fori_loop(0, window**2, add, like)

    def products(shift: Array) -> tuple[Array, ...]:
        da, db = at(a, shift) - mean_a, at(b, shift) - mean_b
        return da * da, db * db, da * db

    zero = jnp.zeros_like(a[..., : size[0], : size[1]])
    sums = over_windows(lambda shift: (at(a, shift), at(b, shift)), (zero, zero))
    mean_a, mean_b = (each / window**2 for each in sums)
    var_a, var_b, cov = (each / (window**2 - 1) for each in over_windows(products, (zero, zero, zero)))
    span = jnp.maximum(a.max(space), b.max(space)) - jnp.minimum(a.min(space), b.min(space))
    span = jnp.where(span > 0, span, 1)[..., None, None]
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return jnp.mean(luminance * (2 * cov + c2) / (var_a + var_b + c2), axis=space)


def mean_ranks(maps: Maps) -> Float[Array, "*b h w"]:
    """Returns the rank of each place in its map, where equal places share the mean of their ranks.

    Args:
      maps: of any range.

    Returns:
      Ranks, from 1 for the least; NaN in maps that have NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.correlation import mean_ranks
      >>> mean_ranks(jnp.array([[5.0, 0.0], [0.0, 7.0]])).tolist()
      [[3.0, 1.5], [1.5, 4.0]]
    """
    # Numbers of places are beyond half precision.
    flat = at_least_float32(jnp.asarray(maps)).reshape(*maps.shape[:-2], -1)
    axis, count = flat.ndim - 1, flat.shape[-1]
    numbers = jnp.broadcast_to(jnp.arange(count), flat.shape)
    ordered, places = jax.lax.sort((flat, numbers), num_keys=1)
    # Of a run of equal values the first and the last number are known where it starts and ends.
    changes = ordered[..., 1:] != ordered[..., :-1]
    end = jnp.ones_like(ordered[..., :1], bool)
    first = jax.lax.cummax(jnp.where(jnp.concatenate([end, changes], axis), numbers, 0), axis)
    last = jax.lax.cummin(jnp.where(jnp.concatenate([changes, end], axis), numbers, count), axis, reverse=True)
    shared = 1 + (first + last).astype(flat.dtype) / 2
    shared = jnp.where(jnp.isnan(flat).any(axis, keepdims=True), jnp.nan, shared)
    return jnp.put_along_axis(shared, places, shared, axis, inplace=False).reshape(maps.shape)


def _standard(maps: Maps) -> Float[Array, "*b h w"]:
    """Returns maps less their mean, of length 1; NaN where a map is constant."""
    space = (-2, -1)
    maps = at_least_float32(jnp.asarray(maps))
    constant = jnp.max(maps, axis=space, keepdims=True) == jnp.min(maps, axis=space, keepdims=True)
    centred = maps - jnp.mean(maps, axis=space, keepdims=True)
    # The squares of small values would vanish.
    centred = centred / jnp.max(jnp.abs(centred), axis=space, keepdims=True)
    return jnp.where(constant, jnp.nan, centred / jnp.linalg.norm(centred, axis=space, keepdims=True))
