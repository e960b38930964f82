"""The numbers that tell one vision transformer from another, under timm's names.

References:
  dosovitskiy2021, touvron2021, touvron2022, oquab2024, darcet2024
"""

from dataclasses import dataclass
from typing import ClassVar

from xrcam_jax.models.differences import TOKEN_POOLINGS
from xrcam_jax.pictures.preprocessing import Preprocessing


@dataclass(frozen=True)
class VitSpec:
    """Describes a vision transformer, and the pictures that its checkpoint was trained on.

    Attributes:
      width: channels of a token.
      heads: of each attention.
      hub: the checkpoint on the Hugging Face hub that timm loads by default.
      preprocessing: how that checkpoint wants its pictures.
      depth: number of blocks.
      patch: height and width of a patch in pixels.
      layer_scale: the factor of each branch in a fresh network; None where branches have no factor.
      registers: number of tokens that are for nothing but the network's own use.
      class_has_position: whether the embedding of positions has one for the class token, which is then added too.
      num_classes: number of logits of the checkpoint; 0 where it has no classifier.
    """

    first_conv: ClassVar[str] = "patch_embed.proj"
    classifier: ClassVar[str] = "head"
    poolings: ClassVar[tuple[str, ...]] = TOKEN_POOLINGS
    variants: ClassVar[frozenset[str]] = frozenset({"act_layer", "in_channels", "img_size"})

    width: int
    heads: int
    hub: str | None
    preprocessing: Preprocessing
    depth: int = 12
    patch: int = 16
    layer_scale: float | None = None
    registers: int = 0
    class_has_position: bool = True
    num_classes: int = 1000

    @property
    def prefix(self) -> int:
        """Returns the number of tokens before the patches: the class token and the registers."""
        return 1 + self.registers

    @property
    def positioned_prefix(self) -> int:
        """Returns how many of them have a place in the embedding of positions."""
        return self.prefix if self.class_has_position else 0


_HALF = (0.5, 0.5, 0.5)
_AUGREG = Preprocessing(mean=_HALF, std=_HALF, crop_pct=0.9)
_DEIT = Preprocessing(crop_pct=0.9)
_DINO = Preprocessing(input_size=(518, 518), crop_pct=1.0)


def _vit(size: str, width: int, heads: int, patch: int = 16, recipe: str = "augreg") -> VitSpec:
    hub = f"timm/vit_{size}_patch{patch}_224.{recipe}_in21k_ft_in1k"
    return VitSpec(width, heads, hub, _AUGREG, patch=patch)


def _deit(size: str, width: int, heads: int) -> VitSpec:
    return VitSpec(width, heads, f"timm/deit_{size}_patch16_224.fb_in1k", _DEIT)


def _deit3(size: str, width: int, heads: int) -> VitSpec:
    hub = f"timm/deit3_{size}_patch16_224.fb_in1k"
    return VitSpec(width, heads, hub, _DEIT, layer_scale=1e-6, class_has_position=False)


def _dino(size: str, width: int, heads: int, registers: int = 0) -> VitSpec:
    kind = f"reg{registers}_dinov2" if registers else "dinov2"
    return VitSpec(
        width,
        heads,
        f"timm/vit_{size}_patch14_{kind}.lvd142m",
        _DINO,
        patch=14,
        layer_scale=1e-5,
        registers=registers,
        class_has_position=not registers,
        num_classes=0,
    )


VITS: dict[str, VitSpec] = {
    "vit_tiny_patch16_224": _vit("tiny", 192, 3),
    "vit_small_patch16_224": _vit("small", 384, 6),
    "vit_small_patch32_224": _vit("small", 384, 6, patch=32),
    "vit_base_patch16_224": _vit("base", 768, 12, recipe="augreg2"),
    "vit_base_patch32_224": _vit("base", 768, 12, patch=32),
    "deit_tiny_patch16_224": _deit("tiny", 192, 3),
    "deit_small_patch16_224": _deit("small", 384, 6),
    "deit_base_patch16_224": _deit("base", 768, 12),
    "deit3_small_patch16_224": _deit3("small", 384, 6),
    "deit3_medium_patch16_224": _deit3("medium", 512, 8),
    "deit3_base_patch16_224": _deit3("base", 768, 12),
    "vit_small_patch14_dinov2": _dino("small", 384, 6),
    "vit_base_patch14_dinov2": _dino("base", 768, 12),
    "vit_small_patch14_reg4_dinov2": _dino("small", 384, 6, registers=4),
    "vit_base_patch14_reg4_dinov2": _dino("base", 768, 12, registers=4),
}
