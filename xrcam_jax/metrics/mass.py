"""Whether a saliency map lies on the pixels that are known to matter; pure functions of batches.

References:
  arras2022
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.metrics import judged
from xrcam_jax.metrics.outlined import rows, where_outlined
from xrcam_jax.metrics.top_k import share_of_highest

Maps = Float[Array | np.ndarray, "*#b h w"]
Truth = Bool[Array | np.ndarray, "*#b h w"]


def mass_accuracy(maps: Maps, truth: Truth) -> Float[Array, "*b"]:
    """Returns the share of the relevance that lies within the truth: sum_{p in G} R_p / sum_p R_p (arras2022).

    Args:
      maps: R, of any range; only what is positive counts.
      truth: G, the pixels that are known to matter. The arguments broadcast.

    Returns:
      The share in [0, 1]. A constant map has the truth's share of the picture, and a map that is positive nowhere has
      0, since none of its relevance lies within.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.mass import mass_accuracy
      >>> truth = jnp.array([[True, False, False, False]])
      >>> mass_accuracy(jnp.array([[[3.0, 0.0, 1.0, -9.0]], [[1.0, 1.0, 1.0, 1.0]]]), truth).tolist()
      [0.75, 0.25]

    Raises:
      ValueError: the shapes do not broadcast, or have no height and width.

    References:
      arras2022
    """
    _check_shapes(maps, truth=truth)
    return _mass_accuracy(maps, truth)


@jax.jit
def _mass_accuracy(maps: Maps, truth: Truth) -> Float[Array, "*b"]:
    positive, truth = jnp.broadcast_arrays(jnp.maximum(at_least_float32(jnp.asarray(maps)), 0), truth)
    # Divided by its maximum, a map can neither overflow in the sum nor vanish in it.
    largest = positive.max((-2, -1), keepdims=True)
    scaled = positive / jnp.where(largest > 0, largest, 1)
    return jnp.where(truth, scaled, 0).sum((-2, -1)) / jnp.maximum(scaled.sum((-2, -1)), 1)


def rank_accuracy(maps: Maps, truth: Truth) -> Float[Array, "*b"]:
    """Returns how many of a map's K highest pixels lie within the truth of K pixels, as a share of K (arras2022).

    Pixels that tie for the last of the K ranks count by their mean over all orders in which they could be sorted: of m
    that tie, m' of them within the truth, each of the k ranks that are left to them gets m' / m. So a map without
    contrast scores what chance scores, and no order of pixels is preferred.

    Args:
      maps: R, of any range.
      truth: G, the pixels that are known to matter. The arguments broadcast.

    Returns:
      The share in [0, 1]; 0 where the truth is empty, NaN where a map has NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.mass import rank_accuracy
      >>> truth = jnp.array([[True, True, False, False]])
      >>> rank_accuracy(jnp.array([[[3.0, 4.0, 1.0, 0.0]], [[3.0, 0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0, 1.0]]]), truth)
      Array([1.       , 0.6666667, 0.5      ], dtype=float32)

    Raises:
      ValueError: the shapes do not broadcast, or have no height and width.

    References:
      arras2022
    """
    _check_shapes(maps, truth=truth)
    return _rank_accuracy(maps, truth)


@jax.jit
def _rank_accuracy(maps: Maps, truth: Truth) -> Float[Array, "*b"]:
    # Numbers of pixels are beyond half precision.
    maps, truth = jnp.broadcast_arrays(at_least_float32(jnp.asarray(maps)), truth)
    flat, inside = maps.reshape(*maps.shape[:-2], -1), truth.reshape(*maps.shape[:-2], -1)

    return share_of_highest(flat, inside, inside.sum(-1, keepdims=True))


def relevance_mass_accuracy(maps: judged.Maps, masks: judged.Masks) -> judged.Figures:
    """Returns :func:`mass_accuracy` of m maps of each picture (arras2022).

    Args:
      maps: R, of any range; only what is positive counts.
      masks: G, one for each picture.

    Returns:
      The share in [0, 1]; 0 of a map that is positive nowhere, NaN where the mask is empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.mass import relevance_mass_accuracy
      >>> maps, masks = jnp.array([[[3.0, 1.0], [1.0, 1.0]]]), jnp.array([[True, False], [False, False]])
      >>> relevance_mass_accuracy(maps, masks).tolist()
      [[0.75, nan]]

    Raises:
      ValueError: the shapes do not fit together.

    References:
      arras2022
    """
    flat, inside = rows(maps, masks)
    return where_outlined(_mass_accuracy(flat[:, :, None], inside[:, None]), inside)


def relevance_rank_accuracy(maps: judged.Maps, masks: judged.Masks) -> judged.Figures:
    """Returns :func:`rank_accuracy` of m maps of each picture (arras2022).

    Args:
      maps: R, of any range.
      masks: G, one for each picture.

    Returns:
      The share in [0, 1]; NaN where the mask is empty or a map has NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.mass import relevance_rank_accuracy
      >>> maps, masks = jnp.array([[[3.0, 1.0], [1.0, 1.0]]]), jnp.array([[True, False], [False, False]])
      >>> relevance_rank_accuracy(maps, masks).tolist()
      [[1.0, nan]]

    Raises:
      ValueError: the shapes do not fit together.

    References:
      arras2022
    """
    flat, inside = rows(maps, masks)
    return where_outlined(_rank_accuracy(flat[:, :, None], inside[:, None]), inside)


def outshines(maps: Maps, truth: Truth, others: Truth) -> Float[Array, "*b"]:
    """Tells whether a map is brighter at its brightest within the truth than among other pixels.

    It is the pointing game (:func:`xrcam_jax.metrics.localisation.points_at`) between two sets of pixels.

    Args:
      maps: R, of any range.
      truth: the pixels that are known to matter.
      others: pixels that are known not to matter. The arguments broadcast.

    Returns:
      1 where the truth is brighter, 0 where the others are, and 1/2 where the two are the same. An empty set is darker
      than any other. NaN where a map has NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.mass import outshines
      >>> truth, others = jnp.array([[True, False, False]]), jnp.array([[False, False, True]])
      >>> outshines(jnp.array([[[0.5, 0.9, 0.1]], [[0.5, 0.9, 0.5]], [[0.0, 0.9, 0.1]]]), truth, others).tolist()
      [1.0, 0.5, 0.0]
    """
    _check_shapes(maps, truth=truth, others=others)
    return _outshines(maps, truth, others)


@jax.jit
def _outshines(maps: Maps, truth: Truth, others: Truth) -> Float[Array, "*b"]:
    maps, truth, others = jnp.broadcast_arrays(maps, truth, others)
    within, among = (jnp.where(pixels, maps, -jnp.inf).max((-2, -1)) for pixels in (truth, others))
    result = jnp.where(within > among, 1.0, jnp.where(within < among, 0.0, 0.5))
    return jnp.where(jnp.isnan(maps).any((-2, -1)), jnp.nan, result)


def _check_shapes(maps: ArrayLike, **masks: ArrayLike) -> None:
    """Refuses maps and masks of pixels that do not fit together, by name."""
    wanted = np.shape(maps)
    if len(wanted) < 2:
        raise ValueError(f"maps must be of shape (..., height, width); got {wanted}")
    for name, mask in masks.items():
        found = np.shape(mask)
        pairs = zip(wanted[::-1], found[::-1], strict=False)
        if len(found) < 2 or any(one != other and 1 not in (one, other) for one, other in pairs):
            expected = f"the height and width of the maps, {wanted[-2:]}, and be one for all or one for each map"
            raise ValueError(f"{name} must have {expected}; got {found} with maps of {wanted}")
