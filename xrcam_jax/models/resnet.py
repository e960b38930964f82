"""ResNet, ResNeXt and their Selective Kernel versions.

There is one class for all of them; the numbers that tell them apart are in :mod:`xrcam_jax.models.specs`. Layers, names
and initialisation follow timm, whose checkpoints they load.

References:
  he2016, with the stride on the 3x3 convolution
  xie2017
  li2019
"""

from functools import partial

from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.marks import mark
from xrcam_jax.models.classifier import Classifier
from xrcam_jax.models.layers import ConvNorm, scoped
from xrcam_jax.models.selective_kernel import SelectiveKernel
from xrcam_jax.models.specs import Spec, find_spec
from xrcam_jax.ops.materialised import materialised
from xrcam_jax.ops.max_pool import max_pool

STAGES = ("layer1", "layer2", "layer3", "layer4")


class Block(nnx.Module):
    """Applies convolutions in a row, adds the input and ends in a ReLU: a residual block.

    Args:
      features_in: input channels.
      planes: 64, 128, 256, 512 by stage, unless the network is a narrow one.
      spec: the network's shape.
      stride: step of the 3x3 convolution and of the shortcut.
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
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        conv = partial(ConvNorm, dtype=dtype, rngs=rngs)
        if spec.selective_kernel is None:
            spatial = partial(conv, size=3)
        else:
            spatial = partial(SelectiveKernel, spec=spec.selective_kernel, dtype=dtype, rngs=rngs)

        features_out = spec.expansion * planes
        if spec.bottleneck:
            width = planes * spec.base_width // 64 * spec.groups
            self.conv1 = conv(features_in, width, 1)
            self.conv2 = spatial(width, width, stride=stride, groups=spec.groups)
            self.conv3 = conv(width, features_out, 1, relu=False)
        else:
            self.conv1 = spatial(features_in, planes, stride=stride)
            self.conv2 = conv(planes, features_out, 3, relu=False)
        self.names = ("conv1", "conv2", "conv3")[: 3 if spec.bottleneck else 2]

        reshapes = stride != 1 or features_in != features_out
        self.downsample = conv(features_in, features_out, 1, stride=stride, relu=False) if reshapes else None

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        y = x
        for name in self.names:
            y = scoped(name, getattr(self, name), y)
        shortcut = x if self.downsample is None else scoped("downsample", self.downsample, x)
        return materialised(nnx.relu(y + shortcut))


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
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        super().__init__(name, num_classes=num_classes, dtype=dtype)
        spec = find_spec(name)
        if not isinstance(spec, Spec):
            raise ValueError(f"{name} is not a ResNet")
        self.conv1 = ConvNorm(3, spec.planes, 7, stride=2, dtype=self.param_dtype, rngs=rngs)
        features = spec.planes
        for i, (stage, depth) in enumerate(zip(STAGES, spec.depths, strict=True)):
            planes, blocks = spec.planes * 2**i, nnx.List()
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(Block(features, planes, spec, stride=stride, dtype=self.param_dtype, rngs=rngs))
                features = spec.expansion * planes
            setattr(self, stage, blocks)
        # One module serves all blocks, since its stream of keys moves on with each use.
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)
        self.fc = nnx.Linear(features, num_classes, dtype=self.dtype, param_dtype=self.param_dtype, rngs=rngs)

    def logits(self, x: Float[Array, "b h w 3"], rngs: nnx.Rngs | None) -> Float[Array, "b n"]:
        """Computes the logits of pictures that are known to be some."""
        y = scoped("conv1", self.conv1, x)
        y = max_pool(y, window=3, stride=2, padding=1)
        for stage in STAGES:
            for i, block in enumerate(getattr(self, stage)):
                y = self.dropout(scoped(f"{stage}/{i}", block, y), rngs=rngs)
            y = mark(y, stage)
        return scoped("fc", self.fc, y.mean(axis=(1, 2)))
