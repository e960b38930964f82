"""Contributions along a path of gradients: integrated gradients and DeepLIFT, at the input or at any mark.

Contributions are of the layer's shape, and sum to the difference of the target's logit between the image and
the baseline; :class:`Contributions` says by how much they miss it.

References:
  sundararajan2017: Sundararajan et al., Axiomatic attribution for deep networks, ICML 2017.
  shrikumar2017: Shrikumar et al., Learning important features through propagating activation differences,
    ICML 2017.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.baseline import Baseline, baseline_images
from xrcam_jax.attribution.case import Case, Function, onwards, versions_onwards
from xrcam_jax.attribution.chunks import bytes_of_gradient, summed
from xrcam_jax.attribution.targets import over_targets, target_scores
from xrcam_jax.lrp import seeds
from xrcam_jax.lrp.composites import deep_lift as deep_lift_composite
from xrcam_jax.lrp.transform import lrp
from xrcam_jax.runtime.compiling import compiled


class Contributions(NamedTuple):
    """What each element of a layer contributes to the targets' logits.

    Attributes:
      values: (b, t, ...), then the layer's own shape.
      error: completeness error (b, t): the difference of the logits minus the sum of the contributions.
    """

    values: Float[Array, "b t *layer"]
    error: Float[Array, "b t"]


def integrated_gradients(
    case: Case,
    layer: str,
    *,
    baseline: Baseline = 0.0,
    steps: int = 32,
    quadrature: Literal["gauss_legendre", "trapezoid"] = "gauss_legendre",
) -> Contributions:
    """(x - x⁰) · ∫₀¹ ∇f(x⁰ + α (x - x⁰)) dα (sundararajan2017, eq. 1).

    At a mark x and x⁰ are its activations for the image and the baseline, and f is the model from there on.

    Args:
      case: what is explained.
      layer: a mark, or ``"input"``.
      baseline: what an image without information looks like after preprocessing; broadcast to the images.
      steps: points of the quadrature.
      quadrature: its kind.

    Raises:
      ValueError: less than two steps, or an unknown quadrature.
    """
    if steps < 2:
        raise ValueError(f"steps must be at least 2; got {steps}")
    nodes, weights = map(jnp.asarray, _quadrature(quadrature, steps))
    x, rest = case.at(layer)
    x0, rest0 = case.at(layer, baseline_images(case, baseline))
    step = partial(
        _path_gradients, case.images, case.parameters, case.targets, x, x0, rest, nodes, weights,
        function=case.function, layer=layer,
    )  # fmt: skip
    each = bytes_of_gradient(case.function, layer, case.images, case.parameters)
    values = jnp.moveaxis(summed(step, steps, case, each, "integrated gradients"), 0, 1) * (x - x0)[:, None]
    difference = _logit_difference(
        case.images, case.parameters, case.targets, x, x0, rest, rest0, function=case.function, layer=layer
    )
    return Contributions(values, difference - _total(values))


def _quadrature(kind: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    if kind == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (nodes + 1) / 2, weights / 2
    if kind == "trapezoid":
        weights = np.full(steps, 1 / (steps - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, steps), weights
    raise ValueError(f"quadrature must be gauss_legendre or trapezoid; got {kind!r}")


@compiled(static=("function", "layer"))
def _path_gradients(
    images: Array, parameters: PyTree, targets: Array, x: Array, x0: Array, rest: list[Array],
    nodes: Array, weights: Array, indices: Array, real: Array, *, function: Function, layer: str,
) -> Float[Array, "t b *layer"]:  # fmt: skip
    count = len(indices)
    points = jax.vmap(lambda index: x0 + nodes[index].astype(x.dtype) * (x - x0), out_axes=1)(indices)
    tail = versions_onwards(function, layer, images, parameters, rest, count)
    logits, pullback = jax.vjp(tail, points.reshape(-1, *x.shape[1:]))
    gradients = over_targets(lambda t: pullback(seeds.unit(logits, t))[0], jnp.repeat(targets, count, axis=0))
    each = gradients.reshape(len(gradients), len(x), count, *x.shape[1:])
    return jnp.tensordot(each, (weights[indices] * real).astype(x.dtype), axes=(2, 0))


def deep_lift(
    case: Case,
    layer: str,
    *,
    baseline: Baseline = 0.0,
    max_pool: Literal["rescale", "gradient"] = "rescale",
) -> Contributions:
    """m · (x - x⁰) with the multipliers m of the rescale rule (shrikumar2017).

    The model has to work on each example of the batch by itself, along the first axis.

    Args:
      case: what is explained.
      layer: a mark, or ``"input"``.
      baseline: as for :func:`integrated_gradients`.
      max_pool: see :func:`xrcam_jax.lrp.composites.deep_lift`.
    """
    pair = jnp.concatenate([case.images, baseline_images(case, baseline)])
    return _contributions(case, layer, pair, *case.at(layer, pair), max_pool)


def deep_lift_from_zero(
    case: Case, layer: str, *, max_pool: Literal["rescale", "gradient"] = "rescale"
) -> Contributions:
    """The same with an activation of zero for a baseline, as LIFT-CAM has it."""
    pair = jnp.concatenate([case.images, case.images])
    x, rest = case.at(layer, pair)
    of_images = jnp.arange(len(x)).reshape(-1, *(1,) * (x.ndim - 1)) < len(case.images)
    return _contributions(case, layer, pair, jnp.where(of_images, x, 0), rest, max_pool)


def _contributions(case: Case, layer: str, pair: Array, both: Array, rest: list[Array], max_pool: str) -> Contributions:
    multipliers, logits = _multipliers(
        pair, case.parameters, case.targets, both, rest, function=case.function, layer=layer, max_pool=max_pool
    )
    x, x0 = jnp.split(both, 2)
    values = jnp.moveaxis(multipliers, 0, 1) * (x - x0)[:, None]
    of_x, of_x0 = (target_scores(half, case.targets, "logit") for half in jnp.split(logits, 2))
    return Contributions(values, of_x - of_x0 - _total(values))


@compiled(static=("function", "layer", "max_pool"))
def _multipliers(
    pair: Array, parameters: PyTree, targets: Array, both: Array, rest: list[Array],
    *, function: Function, layer: str, max_pool: Literal["rescale", "gradient"],
) -> tuple[Float[Array, "t b *layer"], Array]:  # fmt: skip
    tail = onwards(function, layer, pair, parameters)
    explained = lrp(lambda a: tail(a, rest), deep_lift_composite(max_pool=max_pool))
    logits, pullback = jax.vjp(explained, both)

    def multipliers(target: Int[Array, " b"]) -> Array:
        seed = seeds.unit(logits[: len(target)], target)
        return pullback(jnp.concatenate([seed, jnp.zeros_like(seed)]))[0][: len(target)]

    return over_targets(multipliers, targets), logits


@compiled(static=("function", "layer"))
def _logit_difference(
    images: Array, parameters: PyTree, targets: Array, x: Array, x0: Array, rest: list[Array], rest0: list[Array],
    *, function: Function, layer: str,
) -> Array:  # fmt: skip
    tail: Callable = onwards(function, layer, images, parameters)
    return target_scores(tail(x, rest), targets, "logit") - target_scores(tail(x0, rest0), targets, "logit")


def _total(values: Float[Array, "b t *layer"]) -> Float[Array, "b t"]:
    return jnp.sum(values, axis=tuple(range(2, values.ndim)))
