"""Folders and keys that nobody but their owner can write to, for what is trusted when it is read again."""

import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_KEY_BYTES = 32


def private_folder(folder: str | os.PathLike[str]) -> bool:
    """Makes a folder that only its owner can look into, whatever the umask, and tells whether it is one.

    Args:
      folder: is made where it is missing, with the folders on the way. Where it is there and one's own, others lose
        what they can see of it.

    Returns:
      Whether it is one's own folder, can be written to, and nobody else could write there before.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.runtime.private import private_folder
      >>> with tempfile.TemporaryDirectory() as parent:
      ...     folder = Path(parent) / "cache"
      ...     private_folder(folder), oct(folder.stat().st_mode & 0o777)
      (True, '0o700')
    """
    folder = Path(folder)
    try:
        for path in reversed([folder, *folder.parents]):
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or not _is_own(found) or found.st_mode & 0o022:
            return False
        if found.st_mode & 0o077:
            folder.chmod(0o700)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def private_key(path: str | os.PathLike[str]) -> bytes | None:
    """Returns a secret of the user's, which is drawn the first time.

    Args:
      path: of the file that has it, in a folder that exists.

    Returns:
      32 bytes; None where there is none that only the user can read and write, and none can be made.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.runtime.private import private_key
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     key = private_key(f"{folder}/key")
      ...     len(key), private_key(f"{folder}/key") == key
      (32, True)
    """
    path = Path(path)
    with suppress(OSError):
        if not os.path.lexists(path):
            _draw(path)
        # A link would lead to a file that somebody else has chosen.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            key = file.read(_KEY_BYTES + 1)
        if stat.S_ISREG(found.st_mode) and _is_own(found) and not found.st_mode & 0o077 and len(key) == _KEY_BYTES:
            return key
    return None


def _draw(path: Path) -> None:
    """Writes a new key, unless another process has just done so."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".key.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        os.unlink(aside)


def _is_own(found: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
