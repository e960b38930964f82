"""The numbers of DenseNets, under timm's names.

References:
  huang2017, table 1
"""

from dataclasses import dataclass
from typing import ClassVar

from xrcam_jax.models.differences import CONVOLUTIONAL, POOLINGS
from xrcam_jax.pictures.preprocessing import Preprocessing

_CROP_87 = Preprocessing(crop_pct=0.875)


@dataclass(frozen=True)
class DenseSpec:
    """Describes a DenseNet, and the pictures that its checkpoint was trained on.

    Attributes:
      layers: number of layers in each block.
      growth: channels that a layer adds. The stem has twice as many.
      hub: the checkpoint on the Hugging Face hub that timm loads by default.
      preprocessing: how that checkpoint wants its pictures.

    References:
      huang2017
    """

    first_conv: ClassVar[str] = "features.conv0"
    classifier: ClassVar[str] = "classifier"
    poolings: ClassVar[tuple[str, ...]] = POOLINGS
    num_classes: ClassVar[int] = 1000
    variants: ClassVar[frozenset[str]] = CONVOLUTIONAL - {"output_stride"}

    layers: tuple[int, int, int, int]
    growth: int
    hub: str
    preprocessing: Preprocessing = _CROP_87


DENSE_SPECS: dict[str, DenseSpec] = {
    "densenet121": DenseSpec((6, 12, 24, 16), 32, "timm/densenet121.ra_in1k"),
    "densenet161": DenseSpec((6, 12, 36, 24), 48, "timm/densenet161.tv_in1k"),
    "densenet169": DenseSpec((6, 12, 32, 32), 32, "timm/densenet169.tv_in1k"),
    "densenet201": DenseSpec((6, 12, 48, 32), 32, "timm/densenet201.tv_in1k"),
}
