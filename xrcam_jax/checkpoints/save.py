"""Writing checkpoints of models; whatever is written is either whole or not there."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
from flax import nnx

from xrcam_jax.checkpoints.config import describe
from xrcam_jax.checkpoints.convert import flat_state, to_timm
from xrcam_jax.models import Classifier
from xrcam_jax.runtime.files import write_whole


def save_timm(model: Classifier, path: str | os.PathLike[str]) -> None:
    """Writes a safetensors file that timm loads with ``strict=True``.

    Every float tensor is as it is in the model, bit for bit; timm's counters of batches are zeros. The file's metadata
    say what pictures the model wants.

    Args:
      model: any network of this package.
      path: the ``.safetensors`` file to write or to replace. Folders on the way are made.

    Raises:
      ValueError: ``path`` ends in something else.

    Example:
      >>> import pathlib, tempfile
      >>> from xrcam_jax.checkpoints.load import load_model
      >>> from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "copy.safetensors")
      ...     save_timm(load_model(MODEL, WEIGHTS), path)
      ...     path.exists()
      True
    """
    from safetensors.numpy import save

    if Path(path).suffix != ".safetensors":
        raise ValueError(f"{path}: has to end in .safetensors, or nothing will know how to read it")
    metadata = {"format": "pt", "config": json.dumps(describe(model))}
    write_whole(path, save(to_timm(model), metadata=metadata))


def save_orbax(model: Classifier, directory: str | os.PathLike[str]) -> None:
    """Writes a directory that :func:`xrcam_jax.load_model` reads back, bit for bit.

    It holds ``state``, an Orbax checkpoint of the parameters and statistics in a nested dictionary by
    module and name, and ``config.json`` with architecture, number of classes and preprocessing.

    Args:
      model: any network of this package.
      directory: the folder to write, or to replace if it is such a checkpoint. Folders on the way are made.

    Raises:
      FileExistsError: there is something else at ``directory``.

    Example:
      >>> save_orbax(model, "checkpoints/mine")  # doctest: +SKIP
    """
    import orbax.checkpoint as ocp

    directory = Path(directory).absolute()
    if directory.exists() and not (directory / "state").is_dir():
        raise FileExistsError(f"{directory}: there, and not a checkpoint; not replaced")
    state = nnx.traversals.unflatten_mapping(
        {tuple(str(part) for part in path): np.asarray(array) for path, array in flat_state(model).items()}
    )
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as aside:
        fresh = Path(aside) / "fresh"
        fresh.mkdir()
        (fresh / "config.json").write_text(json.dumps(describe(model), indent=2))
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(fresh / "state", state)
        if directory.exists():
            directory.rename(Path(aside) / "old")
        fresh.rename(directory)
