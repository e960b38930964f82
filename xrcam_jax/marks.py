"""Marks name intermediate values, so that a transformation can find them again in a jaxpr."""

from typing import TypeVar

import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

T = TypeVar("T")

#: The name of the primitive that :func:`mark` leaves in a jaxpr. Its parameter ``name`` is the name of the mark.
MARK_PRIMITIVE = "name"
#: The names of functions that stay one equation of a jaxpr begin with this. No function of a user has such a name,
#: because Python allows no dot in it.
PREFIX = "xrcam_jax."


def mark(x: T, name: str) -> T:
    """Names a value, so that :func:`xrcam_jax.taps` and the Explainer find it, and returns it as it is.

    A mark costs nothing at run time, and survives jit, vmap, grad, remat and sharding. It is a
    ``jax.ad_checkpoint.checkpoint_name``, so names given there for a remat policy are marks too.

    Args:
      x: an array, or a pytree with a single array leaf.
      name: a name that is unique within one model, such as ``"layer4"``.

    Returns:
      ``x``.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> def model(x):
      ...     return xr.mark(jnp.square(x), "squares").sum()
      >>> taps = xr.taps(model, xr.composites.gradient(), jnp.array([1.0, 2.0]), seed=jnp.ones(()))
      >>> taps.activations["squares"].tolist()
      [1.0, 4.0]
    """
    return checkpoint_name(x, name)


def mark_tokens(
    x: Float[Array, "b n k"], name: str, *, grid: tuple[int, int], prefix: int = 0
) -> Float[Array, "b n k"]:
    """Names the patches among the tokens of a transformer, laid out where they are in the picture.

    The mark has shape (b, h, w, k), so that class activation maps work on it as on a layer of a convolutional network.
    Tokens before the patches, a class token and registers, have no place in the picture and are left out. What changes
    the mark changes the patches alone. A compiler undoes the cutting and joining, so that the mark costs nothing.

    Args:
      x: tokens, of which the last h · w are the patches, row by row.
      name: a name that is unique within one model, such as ``"layer4"``.
      grid: (h, w), how many patches there are along each side.
      prefix: how many tokens come before the patches.

    Returns:
      ``x``.

    Raises:
      ValueError: there are not ``prefix + h * w`` tokens.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> def model(tokens):
      ...     return xr.mark_tokens(tokens, "patches", grid=(1, 2), prefix=1).sum()
      >>> tokens = jnp.array([7.0, 1.0, 2.0]).reshape(1, 3, 1)
      >>> taps = xr.taps(model, xr.composites.gradient(), tokens, seed=jnp.ones(()))
      >>> taps.activations["patches"].shape, taps.activations["patches"].ravel().tolist()
      ((1, 1, 2, 1), [1.0, 2.0])
    """
    height, width = grid
    if x.shape[1] != prefix + height * width:
        raise ValueError(f"expected {prefix} + {height} x {width} tokens, got {x.shape[1]}")
    patches = mark(x[:, prefix:].reshape(len(x), height, width, x.shape[-1]), name)
    patches = patches.reshape(len(x), height * width, x.shape[-1])
    return jnp.concatenate([x[:, :prefix], patches], axis=1) if prefix else patches
