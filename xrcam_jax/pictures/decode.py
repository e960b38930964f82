"""Opening one file of pictures; no other file of the package decides what a file is.

Files are told apart by content, not by suffix, and each family of formats has a reader of its own. Whatever a file
holds (grey, 16 bits, a palette, transparency, a camera held sideways), RGB arrays of shape (h, w, 3) come out. What
cannot be read, or says something of itself that is not honoured, is named and never silently half read.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from xrcam_jax.pictures.pages import RGB, Grey, Page, Pages, PathLike, Refusal
from xrcam_jax.pictures.signatures import format_of
from xrcam_jax.runtime.reading import check_file, read_whole

#: The extras that bring libraries which are imported when a file needs them.
_EXTRAS = {"pydicom": "dicom", "nibabel": "nifti", "tifffile": "tiff", "imagecodecs": "tiff"}


def read_rgb(path: PathLike, *, single: bool = False) -> RGB:
    """Reads one picture upright in RGB.

    Args:
      path: of the file. Intensities are scaled from their full range, and transparency is ignored.
      single: whether a file of several pictures is refused; otherwise the first is read.

    Returns:
      The picture.

    Raises:
      ValueError: naming the file that is missing, damaged, not a picture or, if ``single``, of several pictures.

    Example:
      >>> import tempfile
      >>> from PIL import Image
      >>> from xrcam_jax.pictures.decode import read_rgb
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     Image.new("RGB", (2, 1), "red").save(f"{folder}/red.png")
      ...     read_rgb(f"{folder}/red.png").tolist()
      [[[255, 0, 0], [255, 0, 0]]]
    """
    with opened(path) as pages:
        if single and pages.count > 1:
            raise ValueError(f"{path}: holds {pages.count} pictures; expected one each, or a video")
        return pages.read(0).pixels


def read_grey(path: PathLike) -> Grey:
    """Reads a PNG picture in grey by OpenCV, which lets other threads go on while it decodes.

    Args:
      path: of the file; colours are turned into grey.

    Returns:
      The intensities.

    Raises:
      ValueError: naming the file that is missing, damaged or not a picture.

    Example:
      >>> import tempfile
      >>> from PIL import Image
      >>> from xrcam_jax.pictures.decode import read_grey
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     Image.new("L", (2, 1), 7).save(f"{folder}/grey.png")
      ...     read_grey(f"{folder}/grey.png").tolist()
      [[7, 7]]
    """
    content = np.frombuffer(read_whole(Path(path)), np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if picture is None:
        raise ValueError(f"{path}: expected a PNG picture, found {content.size} bytes that are none")
    return picture


def format_and_size(content: bytes, formats: Sequence[str]) -> tuple[str, tuple[int, int]]:
    """Checks that an encoded picture is whole, and returns its format and size.

    Args:
      content: of a file.
      formats: those allowed, some of ``PICTURE_FORMATS``.

    Returns:
      The format, and width and height in pixels.

    Raises:
      ValueError: the content is damaged, or in none of these formats.

    Example:
      >>> import io
      >>> from PIL import Image
      >>> from xrcam_jax.pictures.decode import format_and_size
      >>> content = io.BytesIO()
      >>> Image.new("L", (3, 2)).save(content, format="PNG")
      >>> format_and_size(content.getvalue(), ["PNG", "JPEG"])
      ('PNG', (3, 2))
    """
    try:
        with Image.open(io.BytesIO(content), formats=list(formats)) as picture:
            picture.load()
    except Image.UnidentifiedImageError:
        raise ValueError(f"no picture in {' or '.join(formats)}") from None
    except Exception as error:
        # Pillow's decoders raise anything on damaged content, from SyntaxError to struct.error.
        raise ValueError(str(error)) from error
    # A camera's MPO, which is several JPEG pictures in one file, is opened where JPEG is asked for.
    if picture.format is None or picture.format not in formats:
        raise ValueError(f"a picture in {picture.format}")
    return picture.format, picture.size


@contextmanager
def opened(path: PathLike) -> Iterator[Pages]:
    """Opens a file of one or more pictures and reads no more than its headers.

    Args:
      path: of the file.

    Returns:
      Its pages, as a context manager that closes the file. Reading a page raises ValueError, naming the page that is
      damaged or says something of itself that is not honoured.

    Raises:
      ValueError: naming the file that is missing, not a picture or has a damaged header.

    Example:
      >>> from xrcam_jax.pictures.decode import opened
      >>> with opened("missing.png") as pages:
      ...     pages.count
      Traceback (most recent call last):
      ...
      ValueError: missing.png: no such file
    """
    path = Path(path)
    check_file(path)
    try:
        reader = _reader(path)
        inner = reader.__enter__()
    except Exception as error:
        # Decoders raise anything on damaged content, from SyntaxError to struct.error.
        raise named(str(path), error) from error
    try:
        yield Pages(inner.count, lambda page: _read(path, inner, page))
    finally:
        reader.__exit__(None, None, None)


def _reader(path: Path) -> AbstractContextManager[Pages]:
    """Returns what reads a file of this kind; only then is its library loaded."""
    match format_of(path):
        case "TIFF":
            from xrcam_jax.pictures import decode_tiff

            return decode_tiff.opened(path)
        case "DICOM":
            from xrcam_jax.pictures import decode_dicom

            return decode_dicom.opened(path)
        case "NIfTI":
            from xrcam_jax.pictures import decode_nifti

            return decode_nifti.opened(path)
        case "PNM":
            from xrcam_jax.pictures import decode_pnm

            return decode_pnm.opened(path)
        case kind:
            from xrcam_jax.pictures import decode_pillow

            return decode_pillow.opened(path, kind)


def _read(path: Path, pages: Pages, page: int) -> Page:
    try:
        return pages.read(page)
    except Exception as error:
        raise named(f"{path}, page {page + 1}" if pages.count > 1 else str(path), error) from error


def named(place: str, error: Exception) -> ValueError:
    """Returns what to raise for a file that cannot be read.

    Args:
      place: the file, and perhaps the page.
      error: what its reader raised.

    Returns:
      An error of one line, which names the place.

    Example:
      >>> from xrcam_jax.pictures.decode import named
      >>> named("a.nii", EOFError("ends early"))
      ValueError('a.nii: damaged or truncated picture (ends early)')
      >>> named("a.nii", PermissionError(13, "Permission denied", "a.nii"))
      ValueError('a.nii: cannot be read (Permission denied)')
    """
    if isinstance(error, ModuleNotFoundError):
        extra = _EXTRAS.get(error.name or "", "")
        return ValueError(f"{place}: {error.name} is needed to read it: pip install 'xrcam-jax[{extra}]'")
    if isinstance(error, PermissionError) and error.strerror:
        return ValueError(f"{place}: cannot be read ({error.strerror})")
    # Some texts have several lines, or quote what is in the file.
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(error)).split())
    return ValueError(
        f"{place}: {text}" if isinstance(error, Refusal) else f"{place}: damaged or truncated picture ({text})"
    )
