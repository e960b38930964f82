"""A study writes its settings beside its results; with others, or other weights or data, it refuses to go on."""

import hashlib
import json
from collections.abc import Iterable, Mapping
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
        found = differences(old, settings, differ)
        raise CommandError(f"--out: {folder} holds results of other settings ({found}); give another folder")


def differences(old: Mapping[str, Any], new: Mapping[str, Any], names: Iterable[str]) -> str:
    """Returns in a few words how settings differ.

    Args:
      old: those of before.
      new: those of now.
      names: of the settings that differ.

    Returns:
      For each name the old value and the new one; of an object those of its entries that differ. A checksum is named
      only where nothing else says what is another one.

    Example:
      >>> from xrcam_jax.studies.settings import differences
      >>> old = {"seed": 0, "data": {"part": "all", "frames": 96, "checksum": "3d9d"}}
      >>> differences(old, {"seed": 1, "data": {"part": "all", "frames": 3, "checksum": "6b1f"}}, ["data", "seed"])
      'data: frames 96 (now 3); seed: 0, now 1'
    """
    return "; ".join(f"{name}: {_difference(old.get(name), new.get(name))}" for name in names)


def _difference(old: Any, new: Any) -> str:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return f"{_short(old)}, now {_short(new)}"
    differ = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    said = [name for name in differ if name != "checksum"] or differ
    return ", ".join(f"{name} {_short(old.get(name))} (now {_short(new.get(name))})" for name in said)


def _short(value: Any) -> str:
    text = "none" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


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
