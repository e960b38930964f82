"""Videos as files that are either whole or named as unfinished."""

import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from xrcam_jax.pictures.read import has_all_frames

#: By suffix, what OpenCV's wheels can write and its own reader and common players can read.
CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v"}

#: Of probe-based confocal laser endomicroscopy (pCLE).
PCLE_FRAME_RATE = 12.0

# An encoder does not say that the disk is full, and without room for its index at the end a video cannot be read.
_ROOM = 2**24


def open_writer(path: Path, frame_rate: float, height: int, width: int) -> cv2.VideoWriter:
    """A writer of BGR frames; its codec is that of the path's suffix, a key of ``CODECS``.

    Raises:
      OSError: names the file that cannot be written.
    """
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
    writer = cv2.VideoWriter(str(path), codec, frame_rate, (width, height), isColor=True)
    if not writer.isOpened():
        raise OSError(f"{path}: OpenCV cannot write such a video here ({width}x{height}, {frame_rate:g} frames/s)")
    return writer


def unfinished(path: Path) -> Path:
    """Where the video ``path`` is until it is whole."""
    return path.with_name(f"{path.stem}.unfinished{path.suffix}")


class VideoFile:
    """A video that is being written, aside until it is finished.

    Args:
      path: its suffix is a key of ``CODECS``.
      frame_rate: per second; what only a damaged header says, below 0.01 or above 1000, becomes ``PCLE_FRAME_RATE``.
      height: of all frames, even.
      width: of all frames, even.

    Raises:
      OSError: names the file that cannot be written.
    """

    def __init__(self, path: Path, frame_rate: float, height: int, width: int):
        self.path, self.shape, self.frames = path, (height, width, 3), 0
        plausible = 0.01 <= frame_rate <= 1000
        self._writer = open_writer(unfinished(path), frame_rate if plausible else PCLE_FRAME_RATE, height, width)
        # A writer that is released while another thread writes takes the program down.
        self._lock = threading.Lock()

    def write(self, frame: UInt8[np.ndarray, "height width 3"]) -> None:
        """Adds a frame in RGB.

        Raises:
          OSError: the disk is nearly full; there is still room to ``close``.
          ValueError: the frame is of another size.
        """
        if frame.shape != self.shape:
            raise ValueError(f"frame: expected shape {self.shape}, got {frame.shape}")
        if shutil.disk_usage(self.path.parent).free < _ROOM:
            raise OSError(f"{self.path}: no space left, less than {_ROOM >> 20} MiB free")
        with self._lock:
            self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            self.frames += 1

    def finish(self) -> None:
        """Gives the video its name.

        Raises:
          OSError: not all frames have arrived on the disk; what did is in ``unfinished(path)``.
        """
        aside = self.close()
        if not has_all_frames(aside, self.frames):
            raise OSError(f"{aside}: not all of {self.frames} frames could be written; is the disk full?")
        aside.replace(self.path)

    def close(self) -> Path:
        """Leaves what has been written so far in ``unfinished(path)``, which is returned."""
        with self._lock:
            self._writer.release()
        return unfinished(self.path)
