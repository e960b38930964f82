"""How pictures have to be prepared for a network from an ONNX file, which itself has no word for that.

Metadata of the file under timm's names or as timm's ``config`` count, then a ``config.json`` of timm's or a
``preprocessor_config.json`` of transformers' beside the file. Else ImageNet's mean and deviation are supposed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrcam_jax.checkpoints import config as config_file
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.runtime.texts import decoded_json, read_json

_FIELDS = ("mean", "std", "input_size", "interpolation", "crop_pct", "crop_mode")
#: The numbers by which transformers calls ways of resizing are Pillow's.
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


def described(
    path: Path, proto: Any, shape: tuple[int, ...], given: Mapping[str, float | Sequence[float] | None]
) -> tuple[Preprocessing, list[str]]:
    """Returns how pictures have to be prepared, and what was supposed.

    Args:
      path: of the file.
      proto: the file's ``onnx.ModelProto``.
      shape: of what the network takes, (b, h, w, c).
      given: ``mean`` and ``std`` that count more than what anything says, one number or one for each channel; or None.

    Returns:
      The preprocessing, and sentences.

    Raises:
      ValueError: a description or what is given makes no sense, or is of pictures that the network does not take.

    Example:
      >>> import onnx
      >>> described(Path("net.onnx"), onnx.ModelProto(), (1, 96, 96, 1), {})[0].mean
      (0.449,)
    """
    size = (*shape[1:3],) if len(shape) == 4 else (224, 224)
    channels = shape[3] if len(shape) == 4 and shape[3] in (1, 3) else 3
    default = Preprocessing(input_size=size).for_channels(channels)
    fields, origin = _fields(path, proto)
    fields = {**fields, **{name: _numbers(name, values) for name, values in given.items() if values is not None}}
    try:
        wants = config_file.preprocessing({"input_size": [channels, *size], **fields}, default)
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from error
    if len(shape) == 4 and (wants.channels, *wants.input_size) != (channels, *size):
        raise ValueError(
            f"{origin}: pictures of {wants.channels} x {wants.input_size}, but the network takes {channels} x {size}"
        )
    supposed = [name for name in ("mean", "std") if name not in fields]
    if not supposed or len(shape) != 4:
        return wants, []
    numbers = f"mean {_in_words(wants.mean)} and deviation {_in_words(wants.std)}"
    return wants, [f"it does not say how pictures are prepared: {numbers} are supposed, of intensities from 0 to 1"]


def _numbers(name: str, given: Any) -> list[float]:
    """Returns what is given for the channels as a list, or refuses what holds no numbers."""
    try:
        return [float(number) for number in np.atleast_1d(given)]
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, or one for each channel, got {given!r}") from None


def _in_words(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _fields(path: Path, proto: Any) -> tuple[Mapping[str, Any], Path | str]:
    """Returns timm's fields on pictures, as far as somebody says them, and who does."""
    metadata = {each.key: each.value for each in proto.metadata_props}
    where = f"{path}: its metadata"
    if "config" in metadata:
        return _of_timm(decoded_json(metadata["config"], where), where), where
    named = {key: metadata[key] for key in _FIELDS if key in metadata}
    if named:
        return {key: _read(text, f"{where} {key}") for key, text in named.items()}, where
    beside = path.with_name("config.json")
    if beside.is_file():
        found = _of_timm(read_json(beside), str(beside))
        if found:
            return found, beside
    beside = path.with_name("preprocessor_config.json")
    if beside.is_file():
        return _of_transformers(read_json(beside), str(beside)), beside
    return {}, path


def _read(text: str, where: str) -> Any:
    """Returns what a field of the metadata says: JSON, numbers with commas between, or a word."""
    if text.strip()[:1] in '[{"' or text.strip()[:1].isdigit():
        return decoded_json(text if "," not in text or text.strip()[:1] in "[{" else f"[{text}]", where)
    return text


def _of_timm(config: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(config, dict):
        raise ValueError(f"{where}: expected a JSON object")
    fields = config.get("pretrained_cfg") or config
    return {key: fields[key] for key in _FIELDS if fields.get(key) is not None}


def _of_transformers(config: Any, where: str) -> Mapping[str, Any]:
    """Returns under timm's names what transformers' image processors call otherwise."""
    if not isinstance(config, dict):
        raise ValueError(f"{where}: expected a JSON object")
    found: dict[str, Any] = {"mean": config.get("image_mean"), "std": config.get("image_std")}
    if config.get("do_normalize") is False:
        found = {"mean": [0.0], "std": [1.0]}
    found["interpolation"] = _RESAMPLING.get(config.get("resample", -1))
    size, crop = config.get("size"), config.get("crop_size") if config.get("do_center_crop") else None
    if isinstance(size, dict) and isinstance(crop, dict) and "shortest_edge" in size and "height" in crop:
        found["crop_pct"] = min(crop["height"] / size["shortest_edge"], 1.0)
    elif isinstance(size, dict) and "height" in size:
        found |= {"crop_pct": 1.0, "crop_mode": "squash"}
    return {key: value for key, value in found.items() if value is not None}
