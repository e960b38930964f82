"""How sure a figure is: bootstrap intervals and paired tests over independent units, patients if there are several.

A figure is a ratio of sums over pictures: pooled IoU is sum |both| / sum |either|, a mean is sum x / sum 1. What is
drawn again and again is the unit: frames of one patient resemble each other, so they stay together. On the host, in
float64.

References:
  efron1993: Efron and Tibshirani, An introduction to the bootstrap, 1993.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

Values = Num[np.ndarray, " n"] | Bool[np.ndarray, " n"]
Units = Int[np.ndarray, " n"]
EXTRA = "pip install 'xrcam-jax[evaluate]'"


class Estimate(NamedTuple):
    """A figure and its 95 % interval; NaN where nothing can be said."""

    value: float
    low: float = math.nan
    high: float = math.nan


def sampling_units(patients: Sequence[str]) -> Int[np.ndarray, " n"]:
    """For each picture the number of its unit: its patient, or the picture itself where all are of one patient."""
    names, units = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    return units if len(names) > 1 else np.arange(len(patients))


def by_unit(values: Values, units: Units) -> Float[np.ndarray, " u"]:
    """Sums over the pictures of each unit."""
    numbers, places = np.unique(units, return_inverse=True)
    sums = np.bincount(places, weights=np.asarray(values, np.float64), minlength=len(numbers))
    # Of no values at all NumPy makes integers.
    return sums.astype(np.float64)


def estimate(
    parts: Values, wholes: Values, units: Units, *, seed: int = 0, draws: int = 2000
) -> Estimate:
    """sum parts / sum wholes with its percentile bootstrap interval over units (efron1993, chapter 13).

    Args:
      parts: numerators, one a picture.
      wholes: denominators.
      units: see :func:`sampling_units`.
      seed: of the draws.
      draws: how many samples are drawn.

    Returns:
      NaN where all denominators are 0, no interval where there is only one unit.
    """
    part, whole = by_unit(parts, units), by_unit(wholes, units)
    if not whole.sum() > 0:
        return Estimate(math.nan)
    value = float(part.sum() / whole.sum())
    if len(part) < 2:
        return Estimate(value)
    drawn = np.random.default_rng(seed).integers(len(part), size=(draws, len(part)))
    sums, totals = part[drawn].sum(1), whole[drawn].sum(1)
    low, high = np.quantile((sums[totals > 0] / totals[totals > 0]), (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def mean(values: Values, units: Units, *, seed: int = 0) -> Estimate:
    """The mean over pictures; infinite and undefined values are left out."""
    finite = np.isfinite(values)
    return estimate(np.where(finite, values, 0), finite.astype(float), units, seed=seed)


def paired_p_value(
    a: tuple[Values, Values],
    b: tuple[Values, Values],
    units: Units,
    *,
    seed: int = 0,
) -> float:
    """How often chance alone would set two methods as far apart: two-sided permutation test of paired units.

    The (parts, wholes) of a method give one ratio per unit; within each unit the two methods are swapped at random, or
    in all ways if there are few. NaN with less than two units.

    Raises:
      ImportError: SciPy is not installed.
    """
    try:
        from scipy.stats import permutation_test
    except ImportError:
        raise ImportError(f"paired tests need SciPy: {EXTRA}") from None
    ratios = []
    for parts, wholes in (a, b):
        whole = by_unit(wholes, units)
        ratios.append(by_unit(parts, units) / np.where(whole > 0, whole, np.nan))
    both = np.isfinite(ratios[0]) & np.isfinite(ratios[1])
    differences = (ratios[0] - ratios[1])[both]
    if len(differences) < 2:
        return math.nan
    result = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=4096, rng=np.random.default_rng(seed)
    )
    return float(result.pvalue)
