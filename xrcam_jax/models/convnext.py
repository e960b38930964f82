"""ConvNeXt: residual blocks that convolve each channel by itself, and then see each place by itself.

There is one class for all of them; the numbers that tell them apart are in :mod:`xrcam_jax.models.convnext_specs`.
Layers, names and initialisation follow timm, whose checkpoints they load.

References:
  liu2022
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.marks import mark
from xrcam_jax.models.classifier import Classifier
from xrcam_jax.models.convnext_specs import ConvNextSpec
from xrcam_jax.models.layers import scoped
from xrcam_jax.models.specs import find_spec_of
from xrcam_jax.models.token_layers import BiasedConv, LayerNorm, Mlp, dense
from xrcam_jax.models.variant import PLAIN, Variant, pool, stage_strides

#: Height and width of a patch, and of the kernels that see one channel.
PATCH, SIZE = 4, 7
#: The factor of each branch in a fresh network.
LAYER_SCALE = 1e-6


class Block(nnx.Module):
    """Convolves each channel by itself, normalises, applies two layers at each place, and adds the input.

    Args:
      features: number of channels.
      conv_mlp: as in :class:`xrcam_jax.models.convnext_specs.ConvNextSpec`.
      dilation: of the convolution.
      act: the activation between the two layers.
      **options: as for :func:`xrcam_jax.models.token_layers.dense`.
    """

    def __init__(self, features: int, *, conv_mlp: bool, dilation: int, act: str, **options: Any):
        stored = {"param_dtype": options["param_dtype"], "rngs": options["rngs"]}
        reach = dilation * (SIZE // 2)
        self.conv_dw = BiasedConv(
            features, features, SIZE, padding=(reach, reach), dilation=dilation, groups=features, **stored
        )
        self.norm = LayerNorm(features, **stored)
        self.mlp = Mlp(features, partial(BiasedConv, size=1, **stored) if conv_mlp else partial(dense, **options), act)
        self.gamma = nnx.Param(jnp.full(features, LAYER_SCALE, options["param_dtype"]))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        y = scoped("norm", self.norm, scoped("conv_dw", self.conv_dw, x))
        return x + scoped("mlp", self.mlp, y) * self.gamma[...].astype(x.dtype)


class Stage(nnx.Module):
    """Has blocks in a row, behind a norm and a convolution that may change the size.

    Args:
      features_in: channels before the stage.
      features: channels within it.
      depth: number of blocks.
      stride: of the convolution before; None for no convolution.
      dilations: of that convolution, and of the blocks.
      **options: as for :class:`Block`.
    """

    def __init__(
        self,
        features_in: int,
        features: int,
        depth: int,
        *,
        stride: int | None,
        dilations: tuple[int, int],
        **options: Any,
    ):
        first, dilation = dilations
        stored = {"param_dtype": options["param_dtype"], "rngs": options["rngs"]}
        if stride is None:
            self.downsample = None
        else:
            # Where the size is kept, timm pads by a tap below and right, or around.
            padding = (first // 2, first - first // 2) if dilation > 1 and stride == 1 else (0, 0)
            conv = BiasedConv(features_in, features, 2, stride=stride, padding=padding, dilation=first, **stored)
            self.downsample = nnx.List([LayerNorm(features_in, **stored), conv])
        self.blocks = nnx.List(Block(features, dilation=dilation, **options) for _ in range(depth))


class ConvNext(Classifier):
    """Maps pictures to class logits through four stages of residual blocks.

    The output of each stage is marked; that of the last is what the mean sees, which is then normalised.
    """

    def __init__(
        self,
        name: str,
        *,
        num_classes: int,
        dropout_rate: float,
        variant: Variant = PLAIN,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        super().__init__(name, num_classes=num_classes, variant=variant, dtype=dtype)
        spec = find_spec_of(name, ConvNextSpec)
        stored: dict[str, Any] = {"param_dtype": self.param_dtype, "rngs": rngs}
        options = {
            "dtype": self.dtype,
            "act": variant.act_layer or "gelu",
            "conv_mlp": spec.conv_mlp,
            **stored,
        }
        features = spec.widths[0]
        stem = BiasedConv(variant.in_channels, features, PATCH, stride=PATCH, **stored)
        self.stem = nnx.List([stem, LayerNorm(features, **stored)])
        self.stages = nnx.List()
        strides = stage_strides((1, 2, 2, 2), PATCH, variant.output_stride)
        for i, (width, depth) in enumerate(zip(spec.widths, spec.depths, strict=True)):
            stride, _, dilation = strides[i]
            # timm dilates the convolution before a stage by the stage's own dilation, up to 2.
            dilations = (1 if dilation <= 2 else 2, dilation)
            stage = Stage(features, width, depth, stride=stride if i else None, dilations=dilations, **options)
            self.stages.append(stage)
            features = width
        # One module serves all blocks, since its stream of keys moves on with each use.
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)
        self.head = nnx.Dict(norm=LayerNorm(features, **stored))
        self.fc = dense(features, num_classes, dtype=self.dtype, **stored)

    def logits(self, x: Float[Array, "b h w c"], rngs: nnx.Rngs | None) -> Float[Array, "b n"]:
        """Computes the logits of pictures that are known to be some."""
        for i, layer in enumerate(self.stem):
            x = scoped(f"stem/{i}", layer, x)
        for i, stage in enumerate(self.stages):
            for j, layer in enumerate(stage.downsample or ()):
                x = scoped(f"stages/{i}/downsample/{j}", layer, x)
            for j, block in enumerate(stage.blocks):
                x = self.dropout(scoped(f"stages/{i}/blocks/{j}", block, x), rngs=rngs)
            x = mark(x, f"layer{i + 1}")
        x = scoped("head/norm", self.head.norm, pool(x, self.variant.global_pool))
        return scoped("fc", self.fc, x)
