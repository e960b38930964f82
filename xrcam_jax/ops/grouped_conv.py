"""The two-dimensional convolution, of one group or many, in formulations that XLA compiles well on CPU too.

XLA's CPU backend runs a convolution with many groups up to a hundred times slower than other
formulations of the same sum, its weight gradient above all; other backends do well. So the formulation
is chosen when the program is lowered, by platform and by static shape. The value is always that of
``lax.conv_general_dilated(..., feature_group_count=groups)``.

Value and derivatives close under differentiation. With the trilinear form ``T(x, w, g) = <g, x * w>``,

- ``dT/dg = x * w`` is a correlation;
- ``dT/dx`` is the correlation of ``g`` with the flipped, in-group transposed ``w``, stride and input
  dilation exchanged (elsewhere than on CPU, XLA's own derivative);
- ``dT/dw`` is the weight gradient, whose own two derivatives are the correlations above.

So there are two bilinear operations, and each one's rule names only these two, to any order.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array, Float

from xrcam_jax.ops.interleaved import interleaved
from xrcam_jax.ops.operation import operation
from xrcam_jax.ops.placement import added_up, vary_alike
from xrcam_jax.ops.winograd import winograd, winograd_pays

Pair = tuple[int, int]
Operands = tuple[Array, Array]

# Up to this many inputs per group, adding shifted products beats dense blocks, which multiply mostly zeros.
_MAX_SHIFTED_INPUTS = 8
# Channels of a dense block: wide enough for a matrix product, narrow enough to waste little on zeros.
_BLOCK_CHANNELS = 32
# Places of an image, or of a few small ones, that are worked on at a time.
_PLACES = 3136


class _Axis(NamedTuple):
    """One spatial axis: output ``i`` and tap ``m`` meet at ``i*stride + m*dilation - before`` of the input.

    The input has ``spread - 1`` zeros between its pixels, and ``after`` zeros at its end.
    """

    stride: int
    dilation: int
    before: int
    after: int
    spread: int = 1


#: Of one tap, which meets each pixel once.
_EACH = _Axis(stride=1, dilation=1, before=0, after=0)


class _Geometry(NamedTuple):
    """All that is static about a correlation besides its shapes."""

    axes: tuple[_Axis, _Axis]
    groups: int


@partial(operation, static_argnames=("strides", "padding", "dilation", "groups"))
def grouped_conv(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "kh kw k o"],
    *,
    strides: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair,
    groups: int,
) -> Float[Array, "b oh ow o"]:
    """Convolve each of ``groups`` runs of channels with its own filters.

    ``z[b,i,j,o] = sum_{m,n,k} x_padded[b, i*sh + m*dh, j*sw + n*dw, g(o)*K + k] * kernel[m,n,k,o]``, with
    ``K = c / groups`` inputs in each group and ``g(o) = o // (O / groups)`` the group of output ``o``.

    In a jaxpr it is one ``jit`` equation named ``xrcam_jax.grouped_conv`` with operands ``(x, kernel)``, so that a
    transformation can treat it as the one bilinear operation that it is. Reverse mode to any order, vmap
    and sharding work; forward mode does not (``jax.custom_vjp``).

    Args:
      x: inputs, channels last.
      kernel: filters, ``k = c / groups``, of the dtype of ``x``.
      strides: steps along height and width.
      padding: zeros added, ``((top, bottom), (left, right))``.
      dilation: distances between neighbouring filter taps along height and width.
      groups: number of groups; divides ``c`` and ``o``.

    Returns:
      ``z``, of the dtype of ``x``.

    Raises:
      ValueError: naming the argument, if shapes and groups do not fit together.
    """
    axes = [_Axis(*axis) for axis in zip(strides, dilation, *zip(*padding, strict=True), strict=True)]
    _check(x, kernel, axes, groups)
    (rows, height), (columns, width) = map(_thinned, axes, x.shape[1:3], kernel.shape[:2])
    return _correlate(_Geometry((height, width), groups), *vary_alike(x[:, rows, columns], kernel))


def _check(x: Array, kernel: Array, axes: list[_Axis], groups: int) -> None:
    for name, operand, meaning in (("x", x, "b h w c"), ("kernel", kernel, "kh kw k o")):
        if operand.ndim != 4:
            raise ValueError(f"{name} must have the axes ({meaning}), got shape {operand.shape}")
    channels, inputs, outputs = x.shape[3], *kernel.shape[2:]
    if groups < 1 or channels % groups or outputs % groups:
        raise ValueError(f"groups={groups} must divide the {channels} channels of x and {outputs} of kernel")
    if inputs * groups != channels:
        raise ValueError(
            f"kernel must have {channels // groups} inputs per group ({channels} channels of x in "
            f"groups={groups}), got shape {kernel.shape}"
        )
    if min(map(_outputs, axes, x.shape[1:3], kernel.shape[:2])) < 1:
        raise ValueError(f"kernel of shape {kernel.shape}, dilated, exceeds the padded x of shape {x.shape}")


def _dilated(size: int, dilation: int) -> int:
    return (size - 1) * dilation + 1


def _outputs(axis: _Axis, pixels: int, taps: int) -> int:
    padded = _dilated(pixels, axis.spread) + axis.before + axis.after
    return (padded - _dilated(taps, axis.dilation)) // axis.stride + 1


def _thinned(axis: _Axis, pixels: int, taps: int) -> tuple[slice, _Axis]:
    """The pixels that any tap touches, and the axis over these alone.

    Where stride and dilation share a factor, all but every factor-th pixel only meet zeros; without them
    the gradients run at the lower resolution too.
    """
    factor = math.gcd(axis.stride, axis.dilation)
    if factor == 1:
        return slice(None), axis
    first = -axis.before % factor
    stride, dilation, before = axis.stride // factor, axis.dilation // factor, (axis.before + first) // factor
    end = _dilated(_outputs(axis, pixels, taps), stride) + _dilated(taps, dilation) - 1
    after = end - before - len(range(first, pixels, factor))
    return slice(first, None, factor), _Axis(stride, dilation, before, after)


def _transposed(axis: _Axis, pixels: int, taps: int) -> _Axis:
    """The axis over which the cotangent of the output, met by the flipped taps, gives that of the input."""
    before = _dilated(taps, axis.dilation) - 1 - axis.before
    end = _dilated(pixels, axis.spread) + _dilated(taps, axis.dilation) - 1
    after = end - _dilated(_outputs(axis, pixels, taps), axis.stride) - before
    return _Axis(axis.spread, axis.dilation, before, after, spread=axis.stride)


class _Phase(NamedTuple):
    """Every ``spread``-th output: the taps that meet pixels there, and the axis over which they do."""

    taps: slice
    axis: _Axis


def _phases(axis: _Axis, pixels: int, taps: int) -> list[_Phase]:
    """The phases of an axis, all of one length: the last outputs of some can be too many."""
    if axis.spread == 1:
        return [_Phase(slice(None), axis)]
    outputs = -(-_outputs(axis, pixels, taps) // axis.spread)

    def phase(offset: int) -> _Phase:
        first = next(m for m in range(axis.spread) if (offset + m * axis.dilation - axis.before) % axis.spread == 0)
        met = len(range(first, taps, axis.spread))
        before = (axis.before - offset - first * axis.dilation) // axis.spread
        after = outputs - 1 + _dilated(met, axis.dilation) - before - pixels
        return _Phase(slice(first, None, axis.spread), _Axis(1, axis.dilation, before, after))

    return [phase(offset) for offset in range(axis.spread)]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
@partial(jax.jit, static_argnums=0)
def _correlate(geometry: _Geometry, x: Array, kernel: Array) -> Array:
    cpu, default = partial(_correlate_cpu, geometry), partial(_native, geometry)
    return lax.platform_dependent(x, kernel, cpu=cpu, default=default)


def _correlate_fwd(geometry: _Geometry, x: Array, kernel: Array) -> tuple[Array, Operands]:
    return _correlate(geometry, x, kernel), (x, kernel)


def _correlate_bwd(geometry: _Geometry, operands: Operands, g: Array) -> Operands:
    x, kernel = operands
    return _input_gradient(geometry, x, kernel, g), _weight_gradient(geometry, kernel.shape[:2], x, g)


_correlate.defvjp(_correlate_fwd, _correlate_bwd)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
@partial(jax.jit, static_argnums=(0, 1))
def _weight_gradient(geometry: _Geometry, taps: Pair, x: Array, g: Array) -> Array:
    default = partial(_native_weight_gradient, geometry, taps)
    if geometry.groups == 1:
        return default(x, g)
    products = added_up(partial(_weight_products, geometry, taps), x, g)
    return lax.platform_dependent(x, g, cpu=products, default=default)


def _weight_gradient_fwd(geometry: _Geometry, taps: Pair, x: Array, g: Array) -> tuple[Array, Operands]:
    return _weight_gradient(geometry, taps, x, g), (x, g)


def _weight_gradient_bwd(geometry: _Geometry, taps: Pair, operands: Operands, kernel: Array) -> Operands:
    x, g = operands
    return _input_gradient(geometry, x, kernel, g), _correlate(geometry, x, kernel)


_weight_gradient.defvjp(_weight_gradient_fwd, _weight_gradient_bwd)


def _input_gradient(geometry: _Geometry, x: Array, kernel: Array, g: Array) -> Array:
    """The cotangent of ``x``, of which only the shape counts: a correlation, and differentiable as one."""
    height, width = map(_transposed, geometry.axes, x.shape[1:3], kernel.shape[:2])

    def correlation(x: Array, kernel: Array, g: Array) -> Array:
        return _correlate(_Geometry((height, width), geometry.groups), g, _exchanged(geometry.groups, kernel))

    # Elsewhere XLA knows its own derivative by its form, and has operations for it.
    return lax.platform_dependent(x, kernel, g, cpu=correlation, default=partial(_native_input_gradient, geometry))


def _exchanged(groups: int, kernel: Array) -> Array:
    """The filters with their taps in reverse, and inputs and outputs of each group exchanged."""
    flipped = kernel[::-1, ::-1]
    if groups == 1:
        return _swapped(flipped)
    kh, kw, inputs, outputs = kernel.shape
    by_group = flipped.reshape(kh, kw, inputs, groups, outputs // groups)
    return by_group.swapaxes(2, 4).reshape(kh, kw, outputs // groups, groups * inputs)


# Made one loop with the reversal of the taps, this takes XLA's CPU backend twice as long. It does not look into a call
# that it may not inline.
@set_xla_metadata(inlineable="false")
@jax.jit
def _swapped(kernel: Array) -> Array:
    return kernel.swapaxes(2, 3)


def _native(geometry: _Geometry, x: Array, kernel: Array) -> Array:
    stride, dilation, before, after, spread = zip(*geometry.axes, strict=True)
    padding = list(zip(before, after, strict=True))
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, stride, padding, spread, dilation, dimensions, feature_group_count=geometry.groups
    )


def _native_input_gradient(geometry: _Geometry, x: Array, kernel: Array, g: Array) -> Array:
    return jax.vjp(lambda x: _native(geometry, x, kernel), x)[1](g)[0]


def _native_weight_gradient(geometry: _Geometry, taps: Pair, x: Array, g: Array) -> Array:
    shape = (*taps, x.shape[3] // geometry.groups, g.shape[3])
    _, anywhere = vary_alike(x, jnp.zeros(shape, x.dtype))
    return jax.vjp(partial(_native, geometry, x), anywhere)[1](g)[0]


def _correlate_cpu(geometry: _Geometry, x: Array, kernel: Array) -> Array:
    inputs, outputs = kernel.shape[2:]
    # Phases save what only multiplies zeros. The blocks' convolutions, and those to few channels, cost more than that.
    if geometry.groups == 1:
        formulation, phases = _dense, outputs >= _BLOCK_CHANNELS
    elif inputs <= _MAX_SHIFTED_INPUTS:
        formulation, phases = _shifted_products, True
    else:
        formulation, phases = _dense_blocks, False
    if not x.size:
        return _native(geometry, x, kernel)
    if phases and _has_phases(geometry, kernel.shape[:2]):
        return _by_phase(formulation, geometry, x, kernel)
    return formulation(geometry, x, kernel)


def _dense(geometry: _Geometry, x: Array, kernel: Array) -> Array:
    height, width = map(_outputs, geometry.axes, x.shape[1:3], kernel.shape[:2])
    plain = all((axis.stride, axis.dilation, axis.spread) == (1, 1, 1) for axis in geometry.axes)
    if plain and x.dtype == jnp.float32 and winograd_pays(kernel.shape, (height, width)):
        return _fewer_products(geometry, x, kernel)
    return _native(geometry, x, kernel)


# XLA compiles it once for all layers of a shape.
@set_xla_metadata(inlineable="false")
@partial(jax.jit, static_argnums=0)
def _fewer_products(geometry: _Geometry, x: Array, kernel: Array) -> Array:
    height, width = geometry.axes
    return winograd(x, kernel, ((height.before, height.after), (width.before, width.after)))


def _has_phases(geometry: _Geometry, taps: tuple[int, ...]) -> bool:
    """Whether zeros lie between the pixels, and each output of a row or column meets some pixel."""
    each = [
        axis.spread == 1 or axis.stride == 1 < axis.spread <= n for axis, n in zip(geometry.axes, taps, strict=True)
    ]
    return all(each) and any(axis.spread > 1 for axis in geometry.axes)


def _by_phase(correlate: Callable[..., Array], geometry: _Geometry, x: Array, kernel: Array) -> Array:
    """The correlation with an ``x`` spread by zeros, of which a tap meets every other pixel only.

    Outputs as far apart as the pixels see the same taps: theirs is a correlation with ``x`` as it is.
    """
    sizes = [
        _outputs(axis, *lengths) for axis, *lengths in zip(geometry.axes, x.shape[1:3], kernel.shape[:2], strict=True)
    ]
    rows, columns = map(_phases, geometry.axes, x.shape[1:3], kernel.shape[:2])

    def phase(row: _Phase, column: _Phase) -> Array:
        return correlate(_Geometry((row.axis, column.axis), geometry.groups), x, kernel[row.taps, column.taps])

    z = interleaved([interleaved([phase(r, c) for c in columns], axis=2) for r in rows], axis=1)
    return z[:, : sizes[0], : sizes[1]]


def _tapped(geometry: _Geometry, taps: Pair, x: Array) -> list[Array]:
    """For each filter tap, row by row, the pixels that it multiplies: ``(b, oh, ow, c)`` each."""
    height, width = geometry.axes
    edges = [(axis.before, axis.after, axis.spread - 1) for axis in geometry.axes]
    padded = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    oh, ow = map(_outputs, geometry.axes, x.shape[1:3], taps)
    return [
        padded[:, m * height.dilation :: height.stride, n * width.dilation :: width.stride][:, :oh, :ow]
        for m in range(taps[0])
        for n in range(taps[1])
    ]


def _joined(groups: int, inputs: int) -> int:
    """How many neighbouring groups make up a dense block."""
    return max(n for n in range(1, max(1, _BLOCK_CHANNELS // inputs) + 1) if groups % n == 0)


# Here XLA would fuse the sums into every consumer, and evaluate them, and what they are computed from, many
# times over.
@set_xla_metadata(inlineable="false")
@partial(jax.jit, static_argnums=0)
def _shifted_products(geometry: _Geometry, x: Array, kernel: Array) -> Array:
    """Add up one product per filter tap and input of a group, each vectorised over all channels."""
    kh, kw, inputs, outputs = kernel.shape
    groups = geometry.groups
    accumulator = jnp.promote_types(x.dtype, jnp.float32)
    weights = kernel.astype(accumulator).reshape(kh * kw, inputs, groups, outputs // groups)
    total = jnp.zeros((), accumulator)
    for pixels, filters in zip(_tapped(geometry, (kh, kw), x.astype(accumulator)), weights, strict=True):
        by_group = pixels.reshape(*pixels.shape[:3], groups, inputs, 1)
        if math.prod(pixels.shape[:3]) <= _PLACES:
            total += (by_group * filters.swapaxes(0, 1)).sum(-2)
        else:
            # Written out it takes XLA twice as long to compile, and over many places less time to run.
            total += sum(by_group[..., k, :] * filters[k] for k in range(inputs))
    return total.reshape(*total.shape[:3], outputs).astype(x.dtype)


# As above. In a loop, XLA compiles one convolution for all blocks, which takes the time of running them all.
@set_xla_metadata(inlineable="false")
@partial(jax.jit, static_argnums=0)
def _dense_blocks(geometry: _Geometry, x: Array, kernel: Array) -> Array:
    """One dense convolution per block of neighbouring groups, its filters zero between groups."""
    kh, kw, inputs, outputs = kernel.shape
    joined = _joined(geometry.groups, inputs)
    blocks, channels = geometry.groups // joined, joined * inputs
    features = outputs // blocks
    own_group = np.eye(joined, dtype=bool)[:, None, :, None]

    def convolve(state: tuple[Array, Array]) -> tuple[Array, Array]:
        block, z = state
        pixels = lax.dynamic_slice_in_dim(x, block * channels, channels, axis=3)
        own = lax.dynamic_slice_in_dim(kernel, block * features, features, axis=3)
        dense = jnp.where(own_group, own.reshape(kh, kw, 1, inputs, joined, -1), 0)
        part = _native(geometry._replace(groups=1), pixels, dense.reshape(kh, kw, channels, features))
        return block + 1, lax.dynamic_update_slice_in_dim(z, part, block * features, axis=3)

    size = map(_outputs, geometry.axes, x.shape[1:3], (kh, kw))
    # All of it is written over. Made of x, it lies on the devices as x does.
    anything = jnp.broadcast_to(x[:, :1, :1, :1], (len(x), *size, outputs))
    return lax.while_loop(lambda state: state[0] < blocks, convolve, (jnp.zeros((), jnp.uint32), anything))[1]


# A convolution's weight gradient is a convolution with a filter as large as the image, which XLA's CPU
# backend runs hundreds of times slower than the products that it consists of. A few images at a time, what
# the taps see of a block of channels stays in the processor's cache.
@set_xla_metadata(inlineable="false")
@partial(jax.jit, static_argnums=(0, 1))
def _weight_products(geometry: _Geometry, taps: Pair, x: Array, g: Array) -> Array:
    """Add up one matrix product per few images and block of channels: what taps see, by the cotangents they meet.

    At stride 1 the taps of a row are laid beside each other on the side of ``x``, and those of a column on the side
    of ``g``: for 3 x 3 taps six copies in place of nine, and a product of squarer matrices.
    """
    if not x.size:
        return _native_weight_gradient(geometry, taps, x, g)
    accumulator = jnp.promote_types(x.dtype, jnp.float32)
    batch, places = len(g), g.shape[1] * g.shape[2]
    inputs, outputs = x.shape[3] // geometry.groups, g.shape[3] // geometry.groups
    joined = _joined(geometry.groups, inputs)
    blocks = geometry.groups // joined
    few = max(n for n in range(1, batch + 1) if batch % n == 0 and (n == 1 or n * places <= _PLACES))
    parts = batch // few

    height, width = geometry.axes
    if height.stride == 1:
        of_x, of_g = (1, taps[1]), (taps[0], 1)
        axes_x, axes_g = (_EACH, width), (_transposed(height, x.shape[1], taps[0]), _EACH)
    else:
        of_x, of_g = taps, (1, 1)
        axes_x, axes_g = (height, width), (_EACH, _EACH)

    def product(index: Array) -> Array:
        block, part = index // parts, index % parts

        def rows(a: Array, axes: tuple[_Axis, _Axis], taps: Pair, channels: int) -> Array:
            start, size = (part * few, 0, 0, block * channels), (few, *a.shape[1:3], channels)
            here = lax.dynamic_slice(a, start, size).astype(accumulator)
            beside = jnp.concatenate(_tapped(_Geometry(axes, groups=1), taps, here), axis=-1)
            return beside.reshape(-1, beside.shape[3])

        seen, met = rows(x, axes_x, of_x, joined * inputs), rows(g, axes_g, of_g, joined * outputs)
        return lax.dot_general(seen, met, (((0,), (0,)), ((), ())))

    products = lax.map(product, jnp.arange(blocks * parts))
    total = products.reshape(blocks, parts, *of_x, joined, inputs, of_g[0], joined, outputs).sum(1)
    # Of a dense block, only what connects a group with itself is a weight.
    own = jnp.diagonal(total, axis1=3, axis2=6)
    # Met by the cotangent, the taps of a column come in reverse.
    by_tap = jnp.moveaxis(own[..., ::-1, :, :], (4, 0, 6), (1, 4, 5))
    return by_tap.reshape(*taps, inputs, -1).astype(x.dtype)
