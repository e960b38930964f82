"""The composites of the library: the rules that the literature gives together, assigned to the kinds of operations.

:mod:`xrcam_jax.lrp.assignments` has what they are made of, and shows how to write another one.
"""

from typing import Literal

from xrcam_jax.lrp.assignments import Assign, Composite
from xrcam_jax.lrp.attention_composites import attn_lrp as attn_lrp
from xrcam_jax.lrp.attention_composites import cp_lrp as cp_lrp
from xrcam_jax.lrp.gradient_rules import Deconvnet, Guided, MeanGradient, Rescale, RescaledMaximum
from xrcam_jax.lrp.protocol import WEIGHTED_KINDS, Rule
from xrcam_jax.lrp.rules import (
    AlphaBeta,
    Epsilon,
    EqualShares,
    Flat,
    Gamma,
    Gate,
    Gradient,
    Matmul,
    Pass,
    ZBox,
    ZPlus,
)
from xrcam_jax.lrp.zero import Zero


def gradient() -> Composite:
    """Returns the composite without any rule: the pullback is that of ``jax.vjp``.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> x = jnp.array([1.0, 2.0])
      >>> jax.vjp(xr.lrp(jnp.square, xr.composites.gradient()), x)[1](jnp.ones(2))[0].tolist()
      [2.0, 4.0]
    """
    return Composite(default=Gradient())


def guided_backprop() -> Composite:
    """Returns the composite of guided backprop: every ReLU passes on only the positive part of the gradient.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> x, r = jnp.array([1.0, 2.0, -3.0]), jnp.array([5.0, -6.0, 7.0])
      >>> jax.vjp(xr.lrp(jax.nn.relu, xr.composites.guided_backprop()), x)[1](r)[0].tolist()
      [5.0, 0.0, 0.0]

    References:
      springenberg2015
    """
    return Composite((Assign(Guided(), kinds=("activation",), primitives=("max",)),), default=Gradient())


def deconvnet() -> Composite:
    """Returns the composite of DeconvNet: the derivative of every ReLU is replaced by a ReLU of what arrives.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> x, r = jnp.array([1.0, 2.0, -3.0]), jnp.array([5.0, -6.0, 7.0])
      >>> jax.vjp(xr.lrp(jax.nn.relu, xr.composites.deconvnet()), x)[1](r)[0].tolist()
      [5.0, 0.0, 7.0]

    References:
      zeiler2014
    """
    return Composite((Assign(Deconvnet(), kinds=("activation",), primitives=("max",)),), default=Gradient())


def deep_lift(*, max_pool: Literal["rescale", "gradient"] = "rescale") -> Composite:
    """Returns the composite of DeepLIFT by the rescale rule, for a batch of examples followed by their baselines.

    :func:`xrcam_jax.attribution.gradients.deep_lift` makes that batch. Products take the mean of the other factor, and
    softmax its mean derivative, so that contributions sum to the difference of the outputs for any baseline.

    Args:
      max_pool: ``"rescale"`` lets the contributions of a maximum sum to its change. ``"gradient"`` looks at the
        example's maximum alone, as captum does behind a ReLU; then the sum is exact only if the baseline's maps are
        constant over each window.

    Returns:
      The composite. What it propagates are multipliers, in the first half of the batch.

    Raises:
      ValueError: ``max_pool`` is neither.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> pair = jnp.array([[2.0], [-2.0]])
      >>> jax.vjp(xr.lrp(jax.nn.relu, xr.composites.deep_lift()), pair)[1](jnp.ones((2, 1)))[0].tolist()
      [[0.5], [0.0]]

    References:
      shrikumar2017, sundararajan2017
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
            Assign(MeanGradient(points=1), kinds=("matmul",)),
            Assign(MeanGradient(), kinds=("gate", "product", "softmax")),
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
    zero: Zero = "drop",
) -> Composite:
    """Returns the composite of Relevance-CAM and XRelevance-CAM.

    It is αβ for layers, z-box for a first convolution, ε for adds and means, winner-takes-all for max pooling, and the
    identity for activations. Biases take no part, unless ``zero`` gives them one. Gates are as in the XRelevance-CAM
    thesis.

    Args:
      alpha: α of the αβ rule.
      beta: β = α - 1.
      gate: ``"signal"`` gives all relevance to the gated signal and conserves. ``"published"`` gives all of it to the
        signal and all of it again to the gate, through softmax by ε. ``"half"`` gives half to each.
      batch_norm: its rule at inference. ``"pass"`` leaves relevance as it is, ``"alpha_beta"`` treats batch norm as a
        layer without bias, ``"fold"`` takes it into the layer before it.
      eps: the stabiliser ε >= 0 of every rule.
      zero: what happens to the relevance of units for which no input speaks, as is usual behind depthwise
        convolutions (see :mod:`xrcam_jax.lrp.zero`). ``"drop"`` loses it. ``"bias"`` lets biases take part, and
        counts it as theirs. ``"flat"`` spreads it evenly over what the unit sees, and conserves.

    Returns:
      The composite.

    Raises:
      ValueError: ``gate``, ``batch_norm`` or ``zero`` is none of these, or α - β is not 1.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> def model(x):
      ...     return jax.nn.relu(x @ jnp.array([[2.0], [-1.0], [1.0]]) + 7.0)
      >>> x, r = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[10.0]])
      >>> jax.vjp(xr.lrp(model, xr.composites.relevance_cam()), x)[1](r)[0].tolist()
      [[4.0, 0.0, 6.0]]

    References:
      lee2021, you2024
    """
    gates = {"signal": (1.0, 0.0), "published": (1.0, 1.0), "half": (0.5, 0.5)}
    alpha_beta = AlphaBeta(alpha, beta, eps, bias=zero == "bias", zero=zero)
    scales: dict[str, Rule] = {"pass": Pass(), "alpha_beta": alpha_beta, "fold": Pass()}
    for name, value, known in (("gate", gate, gates), ("batch_norm", batch_norm, scales)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
    return Composite(
        (
            Assign(ZBox(eps=eps, zero=zero), kinds=("convolution",), first=True),
            Assign(alpha_beta, kinds=WEIGHTED_KINDS),
            Assign(Epsilon(eps), kinds=("add", "sum", "softmax")),
            Assign(Gradient(), kinds=("max_pool",)),
            Assign(scales[batch_norm], kinds=("scale",)),
            Assign(Pass(), kinds=("activation", "nonlinear", "norm", "shift")),
            Assign(Gate(*gates[gate]), kinds=("gate",)),
            Assign(Matmul(*gates[gate], eps), kinds=("matmul",)),
            Assign(EqualShares(), kinds=("product",)),
        ),
        fold=batch_norm == "fold",
    )


def _around(layers: tuple[Assign, ...], eps: float, bias: bool, fold: bool) -> Composite:
    """Returns ``layers`` with the rules that all composites of LRP have for the other kinds of operations."""
    return Composite(
        (
            *layers,
            Assign(Epsilon(eps, bias), kinds=("norm",)),
            Assign(Epsilon(eps), kinds=("add", "sum", "softmax")),
            Assign(Gradient(), kinds=("max_pool",)),
            Assign(Pass(), kinds=("activation", "nonlinear", "scale", "shift")),
            Assign(Gate(), kinds=("gate",)),
            Assign(Matmul(1, 0, eps), kinds=("matmul",)),
            Assign(EqualShares(), kinds=("product",)),
        ),
        fold=fold,
    )


def epsilon_plus(*, eps: float = 1e-6, bias: bool = True, fold: bool = False, zero: Zero = "drop") -> Composite:
    """Returns the composite with z+ for convolutions and ε for dense layers.

    Args:
      eps: the stabiliser ε >= 0 of every rule.
      bias: whether biases take their share of the relevance.
      fold: whether batch norm is folded into the layer before it.
      zero: where the relevance goes of convolutions' outputs to which nothing contributes: see
        :mod:`xrcam_jax.lrp.zero`.

    Returns:
      The composite.

    Raises:
      ValueError: ``zero`` is no choice.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> model = lambda x: x @ jnp.array([[2.0], [-1.0], [1.0]]) + 2.0
      >>> x, r = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[10.0]])
      >>> jax.vjp(xr.lrp(model, xr.composites.epsilon_plus(eps=0)), x)[1](r)[0].tolist()
      [[4.0, -4.0, 6.0]]

    References:
      montavon2019
    """
    return _around(
        (Assign(ZPlus(eps, bias, zero), kinds=("convolution",)), Assign(Epsilon(eps, bias), kinds=("dense",))),
        eps,
        bias,
        fold,
    )


def epsilon_plus_flat(*, eps: float = 1e-6, bias: bool = True, fold: bool = False, zero: Zero = "drop") -> Composite:
    """Returns :func:`epsilon_plus` with the flat rule for the first layer.

    Args:
      eps: the stabiliser ε >= 0 of every rule.
      bias: whether biases take their share of the relevance.
      fold: whether batch norm is folded into the layer before it.
      zero: where the relevance goes of convolutions' outputs to which nothing contributes: see
        :mod:`xrcam_jax.lrp.zero`.

    Returns:
      The composite.

    Raises:
      ValueError: ``zero`` is no choice.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> model = lambda x: x @ jnp.array([[2.0], [-1.0], [1.0]]) + 2.0
      >>> x, r = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[12.0]])
      >>> jax.vjp(xr.lrp(model, xr.composites.epsilon_plus_flat(eps=0)), x)[1](r)[0].tolist()
      [[4.0, 4.0, 4.0]]

    References:
      montavon2019
    """
    plus = epsilon_plus(eps=eps, bias=bias, fold=fold, zero=zero)
    return Composite((Assign(Flat(eps), kinds=WEIGHTED_KINDS, first=True), *plus.assignments), fold=fold)


def epsilon_alpha2_beta1(*, eps: float = 1e-6, bias: bool = True, fold: bool = False, zero: Zero = "drop") -> Composite:
    """Returns the composite with αβ for convolutions, α = 2 and β = 1, and ε for dense layers.

    Args:
      eps: the stabiliser ε >= 0 of every rule.
      bias: whether biases take their share of the relevance.
      fold: whether batch norm is folded into the layer before it.
      zero: where the relevance goes of convolutions' outputs to which nothing contributes: see
        :mod:`xrcam_jax.lrp.zero`.

    Returns:
      The composite.

    Raises:
      ValueError: ``zero`` is no choice.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> model = lambda x: x @ jnp.array([[2.0], [-1.0], [1.0]]) + 2.0
      >>> x, r = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[10.0]])
      >>> jax.vjp(xr.lrp(model, xr.composites.epsilon_alpha2_beta1(eps=0)), x)[1](r)[0].tolist()
      [[4.0, -4.0, 6.0]]

    References:
      montavon2019
    """
    return _around(
        (
            Assign(AlphaBeta(2, 1, eps, bias, zero), kinds=("convolution",)),
            Assign(Epsilon(eps, bias), kinds=("dense",)),
        ),
        eps,
        bias,
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
    zero: Zero = "drop",
) -> Composite:
    """Returns the composite with γ for convolutions, ε for dense layers, and z-box for the first convolution.

    Args:
      low: the least value that a pixel can have, one or one for each channel. None takes that of each example.
      high: the greatest value, likewise.
      gamma: γ of the γ rule.
      eps: the stabiliser ε >= 0 of every rule.
      bias: whether biases take their share of the relevance.
      fold: whether batch norm is folded into the layer before it.
      zero: where the relevance goes of convolutions' outputs to which nothing contributes: see
        :mod:`xrcam_jax.lrp.zero`.

    Returns:
      The composite.

    Raises:
      ValueError: ``zero`` is no choice.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> model = lambda x: x @ jnp.array([[2.0], [-1.0], [1.0]]) + 2.0
      >>> x, r = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[10.0]])
      >>> jax.vjp(xr.lrp(model, xr.composites.epsilon_gamma_box(eps=0)), x)[1](r)[0].tolist()
      [[4.0, -4.0, 6.0]]

    References:
      montavon2019
    """
    return _around(
        (
            Assign(ZBox(low, high, eps, zero), kinds=("convolution",), first=True),
            Assign(Gamma(gamma, eps, bias, zero), kinds=("convolution",)),
            Assign(Epsilon(eps, bias), kinds=("dense",)),
        ),
        eps,
        bias,
        fold,
    )
