"""These rules change the gradient: guided backprop, DeconvNet, and DeepLIFT's multipliers.

They follow the protocol of :mod:`xrcam_jax.lrp.rules`, and are for composites whose default is ``Gradient()``. What
they propagate is a gradient or a multiplier, not relevance, so they make no claim to conserve.

The rules of DeepLIFT compare two inputs, the example and its baseline, which run through the model as one batch: the
first half of the leading axis holds the examples, the second half the baselines. They propagate multipliers m, where
m · (x - x⁰) is the contribution of x. The second half carries none.

Example:
  Guided backprop and DeconvNet at a ReLU, and the slope of DeepLIFT between the example 2 and the baseline -2:

  >>> import jax
  >>> import jax.numpy as jnp
  >>> from xrcam_jax.lrp.gradient_rules import Deconvnet, Guided, Rescale
  >>> from xrcam_jax.lrp.rules import Bilinear
  >>> def at_relu(rule, x, r):
  ...     op = Bilinear(lambda x, w: jax.nn.relu(x[0]), (jnp.array(x),), ())
  ...     return rule.relevance(op, jnp.array(r))[0][0].tolist()
  >>> at_relu(Guided(), [1.0, 2.0, -3.0], [5.0, -6.0, 7.0])
  [5.0, 0.0, 0.0]
  >>> at_relu(Deconvnet(), [1.0, 2.0, -3.0], [5.0, -6.0, 7.0])
  [5.0, 0.0, 7.0]
  >>> at_relu(Rescale(), [2.0, -2.0], [1.0, 0.0])
  [0.5, 0.0]

References:
  zeiler2014, springenberg2015, shrikumar2017, sundararajan2017
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import PyTree

from xrcam_jax.lrp.protocol import Bilinear, Loss, no_loss


@dataclass(frozen=True)
class Guided:
    """Guided backprop passes on what is positive, through the derivative (springenberg2015).

    R_in = f'(x) · max(R, 0) for an activation z = f(x).
    """

    fits = frozenset({"activation", "nonlinear"})

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        return jax.vjp(lambda x: op.apply(x, op.w), op.x)[1](jax.nn.relu(r))[0], no_loss(r)


@dataclass(frozen=True)
class Deconvnet:
    """DeconvNet passes on what is positive, whatever the input of the activation was (zeiler2014): R_in = max(R, 0)."""

    fits = frozenset({"activation", "nonlinear"})

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        return jax.tree.map(lambda x: jnp.broadcast_to(jax.nn.relu(r), x.shape), op.x), no_loss(r)


@dataclass(frozen=True)
class Rescale:
    """The rescale rule multiplies by the slope between x⁰ and x (shrikumar2017, section 3.5.1).

    m_in = m · (f(x) - f(x⁰)) / (x - x⁰) for an elementwise z = f(x).

    Attributes:
      least: where |x - x⁰| is at most this share of the values, the quotient would be mostly rounding error, and the
        derivative at x takes its place.
    """

    fits = frozenset({"activation", "nonlinear"})

    least: float = 1e-7

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        (x,) = op.x
        z, derivative = jax.vjp(lambda x: op.apply((x,), op.w), x)
        (dx, dz), m = (_difference(x), _difference(z)), _examples(r)
        near = jnp.abs(dx) <= self.least * jnp.maximum(_largest(x), _largest(z))
        quotient = m * dz / jnp.where(near, 1, dx)
        return (_with_baselines(jnp.where(near, _examples(derivative(r)[0]), quotient)),), no_loss(r)


@dataclass(frozen=True)
class RescaledMaximum:
    """DeepLIFT's rule for max pooling gives the change of a maximum to the places that caused it.

    Let y and y⁰ be the two maxima. Then y - y⁰ = (y - max(y, y⁰)) + (max(y, y⁰) - y⁰), where the first part belongs to
    the place of y⁰ and the second to that of y. So the contributions sum to f(x) - f(x⁰). Those of the gradient, which
    looks at the place of y alone, do not.

    Attributes:
      minimum: whether the pooling takes minima: then min(y, y⁰) separates the two parts.
    """

    fits = frozenset({"max_pool"})

    minimum: bool = False

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        z, transpose = jax.vjp(lambda x: op.apply(x, op.w), op.x)
        y, y0 = _examples(z), _baselines(z)
        between, m = (jnp.minimum if self.minimum else jnp.maximum)(y, y0), _examples(r)
        (routed,) = transpose(jnp.concatenate([m * (between - y0), m * (y - between)]))

        def multiplier(x: Array, contribution: Array) -> Array:
            dx = _difference(x)
            both = _examples(contribution) + _baselines(contribution)
            # The quotient stays small, because |x - x⁰| is at least as large as either part.
            return _with_baselines(jnp.where(dx == 0, 0, both / jnp.where(dx == 0, 1, dx)))

        return jax.tree.map(multiplier, op.x, routed), no_loss(r)


@dataclass(frozen=True)
class MeanGradient:
    """The mean derivative on the straight line from x⁰ to x is for operations of several inputs (sundararajan2017).

    It is computed by Gauss-Legendre quadrature, which is exact for a product: there each factor is multiplied by the
    mean of the other, and the contributions sum to the difference of the outputs.

    Attributes:
      points: how many points the quadrature has.
    """

    points: int = 16

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        nodes, weights = np.polynomial.legendre.leggauss(self.points)
        x0 = jax.tree.map(lambda x: jnp.concatenate([_baselines(x)] * 2), op.x)
        x1 = jax.tree.map(lambda x: jnp.concatenate([_examples(x)] * 2), op.x)
        m = jnp.concatenate([_examples(r), jnp.zeros_like(_baselines(r))])

        def derivative(node: float) -> PyTree:
            between = jax.tree.map(lambda a, b: a + (b - a) * (1 + node) / 2, x0, x1)
            return jax.vjp(lambda x: op.apply(x, op.w), between)[1](m)[0]

        terms = [
            jax.tree.map(lambda d, w=weight: d * w / 2, derivative(float(node)))
            for node, weight in zip(nodes, map(float, weights), strict=True)
        ]
        return jax.tree.map(lambda *each: sum(each[1:], each[0]), *terms), no_loss(r)


def _examples(a: Array) -> Array:
    return a[: len(a) // 2]


def _baselines(a: Array) -> Array:
    return a[len(a) // 2 :]


def _difference(a: Array) -> Array:
    return _examples(a) - _baselines(a)


def _largest(a: Array) -> Array:
    return jnp.maximum(jnp.abs(_examples(a)), jnp.abs(_baselines(a)))


def _with_baselines(multiplier: Array) -> Array:
    return jnp.concatenate([multiplier, jnp.zeros_like(multiplier)])
