"""What values of a graph are for: which are known before it runs, which are pictures, which depend on its inputs."""

from xrcam_jax.onnx.convolution import kernel_order
from xrcam_jax.onnx.graph import Graph, Input, all_nodes
from xrcam_jax.onnx.layout import names_with_channels, spread
from xrcam_jax.onnx.operators import HOW, SIZES
from xrcam_jax.onnx.resize import OPERATORS as RESIZES


def how_names(graph: Graph) -> frozenset[str]:
    """Returns the names of the values that say how something is done, such as shapes and scales, and not what.

    Args:
      graph: any graph.

    Returns:
      The names.

    Example:
      >>> from xrcam_jax.onnx.graph import Graph, Node
      >>> nodes = (
      ...     Node("c", "Concat", "", 13, ("one", "n"), ("scales",), {}, "c"),
      ...     Node("u", "Upsample", "", 9, ("x", "scales"), ("y",), {}, "u"),
      ... )
      >>> sorted(how_names(Graph(nodes, (), ("y",), {})))
      ['n', 'one', 'scales']
    """
    found = {name for node in all_nodes(graph) if node.op in HOW for name in node.inputs[HOW[node.op] :] if name}
    for node in reversed(list(all_nodes(graph))):
        if found.intersection(node.outputs) and node.op not in SIZES:
            found.update(node.reads)
    return frozenset(found)


def kernels(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Returns the order in which kernels of convolutions are stored, by their names.

    Args:
      graph: any graph.

    Returns:
      The orders, of arrays that are nothing but kernels.

    Example:
      >>> from xrcam_jax.onnx.graph import Graph, Node
      >>> import numpy as np
      >>> conv = Node("c", "Conv", "", 13, ("x", "w"), ("y",), {}, "c")
      >>> kernels(Graph((conv,), (), ("y",), {"w": np.ones((5, 3, 1, 1))}))
      {'w': (2, 3, 1, 0)}
    """
    as_kernel = {node.inputs[1] for node in all_nodes(graph) if node.op == "Conv"}
    otherwise = {
        name for node in all_nodes(graph) for i, name in enumerate(node.reads) if not (node.op == "Conv" and i == 1)
    }
    return {
        name: kernel_order(array.ndim)
        for name, array in graph.arrays.items()
        if name in as_kernel - otherwise and array.ndim > 2
    }


def picture_names(graph: Graph) -> frozenset[str]:
    """Returns the names of the values that are pictures (b, c, ...): what convolutions and their like make and read.

    What resizes the second axis, and not the last one, is of pictures with their channels last.

    Args:
      graph: any graph.

    Returns:
      The names.

    Example:
      >>> from xrcam_jax.onnx.graph import Graph, Node
      >>> nodes = (
      ...     Node("r", "Relu", "", 13, ("x",), ("a",), {}, "r"),
      ...     Node("c", "Conv", "", 13, ("a", "w"), ("y",), {}, "c"),
      ... )
      >>> sorted(picture_names(Graph(nodes, (), ("y",), {})))
      ['a', 'x', 'y']
    """
    found, last = names_with_channels("first", graph), names_with_channels("last", graph)
    # ONNX resizes pictures with their channels first, unless something else is known of them.
    last |= spread({each.name for each in graph.inputs if _ends_in_channels(each)}, graph)
    resized = {name for node in graph.nodes if node.op in RESIZES for name in (node.inputs[0], *node.outputs)}
    return spread(found | (resized - last), graph)


def _ends_in_channels(described: Input) -> bool:
    shape = described.shape or ()
    return len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)


def takes_channels_first(graph: Graph, pictures: frozenset[str]) -> frozenset[str]:
    """Returns the names of the inputs that are pictures with their channels first.

    Args:
      graph: any graph.
      pictures: the names of the values that convolutions and their like make and read.

    Returns:
      The names. Of an input of which no node tells, the channels are first if 1 or 3 is the length of that axis and
      not that of the last one.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.onnx.graph import Input
      >>> inputs = tuple(Input(n, s, np.dtype("float32")) for n, s in (("x", (1, 3, 8, 8)), ("y", (1, 8, 8, 3))))
      >>> sorted(takes_channels_first(Graph((), inputs, (), {}), frozenset()))
      ['x']
    """
    found = {each.name for each in graph.inputs if each.name in pictures}
    last = names_with_channels("last", graph)
    for each in graph.inputs:
        shape = each.shape or ()
        if len(shape) == 4 and each.name not in last and shape[1] in (1, 3) and shape[3] not in (1, 3):
            found.add(each.name)
    return frozenset(found)


def depending(graph: Graph) -> frozenset[str]:
    """Returns the names of the values that depend on the inputs, other than by their sizes.

    Args:
      graph: any graph.

    Returns:
      The names.

    Example:
      >>> from xrcam_jax.onnx.graph import Graph, Input, Node
      >>> import numpy as np
      >>> nodes = [Node(y, op, "", 13, (x,), (y,), {}, y) for y, op, x in (("a", "Relu", "x"), ("s", "Shape", "a"))]
      >>> sorted(depending(Graph(tuple(nodes), (Input("x", None, np.dtype("float32")),), ("a", "s"), {})))
      ['a', 'x']
    """
    found = {each.name for each in graph.inputs}
    for node in all_nodes(graph):
        if node.op not in SIZES and found.intersection(node.reads):
            found.update(node.outputs)
    return frozenset(found)
