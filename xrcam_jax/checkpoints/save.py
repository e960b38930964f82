"""Writing checkpoints of models; whatever is written is either whole or not there."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from xrcam_jax.checkpoints.config import describe
from xrcam_jax.checkpoints.convert import flat_state, to_timm
from xrcam_jax.checkpoints.orbax import files_digest, write_state
from xrcam_jax.checkpoints.verify import seal
from xrcam_jax.models import Classifier
from xrcam_jax.runtime.files import clear_leftover, write_whole
from xrcam_jax.runtime.texts import read_json

#: Names of the folder with the arrays of an Orbax directory: two, so that a new one is whole before the old one goes.
STATES = ("state", "state2")


def save_timm(model: Classifier, path: str | os.PathLike[str]) -> None:
    """Writes a safetensors file that timm loads with ``strict=True``.

    Every float tensor is as it is in the model, bit for bit; timm's counters of batches are zeros. The file's metadata
    say what network it is of, what pictures it wants, and by what digests damage is noticed. The same model gives the
    same bytes.

    Args:
      model: any network of this package.
      path: the ``.safetensors`` file to write or to replace. Folders on the way are made.

    Raises:
      ValueError: ``path`` ends in something else.
      OSError: the file cannot be written.

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
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"{path}: has to end in .safetensors, or nothing will know how to read it")
    tensors = to_timm(model)
    write_whole(path, _safetensors(tensors, {"config": json.dumps(seal(describe(model), tensors)), "format": "pt"}))


def save_orbax(model: Classifier, directory: str | os.PathLike[str]) -> None:
    """Writes a directory that :func:`xrcam_jax.load_model` reads back, bit for bit.

    It holds ``state``, an Orbax checkpoint of the parameters and statistics in a nested dictionary by
    module and name, and ``config.json`` with the description and the digests of both. ``config.json`` is written last
    and says which folder holds the arrays: until then an old checkpoint stays as it was, and what an interrupted run
    has left goes with the next.

    Args:
      model: any network of this package.
      directory: the folder to write, or to replace if it is such a checkpoint. Folders on the way are made.

    Raises:
      FileExistsError: there is something else at ``directory``.
      OSError: the folder cannot be written.

    Example:
      >>> save_orbax(model, "checkpoints/mine")  # doctest: +SKIP
    """
    directory = Path(directory).absolute()
    _check_replaceable(directory)
    old = state_name(directory)
    name = next(name for name in STATES if name != old)
    _clear(directory, keep=old)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        write_state(directory / name, flat_state(model))
        described = {**describe(model), "state": {"folder": name, "sha256": files_digest(directory / name)}}
        write_whole(directory / "config.json", json.dumps(seal(described, to_timm(model)), indent=2).encode())
    except BaseException:
        _clear(directory, keep=old)
        if not any(directory.iterdir()):
            directory.rmdir()
        raise
    _clear(directory, keep=name)


def state_name(directory: Path) -> str | None:
    """Returns the name of the folder that holds the arrays of an Orbax directory.

    Args:
      directory: as :func:`save_orbax` writes it.

    Returns:
      The name; None where there is no whole checkpoint.

    Example:
      >>> state_name(Path("nowhere")) is None
      True
    """
    try:
        state = read_json(directory / "config.json").get("state")
    except (OSError, ValueError, AttributeError):
        return None
    # The package's first version always called it state.
    name = state.get("folder") if isinstance(state, Mapping) else STATES[0]
    return name if name in STATES else None


def _check_replaceable(directory: Path) -> None:
    """Refuses to write into a folder that holds other things than a checkpoint, or what one has left."""
    if directory.is_dir():
        # A run that was killed twice may have left nothing but its unfinished description.
        clear_leftover(directory / "config.json")
        left = {*_states(directory), *([directory / "config.json"] if state_name(directory) else [])}
        if not set(directory.iterdir()) <= left and not any((directory / name).is_dir() for name in STATES):
            raise FileExistsError(f"{directory}: there, and not a checkpoint; not replaced")
    elif directory.exists():
        raise FileExistsError(f"{directory}: a file, and not a folder; not replaced")


def _states(directory: Path) -> list[Path]:
    """Lists the folders of arrays, those that Orbax has not finished among them."""
    unfinished = [path for name in STATES for path in directory.glob(f"{name}.orbax-checkpoint-tmp*")]
    return [*(directory / name for name in STATES if (directory / name).is_dir()), *unfinished]


def _clear(directory: Path, *, keep: str | None) -> None:
    for path in _states(directory):
        if path.name != keep:
            shutil.rmtree(path)


def _safetensors(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Returns the content of a safetensors file, with the metadata in the order given: the library draws one."""
    from safetensors.numpy import save

    content = save(dict(tensors))
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(
        {"__metadata__": metadata, **json.loads(content[8 : 8 + length])}, separators=(",", ":")
    ).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]
