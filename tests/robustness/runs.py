"""Commands as processes of their own, forked from one that has imported everything, so that hundreds are affordable.

The parent never starts JAX: a child of a process with JAX's threads would hang.
"""

import atexit
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

#: All that the commands import when they are called.
MODULES = (
    *("commands.training", "commands.explaining", "commands.convert", "studies.segmentation", "studies.concepts"),
    *(
        "data.frames",
        "data.cohort",
        "report.page",
        "checkpoints.load",
        "checkpoints.save",
        "data.coco",
        "train.checkpoint",
    ),
)
PACKAGES = ("jax", "flax", "optax", "orbax.checkpoint", "grain", "dm_pix", "matplotlib.pyplot", "tensorboardX", "cv2")
TINY = "tiny"


def import_all(cache: Path) -> None:
    """Imports what the commands need, makes the tiny network known, and has compiled programs kept in ``cache``."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    os.environ["MPLBACKEND"] = "agg"
    for name in (*PACKAGES, *(f"xrcam_jax.{module}" for module in MODULES)):
        import_module(name)
    from tests.tiny_networks import PLAIN_SPEC
    from xrcam_jax.models.parameter_counts import PARAMETERS
    from xrcam_jax.models.specs import SPECS

    # Its number of parameters is only listed.
    SPECS[TINY], PARAMETERS[TINY] = PLAIN_SPEC, 0


@dataclass(frozen=True)
class Ended:
    """Says how a process ended.

    Attributes:
      status: its exit status; below 0, the signal that ended it; None if it was killed since it took too long.
      err: what it wrote to standard error.
      seconds: how long it ran.
    """

    status: int | None
    err: str
    seconds: float


@dataclass(frozen=True)
class Child:
    """A running command, whose output goes into files beside its folder."""

    pid: int
    started: float
    err: Path

    def kill_after(self, seconds: float, number: int = signal.SIGKILL) -> None:
        """Waits so long, unless the process ends before, and sends it a signal."""
        if not self._ended_within(seconds):
            os.kill(self.pid, number)

    def finish(self, timeout: float = 180.0) -> Ended:
        """Waits until the process ends by itself, or kills it."""
        in_time = self._ended_within(timeout)
        if not in_time:
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        err = self.err.read_text(errors="replace")
        for path in (self.err, self.err.with_suffix(".out")):
            path.unlink()
        return Ended(status if in_time else None, err, time.monotonic() - self.started)

    def wait_until_catching(self, number: int, seconds: float = 0.5) -> None:
        """Waits until the process has a handler for a signal, but not for ever: it may not have one at all.

        Where all is imported before the fork, a signal would else meet what in a process of its own is the
        interpreter's start.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            caught = Path(f"/proc/{self.pid}/status").read_text().partition("SigCgt:")[2].split()
            if not caught or int(caught[0], 16) >> (number - 1) & 1:
                return
            time.sleep(0.01)

    def _ended_within(self, seconds: float) -> bool:
        descriptor = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(max(0, round(1000 * seconds))))
        finally:
            os.close(descriptor)


def start(arguments: Sequence[str], folder: Path, before: Callable[[], Any] | None = None) -> Child:
    """Starts ``xrcam ARGUMENTS`` in a folder.

    Args:
      arguments: of the command, with paths relative to the folder.
      folder: the working directory; two files with the output come to lie beside it.
      before: called in the child before the command.
    """
    sys.stdout.flush()
    own = f"{folder.name}.{os.urandom(4).hex()}"
    out, err = folder.with_name(f"{own}.out"), folder.with_name(f"{own}.err")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        # What comes before the command is this suite's own, and is not to be disturbed.
        os.read(reader, 1)
        os.close(reader)
        return Child(pid, time.monotonic(), err)
    status = 70
    try:
        for stream, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
        os.chdir(folder)
        # As a shell's foreground jobs have them, also where this suite runs in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if before is not None:
            before()
        status = _main(arguments, lambda: os.write(writer, b"."))
    finally:
        os._exit(status)


def _main(arguments: Sequence[str], begins: Callable[[], Any]) -> int:
    """Runs the command and ends as the interpreter would: threads are waited for, and what is registered is called."""
    from xrcam_jax.cli import main

    begins()
    try:
        status = main(list(arguments))
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    # What comes now is not the command's: a signal would only meet the end of this suite's own code.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def run(arguments: Sequence[str], folder: Path, before: Callable[[], Any] | None = None) -> Ended:
    """Runs a command to its end."""
    return start(arguments, folder, before).finish()


def apart(work: Callable[[], bytes]) -> bytes:
    """Returns what a function gives in a process of its own, where it may start JAX."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        status = 70
        try:
            os.close(reader)
            with os.fdopen(writer, "wb") as file:
                file.write(work())
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        found = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise RuntimeError(f"a process that was to compute something ended with {status}")
    return found


#: Events of Python's audit hooks that change a folder, or are about to.
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree")


def count_changes(folder: Path, at: Callable[[int], Any]) -> None:
    """Calls a function before each change of a file in a folder that Python makes in this process, with its number.

    A file is changed where it is opened to be written, renamed or removed; so a kill before each of these comes at
    every moment between two of them.
    """
    number = 0
    inside = str(folder.absolute())

    def concerns(path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(inside)

    def hook(name: str, arguments: tuple) -> None:
        nonlocal number
        # Whole trees are removed by names relative to an open folder.
        relative = name in ("os.remove", "os.rmdir") and arguments[-1] not in (-1, None)
        writes = name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or name in CHANGES) and (relative or any(concerns(path) for path in arguments)):
            at(number)
            number += 1

    sys.addaudithook(hook)


def die_at(number: int, folder: Path) -> Callable[[], None]:
    """Returns a function that has this process killed, as ``kill -9`` does, before its given change in a folder."""

    def at(found: int) -> None:
        if found == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda: count_changes(folder, at)


def fresh(folder: Path, inputs: Sequence[Path] = ()) -> Path:
    """Returns an empty folder with copies of the inputs, times of change included."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in inputs:
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, folder / path.name)
    return folder
