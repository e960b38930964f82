"""Values of an ONNX graph: arrays, of which pictures are kept with their channels last.

ONNX has pictures as (b, c, h, w). Class activation maps and fast convolutions on a CPU want (b, h, w, c). So a value
knows in which order the axes of the graph are stored. Elementwise operators, poolings and convolutions leave the order
as it is, and a transposition is computed only where an operator needs the axes in the order of the graph.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from xrcam_jax.onnx.graph import Node


@dataclass(frozen=True, eq=False)
class Value:
    """Holds an array of a graph, which is a NumPy array if it does not depend on pictures or parameters.

    Attributes:
      array: the array, as it is stored.
      order: for each axis as it is stored, which axis of the graph's it is.
    """

    array: Any
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the order of the graph."""
        return tuple(self.array.shape[axis] for axis in inverse(self.order))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.order)

    @property
    def plain(self) -> Any:
        """The array in the order of the graph."""
        return self.laid(tuple(range(self.ndim))).array

    def laid(self, order: tuple[int, ...]) -> "Value":
        """Returns the same value, stored in another order."""
        if order == self.order:
            return self
        where = inverse(self.order)
        moved = tuple(where[axis] for axis in order)
        return Value(library(self.array).transpose(self.array, moved), order)

    def at(self, axis: int) -> int:
        """Returns where an axis of the graph, which may be counted from the end, is stored."""
        return self.order.index(checked_axis(axis, self.ndim))

    def without(self, axes: Sequence[int]) -> tuple[int, ...]:
        """Returns the order of what is left when axes of the graph are taken away."""
        kept = [axis for axis in self.order if axis not in axes]
        return tuple(sorted(kept).index(axis) for axis in kept)


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """Returns where each axis is stored.

    Args:
      order: for each axis as it is stored, which one it is.

    Returns:
      The inverse permutation.

    Example:
      >>> inverse((0, 2, 3, 1))
      (0, 3, 1, 2)
    """
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def channels_last(ndim: int) -> tuple[int, ...]:
    """Returns the order in which the second of the graph's axes is stored last.

    Args:
      ndim: how many axes there are, at least 2.

    Returns:
      The order.

    Example:
      >>> channels_last(4)
      (0, 2, 3, 1)
    """
    return (0, *range(2, ndim), 1)


def checked_axis(axis: int, ndim: int) -> int:
    """Returns an axis counted from the front.

    Args:
      axis: an axis, which may be negative.
      ndim: how many axes there are.

    Returns:
      The axis, in [0, ndim).

    Raises:
      ValueError: there is no such axis.

    Example:
      >>> checked_axis(-1, 4)
      3
    """
    if not -ndim <= axis < ndim:
        raise ValueError(f"there is no axis {axis} among {ndim}")
    return int(axis) % ndim


def plain(array: Any) -> Value:
    """Returns a value that is stored in the order of the graph.

    Args:
      array: the array.

    Returns:
      The value.

    Example:
      >>> import numpy as np
      >>> plain(np.ones((2, 3))).order
      (0, 1)
    """
    return Value(array, tuple(range(array.ndim)))


def library(*arrays: Any) -> Any:
    """Returns NumPy if all arrays are NumPy's, so that shapes are computed before the program runs; else JAX's.

    Args:
      *arrays: of either library.

    Returns:
      The module.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> library(np.ones(3)).__name__, library(np.ones(3), jnp.ones(3)).__name__
      ('numpy', 'jax.numpy')
    """
    return jnp if any(isinstance(array, Array) for array in arrays) else np


def static(value: Value | None, what: str) -> np.ndarray:
    """Returns the array of a value that has to be known before the program runs.

    Args:
      value: the value.
      what: what it is, for the message.

    Returns:
      The array, of NumPy.

    Raises:
      ValueError: it depends on pictures or parameters, or is missing.

    Example:
      >>> import numpy as np
      >>> static(plain(np.arange(2)), "shape").tolist()
      [0, 1]
    """
    if value is None:
        raise ValueError(f"its {what} is missing")
    if library(value.array) is jnp:
        raise ValueError(f"its {what} depends on what the graph computes, and has to be known before it runs")
    return np.asarray(value.plain)


def numbers(value: Value | None, what: str) -> list[int]:
    """Returns whole numbers that have to be known before the program runs.

    Args:
      value: the value.
      what: what it is, for the message.

    Returns:
      The numbers.

    Raises:
      ValueError: as :func:`static` does.

    Example:
      >>> import numpy as np
      >>> numbers(plain(np.array([1, -1])), "shape")
      [1, -1]
    """
    return [int(number) for number in static(value, what).ravel()]


def common_order(values: Sequence[Value]) -> tuple[int, ...]:
    """Returns the order in which values that are broadcast are put together.

    Args:
      values: the values.

    Returns:
      That of the first with all axes that is not stored as the graph has it; else the graph's.

    Example:
      >>> import numpy as np
      >>> common_order([plain(np.ones(3)), Value(np.ones((1, 4, 4, 3)), (0, 2, 3, 1))])
      (0, 2, 3, 1)
    """
    ndim = max(value.ndim for value in values)
    graphs = tuple(range(ndim))
    return next((v.order for v in values if v.ndim == ndim and v.order != graphs), graphs)


def broadcast(value: Value, order: tuple[int, ...]) -> Any:
    """Returns the array of a value in an order of perhaps more axes, to which NumPy's rules broadcast it.

    Args:
      value: the value.
      order: of the axes of the result.

    Returns:
      The array.

    Example:
      >>> import numpy as np
      >>> broadcast(plain(np.ones((3, 1, 1))), (0, 2, 3, 1)).shape
      (1, 1, 1, 3)
    """
    if value.ndim == len(order) or value.ndim == 0:
        return value.laid(order).array if value.ndim else value.array
    array, missing = value.plain, len(order) - value.ndim
    if list(order) == sorted(order):
        return array
    return plain(array.reshape((1,) * missing + array.shape)).laid(order).array


Operator = Callable[..., Any]


def pointwise(f: Callable[..., Any]) -> Operator:
    """Turns a function of (node, arrays) that works element by element into an operator.

    Args:
      f: the function, which broadcasts as NumPy does.

    Returns:
      The operator, from values to a value.

    Example:
      >>> import numpy as np
      >>> double = pointwise(lambda node, x: 2 * x)
      >>> double(Node("d", "Own", "", 13, (), (), {}, "d"), Value(np.ones((1, 4, 4, 3)), (0, 2, 3, 1))).order
      (0, 2, 3, 1)
    """

    def operator(node: Node, *values: Value | None) -> Value:
        order = common_order([value for value in values if value is not None])
        return Value(f(node, *(value if value is None else broadcast(value, order) for value in values)), order)

    return operator


def in_graphs_order(f: Callable[..., Any]) -> Operator:
    """Turns a function of (node, arrays in the graph's order) into an operator.

    Args:
      f: the function, which returns an array or a tuple of arrays.

    Returns:
      The operator, from values to a value or a tuple of values.

    Example:
      >>> import numpy as np
      >>> flat = in_graphs_order(lambda node, x: x.reshape(-1))
      >>> flat(Node("f", "Own", "", 13, (), (), {}, "f"), Value(np.arange(4).reshape(2, 2), (1, 0))).array.tolist()
      [0, 2, 1, 3]
    """

    def operator(node: Node, *values: Value | None) -> Any:
        found = f(node, *(value if value is None else value.plain for value in values))
        return tuple(map(plain, found)) if isinstance(found, tuple) else plain(found)

    return operator


def on_pictures(f: Callable[..., Any]) -> Operator:
    """Turns a function of (node, pictures with channels last, other arrays in the graph's order) into an operator.

    Args:
      f: the function, which returns pictures with channels last.

    Returns:
      The operator.

    Example:
      >>> import numpy as np
      >>> mean = on_pictures(lambda node, x: x.mean((1, 2), keepdims=True))
      >>> mean(Node("m", "Own", "", 13, (), (), {}, "m"), plain(np.ones((1, 3, 4, 4)))).shape
      (1, 3, 1, 1)
    """

    def operator(node: Node, x: Value, *others: Value | None) -> Value:
        order = channels_last(x.ndim)
        found = f(node, x.laid(order).array, *(other if other is None else other.plain for other in others))
        return Value(found, order)

    return operator
