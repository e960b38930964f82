"""Checks arguments before anything is loaded or compiled; what is wrong is said in one line."""

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from xrcam_jax.errors import CommandError, unknown
from xrcam_jax.runtime.texts import read_json, read_text


def check_names(argument: str, names: Collection[str], known: Collection[str]) -> None:
    """Refuses names that are not known, names that are given twice, and no names at all.

    Args:
      argument: what the message calls the argument.
      names: what was given.
      known: what may be given; of these the nearest is offered.

    Raises:
      CommandError: a name is wrong.

    Example:
      >>> from xrcam_jax.arguments.checks import check_names
      >>> check_names("--method", ["grad_can"], ["grad_cam", "lrp"])
      Traceback (most recent call last):
      xrcam_jax.errors.CommandError: --method: unknown name 'grad_can'; did you mean 'grad_cam'? known: grad_cam, lrp
    """
    if not names:
        raise CommandError(f"{argument}: no name is given")
    for name in names:
        if name not in known:
            raise CommandError(f"{argument}: {unknown('name', name, known)}")
    if len(set(names)) != len(names):
        raise CommandError(f"{argument}: a name is given twice in {','.join(names)}")


def check_methods(argument: str, names: Collection[str], known: Collection[str]) -> None:
    """Refuses methods that are not known or given twice, and options and values of them that they do not have.

    Args:
      argument: what the message calls the argument.
      names: what was given; each may have options, such as ``rise+samples=500``.
      known: the methods that may be given.

    Raises:
      CommandError: a name, an option or a value is wrong.

    Example:
      >>> from xrcam_jax.arguments.checks import check_methods
      >>> check_methods("--method", ["rise+samples=few"], ["rise"])
      Traceback (most recent call last):
      xrcam_jax.errors.CommandError: --method: value of samples of rise must be a whole number; got 'few'
    """
    from xrcam_jax.explain.methods import configure
    from xrcam_jax.explain.variants import base

    check_names(argument, list(dict.fromkeys(map(base, names))), known)
    if len(set(names)) != len(names):
        raise CommandError(f"{argument}: a name is given twice in {','.join(names)}")
    for name in names:
        try:
            configure(name, {})
        except (ValueError, TypeError) as error:
            raise CommandError(f"{argument}: {error}") from error


def check_at_least_one(argument: str, value: int) -> None:
    """Refuses numbers below one.

    Args:
      argument: what the message calls the argument.
      value: what was given.

    Raises:
      CommandError: the value is less than 1.

    Example:
      >>> from xrcam_jax.arguments.checks import check_at_least_one
      >>> check_at_least_one("--limit", 0)
      Traceback (most recent call last):
      xrcam_jax.errors.CommandError: --limit: 0 is less than 1
    """
    if value < 1:
        raise CommandError(f"{argument}: {value} is less than 1")


def check_passes(value: int) -> None:
    """Refuses numbers of passes that have no deviation, or that would never end.

    Args:
      value: what was given.

    Raises:
      CommandError: the value is not in 2 to 100000.

    Example:
      >>> from xrcam_jax.arguments.checks import check_passes
      >>> check_passes(1)
      Traceback (most recent call last):
      xrcam_jax.errors.CommandError: --passes: 1 is not in 2 to 100000
    """
    if not 2 <= value <= 100_000:
        raise CommandError(f"--passes: {value} is not in 2 to 100000")


def check_seed(argument: str, value: int) -> None:
    """Refuses seeds that JAX would not take, or take for another one: it drops what is beyond 32 bits.

    Args:
      argument: what the message calls the argument.
      value: what was given.

    Raises:
      CommandError: the value is negative or has more than 32 bits.

    Example:
      >>> from xrcam_jax.arguments.checks import check_seed
      >>> check_seed("--seed", -1)
      Traceback (most recent call last):
      xrcam_jax.errors.CommandError: --seed: -1 is not in 0 to 4294967295
    """
    if not 0 <= value < 2**32:
        raise CommandError(f"{argument}: {value} is not in 0 to {2**32 - 1}")


def batch_size(text: str) -> int | Literal["auto"]:
    """Returns the value of ``--batch-size``: a number, or ``"auto"`` for as many as fit.

    Args:
      text: what was given.

    Raises:
      ValueError: it is neither.

    Example:
      >>> from xrcam_jax.arguments.checks import batch_size
      >>> batch_size("8"), batch_size("auto")
      (8, 'auto')
    """
    try:
        return "auto" if text == "auto" else int(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a number nor 'auto'") from None


def check_inputs(inputs: Collection[Path]) -> None:
    """Refuses inputs of which there are none at all; one file that is missing must not keep the others back.

    Args:
      inputs: files and folders.

    Raises:
      CommandError: nothing exists, or there are no files in the folders.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.arguments.checks import check_inputs
      >>> check_inputs([Path("nowhere.png")])
      Traceback (most recent call last):
      xrcam_jax.errors.CommandError: no such file or folder: nowhere.png
    """
    from xrcam_jax.pictures.read import list_files

    named = ", ".join(map(str, inputs))
    if not any(path.exists() for path in inputs):
        raise CommandError(f"no such file or folder: {named}")
    if not list_files(inputs):
        raise CommandError(f"no files in {named}; folders inside of a folder are not searched")


def folders_without_files(inputs: Collection[Path]) -> list[Path]:
    """Returns the folders among the inputs that stand for nothing, which is to be said: pictures may lie deeper.

    Args:
      inputs: files and folders.

    Example:
      >>> from pathlib import Path
      >>> from tempfile import TemporaryDirectory
      >>> from xrcam_jax.arguments.checks import folders_without_files
      >>> with TemporaryDirectory() as folder:
      ...     len(folders_without_files([Path(folder), Path("scan.png")]))
      1
    """
    from xrcam_jax.pictures.read import list_files

    return [path for path in inputs if not list_files([path])]


def prepare_folder(argument: str, folder: Path) -> None:
    """Makes the folder and tries to write there.

    Args:
      argument: what the message calls the argument.
      folder: may lie in folders that do not exist yet.

    Raises:
      CommandError: the folder cannot be made or written to.

    Example:
      >>> from pathlib import Path
      >>> from tempfile import TemporaryDirectory
      >>> from xrcam_jax.arguments.checks import prepare_folder
      >>> with TemporaryDirectory() as parent:
      ...   prepare_folder("--out", Path(parent) / "results" / "today")
      ...   print((Path(parent) / "results" / "today").is_dir())
      True
    """
    try:
        if folder.is_file():
            raise CommandError(f"{argument}: {folder} is a file, expected a folder")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(f"{argument}: cannot write to {folder} ({error.strerror})") from error


def check_video(argument: str, path: Path, inputs: Collection[Path]) -> None:
    """Refuses videos that cannot be written here, or that would replace an input; makes the folder.

    Args:
      argument: what the message calls the argument.
      path: of the video.
      inputs: files and folders that are read.

    Raises:
      CommandError: the video cannot be written, or is an input.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.arguments.checks import check_video
      >>> check_video("--out", Path("clip.gif"), [])
      Traceback (most recent call last):
      xrcam_jax.errors.CommandError: --out: clip.gif is no video that can be written; expected .avi, .mp4, .mov, .mkv
    """
    from xrcam_jax.pictures.read import list_files
    from xrcam_jax.pictures.video_kinds import PCLE_FRAME_RATE, WRITTEN, lacking

    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise CommandError(f"{argument}: {path} is no video that can be written; expected {', '.join(WRITTEN)}")
    try:
        from xrcam_jax.pictures.write_video import VideoFile, unfinished
    except ModuleNotFoundError as error:
        raise CommandError(f"{argument}: {lacking(error, path)}") from None
    if path.is_dir():
        raise CommandError(f"{argument}: {path} is a folder, expected a file")
    for written in (path, unfinished(path)):
        if any(file.name == written.name and file.resolve() == written.resolve() for file in list_files(inputs)):
            raise CommandError(f"{argument}: {written} is one of the inputs and would be replaced")
    prepare_folder(argument, path.parent)
    with tempfile.TemporaryDirectory() as folder:
        try:
            VideoFile(Path(folder) / f"trial{suffix}", PCLE_FRAME_RATE, 64, 64).close()
        except OSError as error:
            raise CommandError(f"{argument}: PyAV cannot write {suffix} videos here") from error


def read_labels(argument: str, path: Path) -> list[str]:
    """Reads class names: a line each, or in JSON a list or an object from class number to name.

    Args:
      argument: what the message calls the argument.
      path: of the file; its suffix tells JSON from text.

    Returns:
      The names, in the order of the classes.

    Raises:
      CommandError: the file cannot be read, or holds something else.

    Example:
      >>> from pathlib import Path
      >>> from tempfile import TemporaryDirectory
      >>> from xrcam_jax.arguments.checks import read_labels
      >>> with TemporaryDirectory() as folder:
      ...   file = Path(folder) / "labels.json"
      ...   _ = file.write_text('{"0": "glioma", "1": "meningioma"}')
      ...   print(read_labels("--labels", file))
      ['glioma', 'meningioma']
    """
    try:
        if path.suffix.lower() != ".json":
            return [line.strip() for line in read_text(path).splitlines() if line.strip()]
        content = read_json(path)
    except OSError as error:
        raise CommandError(f"{argument}: cannot read {path} ({error.strerror})") from error
    except ValueError as error:
        raise CommandError(f"{argument}: {error}") from error
    try:
        if isinstance(content, dict):
            content = [content[str(index)] for index in range(len(content))]
        # ImageNet's own index has a pair for each class, a WordNet number and a name.
        names = [entry[-1] if isinstance(entry, list) else entry for entry in content]
    except (KeyError, TypeError, IndexError):
        names = [None]
    if isinstance(content, str) or not all(isinstance(name, str | int | float) for name in names):
        expected = "a list of names in JSON, or an object with keys 0, 1, ..."
        raise CommandError(f"{argument}: {path}: expected {expected}, found something else")
    return [str(name) for name in names]
