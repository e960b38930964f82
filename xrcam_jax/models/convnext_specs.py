"""The numbers that tell one ConvNeXt from another, under timm's names.

References:
  liu2022
"""

from dataclasses import dataclass
from typing import ClassVar

from xrcam_jax.pictures.preprocessing import Preprocessing


@dataclass(frozen=True)
class ConvNextSpec:
    """Describes a ConvNeXt, and the pictures that its checkpoint was trained on.

    Attributes:
      depths: number of blocks in each of the four stages.
      widths: channels of each stage.
      hub: the checkpoint on the Hugging Face hub that timm loads by default.
      preprocessing: how that checkpoint wants its pictures.
      conv_mlp: whether the two layers of a block that see one place are 1x1 convolutions, as timm's small networks
        have them, instead of dense layers. They compute the same, but their kernels have another shape, and rules for
        convolutions are theirs.
    """

    first_conv: ClassVar[str] = "stem.0"
    classifier: ClassVar[str] = "head.fc"
    poolings: ClassVar[tuple[str, ...]] = ("avg", "max", "avgmax")
    variants: ClassVar[frozenset[str]] = frozenset({"act_layer", "output_stride", "in_channels"})
    num_classes: ClassVar[int] = 1000

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    hub: str | None
    preprocessing: Preprocessing
    conv_mlp: bool = False


def _convnext(size: str, third: int, width: int, recipe: str, crop: float) -> ConvNextSpec:
    ends = 3 if third > 8 else 2
    widths = (width, 2 * width, 4 * width, 8 * width)
    return ConvNextSpec(
        (ends, ends, third, ends),
        widths,
        f"timm/convnext_{size}.{recipe}",
        Preprocessing(crop_pct=crop),
        conv_mlp=ends == 2,
    )


CONVNEXTS: dict[str, ConvNextSpec] = {
    "convnext_atto": _convnext("atto", 6, 40, "d2_in1k", 0.875),
    "convnext_femto": _convnext("femto", 6, 48, "d1_in1k", 0.875),
    "convnext_pico": _convnext("pico", 6, 64, "d1_in1k", 0.875),
    "convnext_nano": _convnext("nano", 8, 80, "in12k_ft_in1k", 0.95),
    "convnext_tiny": _convnext("tiny", 9, 96, "in12k_ft_in1k", 0.95),
    "convnext_small": _convnext("small", 27, 96, "in12k_ft_in1k", 0.95),
    "convnext_base": _convnext("base", 27, 128, "fb_in22k_ft_in1k", 0.875),
}
