"""CAM weights that are found by changing one channel after the other: Score-CAM and Ablation-CAM.

Weights have shape (b, t, 1, 1, k), one set for each of an image's t targets.

References:
  wang2020: Wang et al., Score-CAM: score-weighted visual explanations for CNNs, CVPR workshops 2020.
  naidu2020: Naidu and Michael, SS-CAM: smoothed Score-CAM, arXiv:2006.14255.
  desai2020: Desai and Ramaswamy, Ablation-CAM: visual explanations via gradient-free localization, WACV 2020.
  gildenblat2021: Gildenblat et al., pytorch-grad-cam, https://github.com/jacobgil/pytorch-grad-cam.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.attribution.case import Case, versions_onwards
from xrcam_jax.attribution.chunks import bytes_of_forward, stacked
from xrcam_jax.attribution.scores import changed_scores
from xrcam_jax.attribution.targets import Score, target_scores
from xrcam_jax.cam.saliency import min_max, upsample
from xrcam_jax.runtime.compiling import compiled

Weights = Float[Array, "b t 1 1 k"]


def score_cam(
    case: Case,
    layer: str,
    *,
    weights: Literal["difference", "softmax"] = "difference",
    score: Score = "logit",
    align_corners: bool = False,
) -> Weights:
    """w_k = f(x · n(up(A_k))) - f(0), with n scaling to [0, 1] (wang2020, eq. 3; the thesis's eq. 2.13).

    Args:
      case: what is explained.
      layer: a mark.
      weights: ``"softmax"`` takes the softmax of the scores over the channels instead (gildenblat2021).
      score: ``"logit"`` or ``"probability"``.
      align_corners: upsample from corner to corner, as gildenblat2021, instead of by half-pixel centres.
    """
    return _scored(case, layer, Masked(align_corners), 1, weights, score, "Score-CAM")


def smoothed_score_cam(
    case: Case,
    layer: str,
    *,
    samples: int = 8,
    noise: float = 0.15,
    noise_on: Literal["image", "activation"] = "image",
    weights: Literal["difference", "softmax"] = "difference",
    score: Score = "logit",
) -> Weights:
    """Score-CAM's weights, averaged over noise (naidu2020, eq. 4 and 5).

    Args:
      case: what is explained.
      layer: a mark.
      samples: draws of noise per channel.
      noise: its standard deviation, as a share of the range of what it is added to.
      noise_on: ``"image"`` adds it to the masked image, ``"activation"`` to the channel before it masks.
      weights: as for :func:`score_cam`.
      score: ``"logit"`` or ``"probability"``.

    Raises:
      ValueError: no samples, or noise on something else.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}")
    if noise_on not in ("image", "activation"):
        raise ValueError(f"noise_on must be image or activation; got {noise_on!r}")
    change = Masked(False, samples=samples, noise=noise, noise_on=noise_on)
    return _scored(case, layer, change, samples, weights, score, "Smoothed Score-CAM")


def _scored(case: Case, layer: str, change: "Masked", samples: int, weights: str, score: Score, name: str) -> Weights:
    if weights not in ("difference", "softmax"):
        raise ValueError(f"weights must be difference or softmax; got {weights!r}")
    activation, _ = case.at(layer)
    channels = activation.shape[-1]
    state = (activation, jax.random.key(case.random_seed))
    # One more, of no channel at all, is the baseline.
    scores = changed_scores(case, change, channels * samples + 1, state, score=score, name=f"{name} {layer}")
    means = scores[:-1].reshape(channels, samples, *scores.shape[1:]).mean(1)
    found = means - scores[-1] if weights == "difference" else jax.nn.softmax(means, axis=0)
    return jnp.moveaxis(found, 0, -1)[:, :, None, None, :]


@dataclass(frozen=True)
class Masked:
    """The image seen through one channel, ``samples`` times in a row, each with noise of its own.

    The state is (activation, key). An index beyond the last channel gives an image of zeros.
    """

    align_corners: bool
    samples: int = 1
    noise: float = 0.0
    noise_on: str = "image"

    def __call__(self, images: Array, index: Array, state: tuple[Array, Array]) -> Array:
        activation, key = state
        channels = activation.shape[-1]
        channel = index // self.samples
        maps = jax.lax.dynamic_index_in_dim(activation, jnp.minimum(channel, channels - 1), -1, keepdims=False)
        key = jax.random.fold_in(key, index)
        if self.noise and self.noise_on == "activation":
            maps = noisy(maps, key, self.noise)
        _, height, width, _ = images.shape
        enlarge = from_corner_to_corner if self.align_corners else upsample
        large = enlarge(maps, (height, width))
        seen = images * min_max(large)[..., None].astype(images.dtype)
        if self.noise and self.noise_on == "image":
            seen = noisy(seen, key, self.noise)
        return jnp.where(channel < channels, seen, 0)


def noisy(a: Float[Array, "b *rest"], key: Array, noise: float) -> Float[Array, "b *rest"]:
    """``a`` with Gaussian noise, whose standard deviation is ``noise`` times the range of each example."""
    axes = tuple(range(1, a.ndim))
    spread = jnp.max(a, axis=axes, keepdims=True) - jnp.min(a, axis=axes, keepdims=True)
    return a + noise * spread * jax.random.normal(key, a.shape, a.dtype)


def from_corner_to_corner(maps: Float[Array, "b p q"], size: tuple[int, int]) -> Float[Array, "b h w"]:
    """Bilinear upsampling that maps corner pixels to corner pixels (PyTorch's ``align_corners=True``)."""
    for axis, side in zip((1, 2), size, strict=True):
        places = jnp.linspace(0, maps.shape[axis] - 1, side)
        low = jnp.clip(jnp.floor(places).astype(jnp.int32), 0, max(0, maps.shape[axis] - 2))
        share = (places - low).astype(maps.dtype).reshape([-1 if a == axis else 1 for a in range(3)])
        high = jnp.minimum(low + 1, maps.shape[axis] - 1)
        maps = jnp.take(maps, low, axis=axis) * (1 - share) + jnp.take(maps, high, axis=axis) * share
    return maps


def ablation_cam(case: Case, layer: str, *, score: Score = "logit") -> Weights:
    """w_k = (S - S without channel k) / S (desai2020, eq. 3), 0 where S = 0.

    The model is run from the layer on only. A negative S flips the sign of all weights, as in gildenblat2021.

    Args:
      case: what is explained.
      layer: a mark.
      score: S, ``"logit"`` or ``"probability"``.
    """
    intact, without = ablated_scores(case, layer, score=score, name=f"Ablation-CAM {layer}")
    drops = (intact - without) / jnp.where(intact == 0, 1, intact)
    return jnp.moveaxis(jnp.where(intact == 0, 0, drops), 0, -1)[:, :, None, None, :]


def ablated_scores(
    case: Case, layer: str, *, score: Score = "logit", name: str = "ablation"
) -> tuple[Float[Array, "b t"], Float[Array, "k b t"]]:
    """The targets' scores, and those without channel k of a layer, for each k; run from the layer on only.

    Args:
      case: what is explained.
      layer: a mark.
      score: ``"logit"`` or ``"probability"``.
      name: for the progress bar.
    """
    activation, rest = case.at(layer)
    # One more, with nothing ablated, is the whole.
    count = activation.shape[-1] + 1

    def step(indices: Array) -> Array:
        return _ablated_scores(
            case.images, case.parameters, case.targets, activation, rest, indices,
            function=case.function, layer=layer, score=score,
        )  # fmt: skip

    each = activation.nbytes + bytes_of_forward(case.function, layer, case.images, case.parameters)
    scores = stacked(step, count, case, each, name)
    return scores[-1], scores[:-1]


@compiled(static=("function", "layer", "score"))
def _ablated_scores(
    images: Array, parameters: Any, targets: Array, activation: Array, rest: list[Array], indices: Array,
    *, function: Any, layer: str, score: Score,
) -> Float[Array, "n b t"]:  # fmt: skip
    count, channels = len(indices), jnp.arange(activation.shape[-1])
    versions = jax.vmap(lambda index: jnp.where(channels == index, 0, activation), out_axes=1)(indices)
    tail = versions_onwards(function, layer, images, parameters, rest, count)
    logits = tail(versions.reshape(-1, *activation.shape[1:])).reshape(len(images), count, -1)
    return target_scores(jnp.moveaxis(logits, 1, 0), targets, score)
