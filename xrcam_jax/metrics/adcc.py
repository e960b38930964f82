"""Average drop, coherency and complexity of a class activation map, as one figure.

References:
  poppi2021
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from xrcam_jax.attribution.case import Case, Function
from xrcam_jax.attribution.targets import Score, target_scores
from xrcam_jax.metrics.correlation import pearson
from xrcam_jax.metrics.faithfulness import Kept, average_drop, intact_scores
from xrcam_jax.metrics.judged import Explain, Figures, Maps
from xrcam_jax.metrics.versions import Versions, measured


class Covered(NamedTuple):
    """Holds what becomes of pictures of which only a map's pixels are left, I · M.

    Attributes:
      coherency: (1 + r) / 2, r the correlation of M with the map of I · M; in [0, 1].
      complexity: the mean of M over the pixels.
      drop: max(0, S(I) - S(I · M)) / S(I).
    """

    coherency: Figures
    complexity: Figures
    drop: Figures

    def adcc(self) -> Figures:
        """Returns what :func:`adcc` does."""
        return 3 / (1 / self.coherency + 1 / (1 - self.complexity) + 1 / (1 - self.drop))


def covered(case: Case, explain: Explain, maps: Maps, *, fill: float = 0.0, score: Score = "probability") -> Covered:
    """Returns the three figures that :func:`adcc` is made of.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: M, those of the pictures as they are, in [0, 1].
      fill: what takes the place of what a map does not show.
      score: S, see :func:`xrcam_jax.attribution.targets.target_scores`.

    Raises:
      ValueError: ``score`` is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.adcc import covered
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> def brightness(images, parameters, targets):
      ...   return images[None, ..., 0]
      >>> found = covered(case, brightness, jnp.array([0.0, 1.0]).reshape(1, 1, 1, 2), score="logit")
      >>> found.coherency.tolist(), found.complexity.tolist(), found.drop.tolist()
      ([[1.0]], [[0.5]], [[0.25]])

    References:
      poppi2021
    """
    maps = jnp.asarray(maps)
    given = case, explain, Kept(fill), _Covers(case.function, score), len(maps)
    coherency, kept = measured(*given, maps, name="coherency")
    intact = intact_scores(case, score=score)
    return Covered(coherency, maps.reshape(*maps.shape[:2], -1).mean(-1), average_drop(intact, kept))


@dataclass(frozen=True)
class _Covers:
    """Measures, of pictures that each map has covered, the coherency of that map and the score."""

    function: Function
    score: Score

    def __call__(self, versions: Versions, state: PyTree) -> tuple[Float[Array, "v b"], Float[Array, "v b"]]:
        numbers, explained = versions.numbers, versions.maps
        # Of the m maps of a version, the one of the method that has covered it.
        own = explained[numbers, :, jnp.arange(len(numbers))]
        # Correlations do not ask where a pixel lies.
        before, after = (maps.reshape(*maps.shape[:2], 1, -1) for maps in (state[numbers], own))
        logits = self.function(versions.flat, versions.parameters).reshape(*versions.images.shape[:2], -1)
        scores = target_scores(jnp.swapaxes(logits, 0, 1), versions.targets, self.score)[..., 0]
        return (1 + pearson(before, after)) / 2, scores


def adcc(case: Case, explain: Explain, maps: Maps, *, fill: float = 0.0, score: Score = "probability") -> Figures:
    """Returns 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - average drop)) (poppi2021).

    It is the harmonic mean of three figures in [0, 1], which are high for a map that explains itself, is small, and is
    what the score needs. None of them can be had at the cost of another; a map of ones has an average drop of 0.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are, in [0, 1].
      fill: what takes the place of what a map does not show.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      In [0, 1], the higher the better; 0 where one of the three is 0, NaN where a map is constant.

    Raises:
      ValueError: ``score`` is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.adcc import adcc
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), jnp.array([0.0, 3.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> def brightness(images, parameters, targets):
      ...   return images[None, ..., 0]
      >>> adcc(case, brightness, jnp.array([0.0, 1.0]).reshape(1, 1, 1, 2), score="logit").tolist()  # 3 / (1 + 2 + 1)
      [[0.75]]

    References:
      poppi2021
    """
    return covered(case, explain, maps, fill=fill, score=score).adcc()
