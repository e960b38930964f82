"""The description that travels with weights: timm's ``config.json``, as its hub repositories have it.

Beside the weights it is a file of that name, in a safetensors file it is the metadata entry ``config``, and
in an Orbax directory the file ``config.json``.
"""

from collections.abc import Mapping
from typing import Any

from xrcam_jax.models import ResNet
from xrcam_jax.pictures.preprocessing import Preprocessing


def describe(model: ResNet) -> dict[str, Any]:
    """What a reader needs to know of ``model`` besides its tensors."""
    wants = model.preprocessing
    return {
        "architecture": model.name,
        "num_classes": model.num_classes,
        "pretrained_cfg": {
            "input_size": [3, *wants.input_size],
            "interpolation": wants.interpolation,
            "crop_pct": wants.crop_pct,
            "mean": list(wants.mean),
            "std": list(wants.std),
            "num_classes": model.num_classes,
            "first_conv": "conv1",
            "classifier": "fc",
        },
    }


def preprocessing(config: Mapping[str, Any], default: Preprocessing) -> Preprocessing:
    """How pictures have to be prepared, says ``config``; where it is silent, ``default`` holds.

    Raises:
      ValueError: a field has an impossible value.
    """
    wants = config.get("pretrained_cfg", config)  # older files of timm have the fields at the top
    try:
        _, height, width = wants.get("input_size", (3, *default.input_size))
        return Preprocessing(
            mean=_three(wants.get("mean", default.mean)),
            std=_three(wants.get("std", default.std)),
            input_size=(int(height), int(width)),
            crop_pct=float(wants.get("crop_pct", default.crop_pct)),
            interpolation=wants.get("interpolation", default.interpolation),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the preprocessing config makes no sense: {error}") from error


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
