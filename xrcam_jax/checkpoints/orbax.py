"""Orbax's part of a checkpoint directory: nested dictionaries of arrays to a folder and back, without its noise."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from xrcam_jax.checkpoints.timm_keys import NnxPath
from xrcam_jax.errors import DamagedError
from xrcam_jax.runtime.quiet import Failed, quietly


def write_state(folder: Path, arrays: Mapping[NnxPath, Any]) -> None:
    """Writes arrays as an Orbax checkpoint.

    Args:
      folder: to be made; there must not be one.
      arrays: by path.

    Raises:
      OSError: the folder cannot be written; the message names it.

    Example:
      >>> write_state(Path("mine/state"), {("fc", "bias"): np.zeros(2)})  # doctest: +SKIP
    """
    import orbax.checkpoint as ocp

    state = nnx.traversals.unflatten_mapping(
        {tuple(str(part) for part in path): np.asarray(array) for path, array in arrays.items()}
    )

    def save() -> None:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(folder.absolute(), state)

    try:
        quietly(save)
    except Failed as failed:
        raise OSError(f"{folder}: cannot be written ({failed})") from None


def read_state(folder: Path) -> dict[NnxPath, Any]:
    """Reads the arrays of an Orbax checkpoint.

    Args:
      folder: of :func:`write_state`.

    Returns:
      The arrays by path.

    Raises:
      DamagedError: the checkpoint cannot be read.

    Example:
      >>> arrays = read_state(Path("mine/state"))  # doctest: +SKIP
    """
    import orbax.checkpoint as ocp

    def restore() -> dict[NnxPath, Any]:
        with ocp.StandardCheckpointer() as checkpointer:
            state = checkpointer.restore(folder.absolute())
        return {
            tuple(int(part) if part.isdigit() else part for part in path): array
            for path, array in nnx.traversals.flatten_mapping(state).items()
        }

    try:
        return quietly(restore)
    except Failed as failed:
        raise DamagedError(str(failed)) from None


def files_digest(folder: Path) -> str:
    """Returns the SHA-256 of the names and contents of all files of a folder.

    Args:
      folder: with all folders in it.

    Returns:
      64 hexadecimal digits.

    Raises:
      OSError: a file cannot be read.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     files_digest(Path(folder))[:8]
      'e3b0c442'
    """
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        total.update(f"{file.relative_to(folder).as_posix()} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()
