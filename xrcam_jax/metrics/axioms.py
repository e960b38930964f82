"""The two axioms that class activation maps are held to (fu2020); pure functions of batches.

With S the score that a map explains, A_k the channels of a layer and w_k its weights:

- sensitivity: w_k sum_hw A_k should be what S loses without channel k.
- conservation: sum_k w_k sum_hw A_k should be S.

References:
  fu2020: Fu et al., Axiom-based Grad-CAM (XGrad-CAM), BMVC 2020.
  you2024: You et al., XRelevanceCAM, IJCARS 2024; the thesis's eq. 5.5 and 5.6.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def contributions(activation: Float[Array, "b h w k"], weights: Float[Array, "b #h #w k"]) -> Float[Array, "b k"]:
    """sum_hw w_k A_k."""
    return jnp.sum(activation * weights, axis=(1, 2))


def sensitivity_error(drops: Float[Array, "b k"], claimed: Float[Array, "b k"]) -> Float[Array, " b"]:
    """sum_k |S(A) - S(A without k) - c_k| / sum_k |S(A) - S(A without k)| (eq. 5.5, where R is a slip for A).

    0 is perfect, and a map of zeros has 1.

    Args:
      drops: S(A) - S(A without k).
      claimed: c_k, see :func:`contributions`.

    Returns:
      The error, 0 where neither side has anything and infinity where only the drops are all zero.
    """
    return _relative(jnp.abs(drops - claimed).sum(-1), jnp.abs(drops).sum(-1))


def conservation_error(score: Float[Array, " b"], claimed: Float[Array, "b k"]) -> Float[Array, " b"]:
    """|S - sum_k c_k| / |S| (eq. 5.6); 0 where both are 0, infinity where only S is."""
    return _relative(jnp.abs(score - claimed.sum(-1)), jnp.abs(score))


def _relative(error: Array, scale: Array) -> Array:
    return jnp.where((error == 0) & (scale == 0), 0, error / scale)
