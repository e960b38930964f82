"""The judge: input is accepted, or refused in one clear error that names the file; all else is a fault."""

import re
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xrcam_jax.errors import CommandError

#: What a function may raise at bad input. A MemoryError is none of these: too large has to be said.
REFUSALS = (ValueError, OSError, CommandError)
LONGEST = 4_000


class Verdict(NamedTuple):
    """Says what became of an input.

    Attributes:
      kind: ``"accepted"``, ``"refused"`` or ``"fault"``.
      detail: what was said, or what is wrong.
      where: of a fault, the innermost line of the package, else the end of the message's kind.
    """

    kind: str
    detail: str
    where: str = ""


class Fault(AssertionError):
    """Something was accepted that ought not to be, or its result is wrong."""


def judged(read: Callable[[], Any], named: Sequence[str]) -> Verdict:
    """Returns the verdict on a function that reads an input.

    Args:
      read: reads it, and raises a :class:`Fault` if what comes out is not sound.
      named: an error has to contain one of these.
    """
    try:
        read()
    except REFUSALS as error:
        return _refused(error, named)
    except Fault as fault:
        return Verdict("fault", str(fault), "accepted")
    except SystemExit as stop:
        return Verdict("accepted" if not stop.code else "fault", f"SystemExit({stop.code})", "SystemExit")
    except BaseException as error:
        return Verdict("fault", f"{type(error).__name__}: {str(error)[:300]}", _where(error))
    return Verdict("accepted", "")


def _refused(error: BaseException, named: Sequence[str]) -> Verdict:
    message = str(error)
    if not any(name in message for name in named):
        return Verdict("fault", f"names no file: {type(error).__name__}: {message[:300]}", _where(error))
    if len(message) > LONGEST:
        return Verdict("fault", f"{len(message)} characters: {message[:300]}", _where(error))
    return Verdict("refused", message[:300])


def _where(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/xrcam_jax/" in frame.filename]
    place = f"{frames[-1].filename.rpartition('/xrcam_jax/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__} {place}"


def judged_command(status: int, err: str, named: Sequence[str]) -> Verdict:
    """Returns the verdict on a command.

    Args:
      status: with which it ended; below 0 the signal that ended it.
      err: all that it wrote to standard error.
      named: if it failed, a line has to contain one of these; any will do if there are none.
    """
    lines = [line for line in err.splitlines() if line.strip()]
    tail = err[-600:]
    if "Traceback (most recent call last)" in err:
        return Verdict("fault", f"traceback, status {status}: {tail}", f"traceback {lines[-1].partition(':')[0]}")
    if status not in (0, 1, 2):
        return Verdict("fault", f"status {status}: {tail}", f"status {status}")
    if status and not lines:
        return Verdict("fault", f"status {status} and not a word", "silent")
    if status == 2 and len(lines) != 1:
        return Verdict("fault", f"{len(lines)} lines: {tail}", f"lines {re.sub(r'[0-9]+', '', lines[-1])[:40]}")
    if status and named and not any(name in err for name in named):
        return Verdict("fault", f"names no file: {tail}", "names no file")
    return Verdict("refused" if status else "accepted", tail)


def listing(folder: Path) -> set[str]:
    """Returns all files of a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def sound_pictures(pictures: Sequence[np.ndarray]) -> None:
    """Refuses pictures that are not (h, w, 3) of 8 bits."""
    for picture in pictures:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise Fault(f"a picture of {picture.dtype} and shape {picture.shape}")


def sound_weights(tensors: dict[str, np.ndarray]) -> None:
    """Refuses weights with which no network gives numbers."""
    for key, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise Fault(f"weights that are not finite: {key}")
        if key.endswith("running_var") and (tensor < 0).any():
            raise Fault(f"a negative variance: {key}")
