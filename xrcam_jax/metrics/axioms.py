"""How far maps are from axioms that they should fulfil.

Of class activation maps, with S the score that a map explains, A_k the channels of a layer, w_k its weights and sum_p
over places (fu2020):

- sensitivity: w_k sum_p A_k should be what S loses without channel k.
- conservation: sum_k w_k sum_p A_k should be S.

Of attributions R, signed maps at the size of the pictures that are not scaled:

- completeness: sum_p R_p should be what S loses with the picture (sundararajan2017).
- non-sensitivity: R_p should be zero where S does not depend on the pixel, and only there (nguyen2020).
- input invariance: a shift of all pictures, which the network undoes, should change no R (kindermans2017).

All functions here are pure functions of batches. Equations 5.5 and 5.6 are those of the XRelevance-CAM thesis.

References:
  fu2020, you2024, sundararajan2017, nguyen2020, kindermans2017
"""

from collections.abc import Callable
from math import isfinite

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from xrcam_jax.attribution.baseline import Baseline, baseline_images
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.scores import changed_scores
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import Score
from xrcam_jax.metrics.judged import Explain, Figures, Maps
from xrcam_jax.metrics.patches import patch_largest, patch_numbers
from xrcam_jax.metrics.versions import check_samples, check_targets, distances_from, measured, norms
from xrcam_jax.runtime.compiling import compiled


def contributions(activation: Float[Array, "b *space k"], weights: Float[Array, "b *#space k"]) -> Float[Array, "b k"]:
    """Returns what a map claims of each channel, c_k = sum_p w_k A_k.

    Args:
      activation: A.
      weights: w; one for each channel, or one for each channel and place.

    Returns:
      c, of the dtype of the arguments.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.axioms import contributions
      >>> activation = jnp.ones((1, 2, 2, 3))
      >>> contributions(activation, jnp.array([1.0, 0.5, -1.0]).reshape(1, 1, 1, 3)).tolist()
      [[4.0, 2.0, -4.0]]
    """
    return jnp.sum(activation * weights, axis=tuple(range(1, activation.ndim - 1)))


def sensitivity_error(drops: Float[Array, "b k"], claimed: Float[Array, "b k"]) -> Float[Array, " b"]:
    """Returns sum_k |S(A) - S(A without k) - c_k| / sum_k |S(A) - S(A without k)| (the thesis's eq. 5.5).

    The thesis prints R in the place of A, which is a slip.

    Args:
      drops: S(A) - S(A without k), what the score loses without each channel.
      claimed: c_k, see :func:`contributions`.

    Returns:
      The error, from 0. A map without any error has 0 and a map of zeros has 1. It is 0 where drops and claims are all
      zero, and infinite where only the drops are.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.axioms import sensitivity_error
      >>> drops = jnp.array([[3.0, 1.0], [3.0, 1.0], [0.0, 0.0]])
      >>> sensitivity_error(drops, jnp.array([[3.0, 1.0], [2.0, 2.0], [0.0, 1.0]])).tolist()
      [0.0, 0.5, inf]

    References:
      fu2020, you2024
    """
    return _relative(jnp.abs(drops - claimed).sum(-1), jnp.abs(drops).sum(-1))


def conservation_error(score: Float[Array, " b"], claimed: Float[Array, "b k"]) -> Float[Array, " b"]:
    """Returns |S - sum_k c_k| / |S| (the thesis's eq. 5.6).

    Args:
      score: S.
      claimed: c_k, see :func:`contributions`.

    Returns:
      The error, from 0. It is 0 where score and claims are both zero, and infinite where only the score is.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.axioms import conservation_error
      >>> conservation_error(jnp.array([4.0, 2.0]), jnp.array([[1.0, 3.0], [1.0, 0.0]])).tolist()
      [0.0, 0.5]

    References:
      fu2020, you2024
    """
    return _relative(jnp.abs(score - claimed.sum(-1)), jnp.abs(score))


def completeness(case: Case, maps: Maps, *, baseline: Baseline = 0.0, score: Score = "logit") -> Figures:
    """Returns |sum_p R_p - (S(x) - S(x0))| / |S(x) - S(x0)| (sundararajan2017).

    By so much attributions miss their sum. It is a residual: Quantus asks whether the two sums are the same float,
    which rounding alone decides.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: R, signed and not scaled: ``raw`` of an :class:`xrcam_jax.Explanation` at the input.
      baseline: x0, what an image without information looks like after preprocessing; broadcast to the images.
      score: S, see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The residual, from 0. It is 0 where both sums are zero, and infinite where only the scores are the same.

    Raises:
      ValueError: an unknown ``score``, or a baseline that does not fit the images.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.axioms import completeness
      >>> case = Case(lambda x, p: 3 * x.sum((1, 2)), (), jnp.ones((1, 1, 2, 1)), jnp.ones((1, 1), int))
      >>> completeness(case, jnp.array([[[[3.0, 3.0]]], [[[3.0, 0.0]]]])).tolist()
      [[0.0], [0.5]]

    References:
      sundararajan2017
    """
    check_targets(case)
    start = baseline_images(case, baseline)
    scores = changed_scores(case, _all_or_nothing, 2, start, score=score, name="completeness")[..., 0]
    return _residual(jnp.asarray(maps), scores[1] - scores[0])


def _all_or_nothing(images: Float[Array, "b *space c"], index: Array, start: Array) -> Float[Array, "b *space c"]:
    return jnp.where(index == 1, images, start)


@jax.jit
def _residual(maps: Float[Array, "m b *space"], difference: Float[Array, " b"]) -> Figures:
    claimed = at_least_float32(maps).reshape(*maps.shape[:2], -1).sum(-1)
    return _relative(jnp.abs(claimed - difference), jnp.broadcast_to(jnp.abs(difference), claimed.shape))


def patch_influences(
    case: Case, *, patch: int = 1, nr_samples: int = 10, score: Score = "probability"
) -> Float[Array, "p b"]:
    """Returns the mean of (S(x) - S(x'))² over pictures x' with one patch drawn anew (nguyen2020), patch by patch.

    Each value in the patch is drawn from the uniform distribution over the range of its picture. Up to that range, the
    draw is the same for all pictures.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      patch: side of the patches, in pixels; 1 for every pixel by itself, which takes as many passes as there are
        pixels, times ``nr_samples``.
      nr_samples: over how many draws the mean is taken.
      score: S, see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      One figure for each of p patches and each picture, row by row as
      :func:`xrcam_jax.metrics.patches.patch_numbers` has them, from 0.

    Raises:
      ValueError: ``patch`` or ``nr_samples`` is less than 1, or ``score`` is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.axioms import patch_influences
      >>> first = lambda images, parameters: images[:, 0, 0]
      >>> case = Case(first, (), jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> found = patch_influences(case, score="logit")
      >>> float(found[0, 0]) > 0, float(found[1, 0])
      (True, 0.0)

    References:
      nguyen2020
    """
    if patch < 1:
        raise ValueError(f"patch must be at least 1; got {patch}")
    check_samples(nr_samples)
    check_targets(case)
    numbers, count = patch_numbers(case.images.shape[1:-1], patch)
    samples = jnp.asarray(nr_samples, jnp.int32)
    # Number -1 is of no patch, so that the picture as it is runs by the same program.
    state = jax.random.key(case.random_seed), jnp.asarray(numbers), samples
    scores = changed_scores(case, _redrawn, count * nr_samples + 1, state, score=score, name="influences")[..., 0]
    return _mean_squares(scores[0], scores[1:].reshape(count, nr_samples, -1))


def _redrawn(images: Float[Array, "b *space c"], index: Array, state: PyTree) -> Float[Array, "b *space c"]:
    key, numbers, samples = state
    of_picture = tuple(range(1, images.ndim))
    low, high = images.min(of_picture, keepdims=True), images.max(of_picture, keepdims=True)
    drawn = jax.random.uniform(jax.random.fold_in(key, index), images.shape[1:], images.dtype)
    there = (numbers == (index - 1) // samples) & (index > 0)
    return jnp.where(there[..., None], low + (high - low) * drawn, images)


@jax.jit
def _mean_squares(intact: Float[Array, " b"], drawn: Float[Array, "p n b"]) -> Float[Array, "p b"]:
    return jnp.mean((drawn - intact) ** 2, axis=1)


def missed_patches(influences: Float[Array, "p b"], maps: Maps, *, patch: int = 1, tolerance: float = 1e-5) -> Figures:
    """Returns in how many patches a map is zero although the score depends on them, or the other way round.

    Args:
      influences: of each patch on the score, see :func:`patch_influences`.
      maps: R.
      patch: side of the patches, in pixels.
      tolerance: what counts as zero, of |R| in a whole patch and of its influence.

    Returns:
      |R_0 Δ X_0|, the number of elements of the symmetric difference: from 0 to the number of patches.

    Raises:
      ValueError: a negative tolerance, or another number of patches.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.axioms import missed_patches
      >>> influences = jnp.array([[1.0], [0.0], [0.0]])
      >>> missed_patches(influences, jnp.array([[[[2.0, 0.0, 0.0]]], [[[0.0, 0.0, -1.0]]]])).tolist()
      [[0.0], [2.0]]

    References:
      nguyen2020
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be a number from 0; got {tolerance!r}")
    _, count = patch_numbers(maps.shape[2:], patch)
    if len(influences) != count:
        raise ValueError(f"influences must be those of the maps' {count} patches; got {len(influences)}")
    return _missed(influences, jnp.asarray(maps), jnp.float32(tolerance), patch=patch)


@compiled(static=("patch",))
def _missed(
    influences: Float[Array, "p b"], maps: Float[Array, "m b *space"], tolerance: Float[Array, ""], *, patch: int
) -> Figures:
    largest = patch_largest(at_least_float32(jnp.abs(maps)), *patch_numbers(maps.shape[2:], patch))
    missed = (largest <= tolerance.astype(largest.dtype)) != (tolerance.astype(influences.dtype) >= influences.T)
    return missed.sum(-1, dtype=largest.dtype)


def non_sensitivity(
    case: Case,
    maps: Maps,
    *,
    patch: int = 1,
    nr_samples: int = 10,
    tolerance: float = 1e-5,
    score: Score = "probability",
) -> Figures:
    """Returns |R_0 Δ X_0| (nguyen2020): how many pixels have R = 0 but move the score, or move nothing but have R ≠ 0.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: R.
      patch: side of the patches that are taken for one feature, in pixels; 1 for every pixel by itself.
      nr_samples: how often each patch is drawn anew, see :func:`patch_influences`.
      tolerance: what counts as zero, see :func:`missed_patches`.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      From 0 to the number of patches, the lower the better.

    Raises:
      ValueError: as :func:`patch_influences` and :func:`missed_patches` do.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.axioms import non_sensitivity
      >>> first = lambda images, parameters: images[:, 0, 0]
      >>> case = Case(first, (), jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> non_sensitivity(case, jnp.array([[[[1.0, 0.0]]], [[[1.0, 1.0]]]]), score="logit").tolist()
      [[0.0], [1.0]]

    References:
      nguyen2020
    """
    influences = patch_influences(case, patch=patch, nr_samples=nr_samples, score=score)
    return missed_patches(influences, maps, patch=patch, tolerance=tolerance)


def input_invariance(
    case: Case, explain_shifted: Callable[[float], Explain], maps: Maps, *, shift: float = -1.0
) -> Figures:
    """Returns ||R' - R|| / ||R||, R' the map of x + shift by the network that takes the shift off (kindermans2017).

    The paper has the biases of the first layer take it off, so that both networks do the same on all pictures. It is
    the same as a subtraction before the first layer, which no padding disturbs. Quantus asks whether all floats of the
    maps are the same; this is a residual.

    Args:
      case: the model as it is, the pictures and one target class for each, (b, 1).
      explain_shifted: (shift) -> what makes the maps of the network that takes the shift off its pictures; of an
        Explainer, see :func:`xrcam_jax.explain.again.explain_again`.
      maps: R, those of the model as it is.
      shift: what is added to each value of the pictures, in units of the preprocessed pictures; by default the paper's,
        which takes pictures from [0, 1] to [-1, 0].

    Returns:
      From 0, the lower the better; 0 where both maps are zero, infinite where only R is.

    Raises:
      ValueError: a shift that is 0 or not finite.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.axioms import input_invariance
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.ones((1, 1, 2, 1)), jnp.ones((1, 1), int))
      >>> def gradient_x_input(shift):  # of sum (x - shift)
      ...   return lambda images, parameters, targets: images[None, ..., 0]
      >>> input_invariance(case, gradient_x_input, jnp.ones((1, 1, 1, 2)), shift=0.5).tolist()
      [[0.5]]

    References:
      kindermans2017
    """
    if not isfinite(shift) or shift == 0:
        raise ValueError(f"shift must be a finite number other than 0; got {shift!r}")
    maps = jnp.asarray(maps)
    state = jnp.asarray(shift, case.images.dtype), maps
    distances = measured(case, explain_shifted(shift), _brighter, distances_from, 1, state, name="input invariance")[0]
    return _relative(distances, norms(maps, 2))


def _brighter(images: Float[Array, "b *space c"], index: Array, state: PyTree) -> Float[Array, "b *space c"]:
    return images + state[0]


def _relative(error: Array, scale: Array) -> Array:
    return jnp.where((error == 0) & (scale == 0), 0, error / scale)
