"""A graph as plain data: its nodes in the order in which they are computed, what goes in, and what comes out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Node:
    """Holds a node of a graph.

    Attributes:
      name: its name, or its first output's if it has none.
      op: the name of its operator.
      domain: of the operator, empty for ONNX's own.
      opset: the version of the domain's operators.
      inputs: the names of the values that it reads; empty for one that is left out.
      outputs: the names of the values that it makes.
      attributes: Python's numbers, texts and lists of them, NumPy's arrays, and graphs.
      scope: the path of the layer that it is.
    """

    name: str
    op: str
    domain: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    scope: str

    def get(self, name: str, default: Any = None) -> Any:
        """Returns an attribute, or the default where it is left out."""
        return self.attributes.get(name, default)

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of all values that it reads, also of those that its inner graphs take from around them."""
        inner = (name for graph in self.attributes.values() if isinstance(graph, Graph) for name in graph.free)
        return tuple(name for name in (*self.inputs, *inner) if name)

    def __str__(self) -> str:
        domain = f"{self.domain}." if self.domain else ""
        return f"node {self.name!r} ({domain}{self.op}, opset {self.opset})"


@dataclass(frozen=True)
class Input:
    """Describes an input of a graph.

    Attributes:
      name: its name.
      shape: of each axis the length, the name of a length that is left open, or None; None if nothing is said.
      dtype: of its values.
    """

    name: str
    shape: tuple[int | str | None, ...] | None
    dtype: np.dtype

    @property
    def open_shape(self) -> list[str]:
        """Returns its axes in words: b for the batch, numbers, and ? for what is left open."""
        return ["b", *(str(n) if isinstance(n, int) else "?" for n in (self.shape or ())[1:])]

    def takes(self, shape: Sequence[int]) -> bool:
        """Returns whether an array of that shape can be given. Of a fixed batch, several times as many can."""
        if self.shape is None:
            return True
        if len(shape) != len(self.shape):
            return False
        first = self.shape[0] if self.shape else None
        batch = not isinstance(first, int) or (first > 0 and shape[0] > 0 and shape[0] % first == 0)
        pairs = zip(self.shape[1:], shape[1:], strict=True)
        return batch and all(not isinstance(wanted, int) or wanted == n for wanted, n in pairs)

    def __str__(self) -> str:
        shape = "no shape" if self.shape is None else f"shape ({', '.join(str(n or '?') for n in self.shape)})"
        return f"input {self.name!r} of {shape}"


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """Holds a graph.

    Attributes:
      nodes: in the order in which they are computed.
      inputs: what is not in the file.
      outputs: the names of the values that are its result.
      arrays: the arrays in the file, by the name of their value.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]

    @property
    def free(self) -> tuple[str, ...]:
        """The names of the values that it takes from the graph around it."""
        made = {*self.arrays, *(each.name for each in self.inputs), *(v for node in self.nodes for v in node.outputs)}
        read = dict.fromkeys((*(v for node in self.nodes for v in node.reads), *self.outputs))
        return tuple(name for name in read if name not in made)

    @property
    def producers(self) -> dict[str, Node]:
        """The node that makes each value."""
        return {value: node for node in self.nodes for value in node.outputs if value}


def all_nodes(graph: Graph) -> Iterator[Node]:
    """Yields the nodes of a graph and of all graphs in it.

    Args:
      graph: any graph.

    Yields:
      The nodes.

    Example:
      >>> [node.name for node in all_nodes(Graph((Node("a", "Relu", "", 13, (), (), {}, "a"),), (), (), {}))]
      ['a']
    """
    for node in graph.nodes:
        yield node
        for inner in node.attributes.values():
            if isinstance(inner, Graph):
                yield from all_nodes(inner)


def needed(graph: Graph, outputs: Sequence[str]) -> Graph:
    """Returns the part of a graph that its outputs, or other values in it, are computed by.

    Args:
      graph: any graph.
      outputs: names of values.

    Returns:
      The graph of these outputs. All inputs stay.

    Example:
      >>> nodes = [Node(n, "Relu", "", 13, (i,), (n,), {}, n) for n, i in (("a", "x"), ("b", "a"), ("c", "a"))]
      >>> [node.name for node in needed(Graph(tuple(nodes), (), ("b", "c"), {}), ["b"]).nodes]
      ['a', 'b']
    """
    wanted, kept = set(outputs), list[Node]()
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            kept.append(node)
            wanted.update(node.reads)
    arrays = {name: array for name, array in graph.arrays.items() if name in wanted}
    return Graph(tuple(reversed(kept)), graph.inputs, tuple(outputs), arrays)
