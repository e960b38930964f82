"""Whether a model needs what a saliency map shows: its score on pictures with the salient pixels hidden, or alone.

Pictures are preprocessed, so what pixels are replaced by (``fill``) is 0 for the mean intensity of the data that a
model was normalised with.

References:
  chattopadhay2018: Chattopadhay et al., Grad-CAM++, WACV 2018.
  fu2020: Fu et al., Axiom-based Grad-CAM (XGrad-CAM), BMVC 2020.
  petsiuk2018: Petsiuk et al., RISE, BMVC 2018.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.scores import changed_scores
from xrcam_jax.attribution.targets import Score

Maps = Float[Array, "m b h w"]
Ranks = Int[Array, "m b h w"]
Scores = Float[Array, "*m b"]


@dataclass(frozen=True)
class Hidden:
    """I_p = I · (1 - M) + μ · M, with M the map of that index and μ the fill (fu2020; the thesis's eq. 5.3)."""

    fill: float = 0.0

    def __call__(self, images: Float[Array, "b h w c"], index: Array, maps: Maps) -> Float[Array, "b h w c"]:
        return _blend(images, maps[index], self.fill)


@dataclass(frozen=True)
class Kept:
    """I · M + μ · (1 - M), the explanation as a picture (chattopadhay2018)."""

    fill: float = 0.0

    def __call__(self, images: Float[Array, "b h w c"], index: Array, maps: Maps) -> Float[Array, "b h w c"]:
        return _blend(images, 1 - maps[index], self.fill)


@dataclass(frozen=True)
class Ordered:
    """Pixels replaced in order of saliency: with index = map · (steps + 1) + s, the first share s / steps of them.

    It is called with the :func:`ranks` of the maps.

    Attributes:
      steps: number of equal shares.
      insert: keep that share, instead of replacing it.
      fill: what replaces a pixel.
    """

    steps: int
    insert: bool
    fill: float = 0.0

    def __call__(self, images: Float[Array, "b h w c"], index: Array, order: Ranks) -> Float[Array, "b h w c"]:
        places = order[index // (self.steps + 1)]
        # Whole numbers: a share that is rounded would take a pixel more or less.
        first = places * self.steps < index % (self.steps + 1) * places[0].size
        return jnp.where((first == self.insert)[..., None], images, jnp.asarray(self.fill, images.dtype))


def ranks(maps: Float[Array, "b h w"]) -> Int[Array, "b h w"]:
    """0 for the most salient pixel of each map, h · w - 1 for the least; equal ones in order of rows and columns."""
    flat = maps.reshape(len(maps), -1)
    return jnp.argsort(jnp.argsort(-flat, axis=1), axis=1).reshape(maps.shape).astype(jnp.int32)


@jax.jit
def _all_ranks(maps: Maps) -> Ranks:
    return jax.lax.map(ranks, maps)


def _blend(images: Array, hidden: Array, fill: float) -> Array:
    share = hidden[..., None].astype(images.dtype)
    return images * (1 - share) + jnp.asarray(fill, images.dtype) * share


def scores_when(change: Hidden | Kept, case: Case, maps: Maps, *, score: Score = "probability") -> Float[Array, "m b"]:
    """The targets' scores on the changed pictures, for each map; ``case.targets`` holds one class per picture."""
    return changed_scores(case, change, len(maps), maps, score=score, name="maps")[..., 0]


def intact_scores(case: Case, *, score: Score = "probability") -> Float[Array, " b"]:
    """The targets' scores on the pictures as they are."""
    nothing = jnp.zeros((1, *case.images.shape[:3]), jnp.float32)
    return scores_when(Hidden(), case, nothing, score=score)[0]


def confidence_drop(intact: Scores, hidden: Scores) -> Scores:
    """(S(I) - S(I_p)) / S(I) (fu2020; the thesis's eq. 5.4); 0 where S(I) = 0. The higher, the more faithful."""
    return _share(intact - hidden, intact)


def average_drop(intact: Scores, kept: Scores) -> Scores:
    """max(0, S(I) - S(I · M)) / S(I), 0 where S(I) = 0 (chattopadhay2018; eq. 2.20); the lower, the better.

    Its mean over pictures is the average drop. For scores that are positive, as probabilities are.
    """
    return _share(jnp.maximum(intact - kept, 0), intact)


def increase(intact: Scores, kept: Scores) -> Scores:
    """1 where S(I · M) > S(I), else 0 (chattopadhay2018; eq. 2.21); its mean is the increase in confidence."""
    return (kept > intact).astype(intact.dtype)


def ordered_scores(
    case: Case, maps: Maps, order: Literal["deletion", "insertion"], *, steps: int, fill: float = 0.0,
    score: Score = "probability",
) -> Float[Array, "m s b"]:  # fmt: skip
    """The targets' scores with 0, 1/steps, ... all pixels deleted, or inserted, the most salient first (petsiuk2018).

    Args:
      case: pictures and one target for each.
      maps: what orders the pixels.
      order: ``"deletion"`` starts from the picture, ``"insertion"`` from nothing but ``fill``.
      steps: number of equal shares.
      fill: what a pixel that is not there is replaced by.
      score: see :func:`xrcam_jax.attribution.case.target_scores`.

    Raises:
      ValueError: less than one step, or an order that is neither.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    if order not in ("deletion", "insertion"):
        raise ValueError(f"order must be deletion or insertion; got {order!r}")
    change = Ordered(steps, order == "insertion", fill)
    # Sorting takes as long as the network: once for all steps.
    places = _all_ranks(maps)
    scores = changed_scores(case, change, len(maps) * (steps + 1), places, score=score, name=order)
    return scores[..., 0].reshape(len(maps), steps + 1, -1)


def area_under(scores: Float[Array, "*m s b"]) -> Float[Array, "*m b"]:
    """Area under the curve of scores over the share of pixels, by the trapezoid rule."""
    return (scores[..., 1:, :] + scores[..., :-1, :]).mean(-2) / 2


def _share(part: Scores, whole: Scores) -> Scores:
    return jnp.where(whole == 0, 0, part / jnp.where(whole == 0, 1, whole))
