"""Names come from others, in any length and script; here they are shown without harm, and made fit for files."""

import hashlib
import os
import re
import unicodedata

#: A file's name may have 255 bytes. What is put before and behind a stem needs some of them.
LONGEST_STEM = 180

# Controls move a terminal's cursor or colour it, controls of direction have a name read as another one, and halves of
# surrogate pairs stand for bytes that are no text. Joiners stay, since several scripts need them.
_LINES = "\n"
_DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_HARMFUL = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029{_DIRECTIONS}\ud800-\udfff]")


def printable(text: str, *, lines: bool = False) -> str:
    """Returns a text in which whatever a terminal would obey is written out, such as ``\\x1b`` for an escape.

    Args:
      text: any.
      lines: whether the ends of lines stay as they are.

    Returns:
      The text, of the same letters in all scripts.

    Example:
      >>> from xrcam_jax.runtime.names import printable
      >>> print(printable("scan\\x1b[2J \\u202egnp.exe"))
      scan\\x1b[2J \\u202egnp.exe
    """
    return _HARMFUL.sub(lambda found: found[0] if lines and found[0] in _LINES else _written_out(found[0]), text)


def cell(value: object) -> object:
    """Returns a value as a cell of a table that spreadsheets may open.

    A text that a spreadsheet would take for a formula gets an apostrophe before it. Numbers stay, also as text.

    Args:
      value: of any type. Only texts are looked at.

    Returns:
      The value, or a harmless text in its place.

    Example:
      >>> from xrcam_jax.runtime.names import cell
      >>> cell("=cmd|' /C calc'!A0"), cell("-0.5"), cell("glioma")
      ("'=cmd|' /C calc'!A0", '-0.5', 'glioma')
    """
    if not isinstance(value, str):
        return value
    text = printable(value, lines=True)
    return f"'{text}" if value.lstrip()[:1] in ("=", "+", "-", "@") and not _is_number(value) else text


def markdown_cell(value: object) -> str:
    """Returns a value as a cell of a table in Markdown, in which nothing is a tag of HTML or ends the cell.

    Args:
      value: of any type.

    Returns:
      Its text, on one line.

    Example:
      >>> from xrcam_jax.runtime.names import markdown_cell
      >>> print(markdown_cell("<b>|\\x1b[31m"))
      &lt;b>\\|\\x1b[31m
    """
    return printable(str(value)).replace("|", "\\|").replace("<", "&lt;")


def file_stem(text: str, longest: int = LONGEST_STEM) -> str:
    """Returns a stem for the names of files that is the text itself, wherever any file system takes it.

    Args:
      text: what the files are called after.
      longest: how many bytes the stem may have, from 16.

    Returns:
      The text; or, where it is too long, empty, or has slashes or controls in it, its beginning and part of a digest.

    Example:
      >>> from xrcam_jax.runtime.names import file_stem
      >>> file_stem("scan 1"), file_stem("a\\nb"), file_stem("x" * 300, longest=16)
      ('scan 1', 'a_b-7e18f737', 'xxxxxxx-0d4e2ca9')
    """
    plain = re.sub(r"[/\\]", "_", _HARMFUL.sub("_", text)) or "_"
    if plain == text and len(os.fsencode(plain)) <= longest:
        return plain
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain.encode()[: longest - 9].decode(errors='ignore')}-{digest}"


def same_name(text: str) -> str:
    """Returns what names have in common that some file systems do not tell apart: they differ in case or accents' form.

    Args:
      text: a name.

    Returns:
      A key, equal for such names.

    Example:
      >>> from xrcam_jax.runtime.names import same_name
      >>> same_name("Ärzte") == same_name("a\\u0308RZTE"), same_name("a") == same_name("b")
      (True, False)
    """
    # Folding may take a text apart again, so that it is composed anew.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _written_out(character: str) -> str:
    known = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
    code = ord(character)
    return known.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
