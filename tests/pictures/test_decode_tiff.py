"""What a TIFF says of its samples is honoured, or refused by name; references are computed from what is stored."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from tests.pictures.drawn import smooth
from tests.recordings import cut
from xrcam_jax.pictures.decode import opened, read_rgb
from xrcam_jax.pictures.read import load_images, stream

RANDOM = np.random.default_rng(0)
TURNED = {
    1: lambda g: g,
    2: np.fliplr,
    3: lambda g: np.rot90(g, 2),
    4: np.flipud,
    5: lambda g: np.swapaxes(g, 0, 1),
    6: lambda g: np.rot90(g, -1),
    7: lambda g: np.swapaxes(np.rot90(g, 2), 0, 1),
    8: np.rot90,
}


def eight(samples, lowest, highest):
    return np.rint((samples.astype(float) - lowest) * 255 / (highest - lowest)).astype(np.uint8)


def rgb(grey):
    return np.repeat(grey[..., None], 3, axis=2)


def noise(bits, shape=(13, 19)):
    samples = RANDOM.integers(0, 2**bits, shape).astype(np.uint8 if bits <= 8 else np.uint16)
    samples.flat[:2] = 0, 2**bits - 1
    return samples


def write(path, entries, strip):
    """Writes a little-endian TIFF of one strip by hand; entries are by tag, with the type 3, of short numbers."""
    entries = {**entries, 273: (4, [8]), 279: (4, [len(strip)])}
    content = b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip
    directory, after = b"", 8 + len(strip) + 2 + 12 * len(entries) + 4
    extra = b""
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        where = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", after + len(extra))
        extra += packed if len(packed) > 4 else b""
        directory += struct.pack("<HHI", tag, kind, len(values)) + where
    path.write_bytes(content + struct.pack("<H", len(entries)) + directory + b"\0" * 4 + extra)
    return path


def header(height, width, bits, photometric, samples=1, compression=1):
    shorts = {256: [width], 257: [height], 258: [bits] * samples, 259: [compression], 262: [photometric]}
    shorts |= {277: [samples], 278: [height]}
    return {tag: (3, values) for tag, values in shorts.items()}


def packed(samples, bits):
    """Packs samples of fewer than 16 bits, each row to whole bytes, the most significant bit first."""
    rows = samples.reshape(len(samples), -1)
    parts = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(parts.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack", "rgb"])
@pytest.mark.parametrize("compression", [1, 8])
def test_any_depth_is_scaled_from_its_full_range(tmp_path, bits, photometric, compression):
    channels = 3 if photometric == "rgb" else 1
    samples = noise(bits, (13, 19, channels))
    strip = samples.astype("<u2").tobytes() if bits == 16 else packed(samples, bits)
    number = ["miniswhite", "minisblack", "rgb"].index(photometric)
    entries = header(13, 19, bits, number, channels, compression)
    path = write(tmp_path / "a.tif", entries, zlib.compress(strip) if compression == 8 else strip)
    expected = eight(samples, 0, 2**bits - 1)
    expected = 255 - expected if photometric == "miniswhite" else expected
    np.testing.assert_array_equal(read_rgb(path), np.broadcast_to(expected, (13, 19, 3)))
    with opened(path) as pages:
        assert pages.read(0).depth == bits


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("bits", [1, 8, 12, 16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_orientation(tmp_path, orientation, bits, compression):
    samples = noise(bits)
    strip = samples.astype("<u2").tobytes() if bits == 16 else packed(samples, bits)
    entries = header(13, 19, bits, 1, 1, 8 if compression else 1) | {274: (3, [orientation])}
    path = write(tmp_path / "a.tif", entries, zlib.compress(strip) if compression else strip)
    np.testing.assert_array_equal(read_rgb(path), rgb(TURNED[orientation](eight(samples, 0, 2**bits - 1))))


def test_no_orientation(tmp_path):
    entries = header(13, 19, 8, 1) | {274: (3, [9])}
    with pytest.raises(ValueError, match=r"a\.tif: orientation 9 is none of 1 to 8"):
        read_rgb(write(tmp_path / "a.tif", entries, noise(8).tobytes()))


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_signed_samples_have_their_own_range(tmp_path, dtype):
    ends = np.iinfo(dtype)
    samples = RANDOM.integers(ends.min, ends.max + 1, (13, 19)).astype(dtype)
    samples.flat[:2] = ends.min, ends.max
    for photometric, sign in (("minisblack", 1), ("miniswhite", -1)):
        tifffile.imwrite(tmp_path / "a.tif", samples, photometric=photometric)
        expected = eight(samples, ends.min, ends.max)
        np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif")[..., 0], expected if sign > 0 else 255 - expected)


LAYOUTS = {
    "planar": {"planarconfig": "separate"},
    "tiles": {"tile": (16, 16)},
    "big": {"bigtiff": True, "byteorder": ">"},
    "lzw": {"compression": "lzw"},
    "lzw, planar": {"compression": "lzw", "planarconfig": "separate", "tile": (16, 16)},
    "packbits": {"compression": "packbits", "rowsperstrip": 5},
    "predictor": {"compression": "zlib", "predictor": True},
    "jpeg2000": {"compression": "jpeg2000"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", [8, 16])
def test_however_samples_are_laid_out(tmp_path, layout, bits):
    samples = noise(bits, (21, 37, 3))
    options = LAYOUTS[layout]
    laid = np.moveaxis(samples, -1, 0) if "planarconfig" in options else samples
    tifffile.imwrite(tmp_path / "a.tif", laid, photometric="rgb", **options)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif"), eight(samples, 0, 2**bits - 1))


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_twelve_bits_in_words_of_sixteen(tmp_path, compression):
    samples = noise(12, (21, 37))
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="minisblack", compression=compression)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags["BitsPerSample"].overwrite(12)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif"), rgb(eight(samples, 0, 4095)))


def test_fewer_bits_than_the_words_have(tmp_path):
    samples = noise(12, (21, 37))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, samples, photometric="minisblack", extratags=[("MaxSampleValue", "H", 1, 4095, True)])
    np.testing.assert_array_equal(read_rgb(path), rgb(eight(samples, 0, 4095)))
    tifffile.imwrite(path, samples + np.uint16(1), photometric="minisblack", extratags=[(281, "H", 1, 4095, True)])
    with pytest.raises(ValueError, match=r"has intensities from 1 to 4096, but states 0 to 4095"):
        read_rgb(path)
    tifffile.imwrite(path, samples, photometric="minisblack", extratags=[(281, "H", 1, 3000, True)])
    with pytest.raises(ValueError, match=r"states samples from None to 3000\.0, no full range"):
        read_rgb(path)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, samples, photometric="minisblack", metadata={"SignificantBits": 12})
    np.testing.assert_array_equal(read_rgb(path), rgb(eight(samples, 0, 4095)))


def test_palette(tmp_path):
    indices, colours = noise(8), RANDOM.integers(0, 65536, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colours)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif"), eight(colours.T[indices], 0, 65535))
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colours // 256)
    with pytest.raises(ValueError, match="a colour map of 8-bit intensities"):
        read_rgb(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_inks(tmp_path, bits, compression):
    samples = noise(bits, (13, 19, 4))
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="separated", compression=compression)
    ink = samples / (2**bits - 1)
    expected = 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])
    np.testing.assert_allclose(read_rgb(tmp_path / "a.tif"), expected, atol=0.51)
    for tag, value, message in ((332, 2, "InkSet"), (336, 7, "DotRange")):
        tifffile.imwrite(tmp_path / "a.tif", samples, photometric="separated", extratags=[(tag, "H", 1, value, True)])
        with pytest.raises(ValueError, match=message):
            read_rgb(tmp_path / "a.tif")


def test_lab_as_littlecms_has_it(tmp_path):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    ImageCms.profileToProfile(Image.fromarray(smooth()), srgb, lab, outputMode="LAB").save(tmp_path / "a.tif")
    # One step of eight bits in a* or b* is up to five in dark blue.
    assert np.abs(read_rgb(tmp_path / "a.tif").astype(int) - smooth()).max() <= 5
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        stored = file.pages[0].asarray()
    signed = stored.astype(np.int32)
    signed[..., 1:] = signed[..., 1:].astype(np.int8)
    icc = signed + np.array([0, 128, 128])
    wide = np.stack([signed[..., 0] * 257, signed[..., 1] * 256 & 65535, signed[..., 2] * 256 & 65535], -1)
    wide_icc = np.rint(icc * np.array([65280 / 255, 256, 256]))
    for photometric, samples in ((9, icc.astype(np.uint8)), (8, wide.astype(np.uint16)), (9, wide_icc.astype("u2"))):
        tifffile.imwrite(tmp_path / "b.tif", samples, photometric=photometric)
        difference = read_rgb(tmp_path / "b.tif").astype(int) - read_rgb(tmp_path / "a.tif")
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_ycbcr(tmp_path, compression):
    y, cb, cr = np.moveaxis(np.asarray(Image.fromarray(smooth()).convert("YCbCr")).astype(float), -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.stack([y, cb, cr], -1).astype(np.uint8),
        photometric="ycbcr",
        compression=compression,
        extratags=[(530, "H", 2, (1, 1), True)],
    )
    expected = np.stack(
        [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    )
    np.testing.assert_allclose(read_rgb(tmp_path / "a.tif"), np.moveaxis(expected, 0, -1).clip(0, 255), atol=1.6)


def test_jpeg(tmp_path):
    for photometric in ("rgb", "ycbcr"):
        path = tmp_path / "b.tif"
        tifffile.imwrite(path, smooth(), photometric=photometric, compression="jpeg", compressionargs={"level": 95})
        with Image.open(path) as file:
            np.testing.assert_allclose(read_rgb(path), np.asarray(file.convert("RGB")), atol=1)


def test_transparency_is_ignored_and_colours_multiplied_by_it_are_divided_again(tmp_path):
    colours, alpha = noise(8, (13, 19, 3)), noise(8, (13, 19, 1))
    tifffile.imwrite(
        tmp_path / "a.tif", np.concatenate([colours, alpha], -1), photometric="rgb", extrasamples=["unassalpha"]
    )
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif"), colours)
    alpha = np.maximum(alpha, 128)
    shown = np.rint(colours * (alpha / 255)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", np.concatenate([shown, alpha], -1), photometric="rgb", extrasamples=["assocalpha"]
    )
    np.testing.assert_allclose(read_rgb(tmp_path / "a.tif"), colours, atol=1)


REFUSED = {
    "float": (np.zeros((4, 4), np.float32), {}, "32-bit floating-point pixels have no known range"),
    "half": (np.zeros((4, 4), np.float16), {}, "16-bit floating-point pixels have no known range"),
    "complex": (np.zeros((4, 4), np.complex64), {}, "64-bit complex pixels have no known range"),
    "long": (np.zeros((4, 4), np.uint32), {}, "32-bit pixels have no known range"),
    "CFA": (np.zeros((4, 4), np.uint16), {"photometric": "cfa"}, "photometric interpretation CFA"),
    "channels": (
        np.zeros((8, 9, 5), np.uint8),
        {"photometric": "minisblack", "planarconfig": "contig"},
        "5 samples per pixel, of which 1 have a meaning",
    ),
    "volume": (
        np.zeros((3, 16, 16), np.uint8),
        {"photometric": "minisblack", "volumetric": True, "tile": (1, 16, 16)},
        "a volume in one page",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_by_name(tmp_path, name):
    samples, options, message = REFUSED[name]
    tifffile.imwrite(tmp_path / "a.tif", samples, **{"photometric": "minisblack", **options})
    with pytest.raises(ValueError, match=rf"a\.tif: {message}"):
        read_rgb(tmp_path / "a.tif")


@pytest.mark.parametrize(("number", "name"), [(10, "ITULAB"), (32845, "LOGLUV"), (34892, "LINEAR_RAW"), (7777, "7777")])
def test_other_photometric_interpretations(tmp_path, number, name):
    path = write(tmp_path / "a.tif", header(13, 19, 8, number, 3), noise(8, (13, 19, 3)).tobytes())
    with pytest.raises(ValueError, match=rf"a\.tif: photometric interpretation {name}.* is not read"):
        read_rgb(path)


def test_a_tile_that_would_not_fit_into_memory(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(8), photometric="minisblack", tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags["TileWidth"].overwrite(2**16 - 16)
        file.pages[0].tags["TileLength"].overwrite(2**16 - 16)
    with pytest.raises(ValueError, match=r"65520x65520 pixels are too many for memory"):
        read_rgb(tmp_path / "a.tif")


def test_a_photometric_interpretation_that_is_not_stated(tmp_path):
    entries = header(13, 19, 8, 1)
    del entries[262]
    with pytest.raises(ValueError, match="does not state its photometric interpretation"):
        read_rgb(write(tmp_path / "a.tif", entries, noise(8).tobytes()))


def test_reduced_copies_and_masks_are_no_pictures(tmp_path):
    picture = smooth()
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(picture, photometric="rgb", subifds=1)
        file.write(picture[::2, ::2], photometric="rgb", subfiletype=1)
        file.write(picture[::4, ::4], photometric="rgb", subfiletype=1)
        file.write(picture[..., 0] > 9, photometric=4, subfiletype=4)
        file.write(picture[:9], photometric="rgb")
    assert [page.shape for page in load_images(tmp_path / "a.tif")] == [(48, 64, 3), (9, 64, 3)]
    tifffile.imwrite(tmp_path / "b.tif", picture, photometric="rgb", subfiletype=1)
    with pytest.raises(ValueError, match=r"b\.tif: holds no pictures, but reduced copies"):
        load_images(tmp_path / "b.tif")


@pytest.mark.parametrize(
    "options",
    [{"imagej": True}, {"imagej": True, "truncate": True}, {"truncate": True}, {"ome": True}, {"compression": "lzw"}],
    ids=["ImageJ", "ImageJ, one directory", "one directory", "OME", "LZW"],
)
def test_every_picture_of_a_stack(tmp_path, options):
    samples = RANDOM.integers(0, 65536, (2, 3, 16, 17)).astype(np.uint16)
    metadata = {"axes": "TZYX"} if "imagej" in options or "ome" in options else None
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="minisblack", metadata=metadata or {}, **options)
    found = list(stream([tmp_path / "a.tif"]))
    assert [picture.name for picture in found] == [f"a#{number}" for number in range(1, 7)]
    assert {(picture.facts.depth, picture.facts.pages, picture.facts.window) for picture in found} == {(16, 6, "")}
    for picture, expected in zip(found, samples.reshape(-1, 16, 17), strict=True):
        np.testing.assert_array_equal(picture.pixels, rgb(eight(expected, 0, 65535)))


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_a_damaged_page_is_named_and_the_others_go_on(tmp_path, compression):
    samples = RANDOM.integers(0, 256, (3, 64, 64)).astype(np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, samples, photometric="minisblack", compression=compression, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[1].tags["StripOffsets"].overwrite(file.filehandle.size - 9)
    lines: list[str] = []
    assert [picture.name for picture in stream([path], report=lines.append)] == ["a#1", "a#3"]
    assert len(lines) == 1
    assert lines[0].startswith(f"{path}, page 2: damaged or truncated picture (")
    with pytest.raises(ValueError, match=r"a\.tif.*: damaged or truncated picture"):
        load_images(cut(path, 0.2))


def test_a_jpeg_that_is_cut_off_is_not_filled_up_with_grey(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", smooth(), photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        (length,) = file.pages[0].databytecounts
        file.pages[0].tags["StripByteCounts"].overwrite(length // 2)
    with pytest.raises(ValueError, match=r"a\.tif: damaged .*cut off"):
        read_rgb(tmp_path / "a.tif")


def test_a_strip_that_is_missing_is_not_drawn_black(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(8, (64, 64)), photometric="minisblack", rowsperstrip=16)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        lengths = list(file.pages[0].databytecounts)
        file.pages[0].tags["StripByteCounts"].overwrite([*lengths[:-1], 0])
    with pytest.raises(ValueError, match="a strip or tile is missing"):
        read_rgb(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [12, 15])
def test_rows_so_short_that_packed_they_are_no_shorter(tmp_path, bits):
    samples = noise(bits, (5, 7) if bits == 15 else (5, 1))
    path = write(tmp_path / "a.tif", header(*samples.shape, bits, 1), packed(samples, bits))
    np.testing.assert_array_equal(read_rgb(path), rgb(eight(samples, 0, 2**bits - 1)))
