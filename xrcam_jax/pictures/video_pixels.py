"""Frames of a video become RGB arrays, upright and of square pixels; colours that are not known are refused."""

from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc, Interpolation, VideoReformatter
from jaxtyping import Int

from xrcam_jax.pictures.pages import RGB

# Brightness on these scales is not what a screen is sent, and would come out far too dark or flat.
_NOT_FOR_SCREENS: dict[int, str] = {
    ColorTrc.SMPTE2084: "HDR (PQ)",
    ColorTrc.ARIB_STD_B67: "HDR (HLG)",
    ColorTrc.LINEAR: "linear light",
    ColorTrc.LOG: "logarithmic light",
    ColorTrc.LOG_SQRT: "logarithmic light",
    ColorTrc.SMPTE428: "digital cinema",
}
_WIDE: dict[int, str] = {
    ColorPrimaries.BT2020: "BT.2020",
    ColorPrimaries.SMPTE428: "XYZ",
    ColorPrimaries.SMPTE431: "DCI-P3",
    ColorPrimaries.SMPTE432: "Display P3",
}
# Numbers of ITU-T H.273: RGB, BT.709, not stated, FCC, BT.601 of 625 and of 525 lines, SMPTE 240M, BT.2020. FFmpeg
# would take all others for BT.601, as it takes what is not stated.
_MATRICES = (0, 1, 2, 4, 5, 6, 7, 9)

# Pixels that are more oblong than any format of film or television has are a damaged header.
_OBLONG_AT_MOST = 4


def refusal(frame: VideoFrame) -> str | None:
    """Says why the colours of a frame cannot be shown as they are meant.

    Args:
      frame: decoded.

    Returns:
      The reason, or None if they can.

    Example:
      >>> import av
      >>> from xrcam_jax.pictures.video_pixels import refusal
      >>> frame = av.VideoFrame(8, 6, "yuv420p10le")
      >>> refusal(frame) is None
      True
      >>> frame.color_trc = 16
      >>> refusal(frame)
      'its brightness is HDR (PQ); convert it to 8-bit BT.709 first'
    """
    if kind := _NOT_FOR_SCREENS.get(frame.color_trc):
        return f"its brightness is {kind}; convert it to 8-bit BT.709 first"
    if kind := _WIDE.get(frame.color_primaries):
        return f"its colours are {kind}; convert it to 8-bit BT.709 first"
    if frame.colorspace not in _MATRICES:
        return f"its colour matrix has number {frame.colorspace} in ITU-T H.273, which is not supported"
    if "f32" in frame.format.name or "f16" in frame.format.name:
        return f"pixels of floating point ({frame.format.name}) have no known range"
    return None


class Pixels:
    """Converts the frames of one video, which are of one size and turned by one display matrix.

    Args:
      aspect: width of a pixel over its height, None or 0 where the file does not tell.

    Raises:
      ValueError: the aspect is beyond all reason.
    """

    def __init__(self, aspect: Fraction | None):
        self._aspect = aspect or Fraction(1)
        if not 1 / _OBLONG_AT_MOST <= self._aspect <= _OBLONG_AT_MOST:
            raise ValueError(f"pixels of {self._aspect.numerator}:{self._aspect.denominator} are not plausible")
        # It keeps its tables from frame to frame.
        self._reformatter = VideoReformatter()
        # Asking a frame for its display matrix keeps the frame in memory until Python next looks for circles.
        self._turn = Turn(False, 1, 1)

    def look(self, frame: VideoFrame) -> None:
        """Finds how the video is turned, in its first frame.

        Raises:
          ValueError: it is by an angle that is no multiple of 90 degrees.
        """
        self._turn = turn_of(_display_matrix(frame))

    def rgb(self, frame: VideoFrame) -> RGB:
        """Returns the pixels of a frame, upright and square; transparency is ignored.

        Raises:
          ValueError: the frame cannot be converted.
        """
        try:
            converted = self._reformatter.reformat(
                frame,
                # Neither side becomes less than before.
                width=round(frame.width * self._aspect) if self._aspect > 1 else None,
                height=round(frame.height / self._aspect) if self._aspect < 1 else None,
                format="rgb24",
                interpolation=Interpolation.BICUBIC,
                dst_color_range=ColorRange.JPEG,
                threads=1,
            )
        except av.FFmpegError as error:
            raise ValueError(f"{frame.format.name} cannot be converted to RGB ({error.strerror})") from error
        return self._turn.applied(converted.to_ndarray())


class Turn(NamedTuple):
    """Turns and mirrors frames.

    Attributes:
      swapped: whether rows become columns.
      down: 1, or -1 if the rows of what is shown are then in the opposite order.
      across: the same of its columns.
    """

    swapped: bool
    down: int
    across: int

    def applied(self, pixels: RGB) -> RGB:
        """Returns a frame as it is shown."""
        if self == (False, 1, 1):
            return pixels
        pixels = pixels.swapaxes(0, 1) if self.swapped else pixels
        return np.ascontiguousarray(pixels[:: self.down, :: self.across])


def turn_of(matrix: Int[np.ndarray, "3 3"]) -> Turn:
    """Reads a display matrix.

    Args:
      matrix: takes (column, row, 1) of a stored pixel, from the left, to (column, row, 1) of the shown one, up to a
        shift and a scale.

    Returns:
      What it does to a frame.

    Raises:
      ValueError: it does something else than to turn by a multiple of 90 degrees and to mirror.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.video_pixels import turn_of
      >>> turn_of(np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]))
      Turn(swapped=True, down=1, across=-1)
    """
    (a, b), (c, d) = matrix[:2, :2].tolist()
    swapped = a == d == 0
    # Where a column goes along the shown frame, and where a row goes.
    across, down, *others = (c, b, a, d) if swapped else (a, d, b, c)
    if any(others) or abs(across) != abs(down) or across == 0 or matrix[:2, 2].any() or matrix[2, 2] <= 0:
        raise ValueError(f"turned or sheared by the matrix {matrix.tolist()}; only quarter turns and mirrors are known")
    return Turn(swapped, 1 if down > 0 else -1, 1 if across > 0 else -1)


def _display_matrix(frame: VideoFrame) -> Int[np.ndarray, "3 3"]:
    held: Any = frame.side_data
    try:
        return np.frombuffer(bytes(held["DISPLAYMATRIX"]), np.int32).reshape(3, 3)
    except (KeyError, ValueError):
        # There is none, or PyAV does not know all that comes with the frame.
        if frame.rotation:
            raise ValueError(f"turned by {frame.rotation} degrees, and its display matrix cannot be read") from None
        return np.eye(3, dtype=np.int32)
