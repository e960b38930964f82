"""Prediction difference analysis: what a class loses when a patch is replaced by others that would fit there.

References:
  zintgraf2017
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.perturbations import Windows
from xrcam_jax.attribution.scores import Index, changed_scores, intact_scores
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.attribution.targets import Score
from xrcam_jax.classes import class_count
from xrcam_jax.runtime.compiling import compiled

#: The number of patches that the Gaussian is fitted to.
_PATCHES = 4096


def prediction_difference(
    case: Case,
    *,
    window: int = 8,
    border: int = 2,
    stride: int = 4,
    samples: int = 10,
    reference: Float[Array | np.ndarray, "n _h _w c"] | None = None,
    train_size: int = 1_000_000,
) -> Float[Array, "b t h w"]:
    """Returns the mean weight of evidence of the windows that cover a pixel (zintgraf2017, eq. 3 to 5).

    A window's weight of evidence is log₂ odds(p(t|x)) - log₂ odds(mean of p(t|x̃)), where x̃ has the window replaced by
    a draw from a Gaussian of patches, given the pixels around it. All channels of a window are drawn together.

    Args:
      case: what is explained.
      window: side of the windows, in pixels.
      border: width in pixels of the frame around a window on which it is conditioned, at least 1.
      stride: pixels from one window to the next; at most the window, so that every pixel is covered.
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
    outer = window + 2 * border
    known = case.images if reference is None else jnp.asarray(reference, case.images.dtype)
    if samples < 1 or border < 1 or outer > min(*case.images.shape[1:3], *known.shape[1:3]):
        raise ValueError(
            f"samples and border must be at least 1, and window + 2 border fit the images; got {samples}, {border} and "
            f"{window} for images of {case.images.shape[1]} x {case.images.shape[2]}"
        )
    windows = Windows((window, window), (stride, stride), inside=True)
    windows.check(case.images.shape[1:3])
    gaussian = _fit(known, jax.random.key(case.random_seed), window=window, border=border)
    rows, columns = (windows.covered(axis, case.images.shape[1 + axis]) for axis in (0, 1))
    count = len(rows) * len(columns)
    state = (jax.random.key(case.random_seed + 1), gaussian)
    change = Resampled(windows, border, samples)
    score: Score = "logit" if case.of_value else "log_odds"
    drawn = changed_scores(
        case, change, count * samples, state, score=score, name="prediction difference analysis"
    ).reshape(count, samples, *case.targets.shape)
    if case.of_value:
        return windows.spread(intact_scores(case, score) - drawn.mean(1), case.images.shape[1:3])
    classes = class_count(case.outputs)

    def log_odds(each: Array) -> Array:
        """Returns the corrected log-odds of the mean probability over the first axis."""
        # By itself, 1 - p keeps its digits near p = 1.
        p, not_p = jax.nn.sigmoid(each).mean(0), jax.nn.sigmoid(-each).mean(0)
        return jnp.log2((p * train_size + 1) / (not_p * train_size + classes - 1))

    evidence = log_odds(intact_scores(case, score)[None]) - log_odds(jnp.moveaxis(drawn, 1, 0))
    return windows.spread(evidence, case.images.shape[1:3])


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


def _inside(window: int, border: int, channels: int) -> Bool[Array, " elements"]:
    """Returns which elements of a flattened patch, a window with its border, belong to the window."""
    side = jnp.arange(window + 2 * border)
    within = (side >= border) & (side < border + window)
    return jnp.broadcast_to((within[:, None] & within[None, :])[..., None], (len(side), len(side), channels)).ravel()


@compiled(static=("window", "border"))
def _fit(images: Float[Array, "n h w c"], key: Key[Array, ""], *, window: int, border: int) -> ConditionalGaussian:
    """Fits a Gaussian to patches at random places, and conditions it on their borders."""
    side, (count, height, width, channels) = window + 2 * border, images.shape
    keys = jax.random.split(key, 3)
    which = jax.random.randint(keys[0], (_PATCHES,), 0, count)
    top = jax.random.randint(keys[1], (_PATCHES,), 0, height - side + 1)
    left = jax.random.randint(keys[2], (_PATCHES,), 0, width - side + 1)

    def patch(n: Array, y: Array, x: Array) -> Array:
        return jax.lax.dynamic_slice(images, (n, y, x, 0), (1, side, side, channels)).ravel()

    patches = at_least_float32(jax.vmap(patch)(which, top, left))
    mean = patches.mean(0)
    covariance = (patches - mean).T @ (patches - mean) / _PATCHES
    # Few patches, and channels that are copies of each other, leave the covariance singular.
    ridge = 1e-3 * jnp.trace(covariance) / len(covariance) + 1e-6
    covariance = covariance + ridge * jnp.eye(len(covariance), dtype=covariance.dtype)
    order = jnp.argsort(~_inside(window, border, channels), stable=True)
    inner = window * window * channels
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
      border: width of the frame around a window that is given.
      samples: draws for each window.
    """

    windows: Windows
    border: int
    samples: int

    def __call__(
        self, images: Float[Array, "b h w c"], index: Index, state: tuple[Key[Array, ""], ConditionalGaussian]
    ) -> Float[Array, "b h w c"]:
        """Returns the images of version ``index``."""
        key, gaussian = state
        batch, height, width, channels = images.shape
        window, border = self.windows.size[0], self.border
        rows, columns = self.windows.starts(0, height), self.windows.starts(1, width)
        number = index // self.samples
        top, left = rows[number // len(columns)], columns[number % len(columns)]
        around = ((0, 0), (border, border), (border, border), (0, 0))
        side = window + 2 * border
        patches = jax.lax.dynamic_slice(
            jnp.pad(images, around, mode="edge"), (0, top, left, 0), (batch, side, side, channels)
        ).reshape(batch, -1)
        outer = jnp.nonzero(~_inside(window, border, channels), size=gaussian.outer_mean.size)[0]
        around_window = patches[:, outer].astype(gaussian.outer_mean.dtype)
        mean = gaussian.inner_mean + (around_window - gaussian.outer_mean) @ gaussian.gain.T
        noise = jax.random.normal(jax.random.fold_in(key, index), mean.shape, mean.dtype) @ gaussian.root.T
        drawn = (mean + noise).reshape(batch, window, window, channels).astype(images.dtype)
        return jax.lax.dynamic_update_slice(images, drawn, (0, top, left, 0))
