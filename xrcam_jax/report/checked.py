"""Reading files of results, with complaints that name the file, what was expected and what was found."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xrcam_jax.runtime.texts import decoded_text


def is_baseline(labels: Iterable[str]) -> bool:
    """Tells whether a row of a table is what stands beside the methods to compare with: its name is in brackets.

    Args:
      labels: of the row.

    Returns:
      True if one of them is in brackets.

    Example:
      >>> from xrcam_jax.report.checked import is_baseline
      >>> is_baseline(["(centred disc)", "resnet50"]), is_baseline(["grad_cam", "resnet50"])
      (True, False)
    """
    return any(label.startswith("(") and label.endswith(")") for label in labels)


def expect(fits: bool, where: object, expected: str, found: object, *, quoted: bool = True) -> None:
    """Complains where something is not as it should be.

    Args:
      fits: whether it is.
      where: file and entry.
      expected: what should be there.
      found: what is there; a long one is shortened.
      quoted: whether that is what stands in the file; False for a text that says in words what is there.

    Raises:
      ValueError: in one line, where ``fits`` is false.

    Example:
      >>> from xrcam_jax.report.checked import expect
      >>> expect(False, "contents.json: order", "a number", "first")
      Traceback (most recent call last):
      ...
      ValueError: contents.json: order: expected a number, found 'first'
    """
    if not fits and not quoted:
        raise ValueError(f"{where}: expected {expected}, found {found}")
    if not fits:
        text = repr(found)
        raise ValueError(f"{where}: expected {expected}, found {text if len(text) <= 80 else f'{text[:77]}...'}")


def read_bytes(path: Path, expected: str) -> bytes:
    """Reads a file's bytes.

    Args:
      path: of the file.
      expected: what should be there, for the complaint.

    Returns:
      All of them.

    Raises:
      ValueError: where the file cannot be read.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.report.checked import read_bytes
      >>> read_bytes(Path("missing.png"), "a picture")
      Traceback (most recent call last):
      ...
      ValueError: missing.png: expected a picture, found none that can be read (No such file or directory)
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: expected {expected}, found none that can be read ({error.strerror})") from error


def read_text(path: Path, expected: str) -> str:
    """Reads a file's text, see :func:`xrcam_jax.runtime.texts.read_text`.

    Args:
      path: of the file.
      expected: what should be there, for the complaint.

    Returns:
      The text, without the mark.

    Raises:
      ValueError: where the file cannot be read or is no such text.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.report.checked import read_text
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "a.txt"
      ...     _ = path.write_text("words", encoding="utf-8-sig")
      ...     read_text(path, "words")
      'words'
    """
    return decoded_text(read_bytes(path, expected), path)


def read_object(path: Path, expected: str) -> dict[str, Any]:
    """Reads a file's JSON object.

    Args:
      path: of the file.
      expected: what should be there, for the complaint.

    Returns:
      The object.

    Raises:
      ValueError: where the file is missing or holds anything else; NaN and infinities are no JSON.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.report.checked import read_object
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "a.json"
      ...     _ = path.write_text('{"order": 1}')
      ...     read_object(path, "an object")
      {'order': 1}
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    text = read_text(path, expected)
    try:
        content = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected {expected}, found broken JSON ({error})") from error
    expect(isinstance(content, dict), path, expected, content)
    return content


def is_number(value: object) -> bool:
    """Tells whether a value is an int or a float.

    Args:
      value: anything.

    Returns:
      True for a number. Python counts booleans among the ints, but a reader does not.

    Example:
      >>> from xrcam_jax.report.checked import is_number
      >>> is_number(1.5), is_number(True), is_number("1")
      (True, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_index(value: object, length: int) -> bool:
    """Tells whether a value is the number of one of some things, counted from 0.

    Args:
      value: anything.
      length: how many things there are.

    Returns:
      True for an int from 0 up to ``length`` - 1.

    Example:
      >>> from xrcam_jax.report.checked import is_index
      >>> is_index(1, 2), is_index(2, 2), is_index(True, 2)
      (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < length


def is_names(value: object) -> bool:
    """Tells whether a value is a list of one or more strings, all different.

    Args:
      value: anything.

    Returns:
      True for such a list.

    Example:
      >>> from xrcam_jax.report.checked import is_names
      >>> is_names(["a", "b"]), is_names(["a", "a"]), is_names([])
      (True, False, False)
    """
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(name, str) for name in value)
        and len(set(value)) == len(value)
    )
