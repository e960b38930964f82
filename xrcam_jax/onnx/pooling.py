"""Poolings: over windows, and over all places of a picture."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from xrcam_jax.onnx.convolution import Pairs, padding_of
from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.lengths import length
from xrcam_jax.onnx.values import Operator, on_pictures
from xrcam_jax.ops.dilated_max_pool import dilated_max_pool
from xrcam_jax.ops.max_pool import max_pool


class _Windows(NamedTuple):
    """Describes windows along the axes between the batch and the channels.

    Attributes:
      size: of a window.
      strides: from one to the next.
      dilation: from one place in a window to the next.
      padding: what is added on both sides, as the file says.
      more: what is added after that, for windows that stick out in ``ceil_mode``.
    """

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Pairs
    more: tuple[int, ...]

    @property
    def whole_padding(self) -> Pairs:
        return tuple((a, b + more) for (a, b), more in zip(self.padding, self.more, strict=True))

    def reduce(self, x: Array, start: Any, f: Any) -> Array:
        padding = ((0, 0), *self.whole_padding, (0, 0))
        one = (1,)
        return lax.reduce_window(
            x, start, f, one + self.size + one, one + self.strides + one, padding, None, one + self.dilation + one
        )


def _windows(node: Node, x: Array) -> _Windows:
    size, lengths = tuple(node.get("kernel_shape", ())), x.shape[1:-1]
    if len(size) != len(lengths):
        raise ValueError(f"its kernel_shape {list(size)} does not have {len(lengths)} axes")
    strides, dilation = (tuple(node.get(name, [1] * len(size))) for name in ("strides", "dilations"))
    reach = tuple(d * (n - 1) + 1 for n, d in zip(size, dilation, strict=True))
    padding = padding_of(node, lengths, reach, strides)
    more = [0] * len(size)
    if node.get("ceil_mode", 0):
        for i, (n, (before, after), span, step) in enumerate(zip(lengths, padding, reach, strides, strict=True)):
            windows = math.ceil((n + before + after - span) / step) + 1
            # A window that would begin in the padding behind the picture is none.
            windows -= (windows - 1) * step >= n + before
            more[i] = max((windows - 1) * step + span - n - before - after, 0)
    return _Windows(size, strides, dilation, padding, tuple(more))


def _max_pool(node: Node, x: Array) -> Array:
    windows = _windows(node, x)
    edges = {edge for pair in windows.whole_padding for edge in pair}
    alike = len(edges) == len({*windows.size}) == len({*windows.strides}) == 1
    if any(gap != 1 for gap in windows.dilation):
        return dilated_max_pool(
            jnp.asarray(x),
            window=windows.size,
            strides=windows.strides,
            dilation=windows.dilation,
            padding=windows.whole_padding,
        )
    if x.ndim == 4 and alike and 2 * min(edges) <= windows.size[0]:
        return max_pool(x, window=windows.size[0], stride=windows.strides[0], padding=min(edges))
    least = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    return windows.reduce(x, np.asarray(least, x.dtype)[()], lax.max)


def _counts(windows: _Windows, shape: tuple[int, ...], *, padded: bool) -> np.ndarray:
    """Returns how many places each window is the mean of, (1, ..., 1)."""
    counts = np.ones((1,) * (len(windows.size) + 2), np.float64)
    for axis, (n, size, step, gap, (before, after), more) in enumerate(
        zip(shape[1:-1], *windows, strict=True), start=1
    ):
        counted = np.ones(n)
        counted = np.pad(counted, (before, after), constant_values=float(padded))
        counted = np.pad(counted, (0, more))
        starts = np.arange(0, len(counted) - gap * (size - 1), step)
        seen = counted[starts[:, None] + gap * np.arange(size)].sum(1)
        counts = counts * seen.reshape([-1 if a == axis else 1 for a in range(counts.ndim)])
    return counts


def _average_pool(node: Node, x: Array) -> Array:
    """The mean of each window, over the picture alone or also over the padding around it."""
    windows = _windows(node, x)
    total = windows.reduce(x, np.zeros((), x.dtype)[()], lax.add)
    counts = _counts(windows, x.shape, padded=bool(node.get("count_include_pad", 0))).astype(x.dtype)
    # One number for all windows is read by rules as the count of a mean.
    return total / (counts.ravel()[0] if np.all(counts == counts.ravel()[0]) else counts)


def _lp_pool(node: Node, x: Array) -> Array:
    """(sum |x|^p)^(1/p) of each window."""
    p = node.get("p", 2)
    return length(_windows(node, x).reduce(_powers(x, p), np.zeros((), x.dtype)[()], lax.add), p)


def _powers(x: Array, p: int) -> Array:
    return jnp.square(x) if p == 2 else jnp.abs(x) ** p


def _places(x: Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim - 1))


def _global_lp_pool(node: Node, x: Array) -> Array:
    p = node.get("p", 2)
    return length(_powers(x, p).sum(_places(x), keepdims=True), p)


OPERATORS: dict[str, Operator] = {
    "MaxPool": on_pictures(_max_pool),
    "AveragePool": on_pictures(_average_pool),
    "LpPool": on_pictures(_lp_pool),
    "GlobalAveragePool": on_pictures(lambda node, x: x.mean(_places(x), keepdims=True)),
    "GlobalMaxPool": on_pictures(lambda node, x: x.max(_places(x), keepdims=True)),
    "GlobalLpPool": on_pictures(_global_lp_pool),
}
