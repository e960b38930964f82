"""A graph as a pure function of pictures and parameters."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from xrcam_jax.onnx.batches import of_each_picture
from xrcam_jax.onnx.graph import Graph, Input, Node
from xrcam_jax.onnx.operators import OPERATORS
from xrcam_jax.onnx.values import Value, channels_last, library, plain, static

#: How many characters of an error of JAX's or NumPy's are repeated.
_LONGEST = 300
#: What absurd numbers end in, such as strides of 0 and arrays of terabytes.
_ABSURD = (ArithmeticError, MemoryError)


# JAX prints what it traces if it has no name, and a graph may hold large arrays: no repr.
@dataclass(frozen=True, eq=False, repr=False)
class GraphFunction:
    """Computes a graph, as a function of (pictures, parameters).

    Attributes:
      file: the name of the file that it is from, for messages.
      graph: the graph.
      constants: arrays that are no parameters, by name.
      orders: the order in which each parameter is stored, by name.
      pictures: the names of values that are pictures, and are stored with their channels last.
      channels_first: the names of inputs that are given with their channels last, and have them first in the graph.
      depending: the names of values that depend on the inputs.
      exported: the shapes of all values for one picture, where the file is for one alone.
    """

    file: str
    graph: Graph
    constants: Mapping[str, np.ndarray]
    orders: Mapping[str, tuple[int, ...]]
    pictures: frozenset[str]
    channels_first: frozenset[str]
    depending: frozenset[str]
    exported: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __call__(self, images: Any, parameters: PyTree) -> Any:
        """Returns the graph's output, as the file has it; several as a dictionary by their names."""
        values = self.values(images, parameters)
        found = {name: jnp.asarray(values[name].plain) for name in self.graph.outputs}
        return found if len(found) > 1 else found[self.graph.outputs[0]]

    def values(self, images: Any, parameters: PyTree) -> dict[str, Value]:
        """Returns all values of the graph, by name."""
        inputs = self.graph.inputs
        if not isinstance(images, Mapping):
            if len(inputs) != 1:
                names = ", ".join(repr(each.name) for each in inputs)
                raise ValueError(f"{self.file}: it has {len(inputs)} inputs; give a dictionary with {names}")
            images = {inputs[0].name: images}
        given = {each.name: self._given(each, images) for each in inputs}
        values = {name: plain(array) for name, array in self.constants.items()}
        values |= {name: Value(jnp.asarray(array), self.orders[name]) for name, array in parameters.items()}
        values |= given
        more = max((_times(each, given[each.name]) for each in inputs), default=1)
        if more > 1 and not self.exported:
            raise ValueError(f"{self.file}: it takes batches of {inputs[0].shape[0]} alone")  # type: ignore[index]
        self._run(self.graph, values, more)
        if lacking := [name for name in self.graph.outputs if name not in values]:
            raise ValueError(f"{self.file}: {lacking[0]!r} is an output of its node that is not supported")
        return values

    def _given(self, described: Input, images: Mapping[str, Any]) -> Value:
        """Returns an input as the graph has it, or refuses what it cannot be."""
        if described.name not in images:
            raise ValueError(f"{self.file}: {described} is missing")
        array = jnp.asarray(images[described.name])
        last = described.name in self.channels_first and array.ndim > 2
        value = Value(array, channels_last(array.ndim)) if last else plain(array)
        if not described.takes(value.shape):
            shown = described.open_shape
            shown = [shown[axis] for axis in channels_last(len(shown))] if last else shown
            raise ValueError(
                f"{self.file}: input {described.name!r} must be ({', '.join(shown)}), got {array.dtype} of shape "
                f"{array.shape}"
            )
        if jnp.issubdtype(array.dtype, jnp.floating) != jnp.issubdtype(described.dtype, jnp.floating):
            raise ValueError(f"{self.file}: input {described.name!r} must be {described.dtype}, got {array.dtype}")
        return Value(array.astype(jax.dtypes.canonicalize_dtype(described.dtype)), value.order)

    def _run(self, graph: Graph, values: dict[str, Value], more: int) -> None:
        """Computes all nodes of a graph, and notes their values."""
        for node in graph.nodes:
            if lacking := [name for name in node.inputs if name and name not in values]:
                raise ValueError(f"{self.file}: {node} reads {lacking[0]!r}, an output that is not supported")
            inputs = [values[name] if name else None for name in node.inputs]
            with jax.named_scope(node.scope) if self.depending.intersection(node.outputs) else nullcontext():
                made = self._made(node, inputs, values, more)
                for name, value in zip(node.outputs, made, strict=False):
                    laid = name in self.pictures and value.ndim > 2 and not isinstance(value.array, np.ndarray)
                    values[name] = value.laid(channels_last(value.ndim)) if laid else value

    def _made(self, node: Node, inputs: list[Value | None], values: dict[str, Value], more: int) -> tuple[Value, ...]:
        """Returns what a node makes."""
        if more > 1 and node.op != "If":
            return of_each_picture(node, inputs, self.exported, self.depending, self._called)
        found = self._branch(node, inputs, values, more) if node.op == "If" else self._called(node, inputs)
        return found if isinstance(found, tuple) else (found,)

    def _called(self, node: Node, inputs: list[Value | None]) -> Any:
        """Computes a node; at once where nothing that it reads depends on pictures or parameters, as shapes do not."""
        known = library(*(value.array for value in inputs if value is not None)) is np
        try:
            with jax.ensure_compile_time_eval() if known else nullcontext():
                found = OPERATORS[node.op](node, *inputs)
                return jax.tree.map(_as_numpy, found, is_leaf=lambda x: isinstance(x, Value)) if known else found
        except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, *_ABSURD) as error:
            shapes = ", ".join(str(value.shape) for value in inputs if value is not None)
            said = " ".join(str(error).split())[:_LONGEST]
            raise ValueError(f"{self.file}: {node} cannot be computed of {shapes}: {said}") from error

    def _branch(self, node: Node, inputs: list[Value | None], values: dict[str, Value], more: int) -> Any:
        """Computes the branch of an ``If`` that its condition, which is known before the graph runs, chooses."""
        try:
            chosen = bool(static(inputs[0], "condition").all())
        except ValueError as error:
            raise ValueError(f"{self.file}: {node}: {error}") from error
        graph = node.get("then_branch" if chosen else "else_branch")
        inside = {**values, **{name: plain(array) for name, array in graph.arrays.items()}}
        self._run(graph, inside, more)
        return tuple(inside[name] for name in graph.outputs)


def _as_numpy(value: Value) -> Value:
    return Value(np.asarray(value.array), value.order)


def _times(described: Input, value: Value) -> int:
    """Returns how many times the batch is given for which a graph was written."""
    declared = described.shape[0] if described.shape else None
    return value.shape[0] // declared if isinstance(declared, int) and declared and value.ndim else 1
