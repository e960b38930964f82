"""What a file is, by the bytes that it begins with."""

import re
import struct
import zlib
from pathlib import Path

from xrcam_jax.pictures.pages import Refusal
from xrcam_jax.runtime.reading import check_file

#: What is read, as messages name it.
FORMATS = ("BMP", "DICOM", "GIF", "JPEG", "NIfTI", "PNG", "PPM", "TIFF", "WEBP")

# DICOM leaves its first 128 bytes free, in which some programs write the beginning of a TIFF.
_READ = {
    "DICOM": rb".{128}DICM",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "TIFF": rb"II[*+]\x00|MM\x00[*+]",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{12}[\x0c(48@l|]\x00\x00\x00",
    "WEBP": rb"RIFF....WEBP",
    "PNM": rb"\s*P[1-6][ \t\r\n#]",
    "NIfTI": rb".{344}n\+1\x00|.{4}n\+2\x00",
}
# Known by name, so that the message can say what the file is.
_OTHERS = {
    "a HEIC picture": rb"....ftyp(?:hei[cfmsx]|hev[cx]|mif1|msf1)",
    "an AVIF picture": rb"....ftypavi[fs]",
    "a JPEG XL picture": rb"\xff\x0a|\x00\x00\x00\x0cJXL ",
    "a JPEG 2000 picture": rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51",
    "a picture in PAM or PFM": rb"P7\n|P[Ff]\s",
    "an OpenEXR picture": rb"\x76\x2f\x31\x01",
    "a Photoshop file": rb"8BPS",
    "an icon": rb"\x00\x00[\x01\x02]\x00[\x01-\xff]",
    "a picture in FITS": rb"SIMPLE  =",
    "a picture in NRRD": rb"NRRD0",
    "a picture in MetaImage": rb"(?:ObjectType|NDims) *=",
    "a NIfTI header whose pixels are in another file": rb".{344}ni1\x00|.{4}ni2\x00",
    "a Zeiss CZI file": rb"ZISRAWFILE",
    "a Leica LIF file": rb"\x70\x00\x00\x00",
    "a Nikon ND2 file": rb"\xda\xce\xbe\x0a",
    "an HDF5 file": rb"\x89HDF\r\n\x1a\n",
    "a NumPy file": rb"\x93NUMPY",
    "a PDF": rb"%PDF-",
    "PostScript": rb"%!PS",
    "an SVG drawing": rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg[^>]*>\s*)?<svg",
    "a web page": rb"(?i:\s*<(?:!DOCTYPE html|html))",
    "a pointer to a file in Git LFS, not the file": rb"version https://git-lfs",
    "an archive": rb"PK\x03\x04|7z\xbc\xaf|Rar!|\x1f\x8b",
}
_VIDEO = rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |\x00\x00\x01\xba|OggS|FLV|\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_LONGEST = 512
# A NIfTI's header up to its signature; no scan is so short that its checksum would be looked at for that.
_SHORTEST_SCAN = 348


def format_of(path: Path) -> str:
    """Tells the format of a file.

    Args:
      path: of the file.

    Returns:
      ``"BMP"``, ``"DICOM"``, ``"GIF"``, ``"JPEG"``, ``"NIfTI"``, ``"PNG"``, ``"PNM"``, ``"TIFF"`` or ``"WEBP"``. A
      compressed NIfTI is NIfTI.

    Raises:
      Refusal: the file is something else, which is named if it is known.
      OSError: the file cannot be read.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.signatures import format_of
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     _ = Path(folder, "a").write_bytes(b"GIF89a")
      ...     format_of(Path(folder, "a"))
      'GIF'
    """
    with path.open("rb") as file:
        begin = file.read(_LONGEST)
    if begin.startswith(b"\x1f\x8b") and _first(_READ, _decompressed(path)) == "NIfTI":
        return "NIfTI"
    known = _first(_READ, begin)
    if known:
        return known
    other = _first(_OTHERS, begin)
    if other:
        raise Refusal(f"{other}, which is not read; save it as PNG, TIFF or JPEG")
    if not begin:
        raise Refusal("an empty file")
    if re.match(_VIDEO, begin, re.DOTALL):
        raise Refusal("a video, which is only read under a name that ends as one's does (.mp4, .mkv, .avi, .mpg, ...)")
    raise Refusal(f"neither a picture ({', '.join(FORMATS)}) nor a video")


def is_dicom(path: Path) -> bool:
    """Tells whether a file is a picture in DICOM, whatever its name.

    Args:
      path: of the file.

    Returns:
      Whether it begins as DICOM does; a disc's directory, ``DICOMDIR``, does not count.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.signatures import is_dicom
      >>> is_dicom(Path("missing"))
      False
    """
    try:
        check_file(path)
        with path.open("rb") as file:
            return path.name.upper() != "DICOMDIR" and file.read(_LONGEST)[128:132] == b"DICM"
    except (OSError, ValueError):
        return False


def is_still_png(path: Path) -> bool:
    """Tells quickly whether a file is a PNG without animation, as most frames of recordings are.

    Args:
      path: of the file.

    Returns:
      Whether its first bytes say so; False where they do not tell.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.signatures import is_still_png
      >>> is_still_png(Path("missing.png"))
      False
    """
    try:
        check_file(path)
        with path.open("rb", buffering=0) as file:
            begin = file.read(_LONGEST)
    except (OSError, ValueError):
        return False
    # What says that there is an animation stands before the pixels.
    before, pixels, _ = begin.partition(b"IDAT")
    return begin.startswith(b"\x89PNG\r\n\x1a\n") and bool(pixels) and b"acTL" not in before


def size_of_jpeg(encoded: bytes) -> tuple[int, int] | None:
    """Reads the size that a JPEG or JPEG-LS picture states of itself, which may be another than that of its container.

    Args:
      encoded: the picture.

    Returns:
      Width and height in pixels; None where no such header is found.

    Example:
      >>> from xrcam_jax.pictures.signatures import size_of_jpeg
      >>> size_of_jpeg(bytes.fromhex("ffd8 ffe00004beef ffc0000b08 0102 0304 01011100"))
      (772, 258)
    """
    place = 2
    while place + 9 <= len(encoded) and encoded[place] == 0xFF:
        marker = encoded[place + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack(">HH", encoded[place + 5 : place + 9])
            return width, height
        # A marker may be filled up with bytes of ones.
        place += 1 if marker == 0xFF else 2 + int.from_bytes(encoded[place + 2 : place + 4])
    return None


def _first(signatures: dict[str, bytes], begin: bytes) -> str | None:
    matching = (name for name, signature in signatures.items() if re.match(signature, begin, re.DOTALL))
    return next(matching, None)


def _decompressed(path: Path) -> bytes:
    """Returns the first bytes of what is compressed, or none where these are damaged, whatever comes later."""
    try:
        with path.open("rb") as file:
            return zlib.decompressobj(zlib.MAX_WBITS + 16).decompress(file.read(8 * _LONGEST), _SHORTEST_SCAN)
    except (OSError, zlib.error):
        return b""
