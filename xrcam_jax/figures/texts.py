"""Texts in figures: how wide they are, and how they are made to fit. matplotlib is imported when something is drawn."""

from functools import lru_cache
from typing import Any

from xrcam_jax.runtime.names import printable

#: A font that comes with matplotlib, so that a text is as wide on every machine.
FONT = "DejaVu Sans"
#: Stands for letters that the font lacks.
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
#: Points to an inch.
_POINTS = 72


@lru_cache(maxsize=1024)
def width(text: str, size: float) -> float:
    """Returns how wide a line is, in inches.

    Args:
      text: the line.
      size: of the font, in points.

    Example:
      >>> from xrcam_jax.figures.texts import width
      >>> width("Grad-CAM", 9) < width("Grad-CAM++", 9) < 1
      True
    """
    from matplotlib.textpath import TextToPath

    return TextToPath().get_text_width_height_descent(text, _properties(size), ismath=False)[0] / _POINTS


def fitted(text: str, room: float, size: float, lines: int = 1) -> str:
    """Breaks a text into lines between its words, and shortens it by an ellipsis where it still does not fit.

    Args:
      text: any. What a terminal would obey is written out, and letters that the font lacks are replaced.
      room: how wide the lines may be, in inches.
      size: of the font, in points.
      lines: how many there may be.

    Returns:
      The lines, with line breaks between.

    Example:
      >>> from xrcam_jax.figures.texts import fitted
      >>> fitted("Prediction difference analysis", 1.3, 9, lines=2).count("\\n")
      1
      >>> fitted("Prediction difference analysis", 1.3, 9)[-1]
      '…'
    """
    broken = list[str]()
    words = known(text).split(" ")
    while words:
        last = len(broken) == lines - 1
        count = len(words)
        while count > 1 and width(" ".join(words[:count]), size) > room:
            count -= 1
        if last or width(words[0], size) > room:
            broken.append(_shortened(" ".join(words if last else words[:1]), room, size))
            words = [] if last else words[1:]
        else:
            broken.append(" ".join(words[:count]))
            words = words[count:]
    return "\n".join(broken)


def known(text: str) -> str:
    """Returns a text as the font can show it, without letters that a terminal would obey.

    Args:
      text: any.

    Example:
      >>> from xrcam_jax.figures.texts import known
      >>> known("größer \U00012000")
      'größer \N{REPLACEMENT CHARACTER}'
    """
    return "".join(letter if letter in _letters() else _UNKNOWN for letter in printable(text))


def font_file() -> str:
    """Returns where the font is.

    Example:
      >>> from xrcam_jax.figures.texts import font_file
      >>> font_file().endswith("DejaVuSans.ttf")
      True
    """
    from matplotlib.font_manager import findfont

    return findfont(FONT)


@lru_cache(maxsize=1)
def _letters() -> frozenset[str]:
    from matplotlib.font_manager import get_font

    return frozenset(map(chr, get_font(font_file()).get_charmap()))


@lru_cache(maxsize=16)
def _properties(size: float) -> Any:
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=FONT, size=size)


def _shortened(line: str, room: float, size: float) -> str:
    if width(line, size) <= room:
        return line
    kept = len(line)
    while kept and width(f"{line[:kept]}…", size) > room:
        kept -= 1
    return f"{line[:kept].rstrip()}…"
