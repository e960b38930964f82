"""The numbers that tell one Swin transformer from another, under timm's names.

References:
  liu2021
"""

from dataclasses import dataclass
from typing import ClassVar

from xrcam_jax.models.differences import POOLINGS
from xrcam_jax.pictures.preprocessing import Preprocessing


@dataclass(frozen=True)
class SwinSpec:
    """Describes a Swin transformer, and the pictures that its checkpoint was trained on.

    Attributes:
      width: channels of a token in the first stage; each later stage has twice as many as the one before.
      depths: number of blocks in each of the four stages.
      heads: of the attention in each stage.
      hub: the checkpoint on the Hugging Face hub that timm loads by default.
      preprocessing: how that checkpoint wants its pictures.
      window: height and width of the windows in tokens.
      patch: height and width of a patch in pixels.
    """

    first_conv: ClassVar[str] = "patch_embed.proj"
    classifier: ClassVar[str] = "head.fc"
    poolings: ClassVar[tuple[str, ...]] = POOLINGS
    variants: ClassVar[frozenset[str]] = frozenset({"in_channels"})
    num_classes: ClassVar[int] = 1000

    width: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    hub: str | None
    preprocessing: Preprocessing
    window: int = 7
    patch: int = 4


_CROP_90 = Preprocessing(crop_pct=0.9)


def _swin(size: str, width: int, third: int, heads: tuple[int, int, int, int], recipe: str) -> SwinSpec:
    return SwinSpec(width, (2, 2, third, 2), heads, f"timm/swin_{size}_patch4_window7_224.{recipe}", _CROP_90)


SWINS: dict[str, SwinSpec] = {
    "swin_tiny_patch4_window7_224": _swin("tiny", 96, 6, (3, 6, 12, 24), "ms_in1k"),
    "swin_small_patch4_window7_224": _swin("small", 96, 18, (3, 6, 12, 24), "ms_in22k_ft_in1k"),
    "swin_base_patch4_window7_224": _swin("base", 128, 18, (4, 8, 16, 32), "ms_in22k_ft_in1k"),
}
