"""Lengths of what is reduced, with a derivative where all of it is 0."""

from typing import Any

from xrcam_jax.onnx.values import library


def length(powers: Any, p: float = 2) -> Any:
    """Returns (sum |x|^p)^(1/p), whose derivative at 0 counts as 0, as PyTorch's norms have it.

    The root alone has an infinite derivative there, and infinity times the 0 of the power's is no number.

    Args:
      powers: sums of |x|^p, >= 0.
      p: of the norm.

    Returns:
      The lengths, of the shape and dtype of ``powers``.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> jax.value_and_grad(lambda x: length((x * x).sum()))(jnp.zeros(2))
      (Array(0., dtype=float32), Array([0., 0.], dtype=float32))
    """
    number = library(powers)
    zero = powers == 0
    some = number.where(zero, number.ones_like(powers), powers)
    root = number.sqrt(some) if p == 2 else some ** (1 / p)
    return number.where(zero, number.zeros_like(powers), root)
