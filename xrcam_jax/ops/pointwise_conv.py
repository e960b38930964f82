"""The 1 x 1 convolution, with derivatives that are fast on CPU.

XLA's CPU backend makes a matrix product of the convolution itself, but not of its derivatives. For the kernel's it
transposes both operands first, and it computes the cotangent twice, in one layout for each derivative.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from xrcam_jax.ops.operation import operation
from xrcam_jax.ops.placement import added_up, vary_alike

Operands = tuple[Array, Array]


@partial(operation, static_argnames="stride")
def pointwise_conv(
    x: Float[Array, "b h w i"], kernel: Float[Array, "1 1 i o"], *, stride: int
) -> Float[Array, "b p q o"]:
    """Convolves with a 1 x 1 kernel: ``z[b,p,q,o] = sum_i x[b, p * stride, q * stride, i] * kernel[0,0,i,o]``.

    In a jaxpr it is one ``jit`` equation named ``xrcam_jax.pointwise_conv`` with operands ``(x, kernel)``, so that a
    transformation can treat it as the one bilinear operation that it is. Reverse mode to any order, vmap and sharding
    work; forward mode does not (``jax.custom_vjp``).

    Args:
      x: inputs, channels last.
      kernel: filters, of the dtype of ``x``.
      stride: of both axes.

    Returns:
      ``z``, of the dtype of ``x``.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
      >>> pointwise_conv(x, 10 * jnp.ones((1, 1, 1, 1)), stride=1)[0, :, :, 0].tolist()
      [[10.0, 20.0], [30.0, 40.0]]
    """
    return _convolve(stride, *vary_alike(x, kernel))


def _native(stride: int, x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


_convolve = jax.custom_vjp(_native, nondiff_argnums=(0,))


def _forward(stride: int, x: Array, kernel: Array) -> tuple[Array, Operands]:
    return _convolve(stride, x, kernel), (x, kernel)


def _backward(stride: int, operands: Operands, g: Array) -> Operands:
    x, kernel = operands

    def native_input_gradient(x: Array, kernel: Array, g: Array) -> Array:
        return jax.vjp(lambda x: _native(stride, x, kernel), x)[1](g)[0]

    def native_weight_gradient(x: Array, kernel: Array, g: Array) -> Array:
        return jax.vjp(lambda kernel: _native(stride, x, kernel), kernel)[1](g)[0]

    def input_product(x: Array, kernel: Array, g: Array) -> Array:
        # Without the barrier XLA multiplies by rows of the kernel, which is up to three times slower for large ones.
        transposed = lax.optimization_barrier(kernel[0, 0].T)
        seen = jnp.einsum("bpqo,oi->bpqi", g, transposed)
        between = [(0, size - (n - 1) * stride - 1, stride - 1) for size, n in zip(x.shape, g.shape, strict=True)]
        return lax.pad(seen, jnp.zeros((), g.dtype), ((0, 0, 0), *between[1:3], (0, 0, 0)))

    def weight_product(x: Array, kernel: Array, g: Array) -> Array:
        # As rows, since XLA would transpose an x of more axes.
        seen, rows = (a.reshape(-1, a.shape[3]) for a in (x[:, ::stride, ::stride], g))
        return lax.dot_general(seen, rows, (((0,), (0,)), ((), ())))[None, None]

    return (
        lax.platform_dependent(x, kernel, g, cpu=input_product, default=native_input_gradient),
        lax.platform_dependent(x, kernel, g, cpu=added_up(weight_product, x, g), default=native_weight_gradient),
    )


_convolve.defvjp(_forward, _backward)
