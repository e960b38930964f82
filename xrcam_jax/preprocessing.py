"""From pictures of any size to the normalised batch that a checkpoint was trained on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocessing:
    """How a checkpoint wants its pictures (timm's ``pretrained_cfg``, the part that matters here).

    Attributes:
      mean: per channel RGB, of intensities in [0, 1].
      std: per channel RGB, of intensities in [0, 1].
      input_size: height and width in pixels of what the network is fed.
      crop_pct: share of the resized picture's shorter side that the centre crop keeps, in (0, 1].
      interpolation: ``"nearest"``, ``"bilinear"``, ``"bicubic"`` or ``"lanczos"``, antialiased.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    input_size: tuple[int, int] = (224, 224)
    crop_pct: float = 0.875
    interpolation: str = "bicubic"
