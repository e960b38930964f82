"""A study writes its settings beside its results; with others, or other weights or data, it refuses to go on."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.devices import is_first, wait_for_all
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.texts import read_json

SETTINGS, BATCHES = "settings.json", "batches"


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuses to mix results of other settings with these; writes down those of a new study.

    The first of several processes writes, and the others see whether it is about the same as they are.

    Args:
      folder: of the results.
      settings: what determines the outcome, as JSON has it.

    Raises:
      CommandError: results of other settings are there, or the processes have different folders.
    """
    if any((folder / BATCHES).glob("*.npz")):
        _compare_settings(folder, settings)
    if is_first():
        write_whole(folder / SETTINGS, (json.dumps(settings, indent=1) + "\n").encode())
    wait_for_all("settings")
    if not is_first():
        if not (folder / SETTINGS).is_file():
            raise CommandError(f"--out: {folder} is not the first process's folder; all processes need the same one")
        _compare_settings(folder, settings)


def _compare_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    path = folder / SETTINGS
    try:
        old = read_json(path)
        differ = [name for name in sorted({*old, *settings}) if old.get(name) != settings.get(name)]
    except OSError as error:
        raise CommandError(f"--out: {folder} holds results, but {path} cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise CommandError(f"--out: {path} is not as a study writes it ({error})") from error
    if differ:
        found = "; ".join(f"{name}: {old.get(name)!r}, now {settings.get(name)!r}" for name in differ)
        raise CommandError(f"--out: {folder} holds results of other settings ({found}); give another folder")


def checksum(path: Path) -> str:
    """Returns 16 hexadecimal digits that tell contents apart.

    They are of a file or of all files of a folder; of something that is not on the disk, they are of its name.
    """
    digest = hashlib.sha256()
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        digest.update(file.relative_to(path).as_posix().encode())
        digest.update(file.read_bytes() if file.exists() else str(file).encode())
    return digest.hexdigest()[:16]
