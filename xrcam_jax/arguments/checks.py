"""Arguments are checked before anything is loaded or compiled; what is wrong is said in one line."""

import argparse
import json
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from xrcam_jax.errors import CommandError, unknown


def check_names(argument: str, names: Collection[str], known: Collection[str]) -> None:
    """Refuses names that are not known, offering the nearest that is, names given twice, and none at all."""
    if not names:
        raise CommandError(f"{argument}: no name is given")
    for name in names:
        if name not in known:
            raise CommandError(f"{argument}: {unknown('name', name, known)}")
    if len(set(names)) != len(names):
        raise CommandError(f"{argument}: a name is given twice in {','.join(names)}")


def check_at_least_one(argument: str, value: int) -> None:
    """Refuses numbers below one."""
    if value < 1:
        raise CommandError(f"{argument}: {value} is less than 1")


def batch_size(text: str) -> int | Literal["auto"]:
    """The value of ``--batch-size``: as many as fit, or a number."""
    try:
        return "auto" if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor 'auto'") from None


def check_inputs(inputs: Collection[Path]) -> None:
    """Refuses only where there is nothing at all: one file that is missing must not keep the others back."""
    from xrcam_jax.pictures.read import list_files

    named = ", ".join(map(str, inputs))
    if not any(path.exists() for path in inputs):
        raise CommandError(f"no such file or folder: {named}")
    if not list_files(inputs):
        raise CommandError(f"no files in {named}; folders inside of a folder are not searched")


def prepare_folder(argument: str, folder: Path) -> None:
    """Makes the folder and tries to write there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(f"{argument}: cannot write to {folder} ({error.strerror})") from error


def check_video(argument: str, path: Path, inputs: Collection[Path]) -> None:
    """Refuses videos that cannot be written here, or that would replace an input; makes the folder."""
    from xrcam_jax.pictures.read import list_files
    from xrcam_jax.pictures.write_video import CODECS, PCLE_FRAME_RATE, open_writer, unfinished

    suffix = path.suffix.lower()
    if suffix not in CODECS:
        raise CommandError(f"{argument}: {path} is no video that can be written; expected {', '.join(CODECS)}")
    if path.is_dir():
        raise CommandError(f"{argument}: {path} is a folder, expected a file")
    for written in (path, unfinished(path)):
        if any(file.name == written.name and file.resolve() == written.resolve() for file in list_files(inputs)):
            raise CommandError(f"{argument}: {written} is one of the inputs and would be replaced")
    prepare_folder(argument, path.parent)
    with tempfile.TemporaryDirectory() as folder:
        try:
            open_writer(Path(folder) / f"trial{suffix}", PCLE_FRAME_RATE, 64, 64).release()
        except OSError as error:
            raise CommandError(f"{argument}: OpenCV cannot write {suffix} videos here") from error


def read_labels(argument: str, path: Path) -> list[str]:
    """Class names: a line each, or JSON, a list or an object from class number to name."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() != ".json":
            return [line.strip() for line in text.splitlines() if line.strip()]
        content = json.loads(text)
        if isinstance(content, dict):
            content = [content[str(index)] for index in range(len(content))]
        # ImageNet's own index has pairs of a WordNet number and a name.
        return [str(entry[-1] if isinstance(entry, list) else entry) for entry in content]
    except OSError as error:
        raise CommandError(f"{argument}: cannot read {path} ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CommandError(
            f"{argument}: {path} is neither a name a line nor JSON (a list, or an object with keys 0, 1, ...)"
        ) from error
