"""From an ONNX file to a model."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from xrcam_jax.errors import unknown
from xrcam_jax.explain.adapters import Adapted
from xrcam_jax.onnx.checks import check_arguments, check_arrays, check_inputs, check_nodes
from xrcam_jax.onnx.describe import described
from xrcam_jax.onnx.function import GraphFunction
from xrcam_jax.onnx.graph import Graph, Input, needed
from xrcam_jax.onnx.parse import Parser
from xrcam_jax.onnx.read import OWN_DOMAINS, read_model
from xrcam_jax.onnx.roles import depending, how_names, kernels, picture_names, takes_channels_first
from xrcam_jax.onnx.values import channels_last
from xrcam_jax.pictures.preprocessing import Preprocessing

_LOG = logging.getLogger(__name__)
#: What turns logits into probabilities.
_TO_PROBABILITIES = ("Softmax", "Sigmoid", "LogSoftmax")


@dataclass(frozen=True, eq=False, repr=False)
class OnnxModel(Adapted):
    """Holds a network from an ONNX file, a function of pictures (b, h, w, c).

    Attributes:
      function: (pictures, parameters) -> the graph's output, which has the axes that the file gives it; or a
        dictionary of several by name.
      parameters: the floating-point arrays of the file, by name. Kernels of convolutions are (h, w, i, o).
      preprocessing: how pictures have to be prepared, as far as anything says so.
      input_shapes: of each input by name, as the model takes it; 1 for the batch.
      output_shapes: of each output by name.
      notes: sentences that say what had to be supposed.
      batch: the size of the only batch that the graph takes; None if any will do.
    """

    function: GraphFunction
    preprocessing: Preprocessing
    input_shapes: Mapping[str, tuple[int, ...]]
    output_shapes: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...]
    batch: int | None

    def __call__(self, images: Any) -> Any:
        """Returns the output for pictures, or for a dictionary of inputs, computed by one compiled program."""
        found = jax.jit(self.function)(images, self.parameters)
        # JAX sorts the keys of dictionaries.
        return {name: found[name] for name in self.output_shapes} if isinstance(found, dict) else found

    @property
    def num_classes(self) -> int:
        """Returns how many logits (b, n) there are.

        Raises:
          ValueError: the graph has another output.
        """
        shapes = list(self.output_shapes.values())
        if len(shapes) != 1 or len(shapes[0]) != 2:
            listed = ", ".join(f"{name!r} {shape}" for name, shape in self.output_shapes.items())
            raise ValueError(
                f"the graph has no output (b, n) of logits but {listed}; in Python, output= of from_onnx picks one, "
                "and target= of the Explainer says what is explained"
            )
        return shapes[0][1]

    @property
    def num_outputs(self) -> int:
        """Returns the number of logits, as that of other networks is called."""
        return self.num_classes


def from_onnx(
    path: str | os.PathLike[str],
    *,
    output: str | Sequence[str] | None = None,
    logits: bool = False,
    input_shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    dtype: DTypeLike = jnp.float32,
) -> OnnxModel:
    """Makes a model of an ONNX file, without its probabilities or with them, for the Explainer and all else.

    Each node is a layer by its name, and by the name of its value (:func:`xrcam_jax.layers` lists them). The graph is
    traced once here, so that what is not supported is said now. docs/onnx.md has the operators.

    Args:
      path: of the file. Arrays in other files are found in its folder.
      output: the name of the value in the graph that the model returns, or several; by default the graph's outputs.
      logits: whether a softmax or sigmoid at the end is left out: behind it, relevance and gradients tell less.
      input_shape: the shape of the input as the file has it, the batch first, where the file leaves more open than the
        batch; by the name of the input if there are several.
      mean: of each channel of the pictures, or one for all, of intensities from 0 to 1, for ``preprocessing``; by
        default what the file or one beside it says, see docs/onnx.md.
      std: deviation, likewise.
      dtype: what the network computes in, whatever the file's floating-point type is.

    Returns:
      The model. What had to be supposed is in its ``notes``, and is logged as a warning, a line each.

    Raises:
      FileNotFoundError: there is no such file, or one with its arrays is missing.
      ValueError: naming the node, input or value that cannot be honoured, or the file where it is none. A damaged one
        is a ``DamagedError``.
      TypeError: ``path`` is no name.
      ImportError: the package onnx is not installed.

    Example:
      >>> import pathlib, tempfile
      >>> import jax.numpy as jnp
      >>> import onnx.helper as h
      >>> picture, grey = (h.make_tensor_value_info(n, 1, ("b", c, 2, 2)) for n, c in (("x", 3), ("y", 1)))
      >>> kernel = h.make_tensor("w", 1, (1, 3, 1, 1), [1.0, 10.0, 100.0])
      >>> graph = h.make_graph([h.make_node("Conv", ["x", "w"], ["y"])], "grey", [picture], [grey], [kernel])
      >>> proto = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "grey.onnx")
      ...     _ = path.write_bytes(proto.SerializeToString())
      ...     model = from_onnx(path)
      >>> model(jnp.ones((1, 2, 2, 3))).tolist()
      [[[[111.0, 111.0], [111.0, 111.0]]]]
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be the name of an ONNX file, got {type(path).__name__}")
    _check_dtype(dtype)
    path = Path(path).expanduser()
    proto = read_model(path)
    opsets = {"" if each.domain in OWN_DOMAINS else each.domain: each.version for each in proto.opset_import}
    graph = Parser(path, opsets, np.dtype(dtype)).graph(proto.graph)
    notes = list[str]()
    check_arguments(path, graph)
    graph = needed(graph, _outputs(path, graph, output, logits, notes))
    check_nodes(path, graph)
    check_arrays(path, graph)
    shapes = check_inputs(path, graph, input_shape)
    function, parameters = _function(path, graph)
    given = {
        name: tuple(shape[axis] for axis in channels_last(len(shape))) if name in function.channels_first else shape
        for name, shape in shapes.items()
    }
    values = _traced(function, given, parameters, 1)
    outputs = {name: values[name] for name in graph.outputs}
    function = replace(function, exported=values if _fixed_batch(function) == 1 else {})
    batch = _only_batch(function, given, parameters, outputs, notes)
    wants, supposed = described(path, proto, next(iter(given.values())), {"mean": mean, "std": std})
    notes += supposed
    for note in notes:
        _LOG.warning("%s: %s", path, note)
    return OnnxModel(function, parameters, wants, given, outputs, tuple(notes), batch)


def _check_dtype(dtype: DTypeLike) -> None:
    """Refuses what no network is computed in."""
    known: Any
    try:
        known = jnp.dtype(dtype)
    except TypeError:
        known = dtype  # It is no type at all.
    if known not in (jnp.float32, jnp.float64) or jax.dtypes.canonicalize_dtype(known) != known:
        raise ValueError(f"dtype must be float32, or float64 with jax_enable_x64 switched on, got {known}")


def declared_inputs(path: str | os.PathLike[str]) -> tuple[Input, ...]:
    """Returns what an ONNX file says of its inputs, whatever else is in it.

    Args:
      path: of the file.

    Returns:
      The inputs.

    Raises:
      ValueError: it is no ONNX file.
      FileNotFoundError: there is no such file.

    Example:
      >>> declared_inputs("missing.onnx")
      Traceback (most recent call last):
      ...
      FileNotFoundError: missing.onnx: no such file
    """
    path = Path(path).expanduser()
    return Parser(path, {}, np.dtype("float32")).graph(read_model(path).graph).inputs


def _outputs(
    path: Path, graph: Graph, output: str | Sequence[str] | None, logits: bool, notes: list[str]
) -> tuple[str, ...]:
    """Returns the names of the values that the model returns."""
    producers = graph.producers
    names = (output,) if isinstance(output, str) else output
    names = graph.outputs if output is None else tuple(names) if isinstance(names, Iterable) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: output must be the name of a value in the graph, or several, got {output!r}")
    for name in names:
        if name not in producers:
            raise ValueError(f"{path}: {unknown('output', name, list(reversed(producers)))}")
    found = []
    for name in names:
        last = producers[name]
        while last.op in ("Identity", "Cast") and last.inputs[0] in producers:
            last = producers[last.inputs[0]]
        if last.op in _TO_PROBABILITIES and last.inputs[0] in producers and output is None:
            what = f"{last.op} {last.name!r} at the end"
            if logits:
                notes.append(f"{what} is left out, so that logits are explained")
                name = last.inputs[0]
            else:
                notes.append(f"{what}: relevance and gradients tell more without it, give logits=True")
        found.append(name)
    return tuple(found)


def _function(path: Path, graph: Graph) -> tuple[GraphFunction, dict[str, jax.Array]]:
    """Returns a graph as a function, and its parameters."""
    how, laid = how_names(graph), kernels(graph)
    chosen = {
        name: array
        for name, array in graph.arrays.items()
        if jnp.issubdtype(array.dtype, jnp.floating) and array.ndim and name not in how
    }
    orders = {name: laid.get(name, tuple(range(array.ndim))) for name, array in chosen.items()}
    parameters = {name: jnp.asarray(array.transpose(orders[name])) for name, array in chosen.items()}
    constants = {name: array for name, array in graph.arrays.items() if name not in chosen}
    pictures = picture_names(graph)
    function = GraphFunction(
        path.name,
        replace(graph, arrays={}),
        constants,
        orders,
        pictures,
        takes_channels_first(graph, pictures),
        depending(graph),
    )
    return function, parameters


def _traced(
    function: GraphFunction, given: Mapping[str, tuple[int, ...]], parameters: Any, more: int
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of all values for batches of so many times the given size."""
    dtypes = {each.name: jax.dtypes.canonicalize_dtype(each.dtype) for each in function.graph.inputs}
    images = {
        name: jax.ShapeDtypeStruct((more * shape[0], *shape[1:]) if shape else shape, dtypes[name])
        for name, shape in given.items()
    }
    shapes = dict[str, tuple[int, ...]]()

    def note_shapes(images: Any, parameters: Any) -> Any:
        values = function.values(images, parameters)
        shapes.update({name: value.shape for name, value in values.items()})

    jax.eval_shape(note_shapes, images, parameters)
    return shapes


def _fixed_batch(function: GraphFunction) -> int | None:
    """Returns the size of the batch that the file fixes."""
    declared = function.graph.inputs[0].shape
    size = declared[0] if declared else None
    return size if isinstance(size, int) else None


def _only_batch(
    function: GraphFunction,
    given: Mapping[str, tuple[int, ...]],
    parameters: Any,
    outputs: Mapping[str, tuple[int, ...]],
    notes: list[str],
) -> int | None:
    """Returns the size of the only batch that a graph takes, or None if it takes all."""
    size = _fixed_batch(function)
    if size is None:
        return None
    try:
        doubled = _traced(function, given, parameters, 2)
        if all(doubled[name] == (2 * shape[0], *shape[1:]) for name, shape in outputs.items() if shape):
            return None
    except ValueError:
        pass  # It is fixed in a way that is not understood.
    notes.append(f"it was exported for batches of {size}, and takes no others")
    return size
