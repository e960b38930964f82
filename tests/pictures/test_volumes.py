"""Volumes keep the places of their voxels: what is written lies in the world where what was read did."""

import gzip
import itertools

import nibabel as nib
import numpy as np
import pytest

import xrcam_jax as xr
from tests.pictures.test_decode_nifti import stored

RANDOM = np.random.default_rng(0)
OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.4, -0.2, 0.7) @ np.diag([0.8, -1.5, 3.0]), [-31.5, 17.25, 4.0]
)
SWAPPED = np.array([[0, 0, -2.0, 9], [1.5, 0, 0, -4], [0, -1.0, 0, 30], [0, 0, 0, 1]])
AFFINES = {"oblique": OBLIQUE, "swapped and reversed": SWAPPED, "plain": np.eye(4)}


def scan(path, affine, shape=(4, 5, 3), kind=nib.Nifti1Image):
    """A scan whose header also says much that is nobody's business."""
    image = kind(RANDOM.integers(0, 1000, shape).astype(np.int16), affine)
    image.header.set_xyzt_units("mm", "msec")
    image.set_qform(affine, 1)
    image.set_sform(affine, 2)
    for name in {"descrip", "aux_file", "db_name", "intent_name"} & set(image.header.keys()):
        image.header[name] = b"Jane Doe"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe, 1970"))
    nib.save(image, path)
    return path


@pytest.mark.parametrize("axes", [None, "RAS", "LPS", "IAR"])
@pytest.mark.parametrize("name", AFFINES)
def test_a_value_keeps_its_place_in_the_world(tmp_path, name, axes):
    path = scan(tmp_path / "scan.nii.gz", AFFINES[name])
    source = nib.load(path)
    volume = xr.load_volume(path, axes)
    if axes is not None:
        assert "".join(nib.aff2axcodes(volume.affine)) == axes
    xr.save_volume(tmp_path / "map.nii.gz", volume.values * 2, like=volume)
    written = nib.load(tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(written.get_fdata(), 2 * source.get_fdata())
    np.testing.assert_array_equal(written.affine, source.affine)
    # Each voxel of what was loaded lies where the voxel of that value lies in the file.
    to_file = np.linalg.inv(source.affine) @ volume.affine
    for voxel in itertools.product(*map(range, volume.values.shape)):
        in_file = tuple(np.rint(to_file @ [*voxel, 1]).astype(int)[:3])
        np.testing.assert_allclose(source.affine @ [*in_file, 1], volume.affine @ [*voxel, 1], atol=1e-4)
        assert volume.values[voxel] == source.get_fdata()[in_file]


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_of_a_header_only_places_and_units_are_written(tmp_path, kind):
    path = scan(tmp_path / "scan.nii", OBLIQUE, kind=kind)
    assert b"Jane" in path.read_bytes()
    xr.save_volume(tmp_path / "map.nii", np.ones((4, 5, 3), np.float32), like=path)
    content = (tmp_path / "map.nii").read_bytes()
    assert b"Jane" not in content
    written, source = nib.load(tmp_path / "map.nii").header, nib.load(path).header
    assert type(written) is type(source)
    assert written.get_xyzt_units() == ("mm", "msec")
    for name in ("qform_code", "sform_code"):
        assert written[name] == source[name]
    np.testing.assert_array_equal(written.get_qform(), source.get_qform())
    np.testing.assert_array_equal(written.get_sform(), source.get_sform())
    np.testing.assert_array_equal(written["pixdim"], source["pixdim"])
    # The header, four bytes that say that nothing else comes, and the values.
    assert (written.get_data_dtype(), len(content)) == (np.float32, int(written["sizeof_hdr"]) + 4 + 4 * 60)


def test_scaled_values_series_and_headers_without_an_affine(tmp_path):
    samples = RANDOM.integers(-50, 50, (3, 4, 2, 2)).astype(np.int16)
    volume = xr.load_volume(stored(tmp_path / "a.nii", samples, 0.5, -7.0))
    np.testing.assert_array_equal(volume.values, (samples * 0.5 - 7).astype(np.float32))
    np.testing.assert_array_equal(volume.affine, nib.load(tmp_path / "a.nii").affine)
    xr.save_volume(tmp_path / "one.nii.gz", volume.values[..., 0], like=volume)
    xr.save_volume(tmp_path / "all.nii.gz", volume.values, like=volume)
    assert nib.load(tmp_path / "one.nii.gz").shape == (3, 4, 2)
    np.testing.assert_array_equal(nib.load(tmp_path / "all.nii.gz").get_fdata(), volume.values)
    # The same map gives the same file, whenever it is written.
    assert (tmp_path / "all.nii.gz").read_bytes()[4:8] == b"\0\0\0\0"


def test_what_is_refused_by_name(tmp_path):
    path = scan(tmp_path / "scan.nii", np.eye(4))
    with pytest.raises(ValueError, match=r"values must have the volume's shape \(4, 5, 3\); got \(4, 5\)"):
        xr.save_volume(tmp_path / "map.nii", np.ones((4, 5), np.float32), like=path)
    with pytest.raises(ValueError, match=r"path: .*map\.npy ends neither in \.nii nor in \.nii\.gz"):
        xr.save_volume(tmp_path / "map.npy", np.ones((4, 5, 3), np.float32), like=path)
    with pytest.raises(ValueError, match="axes must name where three axes lead to, such as RAS or LPS; got 'RLS'"):
        xr.load_volume(path, "RLS")
    with pytest.raises(ValueError, match="axes must name where three axes lead to, such as RAS or LPS; got 3"):
        xr.load_volume(path, 3)
    with pytest.raises(ValueError, match=f"{tmp_path}: not a file"):
        xr.load_volume(tmp_path)
    with pytest.raises(ValueError, match=r"missing\.nii: no such file"):
        xr.load_volume(tmp_path / "missing.nii")
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match=r"a\.gif: a volume in NIfTI is expected, and this is GIF"):
        xr.load_volume(tmp_path / "a.gif")
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(path.read_bytes()[:400]))
    with pytest.raises(ValueError, match=r"cut\.nii\.gz: damaged or truncated"):
        xr.load_volume(tmp_path / "cut.nii.gz")
    for shape, message in (((4, 5, 3), "CRC"), ((40, 50, 30), "the checksum of the file does not fit")):
        compressed = bytearray(gzip.compress(scan(tmp_path / "whole.nii", np.eye(4), shape).read_bytes()))
        compressed[-8] ^= 1  # the checksum stands before the length, at the end
        (tmp_path / "flipped.nii.gz").write_bytes(compressed)
        with pytest.raises(ValueError, match=rf"flipped\.nii\.gz: damaged or truncated picture \({message}"):
            xr.load_volume(tmp_path / "flipped.nii.gz")
    colours = np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / "rgb.nii")
    with pytest.raises(ValueError, match=r"rgb\.nii: colours, where one number for each voxel is expected"):
        xr.load_volume(tmp_path / "rgb.nii")
