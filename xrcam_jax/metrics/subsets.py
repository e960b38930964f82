"""Whether the score changes by what a map has in the pixels that are changed: subsets of pixels, or noise everywhere.

The passes are those of :mod:`xrcam_jax.metrics.drops`, which serve all maps; the figures are :func:`correlations` and
:func:`squared_errors` of drops and of what a map has.

References:
  bhatt2020, ancona2018, yeh2019
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xrcam_jax.attribution.baseline import Baseline, baseline_images
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.perturbations import PerAxis
from xrcam_jax.attribution.targets import Score
from xrcam_jax.metrics.correlation import pearson
from xrcam_jax.metrics.drops import (
    Noise,
    noise_drops,
    noise_sums,
    random_squares,
    random_subsets,
    subset_drops,
    subset_sums,
)
from xrcam_jax.metrics.judged import Figures, Maps
from xrcam_jax.metrics.turns import patch_side
from xrcam_jax.runtime.compiling import compiled

#: How many sizes of subsets there are unless it is said, and the largest as a share of the pixels (ancona2018).
SIZES, LARGEST = 10, 0.8


@dataclass(frozen=True)
class Squares:
    """Removes a square of pixels at a random place (yeh2019).

    Attributes:
      side: of the square, or one number for each axis; by default a seventh of each side of pictures.
    """

    side: PerAxis | None = None


SQUARES = Squares()


@jax.jit
def correlations(drops: Float[Array, "*n v b"], sums: Float[Array, "m *n v b"]) -> Float[Array, "m *n b"]:
    """Returns Pearson's correlation of drops and sums over the subsets.

    Args:
      drops: f(x) - f(x without S), see :func:`subset_drops`; perhaps of several sizes n of subsets.
      sums: what the map has in S, see :func:`subset_sums`.

    Returns:
      The correlation in [-1, 1] for each map and picture; NaN where one of the two is the same for all subsets.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.subsets import correlations
      >>> drops = jnp.array([[1.0], [2.0], [4.0]])
      >>> correlations(drops, jnp.stack([3 * drops + 1, -drops])).round(3).tolist()
      [[1.0], [-1.0]]

    References:
      bhatt2020, ancona2018
    """
    pairs = (jnp.broadcast_to(drops.astype(sums.dtype), sums.shape), sums)
    return pearson(*(jnp.moveaxis(each, -2, -1)[..., None] for each in pairs))


def faithfulness_correlation(
    case: Case,
    maps: Maps,
    *,
    runs: int = 100,
    subset_size: int | None = None,
    fill: Baseline = 0.0,
    score: Score = "probability",
) -> Figures:
    """Returns corr_S(sum_{p in S} R_p, f(x) - f(x without S)) over random subsets S of one size (bhatt2020).

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: R, m saliency maps of each picture.
      runs: how many subsets are drawn, at least 2. They are the same for all pictures and maps.
      subset_size: how many pixels each has; by default one of 224 pixels, which are 224 of a picture of 224 x 224.
      fill: what replaces a pixel, the baseline.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The correlation in [-1, 1]; NaN where relevance or drop is the same for all subsets.

    Raises:
      ValueError: less than two runs, a size that the picture does not have, an unknown score, or a fill that does not
        fit the pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.subsets import faithfulness_correlation
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(model, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> faithfulness_correlation(case, jnp.array([[[[0.2, 0.4]]]]), subset_size=1, score="logit").round(3).tolist()
      [[1.0]]

    References:
      bhatt2020
    """
    if runs < 2:
        raise ValueError(f"runs must be at least 2, for a correlation; got {runs}")
    shape = case.images.shape[1:-1]
    size = max(1, prod(shape) // 224) if subset_size is None else subset_size
    subsets = random_subsets(shape, [size] * runs, seed=case.random_seed)
    return correlations(subset_drops(case, subsets, fill=fill, score=score), subset_sums(maps, subsets))


def sensitivity_curve(
    case: Case,
    maps: Maps,
    *,
    sizes: Sequence[int] | None = None,
    samples: int = 100,
    fill: Baseline = 0.0,
    score: Score = "probability",
) -> Float[Array, "m n b"]:
    """Returns the correlation of R and f over subsets of n pixels, for each n (ancona2018).

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: R, m saliency maps of each picture.
      sizes: each n; by default ten from 1 to 80 % of the pixels, at equal ratios.
      samples: how many subsets of each size are drawn, at least 2. They are the same for all pictures and maps.
      fill: what replaces a pixel.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The correlation for each map, size and picture; NaN where relevance or drop is the same for all subsets.

    Raises:
      ValueError: see :func:`faithfulness_correlation`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.subsets import sensitivity_curve
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> images = jnp.array([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1)
      >>> case = Case(model, jnp.ones(1), images, jnp.ones((1, 1), int))
      >>> sensitivity_curve(case, images[None, ..., 0], sizes=[1, 2], score="logit").ravel().round(3).tolist()
      [1.0, 1.0]

    References:
      ancona2018
    """
    if samples < 2:
        raise ValueError(f"samples must be at least 2, for a correlation; got {samples}")
    shape = case.images.shape[1:-1]
    sizes = _default_sizes(prod(shape)) if sizes is None else list(sizes)
    subsets = random_subsets(shape, [size for size in sizes for _ in range(samples)], seed=case.random_seed)
    drops, sums = subset_drops(case, subsets, fill=fill, score=score), subset_sums(maps, subsets)
    by_size = (len(sizes), samples, len(case.images))
    return correlations(drops.reshape(by_size), sums.reshape(len(maps), *by_size))


def _default_sizes(pixels: int) -> list[int]:
    return sorted({int(each) for each in np.geomspace(1, max(1, int(LARGEST * pixels)), SIZES).round()})


def sensitivity_n(
    case: Case,
    maps: Maps,
    *,
    sizes: Sequence[int] | None = None,
    samples: int = 100,
    fill: Baseline = 0.0,
    score: Score = "probability",
) -> Figures:
    """Returns the mean over n of :func:`sensitivity_curve`: how near a map is to sensitivity-n (ancona2018).

    A map has sensitivity-n where the relevance of any n pixels is what the score loses without them; then the
    correlation is 1. As in the paper, sets of n pixels are drawn at random, and correlated picture by picture. Quantus
    0.6 draws none: it correlates, over pictures, the drop without the most relevant pixels with the relevance of the
    last of them.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: R, m saliency maps of each picture.
      sizes: each n; by default ten from 1 to 80 % of the pixels, at equal ratios.
      samples: how many subsets of each size are drawn, at least 2.
      fill: what replaces a pixel.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The mean in [-1, 1] of the correlations that there are; NaN where there are none.

    Raises:
      ValueError: see :func:`sensitivity_curve`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.subsets import sensitivity_n
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> images = jnp.array([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1)
      >>> case = Case(model, jnp.ones(1), images, jnp.ones((1, 1), int))
      >>> sensitivity_n(case, images[None, ..., 0], score="logit").round(3).tolist()
      [[1.0]]

    References:
      ancona2018
    """
    curve = sensitivity_curve(case, maps, sizes=sizes, samples=samples, fill=fill, score=score)
    return _mean_of_sizes(curve)


@jax.jit
def _mean_of_sizes(curve: Float[Array, "m n b"]) -> Figures:
    return jnp.nanmean(curve, axis=1)


@compiled(static=("scaled",))
def squared_errors(drops: Float[Array, "v b"], sums: Float[Array, "m v b"], *, scaled: bool = False) -> Figures:
    """Returns the mean of (I^T R - (f(x) - f(x - I)))² over changes I (yeh2019).

    Args:
      drops: f(x) - f(x - I), see :func:`xrcam_jax.metrics.drops.subset_drops`.
      sums: I^T R, what the map says of it.
      scaled: whether a map is multiplied by the number that makes its error least, sum I^T R · drop / sum (I^T R)².

    Returns:
      The error, from 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.subsets import squared_errors
      >>> drops = jnp.array([[1.0], [3.0]])
      >>> [squared_errors(drops, 2 * drops[None], scaled=scaled).tolist() for scaled in (False, True)]
      [[[5.0]], [[0.0]]]

    References:
      yeh2019
    """
    drops = drops.astype(sums.dtype)
    if scaled:
        squares = jnp.square(sums).sum(1, keepdims=True)
        best = (sums * drops).sum(1, keepdims=True) / jnp.where(squares == 0, 1, squares)
        sums = best * sums
    return jnp.square(sums - drops).mean(1)


def infidelity(
    case: Case,
    maps: Maps,
    *,
    change: Squares | Noise = SQUARES,
    samples: int = 100,
    multiplied: bool = False,
    scaled: bool = False,
    fill: Baseline = 0.0,
    score: Score = "logit",
) -> Figures:
    """Returns the mean of (I^T R - (f(x) - f(x - I)))² over random changes I of the picture x (yeh2019).

    It is :func:`squared_errors` of the passes of :mod:`xrcam_jax.metrics.drops`. A pixel's relevance counts for each of
    its channels: I^T R = sum_p R_p sum_c I_pc. Each I is drawn by itself, as the paper's expectation has it;
    in Quantus 0.6 one square after the other is replaced and stays so.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: R, m saliency maps of each picture. The measure is meant for maps in units of the score per unit of the
        picture, as a gradient is; for others see ``multiplied`` and ``scaled``.
      change: a :class:`Squares`, which removes a square, or a :class:`xrcam_jax.metrics.drops.Noise`. They are the same
        for all pictures and maps.
      samples: how many changes are drawn, from 1.
      multiplied: whether maps are products with the picture already, such as gradient x input: then I^T R is what the
        map has in a square.
      scaled: whether each map is multiplied by the number that makes its error least, which makes maps of any unit
        comparable.
      fill: the baseline, what replaces a pixel.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The error, from 0: the lower it is, the more faithful is the map. NaN where it has NaN.

    Raises:
      ValueError: no samples, a square that does not fit the pictures, products with noise, an unknown score, or a fill
        that does not fit the pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.drops import Noise
      >>> from xrcam_jax.metrics.subsets import SQUARES, infidelity
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(model, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> gradient = jnp.ones((1, 1, 1, 2))
      >>> [infidelity(case, gradient, change=change).round(3).tolist() for change in (SQUARES, Noise())]
      [[[0.0]], [[0.0]]]

    References:
      yeh2019
    """
    if isinstance(change, Noise):
        if multiplied:
            raise ValueError("multiplied must be False with noise, since a product with the picture cannot be undone")
        drops = noise_drops(case, change, samples, fill=fill, score=score)
        return squared_errors(drops, noise_sums(case, maps, change, samples, fill=fill), scaled=scaled)
    shape = case.images.shape[1:-1]
    side = patch_side(shape, 49) if change.side is None else change.side
    squares = random_squares(shape, side, samples, seed=case.random_seed)
    removed = 1 if multiplied else (case.images - baseline_images(case, fill)).sum(-1)
    sums = subset_sums(maps * removed, squares)
    return squared_errors(subset_drops(case, squares, fill=fill, score=score), sums, scaled=scaled)
