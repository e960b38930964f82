"""Tables in CSV that are written and read again: what comes back is what was there, or the line is named."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from xrcam_jax.runtime.reading import check_file
from xrcam_jax.runtime.texts import read_text


def table(names: Sequence[str], rows: Sequence[dict]) -> bytes:
    """Writes a table in CSV.

    Args:
      names: of the columns, in their order.
      rows: values by column.

    Returns:
      The table in UTF-8, from which :func:`rows_of` reads the same values, whatever is in them.

    Example:
      >>> from xrcam_jax.data.tables import table
      >>> table(["patient", "part"], [{"patient": "p,1", "part": "test"}])
      b'patient,part\\n"p,1",test\\n'
    """
    text = io.StringIO()
    # The writer only quotes line ends of its own kind, but the reader takes a bare carriage return for one too.
    bare = any("\r" in str(value) for row in rows for value in row.values())
    writer = csv.DictWriter(text, names, lineterminator="\n", quoting=csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def rows_of(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Reads a table row by row.

    Args:
      path: of the file.
      columns: that it has to have; others may be there as well, in any order.

    Returns:
      An iterator over the rows: the file and line that each is in, and its fields by column.

    Raises:
      ValueError: naming the file, and the line that is not as a table has it.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.data.tables import rows_of, table
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "split.csv"
      ...     _ = path.write_bytes(table(["patient", "part"], [{"patient": "p1", "part": "test"}]))
      ...     [row for _, row in rows_of(path, ["part"])]
      [{'patient': 'p1', 'part': 'test'}]
    """
    reader = csv.reader(io.StringIO(content_of(path), newline=""))
    header: list[str] | None = None
    try:
        for row in reader:
            if header is None:
                header = row
                missing = [column for column in columns if column not in header]
                if missing:
                    raise ValueError(f"{path}: the columns {', '.join(missing)} are missing; found {header!r:.200}")
            elif len(row) not in (0, len(header)):
                raise ValueError(f"{path}, line {reader.line_num}: expected {len(header)} fields, found {len(row)}")
            elif row:
                yield f"{path}, line {reader.line_num}", dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not as a table has it ({error})") from None
    if header is None:
        raise ValueError(f"{path}: the columns {', '.join(columns)} are missing; the file is empty")


def content_of(path: Path) -> str:
    """Reads the text of a file of a prepared folder.

    Args:
      path: of the file.

    Returns:
      The text, see :func:`xrcam_jax.runtime.texts.read_text`.

    Raises:
      ValueError: naming the file that is missing, cannot be read or is no text.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.data.tables import content_of
      >>> content_of(Path("nowhere.csv"))
      Traceback (most recent call last):
      ...
      ValueError: nowhere.csv: there is no such file; 'xrcam prepare' makes it
    """
    if path.exists():
        check_file(path)
    try:
        return read_text(path)
    except FileNotFoundError:
        above = path.parent.parent
        meant = f"; did you mean {above}?" if (above / path.name).is_file() else ""
        raise ValueError(f"{path}: there is no such file; 'xrcam prepare' makes it{meant}") from None
    except NotADirectoryError:
        raise ValueError(f"{path.parent} is a file; expected the folder that 'xrcam prepare' makes") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
