"""Pictures in one row under their names, drawn fast enough for each frame of a video."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from xrcam_jax.figures.texts import font_file, known
from xrcam_jax.pictures.pages import RGB

PAPER = (255, 255, 255)
_INK, _FAINT_INK = (32, 32, 32), (96, 96, 96)
#: In pixels.
MARGIN, GAP, LINE = 16, 8, 22


def strip(panels: Sequence[UInt8[np.ndarray, "h w 3"]], names: Sequence[str], caption: str) -> RGB:
    """Sets pictures of one size side by side on white paper.

    Args:
      panels: the pictures.
      names: what stands above each of them; it is shortened where it does not fit.
      caption: what stands on top, likewise.

    Returns:
      The strip, whose size depends on that and the number of the panels alone.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.strip import strip
      >>> strip([np.zeros((30, 40, 3), np.uint8)] * 2, ["scan", "Grad-CAM"], "scan 1").shape
      (110, 120, 3)
    """
    height, width = panels[0].shape[:2]
    top = MARGIN + 2 * LINE + GAP // 2
    sheet = np.full((top + height + MARGIN, 2 * MARGIN + len(panels) * (width + GAP) - GAP, 3), PAPER, np.uint8)
    line = _line(caption, sheet.shape[1] - 2 * MARGIN, size=15, ink=_INK)
    sheet[MARGIN : MARGIN + LINE, MARGIN : MARGIN + line.shape[1]] = line
    for number, (panel, name) in enumerate(zip(panels, names, strict=True)):
        left = MARGIN + number * (width + GAP)
        sheet[top : top + height, left : left + width] = panel
        line = _line(name, width, size=13, ink=_FAINT_INK)
        start = left + (width - line.shape[1]) // 2
        sheet[top - LINE : top, start : start + line.shape[1]] = line
    return sheet


@lru_cache(maxsize=256)
def _line(text: str, width: int, *, size: int, ink: tuple[int, int, int]) -> RGB:
    """Draws one line of text, ``LINE`` high and as wide as it needs, shortened to fit ``width``."""
    font, text = _font(size), known(text)
    if font.getlength(text) > width:
        while text and font.getlength(f"{text}…") > width:
            text = text[:-1]
        text = f"{text}…"
    line = Image.new("RGB", (max(1, min(width, int(font.getlength(text)) + 1)), LINE), PAPER)
    ImageDraw.Draw(line).text((0, LINE - 7), text, fill=ink, font=font, anchor="ls")
    return np.asarray(line)


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file(), size)
