"""Normalisations."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.lengths import length
from xrcam_jax.onnx.values import Operator, Value, broadcast, checked_axis, in_graphs_order, on_pictures


def _batch_norm(node: Node, x: Array, scale: Any, bias: Any, mean: Any, variance: Any) -> Array:
    """(x - μ) γ / sqrt(σ² + ε) + β, in training mode with μ and σ² of x itself."""
    if node.get("training_mode", 0):
        axes = tuple(range(x.ndim - 1))
        mean, variance = x.mean(axes), x.var(axes)
    return (x - mean) * (scale * lax.rsqrt(jnp.asarray(variance + node.get("epsilon", 1e-5)))) + bias


def _standardised(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """Returns (x - μ) / sqrt(σ² + ε), μ and 1 / sqrt(σ² + ε)."""
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    inverse = lax.rsqrt(jnp.square(centred).mean(axes, keepdims=True) + epsilon)
    return centred * inverse, mean, inverse


def _instance_norm(node: Node, x: Array, scale: Any, bias: Any) -> Array:
    return _standardised(x, tuple(range(1, x.ndim - 1)), node.get("epsilon", 1e-5))[0] * scale + bias


def _group_norm(node: Node, x: Array, scale: Any, bias: Any) -> Array:
    groups = node.get("num_groups")
    if x.shape[-1] % groups:
        raise ValueError(f"{x.shape[-1]} channels cannot be put into {groups} groups")
    split = x.reshape(*x.shape[:-1], groups, -1)
    found = _standardised(split, (*range(1, x.ndim - 1), x.ndim), node.get("epsilon", 1e-5))[0].reshape(x.shape)
    if node.opset < 21:
        # Scale and bias were those of groups.
        scale, bias = (jnp.repeat(jnp.asarray(each), x.shape[-1] // groups) for each in (scale, bias))
    return found * scale + bias


def _layer_norm(node: Node, x: Value, scale: Value, bias: Value | None = None) -> tuple[Value, Value, Value]:
    axes = sorted(x.at(axis) for axis in range(checked_axis(node.get("axis", -1), x.ndim), x.ndim))
    found, *statistics = _standardised(jnp.asarray(x.array), tuple(axes), node.get("epsilon", 1e-5))
    found = found * broadcast(scale, x.order)
    found = found if bias is None else found + broadcast(bias, x.order)
    return tuple(Value(array, x.order) for array in (found, *statistics))  # type: ignore[return-value]


def _local_response_norm(node: Node, x: Array) -> Array:
    """x / (bias + alpha / size · sum of the squares of the nearest channels)^beta."""
    size = node.get("size")
    before = (size - 1) // 2
    padding = ((0, 0),) * (x.ndim - 1) + ((before, size - 1 - before),)
    window = (1,) * (x.ndim - 1) + (size,)
    total = lax.reduce_window(jnp.square(x), np.zeros((), x.dtype)[()], lax.add, window, (1,) * x.ndim, padding)
    alpha, beta, bias = node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    return x / (bias + alpha / size * total) ** beta


def _lp_norm(node: Node, x: Array) -> Array:
    """x / ||x||_p, and 0 where the length is."""
    axis, p = checked_axis(node.get("axis", -1), x.ndim), node.get("p", 2)
    whole = jnp.abs(x).sum(axis, keepdims=True) if p == 1 else length(jnp.square(x).sum(axis, keepdims=True))
    return x / jnp.where(whole == 0, 1, whole)


def _mean_variance_norm(node: Node, x: Array) -> Array:
    axes = tuple(checked_axis(axis, x.ndim) for axis in node.get("axes", [0, 2, 3]))
    centred = x - x.mean(axes, keepdims=True)
    return centred / (length(jnp.square(centred).mean(axes, keepdims=True)) + 1e-9)


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": on_pictures(_batch_norm),
    "InstanceNormalization": on_pictures(_instance_norm),
    "GroupNormalization": on_pictures(_group_norm),
    "LayerNormalization": _layer_norm,
    "LRN": on_pictures(_local_response_norm),
    "LpNormalization": in_graphs_order(_lp_norm),
    "MeanVarianceNormalization": in_graphs_order(_mean_variance_norm),
}
