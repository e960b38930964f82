"""Pictures and animations that Pillow decodes: deep ones are rounded, sideways ones turned, every frame is a page."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from tests.pictures.drawn import save, smooth
from tests.recordings import cut
from xrcam_jax.pictures.decode import opened, read_rgb
from xrcam_jax.pictures.pages import MOST_PIXELS
from xrcam_jax.pictures.read import count, load_images, stream

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits_is_rounded(tmp_path, channels):
    samples = RANDOM.integers(0, 65536, (13, 19, channels)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(samples if channels > 1 else samples[..., 0]))
    colours = samples[..., :3] if channels > 2 else samples[..., :1]
    expected = np.broadcast_to(np.rint(colours * (255 / 65535)), (13, 19, 3))
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), expected)
    with opened(tmp_path / "a.png") as pages:
        assert pages.read(0).depth == 16


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits(tmp_path, bits):
    levels = 2**bits - 1
    samples = RANDOM.integers(0, levels + 1, (8, 16)).astype(np.uint8)
    rows = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()) for row in samples]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 16, 8, bits, 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png")[..., 1], samples.astype(int) * 255 // levels)
    with opened(tmp_path / "a.png") as pages:
        assert pages.read(0).depth == bits


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    plain = read_rgb(save(tmp_path / f"plain.{suffix}", **options))
    turned = {2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud, 6: lambda p: np.rot90(p, -1), 8: np.rot90}
    turned |= {5: lambda p: p.swapaxes(0, 1), 7: lambda p: np.rot90(p, 2).swapaxes(0, 1), 1: lambda p: p}
    path = save(tmp_path / f"a.{suffix}", exif=exif, **options)
    np.testing.assert_array_equal(read_rgb(path), turned[orientation](plain))


def frames(number=4):
    """Frames that share a background, so that encoders store what has changed alone."""
    shown = np.full((number, 24, 32, 3), 40, np.uint8)
    for index, frame in enumerate(shown):
        frame[4 : 4 + 4 * (index + 1), 6:16] = 60 * index + 15
    return shown


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_every_frame_of_an_animation_is_composed_as_it_is_displayed(tmp_path, suffix):
    first, *others = map(Image.fromarray, frames())
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    first.save(path, save_all=True, append_images=others, duration=100, **options)
    found = list(stream([path]))
    assert [picture.name for picture in found] == ["a#1", "a#2", "a#3", "a#4"]
    assert {(picture.facts.depth, picture.facts.pages) for picture in found} == {(8, 4)}
    np.testing.assert_array_equal([picture.pixels for picture in found], frames())
    assert [picture.name for picture in stream([path], every=3)] == ["a#1", "a#4"]
    assert (count([path]), count([path], every=3)) == (4, 2)


def test_the_picture_for_programs_without_animation_is_no_frame(tmp_path):
    first, *others = map(Image.fromarray, frames())
    first.save(tmp_path / "a.png", save_all=True, append_images=others, default_image=True)
    np.testing.assert_array_equal(load_images(tmp_path / "a.png"), frames()[1:])


def test_a_camera_s_several_pictures_but_not_its_thumbnails(tmp_path):
    first, *others = (Image.fromarray(smooth(seed=seed)) for seed in range(3))
    path = tmp_path / "a.jpg"
    first.save(path, "MPO", save_all=True, append_images=others)
    assert [picture.name for picture in stream([path])] == ["a#1", "a#2", "a#3"]
    for seed, pixels in enumerate(load_images(path)):
        assert np.abs(pixels.astype(int) - smooth(seed=seed)).mean() < 5
    with Image.open(path) as file:
        entry = file.mpinfo[0xB002][1]
    stored = struct.pack("<III", 0, entry["Size"], entry["DataOffset"])
    thumbnail = struct.pack("<III", 0x010001, entry["Size"], entry["DataOffset"])
    content = path.read_bytes()
    assert content.count(stored) == 1
    path.write_bytes(content.replace(stored, thumbnail))
    for seed, pixels in zip((0, 2), load_images(path), strict=True):
        assert np.abs(pixels.astype(int) - smooth(seed=seed)).mean() < 5


def test_jpeg_of_12_bits_is_refused_as_such(tmp_path):
    samples = (smooth()[..., 0].astype(np.uint16) * 16).astype(np.uint16)
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg_encode(samples, bitspersample=12))
    with pytest.raises(ValueError, match=r"a\.jpg: a JPEG that is not of 8 bits .*save it as PNG or TIFF of 16 bits"):
        read_rgb(tmp_path / "a.jpg")


def test_a_truncated_animation(tmp_path):
    noise = [Image.fromarray(RANDOM.integers(0, 256, (48, 64, 3), np.uint8)) for _ in range(4)]
    noise[0].save(tmp_path / "a.gif", save_all=True, append_images=noise[1:])
    lines: list[str] = []
    found = list(stream([cut(tmp_path / "a.gif", 0.6)], report=lines.append))
    assert 0 < len(found) < 4
    assert lines
    assert all(line.startswith(f"{tmp_path / 'a.gif'}") and "damaged or truncated" in line for line in lines)


def test_a_picture_too_large_for_memory_is_refused_by_its_header(tmp_path):
    side = int(MOST_PIXELS**0.5) + 1
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    (tmp_path / "a.png").write_bytes(content)
    (tmp_path / "a.pgm").write_bytes(b"P5 %d %d 255\n" % (side, side))
    for name in ("a.png", "a.pgm"):
        with pytest.raises(ValueError, match=rf"{name}: {side}x{side} pixels are too many for memory; at most"):
            read_rgb(tmp_path / name)


OTHERS = {
    b"\0\0\0\x18ftypheic\0\0\0\0": "a HEIC picture",
    b"\0\0\0\x18ftypavif\0\0\0\0": "an AVIF picture",
    b"8BPS\0\1": "a Photoshop file",
    b"%PDF-1.7": "a PDF",
    b"<!DOCTYPE HTML><html>": "a web page",
    b"version https://git-lfs.github.com/spec/v1": "a pointer to a file in Git LFS",
    b"<?xml version='1.0'?><svg>": "an SVG drawing",
    b"PK\3\4": "an archive",
    b"P7\nWIDTH 3": "a picture in PAM or PFM",
}


@pytest.mark.parametrize("content", OTHERS, ids=OTHERS.values())
def test_other_files_are_refused_as_what_they_are(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.png: {OTHERS[content]}.*, which is not read"):
        read_rgb(tmp_path / "a.png")


def png(path, *chunks):
    """Writes a PNG, of chunks that are named and have content."""
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in (*chunks, (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(content)
    return path


def test_a_colour_that_the_palette_lacks_is_not_drawn_black(tmp_path):
    parts = (b"IHDR", struct.pack(">IIBBBBB", 3, 1, 8, 3, 0, 0, 0)), (b"PLTE", bytes(6))
    for largest in (1, 2):
        path = png(tmp_path / "a.png", *parts, (b"IDAT", zlib.compress(bytes([0, 0, 1, largest]))))
        if largest == 1:
            assert not read_rgb(path).any()
            continue
        with pytest.raises(ValueError, match=r"a\.png: color 2 of a palette of 2"):
            read_rgb(path)


@pytest.mark.parametrize("blend", [0, 1])
@pytest.mark.parametrize("disposal", [0, 1, 2])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_what_vanishes_from_an_animation_is_gone(tmp_path, disposal, blend, order):
    """The frames of an APNG, composed here by the words of its specification."""
    canvas, shown, sequence = np.zeros((6, 8, 4), np.uint8), [], iter(range(99))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 8, 6, 0, 0, 0)), (b"acTL", struct.pack(">II", 4, 0))]
    for left, top, width, height in ((0, 0, 8, 6), (2, 1, 4, 3), (5, 0, 2, 4), (1, 1, 3, 2)):
        part = RANDOM.integers(0, 256, (height, width, 4)).astype(np.uint8)
        part[..., 3] = 255
        vanishes = disposal if width < 8 else 0
        region, before = canvas[top : top + height, left : left + width], canvas.copy()
        region[:] = part
        shown.append(canvas[..., :3].copy())
        if vanishes == 1:
            region[:] = 0
        canvas = before if vanishes == 2 else canvas
        box = struct.pack(">IIIIIHHBB", next(sequence), width, height, left, top, 1, 9, vanishes, blend)
        data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in part))
        first = len(shown) == 1
        frame = (b"IDAT", data) if first else (b"fdAT", struct.pack(">I", next(sequence)) + data)
        chunks += [(b"fcTL", box), frame]
    with opened(png(tmp_path / "a.png", *chunks)) as pages:
        for page in order:
            np.testing.assert_array_equal(pages.read(page).pixels, shown[page])
