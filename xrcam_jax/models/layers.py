"""The layers that every network here is made of; they compute what PyTorch's layers of the same name compute."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.models.draws import normal
from xrcam_jax.models.variant import ACTIVATIONS
from xrcam_jax.ops.batch_norm import normalise_batch
from xrcam_jax.ops.grouped_conv import grouped_conv
from xrcam_jax.ops.pointwise_conv import pointwise_conv


def scoped(name: str, layer: Callable[[Array], Array], x: Array) -> Array:
    """Calls a layer under a name, for profiles and wherever a rule is chosen by a layer's name.

    Args:
      name: name of the layer, within the scope that it is called in.
      layer: the layer.
      x: its input.

    Returns:
      ``layer(x)``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> (equation,) = jax.make_jaxpr(lambda x: scoped("conv1", jnp.sin, x))(1.0).eqns
      >>> str(equation.source_info.name_stack)
      'conv1'
    """
    with jax.named_scope(name):
        return layer(x)


class Conv(nnx.Module):
    """Convolves pictures, and pads them alike on both sides, as PyTorch does.

    At stride 2, XLA's ``"SAME"`` pads an even-sized picture on one side only, which would shift it by a pixel. Weights
    that were trained in TensorFlow want just that.

    Args:
      features_in: input channels.
      features_out: output channels.
      size: height and width of the kernel, odd.
      stride: step along both axes.
      dilation: distance between neighbouring taps along both axes.
      groups: number of groups; each output channel sees ``features_in / groups`` inputs.
      same: whether to pad as XLA's and TensorFlow's ``"SAME"`` do.
      padding: zeros on each side; by default half of the kernel, so that the size stays at stride 1.
      bias: whether there is one.
      dtype: dtype of the kernel; the computation follows the input's.
      rngs: random streams for the kernel.
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
        same: bool = False,
        padding: int | None = None,
        bias: bool = False,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        shape = (size, size, features_in // groups, features_out)
        self.kernel = nnx.Param(_he_normal(rngs, shape, dtype))
        self.bias = nnx.Param(jnp.zeros(features_out, dtype)) if bias else None
        self.stride = stride
        self.dilation = dilation
        self.groups = groups
        zeros = dilation * (size // 2) if padding is None else padding
        self.padding = "SAME" if same else ((zeros, zeros), (zeros, zeros))

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        y = self.convolve(x, self.kernel[...].astype(x.dtype))
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)

    def convolve(self, x: Float[Array, "b h w i"], kernel: Float[Array, "kh kw k o"]) -> Float[Array, "b p q o"]:
        """Convolves by the formulation that is made for the size of the kernel."""
        if kernel.shape[:2] == (1, 1) and self.groups == 1:
            return pointwise_conv(x, kernel, stride=self.stride)
        strides, dilation = (self.stride, self.stride), (self.dilation, self.dilation)
        padding = self.padding
        if padding == "SAME":
            reach = [self.dilation * (taps - 1) + 1 for taps in kernel.shape[:2]]
            height, width = lax.padtype_to_pads(x.shape[1:3], reach, strides, padding)
            padding = height, width
        return grouped_conv(x, kernel, strides=strides, padding=padding, dilation=dilation, groups=self.groups)


class BatchNorm(nnx.BatchNorm):
    """Normalises the last axis as Flax does; in training it calls :func:`normalise_batch`."""

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        if self.use_running_average:
            return super().__call__(x)
        dtype = self.scale[...].dtype
        y, mean, variance = normalise_batch(x.astype(dtype), self.scale[...], self.bias[...], self.epsilon)
        for statistic, seen in ((self.mean, mean), (self.var, variance)):
            moved = self.momentum * statistic[...] + (1 - self.momentum) * seen
            statistic[...] = lax.stop_gradient(moved)
        return y


def batch_norm(features: int, *, epsilon: float = 1e-5, dtype: DTypeLike, rngs: nnx.Rngs) -> BatchNorm:
    """Makes a batch normalisation with timm's constants; PyTorch's momentum 0.1 is Flax's 0.9.

    At inference it is an elementwise affine map. It computes in the dtype of its parameters, since rounding the
    statistics to bfloat16 would cost more accuracy than all of the convolutions.

    Args:
      features: number of channels.
      epsilon: what is added to the variance.
      dtype: dtype of parameters and statistics.
      rngs: random streams, which Flax asks for; all values are zeros and ones.

    Returns:
      The layer.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> norm = batch_norm(3, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0))
      >>> norm.scale[...].tolist(), norm.var[...].tolist()
      ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    """
    norm = BatchNorm(features, momentum=0.9, epsilon=epsilon, dtype=dtype, param_dtype=dtype, rngs=rngs)
    # Flax keeps the statistics in float32 whatever param_dtype says.
    if dtype != jnp.float32:
        norm.mean = nnx.BatchStat(jnp.zeros(features, dtype))
        norm.var = nnx.BatchStat(jnp.ones(features, dtype))
    return norm


class ConvNorm(nnx.Module):
    """Convolves, normalises the batch and applies an activation.

    Args:
      features_in: as for :class:`Conv`.
      features_out: as for :class:`Conv`.
      size: as for :class:`Conv`.
      stride: as for :class:`Conv`.
      dilation: as for :class:`Conv`.
      groups: as for :class:`Conv`.
      act: the activation, a key of :data:`xrcam_jax.models.variant.ACTIVATIONS`; None for none.
      dtype: dtype of parameters and statistics.
      rngs: random streams for the parameters.
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
        act: str | None = "relu",
        dtype: DTypeLike,
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
        self.act = act

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        y = self.bn(self.conv(x)).astype(x.dtype)
        return y if self.act is None else ACTIVATIONS[self.act](y)


def _he_normal(rngs: nnx.Rngs, shape: tuple[int, int, int, int], dtype: DTypeLike) -> Float[Array, "kh kw i o"]:
    """Draws a kernel as timm draws those of its ResNets: by he2015, over the outputs."""
    height, width, _, features_out = shape
    return normal(rngs, shape, dtype) * math.sqrt(2.0 / (height * width * features_out))
