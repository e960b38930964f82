"""Whatever a file holds, RGB comes out; what is damaged is named."""

import io
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from xrcam_jax.pictures.read import (
    count,
    format_and_size,
    has_all_frames,
    is_video,
    load_images,
    read_grey,
    read_picture,
    read_single,
    stream,
)


def smooth(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 4)


def save(path, pixels=None, **options):
    Image.fromarray(smooth() if pixels is None else pixels).save(path, **options)
    return path


def write_video(path, frames: int = 9, codec: str = "MJPG"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
    assert writer.isOpened()
    for seed in range(frames):
        writer.write(smooth(seed=seed)[..., ::-1])
    writer.release()
    return path


def cut(path, share: float):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def test_lossless_formats_come_back_exactly(tmp_path):
    for suffix in ("png", "bmp", "tif", "ppm"):
        np.testing.assert_array_equal(read_picture(save(tmp_path / f"a.{suffix}")), smooth())


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_other_modes_become_rgb(tmp_path, mode):
    image = Image.fromarray(smooth()).convert(mode)
    image.save(tmp_path / "a.png")
    pixels = read_picture(tmp_path / "a.png")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))


def test_transparent_palette_becomes_rgb(tmp_path):
    Image.fromarray(smooth()).convert("P").save(tmp_path / "a.png", transparency=bytes([0] * 100))
    assert read_picture(tmp_path / "a.png").shape == (48, 64, 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_not_clipped(tmp_path, suffix):
    grey = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    pixels = read_picture(save(tmp_path / f"a.{suffix}", grey))
    np.testing.assert_array_equal(pixels[..., 0], np.arange(256).reshape(16, 16))
    np.testing.assert_array_equal(pixels[..., 1:], pixels[..., :1].repeat(2, axis=2))


def test_a_camera_held_sideways_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = read_picture(save(tmp_path / "a.png", exif=exif))
    np.testing.assert_array_equal(pixels, np.rot90(smooth(), -1))


def test_load_images_takes_a_file_several_or_a_folder(tmp_path):
    first, second = save(tmp_path / "a.png"), save(tmp_path / "b.png", smooth(20, 30))
    assert [image.shape for image in load_images([second, first])] == [(20, 30, 3), (48, 64, 3)]
    assert len(load_images(str(first))) == 1
    assert [image.shape for image in load_images(tmp_path)] == [(48, 64, 3), (20, 30, 3)]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "gif"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_pictures_are_named(tmp_path, suffix, share):
    path = cut(save(tmp_path / f"a.{suffix}"), share)
    with pytest.raises(ValueError, match=rf"a\.{suffix}: (damaged or truncated|neither a) picture"):
        load_images(path)


def test_other_files_are_named(tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(ValueError, match=r"notes\.txt: neither a picture \(BMP, .*\) nor a video"):
        load_images(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match=r"gone\.png: no such file"):
        load_images(tmp_path / "gone.png")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif: 32-bit pixels have no known range"):
        load_images(tmp_path / "float.tif")


def test_videos_are_told_by_suffix():
    assert [is_video(name) for name in ("a.mp4", "a.MOV", "a.gif", "a.png", "mp4", "a.mp4.png")] == [True] * 2 + [
        False
    ] * 4


def test_a_single_picture_has_no_others_in_its_file(tmp_path):
    np.testing.assert_array_equal(read_single(save(tmp_path / "a.png")), smooth())
    first, second = (Image.fromarray(smooth(seed=seed)) for seed in range(2))
    first.save(tmp_path / "two.tif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_picture(tmp_path / "two.tif"), smooth())
    with pytest.raises(ValueError, match=r"two\.tif: holds 2 pictures; expected one each, or a video"):
        read_single(tmp_path / "two.tif")


def test_grey_pictures_come_back_exactly(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
    np.testing.assert_array_equal(read_grey(save(tmp_path / "a.png", grey)), grey)
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"b\.png: expected a PNG picture, found 10 bytes that are none"):
        read_grey(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"gone\.png: No such file or directory"):
        read_grey(tmp_path / "gone.png")


def encoded(kind, **options):
    content = io.BytesIO()
    Image.fromarray(smooth()).save(content, format=kind, **options)
    return content.getvalue()


def test_the_format_and_size_of_encoded_pictures():
    for kind in ("PNG", "JPEG"):
        assert format_and_size(encoded(kind), ["PNG", "JPEG"]) == (kind, (64, 48))
        with pytest.raises(ValueError, match=r"[Tt]runcated"):
            format_and_size(encoded(kind)[:-200], [kind])
    for other in (encoded("GIF"), b""):
        with pytest.raises(ValueError, match=r"^no picture in PNG or JPEG$"):
            format_and_size(other, ["PNG", "JPEG"])
    two = encoded("MPO", save_all=True, append_images=[Image.fromarray(smooth(seed=1))])
    with pytest.raises(ValueError, match="a picture in MPO"):
        format_and_size(two, ["JPEG"])


def test_a_video_has_as_many_frames_as_were_written(tmp_path):
    path = write_video(tmp_path / "clip.avi", frames=20)
    assert has_all_frames(path, 20)
    assert not has_all_frames(path, 40)
    assert not has_all_frames(cut(path, 0.5), 20)
    assert not has_all_frames(tmp_path / "gone.avi", 20)


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


def test_damaged_videos_are_named(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(ValueError, match=r"text\.mp4: damaged, or not a video"):
        load_images(tmp_path / "text.mp4")
    path = cut(write_video(tmp_path / "clip.avi", frames=20), 0.5)
    with pytest.raises(ValueError, match=r"clip\.avi: damaged or truncated video, ends after \d+ of 20 frames"):
        load_images(path)
    with pytest.raises(ValueError, match=r"gone\.mp4: no such file"):
        load_images(tmp_path / "gone.mp4")


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
    # Neither takes a name away from a picture.
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
