"""The inside-total relevance ratio: how much of what speaks for a class lies within the object's outline.

References:
  kohlbrenner2020
"""

import jax.numpy as jnp

from xrcam_jax.metrics.judged import Figures, Maps, Masks
from xrcam_jax.metrics.mass import relevance_mass_accuracy
from xrcam_jax.metrics.outlined import rows


def attribution_localisation(maps: Maps, masks: Masks, *, weighted: bool = False) -> Figures:
    """Returns μ = R_in / R_tot, or μ_w = μ S_tot / S_in, of the positive relevance (kohlbrenner2020).

    R_in and R_tot are the sums of positive relevance within the outline and in the picture, S_in and S_tot the numbers
    of pixels. μ is :func:`xrcam_jax.metrics.mass.relevance_mass_accuracy` by another name; μ_w tells how many times
    denser than in the whole picture relevance is within.

    Args:
      maps: R, of any range; only what is positive counts.
      masks: the outlines, of boxes in the paper.
      weighted: whether the size of the object counts.

    Returns:
      μ in [0, 1], or μ_w in [0, S_tot / S_in]. 0 of a map that is positive nowhere, NaN where the mask is empty.

    Raises:
      ValueError: the shapes do not fit together.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.attribution_localisation import attribution_localisation
      >>> maps, masks = jnp.array([[[3.0, 1.0, 0.0, -5.0]]]), jnp.array([[True, False, False, False]])
      >>> [float(attribution_localisation(maps, masks, weighted=weighted)[0, 0]) for weighted in (False, True)]
      [0.75, 3.0]

    References:
      kohlbrenner2020
    """
    ratio = relevance_mass_accuracy(maps, masks)
    if not weighted:
        return ratio
    _, inside = rows(maps, masks)
    return ratio * inside.shape[-1] / jnp.maximum(inside.sum(-1, dtype=ratio.dtype), 1)
