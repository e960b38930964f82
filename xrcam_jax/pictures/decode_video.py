"""Decoding the frames of one video, in the order in which they are shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
from av.packet import Packet
from av.video.frame import VideoFrame as Decoded

from xrcam_jax.pictures.deinterlace import deinterlaced
from xrcam_jax.pictures.pages import RGB
from xrcam_jax.pictures.video_file import Video, opened_video
from xrcam_jax.pictures.video_pixels import Pixels, refusal

# The length in a video's header is off by a frame or two in files that are perfectly sound.
FRAMES_MISSING_AT_MOST = 2

# What a frame says of itself: size, pixel format, turned by how many degrees; and how its colours are to be read.
_Kind = tuple[tuple[int, int, str, int], tuple[int, int, int]]


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video, which is called for its pixels.

    Attributes:
      path: of the video.
      number: among all frames that are shown, from 0.
      time: when it is shown, in seconds on the clock of its file.
      decoded: what came out of the decoder.
      pixels: converts it.
    """

    path: Path
    number: int
    time: float
    decoded: Decoded
    pixels: Pixels

    def __call__(self) -> RGB:
        """Returns the frame in RGB, upright and with square pixels.

        Raises:
          ValueError: naming the video and the frame that cannot be converted.
        """
        try:
            return self.pixels.rgb(self.decoded)
        except ValueError as error:
            raise ValueError(f"{self.path}: frame {self.number}: {error}") from error


def frames_of_video(path: Path, *, every: int = 1) -> Iterator[tuple[int, VideoFrame]]:
    """Goes through the frames 0, every, 2 * every, ... of a video, as they are shown.

    Edit lists, quarter turns, mirrors and oblong pixels are applied, and interlaced frames are deinterlaced.

    Args:
      path: of the video.
      every: distance from one frame to the next, from 1.

    Returns:
      The number of each frame and what reads it.

    Raises:
      ValueError: naming the video that is missing, damaged or ends early, and the frame. A video that does not tell its
        length, such as .mpg or .ts, may end early unnoticed.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.decode_video import frames_of_video
      >>> list(frames_of_video(Path("missing.mp4")))
      Traceback (most recent call last):
      ...
      ValueError: missing.mp4: no such file
    """
    with opened_video(path) as video:
        try:
            pixels = Pixels(video.aspect)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        for number, frame in enumerate(deinterlaced(_decoded(video))):
            if number == 0:
                _look(path, pixels, frame)
            if number % every == 0:
                time = number * video.period if frame.pts is None else frame.time
                yield number, VideoFrame(path, number, time, frame, pixels)


def _look(path: Path, pixels: Pixels, first: Decoded) -> None:
    """Refuses a video that is turned in a way that is not known: by one error, and not one for each frame."""
    try:
        pixels.look(first)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@dataclass
class _Progress:
    """Says how far a video has been read.

    Attributes:
      packets: how many there were that are to be shown.
      last: the latest time in them, in units of the stream, None before the first.
      last_stored: the latest time in those that are more than a sign to repeat the frame before.
      started: whether a packet came that needs no other.
      is_cut: whether the file ends, or is damaged, within what it says it holds.
    """

    packets: int = 0
    last: int | None = None
    last_stored: int | None = None
    started: bool = False
    is_cut: bool = False


def _packets(video: Video, progress: _Progress) -> Iterator[Packet]:
    """Yields what the decoder is given, at last an empty packet that makes it give out what it holds."""
    try:
        for packet in video.container.demux(video.stream):
            progress.started |= packet.is_keyframe and not packet.is_corrupt
            if packet.is_corrupt and progress.started:
                progress.is_cut = True
                break
            time = packet.dts if packet.pts is None else packet.pts
            if time is not None and not packet.is_discard:
                progress.packets += 1
                progress.last = _later(time, progress.last)
                if packet.size:
                    progress.last_stored = _later(time, progress.last_stored)
            # An empty packet within a video repeats a frame. The decoder would take it for the end.
            if packet.size:
                yield packet
        progress.is_cut |= _is_short(video, progress)
    except av.FFmpegError:
        progress.is_cut = True
    end: Packet = Packet()
    end.stream = video.stream
    if video.stream.time_base is not None:
        end.time_base = video.stream.time_base
    yield end


def _later(time: int, other: int | None) -> int:
    return time if other is None else max(time, other)


def _decoded(video: Video) -> Iterator[Decoded]:
    """Yields all frames that are shown, and raises where one is damaged or missing."""
    progress, number = _Progress(), 0
    last: int | None = None
    kind: _Kind | None = None
    for packet in _packets(video, progress):
        for frame in _frames_of(video, packet, progress, number):
            if frame.is_corrupt:
                if number == 0 and not frame.key_frame:
                    # A video that was cut out of another may begin with frames that refer to those before the cut.
                    continue
                raise _damaged(video, number, "parts of it are missing")
            if progress.is_cut and video.seconds(last, frame.pts) > 1.5 * video.period:
                # Frames are stored in another order than shown: those before this one are lost, and it has no number.
                break
            before, kind = kind, _kind(frame)
            if kind != before:
                _check(video, number, frame, kind, before or kind)
            yield frame
            number, last = number + 1, frame.pts
    if number == 0:
        raise ValueError(f"{video.path}: damaged, or not a video: no frame can be decoded")
    if progress.is_cut:
        of = f" of {video.frames}" if video.frames > number else ""
        raise ValueError(f"{video.path}: damaged or truncated video, ends after {number}{of} frames")
    # Half a period may be left, as each of two fields may have a time.
    if video.seconds(last, progress.last_stored) > 0.75 * video.period:
        raise _damaged(video, number, "it never came out of the decoder")


def _frames_of(video: Video, packet: Packet, progress: _Progress, number: int) -> list[Decoded]:
    try:
        return video.stream.codec_context.decode(packet)
    except av.FFmpegError as error:
        if number == 0 and not progress.started:
            return []
        raise _damaged(video, number, error.strerror or str(error)) from error


def _kind(frame: Decoded) -> _Kind:
    colours = frame.color_trc, frame.color_primaries, frame.colorspace
    return (frame.width, frame.height, frame.format.name, frame.rotation), colours


def _check(video: Video, number: int, frame: Decoded, kind: _Kind, before: _Kind) -> None:
    """Refuses frames of another size, pixel format or direction than those before, or of unknown colours."""
    if kind[0] != before[0]:
        now, then = ("{}x{} in {}, turned by {} degrees".format(*each[0]) for each in (kind, before))
        raise ValueError(f"{video.path}: frame {number} is {now}, those before are {then}")
    if reason := refusal(frame):
        raise ValueError(f"{video.path}: frame {number}: {reason}")


def _is_short(video: Video, progress: _Progress) -> bool:
    """Tells whether the packets end before what the header promises."""
    if video.is_indexed:
        return progress.packets < video.frames - FRAMES_MISSING_AT_MOST
    reached = video.seconds(0, progress.last) + video.period
    return reached < video.duration - FRAMES_MISSING_AT_MOST * video.period


def _damaged(video: Video, number: int, reason: str) -> ValueError:
    return ValueError(f"{video.path}: damaged video, frame {number} cannot be decoded ({reason})")


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
    try:
        with opened_video(path) as video:
            return VideoHeader(video.frames, video.rate)
    except ValueError:
        return VideoHeader(0, 0.0)


def has_all_frames(path: Path, frames: int) -> bool:
    """Tells whether a video holds all the frames that were written to it.

    Args:
      path: of the video.
      frames: how many were written.

    Returns:
      Whether so many are there, and none of them is cut off; they are not decoded.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.decode_video import has_all_frames
      >>> has_all_frames(Path("missing.avi"), 1)
      False
    """
    try:
        with opened_video(path) as video:
            progress = _Progress()
            for _ in _packets(video, progress):
                pass
            return progress.packets == frames and not progress.is_cut
    except ValueError:
        return False
