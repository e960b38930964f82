"""Passes over changed pictures that several metrics share, with the defaults that metrics have by name."""

from typing import Literal

from jaxtyping import Array, Float

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.targets import Score
from xrcam_jax.metrics import faithfulness
from xrcam_jax.metrics.faithfulness import Hidden, Kept
from xrcam_jax.metrics.judged import Figures, Maps
from xrcam_jax.metrics.overlap import salient_pixels

#: What of a map counts: its values, or its salient pixels.
Shown = Literal["map", "mask"]


def intact(case: Case, *, score: Score = "probability") -> Float[Array, " b"]:
    """Returns the scores on the pictures as they are.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.evaluation.passes import intact
      >>> brightness = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(brightness, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> intact(case, score="logit").tolist()
      [3.0]
    """
    return faithfulness.intact_scores(case, score=score)


def hidden(case: Case, maps: Maps, *, shown: Shown = "map", fill: float = 0.0, score: Score = "probability") -> Figures:
    """Returns the scores with hidden what each map shows.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: in [0, 1].
      shown: whether the map itself says how much of a pixel is hidden, or its salient pixels are.
      fill: what a hidden pixel is replaced by.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.evaluation.passes import hidden
      >>> brightness = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(brightness, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> hidden(case, jnp.array([[[[0.0, 1.0]]]]), score="logit").tolist()
      [[1.0]]
    """
    return _scores_when(Hidden(fill), case, maps, shown, score)


def kept(case: Case, maps: Maps, *, shown: Shown = "map", fill: float = 0.0, score: Score = "probability") -> Figures:
    """Returns the scores with hidden all but what each map shows.

    Args:
      case: as of :func:`hidden`.
      maps: likewise.
      shown: likewise.
      fill: likewise.
      score: likewise.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.evaluation.passes import kept
      >>> brightness = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(brightness, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> kept(case, jnp.array([[[[0.0, 1.0]]]]), score="logit").tolist()
      [[2.0]]
    """
    return _scores_when(Kept(fill), case, maps, shown, score)


def _scores_when(change: Hidden | Kept, case: Case, maps: Maps, shown: Shown, score: Score) -> Figures:
    if shown not in ("map", "mask"):
        raise ValueError(f"shown must be map or mask; got {shown!r}")
    maps = salient_pixels(maps).astype(maps.dtype) if shown == "mask" else maps
    return faithfulness.scores_when(change, case, maps, score=score)


def deleted(
    case: Case, maps: Maps, *, steps: int = 10, fill: float = 0.0, score: Score = "probability"
) -> Float[Array, "m s b"]:
    """Returns the scores while pixels are hidden, the most salient first.

    Args:
      case: the model, the pictures and one target class for each, (b, 1).
      maps: what orders the pixels.
      steps: number of equal shares of the pixels.
      fill: what a hidden pixel is replaced by.
      score: see :func:`xrcam_jax.attribution.targets.target_scores`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.evaluation.passes import deleted
      >>> brightness = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(brightness, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> deleted(case, jnp.array([[[[0.1, 0.9]]]]), steps=2, score="logit").ravel().tolist()
      [3.0, 1.0, 0.0]
    """
    return faithfulness.ordered_scores(case, maps, "deletion", steps=steps, fill=fill, score=score)


def inserted(
    case: Case, maps: Maps, *, steps: int = 10, fill: float = 0.0, score: Score = "probability"
) -> Float[Array, "m s b"]:
    """Returns the scores while hidden pixels are shown again, the most salient first.

    Args:
      case: as of :func:`deleted`.
      maps: likewise.
      steps: likewise.
      fill: likewise.
      score: likewise.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.evaluation.passes import inserted
      >>> brightness = lambda images, parameters: images.sum((1, 2)) * parameters
      >>> case = Case(brightness, jnp.ones(1), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.ones((1, 1), int))
      >>> inserted(case, jnp.array([[[[0.1, 0.9]]]]), steps=2, score="logit").ravel().tolist()
      [0.0, 2.0, 3.0]
    """
    return faithfulness.ordered_scores(case, maps, "insertion", steps=steps, fill=fill, score=score)
