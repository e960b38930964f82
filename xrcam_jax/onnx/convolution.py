"""Convolutions and their transposes, along any number of axes."""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.values import Operator, Value, channels_last
from xrcam_jax.ops.grouped_conv import grouped_conv
from xrcam_jax.ops.pointwise_conv import pointwise_conv

Pairs = tuple[tuple[int, int], ...]


def kernel_order(ndim: int) -> tuple[int, ...]:
    """Returns the order in which a kernel of a convolution, which ONNX has as (o, i, h, w), is stored: (h, w, i, o).

    Args:
      ndim: how many axes it has.

    Returns:
      The order.

    Example:
      >>> kernel_order(4)
      (2, 3, 1, 0)
    """
    return (*range(2, ndim), 1, 0)


def padding_of(node: Node, lengths: tuple[int, ...], reach: tuple[int, ...], strides: tuple[int, ...]) -> Pairs:
    """Returns what is added on both sides of each axis that a window slides along.

    Args:
      node: with the attributes ``auto_pad`` and ``pads``.
      lengths: of these axes.
      reach: how far a window reaches along each.
      strides: from one window to the next.

    Returns:
      For each axis, how much is added before and after it.

    Raises:
      ValueError: ``auto_pad`` or ``pads`` are none that ONNX has.

    Example:
      >>> node = Node("c", "Conv", "", 13, (), (), {"auto_pad": "SAME_LOWER"}, "c")
      >>> padding_of(node, (4, 5), (3, 3), (2, 2))
      ((1, 0), (1, 1))
    """
    mode = node.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = node.get("pads", [0] * 2 * len(lengths))
        if len(pads) != 2 * len(lengths):
            raise ValueError(f"pads {pads} are not two for each of {len(lengths)} axes")
        return tuple(zip(pads[: len(lengths)], pads[len(lengths) :], strict=True))
    if mode == "VALID":
        return ((0, 0),) * len(lengths)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad is {mode!r}, which ONNX has not")
    added = (
        max((math.ceil(n / step) - 1) * step + size - n, 0)
        for n, size, step in zip(lengths, reach, strides, strict=True)
    )
    halves = ((total // 2, total - total // 2) for total in added)
    return tuple(pair if mode == "SAME_UPPER" else pair[::-1] for pair in halves)


def _conv(node: Node, x: Value, kernel: Value, bias: Value | None = None) -> Value:
    """z[o] = sum_{i, taps} w[o, i, taps] x[i, places] + b[o]."""
    last, spatial = channels_last(x.ndim), x.ndim - 2
    w = jnp.asarray(kernel.laid(kernel_order(kernel.ndim)).array)
    strides, dilation = (tuple(node.get(name, [1] * spatial)) for name in ("strides", "dilations"))
    reach = tuple(d * (n - 1) + 1 for n, d in zip(w.shape, dilation, strict=False))
    lengths = tuple(x.shape[2:])
    z = convolve(
        jnp.asarray(x.laid(last).array),
        w,
        strides=strides,
        padding=padding_of(node, lengths, reach, strides),
        dilation=dilation,
        groups=node.get("group", 1),
    )
    return Value(z if bias is None else z + bias.array, last)


def convolve(x: Array, w: Array, *, strides: Any, padding: Pairs, dilation: Any, groups: int) -> Array:
    """Convolves along any number of axes, by the package's own operations where they are of pictures.

    Args:
      x: (b, ..., i).
      w: (..., i / groups, o), of the dtype of ``x``.
      strides: along each axis.
      padding: before and after each axis.
      dilation: of the taps along each axis.
      groups: of channels.

    Returns:
      (b, ..., o).

    Example:
      >>> import jax.numpy as jnp
      >>> x, w = jnp.arange(4.0).reshape(1, 4, 1), jnp.ones((2, 1, 1))
      >>> convolve(x, w, strides=(1,), padding=((0, 0),), dilation=(1,), groups=1).ravel().tolist()
      [1.0, 3.0, 5.0]
    """
    spatial = x.ndim - 2
    if w.shape[spatial] * groups != x.shape[-1]:
        raise ValueError(f"its kernel is for {w.shape[spatial] * groups} channels, and x has {x.shape[-1]}")
    nothing = not any(any(pair) for pair in padding)
    if spatial == 2 and w.shape[:2] == (1, 1) and groups == 1 and nothing and strides[0] == strides[1]:
        return pointwise_conv(x, w, stride=strides[0])
    if spatial == 2 and min(min(pair) for pair in padding) >= 0:
        return grouped_conv(x, w, strides=strides, padding=padding, dilation=dilation, groups=groups)
    letters = "DHW"[3 - spatial :] if spatial <= 3 else "0123456789"[:spatial]
    return lax.conv_general_dilated(
        x,
        w,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        feature_group_count=groups,
    )


def _transposed(node: Node, x: Value, kernel: Value, bias: Value | None = None) -> Value:
    """Spreads each place of x over the kernel's taps: a convolution of x with zeros between its places."""
    last, spatial = channels_last(x.ndim), x.ndim - 2
    w, groups = jnp.asarray(kernel.plain), node.get("group", 1)
    strides, dilation = (tuple(node.get(name, [1] * spatial)) for name in ("strides", "dilations"))
    reach = tuple(d * (n - 1) + 1 for n, d in zip(w.shape[2:], dilation, strict=True))
    extra = node.get("output_padding", [0] * spatial)
    cut = _cut(node, x.shape[2:], reach, strides, extra)
    padding = [
        (size - 1 - before, size - 1 - after + more)
        for size, (before, after), more in zip(reach, cut, extra, strict=True)
    ]
    # (i, o / g, ...) -> (..., i / g, o), with the taps in reverse.
    w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    w = jnp.moveaxis(w, 0, 1).reshape(w.shape[1], groups * w.shape[2], *w.shape[3:])
    w = jnp.moveaxis(jnp.flip(w, range(2, 2 + spatial)), (0, 1), (-2, -1))
    letters = "0123456789"[:spatial]
    z = lax.conv_general_dilated(
        jnp.asarray(x.laid(last).array),
        w,
        (1,) * spatial,
        padding,
        lhs_dilation=strides,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        feature_group_count=groups,
    )
    return Value(z if bias is None else z + bias.array, last)


def _cut(node: Node, lengths: Any, reach: Any, strides: Any, extra: Any) -> Pairs:
    """Returns what is cut off on both sides of each axis of a transposed convolution."""
    mode, wanted = node.get("auto_pad", "NOTSET"), node.get("output_shape")
    if mode == "NOTSET" and not wanted:
        return padding_of(node, lengths, reach, strides)
    if mode == "VALID" and not wanted:
        return ((0, 0),) * len(lengths)
    wanted = wanted[-len(lengths) :] if wanted else [n * step for n, step in zip(lengths, strides, strict=True)]
    # Less than nothing is cut off where an output is longer than what the windows reach.
    total = (
        step * (n - 1) + more + size - length
        for n, step, more, size, length in zip(lengths, strides, extra, reach, wanted, strict=True)
    )
    halves = ((each // 2, each - each // 2) for each in total)
    return tuple(pair if mode == "SAME_UPPER" else pair[::-1] for pair in halves)


OPERATORS: dict[str, Operator] = {"Conv": _conv, "ConvTranspose": _transposed}
