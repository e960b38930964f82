"""Contributions along a path of gradients: integrated gradients and DeepLIFT, at the input or at any mark.

Contributions are of the layer's shape, and sum to the difference of the target's logit between the image and
the baseline; :class:`Contributions` says by how much they miss it.

References:
  sundararajan2017, shrikumar2017
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Shaped

from xrcam_jax.attribution.asked import twice
from xrcam_jax.attribution.baseline import Baseline, baseline_images
from xrcam_jax.attribution.case import Case, Function, onwards, versions_onwards
from xrcam_jax.attribution.chunks import bytes_of_gradient, summed
from xrcam_jax.attribution.reveal_cancel import reveal_cancel
from xrcam_jax.attribution.reveal_rules import parts_of
from xrcam_jax.attribution.targets import over_targets, target_scores
from xrcam_jax.lrp import seeds
from xrcam_jax.lrp.composites import deep_lift as deep_lift_composite
from xrcam_jax.lrp.transform import lrp
from xrcam_jax.runtime.compiling import compiled


class Contributions(NamedTuple):
    """Holds what each element of a layer contributes to the targets' logits.

    Attributes:
      values: contributions (b, t, ...), followed by the layer's own shape.
      error: completeness error (b, t): the difference of the logits minus the sum of the contributions.
    """

    values: Float[Array, "b t *layer"]
    error: Float[Array, "b t"]


def with_error(values: Float[Array, "b t *layer"], difference: Float[Array, "b t"]) -> Contributions:
    """Returns contributions together with by how much they miss the difference that they are to sum to.

    Args:
      values: contributions.
      difference: of the targets' logits.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.gradients import with_error
      >>> with_error(jnp.array([[[1.0, 2.0]]]), jnp.array([[5.0]])).error.tolist()
      [[2.0]]
    """
    return Contributions(values, difference - jnp.sum(values, axis=tuple(range(2, values.ndim))))


def integrated_gradients(
    case: Case,
    layer: str,
    *,
    baseline: Baseline = 0.0,
    steps: int = 32,
    quadrature: Literal["gauss_legendre", "trapezoid"] = "gauss_legendre",
) -> Contributions:
    """Returns (x - x⁰) · ∫₀¹ ∇f(x⁰ + α (x - x⁰)) dα (sundararajan2017, eq. 1).

    At a mark, x and x⁰ are its activations for the image and the baseline, and f is the model from there on.

    Args:
      case: what is explained.
      layer: a mark, or ``"input"``.
      baseline: what an image without information looks like after preprocessing; broadcast to the images.
      steps: points of the quadrature, at least 2.
      quadrature: ``"gauss_legendre"``, exact for polynomials of degree 2 steps - 1 in α, or ``"trapezoid"``.

    Raises:
      ValueError: less than two steps, an unknown quadrature, or a baseline that does not fit the images.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.gradients import integrated_gradients
      >>> squares = lambda images, parameters: (images**2).sum((1, 2, 3))[:, None]
      >>> case = Case(squares, (), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1), jnp.array([[1]]))
      >>> found = integrated_gradients(case, "input", steps=2)
      >>> [round(float(v), 3) for v in found.values.ravel()], round(float(found.error[0, 0]), 3)
      ([1.0, 4.0], 0.0)

    References:
      sundararajan2017
    """
    if steps < 2:
        raise ValueError(f"steps must be at least 2; got {steps}")
    nodes, weights = map(jnp.asarray, _quadrature(quadrature, steps))
    x, rest = case.at(layer)
    x0, rest0 = case.at(layer, baseline_images(case, baseline))
    given = case.images, case.parameters, case.targets
    step = partial(_path_gradients, *given, x, x0, rest, nodes, weights, function=case.function, layer=layer)
    each = bytes_of_gradient(case.function, layer, case.images, case.parameters)
    values = jnp.moveaxis(summed(step, steps, case, each, "integrated gradients"), 0, 1) * (x - x0)[:, None]
    difference = _logit_difference(*given, x, x0, rest, rest0, function=case.function, layer=layer)
    return with_error(values, difference)


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
    images: Shaped[Array, "b ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    x: Float[Array, "b *layer"],
    x0: Float[Array, "b *layer"],
    rest: list[Array],
    nodes: Float[Array, " steps"],
    weights: Float[Array, " steps"],
    indices: Int[Array, " n"],
    real: Float[Array, " n"],
    *,
    function: Function,
    layer: str,
) -> Float[Array, "t b *layer"]:
    """Returns the weighted sum of the gradients at some points of the path."""
    count = len(indices)
    points = jax.vmap(lambda index: x0 + nodes[index].astype(x.dtype) * (x - x0), out_axes=1)(indices)
    tail = versions_onwards(function, layer, images, parameters, rest, count)
    return jnp.tensordot(gradients_at(tail, points, targets), (weights[indices] * real).astype(x.dtype), axes=(2, 0))


def gradients_at(
    tail: Callable[[Array], Array], points: Float[Array, "b n *layer"], targets: Int[Array, "b t"]
) -> Float[Array, "t b n *layer"]:
    """Returns the gradients of the targets' logits at several points of each image.

    Args:
      tail: (activations of b n versions, those of an image next to each other) -> logits.
      points: n activations for each image.
      targets: t classes for each image.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.gradients import gradients_at
      >>> gradients_at(lambda a: a**2, jnp.array([[[3.0, 1.0], [5.0, 1.0]]]), jnp.array([[0]])).tolist()
      [[[[6.0, 0.0], [10.0, 0.0]]]]
    """
    logits, pullback = jax.vjp(tail, points.reshape(-1, *points.shape[2:]))
    each = over_targets(lambda t: pullback(seeds.unit(logits, t))[0], jnp.repeat(targets, points.shape[1], axis=0))
    return each.reshape(len(each), *points.shape)


def deep_lift(
    case: Case,
    layer: str,
    *,
    baseline: Baseline = 0.0,
    rule: Literal["rescale", "reveal_cancel"] = "rescale",
    max_pool: Literal["rescale", "gradient"] = "rescale",
) -> Contributions:
    """Returns m · (x - x⁰) with DeepLIFT's multipliers m (shrikumar2017).

    The model has to work on each example of the batch by itself, along the first axis.

    Args:
      case: what is explained.
      layer: a mark, or ``"input"``.
      baseline: what an image without information looks like after preprocessing; broadcast to the images.
      rule: of activations; ``"reveal_cancel"`` has multipliers of its own for what raises and what lowers a value, see
        :func:`xrcam_jax.attribution.reveal_cancel.reveal_cancel`.
      max_pool: of ``"rescale"``, see :func:`xrcam_jax.lrp.composites.deep_lift`.

    Raises:
      ValueError: an unknown ``rule`` or ``max_pool``, or a baseline that does not fit the images.
      NotImplementedError: ``"reveal_cancel"`` meets an operation that is none of layers, sums, pooling and activations.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.gradients import deep_lift
      >>> model = lambda images, parameters: jax.nn.relu(images.sum((1, 2)) @ parameters)
      >>> case = Case(model, jnp.eye(1), jnp.array([3.0, -1.0]).reshape(1, 1, 2, 1), jnp.array([[1]]))
      >>> deep_lift(case, "input").values.ravel().tolist()
      [3.0, -1.0]

    References:
      shrikumar2017
    """
    if rule not in ("rescale", "reveal_cancel"):
        raise ValueError(f"rule must be rescale or reveal_cancel; got {rule!r}")
    if rule == "reveal_cancel":
        if max_pool != "rescale":
            raise ValueError(f"max_pool={max_pool!r} is for rule='rescale'")
        return _revealed(case, layer, baseline_images(case, baseline))
    case, pair = _twice(case), jnp.concatenate([case.images, baseline_images(case, baseline)])
    return _contributions(case, layer, pair, *case.at(layer, pair), max_pool)


def deep_lift_from_zero(
    case: Case, layer: str, *, max_pool: Literal["rescale", "gradient"] = "rescale"
) -> Contributions:
    """Returns DeepLIFT's contributions against an activation of zeros, as LIFT-CAM has it (jung2021, section 3.3).

    Args:
      case: what is explained.
      layer: a mark, or ``"input"``.
      max_pool: see :func:`xrcam_jax.lrp.composites.deep_lift`.

    Raises:
      ValueError: an unknown ``max_pool``.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.gradients import deep_lift_from_zero
      >>> model = lambda images, parameters: jax.nn.relu(images.sum((1, 2)) @ parameters)
      >>> case = Case(model, jnp.eye(1), jnp.array([3.0, -1.0]).reshape(1, 1, 2, 1), jnp.array([[1]]))
      >>> deep_lift_from_zero(case, "input").values.ravel().tolist()
      [3.0, -1.0]

    References:
      shrikumar2017, jung2021
    """
    case, pair = _twice(case), jnp.concatenate([case.images, case.images])
    x, rest = case.at(layer, pair)
    of_images = jnp.arange(len(x)).reshape(-1, *(1,) * (x.ndim - 1)) < len(case.images)
    return _contributions(case, layer, pair, jnp.where(of_images, x, 0), rest, max_pool)


def _twice(case: Case) -> Case:
    """Returns the case with a model for images that are followed by their baselines."""
    function, parameters = twice(case.function, case.parameters)
    return replace(case, function=function, parameters=parameters)


def _contributions(
    case: Case,
    layer: str,
    pair: Shaped[Array, "b2 ..."],
    both: Float[Array, "b2 *layer"],
    rest: list[Array],
    max_pool: str,
) -> Contributions:
    """Returns the contributions of the first half of ``both``, with the second half for baselines."""
    multipliers, logits = _multipliers(
        pair, case.parameters, case.targets, both, rest, function=case.function, layer=layer, max_pool=max_pool
    )
    x, x0 = jnp.split(both, 2)
    values = jnp.moveaxis(multipliers, 0, 1) * (x - x0)[:, None]
    of_x, of_x0 = (target_scores(half, case.targets, "logit") for half in jnp.split(logits, 2))
    return with_error(values, of_x - of_x0)


@compiled(static=("function", "layer", "max_pool"))
def _multipliers(
    pair: Shaped[Array, "b2 ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    both: Float[Array, "b2 *layer"],
    rest: list[Array],
    *,
    function: Function,
    layer: str,
    max_pool: Literal["rescale", "gradient"],
) -> tuple[Float[Array, "t b *layer"], Float[Array, "b2 n"]]:
    tail = onwards(function, layer, pair, parameters)
    explained = lrp(lambda a: tail(a, rest), deep_lift_composite(max_pool=max_pool))
    logits, pullback = jax.vjp(explained, both)

    def multipliers(target: Int[Array, " b"]) -> Array:
        seed = seeds.unit(logits[: len(target)], target)
        return pullback(jnp.concatenate([seed, jnp.zeros_like(seed)]))[0][: len(target)]

    return over_targets(multipliers, targets), logits


def _revealed(case: Case, layer: str, baseline: Shaped[Array, "b ..."]) -> Contributions:
    (x, rest), (x0, rest0) = case.at(layer), case.at(layer, baseline)
    given = case.images, case.parameters, case.targets, x, x0, rest, rest0
    values, difference = _revealed_values(*given, function=case.function, layer=layer)
    return with_error(values, difference)


@compiled(static=("function", "layer"))
def _revealed_values(
    images: Shaped[Array, "b ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    x: Float[Array, "b *layer"],
    x0: Float[Array, "b *layer"],
    rest: list[Array],
    rest0: list[Array],
    *,
    function: Function,
    layer: str,
) -> tuple[Float[Array, "b t *layer"], Float[Array, "b t"]]:
    found = reveal_cancel(onwards(function, layer, images, parameters), x, x0, rest, rest0)
    parts = parts_of(x - x0)

    def contributions(target: Int[Array, " b"]) -> Array:
        multipliers = found.pullback(seeds.unit(found.output, target))
        return multipliers.plus * parts.plus + multipliers.minus * parts.minus

    of_x, of_x0 = (target_scores(logits, targets, "logit") for logits in (found.output, found.baseline))
    return over_targets(contributions, targets, axis=1), of_x - of_x0


@compiled(static=("function", "layer"))
def _logit_difference(
    images: Shaped[Array, "b ..."],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    x: Float[Array, "b *layer"],
    x0: Float[Array, "b *layer"],
    rest: list[Array],
    rest0: list[Array],
    *,
    function: Function,
    layer: str,
) -> Float[Array, "b t"]:
    tail = onwards(function, layer, images, parameters)
    return target_scores(tail(x, rest), targets, "logit") - target_scores(tail(x0, rest0), targets, "logit")
