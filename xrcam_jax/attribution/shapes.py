"""Shapes and dtypes of arrays: those by which traces of models are kept, and those in which it is safe to sum."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

#: The structure of a tree, and the shape and dtype of each of its leaves.
Shapes = tuple[Any, tuple[tuple[tuple[int, ...], Any], ...]]


def shapes(tree: PyTree) -> Shapes:
    """Returns a tree's structure, and the shapes and dtypes of its leaves.

    Args:
      tree: of arrays, or of :class:`jax.ShapeDtypeStruct`.

    Returns:
      A hashable value; trees of equal values give equal traces.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.shapes import shapes
      >>> _, leaves = shapes({"bias": jnp.zeros(2), "kernel": jnp.ones((3, 2))})
      >>> [shape for shape, dtype in leaves]
      [(2,), (3, 2)]
    """
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple((a.shape, a.dtype) for a in leaves)


def of_shapes(structure: Any, leaves: Sequence[tuple[tuple[int, ...], Any]]) -> PyTree:
    """Returns the tree again that :func:`shapes` was given, without its values.

    Args:
      structure: of the tree.
      leaves: shape and dtype of each leaf.

    Returns:
      A tree of :class:`jax.ShapeDtypeStruct`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.shapes import of_shapes, shapes
      >>> of_shapes(*shapes({"bias": jnp.zeros(2)}))
      {'bias': ShapeDtypeStruct(shape=(2,), dtype=float32)}
    """
    return jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in leaves])


def at_least_float32(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns an array in float32 if it has half precision, which would lose small terms of sums, and else as it is.

    Args:
      a: of any floating-point dtype.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.shapes import at_least_float32
      >>> [str(at_least_float32(jnp.zeros(2, dtype)).dtype) for dtype in ("bfloat16", "float32")]
      ['float32', 'float32']
    """
    return a.astype(jnp.float32) if jnp.finfo(a.dtype).bits < 32 else a
