"""Which axes of a value are its channels and its height and width, as far as a convolution above it tells."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from xrcam_jax.lrp.program import Equation, Program
from xrcam_jax.runtime import jaxprs

#: These change lengths and leave the axes in their order.
_RESIZING = frozenset({
    "broadcast_in_dim", "concatenate", "dynamic_slice", "pad", "reduce_window", "reduce_window_max",
    "reduce_window_min", "reduce_window_sum", "slice", "split", "xrcam_jax.dilated_max_pool",
    "xrcam_jax.max_pool",
})  # fmt: skip


class Axes(NamedTuple):
    """Says what the axes of a value are, by their positions.

    Attributes:
      batch: that of the batch.
      spatial: those that a convolution slides along, in order.
      features: that of the channels.
    """

    batch: int
    spatial: tuple[int, ...]
    features: int


def channels_last(axes: Axes | None) -> tuple[int, ...] | None:
    """Returns the order of axes in which a value is (batch, ..., channels).

    Args:
      axes: of the value; None if nothing is known of them.

    Returns:
      The order, for ``jnp.transpose``; None if it is not known.

    Example:
      >>> from xrcam_jax.lrp.layout import Axes, channels_last
      >>> channels_last(Axes(0, (2, 3), 1)), channels_last(Axes(0, (1, 2), 3))
      ((0, 2, 3, 1), (0, 1, 2, 3))
    """
    return None if axes is None else (axes.batch, *axes.spatial, axes.features)


def groups_of_reshape(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[range, range]]:
    """Returns which axes of a reshape become which, in the smallest groups of as many numbers.

    Args:
      before: the shape before it.
      after: the shape after it.

    Returns:
      The axes before and those after, by group. Some of length 1 at the end are left out.

    Example:
      >>> from xrcam_jax.lrp.layout import groups_of_reshape
      >>> groups_of_reshape((2, 6, 5, 7), (2, 3, 2, 35))
      [(range(0, 1), range(0, 1)), (range(1, 2), range(1, 3)), (range(2, 4), range(3, 4))]
    """
    found, old, new = list[tuple[range, range]](), 0, 0
    while 0 not in before and old < len(before) and new < len(after):
        i, j, left, right = old + 1, new + 1, before[old], after[new]
        while left != right:
            if left < right:
                left, i = left * before[i], i + 1
            else:
                right, j = right * after[j], j + 1
        found.append((range(old, i), range(new, j)))
        old, new = i, j
    return found


def infer_axes(program: Program, given: Mapping[int, Axes]) -> dict[int, Axes]:
    """Infers the axes of all values that a convolution has made and that later equations have left in shape.

    Args:
      program: any program.
      given: the axes of its inputs, as far as they are known.

    Returns:
      The axes, by the number of the value.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.layout import infer_axes
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> convolved = lambda x, w: jnp.tanh(jax.lax.conv(x, w, (1, 1), "SAME"))
      >>> program = flatten(trace(convolved, jnp.ones((1, 3, 8, 8)), jnp.ones((5, 3, 1, 1)))[0])
      >>> infer_axes(program, {})[program.outputs[0]]
      Axes(batch=0, spatial=(2, 3), features=1)
    """
    found, known = dict(given), dict(given)
    of_shape = {program.avals[value].shape: axes for value, axes in found.items()}
    for equation in program.equations:
        value = equation.outputs[0]
        axes, shape = _after(program, equation, known), program.avals[value].shape
        if axes is None and equation.primitive == "reshape":
            # Group norm splits the channels, and puts them together again.
            axes = of_shape.get(shape) or _reshaped(program, equation, known)
        if axes is None:
            continue
        known[value] = axes
        # Other axes are of length 1, but between the steps in which squares of places become channels.
        if math.prod(shape) == math.prod(shape[axis] for axis in channels_last(axes) or ()):
            found[value] = of_shape[shape] = axes
    return found


def _after(program: Program, equation: Equation, known: Mapping[int, Axes]) -> Axes | None:
    """Returns the axes of an equation's first output."""
    if equation.primitive == "conv_general_dilated":
        batch, features, *spatial = equation.eqn.params["dimension_numbers"].out_spec
        return Axes(batch, tuple(spatial), features)
    if equation.primitive in ("xrcam_jax.grouped_conv", "xrcam_jax.pointwise_conv"):
        return Axes(0, (1, 2), 3)
    if equation.eqn.primitive.name == jaxprs.REMAT:
        (body,) = equation.bodies
        pairs = zip(body.inputs, equation.inputs, strict=True)
        inside = infer_axes(body, {inner: known[outer] for inner, outer in pairs if outer in known})
        return inside.get(body.outputs[0])
    operand = next((i for i, v in enumerate(equation.inputs) if v in known), None)
    if operand is None:
        return None
    axes = known[equation.inputs[operand]]
    before, after = (program.avals[v].shape for v in (equation.inputs[operand], equation.outputs[0]))
    if equation.primitive == "transpose":
        return _moved(axes, {old: new for new, old in enumerate(equation.eqn.params["permutation"])})
    if equation.primitive == "dot_general":
        return _moved(axes, _through_product(program, equation, operand))
    if before == after or (equation.primitive in _RESIZING and len(before) == len(after)):
        return axes
    # Axes of length 1 come and go where a convolution of single pictures is mapped over a batch.
    old, new = ([axis for axis, n in enumerate(shape) if n != 1] for shape in (before, after))
    kept = [before[axis] for axis in old] == [after[axis] for axis in new]
    return _moved(axes, dict(zip(old, new, strict=True))) if kept else None


def _through_product(program: Program, equation: Equation, operand: int) -> dict[int, int]:
    """Returns where the axes of an operand of a product go; that which is summed over gives way to the weights'."""
    contracted, batched = equation.eqn.params["dimension_numbers"]
    free = [
        [axis for axis in range(program.avals[v].ndim) if axis not in (*contracted[side], *batched[side])]
        for side, v in enumerate(equation.inputs)
    ]
    first = len(batched[0]) + operand * len(free[0])
    to = {axis: new for new, axis in enumerate(batched[operand])}
    to |= {axis: first + i for i, axis in enumerate(free[operand])}
    if len(contracted[operand]) == len(free[1 - operand]) == 1:
        to[contracted[operand][0]] = len(batched[0]) + (1 - operand) * len(free[0])
    return to


def _reshaped(program: Program, equation: Equation, known: Mapping[int, Axes]) -> Axes | None:
    """Returns the axes after a reshape that splits heights and widths, or merges other axes with the channels."""
    axes = known.get(equation.inputs[0])
    if axes is None:
        return None
    before, after = (program.avals[v].shape for v in (equation.inputs[0], equation.outputs[0]))
    to, named = dict[int, int](), {axes.batch, axes.features, *axes.spatial}
    for old, new in groups_of_reshape(before, after):
        here = named.intersection(old)
        if len(here) > 1:
            return None
        for axis in here:
            split, merged = len(new) > 1, len(old) > 1
            if (split and axis not in axes.spatial) or (merged and (split or axis != axes.features)):
                return None
            to[axis] = new[0]
    return _moved(axes, to)


def _moved(axes: Axes, to: Mapping[int, int]) -> Axes | None:
    """Returns the axes after each has gone to another position; None if one is there no more."""
    if not {axes.batch, axes.features, *axes.spatial} <= to.keys():
        return None
    return Axes(to[axes.batch], tuple(to[axis] for axis in axes.spatial), to[axes.features])
