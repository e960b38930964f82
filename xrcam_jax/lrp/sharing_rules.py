"""These rules hand relevance on, or share it among factors: they look at no weights.

The others are in :mod:`xrcam_jax.lrp.rules`, which also says what the equations mean.

References:
  bach2015, ali2022, achtibat2024
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from xrcam_jax.lrp.protocol import Bilinear, Loss, OperationKind, no_loss


# Many operations of a model have outputs of the same shape: jit traces the division once for all of these.
@partial(jax.jit, static_argnames="eps")
def divide(r: Array, z: Array, b: Array | None, eps: float) -> tuple[Array, Loss]:
    """Divides relevance by what it is shared among: s = R / stab(z + b).

    Args:
      r: the relevance of the output.
      z: the sum of the contributions, of the same shape.
      b: the bias, broadcastable to z, or None.
      eps: the stabiliser ε >= 0.

    Returns:
      s, of the shape and dtype of ``r``, 0 where z + b = 0; and what s leaves with the bias, the stabiliser and z = 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.sharing_rules import divide
      >>> s, loss = divide(jnp.array([6.0, 6.0]), jnp.array([2.0, 0.0]), None, eps=0.0)
      >>> s.tolist(), loss.zero.tolist()
      ([3.0, 0.0], [0.0, 6.0])
    """
    z = z if b is None else z + b
    sign = jnp.where(z < 0, -1, 1).astype(z.dtype)
    # Dividing by infinity makes s and its derivative zero where z = 0. A `where` after the division would have XLA
    # compute z again for everything that reads s.
    s = (r / jnp.where(z == 0, jnp.inf, z + eps * sign)).astype(r.dtype)
    # A constant that is infinite, as of a mask that is added to scores, decides alone.
    bias = jnp.zeros((), r.dtype) if b is None else jnp.where(jnp.isinf(b), r, s * b)
    return s, Loss(bias, eps * sign * s, jnp.where(z == 0, r, 0))


@dataclass(frozen=True)
class Pass:
    """The identity, R_in = R, is for elementwise operations: ReLU, or batch norm at inference (bach2015).

    For normalisations it is the rule of achtibat2024. Where x was broadcast, its relevance is the sum over the copies.
    """

    fits = frozenset({"activation", "nonlinear", "norm", "scale", "shift"})

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        return jax.tree.map(lambda x: _sum_to(r, x), op.x), no_loss(r)

    def keeps_derivative(self, kind: OperationKind | None) -> bool:
        """Returns whether the derivative is the identity, as that of a shift is."""
        return kind == "shift"


@dataclass(frozen=True)
class Gate:
    """The product rule divides the relevance of z = signal · gate between the two: R_signal = a R, R_gate = b R.

    With a = 1, b = 0 the signal takes all (ali2022). It conserves if a + b = 1.

    Attributes:
      signal: the share a of the signal.
      gate: the share b of the gate. At 0 nothing is propagated into what computes the gate.
    """

    fits = frozenset({"gate"})

    signal: float = 1.0
    gate: float = 0.0

    @property
    def receives(self) -> tuple[bool, bool]:
        """Tells which of signal and gate receive relevance: those with a share."""
        return bool(self.signal), bool(self.gate)

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`.

        ``op.x`` is (signal, gate), and one without a share gets None.
        """
        shares = zip((self.signal, self.gate), op.x, strict=True)
        return tuple(_sum_to(share * r, x) if share else None for share, x in shares), no_loss(r)


def _sum_to(r: Array, x: Array) -> Array:
    """Returns R in the dtype of ``x``, summed over the axes along which ``x`` was broadcast."""
    return jax.vjp(lambda a: jnp.broadcast_to(a, r.shape), x)[1](r.astype(x.dtype))[0]


@dataclass(frozen=True)
class Matmul:
    """The rule of a product of two matrices gives one its share a of the relevance and the other b (achtibat2024).

    R_x = a x · (s yᵀ),  R_y = b y · (xᵀ s),  s = R / stab(z),  z = x y

    Halves conserve and share between queries and keys, or between attention weights and values, as AttnLRP does. With
    a = 1, b = 0 the values take all, and attention weights count as constants (ali2022). Which of the two matrices is
    the gate, such as weights by softmax, the operation tells.

    Attributes:
      signal: the share a of the signal.
      gate: the share b of the gate. At 0 nothing is propagated into what computes the gate.
      eps: the stabiliser ε >= 0.
    """

    fits = frozenset({"matmul"})

    signal: float = 0.5
    gate: float = 0.5
    eps: float = 1e-6

    @property
    def receives(self) -> tuple[bool, bool]:
        """Tells which of signal and gate receive relevance: those with a share."""
        return bool(self.signal), bool(self.gate)

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`.

        ``op.x`` is (signal, gate), and one without a share gets None.
        """
        z, transpose = jax.vjp(lambda x: op.apply(x, op.w), op.x)
        s, loss = divide(r, z, None, self.eps)
        shares = zip((self.signal, self.gate), op.x, transpose(s)[0], strict=True)
        total = self.signal + self.gate
        return tuple(share * (x * c) if share else None for share, x, c in shares), Loss(
            *(total * part for part in loss)
        )


@dataclass(frozen=True)
class EqualShares:
    """Each of the n factors of a product takes the same part, R_in = R / n: the halves of two factors, of many."""

    fits = frozenset({"product"})

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        # Where all factors are 1, the derivative of their product is 1 for each of them.
        ones = jax.tree.map(jnp.ones_like, op.x)
        z, copy = jax.vjp(lambda x: op.apply(x, op.w), ones)
        return jax.tree.map(lambda c: c * z.size / c.size, copy(r)[0]), no_loss(r)


@dataclass(frozen=True)
class Join:
    """Where explained values lie beside constants, each keeps what arrives at its place.

    R_in = op(·)ᵀ R, and what arrives at a class token, at padding or at what a mask fills in stays there. It is
    accounted as bias. The operation shows its constants as ``op.w``.
    """

    fits = frozenset({"join"})

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        r_in, r_constants = jax.vjp(op.apply, op.x, op.w)[1](r)
        return r_in, no_loss(r)._replace(bias=jnp.stack([part.sum() for part in r_constants]))


@dataclass(frozen=True)
class Gradient:
    """The derivative stands for no rule at all: the operation keeps it. Max pooling under it is winner-takes-all."""

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        return jax.vjp(lambda x: op.apply(x, op.w), op.x)[1](r)[0], no_loss(r)

    def keeps_derivative(self, kind: OperationKind | None) -> bool:
        """Returns True: the derivative is known even where nothing else is known of an operation."""
        return True
