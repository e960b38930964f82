"""The two-dimensional convolution, of one group or many, as one operation that is fast on CPU too.

The formulation is chosen when the program is lowered, by platform and by static shape. The value is always that of
``lax.conv_general_dilated(..., feature_group_count=groups)``.

Value and derivatives close under differentiation. With the trilinear form ``T(x, w, g) = <g, x * w>``,

- ``dT/dg = x * w`` is a correlation;
- ``dT/dx`` is the correlation of ``g`` with the flipped, in-group transposed ``w``, stride and input
  dilation exchanged (elsewhere than on CPU, XLA's own derivative);
- ``dT/dw`` is the weight gradient, whose own two derivatives are the correlations above.

So there are two bilinear operations, and each one's rule names only these two, to any order.
"""

from functools import partial

import jax
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array, Float

from xrcam_jax.ops.conv_formulations import (
    correlate_on_cpu,
    native,
    native_input_gradient,
    native_weight_gradient,
    weight_products,
)
from xrcam_jax.ops.conv_geometry import Axis, Geometry, Pair
from xrcam_jax.ops.operation import operation
from xrcam_jax.ops.placement import added_up, vary_alike

Operands = tuple[Array, Array]


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
    """Convolves each of ``groups`` runs of channels with its own filters.

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

    Example:
      Each of two groups of two channels has one filter of ones:

      >>> import jax.numpy as jnp
      >>> x = jnp.arange(4.0).reshape(1, 1, 1, 4)
      >>> options = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
      >>> grouped_conv(x, jnp.ones((1, 1, 2, 2)), **options, groups=2).tolist()
      [[[[1.0, 5.0]]]]
    """
    height, width = (Axis(*axis) for axis in zip(strides, dilation, *zip(*padding, strict=True), strict=True))
    _check(x, kernel, Geometry((height, width), groups))
    rows, height = height.thinned(x.shape[1], kernel.shape[0])
    columns, width = width.thinned(x.shape[2], kernel.shape[1])
    return _correlate(Geometry((height, width), groups), *vary_alike(x[:, rows, columns], kernel))


def _check(x: Array, kernel: Array, geometry: Geometry) -> None:
    for name, operand, meaning in (("x", x, "b h w c"), ("kernel", kernel, "kh kw k o")):
        if operand.ndim != 4:
            raise ValueError(f"{name} must have the axes ({meaning}), got shape {operand.shape}")
    channels, inputs, outputs = x.shape[3], *kernel.shape[2:]
    groups = geometry.groups
    if groups < 1 or channels % groups or outputs % groups:
        raise ValueError(f"groups={groups} must divide the {channels} channels of x and {outputs} of kernel")
    if inputs * groups != channels:
        raise ValueError(
            f"kernel must have {channels // groups} inputs per group ({channels} channels of x in "
            f"groups={groups}), got shape {kernel.shape}"
        )
    if min(geometry.outputs(x.shape[1:3], kernel.shape[:2])) < 1:
        raise ValueError(f"kernel of shape {kernel.shape}, dilated, exceeds the padded x of shape {x.shape}")


@partial(jax.custom_vjp, nondiff_argnums=(0,))
@partial(jax.jit, static_argnums=0)
def _correlate(geometry: Geometry, x: Array, kernel: Array) -> Array:
    cpu, default = partial(correlate_on_cpu, geometry), partial(native, geometry)
    return lax.platform_dependent(x, kernel, cpu=cpu, default=default)


def _correlate_fwd(geometry: Geometry, x: Array, kernel: Array) -> tuple[Array, Operands]:
    return _correlate(geometry, x, kernel), (x, kernel)


def _correlate_bwd(geometry: Geometry, operands: Operands, g: Array) -> Operands:
    x, kernel = operands
    return _input_gradient(geometry, x, kernel, g), _weight_gradient(geometry, kernel.shape[:2], x, g)


_correlate.defvjp(_correlate_fwd, _correlate_bwd)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
@partial(jax.jit, static_argnums=(0, 1))
def _weight_gradient(geometry: Geometry, taps: Pair, x: Array, g: Array) -> Array:
    default = partial(native_weight_gradient, geometry, taps)
    if geometry.groups == 1:
        return default(x, g)
    products = added_up(partial(weight_products, geometry, taps), x, g)
    return lax.platform_dependent(x, g, cpu=products, default=default)


def _weight_gradient_fwd(geometry: Geometry, taps: Pair, x: Array, g: Array) -> tuple[Array, Operands]:
    return _weight_gradient(geometry, taps, x, g), (x, g)


def _weight_gradient_bwd(geometry: Geometry, taps: Pair, operands: Operands, kernel: Array) -> Operands:
    x, g = operands
    return _input_gradient(geometry, x, kernel, g), _correlate(geometry, x, kernel)


_weight_gradient.defvjp(_weight_gradient_fwd, _weight_gradient_bwd)


def _input_gradient(geometry: Geometry, x: Array, kernel: Array, g: Array) -> Array:
    """Returns the cotangent of ``x``, of which only the shape counts: a correlation, and differentiable as one."""
    transposed = geometry.transposed(x.shape[1:3], kernel.shape[:2])

    def correlation(x: Array, kernel: Array, g: Array) -> Array:
        return _correlate(transposed, g, _exchanged(geometry.groups, kernel))

    # Elsewhere XLA knows its own derivative by its form, and has operations for it.
    return lax.platform_dependent(x, kernel, g, cpu=correlation, default=partial(native_input_gradient, geometry))


def _exchanged(groups: int, kernel: Array) -> Array:
    """Returns the filters with their taps in reverse, and inputs and outputs of each group exchanged."""
    flipped = kernel[::-1, ::-1]
    if groups == 1:
        return _swapped(flipped)
    kh, kw, inputs, outputs = kernel.shape
    by_group = flipped.reshape(kh, kw, inputs, groups, outputs // groups)
    return by_group.swapaxes(2, 4).reshape(kh, kw, outputs // groups, groups * inputs)


# Fused with the reversal of the taps, this transposition is twice as slow on XLA's CPU backend. A call that may not be
# inlined prevents the fusion.
@set_xla_metadata(inlineable="false")
@jax.jit
def _swapped(kernel: Array) -> Array:
    return kernel.swapaxes(2, 3)
