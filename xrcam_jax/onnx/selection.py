"""Putting together, cutting out and picking: operators whose result has the numbers of their inputs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.values import (
    Operator,
    Value,
    checked_axis,
    common_order,
    in_graphs_order,
    library,
    numbers,
    plain,
    static,
)


def _concat(node: Node, *values: Value) -> Value:
    order = common_order(values)
    arrays = [value.laid(order).array for value in values]
    axis = order.index(checked_axis(node.get("axis"), len(order)))
    return Value(library(*arrays).concatenate(arrays, axis), order)


def _split(node: Node, x: Value, lengths: Value | None = None) -> tuple[Value, ...]:
    axis = checked_axis(node.get("axis", 0), x.ndim)
    count, n = len(node.outputs), x.shape[axis]
    sizes = node.get("split") if lengths is None else numbers(lengths, "split")
    if not sizes:
        each = -(-n // count)
        sizes = [min(each, n - i * each) for i in range(count)]
    if sum(sizes) != n or len(sizes) != count:
        raise ValueError(f"it splits {n} into {sizes} for {count} outputs")
    ends = np.cumsum(sizes)
    return tuple(_part(x, axis, end - size, end, 1) for size, end in zip(sizes, ends, strict=True))


def _part(x: Value, axis: int, start: int | None, stop: int | None, step: int) -> Value:
    parts = [slice(None)] * x.ndim
    parts[x.at(axis)] = slice(start, stop, step)
    return Value(x.array[tuple(parts)], x.order)


def _slice(
    node: Node,
    x: Value,
    starts: Value | None = None,
    ends: Value | None = None,
    axes: Value | None = None,
    steps: Value | None = None,
) -> Value:
    if node.opset < 10:
        begin, end = node.get("starts"), node.get("ends")
        along, by = node.get("axes"), None
    else:
        begin, end = numbers(starts, "starts"), numbers(ends, "ends")
        along = None if axes is None else numbers(axes, "axes")
        by = None if steps is None else numbers(steps, "steps")
    along, by = along or range(len(begin)), by or [1] * len(begin)
    for first, last, axis, step in zip(begin, end, along, by, strict=True):
        # A slice of Python's that goes backwards cannot say that it ends before the first place.
        n = x.shape[checked_axis(axis, x.ndim)]
        x = _part(x, axis, first, None if step < 0 and last < -n else last, step)
    return x


_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def _pad(
    node: Node, x: Value, pads: Value | None = None, value: Value | None = None, axes: Value | None = None
) -> Value:
    given = numbers(pads, "pads") if node.opset >= 11 else node.get("pads")
    along = range(x.ndim) if axes is None else numbers(axes, "axes")
    mode, half = node.get("mode", "constant"), len(given) // 2
    if mode not in _MODES:
        raise ValueError(f"mode is {mode!r}, which ONNX has not")
    fill = node.get("value", 0.0) if node.opset < 11 or value is None else static(value, "constant_value").ravel()[0]
    pairs = [(0, 0)] * x.ndim
    for axis, before, after in zip(along, given[:half], given[half:], strict=True):
        pairs[x.at(axis)] = (before, after)
    if mode == "constant" and library(x.array) is jnp:
        # Fewer than no places are cut off, which NumPy's pad cannot do.
        padding = [(before, after, 0) for before, after in pairs]
        return Value(lax.pad(x.array, jnp.asarray(fill, x.array.dtype), padding), x.order)
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, x.array.shape, strict=True))
    added = [(max(a, 0), max(b, 0)) for a, b in pairs]
    fills = {"constant_values": fill} if mode == "constant" else {}
    return Value(library(x.array).pad(x.array[cut], added, mode=_MODES[mode], **fills), x.order)


def _check_places(places: Any, n: int) -> None:
    """Refuses places that an axis does not have, for which JAX would take the last one; of pictures none is known."""
    if library(places) is np:
        missing = places[(places < -n) | (places >= n)]
        if missing.size:
            raise ValueError(f"there is no place {missing.flat[0]} among {n}")


def _gather(node: Node, x: Value, places: Value) -> Value:
    axis = checked_axis(node.get("axis", 0), x.ndim)
    _check_places(places.array, x.shape[axis])
    if library(places.array) is np and places.ndim == 0:
        place = int(places.array)
        index = [slice(None)] * x.ndim
        index[x.at(axis)] = place if place >= 0 else place + x.shape[axis]  # type: ignore[call-overload]
        return Value(x.array[tuple(index)], x.without([axis]))
    where, n = places.plain, x.shape[axis]
    number = library(x.array, where)
    where = number.where(where < 0, where + n, where)
    return plain(number.take(x.plain, where, axis))


def _gather_elements(node: Node, x: Any, places: Any) -> Any:
    axis = checked_axis(node.get("axis", 0), x.ndim)
    _check_places(places, x.shape[axis])
    number = library(x, places)
    places = number.where(places < 0, places + x.shape[axis], places)
    if x.shape == places.shape:
        return number.take_along_axis(x, places, axis)
    grid = list(np.indices(places.shape, sparse=True))
    grid[axis] = places
    return x[tuple(grid)]


def _index(places: Any, batches: int, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Returns what NumPy picks by from an array of a shape, for the last axis of ``places``."""
    inner, batch = places.ndim - 1 - batches, shape[:batches]
    ahead = [np.arange(n).reshape([-1 if i == j else 1 for j in range(batches + inner)]) for i, n in enumerate(batch)]
    along = [places[..., i] for i in range(places.shape[-1])]
    for each, n in zip(along, shape[batches:], strict=False):
        _check_places(each, n)
    return (*ahead, *along)


def _gather_nd(node: Node, x: Any, places: Any) -> Any:
    batches = node.get("batch_dims", 0)
    return x[_index(places, batches, x.shape)]


def _scatter(node: Node, x: Any, index: tuple[Any, ...], updates: Any) -> Any:
    changed = jnp.asarray(x).at[index]
    methods = {"none": "set", "add": "add", "mul": "multiply", "max": "max", "min": "min"}
    return getattr(changed, methods[node.get("reduction", "none")])(updates)


def _scatter_nd(node: Node, x: Any, places: Any, updates: Any) -> Any:
    if library(x, places, updates) is np and node.get("reduction", "none") == "none":
        x = x.copy()
        x[_index(places, 0, x.shape)] = updates
        return x
    return _scatter(node, x, _index(places, 0, x.shape), updates)


def _scatter_elements(node: Node, x: Any, places: Any, updates: Any) -> Any:
    axis = checked_axis(node.get("axis", 0), x.ndim)
    _check_places(places, x.shape[axis])
    grid: list[Any] = list(np.indices(places.shape, sparse=True))
    grid[axis] = places
    return _scatter(node, x, tuple(grid), updates)


def _top_k(node: Node, x: Any, k: Any) -> tuple[Any, Any]:
    axis, count = checked_axis(node.get("axis", -1), x.ndim), int(np.asarray(k).ravel()[0])
    moved = jnp.moveaxis(jnp.asarray(x), axis, -1)
    largest = node.get("largest", 1)
    values, places = jax.lax.top_k(moved if largest else -moved, count)
    values = values if largest else -values
    return jnp.moveaxis(values, -1, axis), jnp.moveaxis(places, -1, axis)


def _extreme_at(node: Node, x: Any, *, name: str) -> Any:
    number, axis = library(x), checked_axis(node.get("axis", 0), x.ndim)
    if node.get("select_last_index", 0):
        found = x.shape[axis] - 1 - getattr(number, name)(number.flip(x, axis), axis)
    else:
        found = getattr(number, name)(x, axis)
    return number.expand_dims(found, axis) if node.get("keepdims", 1) else found


def _nonzero(node: Node, x: Value) -> Value:
    return plain(np.array(np.nonzero(static(x, "input")), np.int64))


OPERATORS: dict[str, Operator] = {
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Gather": _gather,
    "GatherElements": in_graphs_order(_gather_elements),
    "GatherND": in_graphs_order(_gather_nd),
    "ScatterND": in_graphs_order(_scatter_nd),
    "ScatterElements": in_graphs_order(_scatter_elements),
    "TopK": in_graphs_order(_top_k),
    "ArgMax": in_graphs_order(lambda node, x: _extreme_at(node, x, name="argmax")),
    "ArgMin": in_graphs_order(lambda node, x: _extreme_at(node, x, name="argmin")),
    "NonZero": _nonzero,
}
