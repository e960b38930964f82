"""What the nodes of a graph say of the place of a picture's channels: first, last, or nothing."""

from collections.abc import Collection
from typing import Literal

from xrcam_jax.onnx.graph import Graph, Node
from xrcam_jax.onnx.operators import HOW, LIKE_THEIR_INPUTS, OF_PICTURES
from xrcam_jax.onnx.resize import OPERATORS as RESIZES

Place = Literal["first", "last"]


def names_with_channels(place: Place, graph: Graph) -> frozenset[str]:
    """Returns the names of the values whose channels are at a place, by what some node says of them or of their like.

    Args:
      place: ``"first"``, after the batch, or ``"last"``.
      graph: any graph.

    Returns:
      The names.

    Example:
      >>> nodes = (
      ...     Node("p", "Pad", "", 13, ("x", "p"), ("a",), {}, "p"),
      ...     Node("t", "Transpose", "", 13, ("a",), ("y",), {"perm": [0, 3, 1, 2]}, "t"),
      ... )
      >>> sorted(names_with_channels("last", Graph(nodes, (), ("y",), {})))
      ['a', 'x']
    """
    said = (said_by(node, graph).items() for node in graph.nodes)
    return spread({name for each in said for name, found in each if found == place}, graph)


def spread(names: Collection[str], graph: Graph) -> frozenset[str]:
    """Returns names of values, and those of all values that are laid out as they are.

    Args:
      names: of some values.
      graph: any graph.

    Returns:
      The names.

    Example:
      >>> node = Node("r", "Relu", "", 13, ("x",), ("a",), {}, "r")
      >>> sorted(spread({"a"}, Graph((node,), (), ("a",), {})))
      ['a', 'x']
    """
    found, before = set(names), -1
    while before != len(found):
        before = len(found)
        for node in graph.nodes:
            if node.op in LIKE_THEIR_INPUTS:
                inputs = node.inputs if node.op not in HOW else node.inputs[: HOW[node.op]]
                values = {name for name in (*inputs, *node.outputs) if name and name not in graph.arrays}
                found.update(values if values & found else ())
    return frozenset(found)


def said_by(node: Node, graph: Graph) -> dict[str, Place]:
    """Returns where the channels of a node's values are, as far as the node tells.

    A resize tells it by the axes that it leaves as they are, and a transposition by what it does to the last one.

    Args:
      node: one of the graph's.
      graph: any graph.

    Returns:
      The places, by the names of values.

    Example:
      >>> import numpy as np
      >>> graph = Graph((), (), (), {"s": np.array([1, 2, 2, 1], np.float32)})
      >>> said_by(Node("r", "Resize", "", 13, ("x", "", "s"), ("y",), {}, "r"), graph)
      {'x': 'last', 'y': 'last'}
    """
    if node.op in OF_PICTURES:
        return dict.fromkeys((node.inputs[0], *node.outputs), "first")
    if node.op in RESIZES:
        place = _of_resize(node, graph)
        return {} if place is None else {node.inputs[0]: place, node.outputs[0]: place}
    order = node.get("perm") if node.op == "Transpose" else None
    if order is not None and len(order) > 3:
        ndim = len(order)
        if list(order) == [0, ndim - 1, *range(1, ndim - 1)]:
            return {node.inputs[0]: "last"}
        if list(order) == [0, *range(2, ndim), 1]:
            return {node.outputs[0]: "last"}
    return {}


def _of_resize(node: Node, graph: Graph) -> Place | None:
    """Returns which of the second axis and the last one is left as it is, if it is one of the two."""
    ahead = 2 if node.opset > 10 else 1
    arrays = [graph.arrays.get(name) for name in (*node.inputs[ahead:], "", "")]
    scales, sizes = ([] if each is None else each.ravel().tolist() for each in arrays[:2])
    shape = next((each.shape for each in graph.inputs if each.name == node.inputs[0]), None)
    axes = node.get("axes")
    ndim = len(shape) if shape else 4 if axes else len(scales or sizes)
    before = [1] * ndim if scales else shape
    if not before:
        return None
    pairs = zip(axes or range(ndim), scales or sizes, strict=False)
    changed = {axis % ndim for axis, after in pairs if before[axis % ndim] != after}
    second, last = 1 in changed, ndim - 1 in changed
    return None if second == last else "last" if second else "first"
