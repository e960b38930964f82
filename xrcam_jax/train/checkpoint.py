"""Checkpoints of a training run: ``last``, from which it goes on, and ``best``, which is what it is for.

A checkpoint here is a folder named after its step. It has the state's arrays and, as JSON, everything else that the run
needs to go on. Orbax writes it under another name and renames it, so that a run killed at any moment leaves only whole
checkpoints. The files of weights that others load are another thing, see :mod:`xrcam_jax.checkpoints`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

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
        """
        step = int(state.step)
        if step == self.step(name):
            return
        # From the host, since Orbax would let each of several devices cut out and write its own slice of an array,
        # which compiles a program for every shape.
        arrays = ocp.args.StandardSave(jax.device_get(state))
        items = ocp.args.Composite(state=arrays, progress=ocp.args.JsonSave(dict(progress)))
        self._managers[name].save(step, args=items)
        self._managers[name].wait_until_finished()

    def restore(self, name: str, like: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Reads the checkpoint called ``name``.

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
        try:
            restored = self._managers[name].restore(step, args=items)
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(f"{self.folder / name / str(step)}: cannot be read ({error})") from error
        return restored["state"], restored["progress"]

    def close(self) -> None:
        """Ends Orbax's threads."""
        for manager in self._managers.values():
            manager.close()
