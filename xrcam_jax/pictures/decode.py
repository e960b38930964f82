"""Opening one picture and decoding it; no other file of the package does.

Whatever a file holds (grey, 16 bits, a palette, transparency, a camera held sideways), RGB arrays of shape (h, w, 3)
come out. What cannot be read is named and never silently half read.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

# Formats are told apart by content, not by suffix. The list is closed, as Pillow also knows formats for which it
# starts other programs.
PICTURE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

PathLike = str | os.PathLike[str]
# Pictures of any size: a name in place of "_" would ask for the same size of all that one function handles.
RGB = UInt8[np.ndarray, "_ _ 3"]
Grey = UInt8[np.ndarray, "_ _"]


def read_rgb(path: PathLike, *, single: bool = False) -> RGB:
    """Reads one picture upright in RGB.

    Args:
      path: of the file. Grey of 16 bits is scaled from its full range, and transparency is ignored.
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
    with opened(path) as file:
        pixels = decoded(path, file)
    if single:
        with opened(path) as file:
            held = getattr(file, "n_frames", 1)
        if held > 1:
            raise ValueError(f"{path}: holds {held} pictures; expected one each, or a video")
    return pixels


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
    try:
        content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
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


def opened(path: PathLike) -> Image.Image:
    """Opens a picture and reads no more than its header.

    Args:
      path: of the file.

    Returns:
      The picture for :func:`decoded`; as a context manager it closes the file.

    Raises:
      ValueError: naming the file that is missing, not a picture or has a damaged header.

    Example:
      >>> from xrcam_jax.pictures.decode import opened
      >>> opened("missing.png")
      Traceback (most recent call last):
      ...
      ValueError: missing.png: no such file
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file")
    try:
        return Image.open(path, formats=PICTURE_FORMATS)
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path}: neither a picture ({', '.join(PICTURE_FORMATS)}) nor a video") from None
    except Exception as error:
        raise _damaged(path, error) from error


def decoded(path: PathLike, file: Image.Image) -> RGB:
    """Decodes a picture upright in RGB.

    Args:
      path: of the file, for messages.
      file: the picture, as :func:`opened` returns it.

    Returns:
      The picture.

    Raises:
      ValueError: naming the file that is damaged or whose pixels have no known range.

    Example:
      >>> from PIL import Image
      >>> from xrcam_jax.pictures.decode import decoded
      >>> decoded("grey.png", Image.new("L", (1, 1), 9)).tolist()
      [[[9, 9, 9]]]
    """
    try:
        image = ImageOps.exif_transpose(file)
    except Exception as error:
        raise _damaged(path, error) from error
    if image.mode in ("I", "F"):
        raise ValueError(f"{path}: 32-bit pixels have no known range, save it with 8 or 16 bits")
    return _rgb(image)


def _damaged(path: PathLike, error: Exception) -> ValueError:
    """Names the file, whatever Pillow's decoders raised: that is anything from SyntaxError to struct.error."""
    return ValueError(f"{path}: damaged or truncated picture ({error})")


def _rgb(image: Image.Image) -> RGB:
    if image.mode.startswith("I;16"):
        grey = np.rint(np.asarray(image) / 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
