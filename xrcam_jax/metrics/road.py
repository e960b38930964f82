"""ROAD, remove and debias: how well a model does without the pixels that a map calls relevant, or irrelevant.

References:
  rong2022
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from xrcam_jax.attribution.case import Case, Function
from xrcam_jax.attribution.scores import changed_scores
from xrcam_jax.attribution.targets import Score
from xrcam_jax.classes import class_logits
from xrcam_jax.metrics.faithfulness import ranks
from xrcam_jax.metrics.imputation import imputed
from xrcam_jax.metrics.judged import Figures, Maps
from xrcam_jax.runtime.compiling import compiled

#: The shares of pixels that the authors' experiments remove.
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
#: Which pixels are removed first: the most relevant ones, or the least relevant ones.
Order = Literal["morf", "lerf"]


@dataclass(frozen=True)
class Removed:
    """Removes the first pixels of an order; the state is (:func:`ranks` of all maps, numbers of pixels, key).

    Attributes:
      steps: how many numbers of pixels there are.
      noise: standard deviation of what is added to pixels that are filled in.
    """

    steps: int
    noise: float

    def __call__(
        self,
        images: Float[Array, "b h w c"],
        index: Array,
        state: tuple[Int[Array, "m b h w"], Int[Array, " s"], Key[Array, ""]],
    ) -> Float[Array, "b h w c"]:
        """Returns the pictures without the pixels of version map · steps + step, filled in from those around."""
        order, counts, key = state
        step = index % self.steps
        missing = order[index // self.steps] < counts[step]
        # The same noise for each picture and map, so that neither the batch nor the other maps change what comes out.
        noise = self.noise * jax.random.normal(jax.random.fold_in(key, step), images.shape[1:], images.dtype)
        return jnp.where(missing[..., None], imputed(images, missing) + noise, images)


@dataclass(frozen=True)
class Margins:
    """A model that says of each class how far its logit is above the highest of the others.

    Attributes:
      function: the model, (images, parameters) -> logits.
    """

    function: Function

    def __call__(self, images: Float[Array, "b *space c"], parameters: PyTree) -> Float[Array, "b n"]:
        """Returns the margins; the one of the predicted class is positive, or 0 where two are highest."""
        logits = class_logits(self.function(images, parameters))
        best, second = jnp.moveaxis(jax.lax.top_k(logits, 2)[0][..., None], 1, 0)
        return logits - jnp.where(logits == best, second, best)


def road_scores(
    case: Case,
    maps: Maps,
    *,
    shares: Sequence[float] | float = SHARES,
    order: Order = "morf",
    noise: float = 0.01,
    score: Score | Literal["accuracy"] = "accuracy",
) -> Float[Array, "m s b"]:
    """Returns the targets' scores on pictures without a share of their pixels, filled in by noisy linear imputation.

    See :func:`xrcam_jax.metrics.imputation.imputed` for how; Gaussian noise is added to what is filled in, lest the
    smooth patches tell where pixels are missing (rong2022).

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: what orders the pixels; equal ones follow the order of rows and columns.
      shares: of the pixels that are removed, each in [0, 1); or one of them.
      order: ``"morf"`` removes the most relevant pixels first, ``"lerf"`` the least relevant ones.
      noise: standard deviation of the noise, in the units of the preprocessed pictures.
      score: ``"accuracy"`` is 1 where the target is still the predicted class and else 0; for the others see
        :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      One score for each map, share and picture; their mean over pictures is the paper's curve.

    Raises:
      ValueError: a share out of range, negative noise, another order, no pictures of two dimensions, or the accuracy of
        a target function.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.road import road_scores
      >>> of_one_pixel = lambda images, parameters: images[:, 1, 1] * parameters
      >>> picture = jnp.zeros((1, 3, 3, 1)).at[0, 1, 1].set(5.0)
      >>> case = Case(of_one_pixel, jnp.array([1.0, -1.0]), picture, jnp.zeros((1, 1), int))
      >>> maps = jnp.zeros((1, 1, 3, 3)).at[..., 1, 1].set(1.0)
      >>> road_scores(case, maps, shares=(0.0, 0.2), noise=0.0, score="logit").ravel().tolist()
      [5.0, 0.0]

    References:
      rong2022
    """
    shares = (shares,) if isinstance(shares, int | float) else tuple(shares)
    _check(case, shares, order, score)
    if not noise >= 0:
        raise ValueError(f"noise must be a number from 0; got {noise!r}")
    pixels = case.images[0, ..., 0].size
    # A share of pixels that is a whole number but for rounding counts as that number.
    counts = jnp.array([math.floor(share * pixels + 1e-6) for share in shares], jnp.int32)
    state = (_orders(jnp.asarray(maps), order=order), counts, jax.random.key(case.random_seed))
    change, count = Removed(len(shares), noise), len(maps) * len(shares)
    if score == "accuracy":
        margins = changed_scores(
            replace(case, function=Margins(case.function)), change, count, state, score="logit", name="ROAD"
        )
        scores = (margins >= 0).astype(margins.dtype)
    else:
        scores = changed_scores(case, change, count, state, score=score, name="ROAD")
    return scores[..., 0].reshape(len(maps), len(shares), -1)


def _check(case: Case, shares: Sequence[float], order: str, score: str) -> None:
    if not shares or not all(0 <= share < 1 for share in shares):
        raise ValueError(f"shares must be numbers in [0, 1), since something must be left; got {tuple(shares)}")
    if order not in ("morf", "lerf"):
        raise ValueError(f"order must be morf or lerf; got {order!r}")
    if case.images.ndim != 4:
        raise ValueError(f"road fills in pictures of shape (b, h, w, c); got {case.images.shape}")
    if score == "accuracy" and case.of_value:
        raise ValueError("score='accuracy' asks for the predicted class, which a target function has not")


@compiled(static=("order",))
def _orders(maps: Maps, *, order: Order) -> Int[Array, "m b *space"]:
    return jax.lax.map(ranks, maps if order == "morf" else -maps)


def road(
    case: Case,
    maps: Maps,
    *,
    shares: Sequence[float] | float = SHARES,
    order: Order = "morf",
    noise: float = 0.01,
    score: Score | Literal["accuracy"] = "accuracy",
) -> Figures:
    """Returns the mean of :func:`road_scores` over the shares of pixels removed (rong2022).

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: what orders the pixels.
      shares: of the pixels that are removed, each in [0, 1); or one of them.
      order: ``"morf"`` removes the most relevant pixels first, ``"lerf"`` the least relevant ones.
      noise: standard deviation of what is added to pixels that are filled in.
      score: ``"accuracy"``, as in the paper, ``"probability"``, ``"logit"`` or ``"log_odds"``.

    Returns:
      The mean, of the range of the score. With ``"morf"`` a faithful map has a low one, with ``"lerf"`` a high one.

    Raises:
      ValueError: see :func:`road_scores`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.road import road
      >>> of_one_pixel = lambda images, parameters: images[:, 1, 1] * parameters
      >>> picture = jnp.zeros((1, 3, 3, 1)).at[0, 1, 1].set(5.0)
      >>> case = Case(of_one_pixel, jnp.array([1.0, -1.0]), picture, jnp.zeros((1, 1), int))
      >>> maps = jnp.zeros((1, 1, 3, 3)).at[..., 1, 1].set(1.0)
      >>> [road(case, maps, shares=(0.2,), order=order).item() for order in ("morf", "lerf")]
      [0.0, 1.0]

    References:
      rong2022
    """
    return road_scores(case, maps, shares=shares, order=order, noise=noise, score=score).mean(1)
