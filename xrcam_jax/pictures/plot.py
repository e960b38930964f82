"""Pictures of explanations: a map is laid over its picture, and a sheet sets many side by side.

Pictures are uint8 RGB arrays of shape (h, w, 3) and maps are floats in [0, 1]. Nothing here opens a window.
"""

import io
import os
from collections.abc import Sequence
from functools import cache, lru_cache

import cv2
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from xrcam_jax.pictures.pages import RGB
from xrcam_jax.pictures.preprocessing import Box
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.names import printable

COLORMAPS = ("turbo", "jet", "viridis", "inferno", "magma", "hot", "bone")
#: The colours of how much maps vary, dark where they agree; unlike those of the maps, lest one be taken for the other.
VARIATION = "magma"

PAPER, INK, FAINT_INK = (255, 255, 255), (32, 32, 32), (112, 112, 112)
MARGIN, GAP, LINE = 16, 8, 22

Pixels = UInt8[np.ndarray, "h w 3"] | Float[np.ndarray, "h w 3"]


def overlay(
    image: Pixels,
    saliency: Float[Array | np.ndarray, "_ _"],
    *,
    alpha: float = 0.5,
    colormap: str = "turbo",
    box: Box | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Lays a map over its picture.

    Args:
      image: uint8, or floats in [0, 1].
      saliency: in [0, 1], of any resolution; it is resized to fit.
      alpha: weight of the map's colours, in [0, 1]; the picture has the rest.
      colormap: one of ``COLORMAPS``.
      box: the part of the picture that the map is of (:func:`xrcam_jax.pictures.preprocessing.crop_box`), all of it
        by default. The map's part that sticks out of the picture is not shown.

    Returns:
      The picture, of the size of ``image``.

    Raises:
      ValueError: naming the argument whose shape or value is wrong.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.plot import overlay
      >>> image = np.full((40, 60, 3), 128, np.uint8)
      >>> overlay(image, np.array([[0.0, 1.0]]), alpha=0.25).shape
      (40, 60, 3)
    """
    pixels, saliency = _uint8(image), np.asarray(saliency, np.float32)
    _check_map(saliency)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: {alpha} is not in [0, 1]")
    height, width = pixels.shape[:2]
    box = box or Box(0, 0, height, width)
    seen = box.within(height, width)
    if not (seen.top < seen.bottom and seen.left < seen.right):
        raise ValueError(f"box: {tuple(box)} does not lie in a picture of {height} x {width}")
    colours = colour(_resized(saliency, box.bottom - box.top, box.right - box.left), colormap)
    colours = Box(*np.subtract(seen, (box.top, box.left) * 2).tolist()).cut(colours)
    laid = pixels.copy()
    laid[seen.slices] = cv2.addWeighted(pixels[seen.slices], 1 - alpha, colours, alpha, 0)
    return laid


def at_most(picture: RGB, side: int) -> RGB:
    """Reduces pictures that are larger than is to be looked at.

    Args:
      picture: of any size.
      side: what neither side of the result exceeds, in pixels.

    Returns:
      The picture itself, if it is no larger, or its area means.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.plot import at_most
      >>> at_most(np.zeros((300, 600, 3), np.uint8), 200).shape
      (100, 200, 3)
    """
    height, width = picture.shape[:2]
    if max(height, width) <= side:
        return picture
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def colour(saliency: Float[np.ndarray, "h w"], colormap: str = "turbo") -> UInt8[np.ndarray, "h w 3"]:
    """Shows a map in false colours.

    Args:
      saliency: in [0, 1]; what is outside is clipped.
      colormap: one of ``COLORMAPS``.

    Returns:
      A picture, each pixel of which has one of the colormap's 256 colours.

    Raises:
      ValueError: where ``colormap`` is none of ``COLORMAPS``.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.plot import colour
      >>> colour(np.array([[0.0, 0.5, 1.0]]), "bone")[0].tolist()
      [[0, 0, 0], [112, 123, 144], [255, 255, 255]]
    """
    if colormap not in COLORMAPS:
        raise ValueError(f"colormap: {colormap!r} is none of {', '.join(COLORMAPS)}")
    levels = np.rint(255 * np.clip(saliency, 0, 1)).astype(np.uint8)
    coloured = cv2.applyColorMap(levels, getattr(cv2, f"COLORMAP_{colormap.upper()}"))
    return cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB)


def outlined(
    image: Pixels,
    mask: Bool[np.ndarray, "h w"],
    *,
    ink: tuple[int, int, int] = (255, 214, 0),
) -> UInt8[np.ndarray, "h w 3"]:
    """Draws the borders of a mask onto its picture.

    Args:
      image: uint8, or floats in [0, 1].
      mask: the pixels to outline. The border lies within it and is one pixel wide.
      ink: red, green and blue of the border, in [0, 255].

    Returns:
      A new picture.

    Raises:
      ValueError: where picture and mask differ in size.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.plot import outlined
      >>> mask = np.zeros((5, 5), bool)
      >>> mask[1:4, 1:4] = True
      >>> drawn = outlined(np.zeros((5, 5, 3), np.uint8), mask)
      >>> (drawn[..., 0] > 0).astype(int).tolist()
      [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    """
    pixels = _uint8(image).copy()
    if mask.shape != pixels.shape[:2]:
        raise ValueError(f"mask: expected the picture's {pixels.shape[:2]}, got shape {mask.shape}")
    borders, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(pixels, borders, -1, ink, 1)


def contact_sheet(
    rows: Sequence[Sequence[RGB]],
    *,
    columns: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    title: str = "",
    cell: int = 224,
) -> RGB:
    """Sets pictures side by side on white paper, each resized to fit its cell and centred in it.

    Args:
      rows: pictures of any sizes; all rows have the same number of them.
      columns: what to write above the columns.
      row_labels: what to write, upwards, beside the rows.
      title: what to write on top.
      cell: the longer side of a cell, in pixels.

    Returns:
      The sheet.

    Raises:
      ValueError: where rows or labels do not agree in number.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.plot import contact_sheet
      >>> picture = np.zeros((30, 40, 3), np.uint8)
      >>> contact_sheet([[picture, picture]], columns=["before", "after"], cell=40).shape
      (84, 120, 3)
    """
    across = _check_sheet(rows, columns, row_labels)
    fitted = [[_fitted(picture, cell) for picture in row] for row in rows]
    height = max(picture.height for row in fitted for picture in row)
    width = max(picture.width for row in fitted for picture in row)

    left = MARGIN + (LINE if row_labels else 0)
    top = MARGIN + (LINE + GAP // 2 if title else 0) + (LINE if columns else 0)
    xs = [left + index * (width + GAP) for index in range(across)]
    ys = [top + index * (height + GAP) for index in range(len(rows))]
    sheet = Image.new("RGB", (xs[-1] + width + MARGIN, ys[-1] + height + MARGIN), PAPER)
    if title:
        sheet.paste(_line(title, sheet.width - 2 * MARGIN, size=16, ink=INK), (MARGIN, MARGIN))
    for x, label in zip(xs, columns, strict=False):
        _paste_centred(sheet, _line(label, width, size=14, ink=FAINT_INK), (x, top - LINE), (width, LINE))
    for y, label in zip(ys, row_labels, strict=False):
        upright = _line(label, height, size=14, ink=FAINT_INK).transpose(Image.Transpose.ROTATE_90)
        _paste_centred(sheet, upright, (MARGIN, y), (LINE, height))
    for y, row in zip(ys, fitted, strict=True):
        for x, picture in zip(xs, row, strict=True):
            _paste_centred(sheet, picture, (x, y), (width, height))
    return np.array(sheet)


def save_picture(path: str | os.PathLike[str], picture: RGB) -> None:
    """Writes a PNG or JPEG picture, whole or not at all.

    Args:
      path: of the file; its suffix, ``.png``, ``.jpg`` or ``.jpeg``, says the format.
      picture: what to write.

    Raises:
      ValueError: where the suffix is another.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from xrcam_jax.pictures.plot import save_picture
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "black.png"
      ...     save_picture(path, np.zeros((2, 3, 3), np.uint8))
      ...     path.read_bytes()[1:4]
      b'PNG'
    """
    kind = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}.get(os.path.splitext(path)[1].lower())
    if kind is None:
        raise ValueError(f"path: {path} ends neither in .png nor in .jpg")
    encoded = io.BytesIO()
    # PNG's usual compression would take most of a run's time; the weakest costs a third more bytes.
    Image.fromarray(picture).save(encoded, format=kind, quality=92, compress_level=1)
    # There are many, and whoever lost some in a power cut makes them again.
    write_whole(path, encoded.getvalue(), synced=False)


def _paste_centred(sheet: Image.Image, picture: Image.Image, corner: tuple[int, int], room: tuple[int, int]) -> None:
    x, y = corner[0] + (room[0] - picture.width) // 2, corner[1] + (room[1] - picture.height) // 2
    sheet.paste(picture, (x, y))


@lru_cache(maxsize=256)
def _line(text: str, width: int, *, size: int, ink: tuple[int, int, int]) -> Image.Image:
    """Draws one line of text, ``LINE`` high and as wide as it needs, shortened with dots to fit ``width``."""
    font, text = _font(size), printable(text)
    if font.getlength(text) > width:
        while text and font.getlength(f"{text}...") > width:
            text = text[:-1]
        text = f"{text}..."
    line = Image.new("RGB", (max(1, min(width, int(font.getlength(text)) + 1)), LINE), PAPER)
    ImageDraw.Draw(line).text((0, LINE - 7), text, fill=ink, font=font, anchor="ls")
    return line


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitted(picture: RGB, cell: int) -> Image.Image:
    height, width = picture.shape[:2]
    scale = cell / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)


def _resized(saliency: Float[np.ndarray, "_ _"], height: int, width: int) -> Float[np.ndarray, "{height} {width}"]:
    """Resizes a map: bilinearly where the picture is finer, by area means where it is coarser."""
    shrinks = height < saliency.shape[0] and width < saliency.shape[1]
    return cv2.resize(saliency, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _uint8(image: Pixels) -> UInt8[np.ndarray, "h w 3"]:
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"image: expected (height, width, 3), got shape {pixels.shape}")
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating) or not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(f"image: expected uint8 or floats in [0, 1], got {pixels.dtype}")
    return np.rint(255 * pixels).astype(np.uint8)


def _check_map(saliency: np.ndarray) -> None:
    if saliency.ndim != 2 or 0 in saliency.shape:
        raise ValueError(f"saliency: expected (height, width), got shape {saliency.shape}")
    if not (saliency.min() >= 0 and saliency.max() <= 1):
        raise ValueError(f"saliency: expected [0, 1], got [{saliency.min():.3g}, {saliency.max():.3g}]")


def _check_sheet(rows: Sequence[Sequence], columns: Sequence[str], row_labels: Sequence[str]) -> int:
    """Checks that rows and labels agree in number, and returns how many pictures a row has."""
    across = len(rows[0]) if rows else 0
    if across == 0 or any(len(row) != across for row in rows):
        raise ValueError(f"rows: expected rows of equal length, got lengths {[len(row) for row in rows]}")
    if columns and len(columns) != across:
        raise ValueError(f"columns: {len(columns)} labels for {across} columns")
    if row_labels and len(row_labels) != len(rows):
        raise ValueError(f"row_labels: {len(row_labels)} labels for {len(rows)} rows")
    return across
