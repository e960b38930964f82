"""One figure for both faithfulnesses: whether a map lies on what was outlined, and whether the model needs it.

A map that covers an outline may show what the model never looks at, and one that is faithful to the model may lie on a
logo. The thesis (section 6.2) asks for a single figure that is high for neither. Here it is the harmonic mean of two
shares in [0, 1], of which each is 0 for what chance would give:

    L = max(0, (m - a) / (1 - a))                               mass accuracy m, above the outline's share a
    F = max(0, mean over k of p(kept_k) - p(hidden_k))          contrast of insertion and deletion
    H = 2 L F / (L + F)

with p(s) = (s - s_0) / (s_I - s_0), cut off at 0 and 1, where s_I is the score of the picture and s_0 that of a picture
of which nothing is left. H is 0 where either is, 1 only where both are, and never falls where one of them rises.

References:
  arras2022, petsiuk2018, rijsbergen1979
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.targets import Score
from xrcam_jax.metrics.faithfulness import ordered_scores
from xrcam_jax.metrics.judged import Figures, Maps, Masks
from xrcam_jax.metrics.mass import mass_accuracy
from xrcam_jax.runtime.compiling import compiled

Curves = Float[Array, "m s b"]


@compiled()
def mass_over_chance(maps: Maps, masks: Masks) -> Figures:
    """Returns L = max(0, (m - a) / (1 - a)), how much more of a map lies in the outline than of one without contrast.

    Args:
      maps: of any range; only what is positive counts, as in :func:`xrcam_jax.metrics.mass.mass_accuracy`, which is m.
      masks: what was outlined. Its share of the picture is a.

    Returns:
      L in [0, 1]: 1 where all of the map lies within, 0 for a map without contrast and for what lies elsewhere. NaN
      where nothing is outlined, or everything: then chance is not to be told from what is right.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.both import mass_over_chance
      >>> maps = jnp.array([[[[1.0, 0.0]]], [[[3.0, 1.0]]], [[[1.0, 1.0]]], [[[0.0, 1.0]]]])
      >>> mass_over_chance(maps, jnp.array([[[True, False]]])).ravel().tolist()
      [1.0, 0.5, 0.0, 0.0]

    References:
      arras2022
    """
    maps, masks = jnp.asarray(maps), jnp.asarray(masks)
    flat = maps.reshape(*maps.shape[:2], 1, -1), masks.reshape(len(masks), 1, -1)
    mass = mass_accuracy(*flat)
    chance = masks.reshape(len(masks), -1).mean(-1, dtype=mass.dtype)
    known = (chance > 0) & (chance < 1)
    above = jnp.maximum(mass - chance, 0) / jnp.where(known, 1 - chance, 1)
    return jnp.where(known, above, jnp.nan)


def scores_left(case: Case, maps: Maps, *, steps: int = 10, fill: float = 0.0, score: Score = "probability") -> Curves:
    """Returns the targets' scores with 0, 1 / steps, ... of the pixels hidden, the most salient first.

    It is the deletion of :func:`xrcam_jax.metrics.faithfulness.ordered_scores`, but for pixels that are equal: of these
    the last are hidden first, while insertion shows the first ones first. So what a map without contrast keeps and what
    it leaves are the same, and where the evidence lies in the picture makes no difference.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: what orders the pixels.
      steps: number of equal shares of the pixels, from 1. What is left is rounded up to whole pixels, as what insertion
        shows is.
      fill: what a hidden pixel is replaced by.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Raises:
      ValueError: less than one step, or an unknown score.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.both import scores_left
      >>> brightness = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(brightness, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> scores_left(case, jnp.array([[[[0.5, 0.5]]]]), steps=2, score="logit").ravel().tolist()
      [3.0, 1.0, 0.0]

    References:
      petsiuk2018
    """
    # What is left with the most salient pixels hidden is what is there with the least salient shown.
    return ordered_scores(case, -jnp.asarray(maps), "insertion", steps=steps, fill=fill, score=score)[:, ::-1]


@compiled()
def contrast(hidden: Curves, kept: Curves) -> Figures:
    """Returns F = max(0, mean over k of p(kept_k) - p(hidden_k)), the contrast of insertion and deletion.

    Both curves count as shares p of the way from the empty picture's score to the whole one's. Pixels in random order
    have a contrast of 0 on average, since what is hidden of one order is what is kept of another one. A map without
    contrast has 0.

    Args:
      hidden: scores with 0, 1 / steps, ... of the pixels hidden, the most salient first, see :func:`scores_left`.
      kept: scores with as many shown, ``"insertion"`` of :func:`xrcam_jax.metrics.faithfulness.ordered_scores`.

    Returns:
      F in [0, 1]: 1 where the first share of the pixels alone gives the picture's score, and without it nothing is left
      of that. So it cannot be had by a model that needs more pixels than one share has. NaN where the picture's score
      is not above that of the empty one: then there is nothing that pixels speak for.

    Raises:
      ValueError: the curves differ in shape, or have less than two steps, so that nothing lies between the ends.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.both import contrast
      >>> hidden, kept = jnp.array([4.0, 1.0, 0.0]), jnp.array([0.0, 3.0, 4.0])
      >>> contrast(hidden[None, :, None], kept[None, :, None]).tolist()
      [[0.5]]

    References:
      petsiuk2018
    """
    if hidden.shape != kept.shape or hidden.shape[1] < 3:
        expected = "of one shape, with two steps or more"
        raise ValueError(f"hidden and kept must be curves {expected}; got {hidden.shape} and {kept.shape}")
    whole, empty = hidden[:, :1], hidden[:, -1:]
    known = whole > empty
    way = jnp.where(known, whole - empty, 1)
    # In the same order, what is the same sums up to the same: then the difference is 0, without rounding.
    with_most, with_least = (jnp.clip((curve[:, 1:-1] - empty) / way, 0, 1) for curve in (kept, hidden[:, ::-1]))
    return jnp.where(known[:, 0], jnp.maximum(with_most.mean(1) - with_least.mean(1), 0), jnp.nan)


@compiled()
def joint_faithfulness(hidden: Curves, kept: Curves, maps: Maps, masks: Masks) -> Figures:
    """Returns H = 2 L F / (L + F), the harmonic mean of agreement with the outline and with the model.

    Args:
      hidden: as of :func:`contrast`, which is F.
      kept: likewise.
      maps: as of :func:`mass_over_chance`, which is L.
      masks: likewise.

    Returns:
      H in [0, 1]: 0 where L or F is 0, 1 only where both are 1. NaN where L or F is.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.both import joint_faithfulness
      >>> hidden, kept = jnp.array([4.0, 1.0, 0.0]), jnp.array([0.0, 3.0, 4.0])
      >>> maps, masks = jnp.array([[[[1.0, 0.0, 0.0]]]]), jnp.array([[[True, False, False]]])
      >>> round(float(joint_faithfulness(hidden[None, :, None], kept[None, :, None], maps, masks)[0, 0]), 3)
      0.667

    References:
      rijsbergen1979
    """
    located, needed = mass_over_chance(maps, masks), contrast(hidden, kept)
    total = located + needed
    return 2 * located * needed / jnp.where(total == 0, 1, total)
