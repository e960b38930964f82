"""autoLRP's rules as rules of a user's own, to say exactly where they differ from the library's.

autoLRP shares by absolute values where the library shares by signed contributions (sums, biases, constants) or by
halves (gates); its normalisations are the identity, centring included, and by default its softmax too. R is the
relevance that arrives, z what an operation computes without its bias b or an added constant.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from xrcam_jax.lrp.assignments import Assign, Composite
from xrcam_jax.lrp.rules import Epsilon, Gamma, Gradient, Matmul, Pass, no_loss


def ratio(a, b):
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def of_shape(shape, r):
    """The sums over those axes along which a value of this shape was repeated."""
    repeated = tuple(axis for axis, size in enumerate(shape) if size != r.shape[axis])
    return r.sum(repeated, keepdims=True)


def without_bias(op, r):
    """R |z| / (|z| + |b|)."""
    if op.b is None:
        return r
    z = jnp.abs(op.apply(op.x, op.w))
    return r * ratio(z, z + jnp.abs(op.b))


@dataclass(frozen=True)
class BiasBySize:
    """The bias takes its share by absolute value; what is left is shared by ``rule``, which sees no bias."""

    rule: object
    bias = True

    def relevance(self, op, r):
        return self.rule.relevance(op, without_bias(op, r))


class SumBySize:
    """R_i = R |x_i| / Σ |x_k|, for residual connections and means."""

    def relevance(self, op, r):
        x, w = jax.tree.map(jnp.abs, (op.x, op.w))
        z, transpose = jax.vjp(lambda x: op.apply(x, w), x)
        return jax.tree.map(jnp.multiply, x, transpose(ratio(r, z))[0]), no_loss(r)


class AsGradient:
    """What the derivative hands on, for PyTorch's pooling, which autoLRP leaves as it is: R / n of a mean."""

    def relevance(self, op, r):
        _, transpose = jax.vjp(lambda x: op.apply(x, op.w), op.x)
        return transpose(r)[0], no_loss(r)


class Same:
    """R_in = R, but for the bias's share: for normalisations and the softmax."""

    bias = True

    def relevance(self, op, r):
        return (without_bias(op, r),), no_loss(r)


class GateBySize:
    """R_a = R |a| / (|a| + |b|) and R_b likewise, for a product a · b."""

    def relevance(self, op, r):
        a, b = map(jnp.abs, op.x)
        shares = ratio(r * a, a + b), ratio(r * b, a + b)
        # One factor may be for many places.
        return tuple(of_shape(x.shape, share) for x, share in zip(op.x, shares, strict=True)), no_loss(r)


class Quotient:
    """R_in = R y / x for an activation y of x."""

    def relevance(self, op, r):
        return (r * ratio(op.apply(op.x, op.w), op.x[0]),), no_loss(r)


def autolrp(*, softmax=None, activation=None, convolution=None, matmul=None):
    """Returns the composite of autoLRP's defaults, with some rules replaced."""
    return Composite(
        (
            Assign(BiasBySize(convolution or Epsilon(0)), kinds=("convolution",)),
            Assign(BiasBySize(Epsilon(0)), kinds=("dense", "shift")),
            Assign(SumBySize(), kinds=("add", "sum")),
            Assign(Same(), kinds=("norm",)),
            Assign(softmax or Same(), kinds=("softmax",)),
            Assign(GateBySize(), kinds=("gate",)),
            Assign(matmul or Matmul(0.5, 0.5, 0), kinds=("matmul",)),
            Assign(activation or Pass(), kinds=("activation", "nonlinear")),
            Assign(Pass(), kinds=("scale",)),
            Assign(Gradient(), kinds=("max_pool",)),
        )
    )


#: autoLRP's defaults and its recipes, by the names in the references' keys.
AUTOLRP = {
    "default": autolrp(),
    "attnlrp": autolrp(softmax=Epsilon(0), activation=Quotient(), convolution=Gamma(0.25, 0)),
    "cplrp": autolrp(matmul=Matmul(1, 0, 0)),
}
