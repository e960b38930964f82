"""Selective Kernel: paths of different receptive fields, weighted against each other by attention, as timm has it.

References:
  li2019
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.models.layers import Conv, ConvNorm, batch_norm, scoped
from xrcam_jax.models.specs import SelectiveKernelSpec
from xrcam_jax.models.widths import multiple

#: Dilations of the paths' 3x3 kernels; the one with dilation 2 stands for the paper's 5x5 kernel.
DILATIONS = (1, 2)


def attention_width(channels: int, spec: SelectiveKernelSpec) -> int:
    """Returns ``channels / reduction``, rounded to a multiple of ``divisor`` but never down by a tenth or more.

    Args:
      channels: number of channels of each path.
      spec: has ``reduction`` and ``divisor``, which is also the least width.

    Returns:
      The number of hidden features of the attention.

    Example:
      >>> from xrcam_jax.models.specs import SelectiveKernelSpec
      >>> attention_width(1024, SelectiveKernelSpec(reduction=16, divisor=32, split_input=False))
      64
    """
    return multiple(channels / spec.reduction, spec.divisor)


def selective_units(model: nnx.Module) -> tuple[str, ...]:
    """Returns the names of a network's Selective Kernel units, under which their values are layers.

    Args:
      model: any network.

    Returns:
      Scopes such as ``"layer1/0/conv2"``, the lowest first. Inside one, ``paths/0`` and ``paths/1`` are the outputs of
      its paths (b, h, w, c), and ``attn`` is its attention (b, 1, 1, p, c).

    Example:
      >>> from flax import nnx
      >>> from xrcam_jax.models.selective_kernel import selective_units
      >>> selective_units(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
      ()
    """
    found = [path for path, module in nnx.iter_modules(model) if isinstance(module, SelectiveKernel)]
    return tuple("/".join(map(str, path)) for path in sorted(found))


def passed(signal: Float[Array, "b h w p c"], gate: Float[Array, "b 1 1 p c"]) -> Float[Array, "b h w p"]:
    """Returns sum_k |a_pk x_pk|, how much of a unit's output comes from each path p at each place.

    Args:
      signal: x, the outputs of the paths. Behind a ReLU they are never negative, so that the absolute value changes
        nothing and the paths' sums add up to that of the unit's output.
      gate: a, the attention.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.models.selective_kernel import passed
      >>> signal = jnp.array([[1.0, 2.0], [4.0, 0.0]]).reshape(1, 1, 1, 2, 2)
      >>> gate = jnp.array([[0.5, 0.75], [0.5, 0.25]]).reshape(1, 1, 1, 2, 2)
      >>> passed(signal, gate).tolist()
      [[[[2.0, 2.0]]]]
    """
    return jnp.abs(signal * gate).sum(axis=-1)


def path_shares(amounts: Float[Array, "*b p"]) -> Float[Array, "*b p"]:
    """Returns which share of the whole each path has, in [0, 1]; equal shares where there is nothing.

    Args:
      amounts: of each path, never negative, as of :func:`passed`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.models.selective_kernel import path_shares
      >>> path_shares(jnp.array([[1.0, 3.0], [0.0, 0.0]])).tolist()
      [[0.25, 0.75], [0.5, 0.5]]
    """
    whole = amounts.sum(axis=-1, keepdims=True)
    return jnp.where(whole > 0, amounts / jnp.where(whole > 0, whole, 1), 1 / amounts.shape[-1])


class Attention(nnx.Module):
    """Weights the paths, per picture and channel; over the paths the weights sum to one.

    Its hidden features go through a ReLU whatever the network's activation is, as timm has it.

    Args:
      channels: number of channels of each path.
      spec: the proportions.
      dtype: dtype of the parameters.
      rngs: random streams for the parameters.
    """

    def __init__(self, channels: int, spec: SelectiveKernelSpec, *, dtype: DTypeLike, rngs: nnx.Rngs):
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
    """Sums a 3x3 and a dilated 3x3 convolution, each with norm and ReLU, under attention.

    Args:
      features_in: input channels, even where ``spec.split_input``.
      features_out: output channels of each path and of their sum.
      spec: the proportions.
      stride: step of both paths.
      dilation: of both paths, besides that which tells them apart.
      act: the activation of both paths, as for :class:`xrcam_jax.models.layers.ConvNorm`.
      groups: number of groups of both paths.
      dtype: dtype of the parameters.
      rngs: random streams for the parameters.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        spec: SelectiveKernelSpec,
        *,
        stride: int = 1,
        dilation: int = 1,
        act: str | None = "relu",
        groups: int = 1,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        path_in = features_in // len(DILATIONS) if spec.split_input else features_in
        self.paths = nnx.List(
            ConvNorm(
                path_in,
                features_out,
                3,
                stride=stride,
                dilation=dilation * reach,
                act=act,
                groups=groups,
                dtype=dtype,
                rngs=rngs,
            )
            for reach in DILATIONS
        )
        self.attn = Attention(features_out, spec, dtype=dtype, rngs=rngs)
        self.split_input = spec.split_input

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        inputs = jnp.split(x, len(self.paths), axis=-1) if self.split_input else [x] * len(self.paths)
        outputs = [
            scoped(f"paths/{i}", path, part) for i, (path, part) in enumerate(zip(self.paths, inputs, strict=True))
        ]
        # The new axis is next to the channels, since one that splits the sharded batch could not be reshaped away.
        signal = jnp.stack(outputs, axis=-2)
        gate = scoped("attn", self.attn, signal)
        return (signal * gate).sum(axis=-2)
