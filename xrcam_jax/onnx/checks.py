"""Checks of a graph before anything of it is traced or compiled; each names what is wrong, in one line."""

import math
from collections.abc import Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from xrcam_jax.errors import DamagedError
from xrcam_jax.onnx.graph import Graph, all_nodes
from xrcam_jax.onnx.operators import OPERATORS, WITHOUT_FUNCTION
from xrcam_jax.onnx.read import package
from xrcam_jax.onnx.roles import depending

#: Operators of which an infinite argument is a bound or a mask.
_TAKE_INFINITE = frozenset({"Where", "Add", "Min", "Max", "Clip", "Pad", "Concat"})


def check_nodes(path: Path, graph: Graph) -> None:
    """Refuses a graph with operators that are not supported, or that reads what nothing makes.

    Args:
      path: of the file, for the message.
      graph: the graph.

    Raises:
      ValueError: naming the node.

    Example:
      >>> from xrcam_jax.onnx.graph import Graph, Node
      >>> check_nodes(Path("net.onnx"), Graph((Node("r1", "RoiAlign", "", 16, (), ("y",), {}, "r1"),), (), ("y",), {}))
      Traceback (most recent call last):
      ...
      ValueError: net.onnx: node 'r1' (RoiAlign, opset 16): it is not supported; docs/onnx.md lists those that are
    """
    for node in all_nodes(graph):
        if node.domain or (node.op not in OPERATORS and node.op not in WITHOUT_FUNCTION):
            quantised = "Linear" in node.op or "Integer" in node.op or node.op.startswith("QLinear")
            also = (
                "quantised networks are not supported; export it in floating point"
                if quantised
                else ("it is not supported; docs/onnx.md lists those that are")
            )
            raise ValueError(f"{path}: {node}: {also}")
    explained = depending(graph)
    for node in all_nodes(graph):
        # Kernels may be standardised so, by their own mean and deviation.
        if node.op == "BatchNormalization" and node.get("training_mode", 0) and node.inputs[0] in explained:
            raise ValueError(f"{path}: {node}: it is in training mode; export the network for inference")
    made = {*graph.arrays, *(each.name for each in graph.inputs)}
    for node in graph.nodes:
        missing = [name for name in node.reads if name not in made]
        if missing:
            raise ValueError(f"{path}: {node} reads {missing[0]!r}, which nothing before it makes")
        made.update(node.outputs)


def check_arguments(path: Path, graph: Graph) -> None:
    """Refuses nodes that read or make less than their operator does.

    Args:
      path: of the file, for the message.
      graph: the graph.

    Raises:
      ValueError: naming the node.

    Example:
      >>> from xrcam_jax.onnx.graph import Graph, Node
      >>> check_arguments(Path("net.onnx"), Graph((Node("c", "Conv", "", 13, ("x",), ("y",), {}, "c"),), (), (), {}))
      Traceback (most recent call last):
      ...
      ValueError: net.onnx: node 'c' (Conv, opset 13): it reads 'x', and its operator takes at least 2 values
    """
    defined = package().defs
    for node in all_nodes(graph):
        if node.domain or node.op not in OPERATORS:
            continue
        try:
            schema = defined.get_schema(node.op, node.opset)
        except defined.SchemaError:
            # Another opset has this operator. It is computed as there, or refused by its name.
            continue
        if len(node.inputs) < schema.min_input or not all(node.inputs[: schema.min_input]):
            read = ", ".join(repr(name) for name in node.inputs) or "nothing"
            raise ValueError(
                f"{path}: {node}: it reads {read}, and its operator takes at least {schema.min_input} values"
            )
        if not any(node.outputs):
            raise ValueError(f"{path}: {node}: it makes nothing")


def check_arrays(path: Path, graph: Graph) -> None:
    """Refuses arrays with numbers that no trained network has.

    Args:
      path: of the file, for the message.
      graph: the graph.

    Raises:
      DamagedError: naming the array.

    Example:
      >>> import numpy as np
      >>> check_arrays(Path("net.onnx"), Graph((), (), (), {"w": np.array([np.nan, 1.0])}))
      Traceback (most recent call last):
      ...
      xrcam_jax.errors.DamagedError: net.onnx: not finite: w, 1 of 2 values
    """
    readers: dict[str, set[str]] = {}
    variances = set()
    for node in all_nodes(graph):
        for name in node.inputs:
            readers.setdefault(name, set()).add(node.op)
        if node.op == "BatchNormalization" and len(node.inputs) > 4:
            variances.add(node.inputs[4])
    for name, array in graph.arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            continue
        masks = readers.get(name, set()) <= _TAKE_INFINITE and bool(readers.get(name))
        wrong = np.isnan(array) if masks else ~np.isfinite(array)
        if number := int(np.sum(wrong)):
            raise DamagedError(f"{path}: not finite: {name}, {number} of {array.size} values")
        if name in variances and (number := int(np.sum(array < 0))):
            raise DamagedError(f"{path}: a negative variance: {name}, {number} of {array.size} values")


def check_inputs(
    path: Path, graph: Graph, given: Sequence[int] | Mapping[str, Sequence[int]] | None
) -> dict[str, tuple[int, ...]]:
    """Returns a shape for each input, where the batch is 1 if the file leaves it open.

    Args:
      path: of the file, for messages.
      graph: the graph.
      given: the shape of the only input, or the shapes of inputs by their names.

    Returns:
      The shapes, as the graph has them.

    Raises:
      ValueError: naming the input of which more is open than the batch, or that a given shape does not fit.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.onnx.graph import Input
      >>> described = Input("x", ("b", 3, 8, 8), np.dtype("float32"))
      >>> check_inputs(Path("net.onnx"), Graph((), (described,), (), {}), None)
      {'x': (1, 3, 8, 8)}
    """
    inputs = {each.name: each for each in graph.inputs}
    if not inputs:
        raise ValueError(f"{path}: it has no input, all of it is constant")
    if given is not None and not isinstance(given, Mapping):
        if len(inputs) > 1:
            raise ValueError(f"{path}: it has the inputs {', '.join(inputs)}; give input_shape as a dictionary")
        given = dict.fromkeys(inputs, given)
    shapes = {}
    for name in given or ():
        if name not in inputs:
            raise ValueError(f"{path}: input_shape names {name!r}, which is none of the inputs {', '.join(inputs)}")
    for name, described in inputs.items():
        shape = _lengths(path, given[name]) if given and name in given else described.shape
        if shape and not isinstance(shape[0], int):
            shape = (1, *shape[1:])
        if shape is None or not all(isinstance(n, int) for n in shape):
            raise ValueError(
                f"{path}: {described} has lengths that are open, and not only the batch's; say what they are, with "
                "the batch first as in the file: input_shape=(1, 3, 224, 224), on the command line --input-size 224,224"
            )
        known = tuple(n for n in shape if isinstance(n, int))
        if not described.takes(known) or math.prod(known) < 1:
            raise ValueError(f"{path}: {described} cannot be of the given input_shape {known}")
        shapes[name] = known
    return shapes


def _lengths(path: Path, given: Any) -> tuple[Any, ...]:
    """Returns a shape that a user gives as integers, None for a batch that is left open; or refuses what is none."""
    try:
        return tuple(n if n is None else index(n) for n in given)
    except TypeError:
        raise ValueError(f"{path}: input_shape must be whole numbers such as (1, 3, 224, 224), got {given!r}") from None
