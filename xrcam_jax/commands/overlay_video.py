"""Writes what ``xrcam explain`` finds into a video, where ``--out`` names one.

Each frame shows the picture beside one overlay per method, that of its layers' aggregate, below what was predicted; of
several passes their mean, and beside it how they vary.
The first picture settles the size of the panels; pictures of another size are fitted into it. Frames are shown as long
as in their videos, one video after the other, and pictures at the pace of pCLE.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from xrcam_jax.commands import risk
from xrcam_jax.commands.results import Result
from xrcam_jax.figures.overlay import overlay
from xrcam_jax.figures.strip import PAPER, strip
from xrcam_jax.figures.style import Style
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.pictures.read import Picture, frame_rate
from xrcam_jax.pictures.video_kinds import PCLE_FRAME_RATE
from xrcam_jax.runtime.names import printable
from xrcam_jax.titles import method_title

# In pixels. Smaller panels have no room for words; wider frames suit neither screen nor encoder.
_SMALLEST, _WIDEST = 256, 3840

#: Pictures of any size: those of one call differ in it.
RGB = UInt8[np.ndarray, "_h _w 3"]


class OverlayVideo:
    """Writes the video of one run, which gets its name when it is whole; until then its name says it is unfinished.

    Args:
      path: its suffix is one of ``xrcam_jax.pictures.video_kinds.WRITTEN``.
      config: how pictures are prepared for the network.
      labels: names of the classes, or None.
      every: of a video, one in this many frames comes.
      style: how maps are drawn.
    """

    def __init__(
        self,
        path: Path,
        config: Preprocessing,
        labels: list[str] | None,
        every: int,
        style: Style = Style(),
    ):
        self._style = style
        self.path, self.config, self.labels, self.every = path, config, labels, every
        self._file: Any = None
        self._clock = Clock(every)

    def __enter__(self) -> "OverlayVideo":
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        if self._file is None:
            return
        if kind is None:
            self._file.finish()
        else:
            kept = self._file.close()
            if not self._file.frames:
                # No player opens a video without frames.
                kept.unlink(missing_ok=True)
                return
            print(printable(f"xrcam explain: {self._file.frames} frames so far are in {kept}"), file=sys.stderr)

    def write(self, batch: Sequence[tuple[Picture, Result]]) -> int:
        """Adds the pictures in order; returns how many.

        Raises:
          OSError: the video cannot be written, or the disk is nearly full.
        """
        for picture, result in batch:
            height, width = picture.pixels.shape[:2]
            panels = [picture.pixels, *self._overlays(picture, result)]
            if self._file is None:
                self._size = _panel_size(height, width, len(panels))
            names = [name for method in result.maps for name in _names(method, result.risk is not None)]
            frame = compose(panels, [picture.name, *names], result.describe(self.labels), self._size)
            time = self._clock.time(picture)
            if self._file is None:
                from xrcam_jax.pictures.write_video import VideoFile

                self._file = VideoFile(self.path, 1 / self._clock.period, *frame.shape[:2])
            self._file.write(frame, time)
        return len(batch)

    def _overlays(self, picture: Picture, result: Result) -> list[RGB]:
        box = picture.seen(self.config)
        panels = []
        for method, maps in result.drawn.items():
            for layer, saliency in maps.items():
                panels.append(overlay(picture.pixels, saliency, self._style, signed=method in result.signed, box=box))
                if result.risk is not None:
                    variation = result.risk.variation[method][layer]
                    panels.append(risk.overlay(picture.pixels, saliency, variation, box))
        return panels


def _names(method: str, repeated: bool) -> list[str]:
    """Returns what stands above the panels of a method."""
    return [f"{method_title(method)}, mean", "variation (clear: passes agree)"] if repeated else [method_title(method)]


class Clock:
    """Says when each picture of a stream is shown in the video.

    Args:
      every: of a video, one in this many frames comes.

    Attributes:
      period: how long the last picture is shown if none of its own video follows, in seconds.
    """

    def __init__(self, every: int):
        self.every, self.period = every, 1 / PCLE_FRAME_RATE
        self._source: Path | None = None
        # When the last picture was shown by the clock of its file, and when its file begins in what is written.
        self._at = self._begin = self._end = 0.0

    def time(self, picture: Picture) -> float:
        """Returns the time of the next picture, in seconds from the start."""
        at = picture.time or 0.0
        if picture.source != self._source or at <= self._at:
            rate = frame_rate(picture.source)
            self.period = self.every / rate if rate and 0.01 <= rate <= 1000 else 1 / PCLE_FRAME_RATE
            self._source, self._begin = picture.source, self._end - at
        self._at, self._end = at, self._begin + at + self.period
        return self._begin + at


def compose(panels: Sequence[RGB], names: Sequence[str], caption: str, size: tuple[int, int]) -> RGB:
    """Returns a frame: panels side by side, each fitted into ``size`` (height, width), under their names and a caption.

    The sides of the frame are even and depend on ``size`` and the number of panels alone.
    """
    fitted = [_fitted(panel, *size) for panel in panels]
    sheet = strip(fitted, names, caption)
    # Encoders store colours at half the resolution, so that both sides have to be even.
    return np.pad(sheet, ((0, sheet.shape[0] % 2), (0, sheet.shape[1] % 2), (0, 0)), mode="edge")


def _panel_size(height: int, width: int, panels: int) -> tuple[int, int]:
    longer = max(height, width)
    scale = min(max(longer, _SMALLEST), _WIDEST // panels) / longer
    return max(1, round(scale * height)), max(1, round(scale * width))


def _fitted(picture: RGB, height: int, width: int) -> RGB:
    """Returns a panel of that size with the whole picture in the middle, as large as fits."""
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(height / picture.shape[0], width / picture.shape[1])
    h, w = (max(1, round(scale * side)) for side in picture.shape[:2])
    panel = np.full((height, width, 3), PAPER, np.uint8)
    top, left = (height - h) // 2, (width - w) // 2
    panel[top : top + h, left : left + w] = cv2.resize(
        picture, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return panel
