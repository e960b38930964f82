"""The description that travels with weights: timm's ``config.json``, as its hub repositories have it.

It lies beside the weights as a file of that name, in a safetensors file as the metadata entry ``config``, and in an
Orbax directory as the file ``config.json``. What timm has no word for, how the frames of the training were made, is an
entry ``frames`` of its own; within ``pretrained_cfg``, timm would refuse it.
"""

from collections.abc import Mapping
from typing import Any

from xrcam_jax.models import Classifier
from xrcam_jax.models.specs import find_spec
from xrcam_jax.pictures.preprocessing import AREA, Preprocessing


def describe(model: Classifier) -> dict[str, Any]:
    """Describes what a reader needs to know of a model besides its tensors.

    Args:
      model: any network of this package.

    Returns:
      Architecture, number of classes and preprocessing under timm's names, as JSON can hold them.

    Example:
      >>> from flax import nnx
      >>> from xrcam_jax.models import create_model
      >>> config = describe(nnx.eval_shape(lambda: create_model("resnet18", num_classes=2)))
      >>> config["architecture"], config["num_classes"], config["pretrained_cfg"]["input_size"]
      ('resnet18', 2, [3, 224, 224])
    """
    wants, spec = model.preprocessing, find_spec(model.name)
    return {
        "architecture": model.name,
        "num_classes": model.num_classes,
        "pretrained_cfg": {
            "input_size": [3, *wants.input_size],
            "interpolation": "bilinear" if wants.interpolation == AREA else wants.interpolation,
            "crop_pct": wants.crop_pct,
            "mean": list(wants.mean),
            "std": list(wants.std),
            "num_classes": model.num_classes,
            "first_conv": spec.first_conv,
            "classifier": spec.classifier,
        },
        **_frames(wants),
    }


def preprocessing(config: Mapping[str, Any], default: Preprocessing) -> Preprocessing:
    """Returns how pictures have to be prepared, as a description says.

    Args:
      config: from :func:`describe`, or timm's.
      default: what holds where the description says nothing.

    Returns:
      The preprocessing.

    Raises:
      ValueError: a field has an impossible value.

    Example:
      >>> preprocessing({"pretrained_cfg": {"crop_pct": 1.0}}, Preprocessing()).crop_pct
      1.0
    """
    # Older files of timm have the fields at the top.
    wants = config.get("pretrained_cfg", config)
    try:
        frames = {"interpolation": wants.get("interpolation", default.interpolation), **config.get("frames", {})}
        if unknown := set(frames) - {"interpolation", "field_of_view", "grey"}:
            raise ValueError(f"frames: unknown {', '.join(sorted(unknown))}")
        if not isinstance(frames.get("grey", False), bool):
            raise ValueError(f"frames: grey is {frames['grey']!r}, expected true or false")
        _, height, width = wants.get("input_size", (3, *default.input_size))
        return Preprocessing(
            mean=_three(wants.get("mean", default.mean)),
            std=_three(wants.get("std", default.std)),
            input_size=(int(height), int(width)),
            crop_pct=float(wants.get("crop_pct", default.crop_pct)),
            **frames,
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the preprocessing config makes no sense: {error}") from error


def _frames(wants: Preprocessing) -> dict[str, Any]:
    """Returns the entry on frames, or nothing where they are as timm takes all pictures to be."""
    frames = {"field_of_view": wants.field_of_view, "grey": wants.grey}
    if wants.interpolation == AREA:
        return {"frames": {**frames, "interpolation": AREA}}
    return {"frames": frames} if wants.grey or wants.field_of_view != "none" else {}


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
