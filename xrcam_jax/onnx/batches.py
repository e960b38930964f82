"""Batches for graphs that were exported for a single picture.

Such a graph says so wherever it reshapes: (1, 2048), (64, 49, 96) for the 64 windows of one picture, (17, 2, 8) for 17
tokens and 2 heads. So each node is computed picture by picture (``jax.vmap``). Those that treat the pictures of a batch
alike anyway, convolutions and whatever works element by element, are computed of the whole batch, in the place of the
axis that has length 1 in the file.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.operators import LIKE_THEIR_INPUTS, OF_PICTURES, SIZES
from xrcam_jax.onnx.values import Value, plain

Shape = tuple[int, ...]
#: Operators that treat all pictures of a batch alike.
ALIKE = OF_PICTURES | (LIKE_THEIR_INPUTS - {"Concat", "Split", "Slice", "Pad", "Resize", "Upsample"})


def of_each_picture(
    node: Node, inputs: list[Value | None], exported: Mapping[str, Shape], depending: frozenset[str], call: Callable
) -> tuple[Value, ...]:
    """Computes a node of each picture of a batch.

    Args:
      node: the node.
      inputs: what it reads. Of a value that is (1, ...) in the file, the batch is the first axis; of others it is one
        more axis before the first.
      exported: the shapes of all values for one picture, as the file has them.
      depending: the names of the values that depend on the pictures.
      call: computes a node of its inputs.

    Returns:
      What it makes, with the batch likewise.

    Example:
      >>> node = Node("r", "Reshape", "", 13, ("x", "s"), ("y",), {}, "r")
      >>> tokens, shape = plain(np.ones((4, 17, 2))), plain(np.array([17, 2, 1]))
      >>> reshape = lambda node, inputs: plain(inputs[0].array.reshape(inputs[1].array.tolist()))
      >>> exported = {"x": (17, 2), "y": (17, 2, 1)}
      >>> of_each_picture(node, [tokens, shape], exported, frozenset("xy"), reshape)[0].shape
      (4, 17, 2, 1)
    """
    if node.op in SIZES:
        return (call(node, [plain(np.broadcast_to(np.float32(0), exported[node.inputs[0]]))]),)
    if node.outputs[0] not in depending:
        return _several(call(node, inputs))
    pairs = list(zip(node.inputs, inputs, strict=True))
    shapes = {name: exported[name] for name in node.inputs if name in depending}
    ranks = {len(exported[name]) for name in node.outputs if name in exported} | {len(s) for s in shapes.values()}
    # A kernel that is made of a picture is that picture's alone.
    shared = node.op not in OF_PICTURES or depending.isdisjoint(node.inputs[1:])
    if node.op in ALIKE and shared and len(ranks) == 1 and all(shape[:1] == (1,) for shape in shapes.values()):
        return _several(call(node, inputs))
    batches = [_apart(value, exported[name]) for name, value in pairs if name in depending and value is not None]

    def of_one(*arrays: Any) -> tuple[Any, ...]:
        each = iter(arrays)
        given = [plain(next(each)) if name in depending else value for name, value in pairs]
        return tuple(jnp.asarray(value.plain) for value in _several(call(node, given)))

    return tuple(plain(array[:, 0] if array.shape[1:2] == (1,) else array) for array in jax.vmap(of_one)(*batches))


def _several(found: Any) -> tuple[Value, ...]:
    return found if isinstance(found, tuple) else (found,)


def _apart(value: Value, shape: Shape) -> Any:
    """Returns an array (batch, *shape)."""
    return value.plain.reshape(-1, *shape)
