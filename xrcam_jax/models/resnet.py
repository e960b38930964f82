"""ResNet, ResNeXt and their Selective Kernel versions.

There is one class for all of them; the numbers that tell them apart are in :mod:`xrcam_jax.models.specs`. Layers, names
and initialisation follow timm, whose checkpoints they load.

References:
  he2016, with the stride on the 3x3 convolution
  xie2017
  li2019
"""

from functools import partial
from typing import Any

from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.marks import mark
from xrcam_jax.models.classifier import Classifier
from xrcam_jax.models.layers import ConvNorm, scoped
from xrcam_jax.models.selective_kernel import SelectiveKernel
from xrcam_jax.models.specs import Spec, find_spec_of
from xrcam_jax.models.variant import ACTIVATIONS, PLAIN, Variant, pool, stage_strides
from xrcam_jax.ops.materialised import materialised
from xrcam_jax.ops.max_pool import max_pool

STAGES = ("layer1", "layer2", "layer3", "layer4")


class Block(nnx.Module):
    """Applies convolutions in a row, adds the input and ends in an activation: a residual block.

    Args:
      features_in: input channels.
      planes: 64, 128, 256, 512 by stage, unless the network is a narrow one.
      spec: the network's shape.
      stride: step of the 3x3 convolution and of the shortcut.
      dilations: of the first 3x3 convolution, and of the second where there is one.
      act: the activation, as for :class:`xrcam_jax.models.layers.ConvNorm`.
      dtype: dtype of the parameters.
      rngs: random streams for the parameters.
    """

    def __init__(
        self,
        features_in: int,
        planes: int,
        spec: Spec,
        *,
        stride: int,
        dilations: tuple[int, int],
        act: str,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        conv = partial(ConvNorm, act=act, dtype=dtype, rngs=rngs)
        first, second = dilations
        if spec.selective_kernel is None:
            spatial = partial(conv, size=3, dilation=first)
        else:
            spatial = partial(
                SelectiveKernel, spec=spec.selective_kernel, dilation=first, act=act, dtype=dtype, rngs=rngs
            )

        features_out = spec.expansion * planes
        if spec.bottleneck:
            width = planes * spec.base_width // 64 * spec.groups
            self.conv1 = conv(features_in, width, 1)
            self.conv2 = spatial(width, width, stride=stride, groups=spec.groups)
            self.conv3 = conv(width, features_out, 1, act=None)
        else:
            self.conv1 = spatial(features_in, planes, stride=stride)
            self.conv2 = conv(planes, features_out, 3, dilation=second, act=None)
        self.names = ("conv1", "conv2", "conv3")[: 3 if spec.bottleneck else 2]
        self.act = act

        reshapes = stride != 1 or features_in != features_out
        self.downsample = conv(features_in, features_out, 1, stride=stride, act=None) if reshapes else None

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        y = x
        for name in self.names:
            y = scoped(name, getattr(self, name), y)
        shortcut = x if self.downsample is None else scoped("downsample", self.downsample, x)
        return materialised(ACTIVATIONS[self.act](y + shortcut))


class ResNet(Classifier):
    """Maps pictures to class logits through four stages of residual blocks.

    The output of each stage is marked. That is what the next stage sees, after the dropout of the last block.
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
        spec = find_spec_of(name, Spec)
        options: dict[str, Any] = {"act": variant.act_layer or "relu", "dtype": self.param_dtype, "rngs": rngs}
        self.conv1 = ConvNorm(variant.in_channels, spec.planes, 7, stride=2, **options)
        features = spec.planes
        strides = stage_strides((1, 2, 2, 2), 4, variant.output_stride)
        for i, (stage, depth) in enumerate(zip(STAGES, spec.depths, strict=True)):
            planes, blocks = spec.planes * 2**i, nnx.List()
            stride, first, dilation = strides[i]
            for _ in range(depth):
                # The first block has the stride of its stage, and the dilation of the stage before.
                blocks.append(Block(features, planes, spec, stride=stride, dilations=(first, dilation), **options))
                stride, first = 1, dilation
                features = spec.expansion * planes
            setattr(self, stage, blocks)
        # One module serves all blocks, since its stream of keys moves on with each use.
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)
        features *= 2 if variant.global_pool == "catavgmax" else 1
        self.fc = nnx.Linear(features, num_classes, dtype=self.dtype, param_dtype=self.param_dtype, rngs=rngs)

    def logits(self, x: Float[Array, "b h w c"], rngs: nnx.Rngs | None) -> Float[Array, "b n"]:
        """Computes the logits of pictures that are known to be some."""
        y = scoped("conv1", self.conv1, x)
        y = max_pool(y, window=3, stride=2, padding=1)
        for stage in STAGES:
            for i, block in enumerate(getattr(self, stage)):
                y = self.dropout(scoped(f"{stage}/{i}", block, y), rngs=rngs)
            y = mark(y, stage)
        return scoped("fc", self.fc, pool(y, self.variant.global_pool))
