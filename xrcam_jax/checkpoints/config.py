"""The description that travels with weights: timm's ``config.json``, as its hub repositories have it.

It lies beside the weights as a file of that name, in a safetensors file as the metadata entry ``config``, and in an
Orbax directory as the file ``config.json``. :mod:`xrcam_jax.checkpoints.fields` says what other fields there may be.
What timm has no word for, how the frames of the training were made, is an entry ``frames`` of its own; within
``pretrained_cfg``, timm would refuse it.
"""

import math
from collections.abc import Mapping
from typing import Any

from xrcam_jax.models import Classifier
from xrcam_jax.models.specs import find_spec
from xrcam_jax.models.variant import PLAIN, Variant
from xrcam_jax.pictures.preprocessing import AREA, Preprocessing

#: The largest side of a network's pictures; what is larger is a mistake, and would not fit into any memory.
LARGEST_SIDE = 16_384


def describe(model: Classifier) -> dict[str, Any]:
    """Describes what a reader needs to know of a model besides its tensors.

    Args:
      model: any network of this package.

    Returns:
      Architecture, number of classes, what differs from others of that name, and preprocessing under timm's names, as
      JSON can hold them.

    Example:
      >>> from flax import nnx
      >>> from xrcam_jax.models import create_model
      >>> config = describe(nnx.eval_shape(lambda: create_model("resnet18", num_classes=2, global_pool="max")))
      >>> config["architecture"], config["num_classes"], config["pretrained_cfg"]["input_size"]
      ('resnet18', 2, [3, 224, 224])
      >>> config["global_pool"], config["model_args"]
      ('max', {'global_pool': 'max'})
    """
    wants, spec, variant = model.preprocessing, find_spec(model.name), model.variant
    differs = {
        "global_pool": (variant.global_pool, PLAIN.global_pool),
        "act_layer": (variant.act_layer, PLAIN.act_layer),
        "output_stride": (variant.output_stride, PLAIN.output_stride),
        "in_chans": (variant.in_channels, PLAIN.in_channels),
        "img_size": (variant.img_size and list(variant.img_size), PLAIN.img_size),
    }
    arguments = {key: value for key, (value, usual) in differs.items() if value != usual}
    return {
        "architecture": model.name,
        "num_classes": model.num_classes,
        "global_pool": variant.global_pool or spec.poolings[0],
        **({"model_args": arguments} if arguments else {}),
        "pretrained_cfg": {
            "input_size": [variant.in_channels, *wants.input_size],
            "interpolation": "bilinear" if wants.interpolation == AREA else wants.interpolation,
            "crop_pct": wants.crop_pct,
            "crop_mode": wants.crop_mode,
            "mean": list(wants.mean),
            "std": list(wants.std),
            "num_classes": model.num_classes,
            "first_conv": spec.first_conv,
            "classifier": spec.classifier,
        },
        **_frames(wants),
    }


def variant(config: Mapping[str, Any]) -> Variant:
    """Returns in what a network differs from others of its name, as a description says.

    Args:
      config: from :func:`describe`, or timm's.

    Returns:
      The variant.

    Raises:
      ValueError: a field has a value that no network here has, or two fields contradict each other.

    Example:
      >>> variant({"model_args": {"act_layer": "silu"}}).act_layer
      'silu'
    """
    wants, arguments = _given(_pictures(config)), _given(config.get("model_args") or {})
    size = wants.get("input_size")
    return Variant(
        global_pool=_pooling(
            _agreed("global_pool", arguments.get("global_pool"), config.get("global_pool"), wants.get("global_pool"))
        ),
        act_layer=_text("act_layer", arguments.get("act_layer")),
        output_stride=arguments.get("output_stride", 32),
        in_channels=_agreed("in_chans", arguments.get("in_chans"), size[0] if isinstance(size, list) and size else None)
        or 3,
        img_size=_sides(arguments.get("img_size")),
    )


def class_count(config: Mapping[str, Any]) -> int | None:
    """Returns the number of classes that a description says; None where it does not.

    Args:
      config: from :func:`describe`, or timm's.

    Returns:
      The number.

    Raises:
      ValueError: two fields contradict each other.

    Example:
      >>> class_count({"num_classes": 2, "pretrained_cfg": {"num_classes": 2}})
      2
    """
    # As in timm, the number at the top counts more than that of the weights from which training began.
    top = config.get("num_classes")
    return _agreed("num_classes", (config.get("model_args") or {}).get("num_classes"), top) or (
        config.get("pretrained_cfg") or {}
    ).get("num_classes")


def preprocessing(config: Mapping[str, Any], default: Preprocessing, *, use_test_size: bool = False) -> Preprocessing:
    """Returns how pictures have to be prepared, as a description says.

    Args:
      config: from :func:`describe`, or timm's.
      default: what holds where the description says nothing.
      use_test_size: whether ``test_input_size`` and ``test_crop_pct`` count where they are given, which are timm's
        recommendation for a better accuracy than at the size of the training.

    Returns:
      The preprocessing.

    Raises:
      ValueError: a field has an impossible value.

    Example:
      >>> preprocessing({"pretrained_cfg": {"crop_pct": 1.0}}, Preprocessing()).crop_pct
      1.0
    """
    try:
        wants = _given(_pictures(config))
        frames = {"interpolation": wants.get("interpolation", default.interpolation), **_checked_frames(config)}
        tested = use_test_size and wants.get("test_input_size")
        channels, height, width = tested or wants.get("input_size", (default.channels, *default.input_size))
        crop = (use_test_size and wants.get("test_crop_pct")) or wants.get("crop_pct", default.crop_pct)
        default = default.for_channels(channels)
        return Preprocessing(
            mean=_per_channel("mean", wants.get("mean", default.mean), channels),
            std=_per_channel("std", wants.get("std", default.std), channels),
            input_size=(_side(height), _side(width)),
            crop_pct=_finite("crop_pct", crop),
            crop_mode=wants.get("crop_mode", default.crop_mode),
            **frames,
        )
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"the preprocessing config makes no sense: {error}") from error


def _frames(wants: Preprocessing) -> dict[str, Any]:
    """Returns the entry on frames, or nothing where they are as timm takes all pictures to be."""
    frames = {"field_of_view": wants.field_of_view, "grey": wants.grey}
    if wants.interpolation == AREA:
        return {"frames": {**frames, "interpolation": AREA}}
    return {"frames": frames} if wants.grey or wants.field_of_view != "none" else {}


def _checked_frames(config: Mapping[str, Any]) -> Mapping[str, Any]:
    frames = config.get("frames", {})
    if not isinstance(frames, Mapping):
        raise ValueError(f"frames: expected an object, found {str(frames)[:50]}")
    if unknown := set(frames) - {"interpolation", "field_of_view", "grey"}:
        raise ValueError(f"frames: unknown {', '.join(sorted(unknown))}")
    if not isinstance(frames.get("grey", False), bool):
        raise ValueError(f"frames: grey is {str(frames['grey'])[:50]!r}, expected true or false")
    return frames


def _pictures(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the fields on pictures, which older files of timm have at the top."""
    nested = config.get("pretrained_cfg")
    return config if nested is None else nested


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _agreed(name: str, *values: Any) -> Any:
    """Returns the value that all fields have which have one."""
    found = [value for value in values if value is not None]
    if any(value != found[0] for value in found):
        raise ValueError(f"{name}: the config contradicts itself, it says {' and '.join(map(repr, found))}")
    return found[0] if found else None


def _pooling(given: Any) -> str | None:
    if given is None:
        return None
    # timm calls the same operations by another name where it computes them in another way.
    name = _text("global_pool", given)
    return (name.removeprefix("fast") or "avg") if name else ""


def _text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name}: expected a name, found {str(value)[:50]}")
    return value and value.lower()


def _sides(given: Any) -> tuple[int, int] | None:
    """Returns a height and a width, of which timm may have one number for both."""
    if given is None:
        return None
    sides = given if isinstance(given, list) else [given, given]
    if len(sides) != 2:
        raise ValueError(f"img_size: expected a height and a width, found {str(given)[:50]}")
    height, width = (_side(side, "img_size") for side in sides)
    return height, width


def _side(value: Any, name: str = "input_size") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_SIDE:
        raise ValueError(f"{name}: {str(value)[:20]} is not a number of pixels from 1 to {LARGEST_SIDE}")
    return value


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name}: {str(value)[:20]} is not a finite number")
    return float(value)


def _per_channel(name: str, values: Any, channels: int) -> Any:
    """Returns a value for each channel; one value is that of all, and as in timm, three are averaged for one."""
    found = [_finite(name, value) for value in values]
    if name == "std" and min(found, default=1) <= 0:
        raise ValueError(f"std: {found} are not all above 0")
    if len(found) == channels:
        return tuple(found)
    if 1 not in (len(found), channels) or not found:
        raise ValueError(f"{name}: {len(found)} values for {channels} channels")
    return (sum(found) / len(found),) * channels
