"""Blur integrated gradients: gradients along the path on which a picture loses its detail, without a baseline's colour.

References:
  xu2020
"""

from dataclasses import replace
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.case import INPUT, Case, Function
from xrcam_jax.attribution.chunks import bytes_of_gradient, summed
from xrcam_jax.attribution.gradients import Contributions, gradients_at, with_error
from xrcam_jax.attribution.scores import intact_scores
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.runtime.compiling import compiled

# A blur of less than this deviation leaves every pixel as it is, and can be divided by.
_NONE = 1e-3


def blur_integrated_gradients(
    case: Case,
    *,
    max_sigma: float = 50.0,
    steps: int = 100,
    quadrature: Literal["riemann", "gauss_legendre"] = "riemann",
) -> Contributions:
    """Returns ∫ ∇f(L(x, σ)) ∂L(x, σ)/∂σ dσ, σ from ``max_sigma`` down to 0 (xu2020, eq. 6), with L the blurred image.

    L is the convolution with a Gaussian of deviation σ along each axis of space; what lies outside the image is 0, as
    in the authors' code. Contributions sum to f(x) less f of the image at ``max_sigma``, and the error says by how much
    they miss that. The authors' sum of equal steps misses it by more than ``"gauss_legendre"``, whose points are dense
    where most of the detail goes.

    Args:
      case: what is explained: signals, images or volumes.
      max_sigma: the deviation in pixels at which the path begins, positive.
      steps: points of the quadrature, at least 2.
      quadrature: ``"riemann"``, the values at the beginnings of equal steps from 0 on, or ``"gauss_legendre"``.

    Raises:
      ValueError: no deviation, less than two steps, an unknown quadrature, or inputs without an axis of space.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.blur_integrated_gradients import blur_integrated_gradients
      >>> from xrcam_jax.attribution.case import Case
      >>> model = lambda images, parameters: images[:, 3:4].sum(1)
      >>> case = Case(model, (), jnp.zeros((1, 7, 1)).at[0, 3].set(1.0), jnp.array([[1]]))
      >>> found = blur_integrated_gradients(case, max_sigma=9.0, quadrature="gauss_legendre")
      >>> round(float(found.values[0, 0, 3, 0]), 3), round(float(found.error[0, 0]), 3)  # 1 - 1 / (9 √2π)
      (0.956, 0.0)

    References:
      xu2020
    """
    if max_sigma <= 0 or steps < 2:
        raise ValueError(f"max_sigma must be positive and steps at least 2; got {max_sigma} and {steps}")
    if case.images.ndim < 3:
        raise ValueError(
            f"blur_integrated_gradients blurs signals, images and volumes; got inputs of {case.images.shape}"
        )
    nodes, weights = (jnp.asarray(max_sigma * each) for each in _quadrature(quadrature, steps))
    given = case.images, case.parameters, case.targets, nodes, weights
    step = partial(_blur_gradients, *given, function=case.function, reach=_reach(max_sigma))
    each = bytes_of_gradient(case.function, INPUT, case.images, case.parameters)
    values = jnp.moveaxis(summed(step, steps, case, each, "blur integrated gradients"), 0, 1)
    begin = replace(case, images=blurred(case.images, jnp.asarray(max_sigma, float), reach=_reach(max_sigma)))
    return with_error(values, intact_scores(case, "logit") - intact_scores(begin, "logit"))


def _quadrature(kind: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns points of [0, 1] and their weights."""
    if kind == "riemann":
        return np.arange(steps) / steps, np.full(steps, 1 / steps)
    if kind == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (nodes + 1) / 2, weights / 2
    raise ValueError(f"quadrature must be riemann or gauss_legendre; got {kind!r}")


def _reach(max_sigma: float) -> int:
    """Returns the distance in pixels beyond which a Gaussian has nothing."""
    return int(10 * max_sigma) + 1


@compiled(static=("function", "reach"))
def _blur_gradients(
    images: Float[Array, "b *space c"],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    nodes: Float[Array, " steps"],
    weights: Float[Array, " steps"],
    indices: Int[Array, " n"],
    real: Float[Array, " n"],
    *,
    function: Function,
    reach: int,
) -> Float[Array, "t b *space c"]:
    """Returns the weighted sum, at some points of the path, of the gradients times how the image sharpens there."""

    def at(index: Array) -> tuple[Array, Array]:
        sigma = nodes[index]
        return jax.jvp(lambda s: blurred(images, s, reach=reach), (sigma,), (-jnp.ones_like(sigma),))

    points, sharper = jax.vmap(at, out_axes=1)(indices)
    each = gradients_at(lambda a: function(a, parameters), points, targets) * sharper
    return jnp.tensordot(each, (weights[indices] * real).astype(images.dtype), axes=(2, 0))


@compiled(static=("reach",))
def blurred(images: Float[Array, "b *space c"], sigma: Float[Array, ""], *, reach: int) -> Float[Array, "b *space c"]:
    """Returns images convolved with a Gaussian along each axis of space, with zeros outside.

    Args:
      images: signals, images or volumes.
      sigma: deviation of the Gaussian in pixels, at least 0.
      reach: distance in pixels beyond which the Gaussian has nothing; its values up to there have the sum 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.blur_integrated_gradients import blurred
      >>> signal = jnp.zeros((1, 5, 1)).at[0, 2].set(1.0)
      >>> [round(float(v), 3) for v in blurred(signal, jnp.array(1.0), reach=10).ravel()]
      [0.054, 0.242, 0.399, 0.242, 0.054]
    """
    found = at_least_float32(images)
    variance = jnp.maximum(sigma, _NONE).astype(found.dtype) ** 2
    whole = jnp.exp(-(jnp.arange(-reach, reach + 1, dtype=found.dtype) ** 2) / (2 * variance)).sum()
    for axis in range(1, images.ndim - 1):
        places = jnp.arange(images.shape[axis], dtype=found.dtype)
        kernel = jnp.exp(-((places[:, None] - places) ** 2) / (2 * variance)) / whole
        mixed = jnp.tensordot(kernel, found, axes=(1, axis), precision=jax.lax.Precision.HIGHEST)
        found = jnp.moveaxis(mixed, 0, axis)
    return found.astype(images.dtype)
