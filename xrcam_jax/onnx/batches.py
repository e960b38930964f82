"""Batches of another size than that for which a graph was written.

A graph exported for one picture says so wherever it reshapes: (1, 2048), or (64, 49, 96) for the 64 windows of one
picture. In all of these the batch, or the batch and what is nested in it, is the first axis.
"""

from collections.abc import Collection, Sequence

import numpy as np

from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.values import Value, numbers, plain


def opened(
    node: Node, inputs: Sequence[Value | None], constants: Collection[str], more: int
) -> list[Value | None]:
    """Returns what a node that depends on pictures reads, for a batch of so many times the declared size.

    Args:
      node: the node.
      inputs: what it reads.
      constants: names of the values that the file fixes.
      more: by what factor the batch is larger.

    Returns:
      The inputs, with a larger first axis where the file fixes it.

    Example:
      >>> import numpy as np
      >>> node = Node("r", "Reshape", "", 13, ("x", "s"), ("y",), {}, "r")
      >>> x, shape = plain(np.ones((4, 3, 2))), plain(np.array([1, 6]))
      >>> opened(node, [x, shape], {"s"}, 4)[1].array.tolist()
      [4, 6]
    """
    inputs = list(inputs)
    if node.op in ("Reshape", "Expand") and node.inputs[1] in constants:
        first, *rest = numbers(inputs[1], "shape") or [0]
        if first > 0:
            inputs[1] = plain(np.array([first * more, *rest], np.int64))
    if node.op == "Concat":
        known = [value for value in inputs if value is not None]
        lengths = {value.shape[0] for value in known if value.ndim}
        if node.get("axis") != 0 and len(lengths) == 2 and max(lengths) == more * min(lengths):
            inputs = [value and _repeated(value, max(lengths)) for value in inputs]
    return inputs


def _repeated(value: Value, length: int) -> Value:
    """Returns a value whose first axis is repeated, as a class token that is the same for all pictures."""
    where, times = value.at(0), length // value.shape[0]
    array = value.array
    return value if times == 1 else Value(array.repeat(times, where), value.order)
