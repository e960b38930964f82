"""Names for intermediate values, so that a transformation can find them again in a jaxpr."""

from typing import TypeVar

from jax.ad_checkpoint import checkpoint_name

T = TypeVar("T")

#: Name of the primitive that :func:`mark` leaves in a jaxpr; its ``name`` parameter is the mark's name.
MARK_PRIMITIVE = "name"
#: Begins the names of functions that stay one equation of a jaxpr. A user's own have none such: Python allows no dot.
PREFIX = "xrcam_jax."


def mark(x: T, name: str) -> T:
    """Name ``x`` so that :func:`xrcam_jax.taps` and the Explainer find it; the identity otherwise.

    It costs nothing at run time and survives jit, vmap, grad, remat and sharding. A mark is a
    ``jax.ad_checkpoint.checkpoint_name``, so names given there for a remat policy are marks too.

    Args:
      x: an array, or a pytree with a single array leaf.
      name: unique within one model, e.g. ``"layer4"``.

    Returns:
      ``x``.
    """
    return checkpoint_name(x, name)
