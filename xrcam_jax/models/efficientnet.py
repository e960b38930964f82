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
from xrcam_jax.ops.materialised import materialised

#: Channels of the first convolution, and of the last.
STEM, HEAD = 32, 1280
#: The stages after which the side is halved, and the marks of their outputs. The head has the last mark.
MARKS = {1: "layer1", 2: "layer2", 4: "layer3"}


class Unit(nnx.Module):
    """Convolves, normalises the batch and applies a ReLU that ends at 6.

    Args:
      features_in: input channels.
      features_out: output channels.
      size: height and width of the kernel, odd.
      stride: step along both axes.
      groups: number of groups.
      relu6: whether there is a ReLU.
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
        groups: int = 1,
        relu6: bool = True,
        tensorflow: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        options = {"stride": stride, "groups": groups, "same": tensorflow, "dtype": dtype, "rngs": rngs}
        self.conv = Conv(features_in, features_out, size, **options)
        # timm draws by the outputs of a group here, and by those of all groups in its ResNets.
        self.conv.kernel[...] *= math.sqrt(groups)
        self.bn = batch_norm(features_out, epsilon=1e-3 if tensorflow else 1e-5, dtype=dtype, rngs=rngs)
        self.relu6 = relu6

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        y = self.bn(self.conv(x)).astype(x.dtype)
        return nnx.relu6(y) if self.relu6 else y


class Block(nnx.Module):
    """Widens, convolves each channel by itself, narrows, and adds the input where shapes allow.

    Args:
      features_in: input channels.
      stage: the stage that the block is in.
      stride: step of the depthwise convolution.
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
        tensorflow: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        unit = partial(Unit, tensorflow=tensorflow, dtype=dtype, rngs=rngs)
        width = stage.expansion * features_in
        if stage.expansion > 1:
            self.expand = unit(features_in, width)
        self.depthwise = unit(width, width, stage.size, stride=stride, groups=width)
        self.project = unit(width, stage.features, relu6=False)
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
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        super().__init__(name, num_classes=num_classes, dtype=dtype)
        spec = find_spec(name)
        if not isinstance(spec, MobileSpec):
            raise ValueError(f"{name} is not an EfficientNet")
        options = {"tensorflow": spec.tensorflow, "dtype": self.param_dtype, "rngs": rngs}
        self.stem = Unit(3, STEM, 3, stride=2, **options)
        self.blocks, features = nnx.List(), STEM
        for stage in spec.stages:
            blocks = nnx.List()
            for j in range(stage.blocks):
                blocks.append(Block(features, stage, stride=stage.stride if j == 0 else 1, **options))
                features = stage.features
            self.blocks.append(blocks)
        self.head = Unit(features, HEAD, **options)
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)
        self.fc = nnx.Linear(HEAD, num_classes, dtype=self.dtype, param_dtype=self.param_dtype, rngs=rngs)

    def logits(self, x: Float[Array, "b h w 3"], rngs: nnx.Rngs | None) -> Float[Array, "b n"]:
        """Computes the logits of pictures that are known to be some."""
        y = scoped("stem", self.stem, x)
        for i, blocks in enumerate(self.blocks):
            for j, block in enumerate(blocks):
                y = self.dropout(scoped(f"blocks/{i}/{j}", block, y), rngs=rngs)
            y = mark(y, MARKS[i]) if i in MARKS else y
        y = mark(scoped("head", self.head, y), "layer4")
        return scoped("fc", self.fc, y.mean(axis=(1, 2)))
