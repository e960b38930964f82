"""Opening one video and decoding its frames; no other file of the package does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2

from xrcam_jax.pictures.decode import RGB

# The length in a video's header is off by a frame or two in files that are perfectly sound.
FRAMES_MISSING_AT_MOST = 2


def frames_of_video(path: Path, *, every: int = 1) -> Iterator[tuple[int, Callable[[], RGB]]]:
    """Goes through the frames 0, every, 2 * every, ... of a video.

    Args:
      path: of the video.
      every: distance from one frame to the next, from 1.

    Returns:
      The number of each frame and a function that reads it, before the next frame is asked for.

    Raises:
      ValueError: naming the video that is missing, damaged or ends early. A video that does not tell its length, such
        as .mpg or .wmv, may end early unnoticed.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.decode_video import frames_of_video
      >>> list(frames_of_video(Path("missing.mp4")))
      Traceback (most recent call last):
      ...
      ValueError: missing.mp4: no such file
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    frame = 0
    with _captured(path) as capture:

        def read() -> RGB:
            is_whole, pixels = capture.retrieve()
            if not is_whole:
                raise ValueError(f"{path}: damaged video, frame {frame} cannot be decoded")
            return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

        expected = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        while capture.grab():
            if frame % every == 0:
                yield frame, read
            frame += 1
    if frame == 0:
        raise ValueError(f"{path}: damaged, or not a video that OpenCV can read")
    if frame < expected - FRAMES_MISSING_AT_MOST:
        raise ValueError(f"{path}: damaged or truncated video, ends after {frame} of {expected} frames")


class VideoHeader(NamedTuple):
    """A video's header says how long it is and how fast; some say 0, and the length may be off by a frame or two.

    Attributes:
      frames: how many there are.
      rate: frames per second.
    """

    frames: int
    rate: float


def video_header(path: Path) -> VideoHeader:
    """Reads the header of a video.

    Args:
      path: of the video.

    Returns:
      The header, of zeros where the file cannot be read.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.decode_video import video_header
      >>> video_header(Path("missing.mp4"))
      VideoHeader(frames=0, rate=0.0)
    """
    with _captured(path) as capture:
        # OpenCV says -1 of what it cannot read.
        frames, rate = (max(0.0, capture.get(entry)) for entry in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
        return VideoHeader(int(frames), rate)


def has_all_frames(path: Path, frames: int) -> bool:
    """Tells whether a video holds all the frames that were written to it.

    Args:
      path: of the video.
      frames: how many were written.

    Returns:
      Whether the header counts so many, which some formats write last, and the last frame is there.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.decode_video import has_all_frames
      >>> has_all_frames(Path("missing.avi"), 1)
      False
    """
    with _captured(path) as capture:
        counted = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.set(cv2.CAP_PROP_POS_FRAMES, frames - 1)
        return abs(counted - frames) <= FRAMES_MISSING_AT_MOST and capture.grab()


@contextmanager
def _captured(path: Path) -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(str(path))
    try:
        yield capture
    finally:
        capture.release()
