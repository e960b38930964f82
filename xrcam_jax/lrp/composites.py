"""Composites: which rule each operation of a model gets, by its kind, its name and its depth.

A composite is a list of assignments; the first that fits an operation names its rule. To write one's own::

    composite = Composite((
        Assign(Flat(), kinds=WEIGHTED_KINDS, first=True),
        Assign(Gamma(0.5), kinds=("convolution",), name="layer[12]*"),
        Assign(Epsilon(), kinds=("convolution", "dense", "add", "sum")),
        Assign(Pass(), kinds=("activation", "scale", "shift")),
        Assign(Gradient(), kinds=("max_pool",)),
        Assign(Gate(), kinds=("gate",)),
    ))

An operation for which there is no assignment is an error, unless the composite has a ``default``.

References:
  montavon2019: Montavon et al., Layer-wise relevance propagation: an overview, LNCS 11700, 2019.
  lee2021: Lee et al., Relevance-CAM: your model already knows where to look, CVPR 2021.

Those of guided backprop, DeconvNet and DeepLIFT are here too; :mod:`xrcam_jax.lrp.gradient_rules` has their
sources.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from xrcam_jax.lrp.gradient_rules import Deconvnet, Guided, MeanGradient, Rescale, RescaledMaximum
from xrcam_jax.lrp.protocol import WEIGHTED_KINDS, OperationKind, Rule, check_kinds, check_rule
from xrcam_jax.lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, Gate, Gradient, Pass, ZBox, ZPlus


@dataclass(frozen=True)
class Site:
    """One operation of a traced model, as composites and conservation reports see it.

    Attributes:
      kind: what it does.
      primitive: its JAX primitive; of a function with a derivative of its own, such as ``jax.nn.relu``, what
        it consists of if that is one primitive (``"max"``).
      scope: path of named scopes around it (Linen modules set it, so do the models here), maybe empty.
      mark: the next mark downstream, or ``"output"``.
      first: whether no layer lies between the explained input and it.
      last: whether no layer lies between it and the output.
      source: the user's line, ``file:line (function)``.
    """

    kind: OperationKind
    primitive: str
    scope: str
    mark: str
    first: bool
    last: bool
    source: str

    @property
    def stage(self) -> str:
        """The part of the model that a :class:`~xrcam_jax.lrp.conservation.Conservation` counts it to: its mark's."""
        return self.mark


@dataclass(frozen=True)
class Assign:
    """Gives ``rule`` to the operations that fit every condition.

    Attributes:
      rule: what they get.
      kinds: which kinds; empty means all.
      name: glob for the mark (``"layer3"``) or the scope (``"layer3/0/*"``).
      first: only those with no layer before them.
      last: only those with no layer after them.
      primitives: which primitives; empty means all.
    """

    rule: Rule
    kinds: tuple[OperationKind, ...] = ()
    name: str = "*"
    first: bool = False
    last: bool = False
    primitives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_rule(self.rule)
        check_kinds("kinds", self.kinds)

    def fits(self, site: Site) -> bool:
        """Whether ``site`` meets every condition."""
        named = fnmatchcase(site.mark, self.name) or fnmatchcase(site.scope, self.name)
        depth = (site.first or not self.first) and (site.last or not self.last)
        kind = not self.kinds or site.kind in self.kinds
        return kind and named and depth and (not self.primitives or site.primitive in self.primitives)


@dataclass(frozen=True)
class Composite:
    """Rules by operation.

    Attributes:
      assignments: the first that fits gives the rule.
      default: for operations that none fits; if it is ``Gradient()``, for primitives of which nothing is known
        too. None makes both an error.
      fold: whether constants that scale and shift a layer's output (batch norm at inference, biases) are
        taken into its weights and bias before its rule is applied.
    """

    assignments: tuple[Assign, ...] = ()
    default: Rule | None = None
    fold: bool = False

    def __post_init__(self) -> None:
        if self.default is not None:
            check_rule(self.default)

    def rule(self, site: Site) -> Rule | None:
        """The rule for ``site``, or None."""
        return next((a.rule for a in self.assignments if a.fits(site)), self.default)


def gradient() -> Composite:
    """No rule at all: the pullback is ``jax.vjp``'s."""
    return Composite(default=Gradient())


def guided_backprop() -> Composite:
    """The gradient, of which every ReLU passes on only what is positive (springenberg2015)."""
    return Composite((Assign(Guided(), kinds=("activation",), primitives=("max",)),), default=Gradient())


def deconvnet() -> Composite:
    """The gradient, with a ReLU of what arrives in place of each ReLU's derivative (zeiler2014)."""
    return Composite((Assign(Deconvnet(), kinds=("activation",), primitives=("max",)),), default=Gradient())


def deep_lift(*, max_pool: Literal["rescale", "gradient"] = "rescale") -> Composite:
    """DeepLIFT by the rescale rule (shrikumar2017), for a batch of examples followed by their baselines.

    :func:`xrcam_jax.attribution.gradients.deep_lift` makes that batch. Products take the mean of the other
    factor, softmax its mean derivative, so that contributions sum to the difference of the outputs with any
    baseline.

    Args:
      max_pool: ``"gradient"`` looks at the example's maximum alone, as captum does behind a ReLU; with that the
        sum is exact only if the baseline's maps are constant over each window.
    """
    if max_pool not in ("rescale", "gradient"):
        raise ValueError(f"max_pool must be rescale or gradient; got {max_pool!r}")
    minima = ("min", "reduce_min", "reduce_window_min")
    extremes = (
        Assign(RescaledMaximum(minimum=True), kinds=("max_pool",), primitives=minima),
        Assign(RescaledMaximum(), kinds=("max_pool",)),
    )
    return Composite(
        (
            Assign(Rescale(), kinds=("activation", "nonlinear")),
            Assign(MeanGradient(points=1), kinds=("gate",), primitives=("mul",)),
            Assign(MeanGradient(), kinds=("gate", "softmax")),
            *(extremes if max_pool == "rescale" else ()),
        ),
        default=Gradient(),
    )


def relevance_cam(
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    gate: Literal["signal", "published", "half"] = "signal",
    batch_norm: Literal["pass", "alpha_beta", "fold"] = "pass",
    eps: float = 1e-12,
) -> Composite:
    """The rules of Relevance-CAM and XRelevance-CAM (lee2021; gates as in the XRelevance-CAM thesis).

    αβ for layers, z-box for a first convolution, ε for adds and means, winner-takes-all for max pooling,
    identity for activations. Biases take no part.

    Args:
      alpha: α of the αβ rule.
      beta: β = α - 1.
      gate: ``"signal"`` gives all relevance to the gated signal and conserves; ``"published"`` gives all of it
        to the signal and all of it again to the gate, through softmax by ε; ``"half"`` gives half to each.
      batch_norm: at inference; ``"pass"`` leaves relevance as it is, ``"alpha_beta"`` takes it for a layer
        without bias, ``"fold"`` into the layer before it.
      eps: the stabiliser of every rule.
    """
    gates = {"signal": Gate(1, 0), "published": Gate(1, 1), "half": Gate(0.5, 0.5)}
    scales: dict[str, Rule] = {"pass": Pass(), "alpha_beta": AlphaBeta(alpha, beta, eps), "fold": Pass()}
    for name, value, known in (("gate", gate, gates), ("batch_norm", batch_norm, scales)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
    return Composite(
        (
            Assign(ZBox(eps=eps), kinds=("convolution",), first=True),
            Assign(AlphaBeta(alpha, beta, eps), kinds=WEIGHTED_KINDS),
            Assign(Epsilon(eps), kinds=("add", "sum", "softmax")),
            Assign(Gradient(), kinds=("max_pool",)),
            Assign(scales[batch_norm], kinds=("scale",)),
            Assign(Pass(), kinds=("activation", "shift")),
            Assign(gates[gate], kinds=("gate",)),
        ),
        fold=batch_norm == "fold",
    )


def _around(layers: tuple[Assign, ...], eps: float, fold: bool) -> Composite:
    """``layers``, and for what is not a layer what all of LRP's composites agree on."""
    return Composite(
        (
            *layers,
            Assign(Epsilon(eps), kinds=("add", "sum", "softmax")),
            Assign(Gradient(), kinds=("max_pool",)),
            Assign(Pass(), kinds=("activation", "scale", "shift")),
            Assign(Gate(), kinds=("gate",)),
        ),
        fold=fold,
    )


def epsilon_plus(*, eps: float = 1e-6, bias: bool = True, fold: bool = False) -> Composite:
    """z+ for convolutions, ε for dense layers (montavon2019).

    Args:
      eps: the stabiliser of every rule.
      bias: whether biases take their share of the relevance.
      fold: whether batch norm is folded into the layer before it.
    """
    return _around(
        (Assign(ZPlus(eps, bias), kinds=("convolution",)), Assign(Epsilon(eps, bias), kinds=("dense",))),
        eps,
        fold,
    )


def epsilon_plus_flat(*, eps: float = 1e-6, bias: bool = True, fold: bool = False) -> Composite:
    """As :func:`epsilon_plus`, with the flat rule for the first layer (montavon2019)."""
    plus = epsilon_plus(eps=eps, bias=bias, fold=fold)
    return Composite((Assign(Flat(eps), kinds=WEIGHTED_KINDS, first=True), *plus.assignments), fold=fold)


def epsilon_alpha2_beta1(*, eps: float = 1e-6, bias: bool = True, fold: bool = False) -> Composite:
    """αβ with α = 2, β = 1 for convolutions, ε for dense layers (montavon2019)."""
    return _around(
        (
            Assign(AlphaBeta(2, 1, eps, bias), kinds=("convolution",)),
            Assign(Epsilon(eps, bias), kinds=("dense",)),
        ),
        eps,
        fold,
    )


def epsilon_gamma_box(
    low: float | tuple[float, ...] | None = None,
    high: float | tuple[float, ...] | None = None,
    *,
    gamma: float = 0.25,
    eps: float = 1e-6,
    bias: bool = True,
    fold: bool = False,
) -> Composite:
    """γ for convolutions, ε for dense layers, z-box for the first convolution (montavon2019).

    Args:
      low: the least value a pixel can have, one or one per channel; None takes each example's.
      high: the greatest, likewise.
      gamma: γ of the γ rule.
      eps: the stabiliser of every rule.
      bias: whether biases take their share of the relevance.
      fold: whether batch norm is folded into the layer before it.
    """
    return _around(
        (
            Assign(ZBox(low, high, eps), kinds=("convolution",), first=True),
            Assign(Gamma(gamma, eps, bias), kinds=("convolution",)),
            Assign(Epsilon(eps, bias), kinds=("dense",)),
        ),
        eps,
        fold,
    )
