"""Locks: of two runs that would write to one place, one does.

A lock is a file that the system locks for as long as the process lives that holds it. So nothing is left locked by a
process that was killed, and the file itself, which says who holds it, does no harm if it stays behind.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # There are no such locks on Windows.
    fcntl = None  # type: ignore[assignment]


class Taken(Exception):
    """Says that another process holds a lock, and which."""


class CannotLock(Exception):
    """Says that the file system has no locks."""


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Holds a lock.

    Args:
      path: of the lock's file, in a folder that exists. The file is removed at the end.

    Returns:
      The context in which the lock is held.

    Raises:
      Taken: another process holds it, or this one already does.
      CannotLock: the file system has no locks.
      OSError: the file cannot be made.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.runtime.locks import Taken, locked
      >>> with tempfile.TemporaryDirectory() as folder, locked(f"{folder}/lock"):
      ...     try:
      ...         with locked(f"{folder}/lock"):
      ...             print("not here")
      ...     except Taken:
      ...         print("only one")
      only one
    """
    handle = _take(Path(path))
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)
        os.close(handle)


def _take(path: Path) -> int:
    """Returns the handle of the lock's file, which is locked until the handle is closed."""
    if fcntl is None:
        raise CannotLock
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 300).decode(errors="replace") or "another process"
            os.close(handle)
            raise Taken(holder) from None
        except OSError as error:
            os.close(handle)
            with suppress(OSError):
                path.unlink()
            raise CannotLock(error.strerror) from None
        with suppress(OSError):
            # Whoever held it before may have removed the file in between.
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)
