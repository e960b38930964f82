"""Writing videos: a file is either whole or named as unfinished."""

import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from xrcam_jax.pictures.decode_video import has_all_frames

#: Codecs by suffix, which OpenCV's wheels can write and its own reader and common players can read.
CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v"}

#: Frames per second of probe-based confocal laser endomicroscopy (pCLE).
PCLE_FRAME_RATE = 12.0

# Bytes that are left free on the disk. An encoder does not say that the disk is full, and a video without room for
# its index at the end cannot be read.
_ROOM = 2**24


def open_writer(path: Path, frame_rate: float, height: int, width: int) -> cv2.VideoWriter:
    """Opens a video file to write frames to, in BGR.

    Args:
      path: its suffix, a key of ``CODECS``, says the codec.
      frame_rate: frames per second.
      height: of all frames, in pixels, even.
      width: of all frames, in pixels, even.

    Returns:
      OpenCV's writer, which is to be released at the end.

    Raises:
      OSError: names the file that cannot be written.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.write_video import open_writer
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     writer = open_writer(Path(folder) / "clip.avi", 12, 48, 64)
      ...     writer.isOpened()
      ...     writer.release()
      True
    """
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
    writer = cv2.VideoWriter(str(path), codec, frame_rate, (width, height), isColor=True)
    if not writer.isOpened():
        raise OSError(f"{path}: OpenCV cannot write such a video here ({width}x{height}, {frame_rate:g} frames/s)")
    return writer


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
    """Writes a video under another name (see :func:`unfinished`) until it is finished.

    Args:
      path: the name that it has in the end; its suffix is a key of ``CODECS``.
      frame_rate: frames per second. Rates below 0.01 or above 1000, which only damaged headers say, become
        ``PCLE_FRAME_RATE``.
      height: of all frames, in pixels, even.
      width: of all frames, in pixels, even.

    Attributes:
      path: as given.
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

    def __init__(self, path: Path, frame_rate: float, height: int, width: int):
        self.path, self.shape, self.frames = path, (height, width, 3), 0
        plausible = 0.01 <= frame_rate <= 1000
        self._writer = open_writer(unfinished(path), frame_rate if plausible else PCLE_FRAME_RATE, height, width)
        # Releasing a writer while another thread writes with it ends the program.
        self._lock = threading.Lock()

    def write(self, frame: UInt8[np.ndarray, "height width 3"]) -> None:
        """Adds a frame in RGB.

        Args:
          frame: of the size that all frames have.

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
        """Closes the video and gives it its name.

        Raises:
          OSError: not all frames have arrived on the disk; those that did are in ``unfinished(path)``.
        """
        aside = self.close()
        if not has_all_frames(aside, self.frames):
            raise OSError(f"{aside}: not all of {self.frames} frames could be written; is the disk full?")
        aside.replace(self.path)

    def close(self) -> Path:
        """Closes the video where it is, in ``unfinished(path)``, and returns that path."""
        with self._lock:
            self._writer.release()
        return unfinished(self.path)
