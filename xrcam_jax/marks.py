"""Marks name intermediate values, so that a transformation can find them again in a jaxpr."""

from typing import TypeVar

from jax.ad_checkpoint import checkpoint_name

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
