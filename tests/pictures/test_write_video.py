"""Videos are whole or named as unfinished."""

import math
import resource
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from xrcam_jax.pictures.write_video import CODECS, VideoFile


def grey(level, height=48, width=64):
    return np.full((height, width, 3), level, np.uint8)


def read(path):
    """Returns the mean level of each frame, and the frames per second."""
    capture = cv2.VideoCapture(str(path))
    rate, levels = capture.get(cv2.CAP_PROP_FPS), []
    while (read := capture.read())[0]:
        levels.append(read[1].mean())
    capture.release()
    return levels, rate


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("rate", [12, 29.97, 0.01, 1000])
def test_frames_and_rate_come_back(tmp_path, suffix, rate):
    video = VideoFile(tmp_path / f"a{suffix}", rate, 48, 64)
    levels = list(range(20, 240, 40))
    for level in levels:
        video.write(grey(level))
    assert [file.name for file in tmp_path.iterdir()] == [f"a.unfinished{suffix}"]
    video.finish()
    assert [file.name for file in tmp_path.iterdir()] == [f"a{suffix}"]
    found, found_rate = read(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(found, levels, atol=5)
    assert found_rate == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("rate", [0, math.nan, math.inf, 90000])
def test_rates_that_no_video_has(tmp_path, rate):
    video = VideoFile(tmp_path / "a.mp4", rate, 48, 64)
    video.write(grey(100))
    video.finish()
    assert read(tmp_path / "a.mp4")[1] == 12


def test_colours_are_rgb(tmp_path):
    video = VideoFile(tmp_path / "a.mp4", 12, 48, 64)
    video.write(np.full((48, 64, 3), (200, 100, 0), np.uint8))
    video.finish()
    frame = cv2.VideoCapture(str(tmp_path / "a.mp4")).read()[1]
    np.testing.assert_allclose(frame.mean((0, 1)), (0, 100, 200), atol=6)


def test_frames_of_another_size_are_refused(tmp_path):
    video = VideoFile(tmp_path / "a.mp4", 12, 48, 64)
    with pytest.raises(ValueError, match=r"frame: expected shape \(48, 64, 3\), got \(64, 48, 3\)"):
        video.write(grey(0, 64, 48))
    video.close()


def test_it_stops_while_there_is_room_for_the_index(tmp_path, monkeypatch):
    video = VideoFile(tmp_path / "a.mp4", 12, 48, 64)
    video.write(grey(100))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"a\.mp4: no space left, less than 16 MiB free"):
        video.write(grey(100))
    assert len(read(video.close())[0]) == 1


@pytest.mark.parametrize("limit", [2_000, 40_000])
@pytest.mark.parametrize("suffix", CODECS)
def test_frames_that_do_not_arrive_are_noticed(tmp_path, suffix, limit):
    """Encoders do not report that a quota, say, is used up. The old video stays."""
    (tmp_path / f"a{suffix}").write_text("old")
    video = VideoFile(tmp_path / f"a{suffix}", 12, 48, 64)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        for seed in range(60):
            video.write(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8))
        with pytest.raises(
            OSError, match=r"a\.unfinished\.\w+: not all of 60 frames could be written; is the disk full"
        ):
            video.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / f"a{suffix}").read_text() == "old"


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(OSError, match=r"gone/a\.unfinished\.mp4: cannot write such a video here"):
        VideoFile(tmp_path / "gone" / "a.mp4", 12, 48, 64)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_times_are_kept(tmp_path, suffix):
    video, times = VideoFile(tmp_path / f"a{suffix}", 25, 48, 64), [0, 0.04, 0.4, 0.412, 3, 3.5]
    for time in times:
        video.write(grey(round(50 * time)), time)
    video.finish()
    capture, found = cv2.VideoCapture(str(tmp_path / f"a{suffix}")), []
    while capture.grab():
        found.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    np.testing.assert_allclose(found, times, atol=2e-3)


def test_no_frame_is_lost_if_two_are_shown_at_once(tmp_path):
    video = VideoFile(tmp_path / "a.mp4", 25, 48, 64)
    for time in (0, 0.2, 0.2, 0.1, None):
        video.write(grey(100), time)
    video.finish()
    assert len(read(tmp_path / "a.mp4")[0]) == 5


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_browsers_and_presentations_play_it_from_the_first_byte(tmp_path, suffix):
    """H.264 with colours at half the resolution and a stated matrix, and the index before the frames."""
    video = VideoFile(tmp_path / f"a{suffix}", 25, 48, 64)
    video.write(grey(100))
    video.finish()
    content = (tmp_path / f"a{suffix}").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        decoder = container.streams.video[0].codec_context
        assert (decoder.name, decoder.pix_fmt) == ("h264", "yuv420p")
        assert (decoder.colorspace, decoder.color_range) == (1, 1)


def test_the_name_until_it_is_finished_can_be_chosen(tmp_path):
    video = VideoFile(tmp_path / "a.avi", 12, 48, 64, aside=tmp_path / ".hidden.avi")
    video.write(grey(100))
    assert [file.name for file in tmp_path.iterdir()] == [".hidden.avi"]
    video.finish()
    assert [file.name for file in tmp_path.iterdir()] == ["a.avi"]
