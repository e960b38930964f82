"""Checkpoints of a training run: ``last``, from which it goes on, and ``best``, which is what it is for.

A checkpoint here is a folder named after its step. It has the state's arrays and, as JSON, everything else that the run
needs to go on, with a digest of both. Orbax writes it under another name and renames it, so that a run killed at any
moment leaves only whole checkpoints. The files of weights that others load are another thing, see
:mod:`xrcam_jax.checkpoints`.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from xrcam_jax.runtime.quiet import Failed, quietly
from xrcam_jax.train.step import TrainState

LAST, BEST = "last", "best"


class Checkpoints:
    """Writes and reads the checkpoints of one run.

    Args:
      folder: folder of the run; ``last`` and ``best`` are made in it.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder).absolute()
        self._managers = {name: self._manager(name) for name in (LAST, BEST)}

    def _manager(self, name: str) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1,
            cleanup_tmp_directories=True,
            # The best checkpoint may only be written once the last one is whole.
            enable_async_checkpointing=False,
        )
        return ocp.CheckpointManager(self.folder / name, options=options, item_names=("state", "progress"))

    def step(self, name: str) -> int | None:
        """Returns the step of the checkpoint called ``name``, None where there is none."""
        return self._managers[name].latest_step()

    def save(self, name: str, state: TrainState, progress: Mapping[str, Any]) -> None:
        """Writes a checkpoint in place of the one before, which goes when this one is whole.

        Does nothing if there is one of this step. All processes call it together.

        Args:
          name: ``"last"`` or ``"best"``.
          state: the state, whose arrays are on all devices.
          progress: what else the run needs, as JSON can hold it; the same in all processes.

        Raises:
          OSError: names the folder that it cannot be written to.
        """
        step = int(state.step)
        if step == self.step(name):
            return
        # From the host, since Orbax would let each of several devices cut out and write its own slice of an array,
        # which compiles a program for every shape.
        arrays = jax.device_get(state)
        noted = {"progress": dict(progress), "digest": _digest(arrays, progress)}
        items = ocp.args.Composite(state=ocp.args.StandardSave(arrays), progress=ocp.args.JsonSave(noted))

        def save() -> None:
            self._managers[name].save(step, args=items)
            self._managers[name].wait_until_finished()

        try:
            quietly(save)
        except Failed as failed:
            raise OSError(f"{self.folder / name}: cannot be written ({failed})") from None

    def restore(self, name: str, like: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Reads the checkpoint called ``name``; older ones that a killed run has left there are removed.

        Args:
          name: ``"last"`` or ``"best"``.
          like: a state of the same run, whose shapes, dtypes and places on devices the arrays take.

        Returns:
          State and progress as they were saved, None where there is no such checkpoint.

        Raises:
          ValueError: names the folder whose content is damaged or of another model.
        """
        step = self.step(name)
        if step is None:
            return None
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore())
        folder = self.folder / name / str(step)
        try:
            restored = quietly(lambda: self._managers[name].restore(step, args=items))
        except Failed as failed:
            raise ValueError(f"{folder}: cannot be read ({failed})") from None
        state, noted = restored["state"], restored["progress"]
        if not isinstance(noted, dict) or set(noted) != {"progress", "digest"}:
            raise ValueError(f"{folder}: damaged, or written by an earlier version")
        if noted["digest"] != _digest(jax.device_get(state), noted["progress"]):
            raise ValueError(f"{folder}: damaged, it is not what was written there")
        # A run that was killed between writing one and removing the one before has left both.
        for older in self._managers[name].all_steps():
            if older < step:
                self._managers[name].delete(older)
        return state, noted["progress"]

    def close(self) -> None:
        """Ends Orbax's threads."""
        for manager in self._managers.values():
            manager.close()


def _digest(arrays: TrainState, progress: Mapping[str, Any]) -> str:
    """Returns a digest of all arrays of a state, by their places in it, and of what goes with them."""
    digest = hashlib.sha256(json.dumps(progress, sort_keys=True).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {np.shape(leaf)}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
