"""What the run of ``xrcam train`` says of its best weights: all that it was told, the names of the classes among it."""

import os
from pathlib import Path
from typing import Any

from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.texts import read_json

SETTINGS, BEST = "settings.json", "best.safetensors"
#: Folders of a run from which it goes on.
CHECKPOINTS = ("best", "last")


def best_file(weights: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Returns the best weights of a run, given its folder; other weights as they are.

    Args:
      weights: a file, a folder, or the name of a checkpoint on the hub.

    Raises:
      ValueError: the run has not ended yet, and so has no best weights; or the folder is that of its checkpoints.

    Example:
      >>> from pathlib import Path
      >>> from tempfile import TemporaryDirectory
      >>> from xrcam_jax.checkpoints.labels import best_file
      >>> with TemporaryDirectory() as folder:
      ...     (Path(folder) / "best.safetensors").touch()
      ...     print(Path(best_file(folder)).name, best_file("timm/resnet50.a1_in1k"))
      best.safetensors timm/resnet50.a1_in1k
    """
    folder = Path(weights).expanduser()
    if (folder / BEST).is_file():
        return str(folder / BEST)
    if (folder / SETTINGS).is_file():
        raise ValueError(f"{folder} is a run of xrcam train that has not come to its {BEST} yet")
    of_run = folder.name in CHECKPOINTS and folder.is_dir() and not (folder / "config.json").is_file()
    if of_run and (folder.parent / BEST).is_file():
        raise ValueError(f"{folder} has what xrcam train goes on from; the weights are in {folder.parent / BEST}")
    return weights


def best_of(weights: str) -> str:
    """Does the same as :func:`best_file` for the option ``--weights``.

    Args:
      weights: as there.

    Returns:
      The weights.

    Raises:
      CommandError: as there.

    Example:
      >>> from xrcam_jax.checkpoints.labels import best_of
      >>> best_of("timm/resnet50.a1_in1k")
      'timm/resnet50.a1_in1k'
    """
    try:
        return str(best_file(weights))
    except ValueError as error:
        raise CommandError(f"--weights: {error}") from None


def run_settings(weights: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what a run was told, given its best weights; nothing if they are not those of a run.

    Args:
      weights: of which a run has written ``best.safetensors`` beside its ``settings.json``.

    Example:
      >>> from xrcam_jax.checkpoints.labels import run_settings
      >>> run_settings("resnet50.safetensors")
      {}
    """
    path = Path(weights)
    try:
        settings = read_json(path.with_name(SETTINGS)) if path.name == BEST else None
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def run_labels(weights: str | os.PathLike[str], count: int | None = None) -> tuple[str, ...] | None:
    """Returns the names of the classes that a run was trained on; None where there are no such names.

    Args:
      weights: see :func:`run_settings`.
      count: how many classes there are, if that is known.

    Example:
      >>> import json
      >>> from pathlib import Path
      >>> from tempfile import TemporaryDirectory
      >>> from xrcam_jax.checkpoints.labels import run_labels
      >>> with TemporaryDirectory() as folder:
      ...     _ = (Path(folder) / "settings.json").write_text(json.dumps({"classes": ["ill", "well"]}))
      ...     print(run_labels(f"{folder}/best.safetensors", 2), run_labels(f"{folder}/other.safetensors", 2))
      ('ill', 'well') None
    """
    classes = run_settings(weights).get("classes")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        return None
    return tuple(classes) if count in (None, len(classes)) else None
