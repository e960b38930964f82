"""Prediction difference analysis: what a class loses when a patch is replaced by others that would fit there.

References:
  zintgraf2017: Zintgraf et al., Visualizing deep neural network decisions: prediction difference analysis,
    ICLR 2017.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.perturbations import Windows
from xrcam_jax.attribution.scores import changed_scores, intact_scores
from xrcam_jax.runtime.compiling import compiled

#: Patches that the Gaussian is fitted to.
_PATCHES = 4096


def prediction_difference(
    case: Case,
    *,
    window: int = 8,
    border: int = 2,
    stride: int = 4,
    samples: int = 10,
    reference: Float[Array, "n h w c"] | None = None,
    train_size: int = 1_000_000,
) -> Float[Array, "b t h w"]:
    """Mean over the windows that cover a pixel of the window's weight of evidence (zintgraf2017, eq. 3 to 5).

    log₂ odds(p(t|x)) - log₂ odds(mean of p(t|x̃)), where x̃ has the window replaced by a draw from a Gaussian of
    patches, given the pixels around it. All channels of a window are drawn together.

    Args:
      case: what is explained.
      window: side of the patches, in pixels.
      border: how far around a window the pixels lie on which it is conditioned.
      stride: between windows.
      samples: draws for each window.
      reference: preprocessed images that the Gaussian is fitted to; the explained ones by default.
      train_size: N of the Laplace correction (p N + 1) / (N + n), which keeps the odds finite.

    Raises:
      ValueError: no samples, no border, or a window and its border larger than the images.
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
    drawn = changed_scores(
        case, change, count * samples, state, score="log_odds", name="prediction difference analysis"
    ).reshape(count, samples, *case.targets.shape)
    classes = max(2, jax.eval_shape(case.function, case.images, case.parameters).shape[-1])

    def log_odds(each: Array) -> Array:
        """Corrected, of the mean probability over the first axis; 1 - p by itself keeps its digits near p = 1."""
        p, not_p = jax.nn.sigmoid(each).mean(0), jax.nn.sigmoid(-each).mean(0)
        return jnp.log2((p * train_size + 1) / (not_p * train_size + classes - 1))

    evidence = log_odds(intact_scores(case, "log_odds")[None]) - log_odds(jnp.moveaxis(drawn, 1, 0))
    return windows.spread(evidence, case.images.shape[1:3])


class ConditionalGaussian(NamedTuple):
    """Of the pixels i of a window given those around it, o: N(μ_i + gain (o - μ_o), root rootᵀ)."""

    inner_mean: Float[Array, " i"]
    outer_mean: Float[Array, " o"]
    gain: Float[Array, "i o"]
    root: Float[Array, "i i"]


def _inside(window: int, border: int, channels: int) -> Array:
    """Which elements of a flattened outer patch belong to the window."""
    side = jnp.arange(window + 2 * border)
    within = (side >= border) & (side < border + window)
    return jnp.broadcast_to((within[:, None] & within[None, :])[..., None], (len(side), len(side), channels)).ravel()


@compiled(static=("window", "border"))
def _fit(images: Array, key: Array, *, window: int, border: int) -> ConditionalGaussian:
    """The Gaussian of patches at random places, conditioned on their borders."""
    side, (count, height, width, channels) = window + 2 * border, images.shape
    keys = jax.random.split(key, 3)
    which = jax.random.randint(keys[0], (_PATCHES,), 0, count)
    top = jax.random.randint(keys[1], (_PATCHES,), 0, height - side + 1)
    left = jax.random.randint(keys[2], (_PATCHES,), 0, width - side + 1)

    def patch(n: Array, y: Array, x: Array) -> Array:
        return jax.lax.dynamic_slice(images, (n, y, x, 0), (1, side, side, channels)).ravel()

    patches = jax.vmap(patch)(which, top, left).astype(jnp.float32)
    mean = patches.mean(0)
    covariance = (patches - mean).T @ (patches - mean) / _PATCHES
    # Few patches, and channels that are copies of each other, leave it singular.
    ridge = 1e-3 * jnp.trace(covariance) / len(covariance) + 1e-6
    covariance = covariance + ridge * jnp.eye(len(covariance))
    order = jnp.argsort(~_inside(window, border, channels), stable=True)
    inner = window * window * channels
    i, o = order[:inner], order[inner:]
    gain = jax.scipy.linalg.solve(covariance[jnp.ix_(o, o)], covariance[jnp.ix_(o, i)], assume_a="pos").T
    conditional = covariance[jnp.ix_(i, i)] - gain @ covariance[jnp.ix_(o, i)]
    root = jnp.linalg.cholesky(conditional + ridge * jnp.eye(inner))
    return ConditionalGaussian(mean[i], mean[o], gain, root)


@dataclass(frozen=True)
class Resampled:
    """Replaces one window by a draw from the Gaussian; ``samples`` versions in a row for each window."""

    windows: Windows
    border: int
    samples: int

    def __call__(self, images: Array, index: Array, state: tuple[Array, ConditionalGaussian]) -> Array:
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
        mean = gaussian.inner_mean + (patches[:, outer] - gaussian.outer_mean) @ gaussian.gain.T
        noise = jax.random.normal(jax.random.fold_in(key, index), mean.shape) @ gaussian.root.T
        drawn = (mean + noise).reshape(batch, window, window, channels).astype(images.dtype)
        return jax.lax.dynamic_update_slice(images, drawn, (0, top, left, 0))
