"""The protocol of rules: what a rule is shown of an operation, what it returns, and what it may say of itself."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args, runtime_checkable

import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

OperationKind = Literal[
    "convolution",  # constant kernel
    "dense",  # product with a constant matrix
    "add",  # sum or difference of two explained values: residual connections
    "sum",  # over axes or windows; means, average pooling and sums weighted by attention too
    "max_pool",  # maximum over axes or windows, or of two values
    "activation",  # elementwise: relu, tanh, clamp, ...
    "scale",  # times or divided by a constant, or taken from one: batch norm at inference
    "shift",  # plus or minus a constant: biases, batch norm at inference
    "gate",  # an explained signal times an explained gate
    "softmax",
    "nonlinear",  # other elementwise functions, such as exp or sqrt: no composite of relevance has a rule for them
]
KINDS: tuple[OperationKind, ...] = get_args(OperationKind)
#: The kinds of operations that have weights, and maybe a bias, of their own: a network's layers.
WEIGHTED_KINDS: tuple[OperationKind, ...] = ("convolution", "dense")
#: The kinds of operations that are linear in what is explained: those with weights, and those whose weights are 1,
#: -1 or a constant factor.
LINEAR_KINDS: frozenset[OperationKind] = frozenset({*WEIGHTED_KINDS, "add", "sum", "scale", "shift"})


@dataclass(frozen=True, eq=False)
class Bilinear:
    """One operation at the values it ran with: z = apply(x, w) + b, bilinear in x and w.

    A sum, a mean or a residual add is one too, with weights 1 (or -1). Operations that are not linear (of kind
    ``"activation"``, ``"max_pool"``, ``"gate"``, ``"softmax"`` or ``"nonlinear"``) have no weights: ``w`` is ().

    Attributes:
      apply: the map from (x, w) to z without b.
      x: the explained inputs, a tuple of arrays: two for an add, (signal, gate) for a gate.
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
    """Relevance that a rule did not hand on, by cause: arrays of any shape, of which the sum counts."""

    bias: Array
    stabiliser: Array
    zero: Array


def no_loss(r: Array) -> Loss:
    """Returns the loss of a rule that loses nothing, or that makes no claim to conserve."""
    nothing = jnp.zeros((), r.dtype)
    return Loss(nothing, nothing, nothing)


@runtime_checkable
class Rule(Protocol):
    """A rule hands relevance from an operation's output to its inputs: any object with this method is one.

    A rule may say more of itself, by attributes that can all be left out:

    - ``fits``, the kinds of operations that it is for, a frozenset of :data:`OperationKind`. None, as if left out,
      means every kind; where it is given another kind, that is a ``ValueError``.
    - ``bias``, whether it wants a layer's bias as ``op.b``. Otherwise the bias is added by an operation of its own,
      of kind ``"shift"``.
    - ``receives``, for operations of several inputs: one boolean for each, whether it receives relevance. What
      computes the others is not walked back, and the rule returns None for them.
    - ``keeps_derivative(kind)``, whether JAX's derivative is all that the rule is for operations of that kind (None
      for one of which nothing is known). They are then left as they are, and their ``relevance`` is not called.
    """

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Relevance of ``op.x`` (its structure and shapes) given the relevance ``r`` of z, and what was lost.

        Where ``op.x`` is several, None stands for a relevance of zero that is not to be walked back.
        """
        ...


def fits(rule: Rule, kind: OperationKind) -> bool:
    """Returns whether ``rule`` is for operations of ``kind``."""
    kinds = getattr(rule, "fits", None)
    return kinds is None or kind in kinds


def wants_bias(rule: Rule) -> bool:
    """Returns whether ``rule`` wants the bias of a layer to be part of the operation that it sees."""
    return getattr(rule, "bias", False)


def receives(rule: Rule, inputs: int) -> tuple[bool, ...]:
    """Returns which of an operation's ``inputs`` receive relevance under ``rule``."""
    return getattr(rule, "receives", (True,) * inputs)


def keeps_derivative(rule: Rule, kind: OperationKind | None) -> bool:
    """Returns whether an operation of ``kind`` needs no more than its own derivative to follow ``rule``."""
    return hasattr(rule, "keeps_derivative") and rule.keeps_derivative(kind)


def check_rule(rule: object) -> None:
    """Checks that ``rule`` is a rule.

    Raises:
      TypeError: it has no method ``relevance``, or is a class rather than an object of one.
      ValueError: it says that it fits a kind of operation that there is not.
    """
    if isinstance(rule, type):
        raise TypeError(f"rule must be an object with a method relevance(op, r), got the class {rule.__name__} itself")
    if not isinstance(rule, Rule):
        raise TypeError(f"rule must be an object with a method relevance(op, r), got {rule!r}")
    check_kinds("fits", getattr(rule, "fits", None) or ())


def check_kinds(name: str, kinds: Iterable[str]) -> None:
    """Checks that all ``kinds``, given as the argument ``name``, are kinds of operations.

    Raises:
      ValueError: one of them is not.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"{name} must be among {', '.join(KINDS)}; got {kind!r}")
