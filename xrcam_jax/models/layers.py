"""The pieces that every network here is made of, computing what PyTorch's layers of the same name compute."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from xrcam_jax.ops.batch_norm import normalise_batch
from xrcam_jax.ops.grouped_conv import grouped_conv
from xrcam_jax.ops.pointwise_conv import pointwise_conv


def he_normal(key: jax.Array, shape: tuple[int, int, int, int], dtype: jnp.dtype) -> jax.Array:
    """A kernel (HWIO) drawn as timm draws its ResNets': He et al. 2015, over the outputs."""
    height, width, _, features_out = shape
    # Flat: XLA compiles random bits with four axes several times more slowly.
    values = jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)
    return values * math.sqrt(2.0 / (height * width * features_out))


def scoped(name: str, layer: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """``layer(x)``, called ``name`` in profiles and wherever a rule is chosen by a layer's name."""
    with jax.named_scope(name):
        return layer(x)


class Conv(nnx.Module):
    """A 2-D convolution without bias; odd kernels are padded symmetrically, as PyTorch pads them.

    XLA's ``"SAME"`` pads an even-sized picture on one side only at stride 2, which shifts it by a pixel.

    Args:
      features_in: input channels.
      features_out: output channels.
      size: height and width of the kernel, odd.
      stride: of both axes.
      dilation: of both axes.
      groups: each output channel sees ``features_in / groups`` inputs.
      dtype: of the kernel; the computation follows the input's.
      rngs: for the kernel.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        shape = (size, size, features_in // groups, features_out)
        self.kernel = nnx.Param(he_normal(rngs.params(), shape, dtype))
        self.stride = stride
        self.dilation = dilation
        self.groups = groups
        self.padding = dilation * (size // 2)

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        kernel = self.kernel[...].astype(x.dtype)
        if kernel.shape[:2] == (1, 1) and self.groups == 1:
            return pointwise_conv(x, kernel, stride=self.stride)
        strides, dilation = (self.stride, self.stride), (self.dilation, self.dilation)
        padding = ((self.padding, self.padding), (self.padding, self.padding))
        return grouped_conv(x, kernel, strides=strides, padding=padding, dilation=dilation, groups=self.groups)


class BatchNorm(nnx.BatchNorm):
    """Flax's batch normalisation over the last axis; :func:`normalise_batch` does the training."""

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        if self.use_running_average:
            return super().__call__(x)
        dtype = self.scale[...].dtype
        y, mean, variance = normalise_batch(x.astype(dtype), self.scale[...], self.bias[...], self.epsilon)
        for statistic, seen in ((self.mean, mean), (self.var, variance)):
            moved = self.momentum * statistic[...] + (1 - self.momentum) * seen
            statistic[...] = lax.stop_gradient(moved)
        return y


def batch_norm(features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> BatchNorm:
    """Batch normalisation with timm's constants; PyTorch's momentum 0.1 is Flax's 0.9.

    At inference it is an elementwise affine map. It computes in ``dtype``, its parameters' own: rounding
    the statistics to bfloat16 costs more accuracy than all of the convolutions.
    """
    norm = BatchNorm(features, momentum=0.9, epsilon=1e-5, dtype=dtype, param_dtype=dtype, rngs=rngs)
    # Flax keeps the statistics in float32 whatever param_dtype says.
    if dtype != jnp.float32:
        norm.mean = nnx.BatchStat(jnp.zeros(features, dtype))
        norm.var = nnx.BatchStat(jnp.ones(features, dtype))
    return norm


class ConvNorm(nnx.Module):
    """Convolution, batch normalisation and, unless ``relu=False``, a ReLU. Arguments as for `Conv`."""

    def __init__(
        self,
        features_in: int,
        features_out: int,
        size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        relu: bool = True,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.conv = Conv(
            features_in,
            features_out,
            size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            dtype=dtype,
            rngs=rngs,
        )
        self.bn = batch_norm(features_out, dtype=dtype, rngs=rngs)
        self.relu = relu

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        y = self.bn(self.conv(x)).astype(x.dtype)
        return nnx.relu(y) if self.relu else y
