"""Which channels and layers speak for a region of a picture; pure functions of arrays.

A layer's map is what its channels claim, sum_k C_k. Of a class activation map, C_k = weight_k · A_k; of a method that
gives values element by element, C_k is the value itself. Let U enlarge a layer to the picture, as maps are enlarged,
and let G be the region's pixels. Then channel k claims, within the region,

    c_k = sum_{x in G} (U C_k)(x) = sum_p (Uᵀ 1_G)(p) C_k(p),

where Uᵀ 1_G says how much of the region each place p of the layer covers. So a region is counted once for each layer,
and no channel has to be enlarged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Channel:
    """Says what a channel has to do with a region.

    Attributes:
      number: of the channel.
      share: c_k / sum_j |c_j|, its share of all that is claimed within the region; below 0 it speaks against it.
      inside: sum_{x in G} (U |C_k|)(x) / sum_x (U |C_k|)(x), the part of what it claims that lies within the region.
    """

    number: int
    share: float
    inside: float


def rasterised(points: Sequence[Sequence[float]], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Returns the pixels whose centres lie within a closed line; what it goes around twice is outside.

    Args:
      points: (x, y) of the line's corners, from (0, 0), the picture's first corner, to (1, 1), its last.
      size: (h, w) of the picture.

    Returns:
      The mask.

    Example:
      >>> from xrcam_jax.view.regions import rasterised
      >>> rasterised([(0, 0), (0.5, 0), (0.5, 1), (0, 1)], (1, 4)).tolist()
      [[True, True, False, False]]
    """
    height, width = size
    x, y = (np.arange(width) + 0.5) / width, ((np.arange(height) + 0.5) / height)[:, None]
    within = np.zeros(size, bool)
    # A ray from a point that lies within crosses the line an odd number of times.
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], *points[:1]], strict=True):
        if y0 != y1:
            within ^= ((y0 <= y) != (y1 <= y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return within


def enlarging(small: int, large: int) -> Float[np.ndarray, "{large} {small}"]:
    """Returns U along one axis: linear interpolation with half-pixel centres.

    Args:
      small: places of the layer.
      large: pixels of the picture, no fewer.

    Returns:
      The matrix, whose rows sum to 1.

    Example:
      >>> from xrcam_jax.view.regions import enlarging
      >>> enlarging(2, 4).tolist()
      [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    centre = np.clip((np.arange(large) + 0.5) * small / large - 0.5, 0, small - 1)
    return np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(small)))


def coverage(region: Bool[np.ndarray, "h w"], shape: tuple[int, int]) -> Float[np.ndarray, "r c"]:
    """Returns Uᵀ 1_G: how many of the region's pixels each place of a layer stands for.

    Args:
      region: G.
      shape: (r, c) of the layer, no larger than the region's.

    Returns:
      Numbers of pixels, which sum to that of the region's.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.view.regions import coverage
      >>> coverage(np.array([[True, True, True, False]]), (1, 2)).tolist()
      [[2.0, 1.0]]
    """
    (height, width), (rows, columns) = region.shape, shape
    return enlarging(rows, height).T @ region.astype(float) @ enlarging(columns, width)


def claims(
    contributions: Float[np.ndarray, "r c k"], region: Bool[np.ndarray, "h w"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Returns what each channel claims within a region, and which part of all that it claims lies there.

    Args:
      contributions: C, at the layer's own size.
      region: G, at the picture's size.

    Returns:
      c_k, and the part as :class:`Channel` has it; 0 for a channel that claims nothing.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.view.regions import claims
      >>> contributions = np.array([[[3.0, -1.0], [1.0, 0.0]]])
      >>> [found.tolist() for found in claims(contributions, np.array([[True, False]]))]
      [[3.0, -1.0], [0.75, 1.0]]
    """
    shape = contributions.shape[:2]
    covered = coverage(region, shape)
    claimed = np.einsum("rc,rck->k", covered, contributions, dtype=np.float64)
    size = np.abs(contributions)
    here = np.einsum("rc,rck->k", covered, size, dtype=np.float64)
    whole = np.einsum("rc,rck->k", coverage(np.ones_like(region), shape), size, dtype=np.float64)
    return claimed, np.divide(here, whole, out=np.zeros_like(here), where=whole > 0)


def ranked(contributions: Float[np.ndarray, "r c k"], region: Bool[np.ndarray, "h w"]) -> list[Channel]:
    """Returns the channels of a layer, from the one that speaks most for a region to the one most against it.

    Args:
      contributions: C, at the layer's own size.
      region: G, at the picture's size.

    Returns:
      All channels; shares of 0 where nothing is claimed within the region.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.view.regions import ranked
      >>> found = ranked(np.array([[[-1.0, 3.0], [0.0, 1.0]]]), np.array([[True, False]]))
      >>> [(channel.number, channel.share) for channel in found]
      [(1, 0.75), (0, -0.25)]
    """
    claimed, inside = claims(contributions, region)
    shares = claimed / (np.abs(claimed).sum() or 1)
    return [Channel(int(k), float(shares[k]), float(inside[k])) for k in np.argsort(-shares, kind="stable")]
