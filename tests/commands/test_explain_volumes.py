"""``xrcam explain scan.nii.gz`` writes maps that lie where the scan lies; the explainer finds brightness salient."""

from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest

from tests.commands.test_explain import explain, names, pretend
from tests.pictures.test_volumes import AFFINES
from xrcam_jax.commands.volumes import placed
from xrcam_jax.pictures import volumes
from xrcam_jax.pictures.preprocessing import Preprocessing, crop_box, exact_box

# A fixture, which tests know by its name.
__all__ = ["pretend"]


def bright(shape, place, width=3.0):
    """A volume with one bright spot around a voxel, and a ramp along the third axis."""
    distances = [(np.arange(side) - at) ** 2 for side, at in zip(shape, place, strict=True)]
    spot = np.exp(-sum(np.ix_(*distances)) / (2 * width**2))
    return np.rint(200 * spot).astype(np.uint8)


@pytest.mark.parametrize("name", AFFINES)
def test_maps_lie_where_the_scan_lies(tmp_path, pretend, name):
    scan, shape, place = tmp_path / "scan.nii.gz", (40, 36, 3), (12, 22, 1)
    source = nib.Nifti1Image(bright(shape, place), AFFINES[name])
    source.header["descrip"] = b"Jane Doe"
    nib.save(source, scan)
    assert explain(tmp_path, scan, "--layers", "layer4") == 0
    out = tmp_path / "out" / "volumes"
    assert names(out) == ["scan.png", *(f"xrelevance_cam/{each}/scan.nii.gz" for each in ("aggregate", "layer4"))]
    written = nib.load(out / "xrelevance_cam/layer4/scan.nii.gz")
    np.testing.assert_array_equal(written.affine, nib.load(scan).affine)
    assert (written.shape, bytes(written.header["descrip"])) == (shape, bytes(80))
    found = written.get_fdata()
    # In each slice the brightest voxel is the most salient one, wherever the slice lies when it is looked at.
    for z in range(3):
        assert np.hypot(*np.subtract(np.unravel_index(found[..., z].argmax(), shape[:2]), place[:2])) <= 1
        inside = found[..., z] > 0
        expected = bright(shape, place)[..., z] / bright(shape, place)[..., z].max()
        assert np.corrcoef(found[..., z][inside], expected[inside])[0, 1] > 0.98
    # What the crop leaves out was not seen.
    assert (found[0] == 0).all() or (found[:, 0] == 0).all()


def test_slices_that_are_left_out_have_nothing_and_other_pictures_no_volume(tmp_path, pretend):
    series = np.stack([bright((34, 34, 2), (17, 17, z)) for z in (0, 1)], axis=-1)
    nib.save(nib.Nifti1Image(series, np.eye(4)), tmp_path / "scan.nii")
    formatted = ("--format", "svg")
    assert explain(tmp_path, tmp_path / "scan.nii", "--every", "3", "--layers", "layer4", *formatted) == 0
    found = nib.load(tmp_path / "out/volumes/xrelevance_cam/aggregate/scan.nii.gz").get_fdata()
    assert found.shape == (34, 34, 2, 2)
    # Pages 1 and 4: the first slice of the first volume, and the last one of the second.
    assert [bool(found[..., z, t].any()) for t in range(2) for z in range(2)] == [True, False, False, True]
    (drawn,) = (tmp_path / "out/volumes").glob("scan.*")
    assert drawn.name == "scan.svg"
    root = ElementTree.fromstring(drawn.read_text())
    assert float(root.get("width").removesuffix("pt")) > 0.5 * float(root.get("height").removesuffix("pt"))


def test_a_volume_that_cannot_be_put_together_is_named(tmp_path, pretend, monkeypatch, capsys):
    def full(path, stored, header):
        raise MemoryError("no room")

    monkeypatch.setattr(volumes, "write_volume", full)
    nib.save(nib.Nifti1Image(bright((34, 34, 2), (17, 17, 0)), np.eye(4)), tmp_path / "scan.nii")
    assert explain(tmp_path, tmp_path / "scan.nii", "--layers", "layer4") == 1
    assert f"{tmp_path / 'scan.nii'}: its maps are not put together (no room); those of its" in capsys.readouterr().err
    assert (tmp_path / "out/maps/scan#2.npz").exists()


def test_each_value_lies_at_the_centre_of_its_part():
    """A linear map is linear again in the picture, at each pixel that lies between the centres of the map's values."""
    config = Preprocessing(input_size=(20, 30), crop_pct=0.9)
    box = exact_box(61, 83, config)
    assert np.abs(np.subtract(box, crop_box(61, 83, config))).max() <= 0.5
    rows, columns = (np.arange(20) + 0.5) / 20, (np.arange(30) + 0.5) / 30
    found = placed((rows[:, None] + 2 * columns).astype(np.float32), box, (61, 83))
    y, x = np.mgrid[:61, :83] + 0.5
    down, across = (y - box[0]) / (box[2] - box[0]), (x - box[1]) / (box[3] - box[1])
    between = (abs(down - 0.5) <= 0.475) & (abs(across - 0.5) <= 0.483)
    np.testing.assert_allclose(found[between], (down + 2 * across)[between], atol=1e-5)
    outside = (down < 0) | (down > 1) | (across < 0) | (across > 1)
    assert outside.any()
    np.testing.assert_array_equal(found[outside], 0)
