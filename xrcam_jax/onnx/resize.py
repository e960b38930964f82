"""Resizing: along each axis a product with a matrix of interpolation weights, or a choice of nearest places."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.values import Operator, Value, checked_axis, numbers, static

_BEFORE_11 = "asymmetric"


def _places(mode: str, count: int, n: int, scale: float) -> np.ndarray:
    """Returns where each of ``count`` places of the result lies among the ``n`` of the input."""
    i = np.arange(count, dtype=np.float64)
    if mode == "align_corners":
        # As onnxruntime does: the corners are those of the result, which has a whole number of places.
        return i * 0 if count == 1 else i * (n - 1) / (count - 1)
    if mode == "asymmetric":
        return i / scale
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if mode == "pytorch_half_pixel" and count == 1:
        return i * 0
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (i + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        return n / 2 * (1 - count / (scale * n)) + (i + 0.5) / scale - 0.5
    raise ValueError(f"coordinate_transformation_mode is {mode!r}, which is not supported")


def _rounded(places: np.ndarray, mode: str) -> np.ndarray:
    rounding: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "round_prefer_floor": lambda x: np.ceil(x - 0.5),
        "round_prefer_ceil": lambda x: np.floor(x + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if mode not in rounding:
        raise ValueError(f"nearest_mode is {mode!r}, which ONNX has not")
    return rounding[mode](places).astype(int)


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.clip(1 - np.abs(distance), 0, 1)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _weights(node: Node, places: np.ndarray, n: int, scale: float) -> np.ndarray:
    """Returns the matrix (places of the result, places of the input) of an interpolation."""
    cubic, narrow = node.get("mode") == "cubic", node.get("antialias", 0) and scale < 1
    shrink = scale if narrow else 1.0
    reach = math.ceil((2 if cubic else 1) / shrink)
    taps = np.floor(places).astype(int)[:, None] + np.arange(1 - reach, reach + 1)
    distance = (taps - places[:, None]) * shrink
    found = _cubic(distance, node.get("cubic_coeff_a", -0.75)) if cubic else _triangle(distance)
    if node.get("exclude_outside", 0):
        found = np.where((taps < 0) | (taps >= n), 0, found)
    found = found / found.sum(1, keepdims=True)
    weights = np.zeros((len(places), n))
    np.add.at(weights, (np.arange(len(places))[:, None], np.clip(taps, 0, n - 1)), found)
    return weights


def _along(node: Node, x: Any, axis: int, count: int, scale: float) -> Any:
    n = x.shape[axis]
    if count == n and scale == 1:
        return x
    old = node.op == "Upsample" or node.opset < 11
    places = _places(_BEFORE_11 if old else node.get("coordinate_transformation_mode", "half_pixel"), count, n, scale)
    if node.get("mode", "nearest") == "nearest":
        index = np.clip(_rounded(places, "floor" if old else node.get("nearest_mode", "round_prefer_floor")), 0, n - 1)
        factor = count // n
        if factor and np.array_equal(index, np.arange(count) // factor):
            return jnp.repeat(x, factor, axis)
        return jnp.take(x, index, axis)
    if node.get("mode") not in ("linear", "cubic"):
        raise ValueError(f"mode is {node.get('mode')!r}, which is not supported")
    weights = _weights(node, places, n, scale).astype(x.dtype)
    return jnp.moveaxis(jnp.tensordot(x, weights, ((axis,), (1,))), -1, axis)


def _lengths(node: Node, shape: list[int], scales: list[float], sizes: list[int]) -> tuple[list[int], list[float]]:
    """Returns the lengths of the result's axes, and by how much each grows."""
    if not sizes:
        # Scales are float32, and so is the product in onnxruntime: 10 places times 0.7 are 7, as in PyTorch, not 6.
        return [math.floor(np.float32(n) * np.float32(scale)) for n, scale in zip(shape, scales, strict=True)], scales
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    scales = [size / n for size, n in zip(sizes, shape, strict=True)]
    if policy == "stretch":
        return sizes, scales
    scale = min(scales) if policy == "not_larger" else max(scales)
    return [math.floor(scale * n + 0.5) for n in shape], [scale] * len(shape)


def _resize(
    node: Node, x: Value, roi: Value | None = None, scales: Value | None = None, sizes: Value | None = None
) -> Value:
    if node.opset < 11:
        scales = roi
    axes = [checked_axis(axis, x.ndim) for axis in node.get("axes", range(x.ndim))]
    factors = [] if scales is None else [float(factor) for factor in static(scales, "scales").ravel()]
    wanted = [] if sizes is None else numbers(sizes, "sizes")
    if len(factors or wanted) != len(axes):
        raise ValueError(f"it has neither scales nor sizes for each of {len(axes)} axes")
    lengths, factors = _lengths(node, [x.shape[axis] for axis in axes], factors, wanted)
    array = jnp.asarray(x.array)
    for axis, count, factor in zip(axes, lengths, factors, strict=True):
        array = _along(node, array, x.at(axis), count, factor)
    return Value(array, x.order)


OPERATORS: dict[str, Operator] = {"Resize": _resize, "Upsample": _resize}
