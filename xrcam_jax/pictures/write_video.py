"""Writing videos: a file is either whole or named as unfinished."""

import shutil
import threading
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from xrcam_jax.pictures.decode_video import has_all_frames
from xrcam_jax.pictures.video_kinds import PCLE_FRAME_RATE


class Codec(NamedTuple):
    """Says how frames are encoded.

    Attributes:
      name: FFmpeg's name of the encoder.
      pixels: how it is given pixels.
      matrix: from RGB to these.
      range: of these.
      options: of the encoder.
      unit: of time, in seconds; None if frames have no times of their own and follow one another evenly.
      bits: of a pixel of a frame, on average; 0 if ``options`` say how good the frames are.
    """

    name: str
    pixels: str
    matrix: Colorspace
    range: ColorRange
    options: dict[str, str]
    unit: Fraction | None
    bits: int = 0


# What browsers and presentation programs play. Colours at half the resolution are part of that. The fastest preset
# makes larger files, and keeps the encoder from slowing down what is explained. It is one thread's work, so that any
# machine gives the same file.
_H264 = Codec(
    "libx264",
    "yuv420p",
    Colorspace.ITU709,
    ColorRange.MPEG,
    {"preset": "ultrafast", "crf": "20", "threads": "1"},
    unit=Fraction(1, 90_000),
)
# Every frame is a JPEG picture, of one thread, so that any machine gives the same. Drawn recordings are kept so.
_MJPEG = Codec(
    "mjpeg",
    "yuvj420p",
    Colorspace.ITU601,
    ColorRange.JPEG,
    {"qmin": "3", "huffman": "optimal", "threads": "1"},
    unit=None,
    bits=3,
)

#: Codecs by suffix, as ``xrcam_jax.pictures.video_kinds.WRITTEN`` lists them.
CODECS = {".avi": _MJPEG, ".mp4": _H264, ".mov": _H264, ".mkv": _H264}

# Bytes that are left free on the disk. A video without room for its index at the end cannot be read.
_ROOM = 2**24


def unfinished(path: Path) -> Path:
    """Returns where a video is until it is whole.

    Args:
      path: the name that it has in the end.

    Returns:
      A path beside it, of the same suffix.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.write_video import unfinished
      >>> unfinished(Path("clip.mp4")).name
      'clip.unfinished.mp4'
    """
    return path.with_name(f"{path.stem}.unfinished{path.suffix}")


class VideoFile:
    """Writes a video under another name until it is finished.

    Args:
      path: the name that it has in the end; its suffix is a key of ``CODECS``.
      frame_rate: frames per second, of frames without a time. Rates below 0.01 or above 1000, which only damaged
        headers say, become ``PCLE_FRAME_RATE``.
      height: of all frames, in pixels, even.
      width: of all frames, in pixels, even.
      aside: the other name, of the same suffix; ``unfinished(path)`` if None.

    Attributes:
      path: as given.
      aside: where it is until it is finished.
      shape: of each frame, (height, width, 3).
      frames: how many have been written.

    Raises:
      OSError: names the file that cannot be written.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from xrcam_jax.pictures.write_video import VideoFile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     video = VideoFile(Path(folder) / "clip.avi", 12, 48, 64)
      ...     video.write(np.zeros((48, 64, 3), np.uint8))
      ...     video.finish()
      ...     [path.name for path in Path(folder).iterdir()]
      ['clip.avi']
    """

    def __init__(self, path: Path, frame_rate: float, height: int, width: int, *, aside: Path | None = None):
        self.path, self.aside, self.shape, self.frames = path, aside or unfinished(path), (height, width, 3), 0
        rate = frame_rate if 0.01 <= frame_rate <= 1000 else PCLE_FRAME_RATE
        self._period = 1 / Fraction(rate).limit_denominator(100_000)
        self._codec = CODECS[path.suffix.lower()]
        self._next = 0
        # It keeps its tables from frame to frame.
        self._reformatter = VideoReformatter()
        # Closing a video while another thread writes to it ends the program.
        self._lock = threading.Lock()
        self._is_open = True
        try:
            self._container, self._stream = _opened(self.aside, self._codec, self._period, height, width)
        except (av.FFmpegError, ValueError) as error:
            how = f"{width}x{height}, {float(rate):g} frames/s, {self._codec.name}"
            raise OSError(f"{self.aside}: cannot write such a video here ({how}): {error}") from error

    def write(self, frame: UInt8[np.ndarray, "height width 3"], time: float | None = None) -> None:
        """Adds a frame in RGB.

        Args:
          frame: of the size that all frames have.
          time: when it is shown, in seconds from the start, later than the frame before; one period after that if None.
            Suffix .avi has an even pace and ignores it.

        Raises:
          OSError: the disk is nearly full, in which case there is still room to ``close``, or cannot be written to.
          ValueError: the frame is of another size.
        """
        if frame.shape != self.shape:
            raise ValueError(f"frame: expected shape {self.shape}, got {frame.shape}")
        if shutil.disk_usage(self.path.parent).free < _ROOM:
            raise OSError(f"{self.path}: no space left, less than {_ROOM >> 20} MiB free")
        with self._lock:
            if self._is_open:
                self._encode(frame, time)
                self.frames += 1

    def finish(self) -> None:
        """Closes the video and gives it its name.

        Raises:
          OSError: not all frames have arrived on the disk; those that did are in ``aside``.
        """
        aside = self.close()
        if not has_all_frames(aside, self.frames):
            raise self._incomplete(self.frames)
        aside.replace(self.path)

    def close(self) -> Path:
        """Closes the video where it is, in ``aside``, and returns that path."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                # Where the disk is full, whoever finishes the video counts what is there.
                with suppress(av.FFmpegError):
                    self._container.mux(self._stream.encode(None))
                with suppress(av.FFmpegError):
                    self._container.close()
        return self.aside

    def _encode(self, frame: UInt8[np.ndarray, "height width 3"], time: float | None) -> None:
        codec = self._codec
        picture = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(frame, format="rgb24"),
            format=codec.pixels,
            dst_colorspace=codec.matrix,
            dst_color_range=codec.range,
            interpolation=Interpolation.BICUBIC,
            threads=1,
        )
        unit = codec.unit or self._period
        ticks = round(self._period / unit)
        if time is not None and codec.unit is not None:
            # Never at the moment of the frame before, which players would leave out.
            self._next = max(self._next - ticks + 1 if self.frames else 0, round(time / unit))
        picture.pts, picture.duration, picture.time_base = self._next, ticks, unit
        self._next += ticks
        try:
            self._container.mux(self._stream.encode(picture))
        except av.FFmpegError as error:
            raise self._incomplete(self.frames + 1) from error

    def _incomplete(self, frames: int) -> OSError:
        return OSError(f"{self.aside}: not all of {frames} frames could be written; is the disk full?")


def _opened(path: Path, codec: Codec, period: Fraction, height: int, width: int) -> tuple[OutputContainer, VideoStream]:
    """Opens file and encoder and writes the header, so that what cannot work is told before there are frames."""
    # The index of an .mp4 goes to the front: browsers begin to play before they have all of it.
    front = {"movflags": "+faststart"} if path.suffix.lower() in (".mp4", ".mov") else {}
    container = av.open(f"file:{path}", "w", container_options=front)
    stream: Any = container.add_stream(codec.name, rate=1 / period, options=dict(codec.options))
    stream.height, stream.width, stream.pix_fmt = height, width, codec.pixels
    encoder = stream.codec_context
    encoder.time_base = codec.unit or period
    encoder.bit_rate = encoder.bit_rate_tolerance = min(int(codec.bits * height * width / period), 2**30)
    encoder.color_range, encoder.colorspace = codec.range, codec.matrix
    if codec.matrix == Colorspace.ITU709:
        encoder.color_primaries, encoder.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    container.start_encoding()
    return container, stream
