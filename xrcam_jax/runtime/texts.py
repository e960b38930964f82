"""Reading text files as they come: with or without a mark of their encoding, from any editor or spreadsheet."""

import codecs
import json
import os
from pathlib import Path
from typing import Any

# The mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: str | os.PathLike[str]) -> str:
    """Reads a text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Args:
      path: of the file.

    Returns:
      The text without the mark, with its ends of lines as they are.

    Raises:
      ValueError: naming the file that is in another encoding.
      OSError: the file cannot be read.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.runtime.texts import read_text
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "labels.txt"
      ...     _ = path.write_bytes("Gewebe\\n".encode("utf-16"))
      ...     read_text(path)
      'Gewebe\\n'
    """
    return decoded_text(Path(path).read_bytes(), path)


def decoded_text(content: bytes, path: object) -> str:
    """Decodes the bytes of a text file as :func:`read_text` does.

    Args:
      content: all bytes of the file.
      path: what the message calls the file.

    Returns:
      The text without the mark.

    Raises:
      ValueError: naming the file that is in another encoding.

    Example:
      >>> from xrcam_jax.runtime.texts import decoded_text
      >>> decoded_text(b"caf\\xe9", "labels.txt")
      Traceback (most recent call last):
      ...
      ValueError: labels.txt: expected text in UTF-8, found byte 0xe9 in line 1; save it as UTF-8
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        expected = encoding.removesuffix("-sig").upper()
        found = f"byte 0x{content[error.start]:02x} in line {line}"
        raise ValueError(f"{path}: expected text in {expected}, found {found}; save it as UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{path}: expected text, found zero bytes; is it in UTF-16 without a byte order mark?")
    return text


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON file, in one of the encodings of :func:`read_text`.

    Args:
      path: of the file.

    Returns:
      What it holds.

    Raises:
      ValueError: naming the file that is not JSON, or nested so deep that nobody meant it.
      OSError: the file cannot be read.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.runtime.texts import read_json
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "labels.json"
      ...     _ = path.write_text('["GBM"]', encoding="utf-8-sig")
      ...     read_json(path)
      ['GBM']
    """
    return decoded_json(read_text(path), path)


def decoded_json(text: str, path: object) -> Any:
    """Takes a JSON text apart as :func:`read_json` does.

    Args:
      text: all of it.
      path: what the message calls the file.

    Returns:
      What it holds.

    Raises:
      ValueError: naming the file that is not JSON, or nested too deep.

    Example:
      >>> from xrcam_jax.runtime.texts import decoded_json
      >>> decoded_json("[" * 100_000, "labels.json")
      Traceback (most recent call last):
      ...
      ValueError: labels.json: expected JSON, found it nested too deep
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"{path}: expected JSON, found it nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, found something else ({error})") from None
