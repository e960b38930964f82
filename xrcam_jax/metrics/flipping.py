"""Whether the score falls as a map says: pixels or patches are replaced in the order of their relevance.

The passes are those of :func:`flipped_scores`, the score f after each step; figures are reductions of that curve. What
replaces a pixel is 0 unless another ``fill`` is given, which in preprocessed pictures is the mean of the data.

References:
  bach2015, samek2017, montavon2018
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.perturbations import PerAxis
from xrcam_jax.attribution.targets import Score
from xrcam_jax.metrics.faithfulness import area_under
from xrcam_jax.metrics.judged import Figures, Maps
from xrcam_jax.metrics.turns import Fill, Order, Uniform, in_turn, patch_side, replaced_scores

#: How many steps there are unless it is said, where one for each pixel would be tens of thousands.
STEPS = 100
#: Montavon et al. remove patches of 4 x 4 of the 28 x 28 pixels of a digit.
PATCHES = 49
#: Samek et al. replace regions of 9 x 9 of 227 x 227 pixels by values that are drawn uniformly.
REGION, PICTURE, DRAWN = 9, 227, Uniform()


def flipped_scores(
    case: Case,
    maps: Maps,
    *,
    patch: PerAxis = 1,
    per_step: int | None = None,
    steps: int | None = None,
    order: Order = "morf",
    fill: Fill = 0.0,
    score: Score = "probability",
) -> Float[Array, "m s b"]:
    """Returns the targets' scores while pixels, or patches of them, are replaced in the order of their relevance.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: m saliency maps of each picture, which order its pixels.
      patch: side of the squares that are replaced as a whole, in the order of their sums, or one number for each axis.
        They lie side by side, those at the right and lower border cut off.
      per_step: how many patches are replaced at a step; by default a hundredth of all, so that a picture of 224 x 224
        takes 100 passes for a map instead of 50,176. The last step may have less.
      steps: how many steps there are at most; by default until nothing is left.
      order: ``"morf"`` for the most relevant first, ``"lerf"`` for the least, or ``"random"`` for an order that all
        pictures and maps share (samek2017).
      fill: what replaces a pixel: a number, an array like the pictures, or what is drawn, a
        :class:`xrcam_jax.metrics.turns.Uniform`; of several draws the mean counts.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The scores before the first step and after each, s is one more than the steps; NaN where a map has NaN.

    Raises:
      ValueError: patches, steps or draws of less than 1, an unknown order or score, or a fill that does not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.flipping import flipped_scores
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(model, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> maps = jnp.array([[[[0.1, 0.9]]]])
      >>> [flipped_scores(case, maps, order=order, score="logit").ravel().tolist() for order in ("morf", "lerf")]
      [[3.0, 1.0, 0.0], [3.0, 2.0, 0.0]]

    References:
      bach2015, samek2017
    """
    if per_step is None:
        whole = in_turn(maps[:1, :1], patch=patch, order="rows").sums.shape[-1]
        per_step = -(-whole // STEPS)
    if per_step < 1:
        raise ValueError(f"per_step must be at least 1; got {per_step}")
    turns = in_turn(maps, patch=patch, per_turn=per_step, order=order, seed=case.random_seed)
    scores = replaced_scores(case, turns, alone=False, fill=fill, score=score, steps=steps, name="flipping")
    return jnp.where(jnp.isnan(turns.sums).any(-1)[:, None], jnp.nan, scores.mean(2))


@jax.jit
def aopc(scores: Float[Array, "m s b"]) -> Figures:
    """Returns sum_{k=0}^{L} (f(x_0) - f(x_k)) / (L + 1), the area over the perturbation curve (samek2017).

    Args:
      scores: f after each of L steps, see :func:`flipped_scores`.

    Returns:
      The area; the larger it is, the earlier the score falls. The equation's mean over pictures is left to the reader.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.flipping import aopc
      >>> aopc(jnp.array([1.0, 0.5, 0.0]).reshape(1, 3, 1)).tolist()
      [[0.5]]

    References:
      samek2017
    """
    return (scores[:, :1] - scores).mean(1)


def pixel_flipping(
    case: Case,
    maps: Maps,
    *,
    per_step: int | None = None,
    fill: Fill = 0.0,
    score: Score = "probability",
) -> Figures:
    """Returns the area under the curve of the score over the pixels replaced, the most relevant first (bach2015).

    It is :func:`xrcam_jax.metrics.faithfulness.area_under` of :func:`flipped_scores` with patches of one pixel.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: m saliency maps of each picture.
      per_step: how many pixels are replaced at a step. The paper has one, which here is the default of pictures of up
        to 100 pixels; of larger ones it is a hundredth of them.
      fill: what replaces a pixel, see :func:`flipped_scores`.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The area, in the range of the score: the lower it is, the more faithful is the map. NaN where it has NaN.

    Raises:
      ValueError: see :func:`flipped_scores`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.flipping import pixel_flipping
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(model, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> pixel_flipping(case, jnp.array([[[[0.1, 0.9]]], [[[0.9, 0.1]]]]), score="logit").tolist()
      [[1.25], [1.75]]

    References:
      bach2015
    """
    return area_under(flipped_scores(case, maps, per_step=per_step, fill=fill, score=score))


def region_scores(
    case: Case,
    maps: Maps,
    *,
    patch: PerAxis | None = None,
    steps: int = 100,
    order: Order = "morf",
    fill: Fill = DRAWN,
    score: Score = "probability",
) -> Float[Array, "m s b"]:
    """Returns the targets' scores while regions are replaced, one at a step: the curve of :func:`region_perturbation`.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: m saliency maps of each picture.
      patch: see :func:`region_perturbation`.
      steps: likewise.
      order: likewise.
      fill: likewise.
      score: likewise.

    Returns:
      The scores before the first step and after each, as of :func:`flipped_scores`, which this is.

    Raises:
      ValueError: see :func:`flipped_scores`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.flipping import region_scores
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(model, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> region_scores(case, jnp.array([[[[0.1, 0.9]]]]), fill=0.0, score="logit").ravel().tolist()
      [3.0, 1.0, 0.0]

    References:
      samek2017
    """
    if patch is None:
        patch = tuple(max(1, round(side * REGION / PICTURE)) for side in maps.shape[2:])
    return flipped_scores(case, maps, patch=patch, per_step=1, steps=steps, order=order, fill=fill, score=score)


def region_perturbation(
    case: Case,
    maps: Maps,
    *,
    patch: PerAxis | None = None,
    steps: int = 100,
    order: Order = "morf",
    fill: Fill = DRAWN,
    score: Score = "probability",
) -> Figures:
    """Returns the area over the curve of the score while regions are replaced one after the other (samek2017).

    It is :func:`aopc` of :func:`region_scores`. The paper's evaluation replaces 100 regions of 9 x 9 pixels, a sixth of
    its pictures of 227 x 227, by values drawn uniformly. Here they lie side by side on a grid.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: m saliency maps of each picture.
      patch: side of a region, or one number for each axis; by default as large a part of the picture's as the paper's
        9 are of 227 pixels, and at least 1: 9 of 224, 3 of 64, 1 of 8. A patch of 9 x 9 would be all of a small one.
      steps: L, how many regions are replaced; at most all.
      order: ``"morf"``, ``"lerf"`` or ``"random"``, see :func:`flipped_scores`. The difference of the first two's
        figures is the area between both curves.
      fill: what replaces a pixel; by default drawn once from the range of each picture's channel.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The area: the larger it is for ``"morf"``, the more faithful is the map. NaN where it has NaN.

    Raises:
      ValueError: see :func:`flipped_scores`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.flipping import region_perturbation
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(model, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> maps = jnp.array([[[[0.1, 0.9]]]])
      >>> region_perturbation(case, maps, patch=1, steps=1, fill=0.0, score="logit").tolist()
      [[1.0]]

    References:
      samek2017
    """
    return aopc(region_scores(case, maps, patch=patch, steps=steps, order=order, fill=fill, score=score))


def selectivity(
    case: Case,
    maps: Maps,
    *,
    patch: PerAxis | None = None,
    fill: Fill = 0.0,
    score: Score = "probability",
) -> Figures:
    """Returns the area under the curve of the score while patches are removed, the most relevant first (montavon2018).

    It is :func:`xrcam_jax.metrics.faithfulness.area_under` of :func:`flipped_scores` with one patch a step, until none
    is left.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: m saliency maps of each picture.
      patch: side of a patch, or one number for each axis; by default as large a part of the picture as the paper's
        4 x 4 are of 28 x 28 pixels, a seventh of each side.
      fill: what replaces a pixel, see :func:`flipped_scores`.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The area, in the range of the score: the lower it is, the more selective is the map. NaN where it has NaN.

    Raises:
      ValueError: see :func:`flipped_scores`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.flipping import selectivity
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> images = jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 4, 1)
      >>> case = Case(model, jnp.ones(1), images, jnp.ones((1, 1), int))
      >>> selectivity(case, images[None, ..., 0], patch=(1, 2), score="logit").tolist()
      [[4.0]]

    References:
      montavon2018
    """
    patch = patch_side(maps.shape[2:], PATCHES) if patch is None else patch
    return area_under(flipped_scores(case, maps, patch=patch, per_step=1, fill=fill, score=score))
