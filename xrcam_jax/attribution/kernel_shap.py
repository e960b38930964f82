"""KernelSHAP: Shapley values of superpixels, by a regression of the score on which of them are visible.

Superpixels are scikit-image's (``pip install xrcam-jax[perturbation]``); what runs the network stays on the device.

References:
  lundberg2017
"""

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.scores import Index, changed_scores, default_score
from xrcam_jax.attribution.superpixels import superpixels
from xrcam_jax.attribution.targets import Score


def kernel_shap(
    case: Case, *, samples: int = 1000, segments: int = 50, score: Score | None = None
) -> Float[Array, "b t *space"]:
    """Returns Shapley values φ of superpixels: what each adds to the score, over all orders in which they may appear.

    They minimise Σ_z π(z) (v(z) - v(0) - φ·z)² under Σφ = v(1) - v(0) (lundberg2017, theorem 2), where v(z) is the
    score of the image with the superpixels z, the others in their mean colour, and π(z) = (m - 1) / (C(m, |z|) |z| (m -
    |z|)) of m superpixels. With 2^m - 2 samples or more they are exact. With less, the sums run over all z of the sizes
    that are nearest to 0 and m, and over z drawn from the rest, each together with its complement.

    Args:
      case: what is explained.
      samples: z other than 0 and 1 for each image at most, at least 2; twice as many as superpixels, or more, tell all
        of these apart.
      segments: superpixels (SLIC) asked for, at least 2; a few less or more may be found.
      score: ``"probability"``, ``"logit"`` or ``"log_odds"``; by default the probability of a class, and the value
        itself of a target function.

    Returns:
      Maps with the value of a superpixel at each of its pixels.

    Raises:
      ImportError: scikit-image is missing.
      ValueError: less than two samples or segments, an unknown score, inputs that are no signals, images or volumes, or
        a call inside jit.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.kernel_shap import kernel_shap
      >>> model = lambda images, parameters: (images**2).sum(1)
      >>> signal = jnp.array([0.0, 0.0, 0.0, 0.0, 6.0, 6.1, 6.2, 6.1]).reshape(1, 8, 1)
      >>> case = Case(model, (), signal, jnp.array([[1]]))
      >>> [round(float(v), 3) for v in kernel_shap(case, segments=2, score="logit").ravel()]  # 4 times the variance
      [0.0, 0.0, 0.0, 0.0, 0.02, 0.02, 0.02, 0.02]

    References:
      lundberg2017
    """
    if samples < 2 or segments < 2:
        raise ValueError(f"samples and segments must be at least 2; got {samples} and {segments}")
    found = superpixels(case, segments, "kernel_shap")
    regions = np.asarray(found.regions)
    drawn = [coalitions(int(region.max()) + 1, samples, case.random_seed) for region in regions]
    # Of the first version nothing is visible. All of an image is where another one has more coalitions.
    visible = np.ones((2 + max(len(each.weights) for each in drawn), len(regions), found.width), bool)
    visible[0] = False
    for image, each in enumerate(drawn):
        visible[2 : 2 + len(each.weights), image, : each.visible.shape[1]] = each.visible
    state = (jnp.asarray(visible), found.regions, found.filling)
    score = score or default_score(case)
    scores = changed_scores(case, _shown, len(visible), state, score=score, name="KernelSHAP")
    values = [shapley_values(each, of) for each, of in zip(drawn, _of_images(np.asarray(scores, float)), strict=True)]
    maps = np.stack([value[:, region] for value, region in zip(values, regions, strict=True)])
    return jnp.asarray(maps, scores.dtype)


def _of_images(scores: Float[np.ndarray, "v b t"]) -> Iterator[Float[np.ndarray, "v t"]]:
    return (scores[:, image] for image in range(scores.shape[1]))


def _shown(
    images: Float[Array, "b *space c"],
    index: Index,
    state: tuple[Bool[Array, "v b s"], Int[Array, "b *space"], Float[Array, "b *space c"]],
) -> Float[Array, "b *space c"]:
    """Returns the images with the superpixels of version ``index``; the state is (which, of each pixel, filling)."""
    visible, regions, filling = state
    shown = jnp.take_along_axis(visible[index], regions.reshape(len(regions), -1), axis=1).reshape(regions.shape)
    return jnp.where(shown[..., None], images, filling)


class Coalitions(NamedTuple):
    """Holds sets of superpixels, and what each of them weighs in the regression.

    Attributes:
      visible: which superpixels are in it.
      weights: of the kernel.
    """

    visible: Bool[np.ndarray, "n m"]
    weights: Float[np.ndarray, " n"]


def coalitions(m: int, samples: int, seed: int) -> Coalitions:
    """Returns coalitions whose weights sum to 1, as those of the Shapley kernel over all but the least and the largest.

    Sizes are taken from the outside in, s together with m - s, and all coalitions of a size as long as their share of
    the samples suffices. What is left of the samples goes to the other sizes, in proportion to the kernel.

    Args:
      m: number of players, here of superpixels.
      samples: coalitions at most.
      seed: of what is drawn.

    Example:
      >>> from xrcam_jax.attribution.kernel_shap import coalitions
      >>> found = coalitions(3, 6, 0)
      >>> found.visible.astype(int).tolist(), [round(float(w), 3) for w in found.weights]
      ([[1, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]], [0.167, 0.167, 0.167, 0.167, 0.167, 0.167])
    """
    sizes = np.arange(1, m // 2 + 1)
    # Of all coalitions of a size together, C(m, s) cancels.
    kernel = np.where(2 * sizes == m, 1, 2) / (sizes * (m - sizes))
    shares = kernel / kernel.sum()
    left, sets, weights = samples, [np.zeros((0, m), bool)], [np.zeros(0)]
    for place, size in enumerate(map(int, sizes)):
        number = comb(m, size) * (1 if 2 * size == m else 2)
        if number > left * shares[place] / shares[place:].sum() * (1 + 1e-9):
            sets.append(_drawn(m, sizes[place:], shares[place:] / shares[place:].sum(), left // 2, seed))
            weights.append(np.full(len(sets[-1]), shares[place:].sum() / max(1, len(sets[-1]))))
            break
        sets.append(_all_of(m, size))
        weights.append(np.full(number, shares[place] / number))
        left -= number
    return Coalitions(np.concatenate(sets), np.concatenate(weights))


def _all_of(m: int, size: int) -> Bool[np.ndarray, "n m"]:
    """Returns all coalitions of a size, each followed by its complement where that has another size."""
    members = np.array(list(combinations(range(m), size)))
    visible = np.zeros((len(members), m), bool)
    np.put_along_axis(visible, members, True, axis=1)
    return visible if 2 * size == m else _with_complements(visible)


def _drawn(m: int, sizes: Int[np.ndarray, " s"], shares: Float[np.ndarray, " s"], pairs: int, seed: int) -> np.ndarray:
    """Returns coalitions of sizes that are drawn by their share, each followed by its complement."""
    rng = np.random.default_rng([seed % 2**32, m])
    drawn = rng.choice(sizes, pairs, p=shares)
    return _with_complements(rng.random((pairs, m)).argsort(1) < drawn[:, None])


def _with_complements(visible: Bool[np.ndarray, "n m"]) -> Bool[np.ndarray, "n2 m"]:
    return np.stack([visible, ~visible], axis=1).reshape(-1, visible.shape[1])


def shapley_values(drawn: Coalitions, scores: Float[np.ndarray, "v t"]) -> Float[np.ndarray, "t m"]:
    """Returns the weighted least squares φ of scores on coalitions, under Σφ = v(1) - v(0).

    With φ = (v(1) - v(0)) / m + c that is a regression without a constraint, in which c counts what a coalition has of
    a player beyond the mean of all. Where coalitions are too few, c is the shortest that fits.

    Args:
      drawn: n coalitions.
      scores: v(0), v(1) and those of the coalitions, for t targets; what comes after these does not count.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.attribution.kernel_shap import coalitions, shapley_values
      >>> drawn = coalitions(2, 2, 0)  # one player, the other; together they have more than both alone
      >>> drawn.visible.tolist()
      [[True, False], [False, True]]
      >>> shapley_values(drawn, np.array([[0.0], [10.0], [1.0], [3.0]])).round(9).tolist()
      [[4.0, 6.0]]
    """
    n, m = drawn.visible.shape
    none, whole, each = scores[0], scores[1], scores[2 : 2 + n]
    share = drawn.visible.mean(1, keepdims=True)
    root = np.sqrt(drawn.weights)[:, None]
    beyond = each - none - share * (whole - none)
    c, *_ = np.linalg.lstsq(root * (drawn.visible - share), root * beyond, rcond=None)
    return ((whole - none) / m + c).T
