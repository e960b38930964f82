"""Reading files that somebody names, without waiting for what is none."""

from pathlib import Path


def check_file(path: Path) -> None:
    """Refuses what is no file; to open a pipe would be to wait for somebody who writes into it.

    Args:
      path: of the file.

    Raises:
      ValueError: naming what is missing, or is a folder, a pipe, a socket or a device.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.runtime.reading import check_file
      >>> check_file(Path("missing"))
      Traceback (most recent call last):
      ...
      ValueError: missing: no such file
    """
    if not path.is_file():
        raise ValueError(f"{path}: {'not a file' if path.exists() else 'no such file'}")


def read_whole(path: Path) -> bytes:
    """Reads a file whole, and never waits for a pipe.

    Args:
      path: of the file.

    Returns:
      Its bytes.

    Raises:
      ValueError: naming what cannot be read, or is no file.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.runtime.reading import read_whole
      >>> read_whole(Path("missing"))
      Traceback (most recent call last):
      ...
      ValueError: missing: no such file
    """
    check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
