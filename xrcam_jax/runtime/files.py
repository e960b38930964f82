"""Writing files that are either whole or not there."""

import csv
import errno
import io
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xrcam_jax.runtime.names import cell, file_stem

# What a file is called while it is written: hidden, and by whom. A file's name may have 255 bytes.
_ASIDE, _LONGEST = ".part", 220
_OWN = re.compile(r"\..+\.(\d+)(\.\w+)", re.DOTALL)
#: Errors that are about one name or place, and do not stand in the way of other files.
OF_ONE_FILE = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EACCES)


def write_whole(path: str | os.PathLike[str], content: bytes, *, synced: bool = True) -> None:
    """Writes a file under another name and renames it, so that an interrupted run never leaves half a file.

    It leaves the old file, or none where there was none.

    Args:
      path: the file to write or to replace. Folders on the way are made.
      content: all of it.
      synced: whether to wait until the disk has it, so that it is whole after a power cut too. That takes from half a
        millisecond to many, which small files that are easily made again are not worth.

    Raises:
      OSError: naming the file that cannot be written.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "new", "a.txt")
      ...     write_whole(path, b"all of it")
      ...     path.read_bytes()
      b'all of it'
    """
    path = Path(path)
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{file_stem(path.name, _LONGEST)}.{os.getpid()}{_ASIDE}")
        try:
            aside.write_bytes(content)
            if synced:
                _sync(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        if synced:
            _sync(path.parent)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Has errors of the system name a file; those of a full disk do not say which file it was.

    Args:
      path: of the file that is read or written in the context.

    Returns:
      The context.

    Raises:
      OSError: what is raised in the context, with the file's name.

    Example:
      >>> from xrcam_jax.runtime.files import naming
      >>> with naming("map.png"):
      ...     raise OSError(28, "No space left on device")
      Traceback (most recent call last):
      ...
      OSError: [Errno 28] No space left on device: 'map.png'
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error


def sync(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Waits until the disk has files, or the names in folders; what is not there is passed over.

    Args:
      paths: of files and folders.

    Raises:
      OSError: naming the file that the disk could not take.

    Example:
      >>> import tempfile
      >>> from xrcam_jax.runtime.files import sync
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     sync([folder])
    """
    # A disk takes many at once in little more time than one.
    paths = list(paths)
    with ThreadPoolExecutor(min(16, len(paths)) or 1) as threads:
        list(threads.map(_sync, paths))


def _sync(path: str | os.PathLike[str]) -> None:
    if os.name != "posix":
        return
    with naming(path), suppress(FileNotFoundError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            # Some file systems do not know how to.
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                raise
        finally:
            os.close(handle)


def clear_leftovers(folder: str | os.PathLike[str], endings: Collection[str] = (_ASIDE,)) -> list[Path]:
    """Removes the unfinished files that killed runs have left: those in whose names a process is that is no more.

    Args:
      folder: is searched with all folders in it, but not across links. Nobody else may be writing there.
      endings: of the names of unfinished files, which are ``.NAME.PROCESS`` and one of these.

    Returns:
      The files that are gone.

    Example:
      >>> import os, pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for name in (".map.npz.4194305.part", f".map.npz.{os.getppid()}.part", "map.npz"):
      ...         pathlib.Path(folder, name).touch()
      ...     [path.name for path in clear_leftovers(folder)]
      ['.map.npz.4194305.part']
    """
    return [
        path
        for place, _, names in os.walk(folder)
        for name in names
        if _is_left(name, endings) and _removed(path := Path(place, name))
    ]


def clear_leftover(path: str | os.PathLike[str]) -> list[Path]:
    """Removes what killed runs that were to write one file have left beside it.

    Args:
      path: of the file. Nobody else may be writing it.

    Returns:
      The files that are gone.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for name in (".a.txt.4194305.part", ".b.txt.4194305.part"):
      ...         pathlib.Path(folder, name).touch()
      ...     [path.name for path in clear_leftover(pathlib.Path(folder, "a.txt"))]
      ['.a.txt.4194305.part']
    """
    path = Path(path)
    begin = f".{file_stem(path.name, _LONGEST)}."
    names = [name for name in os.listdir(path.parent) if name.startswith(begin)]
    beside = (path.with_name(name) for name in names if name.count(".") == begin.count(".") + 1)
    return [left for left in beside if _is_left(left.name, (_ASIDE,)) and _removed(left)]


def _is_left(name: str, endings: Collection[str]) -> bool:
    found = _OWN.fullmatch(name)
    return found is not None and found[2] in endings and not _runs(int(found[1]))


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _runs(process: int) -> bool:
    """Tells whether another process has this number."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def write_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a CSV file, whole or not at all.

    Args:
      path: the file to write or to replace. Folders on the way are made.
      rows: values by column; all have the columns of the first, whose order the header takes. Texts that a terminal
        or a spreadsheet would obey are made harmless, see :func:`xrcam_jax.runtime.names.cell`.

    Raises:
      ValueError: a row has a column that the first does not have.
      OSError: naming the file that cannot be written.

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
    writer.writerow({column: cell(column) for column in writer.fieldnames})
    writer.writerows({column: cell(value) for column, value in row.items()} for row in rows)
    write_whole(path, text.getvalue().encode())
