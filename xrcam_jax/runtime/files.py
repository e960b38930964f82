"""Writing files that are either whole or not there."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file under another name and renames it, so that an interrupted run never leaves half a file.

    It leaves the old file, or none where there was none.

    Args:
      path: the file to write or to replace. Folders on the way are made.
      content: all of it.

    Raises:
      OSError: the file cannot be written.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "new", "a.txt")
      ...     write_whole(path, b"all of it")
      ...     path.read_bytes()
      b'all of it'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a CSV file, whole or not at all.

    Args:
      path: the file to write or to replace. Folders on the way are made.
      rows: values by column; all have the columns of the first, whose order the header takes.

    Raises:
      ValueError: a row has a column that the first does not have.
      OSError: the file cannot be written.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "a.csv")
      ...     write_rows(path, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
      ...     path.read_text().splitlines()
      ['epoch,loss', '1,0.5', '2,0.25']
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())
