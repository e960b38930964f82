"""The names of the classes, as the run of ``xrcam train`` has them that the weights are of."""

import os
from pathlib import Path

from xrcam_jax.runtime.texts import read_json


def run_labels(weights: str | os.PathLike[str], count: int) -> tuple[str, ...] | None:
    """Returns the names of the classes that a run was trained on; None where there are no such names.

    Args:
      weights: of which a run has written ``best.safetensors`` beside its ``settings.json``.
      count: how many classes there are.

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
    path = Path(weights)
    if path.name != "best.safetensors":
        return None
    try:
        settings = read_json(path.with_name("settings.json"))
    except (OSError, ValueError):
        return None
    classes = settings.get("classes") if isinstance(settings, dict) else None
    if not isinstance(classes, list) or len(classes) != count or not all(isinstance(name, str) for name in classes):
        return None
    return tuple(classes)
