"""A map is laid over its picture. Pictures are uint8 RGB arrays of shape (h, w, 3)."""

import cv2
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from xrcam_jax.figures.style import Style
from xrcam_jax.pictures.pages import RGB
from xrcam_jax.pictures.preprocessing import Box

Pixels = UInt8[np.ndarray, "h w 3"] | Float[np.ndarray, "h w 3"]
#: Where contours lie, as shares of the largest value.
LEVELS = (0.25, 0.5, 0.75)
#: How much of a picture is left outside of a mask.
_FAINT = 0.25


def overlay(
    picture: Pixels,
    saliency: Float[Array | np.ndarray, "_ _"],
    style: Style = Style(),
    *,
    signed: bool = False,
    box: Box | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Lays a map over its picture.

    Args:
      picture: uint8, or floats in [0, 1].
      saliency: in [0, 1], or in [-1, 1] if ``signed``, of any resolution; it is resized to fit.
      style: how it is drawn.
      signed: whether the map has evidence for and against, which get the two ends of a diverging scale.
      box: the part of the picture that the map is of (:func:`xrcam_jax.pictures.preprocessing.crop_box`), all of it
        by default. The map's part that sticks out of the picture is not shown.

    Returns:
      The picture, of the size of ``picture``.

    Raises:
      ValueError: naming the argument whose shape or value is wrong.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.overlay import overlay
      >>> picture = np.full((40, 60, 3), 128, np.uint8)
      >>> laid = overlay(picture, np.array([[0.0, 1.0]]))
      >>> laid[0, 0].tolist(), int(laid[0, -1, 0]) > 200  # as it was, and yellow
      ([128, 128, 128], True)
    """
    pixels, saliency = as_uint8(picture), np.asarray(saliency, np.float32)
    _check_map(saliency, signed)
    height, width = pixels.shape[:2]
    box = box or Box(0, 0, height, width)
    seen = box.within(height, width)
    if not (seen.top < seen.bottom and seen.left < seen.right):
        raise ValueError(f"box: {tuple(box)} does not lie in a picture of {height} x {width}")
    inside = Box(*np.subtract(seen, (box.top, box.left) * 2).tolist())
    values = inside.cut(_resized(saliency, box.bottom - box.top, box.right - box.left))
    laid = pixels.copy()
    laid[seen.slices] = _drawn(pixels[seen.slices], values, style, signed)
    return laid


def _drawn(pixels: RGB, values: np.ndarray, style: Style, signed: bool) -> RGB:
    if style.look == "contour":
        return _contours(pixels, values, style, signed)
    if style.look == "mask":
        return _masked(pixels, values, style.share)
    opacity = style.alpha * (np.abs(values)[..., None] if style.look == "overlay" else 1)
    colours = style.colours(values, signed=signed)
    return np.rint(pixels + opacity * (colours.astype(np.float32) - pixels)).astype(np.uint8)


def _contours(pixels: RGB, values: np.ndarray, style: Style, signed: bool) -> RGB:
    """Returns the picture with lines around what reaches each level; of a signed map also what does so against."""
    drawn = pixels.copy()
    width = max(1, round(max(pixels.shape[:2]) / 160))
    for sign in (1, -1) if signed else (1,):
        for level in LEVELS:
            colour = style.colours(np.array([sign * level]), signed=signed)[0].tolist()
            reached = (sign * values >= level).astype(np.uint8)
            lines, _ = cv2.findContours(reached, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, lines, -1, colour, width, cv2.LINE_AA)
    return cv2.addWeighted(drawn, style.alpha, pixels, 1 - style.alpha, 0)


def _masked(pixels: RGB, values: np.ndarray, share: float | None) -> RGB:
    """Returns the picture where the map is among its largest values, and a faint one elsewhere."""
    values = np.maximum(values, 0)
    # What is zero is not shown, however few pixels have more.
    kept = values > values.mean() + values.std() if share is None else values >= np.quantile(values, 1 - share)
    kept &= values > 0
    return np.where(kept[..., None], pixels, np.rint(_FAINT * pixels).astype(np.uint8))


def outlined(
    picture: Pixels,
    mask: Bool[np.ndarray, "h w"],
    *,
    ink: tuple[int, int, int] = (255, 214, 0),
) -> UInt8[np.ndarray, "h w 3"]:
    """Draws the borders of a mask onto its picture.

    Args:
      picture: uint8, or floats in [0, 1].
      mask: the pixels to outline. The border lies within it and is one pixel wide.
      ink: red, green and blue of the border, in [0, 255].

    Returns:
      A new picture.

    Raises:
      ValueError: where picture and mask differ in size.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.overlay import outlined
      >>> mask = np.zeros((5, 5), bool)
      >>> mask[1:4, 1:4] = True
      >>> drawn = outlined(np.zeros((5, 5, 3), np.uint8), mask)
      >>> (drawn[..., 0] > 0).astype(int).tolist()
      [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    """
    pixels = as_uint8(picture).copy()
    if mask.shape != pixels.shape[:2]:
        raise ValueError(f"mask: expected the picture's {pixels.shape[:2]}, got shape {mask.shape}")
    borders, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(pixels, borders, -1, ink, 1)


def at_most(picture: RGB, side: int) -> RGB:
    """Reduces pictures that are larger than is to be looked at.

    Args:
      picture: of any size.
      side: what neither side of the result exceeds, in pixels.

    Returns:
      The picture itself, if it is no larger, or its area means.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.overlay import at_most
      >>> at_most(np.zeros((300, 600, 3), np.uint8), 200).shape
      (100, 200, 3)
    """
    height, width = picture.shape[:2]
    if max(height, width) <= side:
        return picture
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def reduced(picture: RGB, box: Box | None, side: int) -> tuple[RGB, Box]:
    """Reduces a picture as :func:`at_most` does, and a part of it.

    Args:
      picture: of any size.
      box: the part, all of it by default.
      side: what neither side of the result exceeds, in pixels.

    Returns:
      The picture and its part.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.overlay import reduced
      >>> reduced(np.zeros((300, 600, 3), np.uint8), None, 200)[1]
      Box(top=0, left=0, bottom=100, right=200)
    """
    shown = at_most(picture, side)
    height, width = picture.shape[:2]
    return shown, (box or Box(0, 0, height, width)).scaled(shown.shape[0] / height, shown.shape[1] / width)


def as_uint8(picture: Pixels) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a picture of whole numbers.

    Args:
      picture: uint8, or floats in [0, 1].

    Returns:
      The picture itself if it is uint8.

    Raises:
      ValueError: it has another shape, type or range.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.overlay import as_uint8
      >>> as_uint8(np.full((1, 1, 3), 0.5)).tolist()
      [[[128, 128, 128]]]
    """
    pixels = np.asarray(picture)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"picture: expected (height, width, 3), got shape {pixels.shape}")
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating) or not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(f"picture: expected uint8 or floats in [0, 1], got {pixels.dtype}")
    return np.rint(255 * pixels).astype(np.uint8)


def _resized(saliency: Float[np.ndarray, "_ _"], height: int, width: int) -> Float[np.ndarray, "{height} {width}"]:
    """Resizes a map: bilinearly where the picture is finer, by area means where it is coarser."""
    shrinks = height < saliency.shape[0] and width < saliency.shape[1]
    return cv2.resize(saliency, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _check_map(saliency: np.ndarray, signed: bool) -> None:
    if saliency.ndim != 2 or 0 in saliency.shape:
        raise ValueError(f"saliency: expected (height, width), got shape {saliency.shape}")
    low = -1 if signed else 0
    if not (saliency.min() >= low and saliency.max() <= 1):
        raise ValueError(f"saliency: expected [{low}, 1], got [{saliency.min():.3g}, {saliency.max():.3g}]")
