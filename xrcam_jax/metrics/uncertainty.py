"""How sure a figure is: bootstrap intervals and paired tests over independent units, patients if there are several.

A figure is a ratio of sums over pictures: pooled IoU is sum |both| / sum |either|, and a mean is sum x / sum 1. Units
are what is drawn again: the frames of one patient resemble each other, so they stay together. All is computed on the
host, in float64.

References:
  efron1993
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

Values = Num[np.ndarray, " n"] | Bool[np.ndarray, " n"]
Units = Int[np.ndarray, " n"]
EXTRA = "pip install 'xrcam-jax[evaluate]'"


class Estimate(NamedTuple):
    """Holds a figure and its 95 % interval; NaN where nothing can be said.

    Attributes:
      value: the figure.
      low: lower end of its interval.
      high: upper end of its interval.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


def leading(figures: Sequence[Estimate], best: Literal["max", "min"]) -> float:
    """Returns the best of some figures, NaN where another one lies in its interval: then it may not be the best.

    Args:
      figures: some of them may be undefined or infinite, and are left out.
      best: whether more or less is better.

    Returns:
      The value of the best figure. Of figures without intervals the best is always one.

    Example:
      >>> from xrcam_jax.metrics.uncertainty import Estimate, leading
      >>> [leading([Estimate(3.0, low, 4.0), Estimate(2.0)], "max") for low in (2.5, 1.5)]
      [3.0, nan]
    """
    finite = [figure for figure in figures if math.isfinite(figure.value)]
    if not finite:
        return math.nan
    first, *others = sorted(finite, key=lambda figure: figure.value, reverse=best == "max")
    unsure = any(first.low <= other.value <= first.high for other in others)
    return math.nan if unsure else first.value


def sampling_units(patients: Sequence[str]) -> Int[np.ndarray, " n"]:
    """Returns for each picture the number of the unit that it belongs to.

    Args:
      patients: the patient of each picture.

    Returns:
      Numbers of the patients, or of the pictures themselves where all are of one patient.

    Example:
      >>> from xrcam_jax.metrics.uncertainty import sampling_units
      >>> sampling_units(["b", "a", "b"]).tolist(), sampling_units(["a", "a", "a"]).tolist()
      ([1, 0, 1], [0, 1, 2])
    """
    names, units = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    return units if len(names) > 1 else np.arange(len(patients))


def by_unit(values: Values, units: Units) -> Float[np.ndarray, " u"]:
    """Sums values over the pictures of each unit.

    Args:
      values: one for each picture.
      units: the number of each picture's unit, see :func:`sampling_units`.

    Returns:
      One sum for each unit, float64, in the order of the units' numbers.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.uncertainty import by_unit
      >>> by_unit(np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1])).tolist()
      [2.0, 4.0]
    """
    numbers, places = np.unique(units, return_inverse=True)
    sums = np.bincount(places, weights=np.asarray(values, np.float64), minlength=len(numbers))
    # Of no values at all NumPy makes integers.
    return sums.astype(np.float64)


def estimate(parts: Values, wholes: Values, units: Units, *, seed: int = 0, draws: int = 2000) -> Estimate:
    """Returns sum parts / sum wholes with its percentile bootstrap interval over units (efron1993, chapter 13).

    Args:
      parts: numerators, one for each picture.
      wholes: denominators, from 0, one for each picture.
      units: the number of each picture's unit, see :func:`sampling_units`.
      seed: of the draws.
      draws: how many samples are drawn.

    Returns:
      The figure and its interval: NaN where all denominators are 0, without an interval where there is only one unit.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.uncertainty import estimate
      >>> [round(float(v), 3) for v in estimate(np.array([1, 3]), np.array([10, 10]), np.array([0, 1]))]
      [0.2, 0.1, 0.3]

    References:
      efron1993
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
    """Returns the mean over pictures with its interval, as :func:`estimate` does.

    Args:
      values: one for each picture; those that are infinite or undefined are left out.
      units: the number of each picture's unit, see :func:`sampling_units`.
      seed: of the draws.

    Returns:
      The mean and its interval.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.uncertainty import mean
      >>> mean(np.array([1.0, 3.0, np.nan]), np.arange(3)).value
      2.0

    References:
      efron1993
    """
    finite = np.isfinite(values)
    return estimate(np.where(finite, values, 0), finite.astype(float), units, seed=seed)


def paired_p_value(
    a: tuple[Values, Values],
    b: tuple[Values, Values],
    units: Units,
    *,
    seed: int = 0,
) -> float:
    """Returns how often chance alone would set two methods as far apart: a two-sided permutation test of paired units.

    Each method has one ratio in each unit. Within a unit the two methods are swapped at random, or in all ways where
    there are few.

    Args:
      a: parts and wholes of one method, as :func:`estimate` takes them.
      b: those of the other method.
      units: the number of each picture's unit, see :func:`sampling_units`.
      seed: of the swaps.

    Returns:
      The p-value in [0, 1]; NaN with less than two units in which both methods have a ratio.

    Raises:
      ImportError: SciPy is not installed.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.uncertainty import paired_p_value
      >>> units, wholes = np.arange(3), np.ones(3)
      >>> paired_p_value((np.array([0.5, 0.6, 0.7]), wholes), (np.array([0.1, 0.3, 0.2]), wholes), units)
      0.25
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
