"""Shapes: what asks for them, and what changes them without changing numbers."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.values import (
    Operator,
    Value,
    channels_last,
    checked_axis,
    in_graphs_order,
    inverse,
    library,
    numbers,
    on_pictures,
    plain,
    pointwise,
    static,
)


def _shape(node: Node, x: Value) -> Value:
    return plain(np.array(x.shape[node.get("start", 0) : node.get("end")], np.int64))


def _reshape(node: Node, x: Value, shape: Value) -> Value:
    wanted = numbers(shape, "shape")
    if not node.get("allowzero", 0):
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return plain(x.plain.reshape(wanted))


def _flatten(node: Node, x: Value) -> Value:
    axis = node.get("axis", 1)
    axis = axis if axis >= 0 else axis + x.ndim
    return plain(x.plain.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def _transpose(node: Node, x: Value) -> Value:
    """Moves no numbers where what comes out is stored in the graph's order, or is a picture with its channels last."""
    moved = node.get("perm", tuple(reversed(range(x.ndim))))
    where = inverse(moved)
    found = Value(x.array, tuple(where[axis] for axis in x.order))
    kept = (tuple(range(x.ndim)), *((channels_last(x.ndim),) if x.ndim > 3 else ()))
    return found if found.order in kept else plain(found.plain)


def _axes(node: Node, given: Value | None) -> list[int] | None:
    return node.get("axes") if given is None else numbers(given, "axes")


def _squeeze(node: Node, x: Value, axes: Value | None = None) -> Value:
    wanted = _axes(node, axes)
    ones = [i for i, n in enumerate(x.shape) if n == 1]
    gone = ones if wanted is None else [checked_axis(axis, x.ndim) for axis in wanted]
    array = library(x.array).squeeze(x.array, tuple(x.at(axis) for axis in gone))
    return Value(array, x.without(gone))


def _unsqueeze(node: Node, x: Value, axes: Value | None = None) -> Value:
    wanted = _axes(node, axes)
    if wanted is None:
        raise ValueError("its axes are missing")
    new = [checked_axis(axis, x.ndim + len(wanted)) for axis in wanted]
    return plain(library(x.array).expand_dims(x.plain, tuple(new)))


def _expand(node: Node, x: Value, shape: Value) -> Value:
    wanted = np.broadcast_shapes(x.shape, tuple(numbers(shape, "shape")))
    return plain(library(x.array).broadcast_to(x.plain, wanted))


def _tile(node: Node, x: Value, repeats: Value) -> Value:
    return plain(library(x.array).tile(x.plain, numbers(repeats, "repeats")))


def _constant_of_shape(node: Node, shape: Value) -> Value:
    value = node.get("value")
    return plain(np.full(numbers(shape, "shape"), value.ravel()[0], value.dtype))


def _range(node: Node, start: Value, limit: Value, step: Value) -> Value:
    bounds = [static(value, "range").ravel()[0] for value in (start, limit, step)]
    return plain(np.arange(*bounds, dtype=bounds[0].dtype))


def _dropout(node: Node, x: Value, ratio: Value | None = None, training: Value | None = None) -> Any:
    if training is not None and static(training, "training_mode").any():
        raise ValueError("it is in training mode; export the network for inference")
    if len([name for name in node.outputs if name]) == 1:
        return x
    return x, Value(np.ones(x.array.shape, bool), x.order)


def _depth_to_space(node: Node, x: Any) -> Any:
    """Moves blocks of channels to squares of pixels: (b, h, w, n · n · c) to (b, h · n, w · n, c)."""
    n, (b, h, w, _) = node.get("blocksize"), x.shape
    if node.get("mode", "DCR") == "DCR":
        split = x.reshape(b, h, w, n, n, -1).transpose(0, 1, 3, 2, 4, 5)
    else:
        split = x.reshape(b, h, w, -1, n, n).transpose(0, 1, 4, 2, 5, 3)
    return split.reshape(b, h * n, w * n, -1)


def _space_to_depth(node: Node, x: Any) -> Any:
    n, (b, h, w, c) = node.get("blocksize"), x.shape
    split = x.reshape(b, h // n, n, w // n, n, c).transpose(0, 1, 3, 2, 4, 5)
    return split.reshape(b, h // n, w // n, n * n * c)


def _col2im(node: Node, columns: Value, image: Value, block: Value) -> Value:
    """Puts windows (b, c · taps, windows) back into pictures, where they overlap added up: PyTorch's fold."""
    lengths, taps = numbers(image, "image_shape"), numbers(block, "block_shape")
    n = len(lengths)
    strides, dilations, pads = (
        node.get(k, [v] * m) for k, v, m in (("strides", 1, n), ("dilations", 1, n), ("pads", 0, 2 * n))
    )
    padded = [sum(each) for each in zip(lengths, pads[:n], pads[n:], strict=True)]
    counts = [(p - d * (k - 1) - 1) // s + 1 for p, k, s, d in zip(padded, taps, strides, dilations, strict=True)]
    windows = jnp.asarray(columns.plain)
    windows = windows.reshape(len(windows), -1, math.prod(taps), *counts)
    spread = []
    for number, tap in enumerate(np.ndindex(*taps)):
        begins = [d * i for d, i in zip(dilations, tap, strict=True)]
        places = [
            (begin, p - begin - s * (count - 1) - 1, s - 1)
            for begin, p, s, count in zip(begins, padded, strides, counts, strict=True)
        ]
        spread.append(lax.pad(windows[:, :, number], windows.dtype.type(0), [(0, 0, 0), (0, 0, 0), *places]))
    inside = (slice(before, before + length) for before, length in zip(pads, lengths, strict=False))
    return plain(sum(spread[1:], spread[0])[:, :, *inside])


def _one_hot(node: Node, places: Any, depth: Any, values: Any) -> Any:
    count, axis = int(np.asarray(depth).ravel()[0]), checked_axis(node.get("axis", -1), places.ndim + 1)
    places = jnp.expand_dims(jnp.where(places < 0, places + count, places), axis)
    along = jnp.arange(count).reshape([-1 if i == axis else 1 for i in range(places.ndim)])
    return jnp.where(places == along, values[1], values[0])


def _triangle(node: Node, x: Any, k: Any = None) -> Any:
    number, diagonal = library(x), 0 if k is None else int(np.asarray(k).ravel()[0])
    return number.triu(x, diagonal) if node.get("upper", 1) else number.tril(x, diagonal)


OPERATORS: dict[str, Operator] = {
    "Shape": _shape,
    "Size": lambda node, x: plain(np.array(math.prod(x.shape), np.int64)),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "Tile": _tile,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Dropout": _dropout,
    "Identity": pointwise(lambda node, x: x),
    "DepthToSpace": on_pictures(_depth_to_space),
    "SpaceToDepth": on_pictures(_space_to_depth),
    "Col2Im": _col2im,
    "OneHot": in_graphs_order(_one_hot),
    "Trilu": in_graphs_order(_triangle),
}
