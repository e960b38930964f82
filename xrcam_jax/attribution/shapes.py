"""Shapes and dtypes of trees of arrays, by which traces of models are kept."""

from collections.abc import Sequence
from typing import Any

import jax
from jaxtyping import PyTree

#: Of a tree: its structure, and shape and dtype of each leaf.
Shapes = tuple[Any, tuple[tuple[tuple[int, ...], Any], ...]]


def shapes(tree: PyTree) -> Shapes:
    """The tree's structure, and shape and dtype of its leaves: what a cache of traces goes by."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple((a.shape, a.dtype) for a in leaves)


def of_shapes(structure: Any, leaves: Sequence[tuple[tuple[int, ...], Any]]) -> PyTree:
    """The tree again, of :class:`jax.ShapeDtypeStruct`."""
    return jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in leaves])
