"""EfficientNet-Lite: blocks that widen, convolve each channel by itself, and narrow again.

The numbers that tell the networks apart are in :mod:`xrcam_jax.models.specs`. Layers and initialisation follow timm,
whose checkpoints they load.

References:
  tan2019
  sandler2018
"""

import math
from functools import partial

from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.marks import mark
from xrcam_jax.models.classifier import Classifier
from xrcam_jax.models.layers import Conv, batch_norm, scoped
from xrcam_jax.models.specs import MobileSpec, MobileStage, find_spec
from xrcam_jax.models.variant import ACTIVATIONS, PLAIN, Variant, pool, stage_strides
from xrcam_jax.ops.materialised import materialised

#: Channels of the first convolution, and of the last.
STEM, HEAD = 32, 1280
#: The stages after which the side is halved, and the marks of their outputs. The head has the last mark.
MARKS = {1: "layer1", 2: "layer2", 4: "layer3"}


class Unit(nnx.Module):
    """Convolves, normalises the batch and applies an activation, by default a ReLU that ends at 6.

    Args:
      features_in: input channels.
      features_out: output channels.
      size: height and width of the kernel, odd.
      stride: step along both axes.
      dilation: distance between neighbouring taps along both axes.
      groups: number of groups.
      act: the activation, as for :class:`xrcam_jax.models.layers.ConvNorm`.
      tensorflow: as in :class:`xrcam_jax.models.specs.MobileSpec`.
      dtype: dtype of parameters and statistics.
      rngs: random streams for the parameters.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        act: str | None = "relu6",
        tensorflow: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        options = {"stride": stride, "dilation": dilation, "groups": groups, "dtype": dtype, "rngs": rngs}
        self.conv = Conv(features_in, features_out, size, same=tensorflow, **options)
        # timm draws by the outputs of a group here, and by those of all groups in its ResNets.
        self.conv.kernel[...] *= math.sqrt(groups)
        self.bn = batch_norm(features_out, epsilon=1e-3 if tensorflow else 1e-5, dtype=dtype, rngs=rngs)
        self.act = act

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        y = self.bn(self.conv(x)).astype(x.dtype)
        return y if self.act is None else ACTIVATIONS[self.act](y)


class Block(nnx.Module):
    """Widens, convolves each channel by itself, narrows, and adds the input where shapes allow.

    Args:
      features_in: input channels.
      stage: the stage that the block is in.
      stride: step of the depthwise convolution.
      dilation: of the depthwise convolution.
      act: as for :class:`Unit`.
      tensorflow: as for :class:`Unit`.
      dtype: dtype of parameters and statistics.
      rngs: random streams for the parameters.
    """

    def __init__(
        self,
        features_in: int,
        stage: MobileStage,
        *,
        stride: int,
        dilation: int,
        act: str,
        tensorflow: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        unit = partial(Unit, act=act, tensorflow=tensorflow, dtype=dtype, rngs=rngs)
        width = stage.expansion * features_in
        if stage.expansion > 1:
            self.expand = unit(features_in, width)
        self.depthwise = unit(width, width, stage.size, stride=stride, dilation=dilation, groups=width)
        self.project = unit(width, stage.features, act=None)
        self.names = ("expand", "depthwise", "project")[stage.expansion == 1 :]
        self.residual = stride == 1 and features_in == stage.features

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        y = x
        for name in self.names:
            y = scoped(name, getattr(self, name), y)
        return materialised(x + y) if self.residual else y


class EfficientNet(Classifier):
    """Maps pictures to class logits through seven stages of blocks.

    The marked layers are the outputs of stages 1, 2 and 4, counted from zero, which have either sign, and of the head,
    which are what the mean before the linear layer sees.
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
        spec = find_spec(name)
        if not isinstance(spec, MobileSpec):
            raise ValueError(f"{name} is not an EfficientNet")
        act = variant.act_layer or "relu6"
        options = {"act": act, "tensorflow": spec.tensorflow, "dtype": self.param_dtype, "rngs": rngs}
        self.stem = Unit(variant.in_channels, STEM, 3, stride=2, **options)
        self.blocks, features = nnx.List(), STEM
        strides = stage_strides(tuple(stage.stride for stage in spec.stages), 2, variant.output_stride)
        for stage, (stride, first, dilation) in zip(spec.stages, strides, strict=True):
            blocks = nnx.List()
            for _ in range(stage.blocks):
                # The first block has the stride of its stage, and the dilation of the stage before.
                blocks.append(Block(features, stage, stride=stride, dilation=first, **options))
                stride, first, features = 1, dilation, stage.features
            self.blocks.append(blocks)
        self.head = Unit(features, HEAD, **options)
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)
        features = HEAD * (2 if variant.global_pool == "catavgmax" else 1)
        self.fc = nnx.Linear(features, num_classes, dtype=self.dtype, param_dtype=self.param_dtype, rngs=rngs)

    def logits(self, x: Float[Array, "b h w c"], rngs: nnx.Rngs | None) -> Float[Array, "b n"]:
        """Computes the logits of pictures that are known to be some."""
        y = scoped("stem", self.stem, x)
        for i, blocks in enumerate(self.blocks):
            for j, block in enumerate(blocks):
                y = self.dropout(scoped(f"blocks/{i}/{j}", block, y), rngs=rngs)
            y = mark(y, MARKS[i]) if i in MARKS else y
        y = mark(scoped("head", self.head, y), "layer4")
        return scoped("fc", self.fc, pool(y, self.variant.global_pool))
