"""Whether features matter to the score as much as a map says, each replaced by itself, or added one after the other.

A feature is a patch of pixels, since one pixel each would take 50,176 passes for a picture of 224 x 224. The passes of
:func:`faithfulness_estimate` and :func:`monotonicity_nguyen` are those of :func:`scores_without_each`, and those of
:func:`monotonicity_arya` are the curve of :func:`xrcam_jax.metrics.flipping.flipped_scores`.

References:
  alvarez2018, arya2019, nguyen2020
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.perturbations import PerAxis
from xrcam_jax.attribution.targets import Score
from xrcam_jax.metrics.correlation import pearson, spearman
from xrcam_jax.metrics.flipping import flipped_scores
from xrcam_jax.metrics.judged import Figures, Maps
from xrcam_jax.metrics.turns import Fill, Turns, Uniform, in_turn, patch_side, replaced_scores

#: About how many features a picture has unless it is said: 16 x 16.
FEATURES = 256
#: How often a feature is drawn anew, as an estimate of the expected loss without it.
DRAWN = Uniform(draws=10)


def features(maps: Maps, *, patch: PerAxis | None = None, per_feature: int = 1) -> Turns:
    """Returns which feature each pixel belongs to, and what a map has in each.

    Args:
      maps: m saliency maps of each picture.
      patch: side of the squares that are a feature, or one number for each axis; by default a sixteenth of each side of
        pictures, so that there are 256 features.
      per_feature: of more than one, patches make a feature together: those that follow one another in the order of
        their sums. Then each map has features of its own, and passes of its own.

    Returns:
      The feature's number as the turn of each pixel, and the map's sum in each.

    Raises:
      ValueError: an empty patch or feature.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.monotonicity import features
      >>> found = features(jnp.array([[[[1.0, 4.0], [3.0, 2.0]]]]), patch=(1, 2))
      >>> found.of_pixel.tolist(), found.sums.tolist()
      ([[[[0, 0], [1, 1]]]], [[[5.0, 5.0]]])
    """
    if per_feature < 1:
        raise ValueError(f"per_feature must be at least 1; got {per_feature}")
    patch = patch_side(maps.shape[2:], FEATURES) if patch is None else patch
    return in_turn(maps, patch=patch, per_turn=per_feature, order="rows" if per_feature == 1 else "morf")


def scores_without_each(
    case: Case, found: Turns, *, fill: Fill = 0.0, score: Score = "probability"
) -> Float[Array, "_m s d b"]:
    """Returns the targets' scores on the pictures, and on those with one feature replaced.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      found: the features, see :func:`features`.
      fill: what replaces a pixel: a number, an array like the pictures, or what is drawn, a
        :class:`xrcam_jax.metrics.turns.Uniform`.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The scores of the picture as it is and without each feature, s is one more than the features; d are the draws.
      Where all maps have the same features, m is 1.

    Raises:
      ValueError: an unknown score, no draws, or a fill that does not fit the pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.monotonicity import features, scores_without_each
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(model, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> scores_without_each(case, features(jnp.ones((3, 1, 1, 2))), score="logit").ravel().tolist()
      [3.0, 2.0, 1.0]

    References:
      alvarez2018, nguyen2020
    """
    return replaced_scores(case, found, alone=True, fill=fill, score=score, name="features")


@jax.jit
def drops_like_sums(scores: Float[Array, "_m s d b"], sums: Float[Array, "m b f"]) -> Figures:
    """Returns Pearson's correlation of sum_{p in i} R_p and f(x) - f(x without i) over features i (alvarez2018).

    Args:
      scores: f of the picture and without each feature, see :func:`scores_without_each`; the mean of several draws.
      sums: what the map has in each feature, see :func:`features`.

    Returns:
      The correlation in [-1, 1]; NaN where one of the two is the same for all features.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.monotonicity import drops_like_sums
      >>> scores = jnp.array([6.0, 5.0, 4.0, 3.0]).reshape(1, 4, 1, 1)
      >>> drops_like_sums(scores, jnp.array([[[0.1, 0.2, 0.3]], [[3.0, 1.0, 2.0]]])).round(3).tolist()
      [[1.0], [-0.5]]

    References:
      alvarez2018
    """
    drops = jnp.moveaxis((scores[:, :1] - scores[:, 1:]).mean(2), 1, 2)
    return pearson(*_as_maps(drops, sums))


@jax.jit
def losses_like_sizes(scores: Float[Array, "_m s d b"], sizes: Float[Array, "m b f"]) -> Figures:
    """Returns Spearman's correlation of |a_i| and the mean of (f(x) - f(x with i drawn))² over features i (nguyen2020).

    Args:
      scores: f of the picture and with each feature drawn anew, see :func:`scores_without_each`.
      sizes: |a_i|, what the absolute map has in each feature, see :func:`features`.

    Returns:
      The correlation in [-1, 1]; NaN where one of the two is the same for all features.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.monotonicity import losses_like_sizes
      >>> scores = jnp.array([6.0, 5.0, 8.0, 3.0]).reshape(1, 4, 1, 1)
      >>> losses_like_sizes(scores, jnp.array([[[0.1, 0.2, 9.0]]])).round(3).tolist()
      [[1.0]]

    References:
      nguyen2020
    """
    losses = jnp.moveaxis(jnp.square(scores[:, :1] - scores[:, 1:]).mean(2), 1, 2)
    return spearman(*_as_maps(losses, sizes))


def _as_maps(found: Float[Array, "_m b f"], of_maps: Float[Array, "m b f"]) -> tuple[Array, Array]:
    """Returns values of features as correlations of maps ask for them: one for each map, and with a second axis."""
    return jnp.broadcast_to(found, of_maps.shape)[..., None], of_maps.astype(found.dtype)[..., None]


@jax.jit
def never_rises(scores: Float[Array, "m s b"], tolerance: float | Float[Array, ""] = 1e-6) -> Figures:
    """Returns 1 where the score never rises while features are removed, so never falls while they are added (arya2019).

    The picture without any of its features is the base from which they are added; as in the authors' program, the
    score of the base itself does not count.

    Args:
      scores: while features are removed, the most relevant first, see
        :func:`xrcam_jax.metrics.flipping.flipped_scores`.
      tolerance: what counts as rounding, relative to the greatest absolute score of the curve.

    Returns:
      1 or 0; NaN where a score is NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.monotonicity import never_rises
      >>> never_rises(jnp.array([[3.0, 2.0, 2.0, 5.0], [3.0, 1.0, 2.0, 0.0]])[..., None]).tolist()
      [[1.0], [0.0]]

    References:
      arya2019
    """
    rounding = jnp.asarray(tolerance, scores.dtype) * jnp.abs(scores).max(1, keepdims=True)
    holds = (jnp.diff(scores[:, :-1], axis=1) <= rounding).all(1)
    return jnp.where(jnp.isnan(scores).any(1), jnp.nan, holds.astype(scores.dtype))


def faithfulness_estimate(
    case: Case,
    maps: Maps,
    *,
    patch: PerAxis | None = None,
    per_feature: int = 1,
    fill: Fill = 0.0,
    score: Score = "probability",
) -> Figures:
    """Returns how the drop of the score without a feature goes with the feature's relevance (alvarez2018).

    It is :func:`drops_like_sums` of :func:`scores_without_each`. Features are the same for all maps. Those of Quantus
    are pixels that follow one another in the order of relevance: patches of one pixel and ``per_feature`` of more.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: m saliency maps of each picture.
      patch: side of the squares that are a feature, by default a sixteenth of each side, see :func:`features`.
      per_feature: how many patches are a feature together, see :func:`features`.
      fill: what replaces a pixel, see :func:`scores_without_each`.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`; the paper's is the probability.

    Returns:
      The correlation in [-1, 1]; NaN where relevance or drop is the same for all features.

    Raises:
      ValueError: see :func:`features` and :func:`scores_without_each`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.monotonicity import faithfulness_estimate
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> images = jnp.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
      >>> case = Case(model, jnp.ones(1), images, jnp.ones((1, 1), int))
      >>> faithfulness_estimate(case, images[None, ..., 0], score="logit").round(3).tolist()
      [[1.0]]

    References:
      alvarez2018
    """
    found = features(maps, patch=patch, per_feature=per_feature)
    return drops_like_sums(scores_without_each(case, found, fill=fill, score=score), found.sums)


def monotonicity_arya(
    case: Case,
    maps: Maps,
    *,
    patch: PerAxis = 1,
    per_step: int | None = None,
    fill: Fill = 0.0,
    tolerance: float = 1e-6,
    score: Score = "probability",
) -> Figures:
    """Returns 1 where the score never falls while features are added, the least relevant first, else 0 (arya2019).

    It is :func:`never_rises` of :func:`xrcam_jax.metrics.flipping.flipped_scores`, whose curve is this one backwards.
    Features are added to ``fill``. They are ordered by the map itself; for the order of absolute values, which Quantus
    has by default, give the absolute map.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: m saliency maps of each picture.
      patch: side of the squares that are added as a whole.
      per_step: how many patches are added at a step; by default a hundredth of all.
      fill: what is there before a pixel is added, see :func:`xrcam_jax.metrics.flipping.flipped_scores`.
      tolerance: what counts as rounding, relative to the greatest absolute score of the curve.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      1 or 0, whose mean over pictures is the share of them; NaN where a map has NaN.

    Raises:
      ValueError: see :func:`xrcam_jax.metrics.flipping.flipped_scores`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.monotonicity import monotonicity_arya
      >>> model = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> images = jnp.array([1.0, -2.0, 3.0]).reshape(1, 1, 3, 1)
      >>> case = Case(model, jnp.ones(1), images, jnp.ones((1, 1), int))
      >>> maps = jnp.array([[[[0.5, 0.1, 0.9]]], [[[0.5, 0.7, 0.9]]]])
      >>> monotonicity_arya(case, maps, score="logit").tolist()
      [[1.0], [0.0]]

    References:
      arya2019
    """
    return never_rises(flipped_scores(case, maps, patch=patch, per_step=per_step, fill=fill, score=score), tolerance)


def monotonicity_nguyen(
    case: Case,
    maps: Maps,
    *,
    patch: PerAxis | None = None,
    per_feature: int = 1,
    fill: Fill = DRAWN,
    score: Score = "probability",
) -> Figures:
    """Returns whether features of more relevance are those without which f(x) is less certain (nguyen2020).

    It is :func:`losses_like_sizes` of :func:`scores_without_each`: the order of absolute relevances against that of
    E (f(x) - f(x with i drawn))². Quantus divides the latter by f(x)², which changes no order.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: m saliency maps of each picture.
      patch: side of the squares that are a feature, by default a sixteenth of each side, see :func:`features`.
      per_feature: how many patches are a feature together, in the order of their absolute sums.
      fill: what is drawn for a feature; by default ten times from the range of each picture's channel.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The correlation in [-1, 1]; NaN where relevance or loss is the same for all features.

    Raises:
      ValueError: see :func:`features` and :func:`scores_without_each`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.monotonicity import monotonicity_nguyen
      >>> model = lambda images, parameters: (images[..., 0] @ parameters)[:, 0]
      >>> weights = jnp.array([1.0, -10.0, 100.0])[:, None]
      >>> case = Case(model, weights, jnp.array([0.0, 0.5, 1.0]).reshape(1, 1, 3, 1), jnp.ones((1, 1), int))
      >>> monotonicity_nguyen(case, weights.reshape(1, 1, 1, 3), score="logit").round(3).tolist()
      [[1.0]]

    References:
      nguyen2020
    """
    found = features(jnp.abs(maps), patch=patch, per_feature=per_feature)
    return losses_like_sizes(scores_without_each(case, found, fill=fill, score=score), found.sums)
