"""How much maps change while pictures are moved along their last axis: images to the right.

References:
  montavon2018
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from xrcam_jax.attribution.case import Case, Function
from xrcam_jax.attribution.targets import Score, target_scores
from xrcam_jax.metrics.correlation import spearman
from xrcam_jax.metrics.judged import Explain, Figures, Maps
from xrcam_jax.metrics.patches import patch_numbers, patch_sums
from xrcam_jax.metrics.versions import Versions, measured, norms, of_versions

#: How far pictures are moved, in pixels: step by step, over the width of the paper's digits.
SHIFTS = tuple(range(1, 29))


class Moved(NamedTuple):
    """Holds what becomes of maps and scores while pictures are moved, for s steps.

    The metrics are what the methods make of it, so the passes are run once for all.

    Attributes:
      maps: ||R(x) - R(x')||_1.
      images: ||x - x'||_2.
      patches: the sum of R(x') over each of p patches.
      scores: the target's score on x'.
    """

    maps: Float[Array, "s m b"]
    images: Float[Array, "s b"]
    patches: Float[Array, "s m b p"]
    scores: Float[Array, "s b"]

    def continuity(self) -> Figures:
        """Returns what :func:`continuity` does."""
        ratio = self.maps / self.images[:, None]
        return jnp.where(self.maps == 0, 0, ratio).max(0)

    def continuity_correlation(self) -> Figures:
        """Returns what :func:`continuity_correlation` does."""
        patches = jnp.moveaxis(self.patches, 0, -1)[..., None, :]
        each = spearman(patches, jnp.broadcast_to(self.scores.T[:, None, None], patches.shape))
        return jnp.nanmean(each, axis=-1)


def moved(
    case: Case,
    explain: Explain,
    maps: Maps,
    *,
    shifts: Sequence[int] = SHIFTS,
    patch: int = 7,
    fill: float = 0.0,
    score: Score = "probability",
) -> Moved:
    """Returns what becomes of maps and scores while the pictures are moved along their last axis, step by step.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are.
      shifts: by how many pixels the s versions are moved, to the left where they are negative.
      patch: side of the patches, in pixels; those at the far sides may be smaller.
      fill: what comes in behind the picture.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Raises:
      ValueError: there are no shifts, ``patch`` is less than 1, or ``score`` is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.continuity import moved
      >>> images = jnp.array([1.0, 0.0, 3.0, 0.0]).reshape(1, 1, 4, 1)
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), images, jnp.ones((1, 1), int))
      >>> def brightness(images, parameters, targets):
      ...   return images[None, ..., 0]
      >>> found = moved(case, brightness, images[None, ..., 0], shifts=(1, 2), patch=2, score="logit")
      >>> found.patches[:, 0, 0].tolist(), found.scores[:, 0].tolist(), found.maps[:, 0, 0].tolist()
      ([[1.0, 3.0], [0.0, 1.0]], [4.0, 1.0], [8.0, 3.0])

    References:
      montavon2018
    """
    if not any(shifts):
        raise ValueError(f"shifts must be at least one number of pixels other than 0; got {tuple(shifts) or 'none'}")
    if patch < 1:
        raise ValueError(f"patch must be at least 1; got {patch}")
    fills = jnp.asarray(fill, case.images.dtype)
    state = jnp.asarray(shifts, jnp.int32), fills, jnp.asarray(maps)
    measure = _Moves(case.function, patch, score)
    return Moved(*measured(case, explain, _shifted, measure, len(shifts), state, name="continuity"))


def _shifted(images: Float[Array, "b *space c"], index: Array, state: PyTree) -> Float[Array, "b *space c"]:
    shifts, fill, _ = state
    size = images.shape[-2]
    places = jnp.arange(size) - shifts[index]
    taken = jnp.take(images, jnp.clip(places, 0, size - 1), axis=-2)
    return jnp.where(((places >= 0) & (places < size))[:, None], taken, fill)


@dataclass(frozen=True)
class _Moves:
    """Measures :class:`Moved`."""

    function: Function
    patch: int
    score: Score

    def __call__(self, versions: Versions, state: PyTree) -> tuple[Array, Array, Array, Array]:
        differences = jnp.abs(versions.maps - state[-1][:, :, None])
        logits = self.function(versions.flat, versions.parameters).reshape(*versions.images.shape[:2], -1)
        scores = target_scores(jnp.swapaxes(logits, 0, 1), versions.targets, self.score)[..., 0]
        numbers, count = patch_numbers(versions.maps.shape[3:], self.patch)
        return (
            of_versions(differences.reshape(*differences.shape[:3], -1).sum(-1)),
            norms(versions.changes, 2).T,
            jnp.moveaxis(patch_sums(versions.maps, numbers, count), 2, 0),
            scores,
        )


def continuity(
    case: Case, explain: Explain, maps: Maps, *, shifts: Sequence[int] = SHIFTS, fill: float = 0.0
) -> Figures:
    """Returns max_x' ||R(x) - R(x')||_1 / ||x - x'||_2, over moved versions x' of a picture x (montavon2018).

    The paper takes the maximum over all pairs of pictures, and moves a picture to show it.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are.
      shifts: by how many pixels the versions are moved over which the maximum is taken.
      fill: what comes in behind the picture.

    Returns:
      From 0, the lower the more continuous; 0 where no map changes, infinite where maps change and pictures do not.

    Raises:
      ValueError: there are no shifts.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.continuity import continuity
      >>> images = jnp.array([1.0, 0.0, 0.0, 0.0]).reshape(1, 1, 4, 1)
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), images, jnp.ones((1, 1), int))
      >>> def brightness(images, parameters, targets):
      ...   return images[None, ..., 0]
      >>> round(float(continuity(case, brightness, images[None, ..., 0], shifts=(1, 2))[0, 0]), 3)  # 2 / sqrt(2)
      1.414

    References:
      montavon2018
    """
    return moved(case, explain, maps, shifts=shifts, fill=fill).continuity()


def continuity_correlation(
    case: Case,
    explain: Explain,
    maps: Maps,
    *,
    shifts: Sequence[int] = SHIFTS,
    patch: int = 7,
    fill: float = 0.0,
    score: Score = "probability",
) -> Figures:
    """Returns how the relevance of patches goes with the score while a picture is moved: Spearman's correlation.

    It is the mean over the patches of the correlation, over the steps, of a patch's sum with the target's score. The
    paper (montavon2018) shows these sums; to correlate them with the score is a suggestion of Quantus.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      explain: makes the maps.
      maps: those of the pictures as they are.
      shifts: by how many pixels the versions are moved.
      patch: side of the patches, in pixels.
      fill: what comes in behind the picture.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Returns:
      In [-1, 1]. Patches whose sum never changes do not count; NaN where none is left, or where the score never
      changes.

    Raises:
      ValueError: there are no shifts, ``patch`` is less than 1, or ``score`` is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.continuity import continuity_correlation
      >>> images = jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 4, 1)
      >>> case = Case(lambda x, p: x.sum((1, 2)), (), images, jnp.ones((1, 1), int))
      >>> def brightness(images, parameters, targets):
      ...   return images[None, ..., 0]
      >>> options = {"shifts": (1, 2, 3), "patch": 4, "score": "logit"}
      >>> round(float(continuity_correlation(case, brightness, images[None, ..., 0], **options)[0, 0]), 3)
      1.0

    References:
      montavon2018
    """
    found = moved(case, explain, maps, shifts=shifts, patch=patch, fill=fill, score=score)
    return found.continuity_correlation()
