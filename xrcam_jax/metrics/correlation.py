"""How alike two maps are, place by place; pure functions of batches.

References:
  spearman1904
"""

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
