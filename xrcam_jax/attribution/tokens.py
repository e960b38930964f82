"""Where the tokens of a transformer lie in the picture, which nobody but its maker knows."""

from dataclasses import dataclass
from math import prod

import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.marks import mark


@dataclass(frozen=True)
class Tokens:
    """Says where the tokens of a model's layers (b, n, k) lie in its images: n = prefix + 14 x 14 for a grid (14, 14).

    Attributes:
      grid: how many tokens there are along each axis of space, (height, width) of images; the last axis runs fastest.
      prefix: how many tokens come before them and lie nowhere: class and register tokens.

    Raises:
      ValueError: a number that makes no sense.

    Example:
      >>> from xrcam_jax.attribution.tokens import Tokens
      >>> Tokens(grid=(14, 14), prefix=1).count
      197
    """

    grid: tuple[int, ...]
    prefix: int = 0

    def __post_init__(self) -> None:
        if not self.grid or min(self.grid) < 1 or self.prefix < 0:
            raise ValueError(f"tokens: grid must be of positive numbers and prefix not negative; got {self}")

    @property
    def count(self) -> int:
        """Returns how many tokens there are in all."""
        return self.prefix + prod(self.grid)

    def __str__(self) -> str:
        sides = " x ".join(map(str, self.grid))
        return f"{self.prefix} + {sides} = {self.count}" if self.prefix else f"{sides} = {self.count}"

    def marked(self, tokens: Float[Array, "b n k"], name: str) -> Float[Array, "b n k"]:
        """Returns tokens as they are, with a mark set while those of the grid lie on it.

        Args:
          tokens: of a layer.
          name: of the mark.
        """
        before, patches = jnp.split(tokens, [self.prefix], axis=1)
        laid = mark(patches.reshape(len(tokens), *self.grid, -1), name)
        return jnp.concatenate([before, laid.reshape(patches.shape)], axis=1)
