"""Files of results, read with complaints that name the file, what was expected and what was found."""

import json
from pathlib import Path
from typing import Any


def expect(fits: bool, where: object, expected: str, found: object) -> None:
    """Raises ValueError in one line where ``fits`` is false."""
    if not fits:
        text = repr(found)
        raise ValueError(f"{where}: expected {expected}, found {text if len(text) <= 80 else f'{text[:77]}...'}")


def read_bytes(path: Path, expected: str) -> bytes:
    """The file's bytes.

    Raises:
      ValueError: where it cannot be read; ``expected`` says what should have been there.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: expected {expected}, found none that can be read ({error.strerror})") from error


def read_text(path: Path, expected: str) -> str:
    """The file's text, in UTF-8 with or without a mark at its beginning.

    Raises:
      ValueError: where it cannot be read or is no such text.
    """
    try:
        return read_bytes(path, expected).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected {expected}, found bytes that are not UTF-8") from error


def read_object(path: Path, expected: str) -> dict[str, Any]:
    """The file's JSON object.

    Raises:
      ValueError: where the file is missing or holds anything else; NaN and infinities are no JSON.
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
    """Whether it is an int or a float; Python counts booleans among the ints, a reader does not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_index(value: object, length: int) -> bool:
    """Whether it is the number of one of ``length`` things, counted from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < length


def is_names(value: object) -> bool:
    """Whether it is a list of one or more strings, all different."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(name, str) for name in value)
        and len(set(value)) == len(value)
    )
