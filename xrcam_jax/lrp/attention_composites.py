"""The composites for attention, as the literature gives them; the others are in :mod:`xrcam_jax.lrp.composites`."""

from dataclasses import dataclass

from jaxtyping import Array, PyTree

from xrcam_jax.lrp.assignments import Assign, Composite
from xrcam_jax.lrp.protocol import WEIGHTED_KINDS, Bilinear, Loss, Rule
from xrcam_jax.lrp.rules import Epsilon, EqualShares, Gamma, Gate, Gradient, Matmul, Pass


def attn_lrp(
    *, gamma: float = 0.0, conv_gamma: float | None = None, eps: float = 1e-9, bias: bool = True, fold: bool = False
) -> Composite:
    """Returns the composite of AttnLRP.

    - A softmax is expanded to first order: R_x = x · (R - z Σ R). What its constant term keeps is accounted as bias.
    - The factors of a product take half each: queries and keys, attention weights and values, gated signals.
    - The factors by which a norm divides are constants, so that the division is the identity. Centring is linear, and
      β keeps its share.
    - Elementwise functions are the identity: GELU, SiLU, tanh, ...
    - Layers, residual connections and means follow ε, or layers γ. What is constant and added keeps its share: biases
      and the embedding of positions. So does a constant from which something is taken.

    Args:
      gamma: γ of dense layers. 0 is the ε rule, for language models; the paper takes more for vision transformers.
      conv_gamma: γ of convolutions; ``gamma`` by default.
      eps: the stabiliser ε >= 0 of every rule but the softmax's, which needs none.
      bias: whether constants take their share of the relevance.
      fold: whether batch norm is folded into the layer before it.

    Returns:
      The composite.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> gated = lambda x: (x @ jnp.array([[2.0], [1.0]])) * (x @ jnp.array([[1.0], [0.0]]))
      >>> rules = xr.composites.attn_lrp(eps=0)
      >>> jax.vjp(xr.lrp(gated, rules), jnp.array([[1.0, 2.0]]))[1](jnp.array([[8.0]]))[0].tolist()
      [[6.0, 2.0]]

    References:
      achtibat2024
    """
    return _composite(gamma, conv_gamma, eps, bias, fold, gate=Gate(0.5, 0.5), matmul=Matmul(0.5, 0.5, eps))


def cp_lrp(
    *, gamma: float = 0.0, conv_gamma: float | None = None, eps: float = 1e-9, bias: bool = True, fold: bool = False
) -> Composite:
    """Returns the composite of CP-LRP: attention weights, gates and the factors of norms are constants.

    So all relevance goes through the values and the gated signals, and none through queries, keys and gates. All else
    is as in :func:`attn_lrp`.

    Args:
      gamma: γ of dense layers; 0 is the ε rule.
      conv_gamma: γ of convolutions; ``gamma`` by default.
      eps: the stabiliser ε >= 0 of every rule.
      bias: whether constants take their share of the relevance.
      fold: whether batch norm is folded into the layer before it.

    Returns:
      The composite. Products of which neither factor is known to be a gate are refused.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> attend = lambda x: jax.nn.softmax(x @ x.T) @ x
      >>> x = jnp.array([[1.0], [0.0]])
      >>> r = jax.vjp(xr.lrp(attend, xr.composites.cp_lrp(eps=0)), x)[1](jnp.array([[3.0], [0.0]]))[0]
      >>> r.tolist()
      [[3.0], [0.0]]

    References:
      ali2022
    """
    return _composite(gamma, conv_gamma, eps, bias, fold, gate=Gate(1, 0), matmul=Matmul(1, 0, eps))


@dataclass(frozen=True)
class _Scale:
    """Passes by a factor; a constant from which x is taken keeps its share, as one does that is added to -x."""

    shared: Rule
    fits = frozenset({"scale"})

    def relevance(self, op: Bilinear, r: Array) -> tuple[PyTree, Loss]:
        """Implements :class:`xrcam_jax.lrp.protocol.Rule`."""
        return (Pass() if op.b is None else self.shared).relevance(op, r)


def _composite(
    gamma: float, conv_gamma: float | None, eps: float, bias: bool, fold: bool, *, gate: Rule, matmul: Rule
) -> Composite:
    linear = Epsilon(eps, bias)
    of_dense = Gamma(gamma, eps, bias) if gamma else linear
    of_convolutions = of_dense if conv_gamma is None else Gamma(conv_gamma, eps, bias) if conv_gamma else linear
    return Composite(
        (
            Assign(of_convolutions, kinds=("convolution",)),
            Assign(of_dense, kinds=WEIGHTED_KINDS),
            Assign(linear, kinds=("add", "sum", "shift", "norm")),
            Assign(matmul, kinds=("matmul",)),
            Assign(gate, kinds=("gate",)),
            Assign(EqualShares(), kinds=("product",)),
            Assign(Epsilon(0), kinds=("softmax",)),
            Assign(Pass(), kinds=("activation", "nonlinear")),
            Assign(_Scale(linear), kinds=("scale",)),
            Assign(Gradient(), kinds=("max_pool",)),
        ),
        fold=fold,
    )
