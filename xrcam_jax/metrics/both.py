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


@compiled()
def contrast(deleted: Curves, inserted: Curves) -> Figures:
    """Returns F = max(0, mean over k of p(kept_k) - p(hidden_k)), the contrast of insertion and deletion.

    Both curves count as shares p of the way from the empty picture's score to the whole one's. Pixels in random order
    have a contrast of 0 on average: what is hidden of a random order is what is kept of another one.

    Args:
      deleted: scores with 0, 1 / steps, ... of the pixels hidden, the most salient first: ``"deletion"`` of
        :func:`xrcam_jax.metrics.faithfulness.ordered_scores`.
      inserted: scores with as many kept, ``"insertion"`` of the same.

    Returns:
      F in [0, 1]: 1 where the first share of the pixels alone gives the picture's score, and without it nothing is left
      of that. So it cannot be had by a model that needs more pixels than one share has. NaN where the picture's score
      is not above that of the empty one: then there is nothing that pixels speak for.

    Raises:
      ValueError: the curves differ in shape, or have less than two steps, so that nothing lies between the ends.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.both import contrast
      >>> deleted, inserted = jnp.array([4.0, 1.0, 0.0]), jnp.array([0.0, 3.0, 4.0])
      >>> contrast(deleted[None, :, None], inserted[None, :, None]).tolist()
      [[0.5]]

    References:
      petsiuk2018
    """
    if deleted.shape != inserted.shape or deleted.shape[1] < 3:
        expected = "of one shape, with two steps or more"
        raise ValueError(f"deleted and inserted must be curves {expected}; got {deleted.shape} and {inserted.shape}")
    whole, empty = deleted[:, :1], deleted[:, -1:]
    known = whole > empty
    way = jnp.where(known, whole - empty, 1)
    kept, hidden = (jnp.clip((curve[:, 1:-1] - empty) / way, 0, 1) for curve in (inserted, deleted))
    return jnp.where(known[:, 0], jnp.maximum((kept - hidden).mean(1), 0), jnp.nan)


@compiled()
def joint_faithfulness(deleted: Curves, inserted: Curves, maps: Maps, masks: Masks) -> Figures:
    """Returns H = 2 L F / (L + F), the harmonic mean of agreement with the outline and with the model.

    Args:
      deleted: as of :func:`contrast`, which is F.
      inserted: likewise.
      maps: as of :func:`mass_over_chance`, which is L.
      masks: likewise.

    Returns:
      H in [0, 1]: 0 where L or F is 0, 1 only where both are 1. NaN where L or F is.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.both import joint_faithfulness
      >>> deleted, inserted = jnp.array([4.0, 1.0, 0.0]), jnp.array([0.0, 3.0, 4.0])
      >>> maps, masks = jnp.array([[[[1.0, 0.0, 0.0]]]]), jnp.array([[[True, False, False]]])
      >>> round(float(joint_faithfulness(deleted[None, :, None], inserted[None, :, None], maps, masks)[0, 0]), 3)
      0.667

    References:
      rijsbergen1979
    """
    located, needed = mass_over_chance(maps, masks), contrast(deleted, inserted)
    total = located + needed
    return 2 * located * needed / jnp.where(total == 0, 1, total)
