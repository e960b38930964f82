"""Whatever a file holds, RGB comes out; what is damaged is named."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from tests.pictures.drawn import save, smooth, write_video
from tests.recordings import cut
from xrcam_jax.pictures.decode import format_and_size, read_grey, read_rgb


def test_lossless_formats_come_back_exactly(tmp_path):
    for suffix in ("png", "bmp", "tif", "ppm"):
        np.testing.assert_array_equal(read_rgb(save(tmp_path / f"a.{suffix}")), smooth())


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_other_modes_become_rgb(tmp_path, mode):
    image = Image.fromarray(smooth()).convert(mode)
    image.save(tmp_path / "a.png")
    pixels = read_rgb(tmp_path / "a.png")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))


def test_transparent_palette_becomes_rgb(tmp_path):
    Image.fromarray(smooth()).convert("P").save(tmp_path / "a.png", transparency=bytes([0] * 100))
    assert read_rgb(tmp_path / "a.png").shape == (48, 64, 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_not_clipped(tmp_path, suffix):
    grey = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    pixels = read_rgb(save(tmp_path / f"a.{suffix}", grey))
    np.testing.assert_array_equal(pixels[..., 0], np.arange(256).reshape(16, 16))
    np.testing.assert_array_equal(pixels[..., 1:], pixels[..., :1].repeat(2, axis=2))


def test_a_camera_held_sideways_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = read_rgb(save(tmp_path / "a.png", exif=exif))
    np.testing.assert_array_equal(pixels, np.rot90(smooth(), -1))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "gif"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_pictures_are_named(tmp_path, suffix, share):
    path = cut(save(tmp_path / f"a.{suffix}"), share)
    with pytest.raises(ValueError, match=rf"a\.{suffix}: (damaged or truncated picture|neither a picture|an empty)"):
        read_rgb(path)


def test_other_files_are_named(tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(ValueError, match=r"notes\.txt: neither a picture \(BMP, .*\) nor a video"):
        read_rgb(tmp_path / "notes.txt")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"empty\.png: an empty file$"):
        read_rgb(tmp_path / "empty.png")
    write_video(tmp_path / "clip.avi").rename(tmp_path / "clip")
    with pytest.raises(ValueError, match=r"clip: a video, which is only read under a name that ends as one's does"):
        read_rgb(tmp_path / "clip")
    with pytest.raises(ValueError, match=r"gone\.png: no such file"):
        read_rgb(tmp_path / "gone.png")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif: 32-bit floating-point pixels have no known range"):
        read_rgb(tmp_path / "float.tif")


@pytest.mark.parametrize(
    ("library", "content"), [("pydicom", bytes(128) + b"DICM"), ("nibabel", bytes(344) + b"n+1\0")]
)
def test_the_extra_that_is_needed_is_named(tmp_path, monkeypatch, library, content):
    extra = {"pydicom": "dicom", "nibabel": "nifti"}[library]
    monkeypatch.setitem(sys.modules, library, None)
    for module in ("decode_dicom", "dicom_grey", "decode_nifti"):
        monkeypatch.delitem(sys.modules, f"xrcam_jax.pictures.{module}", raising=False)
        monkeypatch.delattr(f"xrcam_jax.pictures.{module}", raising=False)
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a: {library} is needed to read it: pip install 'xrcam-jax\[{extra}\]'"):
        read_rgb(tmp_path / "a")


def test_a_single_picture_has_no_others_in_its_file(tmp_path):
    np.testing.assert_array_equal(read_rgb(save(tmp_path / "a.png"), single=True), smooth())
    first, second = (Image.fromarray(smooth(seed=seed)) for seed in range(2))
    first.save(tmp_path / "two.tif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_rgb(tmp_path / "two.tif"), smooth())
    with pytest.raises(ValueError, match=r"two\.tif: holds 2 pictures; expected one each, or a video"):
        read_rgb(tmp_path / "two.tif", single=True)


def test_grey_pictures_come_back_exactly(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
    np.testing.assert_array_equal(read_grey(save(tmp_path / "a.png", grey)), grey)
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"b\.png: expected a PNG picture, found 10 bytes that are none"):
        read_grey(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"gone\.png: no such file"):
        read_grey(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png: not a file"):
        read_grey(tmp_path / "pipe.png")


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
