"""The numbers of VGG's networks, under timm's names.

References:
  simonyan2015, table 1
"""

from dataclasses import dataclass
from typing import ClassVar

from xrcam_jax.models.differences import POOLINGS
from xrcam_jax.pictures.preprocessing import Preprocessing

_TORCHVISION = Preprocessing(crop_pct=0.875, interpolation="bilinear")


@dataclass(frozen=True)
class VggSpec:
    """Describes a network of VGG, and the pictures that its checkpoint was trained on.

    Attributes:
      depths: number of convolutions in each stage.
      normed: whether a batch norm follows each convolution.
      hub: the checkpoint on the Hugging Face hub that timm loads by default.
      planes: channels of each stage.
      hidden: channels of the two layers between the last stage and the classifier.
      preprocessing: how that checkpoint wants its pictures.

    References:
      simonyan2015
    """

    first_conv: ClassVar[str] = "features.0"
    classifier: ClassVar[str] = "head.fc"
    poolings: ClassVar[tuple[str, ...]] = POOLINGS
    num_classes: ClassVar[int] = 1000
    variants: ClassVar[frozenset[str]] = frozenset({"in_channels"})

    depths: tuple[int, int, int, int, int]
    normed: bool
    hub: str
    planes: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    hidden: int = 4096
    preprocessing: Preprocessing = _TORCHVISION


_DEPTHS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}

VGG_SPECS: dict[str, VggSpec] = {
    **{name: VggSpec(depths, False, f"timm/{name}.tv_in1k") for name, depths in _DEPTHS.items()},
    **{f"{name}_bn": VggSpec(depths, True, f"timm/{name}_bn.tv_in1k") for name, depths in _DEPTHS.items()},
}
