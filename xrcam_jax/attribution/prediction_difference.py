"""Prediction difference analysis: what a class loses when a patch is replaced by others that would fit there.

References:
  zintgraf2017
"""

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.perturbations import PerAxis, Windows, per_axis
from xrcam_jax.attribution.scores import Index, changed_scores, intact_scores
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import Score
from xrcam_jax.classes import class_count
from xrcam_jax.runtime.compiling import compiled

#: The number of patches that the Gaussian is fitted to.
_PATCHES = 4096
#: Pixels along each axis of space.
Sides = tuple[int, ...]


def prediction_difference(
    case: Case,
    *,
    window: PerAxis = 8,
    border: PerAxis = 2,
    stride: PerAxis = 4,
    samples: int = 10,
    reference: Float[Array | np.ndarray, "n *_space c"] | None = None,
    train_size: int = 1_000_000,
) -> Float[Array, "b t *space"]:
    """Returns the mean weight of evidence of the windows that cover a pixel (zintgraf2017, eq. 3 to 5).

    A window's weight of evidence is log₂ odds(p(t|x)) - log₂ odds(mean of p(t|x̃)), where x̃ has the window replaced by
    a draw from a Gaussian of patches, given the pixels around it. All channels of a window are drawn together.

    Args:
      case: what is explained.
      window: sides of the windows in pixels, (height, width) of images, or one number for all. The Gaussian has a
        variable for each pixel and channel of a window and its border: keep those of volumes small.
      border: width in pixels of the frame around a window on which it is conditioned, likewise; at least 1 along some
        axis.
      stride: pixels from one window to the next, likewise; at most the window, so that every pixel is covered.
      samples: draws for each window, at least 1.
      reference: preprocessed images that the Gaussian is fitted to; the explained ones by default.
      train_size: N of the Laplace correction (p N + 1) / (N + n), which keeps the odds finite.

    Returns:
      Maps in bits, positive where the window speaks for the target. Of a target function they are the difference of
      its value to its mean over the draws, in its own unit.

    Raises:
      ValueError: no samples, no border, a window and its border larger than the images, or a stride of none or beyond
        the window.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.prediction_difference import prediction_difference
      >>> model = lambda images, parameters: images[:, :2, :2].sum((1, 2)) * jnp.array([1.0, -1.0])
      >>> case = Case(model, (), jnp.zeros((1, 4, 4, 1)).at[:, :2, :2].set(1.0), jnp.array([[0]]))
      >>> maps = prediction_difference(case, window=1, border=1, stride=1, samples=4)[0, 0]
      >>> bool(maps[:2, :2].sum() > 1), bool(jnp.abs(maps[2:]).max() < 1e-3)
      (True, True)

    References:
      zintgraf2017
    """
    shape = case.images.shape[1:-1]
    sizes, borders = per_axis("window", window, shape), per_axis("border", border, shape)
    known = case.images if reference is None else jnp.asarray(reference, case.images.dtype)
    sides = map(min, shape, known.shape[1:-1])
    fits = all(outer <= side for outer, side in zip(_outer_sides(sizes, borders), sides, strict=True))
    if samples < 1 or min(borders) < 0 or max(borders) < 1 or not fits:
        raise ValueError(
            f"samples and border must be at least 1, and window + 2 border fit the images; got {samples}, {border} and "
            f"{window} for images of {' x '.join(map(str, shape))}"
        )
    windows = Windows(sizes, per_axis("stride", stride, shape), inside=True)
    windows.check(shape)
    gaussian = _fit(known, jax.random.key(case.random_seed), window=window, border=border)
    count = prod(windows.counts(shape))
    state = (jax.random.key(case.random_seed + 1), gaussian)
    change = Resampled(windows, border, samples)
    score: Score = "logit" if case.of_value else "log_odds"
    drawn = changed_scores(
        case, change, count * samples, state, score=score, name="prediction difference analysis"
    ).reshape(count, samples, *case.targets.shape)
    if case.of_value:
        return windows.spread(intact_scores(case, score) - drawn.mean(1), shape)
    classes = class_count(case.outputs)

    def log_odds(each: Array) -> Array:
        """Returns the corrected log-odds of the mean probability over the first axis."""
        # By itself, 1 - p keeps its digits near p = 1.
        p, not_p = jax.nn.sigmoid(each).mean(0), jax.nn.sigmoid(-each).mean(0)
        return jnp.log2((p * train_size + 1) / (not_p * train_size + classes - 1))

    evidence = log_odds(intact_scores(case, score)[None]) - log_odds(jnp.moveaxis(drawn, 1, 0))
    return windows.spread(evidence, shape)


class ConditionalGaussian(NamedTuple):
    """Describes a window's pixels i, given the pixels o around it: N(μ_i + gain (o - μ_o), root rootᵀ).

    Attributes:
      inner_mean: μ_i.
      outer_mean: μ_o.
      gain: matrix.
      root: Cholesky factor of the conditional covariance.
    """

    inner_mean: Float[Array, " i"]
    outer_mean: Float[Array, " o"]
    gain: Float[Array, "i o"]
    root: Float[Array, "i i"]


def _outer_sides(window: Sides, border: Sides) -> Sides:
    """Returns the sides of a patch: a window with its border."""
    return tuple(inner + 2 * around for inner, around in zip(window, border, strict=True))


def _inside(window: Sides, border: Sides, channels: int) -> Bool[Array, " elements"]:
    """Returns which elements of a flattened patch, a window with its border, belong to the window."""
    patch = jnp.zeros((*_outer_sides(window, border), channels), bool)
    inner = tuple(slice(around, around + side) for around, side in zip(border, window, strict=True))
    return patch.at[inner].set(True).ravel()


@compiled(static=("window", "border"))
def _fit(
    images: Float[Array, "n *space c"], key: Key[Array, ""], *, window: PerAxis, border: PerAxis
) -> ConditionalGaussian:
    """Fits a Gaussian to patches at random places, and conditions it on their borders."""
    shape, channels = images.shape[1:-1], images.shape[-1]
    window, border = per_axis("window", window, shape), per_axis("border", border, shape)
    patch_shape = (1, *_outer_sides(window, border))
    keys = jax.random.split(key, images.ndim - 1)
    places = [
        jax.random.randint(each, (_PATCHES,), 0, count - side + 1)
        for each, count, side in zip(keys, images.shape, patch_shape, strict=False)
    ]

    def patch(*corner: Array) -> Array:
        return jax.lax.dynamic_slice(images, (*corner, 0), (*patch_shape, channels)).ravel()

    patches = at_least_float32(jax.vmap(patch)(*places))
    mean = patches.mean(0)
    covariance = (patches - mean).T @ (patches - mean) / _PATCHES
    # Few patches, and channels that are copies of each other, leave the covariance singular.
    ridge = 1e-3 * jnp.trace(covariance) / len(covariance) + 1e-6
    covariance = covariance + ridge * jnp.eye(len(covariance), dtype=covariance.dtype)
    order = jnp.argsort(~_inside(window, border, channels), stable=True)
    inner = prod(window) * channels
    i, o = order[:inner], order[inner:]
    gain = jax.scipy.linalg.solve(covariance[jnp.ix_(o, o)], covariance[jnp.ix_(o, i)], assume_a="pos").T
    conditional = covariance[jnp.ix_(i, i)] - gain @ covariance[jnp.ix_(o, i)]
    root = jnp.linalg.cholesky(conditional + ridge * jnp.eye(inner, dtype=covariance.dtype))
    return ConditionalGaussian(mean[i], mean[o], gain, root)


@dataclass(frozen=True)
class Resampled:
    """Replaces one window by a draw from the Gaussian, with ``samples`` versions in a row for each window.

    The state is (key, the Gaussian).

    Attributes:
      windows: which are replaced.
      border: width of the frame around a window that is given, along each axis or along all.
      samples: draws for each window.
    """

    windows: Windows
    border: PerAxis
    samples: int

    def __call__(
        self, images: Float[Array, "b *space c"], index: Index, state: tuple[Key[Array, ""], ConditionalGaussian]
    ) -> Float[Array, "b *space c"]:
        """Returns the images of version ``index``."""
        key, gaussian = state
        batch, *shape, channels = images.shape
        window, border = self.windows.size, per_axis("border", self.border, tuple(shape))
        corner = self.windows.corner(index // self.samples, tuple(shape))
        around = ((0, 0), *((width, width) for width in border), (0, 0))
        patches = jax.lax.dynamic_slice(
            jnp.pad(images, around, mode="edge"), (0, *corner, 0), (batch, *_outer_sides(window, border), channels)
        ).reshape(batch, -1)
        outer = jnp.nonzero(~_inside(window, border, channels), size=gaussian.outer_mean.size)[0]
        around_window = patches[:, outer].astype(gaussian.outer_mean.dtype)
        mean = gaussian.inner_mean + (around_window - gaussian.outer_mean) @ gaussian.gain.T
        noise = jax.random.normal(jax.random.fold_in(key, index), mean.shape, mean.dtype) @ gaussian.root.T
        drawn = (mean + noise).reshape(batch, *window, channels).astype(images.dtype)
        return jax.lax.dynamic_update_slice(images, drawn, (0, *corner, 0))
