"""CAM weights that are found by changing one channel after the other: Score-CAM and Ablation-CAM.

Weights have shape (b, t, 1, ..., k), one set for each of an image's t targets.

References:
  wang2020, naidu2020, desai2020, gildenblat2021
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from xrcam_jax.attribution.case import Case, Function, versions_onwards
from xrcam_jax.attribution.chunks import bytes_of_forward, stacked
from xrcam_jax.attribution.scores import Index, changed_scores
from xrcam_jax.attribution.targets import Score, target_scores
from xrcam_jax.cam.saliency import min_max, upsample
from xrcam_jax.runtime.compiling import compiled

Weights = Float[Array, "b t *one k"]


def score_cam(
    case: Case,
    layer: str,
    *,
    weights: Literal["difference", "softmax"] = "difference",
    score: Score = "logit",
    align_corners: bool = False,
) -> Weights:
    """Returns w_k = f(x · n(up(A_k))) - f(0), with n scaling to [0, 1] (wang2020, eq. 3; the thesis's eq. 2.13).

    Args:
      case: what is explained.
      layer: a mark.
      weights: ``"softmax"`` takes the softmax of the scores over the channels instead (gildenblat2021).
      score: ``"logit"``, ``"probability"`` or ``"log_odds"``.
      align_corners: upsample from corner to corner, as gildenblat2021, instead of by half-pixel centres.

    Raises:
      ValueError: there is no such mark, or ``weights`` or ``score`` is none of these.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.channel_cams import score_cam
      >>> model = lambda images, parameters: xr.mark(images, "layer").sum((1, 2, 3))[:, None]
      >>> image = jnp.array([[1.0, 0.0], [3.0, 2.0]]).reshape(1, 1, 2, 2)
      >>> score_cam(Case(model, (), image, jnp.array([[1]])), "layer").ravel().tolist()
      [5.0, 5.0]

    References:
      wang2020, gildenblat2021
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
    """Returns Score-CAM's weights averaged over noise (naidu2020, eq. 4 and 5).

    Args:
      case: what is explained.
      layer: a mark.
      samples: draws of noise for each channel, at least 1.
      noise: its standard deviation, as a share of the range of what it is added to.
      noise_on: ``"image"`` adds it to the masked image, ``"activation"`` to the channel before it masks.
      weights: as for :func:`score_cam`.
      score: ``"logit"``, ``"probability"`` or ``"log_odds"``.

    Raises:
      ValueError: no samples, no such mark, or noise on something else; ``weights`` or ``score`` is none of these.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.channel_cams import smoothed_score_cam
      >>> model = lambda images, parameters: xr.mark(images, "layer").sum((1, 2, 3))[:, None]
      >>> image = jnp.array([[1.0, 0.0], [3.0, 2.0]]).reshape(1, 1, 2, 2)
      >>> smoothed_score_cam(Case(model, (), image, jnp.array([[1]])), "layer", noise=0.0).ravel().tolist()
      [5.0, 5.0]

    References:
      naidu2020
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
    # One more score, of an image seen through no channel at all, is the baseline.
    scores = changed_scores(case, change, channels * samples + 1, state, score=score, name=f"{name} {layer}")
    means = scores[:-1].reshape(channels, samples, *scores.shape[1:]).mean(1)
    found = means - scores[-1] if weights == "difference" else jax.nn.softmax(means, axis=0)
    return _over_space(found, case)


def _over_space(found: Float[Array, "k b t"], case: Case) -> Weights:
    """Returns weights of channels as they are multiplied by an activation, which has as many axes as the images."""
    return jnp.expand_dims(jnp.moveaxis(found, 0, -1), range(2, case.images.ndim))


@dataclass(frozen=True)
class Masked:
    """Shows the image through one channel, ``samples`` times in a row, each with noise of its own.

    The state is (activation, key). A number beyond the last channel gives an image of zeros.

    Attributes:
      align_corners: see :func:`score_cam`.
      samples: versions for each channel.
      noise: standard deviation, see :func:`smoothed_score_cam`.
      noise_on: what the noise is added to, likewise.
    """

    align_corners: bool
    samples: int = 1
    noise: float = 0.0
    noise_on: str = "image"

    def __call__(
        self, images: Float[Array, "b *space c"], index: Index, state: tuple[Float[Array, "b *layer k"], Key[Array, ""]]
    ) -> Float[Array, "b *space c"]:
        """Returns the images of version ``index``."""
        activation, key = state
        channels = activation.shape[-1]
        channel = index // self.samples
        maps = jax.lax.dynamic_index_in_dim(activation, jnp.minimum(channel, channels - 1), -1, keepdims=False)
        key = jax.random.fold_in(key, index)
        if self.noise and self.noise_on == "activation":
            maps = noisy(maps, key, self.noise)
        enlarge = from_corner_to_corner if self.align_corners else upsample
        large = enlarge(maps, images.shape[1:-1])
        seen = images * min_max(large, images.ndim - 2)[..., None].astype(images.dtype)
        if self.noise and self.noise_on == "image":
            seen = noisy(seen, key, self.noise)
        return jnp.where(channel < channels, seen, 0)


def noisy(a: Float[Array, "b *rest"], key: Key[Array, ""], noise: float) -> Float[Array, "b *rest"]:
    """Returns ``a`` with Gaussian noise.

    Args:
      a: a batch.
      key: of the noise.
      noise: standard deviation, as a share of the range of each example.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.channel_cams import noisy
      >>> a = jnp.array([[0.0, 1.0], [5.0, 5.0]])
      >>> (noisy(a, jax.random.key(0), 0.1) == a).tolist()  # the second example has no range
      [[False, False], [True, True]]
    """
    axes = tuple(range(1, a.ndim))
    spread = jnp.max(a, axis=axes, keepdims=True) - jnp.min(a, axis=axes, keepdims=True)
    return a + noise * spread * jax.random.normal(key, a.shape, a.dtype)


def from_corner_to_corner(maps: Float[Array, "b *layer"], size: tuple[int, ...]) -> Float[Array, "b *space"]:
    """Returns maps enlarged by linear interpolation from corner to corner (PyTorch's ``align_corners=True``).

    Args:
      maps: of any range.
      size: how many places there are to be along each axis: (height, width) for images.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.channel_cams import from_corner_to_corner
      >>> from_corner_to_corner(jnp.array([[[0.0, 1.0]]]), (1, 5)).tolist()
      [[[0.0, 0.25, 0.5, 0.75, 1.0]]]
    """
    for axis, side in enumerate(size, start=1):
        places = jnp.linspace(0, maps.shape[axis] - 1, side)
        low = jnp.clip(jnp.floor(places), 0, max(0, maps.shape[axis] - 2))
        share = (places - low).astype(maps.dtype).reshape([-1 if a == axis else 1 for a in range(maps.ndim)])
        low = low.astype(jnp.int32)
        high = jnp.minimum(low + 1, maps.shape[axis] - 1)
        maps = jnp.take(maps, low, axis=axis) * (1 - share) + jnp.take(maps, high, axis=axis) * share
    return maps


def ablation_cam(case: Case, layer: str, *, score: Score = "logit") -> Weights:
    """Returns w_k = (S - S without channel k) / S, or 0 where S = 0 (desai2020, eq. 3).

    The model is run from the layer on only. A negative S flips the sign of all weights, as in gildenblat2021. But of a
    model of one output |S| divides, so that its two classes' weights are negatives of each other, as the logits are.

    Args:
      case: what is explained.
      layer: a mark.
      score: S, ``"logit"``, ``"probability"`` or ``"log_odds"``.

    Raises:
      ValueError: there is no such mark, or ``score`` is none of these.
      NotImplementedError: the mark is inside remat, scan or cond.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.channel_cams import ablation_cam
      >>> model = lambda images, parameters: xr.mark(images, "layer").sum((1, 2, 3))[:, None]
      >>> case = Case(model, (), jnp.array([6.0, 2.0]).reshape(1, 1, 1, 2), jnp.array([[1]]))
      >>> ablation_cam(case, "layer").ravel().tolist()
      [0.75, 0.25]

    References:
      desai2020, gildenblat2021
    """
    intact, without = ablated_scores(case, layer, score=score, name=f"Ablation-CAM {layer}")
    drops = (intact - without) / jnp.where(intact == 0, 1, jnp.abs(intact) if case.outputs == 1 else intact)
    return _over_space(jnp.where(intact == 0, 0, drops), case)


def ablated_scores(
    case: Case, layer: str, *, score: Score = "logit", name: str = "ablation"
) -> tuple[Float[Array, "b t"], Float[Array, "k b t"]]:
    """Returns the targets' scores, and their scores without channel k of a layer, for each k.

    The model is run from the layer on only.

    Args:
      case: what is explained.
      layer: a mark.
      score: ``"logit"``, ``"probability"`` or ``"log_odds"``.
      name: for the progress bar.

    Raises:
      ValueError: there is no such mark, or ``score`` is none of these.
      NotImplementedError: the mark is inside remat, scan or cond.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.channel_cams import ablated_scores
      >>> model = lambda images, parameters: xr.mark(images, "layer").sum((1, 2, 3))[:, None]
      >>> case = Case(model, (), jnp.array([6.0, 2.0]).reshape(1, 1, 1, 2), jnp.array([[1]]))
      >>> intact, without = ablated_scores(case, "layer")
      >>> intact.ravel().tolist(), without.ravel().tolist()
      ([8.0], [2.0, 6.0])
    """
    activation, rest = case.at(layer)
    # One more version, with nothing ablated, gives the score of the whole.
    count = activation.shape[-1] + 1

    def step(indices: Array) -> Array:
        given = case.images, case.parameters, case.targets
        return _ablated_scores(*given, activation, rest, indices, function=case.function, layer=layer, score=score)

    each = activation.nbytes + bytes_of_forward(case.function, layer, case.images, case.parameters)
    scores = stacked(step, count, case, each, name)
    return scores[-1], scores[:-1]


@compiled(static=("function", "layer", "score"))
def _ablated_scores(
    images: Float[Array, "b *space c"],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    activation: Float[Array, "b *layer k"],
    rest: list[Array],
    indices: Int[Array, " n"],
    *,
    function: Function,
    layer: str,
    score: Score,
) -> Float[Array, "n b t"]:
    tail = versions_onwards(function, layer, images, parameters, rest, len(indices))
    logits = tail(without_channels(activation, indices)).reshape(len(images), len(indices), -1)
    return target_scores(jnp.moveaxis(logits, 1, 0), targets, score)


def without_channels(activation: Float[Array, "b *layer k"], indices: Int[Array, " n"]) -> Float[Array, "bn *layer k"]:
    """Returns versions of an activation, each with one channel set to zero, those of an image side by side.

    Args:
      activation: of a layer.
      indices: the channel that each version lacks; a number beyond the last one leaves out nothing.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.channel_cams import without_channels
      >>> without_channels(jnp.array([[[[5.0, 6.0]]]]), jnp.array([0, 1, 2])).reshape(3, 2).tolist()
      [[0.0, 6.0], [5.0, 0.0], [5.0, 6.0]]
    """
    channels = jnp.arange(activation.shape[-1], dtype=indices.dtype)
    versions = jax.vmap(lambda index: jnp.where(channels == index, 0, activation), out_axes=1)(indices)
    return versions.reshape(-1, *activation.shape[1:])
