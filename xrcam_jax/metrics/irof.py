"""IROF, iterative removal of features: the score while superpixels are removed, the most relevant first.

References:
  rieger2020
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.scores import changed_scores
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import Score
from xrcam_jax.metrics.judged import Figures, Maps
from xrcam_jax.runtime.compiling import compiled

Segments = Int[Array | np.ndarray, "b *space"]
#: What a removed pixel is replaced by: one number, or one for each channel of each picture.
Fill = float | Float[Array | np.ndarray, "b c"]
# The number of superpixels is rounded up to a multiple of this, so that batches share a program.
_ROUND = 32


@dataclass(frozen=True)
class Without:
    """Removes superpixels; the state is (place in the order of each pixel's superpixel, how many versions, fill)."""

    def __call__(
        self,
        images: Float[Array, "b *space c"],
        index: Array,
        state: tuple[Int[Array, "m b *space"], Int[Array, ""], Float[Array, "b *space c"]],
    ) -> Float[Array, "b *space c"]:
        """Returns the pictures without the first l superpixels, as version map · versions + l."""
        places, versions, fill = state
        return jnp.where((places[index // versions] < index % versions)[..., None], fill, images)


def segment_scores(
    case: Case, maps: Maps, segments: Segments, *, fill: Fill = 0.0, score: Score = "probability"
) -> Float[Array, "m s b"]:
    """Returns the targets' scores with 0, 1, 2, ... superpixels removed, by their mean relevance (rieger2020).

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: what orders the superpixels; equal ones follow the order of their numbers.
      segments: the superpixel of each pixel, from 0, see :func:`xrcam_jax.attribution.superpixels.superpixels`.
      fill: what removed pixels are replaced by. 0 is the mean of the data that pictures were normalised with;
        ``images.mean((1, 2))`` is that of each picture.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The scores, of 1 + as many versions as the picture with most superpixels has; those with fewer stay as they are
      when all are removed.

    Raises:
      ValueError: segments that are not those of the pictures, or negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.irof import segment_scores
      >>> brightness = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(brightness, jnp.ones(1), jnp.array([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1), jnp.ones((1, 1), int))
      >>> maps, segments = jnp.array([[[[0.1, 0.9, 0.8]]]]), jnp.array([[[0, 1, 1]]])
      >>> segment_scores(case, maps, segments, score="logit").ravel().tolist()
      [7.0, 1.0, 0.0]

    References:
      rieger2020
    """
    if segments.shape != case.images.shape[:-1] or segments.min() < 0:
        expected = f"segments from 0 of shape {case.images.shape[:-1]}, one number for each pixel"
        raise ValueError(f"expected {expected}; got {segments.shape}, from {segments.min()}")
    most = int(segments.max()) + 1
    versions = 1 + int(_counts(segments).max())
    places = _places(jnp.asarray(maps), jnp.asarray(segments), width=-(-most // _ROUND) * _ROUND)
    fills = jnp.asarray(fill, case.images.dtype)
    fills = fills.reshape(*fills.shape[:1], *(1,) * (case.images.ndim - 2), *fills.shape[1:]) if fills.ndim else fills
    state = (places, jnp.int32(versions), jnp.broadcast_to(fills, case.images.shape))
    scores = changed_scores(case, Without(), len(maps) * versions, state, score=score, name="IROF")
    return scores[..., 0].reshape(len(maps), versions, -1)


@compiled(static=("width",))
def _places(maps: Maps, segments: Segments, *, width: int) -> Int[Array, "m b *space"]:
    """Returns for each pixel the place of its superpixel in the order of mean relevance."""

    def of_picture(one: Array, region: Array) -> Array:
        sums = jax.ops.segment_sum(at_least_float32(one).ravel(), region.ravel(), width)
        sizes = jax.ops.segment_sum(jnp.ones(region.size, sums.dtype), region.ravel(), width)
        # Numbers that no pixel has come last.
        means = jnp.where(sizes > 0, sums / jnp.maximum(sizes, 1), -jnp.inf)
        return jnp.argsort(jnp.argsort(-means))[region].astype(jnp.int32)

    return jax.lax.map(lambda one: jax.vmap(of_picture)(one, jnp.asarray(segments)), maps)


def _counts(segments: Segments) -> np.ndarray:
    """Returns how many superpixels each picture has."""
    return np.array([len(np.unique(each)) for each in np.asarray(segments)])


def area_over(scores: Float[Array, "m s b"], counts: Int[Array | np.ndarray, " b"]) -> Figures:
    """Returns the area over the curve of scores, as shares of that of the intact picture (rieger2020).

    With s_l the score without l of L superpixels it is (1 / L) sum_{l=1}^L (1 - (s_{l-1} + s_l) / (2 s_0)): the
    trapezoid rule, and divided by L, so that it does not depend on how many superpixels there are. Quantus does not
    divide, begins at l = 1, and fills the curves of pictures with fewer superpixels than others of the batch up with 0.

    Args:
      scores: see :func:`segment_scores`.
      counts: L of each picture.

    Returns:
      The area, at most 1; NaN where the score of the intact picture is 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.irof import area_over
      >>> area_over(jnp.array([[[1.0], [0.5], [0.0], [0.0]]]), jnp.array([2])).tolist()
      [[0.5]]

    References:
      rieger2020
    """
    steps = jnp.arange(1, scores.shape[1])[:, None] <= jnp.asarray(counts)
    first = scores[:, :1]
    lost = 1 - (scores[:, 1:] + scores[:, :-1]) / (2 * jnp.where(first == 0, jnp.nan, first))
    return jnp.where(steps, lost, 0).sum(1) / steps.sum(0, dtype=scores.dtype)


def irof(case: Case, maps: Maps, segments: Segments, *, fill: Fill = 0.0, score: Score = "probability") -> Figures:
    """Returns the area over the curve of the score while superpixels are removed, the most relevant first (rieger2020).

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: what orders the superpixels.
      segments: the superpixel of each pixel, from 0, see :func:`xrcam_jax.attribution.superpixels.superpixels`.
      fill: what removed pixels are replaced by, see :func:`segment_scores`.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The area, at most 1; the higher, the more faithful is the map.

    Raises:
      ValueError: segments that are not those of the pictures, or negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.irof import irof
      >>> brightness = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(brightness, jnp.ones(1), jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> maps, segments = jnp.array([[[[0.1, 0.9]]], [[[0.9, 0.1]]]]), jnp.array([[[0, 1]]])
      >>> irof(case, maps, segments, score="logit").tolist()
      [[0.625], [0.375]]

    References:
      rieger2020
    """
    return area_over(segment_scores(case, maps, segments, fill=fill, score=score), _counts(segments))
