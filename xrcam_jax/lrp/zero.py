"""The choice ``zero`` of the rules says where the relevance of an output goes to which no input contributes.

A rule divides R by the sum z of the contributions that it counts, such as z+ = op(x+, w+) + op(x-, w-). Where z = 0 the
unit fired by its bias alone, or by the shift of a batch norm behind it, and z does not say whose R is. A convolution
over hundreds of channels hardly ever comes to that. A depthwise one sees nine numbers of a single channel, which a ReLU
before it has often set to zero, or which its weights all count against the output. With R₀ = R where z = 0, else 0:

- ``"drop"`` gives R₀ to nobody. It is counted as ``zero``.
- ``"bias"`` gives R₀ to the bias, and it is counted as ``bias``. The inputs get what they get under ``"drop"``. If the
  rule has ``bias=True`` too, z holds the bias, which then takes its share b / z at every output. That is the continuous
  choice: as the contributions of the inputs go to zero, so does their share, and nothing jumps where they are zero.
- ``"flat"`` gives the inputs of the output equal parts of R₀, so that the rule conserves relevance:

  R_in = [the rule's] + op(·, 1)ᵀ [R₀ / op(1, 1)]

  op(1, 1) is the number of inputs that the output sees. Padding is not among them, and gets nothing.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from xrcam_jax.lrp.protocol import Bilinear, Loss

Zero = Literal["drop", "bias", "flat"]


class ChoosesZero:
    """Refuses another choice than the three, when a rule with a field ``zero`` is made: the base of such rules.

    Attributes:
      zero: the choice.

    Raises:
      ValueError: ``zero`` is none of the three.
    """

    zero: Zero

    def __post_init__(self) -> None:
        if self.zero not in get_args(Zero):
            raise ValueError(f"zero must be one of {', '.join(get_args(Zero))}; got {self.zero!r}")


def settle(zero: Zero, op: Bilinear, r_in: PyTree, loss: Loss) -> tuple[PyTree, Loss]:
    """Hands on, or counts anew, what a rule has dropped where z = 0.

    Args:
      zero: the choice.
      op: the operation.
      r_in: the relevance of its inputs, by the rule.
      loss: the loss of the rule, with R₀ as ``zero``, in the shape of the output.

    Returns:
      The relevance of the inputs and the loss. Under ``"flat"``, ``loss.zero`` keeps what belongs to outputs that see
      nothing but padding.

    Example:
      Three units see the inputs 1, 2 and 3, with weights of which none speaks for the first unit. Of its relevance 6
      each input gets 2:

      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.rules import Bilinear, ZPlus
      >>> x, w = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
      >>> units, r = Bilinear(lambda x, w: x @ w, x, w), jnp.array([[6.0, 1.0, 5.0]])
      >>> for zero in ("drop", "bias", "flat"):
      ...     relevance, loss = ZPlus(eps=0, zero=zero).relevance(units, r)
      ...     print(zero, relevance[0].tolist(), float(loss.bias.sum()), float(loss.zero.sum()))
      drop [1.0, 2.0, 3.0] 0.0 6.0
      bias [1.0, 2.0, 3.0] 6.0 0.0
      flat [3.0, 4.0, 5.0] 0.0 0.0
    """
    if zero == "drop":
        return r_in, loss
    if zero == "bias":
        return r_in, loss._replace(bias=loss.bias + loss.zero, zero=jnp.zeros_like(loss.zero))
    evenly, unseen = _evenly(op, loss.zero)
    return jax.tree.map(jnp.add, r_in, evenly), loss._replace(zero=unseen)


def _evenly(op: Bilinear, r: Array) -> tuple[PyTree, Array]:
    """Returns op(·, 1)ᵀ [R / op(1, 1)], and the R of outputs that see no input."""
    ones = jax.tree.map(jnp.ones_like, op.w)
    seen, transpose = jax.vjp(lambda x: op.apply(x, ones), jax.tree.map(jnp.ones_like, op.x))
    share = jnp.where(seen == 0, 0, r / jnp.where(seen == 0, 1, seen))
    return transpose(share)[0], jnp.where(seen == 0, r, 0)
