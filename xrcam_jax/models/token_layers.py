"""The layers that transformers and ConvNeXt share; their parameters have the names that timm gives them.

As in Flax, a layer computes in ``dtype`` and keeps its parameters in ``param_dtype``.
"""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.models.draws import OnlyShapes, normal
from xrcam_jax.models.layers import scoped
from xrcam_jax.models.variant import ACTIVATIONS
from xrcam_jax.ops.grouped_conv import grouped_conv
from xrcam_jax.ops.pointwise_conv import pointwise_conv

#: Deviation of the weights in a fresh network. timm cuts the normal distribution off a hundred deviations away.
DEVIATION = 0.02


def drawn(shape: tuple[int, ...], param_dtype: DTypeLike, rngs: nnx.Rngs) -> nnx.Param:
    """Makes a parameter whose values are drawn as timm draws those of transformers.

    Args:
      shape: of the parameter.
      param_dtype: of the parameter.
      rngs: random streams.

    Returns:
      Values from a normal distribution.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> token = drawn((1, 1, 1000), jnp.float32, nnx.Rngs(0))
      >>> token.shape, bool(abs(token[...].std() - 0.02) < 0.002)
      ((1, 1, 1000), True)
    """
    return nnx.Param(DEVIATION * normal(rngs, shape, param_dtype))


def dense(
    features_in: int,
    features_out: int,
    *,
    bias: bool = True,
    dtype: DTypeLike,
    param_dtype: DTypeLike,
    rngs: nnx.Rngs,
) -> nnx.Linear:
    """Makes a dense layer with weights as timm draws those of transformers.

    Args:
      features_in: input channels.
      features_out: output channels.
      bias: whether there is one.
      dtype: of the computation.
      param_dtype: of the parameters.
      rngs: random streams for the parameters.

    Returns:
      The layer.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> dense(2, 3, dtype=jnp.float32, param_dtype=jnp.float32, rngs=nnx.Rngs(0)).kernel.shape
      (2, 3)
    """
    draw = nnx.initializers.zeros if isinstance(rngs, OnlyShapes) else nnx.initializers.normal(DEVIATION)
    return nnx.Linear(
        features_in, features_out, use_bias=bias, kernel_init=draw, dtype=dtype, param_dtype=param_dtype, rngs=rngs
    )


class LayerNorm(nnx.Module):
    """Subtracts the mean over the last axis, divides by the deviation, multiplies by a scale and adds a bias.

    It computes in the dtype of its parameters, since rounding the statistics to bfloat16 would cost accuracy.

    Args:
      features: number of channels.
      epsilon: what is added to the variance.
      param_dtype: dtype of the parameters.
      rngs: random streams, as all layers take them; all values are zeros and ones.
    """

    def __init__(self, features: int, *, epsilon: float = 1e-6, param_dtype: DTypeLike, rngs: nnx.Rngs):
        self.scale = nnx.Param(jnp.ones(features, param_dtype))
        self.bias = nnx.Param(jnp.zeros(features, param_dtype))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        scale, bias = self.scale[...], self.bias[...]
        y = x.astype(scale.dtype)
        centred = y - y.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return (centred * lax.rsqrt(variance + self.epsilon) * scale + bias).astype(x.dtype)


class BiasedConv(nnx.Module):
    """Convolves pictures and adds a bias.

    Args:
      features_in: input channels.
      features_out: output channels.
      size: height and width of the kernel.
      stride: step along both axes.
      padding: zeros before and after, along both axes.
      dilation: distance between neighbouring taps along both axes.
      groups: number of groups; each output channel sees ``features_in / groups`` inputs.
      param_dtype: dtype of the parameters; the computation follows the input's.
      rngs: random streams for the kernel.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        size: int,
        *,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        dilation: int = 1,
        groups: int = 1,
        param_dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.kernel = drawn((size, size, features_in // groups, features_out), param_dtype, rngs)
        self.bias = nnx.Param(jnp.zeros(features_out, param_dtype))
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        kernel, bias = (parameter[...].astype(x.dtype) for parameter in (self.kernel, self.bias))
        if kernel.shape[:2] == (1, 1):
            return pointwise_conv(x, kernel, stride=self.stride) + bias
        strides, dilation = (self.stride, self.stride), (self.dilation, self.dilation)
        z = grouped_conv(
            x, kernel, strides=strides, padding=(self.padding, self.padding), dilation=dilation, groups=self.groups
        )
        return z + bias


class PatchEmbed(nnx.Module):
    """Makes a token of each patch of a picture.

    Args:
      channels: of a picture.
      features: channels of a token.
      patch: height and width of a patch in pixels.
      norm: whether tokens are normalised.
      param_dtype: dtype of the parameters.
      rngs: random streams for the parameters.
    """

    def __init__(
        self, channels: int, features: int, patch: int, *, norm: bool = False, param_dtype: DTypeLike, rngs: nnx.Rngs
    ):
        self.proj = BiasedConv(channels, features, patch, stride=patch, param_dtype=param_dtype, rngs=rngs)
        self.norm = LayerNorm(features, epsilon=1e-5, param_dtype=param_dtype, rngs=rngs) if norm else None

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q c"]:
        y = scoped("proj", self.proj, x)
        return y if self.norm is None else scoped("norm", self.norm, y)


class LayerScale(nnx.Module):
    """Multiplies each channel by a factor of its own.

    Args:
      features: number of channels.
      value: the factors of a fresh network.
      param_dtype: dtype of the factors.
    """

    def __init__(self, features: int, value: float, *, param_dtype: DTypeLike):
        self.gamma = nnx.Param(jnp.full(features, value, param_dtype))

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        return x * self.gamma[...].astype(x.dtype)


class Mlp(nnx.Module):
    """Widens each place's channels four times, applies an activation, and narrows them again.

    Args:
      features: number of channels.
      layer: (features_in, features_out) -> a layer: dense, or a 1x1 convolution.
      act: the activation, a key of :data:`xrcam_jax.models.variant.ACTIVATIONS`.
    """

    def __init__(self, features: int, layer: Callable[[int, int], nnx.Module], act: str = "gelu"):
        self.fc1, self.fc2, self.act = layer(features, 4 * features), layer(4 * features, features), act

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        return scoped("fc2", self.fc2, ACTIVATIONS[self.act](scoped("fc1", self.fc1, x)))
