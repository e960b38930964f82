"""Slices of NIfTI volumes lie as the affine says, and their intensities have the range that the header states."""

import gzip
import itertools

import nibabel as nib
import numpy as np
import pytest

from tests.recordings import cut
from xrcam_jax.pictures.decode import read_rgb
from xrcam_jax.pictures.read import load_images, stream

RANDOM = np.random.default_rng(0)


def write(path, volume, affine=None, *, kind=nib.Nifti1Image, window=None, **header):
    image = kind(volume, affine)
    if window:
        image.header["cal_min"], image.header["cal_max"] = window
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def stored(path, volume, slope, intercept, **header):
    """Writes values as they are, with a scale beside them."""
    head = nib.Nifti1Header()
    head.set_data_shape(volume.shape)
    head.set_data_dtype(volume.dtype)
    head["scl_slope"], head["scl_inter"] = slope, intercept
    head["vox_offset"], head["magic"] = 352, b"n+1"
    for name, value in header.items():
        head[name] = value
    path.write_bytes(head.binaryblock + b"\0" * 4 + volume.tobytes(order="F"))
    return path


@pytest.mark.parametrize("name", ["brain.nii", "brain.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_slices_along_the_third_axis(tmp_path, name, kind):
    volume = RANDOM.integers(0, 65536, (7, 5, 4)).astype(np.uint16)
    found = list(stream([write(tmp_path / name, volume, kind=kind)]))
    assert [picture.name for picture in found] == [f"brain#{number}" for number in range(1, 5)]
    assert {(picture.facts.depth, picture.facts.pages) for picture in found} == {(16, 4)}
    for index, picture in enumerate(found):
        np.testing.assert_array_equal(picture.pixels[..., 0], np.rint(volume[:, :, index].T / 257))


def test_volumes_one_after_the_other_and_a_single_slice(tmp_path):
    volumes = RANDOM.integers(0, 256, (7, 5, 2, 3)).astype(np.uint8)
    pages = load_images(write(tmp_path / "a.nii", volumes))
    for (time, place), page in zip(itertools.product(range(3), range(2)), pages, strict=True):
        np.testing.assert_array_equal(page[..., 1], volumes[:, :, place, time].T)
    (picture,) = stream([write(tmp_path / "b.nii", volumes[:, :, 0, 0])])
    assert (picture.name, picture.facts.pages) == ("b", 1)


INTENSITIES = {
    "cal": (np.float32, (0.0, 0.0), (-10, 30), lambda v: (v + 10) / 40, "10/40"),
    "cal, scaled": (np.int16, (0.5, -7.0), (-10, 30), lambda v: (0.5 * v - 7 + 10) / 40, "10/40"),
    "signed": (np.int16, (0.0, 0.0), None, lambda v: (v + 32768) / 65535, ""),
    "falling": (np.uint8, (-2.0, 3.0), None, lambda v: (255 - v) / 255, ""),
}


@pytest.mark.parametrize("name", INTENSITIES)
def test_the_range_of_intensities(tmp_path, name):
    dtype, scale, window, share, text = INTENSITIES[name]
    volume = RANDOM.uniform(-40, 60, (7, 5, 1)).astype(dtype)
    header = dict(zip(("cal_min", "cal_max"), window or (0, 0), strict=True))
    (picture,) = stream([stored(tmp_path / "a.nii", volume, *scale, **header)])
    expected = np.rint(255 * np.clip(share(volume[:, :, 0].T.astype(float)), 0, 1))
    np.testing.assert_allclose(picture.pixels[..., 0], expected, atol=int(dtype == np.float32))
    assert picture.facts.window == text


def test_colours(tmp_path):
    colours = RANDOM.integers(0, 256, (7, 5, 2, 3)).astype(np.uint8)
    volume = colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    for index, page in enumerate(load_images(write(tmp_path / "a.nii", volume))):
        np.testing.assert_array_equal(page, colours[:, :, index].swapaxes(0, 1))


AXES = [axes for axes in itertools.product("RLAPSI", repeat=3) if len({"RLAPSI".index(a) // 2 for a in axes}) == 3]


@pytest.mark.parametrize("axes", AXES, ids="".join)
def test_a_slice_lies_as_the_affine_says(tmp_path, axes):
    """A voxel that is superior, or anterior, is at the top; one at the patient's right, or anterior, is at the left."""
    affine = np.zeros((4, 4))
    for column, axis in enumerate(axes):
        affine["RAS".index({"L": "R", "P": "A", "I": "S"}.get(axis, axis)), column] = 1 if axis in "RAS" else -1
    affine[3, 3] = 1
    volume = RANDOM.integers(0, 256, (7, 5, 1)).astype(np.uint8)
    found = read_rgb(write(tmp_path / "a.nii", volume, affine))[..., 0]
    place = {tuple(voxel): (affine @ [*voxel, 0, 1])[:3] for voxel in np.ndindex(7, 5)}
    vertical = "S" if {"S", "I"} & set(axes[:2]) else "A"
    across = "A" if vertical == "S" and {"A", "P"} & set(axes[:2]) else "R"
    rows = sorted({where["RAS".index(vertical)] for where in place.values()}, reverse=True)
    # R is positive at the patient's right, so the largest is first; so is A.
    columns = sorted({where["RAS".index(across)] for where in place.values()}, reverse=True)
    assert found.shape == (len(rows), len(columns))
    for voxel, where in place.items():
        row, column = rows.index(where["RAS".index(vertical)]), columns.index(where["RAS".index(across)])
        assert found[row, column] == volume[*voxel, 0]


REFUSED = {
    "float": (np.zeros((4, 4, 2), np.float32), {}, "float32 values have no known range; set cal_min and cal_max"),
    "long": (np.zeros((4, 4, 2), np.int32), {}, "int32 values have no known range"),
    "complex": (np.zeros((4, 4, 2), np.complex64), {}, "complex values"),
    "labels": (
        np.zeros((4, 4, 2), np.uint8),
        {"intent_code": 1002},
        "values that are no intensities .NIfTI: intent label",
    ),
    "five": (np.zeros((4, 4, 2, 1, 3), np.uint8), {}, "5 dimensions"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_by_name(tmp_path, name):
    volume, header, message = REFUSED[name]
    with pytest.raises(ValueError, match=rf"a\.nii: {message}"):
        read_rgb(write(tmp_path / "a.nii", volume, **header))


def test_values_that_are_not_finite(tmp_path):
    volume = np.zeros((4, 4, 2), np.float32)
    volume[1, 1, 1] = np.nan
    lines: list[str] = []
    path = write(tmp_path / "a.nii", volume, window=(0, 1))
    assert [picture.name for picture in stream([path], report=lines.append)] == ["a#1"]
    assert lines == [f"{path}, page 2: values that are not finite"]


def test_a_checksum_that_does_not_fit_is_named(tmp_path):
    volume = RANDOM.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    path = write(tmp_path / "a.nii.gz", volume)
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # the checksum stands before the length, at the end
    path.write_bytes(content)
    lines: list[str] = []
    assert [picture.name for picture in stream([path], report=lines.append)] == ["a#1", "a#2"]
    assert len(lines) == 1
    assert lines[0].startswith(f"{path}, page 3: damaged or truncated picture (the checksum of the file does not fit")


def test_damage(tmp_path):
    volume = RANDOM.integers(0, 256, (32, 32, 4)).astype(np.uint8)
    for name in ("a.nii", "a.nii.gz"):
        lines: list[str] = []
        path = cut(write(tmp_path / name, volume), 0.7)
        assert len(list(stream([path], report=lines.append))) == 2
        assert [line.split(":")[0] for line in lines] == [f"{path}, page 3", f"{path}, page 4"]
    (tmp_path / "a.img.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ValueError, match=r"a\.img\.gz: an archive, which is not read"):
        load_images(tmp_path / "a.img.gz")
