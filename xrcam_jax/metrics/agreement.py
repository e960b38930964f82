"""How far readers agree, and which method they prefer: kappas, intraclass correlations, shares of comparisons won.

All is computed on the host, in float64: there are hundreds of ratings, not millions.

References:
  cohen1960, cohen1968, fleiss1971, shrout1979, mcgraw1996, efron1993
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Num

from xrcam_jax.metrics.uncertainty import EXTRA, Estimate, Units, estimate

Weighting = Literal["none", "linear", "quadratic"]
WEIGHTINGS: tuple[Weighting, ...] = ("none", "linear", "quadratic")
#: Mean squares of less than this share of all of them are what rounding leaves of zero.
_ROUNDING = 1e-12


def cohen_kappa(
    a: Int[np.ndarray, " n"],
    b: Int[np.ndarray, " n"],
    categories: int,
    *,
    weighting: Weighting = "none",
    units: Units | None = None,
    seed: int = 0,
) -> Estimate:
    """Returns Cohen's kappa of two readers (cohen1960), weighted if categories have an order (cohen1968):

        κ = (p_o - p_e) / (1 - p_e),  p_o = Σ_ij w_ij p_ij,  p_e = Σ_ij w_ij p_i. p_.j

    where p_ij is the share of things that the one reader puts into category i and the other into j, and w_ij is 1 for
    i = j. Elsewhere it is 0, or 1 - |i - j| / (c - 1) for "linear", or 1 - (i - j)² / (c - 1)² for "quadratic".

    Args:
      a: the first reader's category of each thing, from 0.
      b: the second reader's.
      categories: how many there are, c, from 2.
      weighting: what a disagreement of neighbouring categories counts.
      units: the number of each thing's unit, see :func:`xrcam_jax.metrics.uncertainty.sampling_units`; each thing by
        itself by default.
      seed: of the bootstrap over units.

    Returns:
      Kappa, at most 1, and its 95 % percentile bootstrap interval; 0 is what chance gives. NaN where both readers have
        the same single category, without an interval where there is only one unit.

    Raises:
      ValueError: there are less than two categories, a category is none of them, or the weighting is not known.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.agreement import cohen_kappa
      >>> a, b = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 2])
      >>> round(cohen_kappa(a, b, 3).value, 3), round(cohen_kappa(a, b, 3, weighting="quadratic").value, 3)
      (0.688, 0.8)

    References:
      cohen1960, cohen1968, efron1993
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}; got {weighting!r}")
    _check_categories(np.stack([a, b]), categories)
    steps = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories))) / (categories - 1)
    # 1 - w
    apart = {"none": (steps > 0).astype(float), "linear": steps, "quadratic": steps**2}[weighting]

    def kappa(sums: Float[np.ndarray, "d p"]) -> Float[np.ndarray, " d"]:
        shares = sums.reshape(-1, categories, categories) / np.maximum(sums.sum(1), 1)[:, None, None]
        observed = (apart * shares).sum((1, 2))
        expected = np.einsum("ij,di,dj->d", apart, shares.sum(2), shares.sum(1))
        return 1 - observed / np.where(expected > 0, expected, np.nan)

    return _bootstrapped(kappa, np.eye(categories**2)[a * categories + b], units, seed)


def fleiss_kappa(
    ratings: Int[np.ndarray, "n k"], categories: int, *, units: Units | None = None, seed: int = 0
) -> Estimate:
    """Returns the kappa of any number of readers (fleiss1971), who need not be the same for all things:

        κ = (P - P_e) / (1 - P_e),  P = mean_i Σ_j n_ij (n_ij - 1) / (k (k - 1)),  P_e = Σ_j p_j²

    where n_ij of k readers put thing i into category j, and p_j is the share of all ratings that are j.

    Args:
      ratings: of n things by k readers, categories from 0.
      categories: how many there are, from 2.
      units: the number of each thing's unit, see :func:`xrcam_jax.metrics.uncertainty.sampling_units`; each thing by
        itself by default.
      seed: of the bootstrap over units.

    Returns:
      Kappa, at most 1, and its 95 % percentile bootstrap interval; 0 is what chance gives. NaN where all ratings are
        the same, without an interval where there is only one unit.

    Raises:
      ValueError: there are less than two readers or two categories, or a category is none of them.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.agreement import fleiss_kappa
      >>> round(fleiss_kappa(np.array([[0, 0, 0], [1, 1, 1], [0, 1, 1]]), 2).value, 3)
      0.55

    References:
      fleiss1971, efron1993
    """
    _check_categories(ratings, categories)
    readers = ratings.shape[1]
    if readers < 2:
        raise ValueError(f"ratings must be of two or more readers; got {readers}")
    counts = (ratings[..., None] == np.arange(categories)).sum(1)

    def kappa(sums: Float[np.ndarray, "d p"]) -> Float[np.ndarray, " d"]:
        by_category, agreed = sums[:, :-1], sums[:, -1]
        total = np.maximum(by_category.sum(1), 1)
        chance = ((by_category / total[:, None]) ** 2).sum(1)
        return (agreed / (total * (readers - 1)) - chance) / np.where(by_category.max(1) < total, 1 - chance, np.nan)

    agreed = (counts * (counts - 1)).sum(1, keepdims=True)
    return _bootstrapped(kappa, np.concatenate([counts, agreed], axis=1).astype(float), units, seed)


def icc_agreement(ratings: Num[np.ndarray, "n k"], *, confidence: float = 0.95) -> Estimate:
    """Returns ICC(2,1) of shrout1979, ICC(A,1) of mcgraw1996: readers are some of many, and should give equal ratings.

        ICC(2,1) = (MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE) / n)

    with the mean squares of rows (things), columns (readers) and what is left. The interval is that of mcgraw1996,
    table 7, by Satterthwaite's degrees of freedom.

    Args:
      ratings: of n things by k readers.
      confidence: that the interval holds the correlation.

    Returns:
      The correlation and its interval; NaN where all ratings are the same.

    Raises:
      ValueError: there are less than two things or two readers, or a rating is not finite.
      ImportError: SciPy is not installed.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.agreement import icc_agreement
      >>> [round(v, 2) for v in icc_agreement(np.array([[1, 2], [2, 3], [3, 4], [5, 6]]))]
      [0.85, 0.01, 0.99]

    References:
      shrout1979, mcgraw1996
    """
    msr, msc, mse = _mean_squares(ratings)
    n, k = ratings.shape
    whole = msr + (k - 1) * mse + k * (msc - mse) / n
    if not whole > 0:
        return Estimate(math.nan)
    value = (msr - mse) / whole
    if msc == mse == 0:
        return Estimate(1.0, 1.0, 1.0)
    a, b = k * value / (n * (1 - value)), 1 + k * value * (n - 1) / (n * (1 - value))
    parts = a * msc, b * mse
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (k - 1) + parts[1] ** 2 / ((n - 1) * (k - 1)))
    below, above = _quantile(n - 1, freedom, confidence), _quantile(freedom, n - 1, confidence)
    rest = k * msc + (k * n - k - n) * mse
    low = n * (msr - below * mse) / (below * rest + n * msr)
    return Estimate(value, low, n * (above * msr - mse) / (rest + n * above * msr))


def icc_consistency(ratings: Num[np.ndarray, "n k"], *, confidence: float = 0.95) -> Estimate:
    """Returns ICC(3,1) of shrout1979, ICC(C,1) of mcgraw1996: that one reader is stricter than another does not count.

        ICC(3,1) = (MSR - MSE) / (MSR + (k - 1) MSE)

    with the mean squares of rows (things) and of what rows and columns (readers) leave. The interval is exact: MSR /
    MSE over its expectation has an F distribution with n - 1 and (n - 1)(k - 1) degrees of freedom.

    Args:
      ratings: of n things by k readers.
      confidence: that the interval holds the correlation.

    Returns:
      The correlation and its interval; NaN where each reader gives all things the same rating.

    Raises:
      ValueError: there are less than two things or two readers, or a rating is not finite.
      ImportError: SciPy is not installed.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.agreement import icc_consistency
      >>> [round(v, 2) for v in icc_consistency(np.array([[1, 2], [2, 3], [3, 4], [5, 6]]))]
      [1.0, 1.0, 1.0]

    References:
      shrout1979, mcgraw1996
    """
    msr, _, mse = _mean_squares(ratings)
    n, k = ratings.shape
    if not msr + mse > 0:
        return Estimate(math.nan)
    if mse == 0:
        return Estimate(1.0, 1.0, 1.0)
    rest = (n - 1) * (k - 1)
    ratios = [msr / mse, msr / mse / _quantile(n - 1, rest, confidence), msr / mse * _quantile(rest, n - 1, confidence)]
    return Estimate(*((ratio - 1) / (ratio + k - 1) for ratio in ratios))


def preference(
    first: Sequence[str], second: Sequence[str], outcome: Int[np.ndarray, " n"], units: Units, *, seed: int = 0
) -> dict[str, Estimate]:
    """Returns for each method the share of its comparisons that it won, where equal counts as half.

    Args:
      first: the one method of each comparison.
      second: the other.
      outcome: 1 where the first was preferred, -1 where the second was, 0 where they were equal.
      units: the number of each comparison's unit, see :func:`xrcam_jax.metrics.uncertainty.sampling_units`.
      seed: of the bootstrap over units.

    Returns:
      The share in [0, 1] and its 95 % interval, by method; 0.5 is what chance gives.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.agreement import preference
      >>> found = preference(["cam", "cam"], ["lrp", "lrp"], np.array([1, 0]), np.arange(2))
      >>> {name: share.value for name, share in found.items()}
      {'cam': 0.75, 'lrp': 0.25}

    References:
      efron1993
    """
    won = {}
    for method in sorted({*first, *second}):
        here, there = (np.asarray([name == method for name in names], float) for names in (first, second))
        won[method] = estimate(here * (1 + outcome) / 2 + there * (1 - outcome) / 2, here + there, units, seed=seed)
    return won


def _bootstrapped(
    figure: Callable[[Float[np.ndarray, "d p"]], Float[np.ndarray, " d"]],
    parts: Float[np.ndarray, "n p"],
    units: Units | None,
    seed: int,
    draws: int = 2000,
) -> Estimate:
    """Returns a figure of sums over things with its percentile bootstrap interval over units (efron1993)."""
    value = float(figure(parts.sum(0, keepdims=True))[0])
    numbers, places = np.unique(np.arange(len(parts)) if units is None else units, return_inverse=True)
    if len(numbers) < 2 or math.isnan(value):
        return Estimate(value)
    by_unit = np.zeros((len(numbers), parts.shape[1]))
    np.add.at(by_unit, places, parts)
    # How often each unit is drawn.
    drawn = np.random.default_rng(seed).multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), size=draws)
    low, high = np.nanquantile(figure(drawn @ by_unit), (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def _check_categories(ratings: Int[np.ndarray, "..."], categories: int) -> None:
    if categories < 2:
        raise ValueError(f"categories must be 2 or more; got {categories}")
    if ratings.size and not 0 <= ratings.min() <= ratings.max() < categories:
        raise ValueError(f"ratings must be from 0 to {categories - 1}; got {ratings.min()} to {ratings.max()}")


def _mean_squares(ratings: Num[np.ndarray, "n k"]) -> tuple[float, float, float]:
    """Returns the mean squares of rows, of columns and of what these leave."""
    n, k = ratings.shape
    if min(n, k) < 2:
        raise ValueError(f"ratings must be of two or more things by two or more readers; got {n} by {k}")
    if not np.isfinite(ratings).all():
        raise ValueError("ratings must be finite; got NaN or infinity")
    # Less one of them first, so that ratings that are all the same leave zeros.
    centred: Float[np.ndarray, "n k"] = np.asarray(ratings, np.float64) - float(ratings[0, 0])
    centred = centred - centred.mean()
    rows, columns = centred.mean(1, keepdims=True), centred.mean(0, keepdims=True)
    squares = [
        k * float((rows**2).sum()) / (n - 1),
        n * float((columns**2).sum()) / (k - 1),
        float(((centred - rows - columns) ** 2).sum()) / ((n - 1) * (k - 1)),
    ]
    msr, msc, mse = (square if square > _ROUNDING * sum(squares) else 0.0 for square in squares)
    return msr, msc, mse


def _quantile(numerator: float, denominator: float, confidence: float) -> float:
    """Returns the upper end of the two-sided interval of the F distribution with these degrees of freedom."""
    try:
        from scipy.special import fdtri
    except ImportError:
        raise ImportError(f"intervals of intraclass correlations need SciPy: {EXTRA}") from None
    return float(fdtri(numerator, denominator, (1 + confidence) / 2))
