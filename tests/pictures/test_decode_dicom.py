"""DICOM is shown as its header says; references are the equations of the standard, in float64, on what is stored."""

import csv
import re

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, uid
from pydicom.dataelem import DataElement
from pydicom.examples import get_path
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from tests.pictures.drawn import SECRETS
from tests.pictures.drawn import write_dicom as write
from tests.recordings import cut
from xrcam_jax.pictures.decode import opened, read_rgb
from xrcam_jax.pictures.read import load_images, stream

RANDOM = np.random.default_rng(0)


def noise(lowest, highest, shape=(14, 18)):
    samples = RANDOM.integers(lowest, highest + 1, shape)
    samples.flat[:2] = lowest, highest
    return samples


def linear(values, center, width):
    """PS3.3 C.11.2.1.2.1, as it is written there."""
    shown = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    shown[values <= center - 0.5 - (width - 1) / 2] = 0
    shown[values > center - 0.5 + (width - 1) / 2] = 255
    return np.rint(shown)


def grey(path):
    with opened(path) as pages:
        page = pages.read(0)
    np.testing.assert_array_equal(page.pixels[..., :1].repeat(3, -1), page.pixels)
    return page.pixels[..., 0], page.window


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_rescale_and_window(tmp_path, photometric):
    stored = noise(0, 4095)
    path = write(
        tmp_path / "a",
        stored.astype(np.uint16),
        BitsStored=12,
        PhotometricInterpretation=photometric,
        RescaleSlope=2,
        RescaleIntercept=-1024,
        WindowCenter=[40, 500],
        WindowWidth=[400, 900],
    )
    found, window = grey(path)
    expected = linear(2.0 * stored - 1024, 40, 400)
    np.testing.assert_array_equal(found, expected if photometric == "MONOCHROME2" else 255 - expected)
    assert window == "40/400"


FUNCTIONS = {
    "LINEAR": lambda x: linear(x, 40, 400),
    "LINEAR_EXACT": lambda x: np.rint(255 * np.clip((x - 40) / 400 + 0.5, 0, 1)),
    "SIGMOID": lambda x: np.rint(255 / (1 + np.exp(-4 * (x - 40) / 400))),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_of_the_window(tmp_path, function):
    stored = noise(-1024, 3071)
    header = {"BitsStored": 13, "WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": function}
    found, _ = grey(write(tmp_path / "a.dcm", stored.astype(np.int16), **header))
    np.testing.assert_array_equal(found, FUNCTIONS[function](stored.astype(float)))


def test_the_narrowest_window_is_a_threshold(tmp_path):
    stored = noise(0, 255)
    found, _ = grey(write(tmp_path / "a.dcm", stored.astype(np.uint8), WindowCenter=100, WindowWidth=1))
    np.testing.assert_array_equal(found, np.where(stored > 99.5, 255, 0))


RANGES = {
    "unsigned": (np.uint16, 12, 0, 4095, {}),
    "signed": (np.int16, 12, -2048, 2047, {}),
    "falling": (np.uint16, 10, 0, 1023, {"RescaleSlope": -1, "RescaleIntercept": 7}),
    "8 bits": (np.uint8, 8, 0, 255, {}),
}


@pytest.mark.parametrize("name", RANGES)
def test_without_a_window_the_full_range_of_the_bits_counts(tmp_path, name):
    dtype, bits, lowest, highest, header = RANGES[name]
    stored = noise(lowest, highest)
    found, window = grey(write(tmp_path / "a.dcm", stored.astype(dtype), BitsStored=bits, **header))
    share = (stored - lowest) / (highest - lowest)
    np.testing.assert_array_equal(found, np.rint(255 * (1 - share if header else share)))
    assert window == ""


def test_32_bits_need_a_window(tmp_path):
    """No picture has values all over their range, which would make it black."""
    stored = noise(0, 2**20).astype(np.uint32)
    found, _ = grey(write(tmp_path / "a.dcm", stored, WindowCenter=2**19, WindowWidth=2**20))
    np.testing.assert_array_equal(found, linear(stored.astype(float), 2**19, 2**20))
    with pytest.raises(ValueError, match=r"a\.dcm: 32-bit pixels have no known range without a window"):
        read_rgb(write(tmp_path / "a.dcm", stored))


def test_the_high_bit_says_where_samples_are_and_other_bits_do_not_count(tmp_path):
    stored = noise(-512, 511)
    words = ((stored & 1023) << 4) | 0b1100_0000_0000_1011
    header = {"BitsStored": 10, "HighBit": 13, "PixelRepresentation": 1}
    found, _ = grey(write(tmp_path / "a.dcm", words.astype(np.uint16), **header))
    np.testing.assert_array_equal(found, np.rint(255 * (stored + 512) / 1023))


def table(first, entries, bits, **names):
    item = Dataset()
    item.add(DataElement("LUTDescriptor", "US", [len(entries) % 65536, first, bits]))
    item.add(
        DataElement("LUTData", "OW" if names else "US", entries.astype("<u2").tobytes() if names else entries.tolist())
    )
    return Sequence([item])


@pytest.mark.parametrize("in_bytes", [{}, {"in": "bytes"}])
def test_lookup_tables(tmp_path, in_bytes):
    stored = noise(0, 1023)
    modality, voi = noise(0, 4095, 600), noise(0, 1023, 2000)
    header = {"BitsStored": 10, "ModalityLUTSequence": table(200, modality, 12, **in_bytes)}
    header["VOILUTSequence"] = table(1000, voi, 10, **in_bytes)
    found, window = grey(write(tmp_path / "a.dcm", stored.astype(np.uint16), **header))
    values = modality[np.clip(stored - 200, 0, 599)]
    np.testing.assert_array_equal(found, np.rint(voi[np.clip(values - 1000, 0, 1999)] * 255 / 1023))
    assert window == "LUT"


def test_padding_is_black(tmp_path):
    stored = noise(-2000, 1000)
    header = {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1500, "PhotometricInterpretation": "MONOCHROME1"}
    found, _ = grey(write(tmp_path / "a.dcm", stored.astype(np.int16), WindowCenter=0, WindowWidth=1000, **header))
    np.testing.assert_array_equal(found, np.where(stored <= -1500, 0, 255 - linear(stored.astype(float), 0, 1000)))


def test_each_frame_has_its_own_window(tmp_path):
    """Enhanced objects state it in functional groups."""
    stored = noise(0, 4095, (3, 14, 18))

    def group(name, **values):
        item, outer = Dataset(), Dataset()
        for key, value in values.items():
            setattr(item, key, value)
        setattr(outer, name, Sequence([item]))
        return outer

    own = [group("FrameVOILUTSequence", WindowCenter=100 * n, WindowWidth=300 + n) for n in range(3)]
    shared = group("PixelValueTransformationSequence", RescaleSlope=1, RescaleIntercept=-1000)
    path = write(
        tmp_path / "scan.dcm",
        stored.astype(np.uint16),
        BitsStored=12,
        PerFrameFunctionalGroupsSequence=Sequence(own),
        SharedFunctionalGroupsSequence=Sequence([shared]),
    )
    found = list(stream([path]))
    assert [picture.name for picture in found] == ["scan#1", "scan#2", "scan#3"]
    for number, picture in enumerate(found):
        facts = picture.facts
        assert (facts.depth, facts.pages, facts.window) == (12, 3, f"{100 * number}/{300 + number}")
        expected = linear(stored[number] - 1000.0, 100 * number, 300 + number)
        np.testing.assert_array_equal(picture.pixels[..., 0], expected)


GREY_CODERS = {
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEGLosslessSV1: lambda frame: imagecodecs.jpeg_encode(frame, lossless=True, bitspersample=16),
    uid.JPEG2000Lossless: lambda frame: imagecodecs.jpeg2k_encode(frame, codecformat="j2k", reversible=True),
}


@pytest.mark.parametrize("syntax", [*GREY_CODERS, uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian, "deflated"])
def test_transfer_syntaxes(tmp_path, syntax):
    syntax = uid.DeflatedExplicitVRLittleEndian if syntax == "deflated" else syntax
    stored = noise(0, 65535, (3, 14, 18)).astype(np.uint16)
    path = write(tmp_path / "a.dcm", stored, syntax, GREY_CODERS.get(syntax))
    for found, expected in zip(load_images(path), stored, strict=True):
        np.testing.assert_array_equal(found[..., 0], np.rint(expected / 257))


def test_run_lengths(tmp_path):
    stored = noise(0, 65535, (14, 18)).astype(np.uint16)
    write(tmp_path / "a.dcm", stored)
    from pydicom import dcmread

    dataset = dcmread(tmp_path / "a.dcm")
    dataset.compress(uid.RLELossless)
    dataset.save_as(tmp_path / "b.dcm")
    np.testing.assert_array_equal(read_rgb(tmp_path / "b.dcm"), read_rgb(tmp_path / "a.dcm"))


def test_jpeg_of_12_bits(tmp_path):
    smooth = (2000 + 1500 * np.sin(np.arange(32)[:, None] / 9) * np.cos(np.arange(40) / 7)).astype(np.uint16)

    def encoded(frame):
        return imagecodecs.jpeg_encode(frame, bitspersample=12, level=98)

    path = write(tmp_path / "a.dcm", smooth, uid.JPEGExtended12Bit, encoded, BitsStored=12)
    np.testing.assert_allclose(read_rgb(path)[..., 0], smooth / 4095 * 255, atol=1.5)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("bits", [8, 16])
def test_colours(tmp_path, planar, bits):
    stored = noise(0, 2**bits - 1, (14, 18, 3))
    header = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": planar}
    laid = np.moveaxis(stored, -1, 0).reshape(stored.shape) if planar else stored
    path = write(tmp_path / "a.dcm", laid.astype(np.uint8 if bits == 8 else np.uint16), **header)
    np.testing.assert_array_equal(read_rgb(path), np.rint(stored * 255 / (2**bits - 1)))


def test_ybr_full(tmp_path):
    stored = noise(0, 255, (14, 18, 3))
    header = {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL", "PlanarConfiguration": 0}
    path = write(tmp_path / "a.dcm", stored.astype(np.uint8), **header)
    y, cb, cr = np.moveaxis(stored.astype(float), -1, 0)
    cb, cr = cb - 128, cr - 128
    expected = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    np.testing.assert_allclose(read_rgb(path), expected.clip(0, 255), atol=1)


def test_palette(tmp_path):
    stored, colours = noise(0, 255), noise(0, 65535, (3, 100)).astype("<u2")
    header = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, entries in zip(("Red", "Green", "Blue"), colours, strict=True):
        header[f"{name}PaletteColorLookupTableDescriptor"] = [100, 50, 16]
        header[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
    path = write(tmp_path / "a.dcm", stored.astype(np.uint8), **header)
    np.testing.assert_array_equal(read_rgb(path), np.rint(colours.T[np.clip(stored - 50, 0, 99)] / 257))


def test_files_of_others(tmp_path):
    """pydicom's own example, by its own processing."""
    from pydicom import dcmread

    path = get_path("mr")
    dataset = dcmread(path)
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    highest = 2**dataset.BitsStored - 1 if not dataset.PixelRepresentation else 2 ** (dataset.BitsStored - 1) - 1
    lowest = -(2 ** (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0
    np.testing.assert_array_equal(read_rgb(path)[..., 1], np.rint((values - lowest) * 255 / (highest - lowest)))


REFUSED = {
    "no pixels": ({"SOPClassUID": uid.BasicTextSRStorage}, "holds no pictures .DICOM: Basic Text SR Storage"),
    "segments": ({"SOPClassUID": uid.SegmentationStorage}, "holds no pictures, but what was computed of such"),
    "slide": ({"TotalPixelMatrixColumns": 9000}, "a whole slide in tiles"),
    "function": ({"WindowCenter": 1, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "VOI LUT function CUBIC"),
    "width": ({"WindowCenter": 1, "WindowWidth": 0}, "window width 0 of LINEAR"),
    "half a window": ({"WindowCenter": 1}, "window center 1.0 and width None"),
    "slope": ({"RescaleSlope": 0, "RescaleIntercept": 0}, "rescale slope 0"),
    "shape": ({"PresentationLUTShape": "INVERSE"}, "presentation LUT shape INVERSE of MONOCHROME2"),
    "partial": ({"PhotometricInterpretation": "YBR_PARTIAL_420"}, "photometric interpretation YBR_PARTIAL_420"),
    "supplemental": ({"PixelPresentation": "COLOR"}, "grey with a supplemental palette"),
    "frames": ({"NumberOfFrames": 100_000}, "states 100000 pictures, and has room for"),
    "size": ({"Rows": 60_000, "Columns": 60_000}, "60000x60000 pixels are too many for memory"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_by_name(tmp_path, name):
    header, message = REFUSED[name]
    path = tmp_path / "a.dcm"
    write(path, noise(0, 255).astype(np.uint8))
    from pydicom import dcmread

    dataset = dcmread(path)
    for key, value in header.items():
        setattr(dataset, key, value)
    if name == "no pixels":
        del dataset.Rows, dataset.Columns, dataset.PixelData
    dataset.save_as(path)
    with pytest.raises(ValueError, match=rf"a\.dcm: {message}"):
        read_rgb(path)


@pytest.mark.parametrize("name", ["BitsStored", "PhotometricInterpretation", "SamplesPerPixel", "TransferSyntaxUID"])
def test_what_is_missing_in_the_header_is_named(tmp_path, name):
    path = write(tmp_path / "a.dcm", noise(0, 255).astype(np.uint8))
    from pydicom import dcmread

    dataset = dcmread(path)
    delattr(dataset.file_meta if name == "TransferSyntaxUID" else dataset, name)
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    with pytest.raises(ValueError, match=rf"a\.dcm: does not state .* .DICOM: {name}.$"):
        read_rgb(path)


def test_a_compression_without_a_decoder(tmp_path):
    path = write(tmp_path / "a.dcm", noise(0, 255).astype(np.uint8), uid.MPEG2MPML, lambda frame: b"12")
    with pytest.raises(ValueError, match=r"a\.dcm: compressed as MPEG2 .*, for which there is no decoder"):
        read_rgb(path)


def test_a_truncated_frame_is_named_and_the_others_go_on(tmp_path):
    path = cut(write(tmp_path / "a.dcm", noise(0, 255, (4, 64, 64)).astype(np.uint8)), 0.7)
    lines: list[str] = []
    assert [picture.name for picture in stream([path], report=lines.append)] == ["a#1", "a#2"]
    assert [line.split(":")[0] for line in lines] == [f"{path}, page 3", f"{path}, page 4"]


@pytest.mark.parametrize("syntax", [*GREY_CODERS, uid.JPEGExtended12Bit])
def test_compressed_pixels_that_are_cut_off_are_not_half_read(tmp_path, syntax):
    coder = GREY_CODERS.get(syntax, lambda frame: imagecodecs.jpeg_encode(frame, bitspersample=12))
    stored = noise(0, 4095, (64, 64)).astype(np.uint16)
    path = write(tmp_path / "a.dcm", stored, syntax, lambda frame: coder(frame)[:-900], BitsStored=12)
    with pytest.raises(ValueError, match=r"a\.dcm: damaged"):
        read_rgb(path)
    write(path, stored, syntax, coder, BitsStored=12)
    with pytest.raises(ValueError, match=r"a\.dcm: damaged"):
        read_rgb(cut(path, 0.8))


def test_nothing_of_the_patient_is_in_any_output(tmp_path, capfd, monkeypatch):
    """Outputs are named after files, and neither a message nor a byte of what is written has a value of the header."""
    from types import SimpleNamespace

    import xrcam_jax as xr
    from tests.commands.stand_ins import PretendExplainer, network
    from xrcam_jax.cli import main

    folder = tmp_path / "scans"
    folder.mkdir()
    write(folder / "a.dcm", noise(0, 255, (2, 40, 40)).astype(np.uint8))
    cut(write(folder / "cut.dcm", noise(0, 255, (2, 40, 40)).astype(np.uint8)), 0.6)
    cut(write(folder / "cut2.dcm", noise(0, 255, (40, 40)).astype(np.uint8)), 0.2)
    write(folder / "bad.dcm", noise(0, 255, (40, 40)).astype(np.uint8), WindowCenter=1, WindowWidth=0)
    content = (folder / "a.dcm").read_bytes()
    # Types that do not exist, lengths that are wrong: what reads them may complain of what stands there.
    for name, old, new in (("vr", b"\x10\0\x10\0PN", b"\x10\0\x10\0QQ"), ("length", b"LO\x0a\0", b"LO\xff\x7f")):
        assert old in content
        (folder / f"{name}.dcm").write_bytes(content.replace(old, new, 1))
    method = SimpleNamespace(family="activation", kind=SimpleNamespace(single_pass=True))
    monkeypatch.setattr(xr, "METHODS", {"xrelevance_cam": method}, raising=False)
    monkeypatch.setattr(xr, "load_model", lambda *_, **__: network(), raising=False)
    monkeypatch.setattr(xr, "Explainer", PretendExplainer, raising=False)
    out = tmp_path / "out"
    options = ["--model", "resnet18", "--weights", "w.safetensors", "--out", str(out), "--layers", "layer4"]
    assert main(["explain", str(folder), *options]) == 1
    printed = "".join(capfd.readouterr())
    assert "bad.dcm: window width 0" in printed
    written = [path for path in out.rglob("*") if path.is_file()]
    assert {"a#1.png", "a#2.png"} <= {path.name for path in written}
    everything = printed.encode() + b"".join(path.read_bytes() + str(path).encode() for path in written)
    assert not [secret for secret in SECRETS if re.search(re.escape(secret).encode(), everything, re.IGNORECASE)]
    with (out / "summary.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert (rows["a#2"]["depth"], rows["a#2"]["pages"], rows["a#2"]["window"]) == ("8", "2", "")
