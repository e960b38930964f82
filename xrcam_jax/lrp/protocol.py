"""The protocol of rules: what a rule is shown of an operation, what it returns, and what it may say of itself."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

OperationKind = Literal[
    "convolution",  # constant kernel
    "dense",  # product with a constant matrix
    "matmul",  # product of two explained matrices: queries and keys, attention weights and values
    "add",  # sum or difference of two explained values: residual connections
    "sum",  # over axes, over windows or at places; means and average pooling too
    "product",  # of all factors along an axis
    "max_pool",  # maximum over axes or windows, or of two values
    "activation",  # elementwise: relu, tanh, clamp, ..., and what gates itself, such as GELU and SiLU
    "scale",  # times or divided by a constant, or taken from one: batch norm at inference
    "shift",  # plus or minus a constant: biases, batch norm at inference
    "gate",  # an explained signal times an explained gate
    "norm",  # divided by statistics of its own: layer, RMS, group and instance norm, a vector by its length
    "softmax",
    "nonlinear",  # other elementwise functions, such as exp or sqrt
    "join",  # put beside constants: a class token, padding, a mask; what lands on constants is accounted as bias
]
KINDS: tuple[OperationKind, ...] = get_args(OperationKind)
#: What an operation is for, which an assignment can name in the place of its kind.
Role = Literal[
    "attention",  # the matmuls before and behind a softmax
    "patch_embedding",  # the first layer, where it sees patches that do not overlap
]
ROLES: tuple[Role, ...] = get_args(Role)
#: The kinds of operations that have weights of their own, and maybe a bias: the layers of a network.
WEIGHTED_KINDS: tuple[OperationKind, ...] = ("convolution", "dense")
#: The kinds of operations that are linear in what is explained. Those that are no layers have weights 1 or -1, or a
#: constant factor.
LINEAR_KINDS: frozenset[OperationKind] = frozenset({*WEIGHTED_KINDS, "add", "sum", "scale", "shift"})


@dataclass(frozen=True, eq=False)
class Bilinear:
    """A rule sees an operation as a map z = apply(x, w) + b at the values it ran with, bilinear in x and w.

    A sum, a mean or a residual add is such a map too, with weights 1 (or -1). Operations that are not linear, of kind
    ``"activation"``, ``"max_pool"``, ``"gate"``, ``"matmul"``, ``"product"``, ``"softmax"`` or ``"nonlinear"``, have no
    weights: ``w`` is (). A ``"norm"`` has none either; it is shown as linear, with the factors of its statistics fixed.

    Attributes:
      apply: the map from (x, w) to z without b.
      x: the explained inputs, a tuple of arrays: two for an add, (signal, gate) for a gate or a matmul.
      w: the weights, constants as far as relevance is concerned.
      b: the bias, broadcastable to z, or None.
      nonnegative: whether x is known to be >= 0.
    """

    apply: Callable[[PyTree, PyTree], Array]
    x: PyTree
    w: PyTree
    b: Array | None = None
    nonnegative: bool = False


class Loss(NamedTuple):
    """A loss is relevance that a rule did not hand on, by cause: arrays of any shape, of which the sum counts.

    Attributes:
      bias: what constants absorbed: a bias, a class token, or the constant term of an expansion.
      stabiliser: what the ε of a division kept.
      zero: what was dropped where z = 0.
    """

    bias: Array
    stabiliser: Array
    zero: Array


def no_loss(r: Array) -> Loss:
    """Returns the loss of a rule that loses nothing, or that makes no claim to conserve.

    Args:
      r: the relevance of the output, of which only the dtype counts.

    Returns:
      Zeros, of shape () and the dtype of ``r``.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.protocol import no_loss
      >>> [float(part) for part in no_loss(jnp.ones(3))]
      [0.0, 0.0, 0.0]
    """
    nothing = jnp.zeros((), r.dtype)
    return Loss(nothing, nothing, nothing)


@runtime_checkable
class Rule(Protocol):
    """A rule hands relevance from an operation's output to its inputs: any object with this method is one.

    A rule may say more of itself, by attributes that can all be left out:

    - ``fits`` is the set of kinds of operations that it is for, a frozenset of :data:`OperationKind`. None means every
      kind, as if left out. An operation of another kind is a ``ValueError``.
    - ``bias`` says whether it wants the bias of a layer as ``op.b``. Otherwise the bias is added by an operation of its
      own, of kind ``"shift"``.
    - ``receives`` is for operations of several inputs: one boolean for each, whether it gets relevance. What computes
      the others is not walked back, and the rule returns None for them.
    - ``keeps_derivative(kind)`` says whether JAX's derivative is all that the rule is for operations of that kind, or
      for one of which nothing is known if the kind is None. Such operations are left as they are.

    docs/rules.md shows how to write one.
    """

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Returns the relevance of the inputs of ``op``, and what was lost.

        Args:
          op: the operation.
          r: the relevance of its output z, of z's shape.

        Returns:
          A tuple with the relevance of each array in ``op.x``, of its shape, and the loss. None in the place of an
          array stands for a relevance of zero that is not walked back.
        """
        ...


def fits(rule: Rule, kind: OperationKind) -> bool:
    """Returns whether ``rule`` is for operations of a kind.

    Args:
      rule: any rule.
      kind: the kind.

    Example:
      >>> from xrcam_jax.lrp.protocol import fits
      >>> from xrcam_jax.lrp.rules import Gate
      >>> fits(Gate(), "gate"), fits(Gate(), "dense")
      (True, False)
    """
    kinds = getattr(rule, "fits", None)
    return kinds is None or kind in kinds


def wants_bias(rule: Rule) -> bool:
    """Returns whether ``rule`` wants the bias of a layer to be part of the operation that it sees.

    Args:
      rule: any rule.

    Example:
      >>> from xrcam_jax.lrp.protocol import wants_bias
      >>> from xrcam_jax.lrp.rules import Flat, ZPlus
      >>> wants_bias(ZPlus(bias=True)), wants_bias(Flat())
      (True, False)
    """
    return bool(getattr(rule, "bias", False))


def receives(rule: Rule, inputs: int) -> tuple[bool, ...]:
    """Returns which inputs of an operation receive relevance under ``rule``.

    Args:
      rule: any rule.
      inputs: how many inputs the operation has.

    Example:
      >>> from xrcam_jax.lrp.protocol import receives
      >>> from xrcam_jax.lrp.rules import Epsilon, Gate
      >>> receives(Gate(), 2), receives(Epsilon(), 2)
      ((True, False), (True, True))
    """
    return tuple(getattr(rule, "receives", (True,) * inputs))


def keeps_derivative(rule: Rule, kind: OperationKind | None) -> bool:
    """Returns whether the derivative of an operation is all that ``rule`` would do, so that it can be left as it is.

    Args:
      rule: any rule.
      kind: the kind of the operation, or None if nothing is known of it.

    Example:
      >>> from xrcam_jax.lrp.protocol import keeps_derivative
      >>> from xrcam_jax.lrp.rules import Gradient, Pass
      >>> keeps_derivative(Gradient(), None), keeps_derivative(Pass(), "shift"), keeps_derivative(Pass(), "scale")
      (True, True, False)
    """
    return hasattr(rule, "keeps_derivative") and bool(rule.keeps_derivative(kind))


def check_rule(rule: Any) -> None:
    """Checks that an object is a rule.

    Args:
      rule: any object.

    Raises:
      TypeError: it has no method ``relevance``, is a class rather than an object of one, or its ``keeps_derivative`` is
        no method.
      ValueError: it says that it fits a kind of operation that there is not.

    Example:
      >>> from xrcam_jax.lrp.protocol import check_rule
      >>> check_rule("epsilon")
      Traceback (most recent call last):
      TypeError: rule must be an object with a method relevance(op, r), got 'epsilon'
    """
    if isinstance(rule, type):
        raise TypeError(f"rule must be an object with a method relevance(op, r), got the class {rule.__name__} itself")
    if not callable(getattr(rule, "relevance", None)):
        raise TypeError(f"rule must be an object with a method relevance(op, r), got {rule!r}")
    if hasattr(rule, "keeps_derivative") and not callable(rule.keeps_derivative):
        raise TypeError(f"keeps_derivative must be a method of the rule {rule!r}, got {rule.keeps_derivative!r}")
    check_kinds("fits", getattr(rule, "fits", None) or ())


def check_kinds(name: str, kinds: Iterable[str], known: Sequence[str] = KINDS) -> None:
    """Checks that kinds of operations exist.

    Args:
      name: the argument that holds them.
      kinds: what it holds.
      known: the kinds that there are.

    Raises:
      ValueError: one of them is no kind of operation.

    Example:
      >>> from xrcam_jax.lrp.protocol import check_kinds
      >>> check_kinds("kinds", ("dense", "convolutions"))
      Traceback (most recent call last):
      ValueError: kinds must be among convolution, dense, ...; got 'convolutions'
    """
    if isinstance(kinds, str):
        raise ValueError(f"{name} must be several kinds, such as ({kinds!r},); got the text {kinds!r}")
    for kind in kinds:
        if kind not in known:
            raise ValueError(f"{name} must be among {', '.join(known)}; got {kind!r}")
