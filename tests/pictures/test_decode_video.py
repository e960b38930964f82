"""Frames come out of videos, and what is damaged is named."""

import numpy as np
import pytest

from tests.pictures.drawn import smooth, write_video
from tests.recordings import cut
from xrcam_jax.pictures.decode_video import frames_of_video, has_all_frames, video_header


def test_damaged_videos_are_named(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(ValueError, match=r"text\.mp4: damaged, or not a video"):
        list(frames_of_video(tmp_path / "text.mp4"))
    path = cut(write_video(tmp_path / "clip.avi", frames=20), 0.5)
    with pytest.raises(ValueError, match=r"clip\.avi: damaged or truncated video, ends after \d+ of 20 frames"):
        list(frames_of_video(path))
    with pytest.raises(ValueError, match=r"gone\.mp4: no such file"):
        list(frames_of_video(tmp_path / "gone.mp4"))


def test_a_video_has_as_many_frames_as_were_written(tmp_path):
    path = write_video(tmp_path / "clip.avi", frames=20)
    assert has_all_frames(path, 20)
    assert not has_all_frames(path, 40)
    assert not has_all_frames(cut(path, 0.5), 20)
    assert not has_all_frames(tmp_path / "gone.avi", 20)


def test_a_header_says_frames_and_rate(tmp_path):
    assert video_header(write_video(tmp_path / "clip.avi", frames=7)) == (7, 10)
    assert video_header(tmp_path / "gone.avi") == (0, 0)


def test_frames_are_read_while_they_are_gone_through(tmp_path):
    path = write_video(tmp_path / "clip.avi", frames=7)
    read = [(number, pixels()) for number, pixels in frames_of_video(path, every=3)]
    assert [number for number, _ in read] == [0, 3, 6]
    for number, pixels in read:
        assert np.abs(pixels.astype(int) - smooth(seed=number)).mean() < 4
