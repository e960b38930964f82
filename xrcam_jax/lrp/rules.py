"""The rules of relevance propagation: how an operation hands its output's relevance to its inputs.

Every rule sees an operation as a :class:`Bilinear` map z = op(x, w) + b and returns the relevance of x, together with
what it could not hand on. In the equations x+ = max(x, 0), x- = min(x, 0), and op(·, w)ᵀ is the transpose of op in x.
Products and quotients are taken element by element, and R / stab(z) = R / (z + ε sign(z)) with sign(0) = +1, but 0
where z = 0.

Example:
  A neuron computes 1 · 2 + 2 · (-1) + 3 · 1 = 3. Its relevance is 30, of which each rule gives the inputs their shares.

  >>> import jax.numpy as jnp
  >>> from xrcam_jax import rules
  >>> x, w = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[2.0], [-1.0], [1.0]])
  >>> neuron = rules.Bilinear(lambda x, w: x[0] @ w, (x,), w)
  >>> def shares(rule):
  ...     (relevance,), loss = rule.relevance(neuron, jnp.array([[30.0]]))
  ...     return relevance[0].tolist()
  >>> shares(rules.Epsilon(eps=0))
  [20.0, -20.0, 30.0]
  >>> shares(rules.ZPlus(eps=0))
  [12.0, 0.0, 18.0]
  >>> shares(rules.AlphaBeta(alpha=2, beta=1, eps=0))
  [24.0, -30.0, 36.0]
  >>> shares(rules.Gamma(gamma=1, eps=0))
  [15.0, -7.5, 22.5]
  >>> shares(rules.Flat(eps=0))
  [10.0, 10.0, 10.0]
  >>> shares(rules.WSquare(eps=0))
  [20.0, 5.0, 5.0]
  >>> shares(rules.ZBox(low=0.0, high=3.0, eps=0))
  [10.0, 5.0, 15.0]
  >>> shares(rules.Gradient())
  [60.0, -30.0, 30.0]

References:
  bach2015, montavon2017, montavon2019, andeol2021, ali2022, achtibat2024, sixt2020
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from xrcam_jax.lrp.protocol import KINDS, LINEAR_KINDS, Bilinear, Loss
from xrcam_jax.lrp.protocol import Rule as Rule
from xrcam_jax.lrp.protocol import no_loss as no_loss
from xrcam_jax.lrp.sharing_rules import EqualShares as EqualShares
from xrcam_jax.lrp.sharing_rules import Gate as Gate
from xrcam_jax.lrp.sharing_rules import Gradient as Gradient
from xrcam_jax.lrp.sharing_rules import Join as Join
from xrcam_jax.lrp.sharing_rules import Matmul as Matmul
from xrcam_jax.lrp.sharing_rules import Pass as Pass
from xrcam_jax.lrp.sharing_rules import divide
from xrcam_jax.lrp.zero import ChoosesZero, Zero, settle


def _scale(loss: Loss, factor: float) -> Loss:
    return Loss(*(factor * part for part in loss))


def _add(a: Loss, b: Loss) -> Loss:
    return Loss(*(x + y for x, y in zip(a, b, strict=True)))


def _times(x: PyTree, c: PyTree) -> PyTree:
    return jax.tree.map(jnp.multiply, x, c)


def _plus(a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(jnp.add, a, b)


# These are `where` rather than `maximum`, because XLA:CPU fuses a maximum with the transposition of the weights, which
# then takes six times as long.
def _positive(x: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.where(leaf < 0, 0, leaf), x)


def _negative(x: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.where(leaf > 0, 0, leaf), x)


def _signed(op: Bilinear, w_for_positive: PyTree, w_for_negative: PyTree) -> tuple[Array, Callable]:
    """Returns z = op(x+, w₁) + op(x-, w₂) and the map s -> x+ op(·, w₁)ᵀ s + x- op(·, w₂)ᵀ s.

    Where x is known to be >= 0, the terms of x- are left out.
    """
    if op.nonnegative:
        z, transpose = jax.vjp(lambda x: op.apply(x, w_for_positive), op.x)
        return z, lambda s: _times(op.x, transpose(s)[0])
    parts = _positive(op.x), _negative(op.x)
    z, transpose = jax.vjp(lambda p, n: op.apply(p, w_for_positive) + op.apply(n, w_for_negative), *parts)
    return z, lambda s: _plus(*(_times(x, c) for x, c in zip(parts, transpose(s), strict=True)))


@dataclass(frozen=True)
class Epsilon:
    """The ε rule shares relevance in proportion to the contributions x · w (bach2015, eq. 58).

    R_in = x · op(·, w)ᵀ [R / stab(z)],  z = op(x, w)

    For ε → 0 and without biases this is gradient × input. Where the operation is not linear, its Jacobian J at x takes
    the place of the transpose: the rule is its Taylor expansion of first order, z = J x + b, whose constant term
    b = z - J x keeps its share. For a softmax z that is R_in = x · (R - z Σ R), which is the rule of achtibat2024.

    Attributes:
      eps: the stabiliser ε >= 0.
      bias: whether z holds the bias, which then absorbs its share of the relevance.
    """

    fits = frozenset(KINDS) - {"gate", "matmul", "product", "join"}

    eps: float = 1e-6
    bias: bool = False

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`Rule`."""
        z, transpose = jax.vjp(lambda x: op.apply(x, op.w), op.x)
        s, loss = divide(r, z, op.b if self.bias else None, self.eps)
        # A score that is masked is minus infinity and takes no part.
        x = jax.tree.map(lambda x: jnp.where(jnp.isneginf(x), 0, x), op.x)
        if not jax.tree.leaves(op.w):
            linear = jax.jvp(lambda x: op.apply(x, op.w), (op.x,), (x,))[1]
            loss = loss._replace(bias=loss.bias + s * (z - linear))
        return _times(x, transpose(s)[0]), loss


@dataclass(frozen=True)
class BySize:
    """The rule shares relevance in proportion to |x · w|, and gives each share the sign of its weight.

    R_in = |x| · op(·, w)ᵀ [R / stab(z)],  z = op(|x|, |w|)

    It is for the terms of a sum of which it is known only how they count. Where no weight is negative it conserves.

    Attributes:
      eps: the stabiliser ε >= 0.
    """

    fits = LINEAR_KINDS

    eps: float = 1e-12

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`Rule`."""
        size, weights = jax.tree.map(jnp.abs, (op.x, op.w))
        s, loss = divide(r, op.apply(size, weights), None, self.eps)
        _, transpose = jax.vjp(lambda x: op.apply(x, op.w), op.x)
        return _times(size, transpose(s)[0]), loss


@dataclass(frozen=True)
class AlphaBeta(ChoosesZero):
    """The αβ rule treats contributions for and against the output apart (bach2015, eq. 60).

    R_in = α [x+ · op(·, w+)ᵀ s+ + x- · op(·, w-)ᵀ s+] - β [x+ · op(·, w-)ᵀ s- + x- · op(·, w+)ᵀ s-]
    s± = R / stab(z±),  z+ = op(x+, w+) + op(x-, w-),  z- = op(x+, w-) + op(x-, w+)

    It conserves, since α - β has to be 1. With β = 0 nothing cancels: through many layers, what comes out hardly
    depends on what was put in, but for its sum (sixt2020; docs/weakness.md has what that does to maps).

    Attributes:
      alpha: the weight α of the parts that speak for the output.
      beta: the weight β >= 0 of the parts that speak against it; at 0 they are not computed.
      eps: the stabiliser ε >= 0.
      bias: whether z+ holds max(b, 0) and z- holds min(b, 0).
      zero: where α R goes if z+ = 0, and -β R if z- = 0: see :mod:`xrcam_jax.lrp.zero`.

    Raises:
      ValueError: α - β is not 1, β is negative, or ``zero`` is no choice.
    """

    fits = LINEAR_KINDS

    alpha: float = 1.0
    beta: float = 0.0
    eps: float = 1e-9
    bias: bool = False
    zero: Zero = "drop"

    def __post_init__(self) -> None:
        super().__post_init__()
        if abs(self.alpha - self.beta - 1) > 1e-9 or self.beta < 0:
            raise ValueError(f"alpha - beta must be 1 and beta >= 0, got {self.alpha=}, {self.beta=}")

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`Rule`."""
        w_pos, w_neg = _positive(op.w), _negative(op.w)
        b_pos, b_neg = (_positive(op.b), _negative(op.b)) if self.bias else (None, None)
        z_pos, excite = _signed(op, w_pos, w_neg)
        s_pos, loss = divide(r, z_pos, b_pos, self.eps)
        if self.beta == 0:
            return settle(self.zero, op, excite(s_pos), loss)
        z_neg, inhibit = _signed(op, w_neg, w_pos)
        s_neg, loss_neg = divide(r, z_neg, b_neg, self.eps)
        r_in = jax.tree.map(lambda p, n: self.alpha * p - self.beta * n, excite(s_pos), inhibit(s_neg))
        return settle(self.zero, op, r_in, _add(_scale(loss, self.alpha), _scale(loss_neg, -self.beta)))


@dataclass(frozen=True)
class ZPlus(ChoosesZero):
    """The z+ rule shares relevance among what speaks for the output: αβ with α = 1, β = 0 (montavon2017, eq. 17).

    R_in = x+ · op(·, w+)ᵀ s + x- · op(·, w-)ᵀ s,  s = R / stab(op(x+, w+) + op(x-, w-))

    Attributes:
      eps: the stabiliser ε >= 0.
      bias: whether z holds max(b, 0).
      zero: where R goes if z = 0: see :mod:`xrcam_jax.lrp.zero`. Another choice is a ValueError.
    """

    fits = LINEAR_KINDS

    eps: float = 1e-9
    bias: bool = False
    zero: Zero = "drop"

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`Rule`."""
        return AlphaBeta(1.0, 0.0, self.eps, self.bias, self.zero).relevance(op, r)


@dataclass(frozen=True)
class Gamma(ChoosesZero):
    """The γ rule favours what speaks for the output by a factor 1 + γ (montavon2019, section 10.2.3).

    It is generalised to inputs and outputs of either sign (andeol2021). With w⁺ = w + γ w+ and w⁻ = w + γ w-:

    R_in = x+ · op(·, w⁺)ᵀ s₊ + x- · op(·, w⁻)ᵀ s₊ + x+ · op(·, w⁻)ᵀ s₋ + x- · op(·, w⁺)ᵀ s₋
    s₊ = [z > 0] R / stab(op(x+, w⁺) + op(x-, w⁻)),  s₋ = [z < 0] R / stab(op(x+, w⁻) + op(x-, w⁺))

    Computed is the same with fewer products: x+ w⁺ + x- w⁻ = (1 + γ/2) x w + γ/2 |x| |w|, and with -γ/2 the other sum.

    Attributes:
      gamma: γ >= 0; 0 is the ε rule, infinity the z+ rule.
      eps: the stabiliser ε >= 0.
      bias: whether z, z₊ and z₋ hold the bias (treated like a weight).
      zero: where R goes if z = 0: see :mod:`xrcam_jax.lrp.zero`. Another choice is a ValueError.
    """

    fits = LINEAR_KINDS

    gamma: float = 0.25
    eps: float = 1e-6
    bias: bool = False
    zero: Zero = "drop"

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`Rule`."""

        def favour(sign: Callable[[PyTree], PyTree], a: PyTree) -> PyTree:
            return jax.tree.map(lambda leaf, part: leaf + self.gamma * part, a, sign(a))

        b = op.b if self.bias else None
        # Neither sum is the difference of large numbers where it is used: the first where z > 0, the other where z < 0.
        sizes, whole, part = jax.tree.map(jnp.abs, (op.x, op.w)), 1 + self.gamma / 2, self.gamma / 2
        signed, transpose = jax.vjp(lambda x: op.apply(x, op.w), op.x)
        unsigned, transpose_sizes = jax.vjp(lambda x: op.apply(x, sizes[1]), sizes[0])
        z = signed if b is None else signed + b
        z_up, z_down = whole * signed + part * unsigned, whole * signed - part * unsigned
        b_up, b_down = (None, None) if b is None else (favour(_positive, b), favour(_negative, b))
        s_up, loss_up = divide(jnp.where(z > 0, r, 0), z_up, b_up, self.eps)
        s_down, loss_down = divide(jnp.where(z < 0, r, 0), z_down, b_down, self.eps)
        loss = _add(loss_up, loss_down)
        loss = loss._replace(zero=loss.zero + jnp.where(z == 0, r, 0))
        by_sign, by_size = transpose(whole * (s_up + s_down))[0], transpose_sizes(part * (s_up - s_down))[0]
        return settle(self.zero, op, _plus(_times(op.x, by_sign), _times(sizes[0], by_size)), loss)


@dataclass(frozen=True)
class Flat:
    """The flat rule spreads relevance evenly over all inputs of an output (montavon2019, section 10.3).

    R_in = op(·, 1)ᵀ [R / stab(op(1, 1))]

    Attributes:
      eps: the stabiliser ε >= 0.
    """

    fits = LINEAR_KINDS

    eps: float = 1e-6

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`Rule`."""
        ones = jax.tree.map(jnp.ones_like, op.w)
        z, transpose = jax.vjp(lambda x: op.apply(x, ones), jax.tree.map(jnp.ones_like, op.x))
        s, loss = divide(r, z, None, self.eps)
        return transpose(s)[0], loss


@dataclass(frozen=True)
class WSquare:
    """The w² rule shares relevance in proportion to the squared weights, whatever the inputs (montavon2017, eq. 12).

    R_in = op(·, w²)ᵀ [R / stab(op(1, w²))]

    Attributes:
      eps: the stabiliser ε >= 0.
    """

    fits = LINEAR_KINDS

    eps: float = 1e-6

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`Rule`."""
        squares = jax.tree.map(jnp.square, op.w)
        z, transpose = jax.vjp(lambda x: op.apply(x, squares), jax.tree.map(jnp.ones_like, op.x))
        s, loss = divide(r, z, None, self.eps)
        return transpose(s)[0], loss


@dataclass(frozen=True)
class ZBox(ChoosesZero):
    """The z-box rule is for inputs confined to l <= x <= h, such as pixels (montavon2017, eq. 20).

    R_in = x · op(·, w)ᵀ s - l · op(·, w+)ᵀ s - h · op(·, w-)ᵀ s
    s = R / stab(op(x, w) - op(l, w+) - op(h, w-))

    Attributes:
      low: the bound l, one number or one for each channel (the last axis). None takes the minimum of each example,
        over all axes but the first.
      high: the bound h, likewise. None takes the maximum of each example.
      eps: the stabiliser ε >= 0.
      zero: where R goes if what it is divided by is 0, as for a filter of positive weights in a black corner: see
        :mod:`xrcam_jax.lrp.zero`. Another choice is a ValueError.
    """

    fits = LINEAR_KINDS

    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None
    eps: float = 1e-6
    zero: Zero = "drop"

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`Rule`."""
        low = jax.tree.map(lambda x: self._bound(x, self.low, jnp.min), op.x)
        high = jax.tree.map(lambda x: self._bound(x, self.high, jnp.max), op.x)
        weights = op.w, _positive(op.w), _negative(op.w)

        def z_of(x: PyTree, l: PyTree, h: PyTree) -> Array:
            return op.apply(x, weights[0]) - op.apply(l, weights[1]) - op.apply(h, weights[2])

        z, transpose = jax.vjp(z_of, op.x, low, high)
        s, loss = divide(r, z, None, self.eps)
        terms = [_times(x, c) for x, c in zip((op.x, low, high), transpose(s), strict=True)]
        return settle(self.zero, op, jax.tree.map(lambda a, b, c: a + b + c, *terms), loss)

    @staticmethod
    def _bound(x: Array, value: float | tuple[float, ...] | None, extreme: Callable) -> Array:
        if value is not None:
            return jnp.broadcast_to(jnp.asarray(value, x.dtype), x.shape)
        return jnp.broadcast_to(extreme(x, axis=tuple(range(1, x.ndim)), keepdims=True), x.shape)
