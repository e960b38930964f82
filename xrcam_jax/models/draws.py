"""How the values of a fresh network are drawn, and what stands for them where weights take their place."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key


class OnlyShapes(nnx.Rngs):
    """Stands for random streams where only shapes count: nothing is drawn, which takes longer than loading weights.

    Example:
      >>> import jax.numpy as jnp
      >>> normal(OnlyShapes(), (2,), jnp.float32).tolist()
      [0.0, 0.0]
    """

    def __init__(self) -> None:
        # For the layers of Flax, which draw by themselves. Random bits of this kind are one operation under a trace,
        # those of JAX's default kind many; and to count keys would take seconds.
        self.key = jax.random.key(0, impl="unsafe_rbg")

    def params(self) -> Key[Array, ""]:
        """Returns the same key for every parameter."""
        return self.key


def normal(rngs: nnx.Rngs, shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
    """Draws values from the standard normal distribution.

    Args:
      rngs: random streams; of :class:`OnlyShapes` all values are 0.
      shape: of the values.
      dtype: of the values.

    Returns:
      The values.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> values = normal(nnx.Rngs(0), (100, 100), jnp.float32)
      >>> bool(abs(values.mean()) < 0.02), bool(abs(values.std() - 1) < 0.02)
      (True, True)
    """
    if isinstance(rngs, OnlyShapes):
        return jnp.zeros(shape, dtype)
    # Flat, since XLA compiles random bits with four axes several times more slowly.
    return jax.random.normal(rngs.params(), (math.prod(shape),), dtype).reshape(shape)
