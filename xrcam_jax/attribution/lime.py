"""LIME: a linear model of how the score depends on which superpixels are visible.

Superpixels are scikit-image's and the ridge regression scikit-learn's (``pip install xrcam-jax[perturbation]``);
what runs the network stays on the device.

References:
  ribeiro2016
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.scores import Index, changed_scores, default_score
from xrcam_jax.attribution.superpixels import superpixels
from xrcam_jax.attribution.targets import Score

# The number of superpixels is rounded up to a multiple of this, so that images share a program.
_ROUND = 32


def lime(
    case: Case,
    *,
    samples: int = 1000,
    segments: int = 50,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    score: Score | None = None,
) -> Float[Array, "b t *space"]:
    """Returns a weighted ridge regression's coefficients of the score on visible superpixels (ribeiro2016, eq. 1, 2).

    Superpixels (SLIC) are each visible with probability 1/2; hidden ones show their mean colour. A sample has the
    weight exp(-d² / width²), with d the cosine distance of its visible superpixels to all of them.

    Args:
      case: what is explained.
      samples: changed versions of each image, at least 2; the first one is the image itself.
      segments: superpixels asked for, at least 2; SLIC may find a few less or more.
      kernel_width: width of the weights, positive.
      ridge: strength of the regularisation.
      score: ``"probability"``, ``"logit"`` or ``"log_odds"``; by default the probability of a class, and the value
        itself of a target function.

    Returns:
      Maps with the coefficient of a superpixel at each of its pixels.

    Raises:
      ImportError: scikit-image or scikit-learn is missing.
      ValueError: less than two samples or segments, a width that is not positive, an unknown score, images of more than
        three dimensions, or a call inside jit.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.lime import lime
      >>> model = lambda images, parameters: images[:, :, :4].sum((1, 2))
      >>> image = jnp.linspace(0.0, 1.0, 64).reshape(1, 8, 8, 1)
      >>> maps = lime(Case(model, (), image, jnp.array([[0]])), samples=50, segments=4, score="logit")
      >>> maps.shape
      (1, 1, 8, 8)

    References:
      ribeiro2016
    """
    if samples < 2 or segments < 2 or kernel_width <= 0:
        raise ValueError(
            f"samples and segments must be at least 2 and kernel_width positive; got {samples}, {segments} and "
            f"{kernel_width}"
        )
    if case.images.ndim > 5:
        raise ValueError(f"lime finds superpixels of signals, images and volumes; got images of {case.images.shape}")
    key = jax.random.key(case.random_seed)
    if any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves((case.images, case.parameters, case.targets, key))):
        raise ValueError("lime finds superpixels on the host: it cannot run inside jit, vmap or shard_map")
    regions = superpixels(case.images, segments)
    width = -(-(int(regions.max()) + 1) // _ROUND) * _ROUND
    state = (key, jnp.asarray(regions), _filled(case.images, jnp.asarray(regions), width))
    score = score or default_score(case)
    scores = changed_scores(case, Visible(width), samples, state, score=score, name="LIME")
    visible = np.asarray(jax.vmap(lambda i: Visible(width).drawn(key, i))(jnp.arange(samples)), np.float64)
    return jnp.asarray(_regressed(regions, visible, np.asarray(scores, np.float64), kernel_width, ridge), scores.dtype)


@dataclass(frozen=True)
class Visible:
    """Shows some superpixels and fills the others; the state is (key, superpixel of each pixel, filling).

    Attributes:
      width: number of superpixels, or more.
    """

    width: int

    def drawn(self, key: Key[Array, ""], index: Index) -> Float[Array, " s"]:
        """Returns 1 for superpixels that version ``index`` shows, else 0; version 0 shows all of them."""
        drawn = jax.random.bernoulli(jax.random.fold_in(key, index), 0.5, (self.width,))
        return (drawn | (index == 0)).astype(jnp.float32)

    def __call__(
        self,
        images: Float[Array, "b *space c"],
        index: Index,
        state: tuple[Key[Array, ""], Int[Array, "b *space"], Float[Array, "b *space c"]],
    ) -> Float[Array, "b *space c"]:
        """Returns the images with the superpixels of version ``index``."""
        key, regions, filling = state
        return jnp.where(self.drawn(key, index)[regions][..., None] > 0, images, filling)


def _filled(
    images: Float[Array, "b *space c"], regions: Int[Array, "b *space"], width: int
) -> Float[Array, "b *space c"]:
    """Returns for each pixel the mean colour of its superpixel."""

    def fill(image: Array, region: Array) -> Array:
        flat = region.ravel()
        sums = jax.ops.segment_sum(image.reshape(-1, image.shape[-1]), flat, width)
        sizes = jax.ops.segment_sum(jnp.ones_like(flat, image.dtype), flat, width)
        return (sums / jnp.maximum(sizes, 1)[:, None])[region]

    return jax.vmap(fill)(images, regions)


def _regressed(
    regions: Int[np.ndarray, "b *space"],
    visible: Float[np.ndarray, "samples s"],
    scores: Float[np.ndarray, "samples b t"],
    kernel_width: float,
    ridge: float,
) -> Float[np.ndarray, "b t *space"]:
    """Returns for each pixel the coefficient of its superpixel."""
    try:
        from sklearn.linear_model import Ridge
    except ImportError as error:
        raise ImportError("lime needs scikit-image and scikit-learn: pip install xrcam-jax[perturbation]") from error

    def explain(region: np.ndarray, score: Float[np.ndarray, "n t"]) -> Any:
        shown = visible[:, : region.max() + 1]
        similarity = shown.sum(1) / np.sqrt(np.maximum(shown.sum(1), 1) * shown.shape[1])
        weights = np.exp(-((1 - similarity) ** 2) / kernel_width**2)
        coefficients = Ridge(alpha=ridge).fit(shown, score, sample_weight=weights).coef_
        return np.atleast_2d(coefficients)[:, region]

    return np.stack([explain(region, scores[:, i]) for i, region in enumerate(regions)])
