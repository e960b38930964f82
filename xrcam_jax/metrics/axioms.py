"""How far a class activation map is from the two axioms that it should fulfil.

With S the score that a map explains, A_k the channels of a layer, w_k its weights and sum_p over places (fu2020):

- sensitivity: w_k sum_p A_k should be what S loses without channel k.
- conservation: sum_k w_k sum_p A_k should be S.

All functions here are pure functions of batches. Equations 5.5 and 5.6 are those of the XRelevance-CAM thesis.

References:
  fu2020, you2024
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def contributions(activation: Float[Array, "b *space k"], weights: Float[Array, "b *#space k"]) -> Float[Array, "b k"]:
    """Returns what a map claims of each channel, c_k = sum_p w_k A_k.

    Args:
      activation: A.
      weights: w; one for each channel, or one for each channel and place.

    Returns:
      c, of the dtype of the arguments.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.axioms import contributions
      >>> activation = jnp.ones((1, 2, 2, 3))
      >>> contributions(activation, jnp.array([1.0, 0.5, -1.0]).reshape(1, 1, 1, 3)).tolist()
      [[4.0, 2.0, -4.0]]
    """
    return jnp.sum(activation * weights, axis=tuple(range(1, activation.ndim - 1)))


def sensitivity_error(drops: Float[Array, "b k"], claimed: Float[Array, "b k"]) -> Float[Array, " b"]:
    """Returns sum_k |S(A) - S(A without k) - c_k| / sum_k |S(A) - S(A without k)| (the thesis's eq. 5.5).

    The thesis prints R in the place of A, which is a slip.

    Args:
      drops: S(A) - S(A without k), what the score loses without each channel.
      claimed: c_k, see :func:`contributions`.

    Returns:
      The error, from 0. A map without any error has 0 and a map of zeros has 1. It is 0 where drops and claims are all
      zero, and infinite where only the drops are.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.axioms import sensitivity_error
      >>> drops = jnp.array([[3.0, 1.0], [3.0, 1.0], [0.0, 0.0]])
      >>> sensitivity_error(drops, jnp.array([[3.0, 1.0], [2.0, 2.0], [0.0, 1.0]])).tolist()
      [0.0, 0.5, inf]

    References:
      fu2020, you2024
    """
    return _relative(jnp.abs(drops - claimed).sum(-1), jnp.abs(drops).sum(-1))


def conservation_error(score: Float[Array, " b"], claimed: Float[Array, "b k"]) -> Float[Array, " b"]:
    """Returns |S - sum_k c_k| / |S| (the thesis's eq. 5.6).

    Args:
      score: S.
      claimed: c_k, see :func:`contributions`.

    Returns:
      The error, from 0. It is 0 where score and claims are both zero, and infinite where only the score is.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.axioms import conservation_error
      >>> conservation_error(jnp.array([4.0, 2.0]), jnp.array([[1.0, 3.0], [1.0, 0.0]])).tolist()
      [0.0, 0.5]

    References:
      fu2020, you2024
    """
    return _relative(jnp.abs(score - claimed.sum(-1)), jnp.abs(score))


def _relative(error: Array, scale: Array) -> Array:
    return jnp.where((error == 0) & (scale == 0), 0, error / scale)
