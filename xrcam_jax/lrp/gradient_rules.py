"""Rules that bend the gradient rather than share out relevance: guided backprop, DeconvNet, DeepLIFT.

They are rules like those of :mod:`xrcam_jax.lrp.rules`, for composites whose default is ``Gradient()``.

The rules of DeepLIFT compare two inputs, the example and its baseline, which run through the model as one
batch: the first half of the leading axis holds the examples, the second the baselines. What is propagated is
a multiplier m with m · (x - x⁰) = the contribution of x; the second half carries none.

References:
  zeiler2014: Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014.
  springenberg2015: Springenberg et al., Striving for simplicity: the all convolutional net, ICLR workshop 2015.
  shrikumar2017: Shrikumar et al., Learning important features through propagating activation differences,
    ICML 2017.
  sundararajan2017: Sundararajan et al., Axiomatic attribution for deep networks, ICML 2017.
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
    """R_in = f'(x) · max(R, 0) for an activation z = f(x) (springenberg2015)."""

    fits = frozenset({"activation", "nonlinear"})

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`xrcam_jax.lrp.rules.Rule`."""
        return jax.vjp(lambda x: op.apply(x, op.w), op.x)[1](jax.nn.relu(r))[0], no_loss(r)


@dataclass(frozen=True)
class Deconvnet:
    """R_in = max(R, 0) for an activation, whatever its input was (zeiler2014)."""

    fits = frozenset({"activation", "nonlinear"})

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`xrcam_jax.lrp.rules.Rule`."""
        return jax.tree.map(lambda x: jnp.broadcast_to(jax.nn.relu(r), x.shape), op.x), no_loss(r)


@dataclass(frozen=True)
class Rescale:
    """m_in = m · (f(x) - f(x⁰)) / (x - x⁰) for an elementwise z = f(x) (shrikumar2017, section 3.5.1).

    Attributes:
      least: where |x - x⁰| is no more than this share of the values, the derivative at x takes the quotient's
        place, which would be rounding errors.
    """

    fits = frozenset({"activation", "nonlinear"})

    least: float = 1e-7

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`xrcam_jax.lrp.rules.Rule`."""
        (x,) = op.x
        z, derivative = jax.vjp(lambda x: op.apply((x,), op.w), x)
        (dx, dz), m = (_difference(x), _difference(z)), _examples(r)
        near = jnp.abs(dx) <= self.least * jnp.maximum(_largest(x), _largest(z))
        quotient = m * dz / jnp.where(near, 1, dx)
        return (_with_baselines(jnp.where(near, _examples(derivative(r)[0]), quotient)),), no_loss(r)


@dataclass(frozen=True)
class RescaledMaximum:
    """DeepLIFT for max pooling: what the maximum rose or fell goes to the place that made it do so.

    With y and y⁰ the two maxima, y - y⁰ is (y - max(y, y⁰)) + (max(y, y⁰) - y⁰): the second part belongs to the
    place of y, the first to that of y⁰. So it sums to f(x) - f(x⁰) where the gradient, which looks at the place
    of y alone, does not.

    Attributes:
      minimum: whether it is a minimum: then min(y, y⁰) lies between the two parts.
    """

    fits = frozenset({"max_pool"})

    minimum: bool = False

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`xrcam_jax.lrp.rules.Rule`."""
        z, transpose = jax.vjp(lambda x: op.apply(x, op.w), op.x)
        y, y0 = _examples(z), _baselines(z)
        between, m = (jnp.minimum if self.minimum else jnp.maximum)(y, y0), _examples(r)
        (routed,) = transpose(jnp.concatenate([m * (between - y0), m * (y - between)]))

        def multiplier(x: Array, contribution: Array) -> Array:
            dx = _difference(x)
            both = _examples(contribution) + _baselines(contribution)
            # Of either part |x - x⁰| is at least as large.
            return _with_baselines(jnp.where(dx == 0, 0, both / jnp.where(dx == 0, 1, dx)))

        return jax.tree.map(multiplier, op.x, routed), no_loss(r)


@dataclass(frozen=True)
class MeanGradient:
    """The mean derivative on the straight line from x⁰ to x, for operations of several inputs (sundararajan2017).

    Exact for a product (the mean of both factors), whose contributions then sum to the difference of the
    outputs; for others by Gauss-Legendre quadrature.

    Attributes:
      points: of the quadrature.
    """

    points: int = 16

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`xrcam_jax.lrp.rules.Rule`."""
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
