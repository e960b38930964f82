"""The rules of relevance propagation: how an operation hands its output's relevance to its inputs.

Every rule sees an operation as a :class:`Bilinear` map z = op(x, w) (+ b) and returns the relevance of x,
together with what it could not hand on. In the equations x+ = max(x, 0), x- = min(x, 0), op(x, w)ᵀ is the
transpose of op in x, products and quotients are taken element by element, and
R / stab(z) = R / (z + ε sign(z)) with sign(0) = +1, and 0 where z = 0.

References:
  bach2015: Bach et al., On pixel-wise explanations for non-linear classifier decisions by LRP, PLOS ONE 2015.
  montavon2017: Montavon et al., Explaining nonlinear classification decisions with deep Taylor decomposition,
    Pattern Recognition 2017.
  montavon2019: Montavon et al., Layer-wise relevance propagation: an overview, LNCS 11700, 2019.
  andeol2021: Andéol et al., Learning domain invariant representations by joint Wasserstein distance
    minimization, 2021 (the generalised γ rule).
  ali2022: Ali et al., XAI for transformers: better explanations through conservative propagation, ICML 2022.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from xrcam_jax.lrp.protocol import KINDS, LINEAR_KINDS, Bilinear, Loss, OperationKind, no_loss
from xrcam_jax.lrp.protocol import Rule as Rule


# Most operations share their shape with others: jit traces the division once for all of these.
@partial(jax.jit, static_argnames="eps")
def _divide(r: Array, z: Array, b: Array | None, eps: float) -> tuple[Array, Loss]:
    """s = R / stab(z + b), and the relevance that s leaves with the bias, the stabiliser and z = 0."""
    z = z if b is None else z + b
    sign = jnp.where(z < 0, -1, 1).astype(z.dtype)
    # By infinity s and its derivative are 0. After the division a where would have each reader of s compute z anew.
    s = (r / jnp.where(z == 0, jnp.inf, z + eps * sign)).astype(r.dtype)
    bias = jnp.zeros((), r.dtype) if b is None else s * b
    return s, Loss(bias, eps * sign * s, jnp.where(z == 0, r, 0))


def _scale(loss: Loss, factor: float) -> Loss:
    return Loss(*(factor * part for part in loss))


def _add(a: Loss, b: Loss) -> Loss:
    return Loss(*(x + y for x, y in zip(a, b, strict=True)))


def _times(x: PyTree, c: PyTree) -> PyTree:
    return jax.tree.map(jnp.multiply, x, c)


def _plus(a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(jnp.add, a, b)


# Choices rather than maxima: XLA fuses a maximum with whatever transposes weights, which on CPU is six times as slow.
def _positive(x: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.where(leaf < 0, 0, leaf), x)


def _negative(x: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.where(leaf > 0, 0, leaf), x)


def _signed(op: Bilinear, w_for_positive: PyTree, w_for_negative: PyTree) -> tuple[Array, Callable]:
    """z = op(x+, w₁) + op(x-, w₂) and the map s -> x+ op(·, w₁)ᵀ s + x- op(·, w₂)ᵀ s; half of it where x >= 0."""
    if op.nonnegative:
        z, transpose = jax.vjp(lambda x: op.apply(x, w_for_positive), op.x)
        return z, lambda s: _times(op.x, transpose(s)[0])
    parts = _positive(op.x), _negative(op.x)
    z, transpose = jax.vjp(lambda p, n: op.apply(p, w_for_positive) + op.apply(n, w_for_negative), *parts)
    return z, lambda s: _plus(*(_times(x, c) for x, c in zip(parts, transpose(s), strict=True)))


@dataclass(frozen=True)
class Epsilon:
    """ε rule: R_in = x · op(·, w)ᵀ [R / stab(z)], z = op(x, w) (bach2015, eq. 58).

    For ε → 0 and without biases this is gradient × input. It also serves operations with a non-linear
    ``apply`` such as softmax, whose Jacobian then takes the place of the transpose.

    Attributes:
      eps: the stabiliser ε >= 0.
      bias: whether z holds the bias, which then absorbs its share of the relevance.
    """

    fits = frozenset(KINDS) - {"gate"}

    eps: float = 1e-6
    bias: bool = False

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`Rule`."""
        z, transpose = jax.vjp(lambda x: op.apply(x, op.w), op.x)
        s, loss = _divide(r, z, op.b if self.bias else None, self.eps)
        return _times(op.x, transpose(s)[0]), loss


@dataclass(frozen=True)
class AlphaBeta:
    """αβ rule (bach2015, eq. 60), with α - β = 1 so that it conserves.

    R_in = α [x+ · op(·, w+)ᵀ s+ + x- · op(·, w-)ᵀ s+] - β [x+ · op(·, w-)ᵀ s- + x- · op(·, w+)ᵀ s-]
    s± = R / stab(z±),  z+ = op(x+, w+) + op(x-, w-),  z- = op(x+, w-) + op(x-, w+)

    Attributes:
      alpha: weight of the parts that speak for the output.
      beta: weight of the parts that speak against it, >= 0; at 0 they are not computed.
      eps: the stabiliser ε >= 0.
      bias: whether z+ holds max(b, 0) and z- holds min(b, 0).
    """

    fits = LINEAR_KINDS

    alpha: float = 1.0
    beta: float = 0.0
    eps: float = 1e-9
    bias: bool = False

    def __post_init__(self) -> None:
        if abs(self.alpha - self.beta - 1) > 1e-9 or self.beta < 0:
            raise ValueError(f"alpha - beta must be 1 and beta >= 0, got {self.alpha=}, {self.beta=}")

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`Rule`."""
        w_pos, w_neg = _positive(op.w), _negative(op.w)
        b_pos, b_neg = (_positive(op.b), _negative(op.b)) if self.bias else (None, None)
        z_pos, excite = _signed(op, w_pos, w_neg)
        s_pos, loss = _divide(r, z_pos, b_pos, self.eps)
        if self.beta == 0:
            return excite(s_pos), loss
        z_neg, inhibit = _signed(op, w_neg, w_pos)
        s_neg, loss_neg = _divide(r, z_neg, b_neg, self.eps)
        r_in = jax.tree.map(lambda p, n: self.alpha * p - self.beta * n, excite(s_pos), inhibit(s_neg))
        return r_in, _add(_scale(loss, self.alpha), _scale(loss_neg, -self.beta))


@dataclass(frozen=True)
class ZPlus:
    """z+ rule: the αβ rule with α = 1, β = 0 (montavon2017, eq. 17).

    R_in = x+ · op(·, w+)ᵀ s + x- · op(·, w-)ᵀ s,  s = R / stab(op(x+, w+) + op(x-, w-))

    Attributes:
      eps: the stabiliser ε >= 0.
      bias: whether z holds max(b, 0).
    """

    fits = LINEAR_KINDS

    eps: float = 1e-9
    bias: bool = False

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`Rule`."""
        return AlphaBeta(1.0, 0.0, self.eps, self.bias).relevance(op, r)


@dataclass(frozen=True)
class Gamma:
    """γ rule, generalised to inputs and outputs of either sign (montavon2019, section 10.2.3; andeol2021).

    With w⁺ = w + γ w+ and w⁻ = w + γ w-:
    R_in = x+ · op(·, w⁺)ᵀ s₊ + x- · op(·, w⁻)ᵀ s₊ + x+ · op(·, w⁻)ᵀ s₋ + x- · op(·, w⁺)ᵀ s₋
    s₊ = [z > 0] R / stab(op(x+, w⁺) + op(x-, w⁻)),  s₋ = [z < 0] R / stab(op(x+, w⁻) + op(x-, w⁺))

    Attributes:
      gamma: γ >= 0; 0 is the ε rule, infinity the z+ rule.
      eps: the stabiliser ε >= 0.
      bias: whether z, z₊ and z₋ hold the bias (treated like a weight).
    """

    fits = LINEAR_KINDS

    gamma: float = 0.25
    eps: float = 1e-6
    bias: bool = False

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`Rule`."""

        def favour(sign: Callable[[PyTree], PyTree], a: PyTree) -> PyTree:
            return jax.tree.map(lambda leaf, part: leaf + self.gamma * part, a, sign(a))

        b = op.b if self.bias else None
        z = op.apply(op.x, op.w) if b is None else op.apply(op.x, op.w) + b
        up, down = favour(_positive, op.w), favour(_negative, op.w)
        z_up, excite = _signed(op, up, down)
        z_down, inhibit = _signed(op, down, up)
        b_up, b_down = (None, None) if b is None else (favour(_positive, b), favour(_negative, b))
        s_up, loss_up = _divide(jnp.where(z > 0, r, 0), z_up, b_up, self.eps)
        s_down, loss_down = _divide(jnp.where(z < 0, r, 0), z_down, b_down, self.eps)
        loss = _add(loss_up, loss_down)
        loss = loss._replace(zero=loss.zero + jnp.where(z == 0, r, 0))
        return _plus(excite(s_up), inhibit(s_down)), loss


@dataclass(frozen=True)
class Flat:
    """Flat rule: relevance is spread evenly over what feeds an output (montavon2019, section 10.3).

    R_in = op(·, 1)ᵀ [R / stab(op(1, 1))]

    Attributes:
      eps: the stabiliser ε >= 0.
    """

    fits = LINEAR_KINDS

    eps: float = 1e-6

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`Rule`."""
        ones = jax.tree.map(jnp.ones_like, op.w)
        z, transpose = jax.vjp(lambda x: op.apply(x, ones), jax.tree.map(jnp.ones_like, op.x))
        s, loss = _divide(r, z, None, self.eps)
        return transpose(s)[0], loss


@dataclass(frozen=True)
class WSquare:
    """w² rule: relevance by squared weights, whatever the input (montavon2017, eq. 12).

    R_in = op(·, w²)ᵀ [R / stab(op(1, w²))]

    Attributes:
      eps: the stabiliser ε >= 0.
    """

    fits = LINEAR_KINDS

    eps: float = 1e-6

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`Rule`."""
        squares = jax.tree.map(jnp.square, op.w)
        z, transpose = jax.vjp(lambda x: op.apply(x, squares), jax.tree.map(jnp.ones_like, op.x))
        s, loss = _divide(r, z, None, self.eps)
        return transpose(s)[0], loss


@dataclass(frozen=True)
class ZBox:
    """z-box rule for an input confined to l <= x <= h, such as pixels (montavon2017, eq. 20).

    R_in = x · op(·, w)ᵀ s - l · op(·, w+)ᵀ s - h · op(·, w-)ᵀ s
    s = R / stab(op(x, w) - op(l, w+) - op(h, w-))

    Attributes:
      low: l, one number or one per channel (last axis); None takes each example's minimum, over all but
        the first axis.
      high: h, likewise; None takes each example's maximum.
      eps: the stabiliser ε >= 0.
    """

    fits = LINEAR_KINDS

    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None
    eps: float = 1e-6

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`Rule`."""
        low = jax.tree.map(lambda x: self._bound(x, self.low, jnp.min), op.x)
        high = jax.tree.map(lambda x: self._bound(x, self.high, jnp.max), op.x)
        weights = op.w, _positive(op.w), _negative(op.w)

        def z_of(x: PyTree, l: PyTree, h: PyTree) -> Array:
            return op.apply(x, weights[0]) - op.apply(l, weights[1]) - op.apply(h, weights[2])

        z, transpose = jax.vjp(z_of, op.x, low, high)
        s, loss = _divide(r, z, None, self.eps)
        terms = [_times(x, c) for x, c in zip((op.x, low, high), transpose(s), strict=True)]
        return jax.tree.map(lambda a, b, c: a + b + c, *terms), loss

    @staticmethod
    def _bound(x: Array, value: float | tuple[float, ...] | None, extreme: Callable) -> Array:
        if value is not None:
            return jnp.broadcast_to(jnp.asarray(value, x.dtype), x.shape)
        return jnp.broadcast_to(extreme(x, axis=tuple(range(1, x.ndim)), keepdims=True), x.shape)


@dataclass(frozen=True)
class Pass:
    """Identity: R_in = R, for elementwise operations such as ReLU and batch norm at inference (bach2015).

    Where x was broadcast, its relevance is the sum over the copies.
    """

    fits = frozenset({"activation", "scale", "shift"})

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`Rule`."""
        return jax.tree.map(lambda x: _sum_to(r, x), op.x), no_loss(r)

    def keeps_derivative(self, kind: OperationKind | None) -> bool:
        """That of a shift is the identity."""
        return kind == "shift"


@dataclass(frozen=True)
class Gate:
    """Product rule for z = signal · gate: R_signal = a R, R_gate = b R (ali2022 for a = 1, b = 0).

    Attributes:
      signal: a, the signal's share.
      gate: b, the gate's share; at 0 nothing is propagated into what computes the gate. Only a + b = 1
        conserves.
    """

    fits = frozenset({"gate"})

    signal: float = 1.0
    gate: float = 0.0

    @property
    def receives(self) -> tuple[bool, bool]:
        """A factor without a share is not walked back."""
        return bool(self.signal), bool(self.gate)

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`Rule`; ``op.x`` is (signal, gate), and None is what one gets that has no share."""
        shares = zip((self.signal, self.gate), op.x, strict=True)
        return tuple(_sum_to(share * r, x) if share else None for share, x in shares), no_loss(r)


def _sum_to(r: Array, x: Array) -> Array:
    """R summed over the axes along which ``x`` was broadcast."""
    return jax.vjp(lambda a: jnp.broadcast_to(a, r.shape), x)[1](r)[0]


@dataclass(frozen=True)
class Gradient:
    """No rule: the operation keeps its derivative. Max pooling under it is winner-takes-all."""

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """See :class:`Rule`."""
        return jax.vjp(lambda x: op.apply(x, op.w), op.x)[1](r)[0], no_loss(r)

    def keeps_derivative(self, kind: OperationKind | None) -> bool:
        """Returns True: the derivative is known even where nothing else is known of an operation."""
        return True
