"""Whether a model needs what a saliency map shows: its score on pictures with the salient pixels hidden, or alone.

A replaced pixel gets the value ``fill``. Pictures are preprocessed, so 0 stands for the mean intensity of the data
that a model was normalised with. Equations 5.x and 2.x are those of the XRelevance-CAM thesis.

References:
  chattopadhay2018, fu2020, petsiuk2018
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.scores import changed_scores
from xrcam_jax.attribution.targets import Score

Maps = Float[Array | np.ndarray, "m b *space"]
Ranks = Int[Array, "m b *space"]
Scores = Float[Array, "*#m b"]


@dataclass(frozen=True)
class Hidden:
    """Hides what a map shows, I_p = I · (1 - M) + μ · M (fu2020; the thesis's eq. 5.3).

    Attributes:
      fill: μ, what a hidden pixel is replaced by.
    """

    fill: float = 0.0

    def __call__(self, images: Float[Array, "b *space c"], index: Array, maps: Maps) -> Float[Array, "b *space c"]:
        """Returns the pictures changed by the map of that index, as :func:`changed_scores` asks for them."""
        return _blend(images, maps[index], self.fill)


@dataclass(frozen=True)
class Kept:
    """Keeps only what a map shows, I · M + μ · (1 - M): the explanation as a picture (chattopadhay2018).

    Attributes:
      fill: μ, what all other pixels are replaced by.
    """

    fill: float = 0.0

    def __call__(self, images: Float[Array, "b *space c"], index: Array, maps: Maps) -> Float[Array, "b *space c"]:
        """Returns the pictures changed by the map of that index, as :func:`changed_scores` asks for them."""
        return _blend(images, 1 - maps[index], self.fill)


@dataclass(frozen=True)
class Ordered:
    """Replaces pixels in the order of their saliency, one share of all pixels after the other.

    Attributes:
      steps: number of equal shares.
      insert: whether the most salient pixels are those that are kept, instead of those that are replaced.
      fill: what replaces a pixel.
    """

    steps: int
    insert: bool
    fill: float = 0.0

    def __call__(self, images: Float[Array, "b *space c"], index: Array, order: Ranks) -> Float[Array, "b *space c"]:
        """Returns the pictures with the first s of all shares replaced, or kept.

        Args:
          images: the pictures.
          index: 0 for none of the shares and 1 for all, whatever the map; and 2 + map · (steps - 1) + s - 1 for s.
          order: :func:`ranks` of all maps.
        """
        number, between = jnp.maximum(index - 2, 0), max(1, self.steps - 1)
        places, inner = order[number // between], 1 + number % between
        step = jnp.where(index < 2, index * self.steps, inner)
        # These are whole numbers, since a rounded share would take a pixel more or less.
        first = places * self.steps < step * places[0].size
        return jnp.where((first == self.insert)[..., None], images, jnp.asarray(self.fill, images.dtype))


def ranks(maps: Float[Array | np.ndarray, "b *space"]) -> Int[Array, "b *space"]:
    """Returns the place of each pixel in the order of saliency of its map.

    Args:
      maps: saliency maps, of any range.

    Returns:
      int32, from 0 for the most salient pixel to that of the least. Equal ones follow the order of rows and columns.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.faithfulness import ranks
      >>> ranks(jnp.array([[[0.1, 0.9], [0.5, 0.1]]])).tolist()
      [[[2, 0], [1, 3]]]
    """
    flat = maps.reshape(len(maps), -1)
    return jnp.argsort(jnp.argsort(-flat, axis=1), axis=1).reshape(maps.shape).astype(jnp.int32)


@jax.jit
def _all_ranks(maps: Maps) -> Ranks:
    return jax.lax.map(ranks, maps)


def _blend(images: Array, hidden: Array, fill: float) -> Array:
    share = hidden[..., None].astype(images.dtype)
    return images * (1 - share) + jnp.asarray(fill, images.dtype) * share


def scores_when(change: Hidden | Kept, case: Case, maps: Maps, *, score: Score = "probability") -> Float[Array, "m b"]:
    """Returns the targets' scores on the pictures that each map changes.

    Args:
      change: what is done with the pixels that a map shows.
      case: the model, the pictures and one target class for each, (b, 1).
      maps: m saliency maps of each picture, in [0, 1].
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      One score for each map and picture.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.faithfulness import Hidden, Kept, scores_when
      >>> brightness = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(brightness, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> maps = jnp.array([[[[0.0, 1.0]]]])
      >>> [scores_when(change, case, maps, score="logit").tolist() for change in (Hidden(), Kept())]
      [[[1.0]], [[2.0]]]

    References:
      fu2020, chattopadhay2018
    """
    return changed_scores(case, change, len(maps), maps, score=score, name="maps")[..., 0]


def intact_scores(case: Case, *, score: Score = "probability") -> Float[Array, " b"]:
    """Returns the targets' scores on the pictures as they are.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      One score for each picture, by the same program as those on changed pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.faithfulness import intact_scores
      >>> brightness = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(brightness, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> intact_scores(case, score="logit").tolist()
      [3.0]
    """
    nothing = jnp.zeros((1, *case.images.shape[:-1]), jnp.float32)
    return scores_when(Hidden(), case, nothing, score=score)[0]


def confidence_drop(intact: Scores, hidden: Scores) -> Scores:
    """Returns (S(I) - S(I_p)) / S(I), the share of the score that is lost (fu2020; the thesis's eq. 5.4).

    The higher it is, the more faithful is the map.

    Args:
      intact: S(I), see :func:`intact_scores`.
      hidden: S(I_p), see :func:`scores_when` and :class:`Hidden`. The arguments broadcast.

    Returns:
      The drop, at most 1 for positive scores; 0 where S(I) = 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.faithfulness import confidence_drop
      >>> confidence_drop(jnp.array([0.5, 0.0]), jnp.array([0.125, 0.2])).tolist()
      [0.75, 0.0]

    References:
      fu2020
    """
    return _share(intact - hidden, intact)


def average_drop(intact: Scores, kept: Scores) -> Scores:
    """Returns max(0, S(I) - S(I · M)) / S(I), whose mean over pictures is the average drop (the thesis's eq. 2.20).

    The lower it is, the more faithful is the map. It is meant for scores that are positive, as probabilities are.

    Args:
      intact: S(I), see :func:`intact_scores`.
      kept: S(I · M), see :func:`scores_when` and :class:`Kept`. The arguments broadcast.

    Returns:
      The drop in [0, 1]; 0 where S(I) = 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.faithfulness import average_drop
      >>> average_drop(jnp.array([0.5, 0.5]), jnp.array([0.125, 0.75])).tolist()
      [0.75, 0.0]

    References:
      chattopadhay2018
    """
    return _share(jnp.maximum(intact - kept, 0), intact)


def increase(intact: Scores, kept: Scores) -> Scores:
    """Returns 1 where S(I · M) > S(I) and 0 elsewhere; its mean is the increase in confidence (the thesis's eq. 2.21).

    Args:
      intact: S(I), see :func:`intact_scores`.
      kept: S(I · M), see :func:`scores_when` and :class:`Kept`. The arguments broadcast.

    Returns:
      0 or 1, of the dtype of ``intact``.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.faithfulness import increase
      >>> increase(jnp.array([0.5, 0.5]), jnp.array([0.125, 0.75])).tolist()
      [0.0, 1.0]

    References:
      chattopadhay2018
    """
    return (kept > intact).astype(intact.dtype)


def ordered_scores(
    case: Case,
    maps: Maps,
    order: Literal["deletion", "insertion"],
    *,
    steps: int,
    fill: float = 0.0,
    score: Score = "probability",
) -> Float[Array, "m s b"]:
    """Returns the targets' scores while pixels are deleted, or inserted, the most salient first (petsiuk2018).

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: what orders the pixels.
      order: ``"deletion"`` starts from the picture, ``"insertion"`` from nothing but ``fill``.
      steps: number of equal shares of the pixels, from 1.
      fill: what a pixel that is not there is replaced by.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      The scores with 0, 1 / steps, ... and all pixels deleted or inserted: s is ``steps`` + 1.

    Raises:
      ValueError: less than one step, or an order that is neither.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.faithfulness import ordered_scores
      >>> brightness = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(brightness, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> maps = jnp.array([[[[0.1, 0.9]]]])
      >>> ordered_scores(case, maps, "deletion", steps=2, score="logit").ravel().tolist()
      [3.0, 1.0, 0.0]

    References:
      petsiuk2018
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    if order not in ("deletion", "insertion"):
        raise ValueError(f"order must be deletion or insertion; got {order!r}")
    change = Ordered(steps, order == "insertion", fill)
    # Sorting takes as long as the network, so it is done once for all steps.
    places = _all_ranks(maps)
    # Both ends of the curves are the same for all maps.
    count = 2 + len(maps) * (steps - 1)
    scores = changed_scores(case, change, count, places, score=score, name=order)[..., 0]
    begin, end = jnp.broadcast_to(scores[:2, None, None], (2, len(maps), 1, scores.shape[-1]))
    return jnp.concatenate([begin, scores[2:].reshape(len(maps), steps - 1, scores.shape[-1]), end], axis=1)


def area_under(scores: Float[Array, "*m s b"]) -> Float[Array, "*m b"]:
    """Returns the area under the curve of scores over the share of pixels, by the trapezoid rule.

    Args:
      scores: at equally distant shares from 0 to 1, see :func:`ordered_scores`.

    Returns:
      The area, in the range of the scores.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.faithfulness import area_under
      >>> area_under(jnp.array([[1.0], [0.5], [0.0]])).tolist()
      [0.5]

    References:
      petsiuk2018
    """
    return (scores[..., 1:, :] + scores[..., :-1, :]).mean(-2) / 2


def _share(part: Scores, whole: Scores) -> Scores:
    return jnp.where(whole == 0, 0, part / jnp.where(whole == 0, 1, whole))
