"""NIfTI by nibabel (extra ``nifti``): every slice of a volume along its third axis.

Slices are drawn as radiologists look at them, where the header says how the volume lies: superior or anterior at the
top, and the patient's right, or anterior, at the left. Where it does not say so, the first axis goes to the right and
the second down.
"""

import gzip
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Num, Shaped

from xrcam_jax.pictures.pages import RGB, Page, Pages, Refusal, check_count, check_size, grey_to_rgb, in_blocks

# What a header may say that values mean and that still makes a picture: nothing, values without units, a time series.
_PICTURES = (0, 1011, 2001)
# What nibabel tells of oddities is for programmers; what cannot be read raises.
_SILENT = logging.Logger("silent")
_SILENT.addHandler(logging.NullHandler())
# DEFLATE makes its input at most so many times smaller.
_MOST_COMPRESSED = 1032


@contextmanager
def opened(path: Path) -> Iterator[Pages]:
    """Opens a NIfTI file and reads its header.

    Args:
      path: of the file, compressed or not.

    Returns:
      Its slices, volume by volume, as a context manager that closes the file.

    Raises:
      Refusal: the header says what is not honoured.
      Exception: the file is damaged.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import nibabel, numpy as np
      >>> from xrcam_jax.pictures.decode_nifti import opened
      >>> volume = nibabel.Nifti1Image(np.arange(12, dtype=np.uint8).reshape(2, 3, 2), None)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     nibabel.save(volume, f"{folder}/a.nii")
      ...     with opened(Path(folder, "a.nii")) as pages:
      ...         pages.count, pages.read(1).pixels[..., 0].tolist()
      (2, [[1, 7], [3, 9], [5, 11]])
    """
    with opened_header(path) as (stream, header):
        to_grey, window = _mapping(header)
        seen = seen_of(header)

        def read(number: int) -> Page:
            samples = seen.shown(_slice(stream, header, number))
            pixels = _colours(samples) if samples.dtype.names else grey_to_rgb(in_blocks(to_grey, samples))
            return Page(pixels, _depth(header), window)

        yield Pages(prod(header.get_data_shape()[2:]), read)


@contextmanager
def opened_header(path: Path) -> Iterator[tuple[IO[bytes], nib.Nifti1Header]]:
    """Opens a NIfTI file and reads its header.

    Args:
      path: of the file, compressed or not.

    Returns:
      Its content, decompressed, and its header, as a context manager that closes the file.

    Raises:
      Refusal: the header says what is not honoured, or that there is more than the file has room for.
      Exception: the file is damaged.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import nibabel, numpy as np
      >>> from xrcam_jax.pictures.decode_nifti import opened_header
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), None), f"{folder}/a.nii.gz")
      ...     with opened_header(Path(folder, "a.nii.gz")) as (stream, header):
      ...         header.get_data_shape()
      (2, 3, 4)
    """
    with path.open("rb") as plain:
        compressed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        unpacked: IO[bytes] = gzip.GzipFile(fileobj=plain) if compressed else path.open("rb")  # type: ignore[assignment]
        with unpacked as stream:
            header = _header(stream.read(540))
            shape = header.get_data_shape()
            check_size(*shape[:2])
            size = path.stat().st_size * (_MOST_COMPRESSED if compressed else 1)
            check_count(prod(shape[2:]), size // (prod(shape[:2]) * header.get_data_dtype().itemsize))
            yield stream, header


def check_end(stream: Any) -> None:
    """Refuses a compressed file whose content is not what its checksum says, which is compared at the end alone.

    Args:
      stream: the content, of which all voxels have been read.

    Raises:
      ValueError: some voxels are not as they were written, whichever.

    Example:
      >>> import io
      >>> from xrcam_jax.pictures.decode_nifti import check_end
      >>> check_end(io.BytesIO())
    """
    try:
        stream.read(1)
    except gzip.BadGzipFile:
        raise ValueError("the checksum of the file does not fit: some of its slices are not as they were") from None


def _header(content: bytes) -> nib.Nifti1Header:
    kind = nib.Nifti2Header if content[4:8] == b"n+2\x00" else nib.Nifti1Header
    header = kind(content[: kind.sizeof_hdr], check=False)
    header.check_fix(logger=_SILENT)
    shape = header.get_data_shape()
    if len(shape) < 2 or prod(shape[4:]) != 1:
        raise Refusal(f"{len(shape)} dimensions; NIfTI of two, three or four is read")
    if int(header["intent_code"]) not in _PICTURES:
        raise Refusal(f"values that are no intensities (NIfTI: intent {header.get_intent()[0]})")
    return header


def _depth(header: nib.Nifti1Header) -> int:
    dtype = header.get_data_dtype()
    return 8 * (dtype[0].itemsize if dtype.names else dtype.itemsize)


def _slice(stream, header: nib.Nifti1Header, number: int) -> Shaped[np.ndarray, "_ _"]:
    """Reads one slice, as it is stored: the first axis runs fastest."""
    width, height = header.get_data_shape()[:2]
    dtype = header.get_data_dtype()
    length = width * height * dtype.itemsize
    stream.seek(int(header.get_data_offset()) + number * length)
    content = stream.read(length)
    if len(content) < length:
        raise ValueError(f"ends after {len(content)} of {length} bytes of a slice")
    if number == prod(header.get_data_shape()[2:]) - 1:
        check_end(stream)
    return np.frombuffer(content, dtype).reshape(height, width).T


def _mapping(header: nib.Nifti1Header) -> tuple[Callable[[Num[np.ndarray, "_ _"]], np.ndarray], str]:
    """Returns what maps stored values to 8 bits, and the window as text.

    ``cal_min`` and ``cal_max`` count, of scaled values; without them, the full range of integers of at most 16 bits.
    """
    dtype = header.get_data_dtype()
    slope, intercept = (1.0 if value is None else float(value) for value in header.get_slope_inter())
    intercept = 0.0 if header.get_slope_inter()[1] is None else intercept
    low, high = float(header["cal_min"]), float(header["cal_max"])
    window = ""
    if dtype.kind == "c":
        raise Refusal("complex values")
    if high > low:
        window = f"{(low + high) / 2:g}/{high - low:g}"
    elif dtype.kind in "iu" and dtype.itemsize <= 2:
        ends = np.iinfo(dtype)
        low, high = sorted((slope * ends.min + intercept, slope * ends.max + intercept))
    elif dtype.names is None:
        raise Refusal(f"{dtype.name} values have no known range; set cal_min and cal_max, or save it with 8 or 16 bits")

    def to_grey(samples: Num[np.ndarray, "_ _"]) -> np.ndarray:
        share = (samples * slope + intercept - low) / (high - low)
        if not np.isfinite(share).all():
            raise Refusal("values that are not finite")
        return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)

    return to_grey, window


class Seen(NamedTuple):
    """Says how a slice lies when it is looked at: as it is stored, the first axis goes down and the second across.

    Attributes:
      swapped: whether the first axis goes across and the second down, before anything is reversed.
      upside_down: whether the last row comes first.
      mirrored: whether the last column comes first.
    """

    swapped: bool
    upside_down: bool
    mirrored: bool

    def shown(self, stored: Shaped[np.ndarray, "_ _"]) -> Shaped[np.ndarray, "_ _"]:
        """Returns a slice as it is looked at."""
        return np.ascontiguousarray(self._reversed(stored.T if self.swapped else stored))

    def stored(self, shown: Shaped[np.ndarray, "_ _"]) -> Shaped[np.ndarray, "_ _"]:
        """Returns a slice that is looked at as it is stored."""
        rows = self._reversed(shown)
        return rows.T if self.swapped else rows

    def _reversed(self, rows: Shaped[np.ndarray, "_ _"]) -> Shaped[np.ndarray, "_ _"]:
        return rows[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


def seen_of(header: nib.Nifti1Header) -> Seen:
    """Returns how the slices of a volume lie when they are looked at.

    Args:
      header: of the volume.

    Raises:
      Refusal: an axis leads nowhere.

    Example:
      >>> import nibabel, numpy as np
      >>> from xrcam_jax.pictures.decode_nifti import seen_of
      >>> seen = seen_of(nibabel.Nifti1Image(np.zeros((2, 2, 1), np.uint8), np.eye(4)).header)
      >>> seen
      Seen(swapped=True, upside_down=True, mirrored=True)
      >>> seen.shown(np.array([[1, 2], [3, 4]])).tolist()  # right and anterior first
      [[4, 2], [3, 1]]
    """
    if not header["qform_code"] and not header["sform_code"]:
        return Seen(True, False, False)
    across, down = nib.aff2axcodes(header.get_best_affine())[:2]
    if across is None or down is None:
        raise Refusal("an orientation in which an axis leads nowhere (NIfTI: affine)")
    swapped = not _is_upright(across, down)
    if not swapped:
        across, down = down, across
    # Axes are named by where they lead to.
    return Seen(swapped, down not in "IP", across not in "LP")


def _is_upright(first: str, second: str) -> bool:
    """Tells whether the first axis is the one to be drawn from top to bottom."""
    order = "SIAPRL"
    return order.index(first) // 2 < order.index(second) // 2


def _colours(samples: Shaped[np.ndarray, "_ _"]) -> RGB:
    return np.ascontiguousarray(np.stack([samples[name] for name in "RGB"], axis=-1))
