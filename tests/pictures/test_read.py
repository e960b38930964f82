"""Files, folders and videos are one stream of pictures, each with a name of its own."""

import os
import tracemalloc

import cv2
import numpy as np
import pytest

from tests.pictures.drawn import save, smooth, write_video
from tests.recordings import cut
from xrcam_jax.pictures.read import count, frame_rate, is_video, load_images, stream


def test_load_images_takes_a_file_several_or_a_folder(tmp_path):
    first, second = save(tmp_path / "a.png"), save(tmp_path / "b.png", smooth(20, 30))
    assert [image.shape for image in load_images([second, first])] == [(20, 30, 3), (48, 64, 3)]
    assert len(load_images(str(first))) == 1
    assert [image.shape for image in load_images(tmp_path)] == [(48, 64, 3), (20, 30, 3)]


def test_videos_are_told_by_suffix():
    assert [is_video(name) for name in ("a.mp4", "a.MOV", "a.gif", "a.png", "mp4", "a.mp4.png")] == [True] * 2 + [
        False
    ] * 4


@pytest.mark.parametrize(("name", "codec"), [("clip.avi", "MJPG"), ("clip.mp4", "mp4v"), ("clip.mov", "mp4v")])
def test_frames_of_a_video(tmp_path, name, codec):
    path = write_video(tmp_path / name, codec=codec)
    frames = list(stream([path], every=4))
    assert [frame.name for frame in frames] == ["clip_000000", "clip_000004", "clip_000008"]
    assert count([path], every=4) == 3
    for frame, seed in zip(frames, (0, 4, 8), strict=True):
        assert np.abs(frame.pixels.astype(int) - smooth(seed=seed)).mean() < 4


def test_a_video_is_read_frame_by_frame(tmp_path):
    frames = stream([write_video(tmp_path / "clip.avi"), tmp_path / "gone.png"])
    assert next(frames).name == "clip_000000"
    frames.close()


def test_the_others_go_on(tmp_path):
    save(tmp_path / "a.png")
    cut(save(tmp_path / "b.jpg"), 0.5)
    (tmp_path / "c.txt").write_text("not a picture")
    (tmp_path / ".hidden").write_text("left out")
    (tmp_path / "folder").mkdir()
    save(tmp_path / "folder" / "below.png")
    save(tmp_path / "d.png")
    lines: list[str] = []
    assert [picture.name for picture in stream([tmp_path, "gone.png"], report=lines.append)] == ["a", "d"]
    assert [line.split(":")[0].split("/")[-1] for line in lines] == ["b.jpg", "c.txt", "gone.png"]
    assert count([tmp_path]) == 4


def test_names_are_unique(tmp_path):
    paths = [save(tmp_path / name) for name in ("a.png", "a.bmp", "a_2.png")]
    assert [picture.name for picture in stream([*paths, paths[0]])] == ["a", "a_2", "a_2_2", "a_3"]


def test_names_of_frames_are_unique_too(tmp_path):
    """Frames that were taken out of a video often lie beside it, under the names that we would give them."""
    clip = write_video(tmp_path / "clip.avi", frames=2)
    stills = [save(tmp_path / name) for name in ("clip_000000.png", "clip_000000_2.png", "clip_2_000001.png")]
    named = [picture.name for picture in stream([clip, clip, *stills])]
    assert named[:4] == ["clip_000000", "clip_000001", "clip_2_000000", "clip_2_000001"]
    assert len(set(named)) == 7
    named = [picture.name for picture in stream([*stills, clip, clip])]
    assert named[:3] == ["clip_000000", "clip_000000_2", "clip_2_000001"]
    assert len(set(named)) == 7


@pytest.mark.long
def test_a_long_video_needs_no_more_memory_than_a_short_one(tmp_path):
    def peak(frames):
        path = tmp_path / f"{frames}.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (16, 16))
        for _ in range(frames):
            writer.write(np.zeros((16, 16, 3), np.uint8))
        writer.release()
        tracemalloc.start()
        assert sum(1 for _ in stream([path])) == frames
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(10)
    assert peak(2000) < peak(500) + 10_000


def test_shares_are_a_partition(tmp_path):
    """Each picture is in one share, with the name and number it has among all, whatever cannot be read."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "b.png", "c.png"):
            save(tmp_path / folder / name, seed=len(folder))
        write_video(tmp_path / folder / "v.avi", frames=4)
    cut(tmp_path / "one" / "b.png", 0.5)
    # Neither of these takes a name away from a picture.
    (tmp_path / "one" / "w.mp4").write_text("not a video")
    (tmp_path / "one" / "a.json").write_text("{}")
    folders, told = [tmp_path / "one", tmp_path / "two"], {}

    def read(*share):
        told[share] = []
        return list(stream(folders, report=told[share].append, share=share))

    whole = read(0, 1)
    assert [picture.name for picture in whole[:5]] == ["a", "c", "v_000000", "v_000001", "v_000002"]
    assert [picture.number for picture in whole] == [0, *range(2, 14)]
    shares = [read(i, 3) for i in range(3)]
    together = sorted((picture for share in shares for picture in share), key=lambda picture: picture.number)
    assert [(p.number, p.name, p.source) for p in together] == [(p.number, p.name, p.source) for p in whole]
    for found, expected in zip(together, whole, strict=True):
        np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert {picture.number % 3 for picture in shares[1]} == {1}
    # What is damaged is told once.
    assert sorted(told[0, 3] + told[1, 3] + told[2, 3]) == sorted(told[0, 1])
    assert len(told[0, 1]) == 3


def test_what_cannot_be_read_ends_a_stream_that_does_not_report(tmp_path):
    save(tmp_path / "a.png")
    cut(save(tmp_path / "b.png"), 0.5)
    pictures = stream([tmp_path])
    assert next(pictures).name == "a"
    with pytest.raises(ValueError, match=r"b\.png: damaged or truncated picture"):
        next(pictures)
    with pytest.raises(ValueError, match=r"gone\.mp4: no such file"):
        load_images(tmp_path / "gone.mp4")


def test_the_rate_is_the_videos(tmp_path):
    assert frame_rate(write_video(tmp_path / "clip.avi")) == 10
    assert frame_rate(save(tmp_path / "a.png")) is None


def test_links_to_nothing_and_closed_folders_are_named(tmp_path, monkeypatch):
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "a.png")
    (tmp_path / "open/b.png").symlink_to("b.png")
    (tmp_path / "open/c.png").symlink_to("nowhere.png")
    (tmp_path / "open/d").symlink_to(".")
    iterdir = type(tmp_path).iterdir

    def closed(self):
        if self.name == "closed":
            raise PermissionError(13, "Permission denied", str(self))
        return iterdir(self)

    monkeypatch.setattr(type(tmp_path), "iterdir", closed)
    lines = []
    pictures = stream([tmp_path / "closed", tmp_path / "open"], report=lines.append)
    assert [picture.source for picture in pictures] == [tmp_path / "open/a.png"]
    assert [line.partition(":")[0] for line in lines] == [
        str(tmp_path / x) for x in ("closed", "open/b.png", "open/c.png")
    ]


@pytest.mark.parametrize("name", ["pipe", "pipe.png", "pipe.avi"])
def test_a_pipe_is_named_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    said = []
    assert count([tmp_path / name]) == (0 if name == "pipe.avi" else 1)
    assert list(stream([tmp_path / name], report=said.append)) == []
    assert said == [f"{tmp_path / name}: not a file"]
