"""The numbers of EfficientNets and of MobileNetV3, under timm's names.

References:
  tan2019, table 1
  howard2019, tables 1 and 2
"""

import math
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import mul
from typing import ClassVar, NamedTuple

from xrcam_jax.models.differences import CONVOLUTIONAL, POOLINGS
from xrcam_jax.models.widths import multiple
from xrcam_jax.pictures.preprocessing import Preprocessing


class MobileStage(NamedTuple):
    """Describes blocks in a row, of which the first may change the size and all have the same width.

    Attributes:
      blocks: number of blocks.
      size: height and width of the depthwise kernels.
      stride: step of the first block.
      expansion: how many times wider the depthwise convolution is than the block's input, for all blocks or for each.
      features: output channels.
      gated: whether a gate follows the depthwise convolution, in networks that have gates.
      act: the activation; None for the network's.
    """

    blocks: int
    size: int
    stride: int
    expansion: float | tuple[float, ...]
    features: int
    gated: bool = True
    act: str | None = None

    @property
    def expansions(self) -> tuple[float, ...]:
        """Returns how many times wider the depthwise convolution is, for each block."""
        return self.expansion if isinstance(self.expansion, tuple) else (self.expansion,) * self.blocks

    def scaled(self, width: float, depth: float) -> "MobileStage":
        """Returns the stage with more channels and more blocks."""
        return self._replace(blocks=math.ceil(self.blocks * depth), features=multiple(self.features * width, 8))


@dataclass(frozen=True)
class GateSpec:
    """Describes squeeze and excitation: the means of all channels give each channel a factor.

    Attributes:
      gate: what the factors go through at last.
      act: the activation of the hidden features; None for that of the block.
      of_hidden: whether there are hidden features for a quarter of the gated channels, a multiple of eight, and not for
        a quarter of the block's input.

    References:
      hu2018
    """

    gate: str
    act: str | None
    of_hidden: bool

    def width(self, features_in: int, hidden: int) -> int:
        """Returns the number of hidden features in a block of so many input and gated channels."""
        return multiple(hidden / 4, 8) if self.of_hidden else features_in // 4


@dataclass(frozen=True)
class MobileSpec:
    """Describes an EfficientNet, and the pictures that its checkpoint was trained on.

    Attributes:
      stages: the stages.
      tensorflow: whether it is as TensorFlow has it, where its weights are from there: with padding "SAME", which is
        uneven at stride 2, and 1e-3 added to the variance of batch norm, instead of even padding and 1e-5.
      hub: the checkpoint on the Hugging Face hub that timm loads by default.
      preprocessing: how that checkpoint wants its pictures.
      act: the activation.
      gate: the gates; None for no gates.
      stem: channels of the first convolution.
      head: channels of the last.

    References:
      tan2019
    """

    first_conv: ClassVar[str] = "conv_stem"
    classifier: ClassVar[str] = "classifier"
    poolings: ClassVar[tuple[str, ...]] = POOLINGS
    num_classes: ClassVar[int] = 1000
    variants: ClassVar[frozenset[str]] = CONVOLUTIONAL

    stages: tuple[MobileStage, ...]
    tensorflow: bool
    hub: str
    preprocessing: Preprocessing
    act: str = "relu6"
    gate: GateSpec | None = None
    stem: int = 32
    head: int = 1280

    @property
    def strides(self) -> tuple[int, ...]:
        """Returns the step of each stage."""
        return tuple(stage.stride for stage in self.stages)

    @property
    def marks(self) -> tuple[str | None, ...]:
        """Returns each stage's mark; the last of a quarter, an eighth and a sixteenth of the picture's side has one."""
        reached = list(accumulate(self.strides, mul, initial=2))[1:]
        halved = [stride > 1 for stride in self.strides[1:]]
        last = [i for i, ends in enumerate(halved) if ends and reached[i] > 2]
        return tuple(f"layer{last.index(i) + 1}" if i in last else None for i in range(len(self.stages)))


@dataclass(frozen=True)
class MobileV3Spec(MobileSpec):
    """Describes a MobileNetV3, whose last convolution comes after the pooling.

    Attributes:
      pooled: channels of that convolution; the ``head`` is before the pooling.

    References:
      howard2019
    """

    variants: ClassVar[frozenset[str]] = CONVOLUTIONAL - {"output_stride"}

    pooled: int = 1280


_LITE0 = (
    MobileStage(1, 3, 1, 1, 16),
    MobileStage(2, 3, 2, 6, 24),
    MobileStage(2, 5, 2, 6, 40),
    MobileStage(3, 3, 2, 6, 80),
    MobileStage(3, 5, 1, 6, 112),
    MobileStage(4, 5, 2, 6, 192),
    MobileStage(1, 3, 1, 6, 320),
)
_LARGE = (
    MobileStage(1, 3, 1, 1, 16, gated=False, act="relu"),
    MobileStage(2, 3, 2, (4, 3), 24, gated=False, act="relu"),
    MobileStage(3, 5, 2, 3, 40, act="relu"),
    MobileStage(4, 3, 2, (6, 2.5, 2.3, 2.3), 80, gated=False),
    MobileStage(2, 3, 1, 6, 112),
    MobileStage(3, 5, 2, 6, 160),
)
_SMALL = (
    MobileStage(1, 3, 2, 1, 16, act="relu"),
    MobileStage(2, 3, 2, (4.5, 3.67), 24, gated=False, act="relu"),
    MobileStage(3, 5, 2, (4, 6, 6), 40),
    MobileStage(2, 5, 1, 3, 48),
    MobileStage(3, 5, 2, 6, 96),
)
_CROP_87 = Preprocessing(crop_pct=0.875)
_HALVES = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), crop_pct=0.875)
_BILINEAR_HALVES = replace(_HALVES, interpolation="bilinear")


def _efficientnet(width: float, depth: float, tensorflow: bool, hub: str, wants: Preprocessing) -> MobileSpec:
    """Describes an EfficientNet that is so many times wider and deeper than the least one."""
    stages = tuple(stage.scaled(width, depth) for stage in _LITE0)
    stem, head = multiple(32 * width, 8), multiple(1280 * width, 8)
    return MobileSpec(stages, tensorflow, hub, wants, "silu", GateSpec("sigmoid", None, False), stem, head)


def _mobilenet(stages: tuple[MobileStage, ...], tensorflow: bool, hub: str, wants: Preprocessing) -> MobileV3Spec:
    """Describes a MobileNetV3, large or small by its stages."""
    gate, (head, pooled) = GateSpec("hard_sigmoid", "relu", True), (960, 1280) if stages is _LARGE else (576, 1024)
    return MobileV3Spec(stages, tensorflow, hub, wants, "hard_swish", gate, 16, head, pooled)


#: How many times wider and deeper than b0 they are, by the number in their name.
_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1))
_TRAINED = (
    ("ra_in1k", _CROP_87),
    ("ra4_e3600_r240_in1k", replace(_HALVES, input_size=(240, 240), crop_pct=0.9)),
    ("ra_in1k", replace(_CROP_87, input_size=(256, 256))),
    ("ra2_in1k", replace(_CROP_87, input_size=(288, 288))),
    ("ra2_in1k", replace(_CROP_87, input_size=(320, 320))),
    ("sw_in12k_ft_in1k", Preprocessing(input_size=(448, 448), crop_pct=1.0, crop_mode="squash")),
)
_SIDES = (224, 240, 260, 300, 380, 456, 528, 600)
_SHARES = (0.875, 0.882, 0.89, 0.904, 0.922, 0.934, 0.942, 0.949)

MOBILE_SPECS: dict[str, MobileSpec] = {
    "efficientnet_lite0": MobileSpec(_LITE0, False, "timm/efficientnet_lite0.ra_in1k", _CROP_87),
    "tf_efficientnet_lite0": MobileSpec(_LITE0, True, "timm/tf_efficientnet_lite0.in1k", _HALVES),
    **{
        f"efficientnet_b{n}": _efficientnet(*_SCALES[n], False, f"timm/efficientnet_b{n}.{tag}", wants)
        for n, (tag, wants) in enumerate(_TRAINED)
    },
    **{
        f"tf_efficientnet_b{n}": _efficientnet(
            *_SCALES[n],
            True,
            f"timm/tf_efficientnet_b{n}.ns_jft_in1k",
            Preprocessing(input_size=(side, side), crop_pct=share),
        )
        for n, (side, share) in enumerate(zip(_SIDES, _SHARES, strict=True))
    },
    "mobilenetv3_large_100": _mobilenet(_LARGE, False, "timm/mobilenetv3_large_100.ra_in1k", _CROP_87),
    "mobilenetv3_small_100": _mobilenet(_SMALL, False, "timm/mobilenetv3_small_100.lamb_in1k", _CROP_87),
    "tf_mobilenetv3_large_100": _mobilenet(_LARGE, True, "timm/tf_mobilenetv3_large_100.in1k", _BILINEAR_HALVES),
    "tf_mobilenetv3_small_100": _mobilenet(_SMALL, True, "timm/tf_mobilenetv3_small_100.in1k", _BILINEAR_HALVES),
}
