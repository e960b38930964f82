"""Frames come out of videos, and what is damaged is named."""

import re

import cv2
import numpy as np
import pytest

from tests.pictures.drawn import by_ffmpeg, jpeg, muxed, smooth, write_video
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


def until_it_fails(path):
    """Returns the frames that come, and the message after them."""
    got = []
    try:
        for _, frame in frames_of_video(path):
            got.append(frame())
    except ValueError as error:
        return got, str(error)
    return got, "no error"


FORMS = {
    "a.mp4": ("-c:v", "libx264", "-movflags", "+faststart"),
    "a.mkv": ("-c:v", "libx264"),
    "a.webm": ("-c:v", "libvpx-vp9"),
    "a.avi": ("-c:v", "mpeg4", "-bf", "2"),
    "a.mov": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-movflags", "+faststart"),
    "a.flv": ("-c:v", "flv1"),
}


@pytest.mark.parametrize("name", FORMS)
def test_videos_that_end_early_are_named_wherever_they_end(tmp_path, name):
    """What comes before is the video's own beginning, although frames are stored in another order than shown."""
    path = by_ffmpeg(tmp_path / name, [smooth(seed=seed) for seed in range(30)], *FORMS[name], rate=25)
    whole, content = [frame() for _, frame in frames_of_video(path)], path.read_bytes()
    assert len(whole) == 30
    for share in (0.2, 0.45, 0.6, 0.75):
        path.write_bytes(content[: int(share * len(content))])
        got, error = until_it_fails(path)
        ends = f"damaged or truncated video, ends after {len(got)}" if got else "damaged, or not a video"
        assert f"{name}: {ends}" in error
        assert len(got) < 27
        np.testing.assert_array_equal(got, whole[: len(got)])


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mjpeg"), ("a.mkv", "mjpeg"), ("a.mov", "png")])
@pytest.mark.parametrize("broken", [lambda content: content[: len(content) // 2], lambda content: b"\0" * len(content)])
def test_a_frame_that_cannot_be_decoded_is_named(tmp_path, name, codec, broken):
    """It is neither black nor left out, and it is the last one that is shown."""
    png = [cv2.imencode(".png", smooth(seed=seed)[..., ::-1])[1].tobytes() for seed in range(6)]
    encoded = png if codec == "png" else [jpeg(smooth(seed=seed)) for seed in range(6)]
    encoded[3] = broken(encoded[3])
    got, error = until_it_fails(muxed(tmp_path / name, codec, encoded))
    assert re.search(rf"{name}: damaged video, frame \d cannot be decoded", error)
    assert len(got) <= 3
    for seed, pixels in enumerate(got):
        assert np.abs(pixels.astype(int) - smooth(seed=seed)).mean() < 4


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_a_stream_that_begins_between_key_frames(tmp_path, codec):
    """A recording that was begun anywhere: what refers to frames before the beginning is left out."""
    path = by_ffmpeg(
        tmp_path / "a.ts", [smooth(seed=n) for n in range(30)], "-c:v", codec, "-g", "10", "-bf", "2", rate=25
    )
    whole, content = [frame() for _, frame in frames_of_video(path)], path.read_bytes()
    path.write_bytes(content[: 3 * 188] + content[len(content) // 4 // 188 * 188 :])
    found = [frame() for _, frame in frames_of_video(path)]
    assert 10 <= len(found) < 25
    np.testing.assert_array_equal(found, whole[-len(found) :])
