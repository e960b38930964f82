"""Reductions: one number of many along axes, and cumulative sums."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.lengths import length
from xrcam_jax.onnx.values import Operator, Value, checked_axis, in_graphs_order, library, numbers


def _reduction(f: Callable[..., Any]) -> Callable[..., Value]:
    """Turns a function of (library, array, axes, whether they are kept) into an operator."""

    def operator(node: Node, x: Value, axes: Value | None = None) -> Value:
        given = node.get("axes") if axes is None else numbers(axes, "axes")
        if not given and node.get("noop_with_empty_axes", 0):
            return x
        gone = [checked_axis(axis, x.ndim) for axis in given] if given else list(range(x.ndim))
        kept = bool(node.get("keepdims", 1))
        found = f(library(x.array), x.array, tuple(sorted(x.at(axis) for axis in gone)), kept)
        return Value(found, x.order if kept else x.without(gone))

    return operator


def _mean(number: Any, x: Any, axes: tuple[int, ...], kept: bool) -> Any:
    return number.mean(x, axes, keepdims=kept).astype(x.dtype)


def _l2(number: Any, x: Any, axes: tuple[int, ...], kept: bool) -> Any:
    return length(number.sum(number.square(x), axes, keepdims=kept))


def _log_sum_exp(number: Any, x: Any, axes: tuple[int, ...], kept: bool) -> Any:
    return jax.nn.logsumexp(jnp.asarray(x), axes, keepdims=kept)


def _sum(number: Any, x: Any, axes: tuple[int, ...], kept: bool) -> Any:
    return number.sum(x, axes, keepdims=kept, dtype=x.dtype)


def _cumulative_sum(node: Node, x: Any, axis: Any) -> Any:
    number, along = library(x), checked_axis(int(np.asarray(axis).ravel()[0]), x.ndim)
    x = number.flip(x, along) if node.get("reverse", 0) else x
    found = number.cumsum(x, along, dtype=x.dtype)
    found = found - x if node.get("exclusive", 0) else found
    return number.flip(found, along) if node.get("reverse", 0) else found


OPERATORS: dict[str, Operator] = {
    "ReduceMean": _reduction(_mean),
    "ReduceSum": _reduction(_sum),
    "ReduceMax": _reduction(lambda number, x, axes, kept: number.max(x, axes, keepdims=kept)),
    "ReduceMin": _reduction(lambda number, x, axes, kept: number.min(x, axes, keepdims=kept)),
    "ReduceProd": _reduction(lambda number, x, axes, kept: number.prod(x, axes, keepdims=kept, dtype=x.dtype)),
    "ReduceL1": _reduction(lambda number, x, axes, kept: _sum(number, number.abs(x), axes, kept)),
    "ReduceL2": _reduction(_l2),
    "ReduceSumSquare": _reduction(lambda number, x, axes, kept: _sum(number, number.square(x), axes, kept)),
    "ReduceLogSum": _reduction(lambda number, x, axes, kept: number.log(_sum(number, x, axes, kept))),
    "ReduceLogSumExp": _reduction(_log_sum_exp),
    "CumSum": in_graphs_order(_cumulative_sum),
}
