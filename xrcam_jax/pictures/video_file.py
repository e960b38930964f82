"""Opening one video: which containers and streams are taken, and what the file promises of its length.

Playlists, addresses of the network and everything else that would make FFmpeg open a second file are refused.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from xrcam_jax.runtime.reading import check_file

# FFmpeg tells containers apart by content. The list is closed, as it also knows playlists and scripts that name other
# files, and formats of a single picture.
CONTAINERS = ("asf", "avi", "flv", "m4v", "matroska", "mov", "mpeg", "mpegts", "mpegvideo", "ogg", "webm")

# Pixels of a frame: sixteen times those of 8K. Only damaged headers say more, and memory would be taken before that
# is noticed.
LARGEST_FRAME = 2**29

# Pixels of a frame from which on several are decoded at a time.
_WORTH_THREADS = 2**18

# Titles in encodings of old are no hindrance. PyAV 19 does so by itself.
_ANY_TITLE: Any = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}

# Video streams with one of these are not the recording: cover art, previews, and layers that complete another stream.
_BESIDES = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image | Disposition.dependent

# This decoder alone fills what is missing of a frame without a mark on it, unless it is told to stop.
_STRICT = {"mjpeg": {"err_detect": "explode"}}
_OUTPUT_CORRUPT = 1 << 3


@dataclass(frozen=True)
class Video:
    """An open video.

    Attributes:
      path: of the file.
      container: FFmpeg's view of the file.
      stream: the one that is shown.
    """

    path: Path
    container: InputContainer
    stream: VideoStream

    @property
    def rate(self) -> float:
        """Frames per second, on average; 0 if the file does not tell."""
        return float(self.stream.average_rate or self.stream.guessed_rate or 0)

    @property
    def period(self) -> float:
        """Seconds from one frame to the next, on average; 0 if the file does not tell."""
        return 1 / self.rate if self.rate else 0.0

    @property
    def aspect(self) -> Fraction | None:
        """Width of a pixel over its height; None if the file does not tell."""
        ratio = self.stream.sample_aspect_ratio
        return Fraction(ratio.numerator, ratio.denominator) if ratio and ratio.denominator else None

    def seconds(self, since: int | None, until: int | None) -> float:
        """Returns the time between two moments in the stream's units; 0 where one of them is not known."""
        if since is None or until is None or self.stream.time_base is None:
            return 0.0
        return float((until - since) * self.stream.time_base)

    @property
    def frames(self) -> int:
        """How many frames there are to be, as far as the file tells; 0 if it does not."""
        if self.is_indexed:
            # What an edit list leaves out is read, as other frames need it, but not shown.
            return sum(not entry.is_discard for entry in self.stream.index_entries)
        if self.stream.frames:
            return self.stream.frames
        return round((self.container.duration or 0) / av.time_base * self.rate)

    @property
    def duration(self) -> float:
        """Seconds that the header promises; 0 where it does not, or where FFmpeg looks for the last frame itself."""
        kind = self.container.format.name
        if kind == "avi":
            return self.seconds(0, self.stream.duration)
        if tag := re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", self.stream.metadata.get("DURATION", "")):
            hours, minutes, seconds = map(float, tag.groups())
            return 3600 * hours + 60 * minutes + seconds
        # That of the container is the duration of its longest stream, which may be sound.
        alone = len(self.container.streams) == 1
        if alone and kind in ("matroska,webm", "asf", "flv"):
            return (self.container.duration or 0) / av.time_base
        return 0.0

    @property
    def is_indexed(self) -> bool:
        return self.container.format.name.startswith("mov,")


@contextmanager
def opened_video(path: Path) -> Iterator[Video]:
    """Opens a video, and none of the files that it may refer to.

    Args:
      path: of the file.

    Returns:
      A context manager that gives the open video and closes it.

    Raises:
      ValueError: naming the file that is missing, damaged, no video, or holds several.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.video_file import opened_video
      >>> with opened_video(Path("missing.mp4")) as video:
      ...     pass
      Traceback (most recent call last):
      ...
      ValueError: missing.mp4: no such file
    """
    check_file(path)
    # The prefix keeps names such as "concat:a|b" from being taken for addresses.
    allowed = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
    try:
        container = av.open(f"file:{path}", container_options=allowed, **_ANY_TITLE)
    except av.FFmpegError as error:
        raise ValueError(
            f"{path}: damaged, or not a video in {', '.join(CONTAINERS)} ({error.strerror or error})"
        ) from error
    with container:
        yield Video(path, container, _prepared(path, container))


def _prepared(path: Path, container: InputContainer) -> VideoStream:
    """Returns the stream that is shown, ready to be decoded; the others are passed over."""
    shown = _shown(path, [stream for stream in container.streams.video if not stream.disposition & _BESIDES])
    for stream in container.streams:
        if stream is not shown:
            stream.discard = Discard.all
    decoder = shown.codec_context
    if decoder is None:
        raise ValueError(f"{path}: no decoder for this kind of video")
    if decoder.width * decoder.height > LARGEST_FRAME:
        raise ValueError(f"{path}: frames of {decoder.width}x{decoder.height} are too large")
    # Whole frames in parallel, which gives the same pixels. For small ones it costs more than it saves.
    decoder.thread_type = "AUTO" if decoder.width * decoder.height >= _WORTH_THREADS else "SLICE"
    decoder.options = _STRICT.get(decoder.name, {})
    # Without it, frames that refer to lost ones would be left out without a word.
    decoder.flags |= _OUTPUT_CORRUPT
    return shown


def _shown(path: Path, streams: list[VideoStream]) -> VideoStream:
    if not streams:
        raise ValueError(f"{path}: damaged, or not a video: there is no stream of frames in it")
    defaults = [stream for stream in streams if stream.disposition & Disposition.default]
    for chosen in (streams, defaults):
        if len(chosen) == 1:
            return chosen[0]
    raise ValueError(
        f"{path}: holds {len(streams)} videos, and does not say which one is to be shown; "
        "take one out (ffmpeg -i IN -map 0:v:0 -c copy OUT)"
    )
