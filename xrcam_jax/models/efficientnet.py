"""EfficientNet, Lite or with gates: blocks that widen, convolve each channel by itself, and narrow again.

The numbers that tell the networks apart are in :mod:`xrcam_jax.models.mobile_specs`. Layers and initialisation follow
timm, whose checkpoints they load.

References:
  tan2019
  sandler2018
"""

import math
from functools import partial
from typing import Any

from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.marks import mark
from xrcam_jax.models.classifier import Classifier
from xrcam_jax.models.layers import Conv, batch_norm, scoped
from xrcam_jax.models.mobile_specs import GateSpec, MobileSpec
from xrcam_jax.models.specs import find_spec_of
from xrcam_jax.models.squeeze_excite import SqueezeExcite
from xrcam_jax.models.variant import ACTIVATIONS, PLAIN, Variant, pool, stage_strides
from xrcam_jax.models.widths import multiple
from xrcam_jax.ops.materialised import materialised


class Unit(nnx.Module):
    """Convolves, normalises the batch and applies an activation.

    Args:
      features_in: input channels.
      features_out: output channels.
      size: height and width of the kernel, odd.
      stride: step along both axes.
      dilation: distance between neighbouring taps along both axes.
      groups: number of groups.
      act: the activation, as for :class:`xrcam_jax.models.layers.ConvNorm`.
      tensorflow: as in :class:`xrcam_jax.models.mobile_specs.MobileSpec`.
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
        act: str | None,
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
    """Widens, convolves each channel by itself, gates, narrows, and adds the input where shapes allow.

    Args:
      features_in: input channels.
      features_out: output channels.
      size: height and width of the depthwise kernel, odd.
      expansion: how many times wider the depthwise convolution is than the input; with 1, nothing widens before it.
      stride: step of the depthwise convolution.
      dilation: of the depthwise convolution.
      gate: the gate behind the depthwise convolution; None for none.
      act: as for :class:`Unit`.
      tensorflow: as for :class:`Unit`.
      dtype: dtype of parameters and statistics.
      rngs: random streams for the parameters.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        size: int,
        *,
        expansion: float,
        stride: int,
        dilation: int,
        gate: GateSpec | None,
        act: str,
        tensorflow: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        unit = partial(Unit, act=act, tensorflow=tensorflow, dtype=dtype, rngs=rngs)
        width = multiple(features_in * expansion, 8)
        if expansion > 1:
            self.expand = unit(features_in, width)
        self.depthwise = unit(width, width, size, stride=stride, dilation=dilation, groups=width)
        if gate is not None:
            self.se = SqueezeExcite(width, gate.width(features_in, width), gate, act=act, dtype=dtype, rngs=rngs)
        self.project = unit(width, features_out, act=None)
        self.names = tuple(name for name in ("expand", "depthwise", "se", "project") if hasattr(self, name))
        self.residual = stride == 1 and features_in == features_out

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        y = x
        for name in self.names:
            y = scoped(name, getattr(self, name), y)
        return materialised(x + y) if self.residual else y


class EfficientNet(Classifier):
    """Maps pictures to class logits through stages of blocks.

    The marked layers are the last outputs of stages with a quarter, an eighth and a sixteenth of the picture's side,
    which have either sign, and those of the head, which are what the mean before the linear layer sees.
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
        spec = find_spec_of(name, MobileSpec)
        act = variant.act_layer or spec.act
        options: dict[str, Any] = {"tensorflow": spec.tensorflow, "dtype": self.param_dtype, "rngs": rngs}
        self.stem = Unit(variant.in_channels, spec.stem, 3, stride=2, act=act, **options)
        self.blocks, features = nnx.List(), spec.stem
        strides = stage_strides(spec.strides, 2, variant.output_stride)
        for stage, (stride, first, dilation) in zip(spec.stages, strides, strict=True):
            blocks = nnx.List()
            more = {"gate": spec.gate if stage.gated else None, "act": stage.act or act, **options}
            for expansion in stage.expansions:
                # The first block has the stride of its stage, and the dilation of the stage before.
                shape: dict[str, Any] = {"expansion": expansion, "stride": stride, "dilation": first}
                blocks.append(Block(features, stage.features, stage.size, **shape, **more))
                stride, first, features = 1, dilation, stage.features
            self.blocks.append(blocks)
        self.head = Unit(features, spec.head, act=act, **options)
        self.marks = spec.marks
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)
        self.make_classifier(spec.head * (2 if variant.global_pool == "catavgmax" else 1), rngs)

    def make_classifier(self, features: int, rngs: nnx.Rngs) -> None:
        """Makes what follows the pooling, which puts out so many features."""
        self.fc = nnx.Linear(features, self.num_classes, dtype=self.dtype, param_dtype=self.param_dtype, rngs=rngs)

    def logits(self, x: Float[Array, "b h w c"], rngs: nnx.Rngs | None) -> Float[Array, "b n"]:
        """Computes the logits of pictures that are known to be some."""
        y = scoped("stem", self.stem, x)
        for i, (blocks, name) in enumerate(zip(self.blocks, self.marks, strict=True)):
            for j, block in enumerate(blocks):
                y = self.dropout(scoped(f"blocks/{i}/{j}", block, y), rngs=rngs)
            y = y if name is None else mark(y, name)
        y = mark(scoped("head", self.head, y), "layer4")
        return self.classify(pool(y, self.variant.global_pool))

    def classify(self, pooled: Float[Array, "b d"]) -> Float[Array, "b n"]:
        """Computes the logits of pooled features."""
        return scoped("fc", self.fc, pooled)
