"""Volumes that know where their voxels lie in the world: read from NIfTI, and maps of them written as NIfTI.

Nothing of the patient reaches a file: of a header only what says where voxels lie is kept.
"""

import gzip
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Float32, Float64

from xrcam_jax.pictures.pages import PathLike, Refusal
from xrcam_jax.runtime.brief import Brief
from xrcam_jax.runtime.files import write_whole
from xrcam_jax.runtime.reading import check_file

#: The fields of a NIfTI header that say where the voxels lie, and in which units.
_PLACE = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)
_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True, eq=False, repr=False)
class Volume(Brief):
    """Holds a volume, and where its voxels lie.

    Attributes:
      values: the scaled intensities, (x, y, z), or (x, y, z, t) of a series.
      affine: the map from the indices of a voxel to millimetres in the world, to the right, anterior and superior.
      header: of NIfTI, as far as it says where the voxels of the file lie.
      laid: by axis of the file, the axis of ``values`` that it has become, and -1 if it was reversed, else 1.
    """

    values: Float32[np.ndarray, "x y z *t"]
    affine: Float64[np.ndarray, "4 4"]
    header: Any
    laid: tuple[tuple[int, int], ...]


def load_volume(path: PathLike, axes: str | None = None) -> Volume:
    """Reads a volume in NIfTI, compressed or not; needs nibabel (extra ``nifti``).

    Args:
      path: of the file.
      axes: where the axes are to lead to, such as ``"RAS"`` for right, anterior and superior; the nearest axes of the
        file are swapped and reversed for that, and nothing is resampled. By default they are those of the file.

    Returns:
      The volume. ``volume.values[None, ..., None]`` is a batch (b, d, h, w, c) for a network.

    Raises:
      ValueError: naming the file that is missing, damaged, no NIfTI or no volume of numbers, or the axes that are none.
      ImportError: nibabel is missing.

    Example:
      >>> import tempfile
      >>> import nibabel, numpy as np
      >>> from xrcam_jax.pictures.volumes import load_volume
      >>> image = nibabel.Nifti1Image(np.arange(6, dtype=np.int16).reshape(1, 2, 3), np.diag([-2.0, 2.0, 3.0, 1.0]))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     nibabel.save(image, f"{folder}/scan.nii.gz")
      ...     volume = load_volume(f"{folder}/scan.nii.gz", axes="SAR")
      >>> volume.values.shape, volume.values[2, 1, 0].item()
      ((3, 2, 1), 5.0)
      >>> (volume.affine @ [2, 1, 0, 1]).tolist()  # the same place as that of voxel (0, 1, 2) in the file
      [0.0, 2.0, 6.0, 1.0]
    """
    nib, path = _nibabel(), Path(path)
    if axes is not None and sorted("RAS".find(_POSITIVE.get(axis, "")) for axis in str(axes)) != [0, 1, 2]:
        raise ValueError(f"axes must name where three axes lead to, such as RAS or LPS; got {axes!r}")
    header, stored = _read(path)
    affine = header.get_best_affine()
    laid = np.array([[0, 1], [1, 1], [2, 1]])
    if axes is not None:
        found = nib.orientations.io_orientation(affine)
        if not np.isfinite(found).all():
            raise ValueError(f"{path}: an orientation in which an axis leads nowhere (NIfTI: affine)")
        laid = nib.orientations.ornt_transform(found, nib.orientations.axcodes2ornt(axes)).astype(int)
    values = np.ascontiguousarray(nib.orientations.apply_orientation(stored, laid))
    affine = affine @ nib.orientations.inv_ornt_aff(laid, stored.shape[:3])
    return Volume(values, affine, _clean(header), tuple((int(axis), int(flip)) for axis, flip in laid))


#: The direction opposite to each, and itself.
_POSITIVE = {"R": "R", "L": "R", "A": "A", "P": "A", "S": "S", "I": "S"}


def save_volume(path: PathLike, values: Float[Array | np.ndarray, "x y z *t"], like: Volume | PathLike) -> None:
    """Writes values for the voxels of a volume as NIfTI, in the grid of its file: affine, units and codes are the same.

    Args:
      path: of the file, which ends in ``.nii`` or ``.nii.gz``.
      values: such as a saliency map, along the axes of ``like``; of a series also (x, y, z) alone.
      like: the volume, or its file.

    Raises:
      ValueError: another ending, or values of another shape than the volume.
      ImportError: nibabel is missing.

    Example:
      >>> import tempfile
      >>> import nibabel, numpy as np
      >>> from xrcam_jax.pictures.volumes import load_volume, save_volume
      >>> image = nibabel.Nifti1Image(np.zeros((1, 2, 3), np.uint8), np.diag([-2.0, 2.0, 3.0, 1.0]))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     nibabel.save(image, f"{folder}/scan.nii")
      ...     volume = load_volume(f"{folder}/scan.nii", axes="SAR")
      ...     save_volume(f"{folder}/map.nii.gz", np.arange(6.0).reshape(3, 2, 1), like=volume)
      ...     written = nibabel.load(f"{folder}/map.nii.gz")
      ...     written.get_fdata()[0].tolist(), (written.affine == image.affine).all().item()
      ([[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]], True)
    """
    nib, path = _nibabel(), Path(path)
    if not path.name.lower().endswith(_SUFFIXES):
        raise ValueError(f"path: {path} ends neither in .nii nor in .nii.gz")
    like = like if isinstance(like, Volume) else load_volume(like)
    numbers, shape = np.asarray(values, np.float32), like.values.shape
    if numbers.shape not in (shape, shape[:3]):
        raise ValueError(f"values must have the volume's shape {shape}; got {numbers.shape}")
    identity = np.array([[0, 1], [1, 1], [2, 1]])
    back = nib.orientations.ornt_transform(identity, np.array(like.laid))
    write_volume(path, nib.orientations.apply_orientation(numbers, back), like.header)


def write_volume(path: Path, stored: Float32[np.ndarray, "x y z *t"], header: Any) -> None:
    """Writes voxels as NIfTI, whole or not at all.

    Args:
      path: of the file, which ends in ``.nii`` or ``.nii.gz``.
      stored: the voxels, in the grid of the header.
      header: of NIfTI; what it says of where voxels lie is kept, and nothing else.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import nibabel, numpy as np
      >>> from xrcam_jax.pictures.volumes import write_volume
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_volume(Path(folder, "a.nii"), np.ones((1, 2, 3), np.float32), nibabel.Nifti1Header())
      ...     nibabel.load(f"{folder}/a.nii").shape
      (1, 2, 3)
    """
    nib = _nibabel()
    kept = _clean(header)
    kind = nib.Nifti2Image if isinstance(kept, nib.Nifti2Header) else nib.Nifti1Image
    # Without an affine of its own the image leaves what the header says of both forms as it is.
    content = kind(np.asarray(stored), None, kept, dtype=np.float32).to_bytes()
    compressed = path.name.lower().endswith(".gz")
    write_whole(path, gzip.compress(content, 6, mtime=0) if compressed else content, synced=False)


def _read(path: Path) -> tuple[Any, Float32[np.ndarray, "x y z *t"]]:
    """Returns the header of a file, and its scaled values as they are stored."""
    from xrcam_jax.pictures.decode import named
    from xrcam_jax.pictures.decode_nifti import opened_header
    from xrcam_jax.pictures.signatures import format_of

    check_file(path)
    try:
        if (found := format_of(path)) != "NIfTI":
            raise Refusal(f"a volume in NIfTI is expected, and this is {found}")
        with opened_header(path) as (stream, header):
            return header, _scaled(stream, header)
    except Exception as error:
        # Damaged content raises anything.
        raise named(str(path), error) from error


def _scaled(stream: Any, header: Any) -> Float32[np.ndarray, "x y z *t"]:
    from xrcam_jax.pictures.decode_nifti import check_end

    dtype, shape = header.get_data_dtype(), header.get_data_shape()
    if dtype.kind not in "iuf":
        raise Refusal("colours, where one number for each voxel is expected" if dtype.names else "complex values")
    stream.seek(int(header.get_data_offset()))
    content = stream.read(prod(shape) * dtype.itemsize)
    if len(content) < prod(shape) * dtype.itemsize:
        raise ValueError(f"ends after {len(content)} of {prod(shape) * dtype.itemsize} bytes")
    check_end(stream)
    kept = (*shape, 1)[:3] if prod(shape[3:]) == 1 else shape[:4]
    stored = np.frombuffer(content, dtype).reshape(kept, order="F")
    slope, intercept = header.get_slope_inter()
    if slope in (None, 1) and not intercept:
        return stored.astype(np.float32)
    return (stored * float(slope or 1) + float(intercept or 0)).astype(np.float32)


def _clean(header: Any) -> Any:
    """Returns a header that says where the voxels lie, and nothing else."""
    kept = type(header)()
    for name in _PLACE:
        kept[name] = header[name]
    return kept


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise ImportError("volumes in NIfTI need nibabel: pip install 'xrcam-jax[nifti]'") from error
    return nibabel
