"""Selective Kernel: paths of different receptive fields, weighed against each other by attention.

Source: Li, Wang, Hu, Yang, "Selective Kernel Networks", CVPR 2019 (arXiv:1903.06586), as built by timm.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from xrcam_jax.models.layers import Conv, ConvNorm, batch_norm, scoped
from xrcam_jax.models.specs import SelectiveKernelSpec

#: A 3x3 kernel with dilation 2 stands for the paper's 5x5.
DILATIONS = (1, 2)


def attention_width(channels: int, spec: SelectiveKernelSpec) -> int:
    """``channels / reduction`` as a multiple of ``divisor``, and never rounded down by a tenth or more."""
    wanted = channels / spec.reduction
    width = max(spec.divisor, int(wanted + spec.divisor / 2) // spec.divisor * spec.divisor)
    return width + spec.divisor if width < 0.9 * wanted else width


class Attention(nnx.Module):
    """How much each path counts, per picture and channel; over the paths it sums to one."""

    def __init__(self, channels: int, spec: SelectiveKernelSpec, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        width = attention_width(channels, spec)
        self.fc_reduce = Conv(channels, width, 1, dtype=dtype, rngs=rngs)
        self.bn = batch_norm(width, dtype=dtype, rngs=rngs)
        self.fc_select = Conv(width, len(DILATIONS) * channels, 1, dtype=dtype, rngs=rngs)

    def __call__(self, paths: Float[Array, "b h w p c"]) -> Float[Array, "b 1 1 p c"]:
        pooled = paths.sum(axis=-2).mean(axis=(1, 2), keepdims=True)
        hidden = nnx.relu(self.bn(scoped("fc_reduce", self.fc_reduce, pooled)).astype(pooled.dtype))
        logits = scoped("fc_select", self.fc_select, hidden)
        return jax.nn.softmax(logits.reshape(-1, 1, 1, *paths.shape[-2:]), axis=-2)


class SelectiveKernel(nnx.Module):
    """A 3x3 and a dilated 3x3 convolution side by side, each with norm and ReLU, summed under attention.

    Args:
      features_in: input channels, even where ``spec.split_input``.
      features_out: output channels, of each path and of their sum.
      spec: the proportions.
      stride: of both paths.
      groups: of both paths.
      dtype: of the parameters.
      rngs: for the parameters.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        spec: SelectiveKernelSpec,
        *,
        stride: int = 1,
        groups: int = 1,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        path_in = features_in // len(DILATIONS) if spec.split_input else features_in
        self.paths = nnx.List(
            ConvNorm(
                path_in,
                features_out,
                3,
                stride=stride,
                dilation=dilation,
                groups=groups,
                dtype=dtype,
                rngs=rngs,
            )
            for dilation in DILATIONS
        )
        self.attn = Attention(features_out, spec, dtype=dtype, rngs=rngs)
        self.split_input = spec.split_input

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        inputs = jnp.split(x, len(self.paths), axis=-1) if self.split_input else [x] * len(self.paths)
        outputs = [
            scoped(f"paths/{i}", path, part) for i, (path, part) in enumerate(zip(self.paths, inputs, strict=True))
        ]
        # Next to the channels, not in front: an axis that splits a sharded one cannot be reshaped away.
        signal = jnp.stack(outputs, axis=-2)
        gate = scoped("attn", self.attn, signal)
        return (signal * gate).sum(axis=-2)
