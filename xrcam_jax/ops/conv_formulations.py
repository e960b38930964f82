"""Formulations of a correlation and of its weight gradient: XLA's own, and those that XLA compiles well on CPU.

XLA's CPU backend runs a convolution with many groups up to a hundred times slower than other formulations of the same
sum, its weight gradient above all. Other backends do well with XLA's own. All formulations compute the same sums.
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

from xrcam_jax.ops.conv_geometry import Axis, Geometry, Pair, Phase
from xrcam_jax.ops.interleaved import interleaved
from xrcam_jax.ops.placement import vary_alike
from xrcam_jax.ops.winograd import winograd, winograd_pays

Image = Float[Array, "b h w c"]
Kernel = Float[Array, "kh kw k o"]
Output = Float[Array, "b oh ow o"]

# Up to this many inputs per group, adding shifted products beats dense blocks, which multiply mostly zeros.
_MAX_SHIFTED_INPUTS = 8
# Channels of a dense block: wide enough for a matrix product, narrow enough to waste little on zeros.
_BLOCK_CHANNELS = 32
# Places of an image, or of a few small ones, that are worked on at a time.
_PLACES = 3136
# The axis of a single tap, which meets each pixel once.
_EACH = Axis(stride=1, dilation=1, before=0, after=0)


def native(geometry: Geometry, x: Image, kernel: Kernel) -> Output:
    """Correlates by XLA's own convolution.

    Args:
      geometry: geometry of the correlation.
      x: inputs, channels last.
      kernel: filters with ``k = c / groups`` inputs, of the dtype of ``x``.

    Returns:
      The sums, of the dtype of ``x``.

    Example:
      >>> import jax.numpy as jnp
      >>> axis = Axis(stride=1, dilation=1, before=0, after=0)
      >>> native(Geometry((axis, axis), groups=1), jnp.ones((1, 3, 3, 2)), jnp.ones((3, 3, 2, 1))).tolist()
      [[[[18.0]]]]
    """
    stride, dilation, before, after, spread = zip(*geometry.axes, strict=True)
    padding = list(zip(before, after, strict=True))
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, stride, padding, spread, dilation, dimensions, feature_group_count=geometry.groups
    )


def native_input_gradient(geometry: Geometry, x: Image, kernel: Kernel, g: Output) -> Image:
    """Returns the cotangent of ``x`` by XLA's own derivative.

    Args:
      geometry: geometry of the correlation.
      x: its inputs, of which only the shape counts.
      kernel: its filters.
      g: the cotangent of its output.

    Returns:
      The cotangent, of the shape of ``x``.

    Example:
      >>> import jax.numpy as jnp
      >>> axis = Axis(stride=1, dilation=1, before=0, after=0)
      >>> x, kernel, g = jnp.ones((1, 1, 3, 1)), jnp.ones((1, 2, 1, 1)), jnp.ones((1, 1, 2, 1))
      >>> native_input_gradient(Geometry((axis, axis), groups=1), x, kernel, g)[0, 0, :, 0].tolist()
      [1.0, 2.0, 1.0]
    """
    return jax.vjp(lambda x: native(geometry, x, kernel), x)[1](g)[0]


def native_weight_gradient(geometry: Geometry, taps: tuple[int, ...], x: Image, g: Output) -> Kernel:
    """Returns the cotangent of the filters by XLA's own derivative.

    Args:
      geometry: geometry of the correlation.
      taps: height and width of its filters.
      x: its inputs.
      g: the cotangent of its output.

    Returns:
      The cotangent, of the dtype of ``x``.

    Example:
      >>> import jax.numpy as jnp
      >>> axis = Axis(stride=1, dilation=1, before=0, after=0)
      >>> x, g = jnp.arange(3.0).reshape(1, 1, 3, 1), jnp.ones((1, 1, 2, 1))
      >>> native_weight_gradient(Geometry((axis, axis), groups=1), (1, 2), x, g)[0, :, 0, 0].tolist()
      [1.0, 3.0]
    """
    shape = (*taps, x.shape[3] // geometry.groups, g.shape[3])
    _, anywhere = vary_alike(x, jnp.zeros(shape, x.dtype))
    return jax.vjp(partial(native, geometry, x), anywhere)[1](g)[0]


def correlate_on_cpu(geometry: Geometry, x: Image, kernel: Kernel) -> Output:
    """Correlates by the formulation that is the fastest on CPU for these shapes.

    Args:
      geometry: geometry of the correlation.
      x: inputs, channels last.
      kernel: filters with ``k = c / groups`` inputs, of the dtype of ``x``.

    Returns:
      The sums, of the dtype of ``x``.

    Example:
      >>> import jax.numpy as jnp
      >>> axis = Axis(stride=1, dilation=1, before=0, after=0)
      >>> correlate_on_cpu(Geometry((axis, axis), groups=2), jnp.ones((1, 3, 3, 4)), jnp.ones((3, 3, 2, 2))).tolist()
      [[[[18.0, 18.0]]]]
    """
    inputs, outputs = kernel.shape[2:]
    if not x.size:
        return native(geometry, x, kernel)
    formulation = _dense if geometry.groups == 1 else _dense_blocks
    if geometry.groups > 1 and inputs <= _MAX_SHIFTED_INPUTS:
        formulation = _shifted_products
    # Splitting into phases skips products with the zeros between pixels. It does not pay for dense blocks, and for few
    # output channels only where one correlation has those of all phases.
    if formulation is not _dense_blocks and geometry.has_phases(kernel.shape[:2]):
        few = geometry.groups == 1 and outputs < _BLOCK_CHANNELS
        if not few:
            return _by_phase(formulation, geometry, x, kernel)
        if all(axis.dilation == 1 for axis in geometry.axes if axis.spread > 1):
            return _phases_beside(geometry, x, kernel)
    return formulation(geometry, x, kernel)


def _dense(geometry: Geometry, x: Image, kernel: Kernel) -> Output:
    plain = all((axis.stride, axis.dilation, axis.spread) == (1, 1, 1) for axis in geometry.axes)
    size = geometry.outputs(x.shape[1:3], kernel.shape[:2])
    if plain and x.dtype == jnp.float32 and winograd_pays(kernel.shape, size):
        return _fewer_products(geometry, x, kernel)
    return _native_on_cpu(geometry, x, kernel)


def _native_on_cpu(geometry: Geometry, x: Image, kernel: Kernel) -> Output:
    """Correlates by XLA's own convolution, and pads first where a filter reaches further than the picture does.

    XLA's CPU backend has only a plain loop for such filters, up to 26 times slower. The barrier keeps XLA from making
    the padding a part of the convolution again.
    """
    reaches = [axis.dilation * (taps - 1) + 1 for axis, taps in zip(geometry.axes, kernel.shape, strict=False)]
    spread = [axis.spread * (pixels - 1) + 1 for axis, pixels in zip(geometry.axes, x.shape[1:], strict=False)]
    if all(reach <= length for reach, length in zip(reaches, spread, strict=True)):
        return native(geometry, x, kernel)
    padded = lax.optimization_barrier(_padded(geometry.axes, x))
    height, width = (axis._replace(before=0, after=0, spread=1) for axis in geometry.axes)
    return native(geometry._replace(axes=(height, width)), padded, kernel)


# A call that may not be inlined is compiled once for all layers of a shape.
@set_xla_metadata(inlineable="false")
@partial(jax.jit, static_argnums=0)
def _fewer_products(geometry: Geometry, x: Image, kernel: Kernel) -> Output:
    height, width = geometry.axes
    return winograd(x, kernel, ((height.before, height.after), (width.before, width.after)))


def _by_phase(correlate: Callable[..., Array], geometry: Geometry, x: Image, kernel: Kernel) -> Output:
    """Correlates with an ``x`` spread by zeros, of which a tap meets every other pixel only.

    Outputs as far apart as the pixels see the same taps, so each phase is a correlation with ``x`` as it is.
    """
    pixels, taps = x.shape[1:3], kernel.shape[:2]
    rows, columns = (axis.phases(*lengths) for axis, *lengths in zip(geometry.axes, pixels, taps, strict=True))

    def phase(row: Phase, column: Phase) -> Array:
        return correlate(Geometry((row.axis, column.axis), geometry.groups), x, kernel[row.taps, column.taps])

    z = interleaved([interleaved([phase(r, c) for c in columns], axis=2) for r in rows], axis=1)
    height, width = geometry.outputs(pixels, taps)
    return z[:, :height, :width]


def _phases_beside(geometry: Geometry, x: Image, kernel: Kernel) -> Output:
    """Does the same by one correlation, whose channels are those of all phases: their filters share a window."""
    pixels, taps = x.shape[1:3], kernel.shape[:2]
    (height, of_row), (width, of_column) = (
        axis.window(*lengths) for axis, *lengths in zip(geometry.axes, pixels, taps, strict=True)
    )
    zeros_behind = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    # (place, phase) of the rows and of the columns, then channels: places come first.
    window = zeros_behind[of_row][:, :, of_column].transpose(0, 2, 4, 1, 3, 5)
    *places, _, rows, columns, outputs = window.shape
    z = _dense(Geometry((height, width), groups=1), x, window.reshape(*places, x.shape[3], -1))
    batch, down, across = z.shape[:3]
    by_phase = z.reshape(batch, down, across, rows, columns, outputs).swapaxes(2, 3)
    oh, ow = geometry.outputs(pixels, taps)
    return by_phase.reshape(batch, down * rows, across * columns, outputs)[:, :oh, :ow]


def _padded(axes: tuple[Axis, Axis], x: Image) -> Float[Array, "b ph pw c"]:
    """Returns the picture with its zeros, around it and between its pixels."""
    edges = [(axis.before, axis.after, axis.spread - 1) for axis in axes]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def _tapped(axes: tuple[Axis, Axis], taps: Pair, x: Image) -> list[Float[Array, "b oh ow c"]]:
    """Returns for each filter tap, row by row, the pixels that it multiplies."""
    height, width = axes
    padded = _padded(axes, x)
    oh, ow = Geometry(axes, groups=1).outputs(x.shape[1:3], taps)
    return [
        padded[:, m * height.dilation :: height.stride, n * width.dilation :: width.stride][:, :oh, :ow]
        for m in range(taps[0])
        for n in range(taps[1])
    ]


def _joined(groups: int, inputs: int) -> int:
    """Returns how many neighbouring groups make up a dense block."""
    return max(n for n in range(1, max(1, _BLOCK_CHANNELS // inputs) + 1) if groups % n == 0)


# A call that may not be inlined: otherwise XLA fuses the sums into every consumer, and evaluates them, and what they
# are computed from, many times over.
@set_xla_metadata(inlineable="false")
@partial(jax.jit, static_argnums=0)
def _shifted_products(geometry: Geometry, x: Image, kernel: Kernel) -> Output:
    """Adds up one product per filter tap and input of a group, each vectorised over all channels."""
    kh, kw, inputs, outputs = kernel.shape
    groups = geometry.groups
    accumulator = np.promote_types(x.dtype, np.float32)
    weights = kernel.astype(accumulator).reshape(kh * kw, inputs, groups, outputs // groups)
    total = jnp.zeros((), accumulator)
    for pixels, filters in zip(_tapped(geometry.axes, (kh, kw), x.astype(accumulator)), weights, strict=True):
        by_group = pixels.reshape(*pixels.shape[:3], groups, inputs, 1)
        if math.prod(pixels.shape[:3]) <= _PLACES:
            total += (by_group * filters.swapaxes(0, 1)).sum(-2)
        else:
            # Written out it takes XLA twice as long to compile, and over many places less time to run.
            total += sum(by_group[..., k, :] * filters[k] for k in range(inputs))
    return total.reshape(*total.shape[:3], outputs).astype(x.dtype)


# A call that may not be inlined, as above. XLA compiles the one convolution of a loop once for all blocks; to compile
# each block's own would take as long as to run them all.
@set_xla_metadata(inlineable="false")
@partial(jax.jit, static_argnums=0)
def _dense_blocks(geometry: Geometry, x: Image, kernel: Kernel) -> Output:
    """Runs one dense convolution per block of neighbouring groups, its filters zero between groups."""
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
        part = _native_on_cpu(geometry._replace(groups=1), pixels, dense.reshape(kh, kw, channels, features))
        return block + 1, lax.dynamic_update_slice_in_dim(z, part, block * features, axis=3)

    size = geometry.outputs(x.shape[1:3], (kh, kw))
    # The loop writes over all of it. Made of x, it lies on the devices as x does.
    anything = jnp.broadcast_to(x[:, :1, :1, :1], (len(x), *size, outputs))
    return lax.while_loop(lambda state: state[0] < blocks, convolve, (jnp.zeros((), jnp.uint32), anything))[1]


class _Side(NamedTuple):
    """Describes one side of the weight gradient's products: taps that are laid beside each other, and their axes."""

    taps: Pair
    axes: tuple[Axis, Axis]

    def rows(self, a: Image, dtype: jnp.dtype) -> Float[Array, "places channels"]:
        """Returns a row for each place: what the taps see there of ``a``."""
        beside = jnp.concatenate(_tapped(self.axes, self.taps, a.astype(dtype)), axis=-1)
        return beside.reshape(-1, beside.shape[3])


def _sides(geometry: Geometry, taps: Pair, pixels: int) -> tuple[_Side, _Side]:
    """Returns the sides of the inputs and of the cotangents.

    At stride 1 the taps of a row are laid beside each other on the side of the inputs, and those of a column on the
    side of the cotangents: for 3 x 3 taps six copies in place of nine, and a product of squarer matrices.
    """
    height, width = geometry.axes
    if height.stride == 1:
        of_column = height.transposed(pixels, taps[0])
        return _Side((1, taps[1]), (_EACH, width)), _Side((taps[0], 1), (of_column, _EACH))
    return _Side(taps, geometry.axes), _Side((1, 1), (_EACH, _EACH))


# A convolution's weight gradient is a convolution with a filter as large as the image, which XLA's CPU backend runs
# hundreds of times slower than the products that it consists of. A few images at a time, what the taps see of a block
# of channels stays in the processor's cache.
@set_xla_metadata(inlineable="false")
@partial(jax.jit, static_argnums=(0, 1))
def weight_products(geometry: Geometry, taps: Pair, x: Image, g: Output) -> Kernel:
    """Adds up one matrix product per few images and block of channels: what taps see, by the cotangents they meet.

    Args:
      geometry: geometry of the correlation.
      taps: height and width of its filters.
      x: its inputs.
      g: the cotangent of its output.

    Returns:
      The cotangent of the filters, of the dtype of ``x``.

    Example:
      >>> import jax.numpy as jnp
      >>> axis = Axis(stride=1, dilation=1, before=0, after=0)
      >>> x, g = jnp.arange(6.0).reshape(1, 1, 3, 2), jnp.ones((1, 1, 2, 2))
      >>> weight_products(Geometry((axis, axis), groups=2), (1, 2), x, g)[0, :, 0].tolist()
      [[2.0, 4.0], [6.0, 8.0]]
    """
    if not x.size:
        return native_weight_gradient(geometry, taps, x, g)
    accumulator = np.promote_types(x.dtype, np.float32)
    batch, places = len(g), g.shape[1] * g.shape[2]
    inputs, outputs = x.shape[3] // geometry.groups, g.shape[3] // geometry.groups
    joined = _joined(geometry.groups, inputs)
    blocks = geometry.groups // joined
    few = max(n for n in range(1, batch + 1) if batch % n == 0 and (n == 1 or n * places <= _PLACES))
    parts = batch // few
    of_x, of_g = _sides(geometry, taps, x.shape[1])

    def product(index: Array) -> Array:
        block, part = index // parts, index % parts

        def here(a: Array, channels: int) -> Array:
            start, size = (part * few, 0, 0, block * channels), (few, *a.shape[1:3], channels)
            return lax.dynamic_slice(a, start, size)

        seen = of_x.rows(here(x, joined * inputs), accumulator)
        met = of_g.rows(here(g, joined * outputs), accumulator)
        return lax.dot_general(seen, met, (((0,), (0,)), ((), ())))

    products = lax.map(product, jnp.arange(blocks * parts))
    total = products.reshape(blocks, parts, *of_x.taps, joined, inputs, of_g.taps[0], joined, outputs).sum(1)
    # Of a dense block, only what connects a group with itself is a weight.
    own = jnp.diagonal(total, axis1=3, axis2=6)
    # Met by the cotangent, the taps of a column come in reverse.
    by_tap = jnp.moveaxis(own[..., ::-1, :, :], (4, 0, 6), (1, 4, 5))
    return by_tap.reshape(*taps, inputs, -1).astype(x.dtype)
