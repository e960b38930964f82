"""Outputs: a run has its output for itself, and clears away what killed runs have left unfinished there."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.files import clear_leftover, clear_leftovers
from xrcam_jax.runtime.locks import CannotLock, Taken, locked
from xrcam_jax.runtime.names import file_stem, printable

LOCK = ".xrcam.lock"


@contextmanager
def alone_in(argument: str, folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Keeps other runs out of a folder of outputs.

    Args:
      argument: what the message calls the argument.
      folder: exists and can be written to.
      shared: whether several processes may share the work; the first of them then holds the folder for all.

    Returns:
      The context in which the folder is this run's.

    Raises:
      CommandError: another run is writing there.
      ConnectionError: another process of this run has failed.

    Example:
      >>> from pathlib import Path
      >>> from tempfile import TemporaryDirectory
      >>> from xrcam_jax.arguments.outputs import alone_in
      >>> with TemporaryDirectory() as folder, alone_in("--out", Path(folder)):
      ...     print([path.name for path in Path(folder).iterdir()])
      ['.xrcam.lock']
    """
    with ExitStack() as stack:
        if shared:
            _enter_together(stack, argument, folder)
        else:
            _enter(stack, argument, folder, folder / LOCK)
        yield


@contextmanager
def alone_at(argument: str, path: Path) -> Iterator[None]:
    """Keeps other runs from writing a file, or a folder that is replaced as a whole.

    Args:
      argument: what the message calls the argument.
      path: of the file, in a folder that exists and can be written to.

    Returns:
      The context in which the file is this run's.

    Raises:
      CommandError: another run is writing it.

    Example:
      >>> from pathlib import Path
      >>> from tempfile import TemporaryDirectory
      >>> from xrcam_jax.arguments.outputs import alone_at
      >>> with TemporaryDirectory() as folder, alone_at("--out", Path(folder) / "clip.mp4"):
      ...     print([path.name for path in Path(folder).iterdir()])
      ['.clip.mp4.lock']
    """
    with ExitStack() as stack:
        _enter(stack, argument, path, path.absolute().with_name(f".{file_stem(path.name)}.lock"))
        yield


def _enter(stack: ExitStack, argument: str, path: Path, lock: Path) -> None:
    try:
        stack.enter_context(locked(lock))
    except Taken as holder:
        raise CommandError(f"{argument}: {path} is being written by {holder}; wait for it, or name another") from None
    except CannotLock:
        line = f"{path} cannot be locked on its file system; see to it that no other run writes there"
        print(f"xrcam: {argument}: {printable(line)}", file=sys.stderr)
        return
    if lock.parent == path:
        clear_leftovers(path)
    else:
        clear_leftover(path.absolute())


def _enter_together(stack: ExitStack, argument: str, folder: Path) -> None:
    """Lets the first process hold the folder, and all the others end with it if it cannot."""
    from xrcam_jax.runtime.devices import gather_bytes, is_first

    problem = ""
    if is_first():
        try:
            _enter(stack, argument, folder, folder / LOCK)
        except CommandError as error:
            problem = str(error)
    problem = gather_bytes(problem.encode())[0].decode()
    if problem:
        raise CommandError(problem)
