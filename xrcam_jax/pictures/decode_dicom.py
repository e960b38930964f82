"""DICOM by pydicom (extra ``dicom``): every frame as the file says that it is to be shown.

Only what describes pixels is read from the header. Names, dates and whatever else is of a patient are never in memory,
so that they can reach neither an output nor a message.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from jaxtyping import Integer, Shaped, UInt
from pydicom import Dataset, dcmread, uid
from pydicom.config import disable_value_validation
from pydicom.encaps import get_frame
from pydicom.pixels import as_pixel_options, convert_color_space, get_decoder

from xrcam_jax.pictures.dicom_grey import DESCRIBING as DESCRIBING_GREY
from xrcam_jax.pictures.dicom_grey import code, lookup, shown
from xrcam_jax.pictures.pages import Page, Pages, Refusal, check_count, check_size, scaled
from xrcam_jax.pictures.signatures import size_of_jpeg

_PALETTE = [
    f"{segmented}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for segmented, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
]
_DESCRIBING = [
    "SOPClassUID", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPresentation",
    "TotalPixelMatrixColumns", "ExtendedOffsetTable", "ExtendedOffsetTableLengths", *_PALETTE, *DESCRIBING_GREY,
]  # fmt: skip
# What an image always has (DICOM PS3.3, C.7.6.3).
_NEEDED = ("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation")
_NO_PICTURES = (uid.SegmentationStorage, uid.RTDoseStorage)
_END_OF_JPEG = b"\xff\xd9"


def _jpegls(encoded: bytes) -> UInt[np.ndarray, "..."]:
    """Decodes JPEG-LS; where its end is missing, the decoder would look for it for many seconds."""
    return imagecodecs.jpegls_decode(encoded + _END_OF_JPEG)


def _jpeg(encoded: bytes) -> UInt[np.ndarray, "..."]:
    """Decodes JPEG of 12 bits or without losses; where its end is missing, the decoder would fill it up with grey."""
    if _END_OF_JPEG not in encoded:
        raise Refusal("damaged, the compressed pixels are cut off")
    return imagecodecs.jpeg_decode(encoded)


# pydicom needs further packages for these, and imagecodecs is there.
_BY_IMAGECODECS = {
    uid.JPEGLSLossless: _jpegls,
    uid.JPEGLSNearLossless: _jpegls,
    uid.JPEGLossless: _jpeg,
    uid.JPEGLosslessSV1: _jpeg,
    uid.JPEGExtended12Bit: _jpeg,
}
_PIXEL_DATA = (0x7FE0, 0x0010)
# Of a deflated file, which is inflated as a whole.
_MOST_BYTES = 2**31


@dataclass(frozen=True)
class _Source:
    """An open file: its header, where its pixels begin in which stream, and how they are encoded.

    ``words`` is the type of the pixels: bytes (``"OB"``) or words, whose order big-endian files turn.
    """

    header: Dataset
    stream: BufferedIOBase
    start: int
    syntax: uid.UID
    words: str = "OW"

    @property
    def frames(self) -> int:
        return int(self.header.get("NumberOfFrames") or 1)

    @property
    def signed(self) -> bool:
        return bool(self.header.PixelRepresentation)


@contextmanager
def opened(path: Path) -> Iterator[Pages]:
    """Opens a DICOM file and reads what its header says of pixels.

    Args:
      path: of the file.

    Returns:
      Its frames, as a context manager that closes the file.

    Raises:
      Refusal: the file has no pictures, or says of them what is not honoured.
      Exception: the file is damaged.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.decode_dicom import opened
      >>> with opened(Path("missing.dcm")) as pages:
      ...     pages.count
      Traceback (most recent call last):
      ...
      FileNotFoundError: [Errno 2] No such file or directory: 'missing.dcm'
    """
    with path.open("rb") as file:
        with _without_quotes():
            source = _source(file)
            check_size(source.header.Columns, source.header.Rows)
            check_count(source.frames, _room(source, path.stat().st_size))

        def read(frame: int) -> Page:
            with _without_quotes():
                return _page(source, frame)

        yield Pages(source.frames, read)


@contextmanager
def _without_quotes() -> Iterator[None]:
    """Keeps what pydicom says from messages, as it may quote whatever stands in the header."""
    try:
        with disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Refusal:
        raise
    except Exception as error:
        raise ValueError(type(error).__name__) from None


def _source(file: BufferedIOBase) -> _Source:
    header = dcmread(file, stop_before_pixels=True, specific_tags=_DESCRIBING)
    syntax = header.file_meta.get("TransferSyntaxUID")
    if not syntax:
        raise Refusal("does not state how it is encoded (DICOM: TransferSyntaxUID)")
    kind = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or uid.UID("")
    # Damage may put anything into the place of the number.
    name = f"DICOM: {kind.name if kind.type == 'SOP Class' else 'of no known kind'}"
    if "Rows" not in header or "Columns" not in header:
        raise Refusal(f"holds no pictures ({name})")
    if kind in _NO_PICTURES:
        raise Refusal(f"holds no pictures, but what was computed of such ({name})")
    if "TotalPixelMatrixColumns" in header:
        raise Refusal(f"a whole slide in tiles ({name}); export the region that is to be explained")
    _check_header(header)
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        _check_inflated(file)
        file.seek(0)
        pixels = dcmread(file, specific_tags=["PixelData"]).get("PixelData")
        if pixels is None:
            raise Refusal(f"holds no pictures ({name})")
        return _Source(header, BytesIO(pixels), 0, syntax)
    order = "<" if syntax.is_little_endian else ">"
    tag = file.read(8)
    if len(tag) < 8 or struct.unpack(f"{order}HH", tag[:4]) != _PIXEL_DATA:
        raise Refusal(f"holds no pixels that are integers ({name})")
    if tag[4:6] not in (b"OB", b"OW", b"UN"):
        return _Source(header, file, file.tell(), syntax)
    # The type of the pixels is stated before their length, which then has four bytes more.
    return _Source(header, file, file.tell() + 4, syntax, tag[4:6].decode())


def _room(source: _Source, size: int) -> int:
    """Returns how many frames a file of this size may hold at most."""
    header = source.header
    if source.syntax == uid.DeflatedExplicitVRLittleEndian:
        size = len(source.stream.getvalue())  # type: ignore[attr-defined]
    bits = header.Rows * header.Columns * header.get("SamplesPerPixel", 1) * header.BitsAllocated
    # Each compressed frame has a header of its own.
    return size // 16 if source.syntax.is_encapsulated else 8 * size // bits


def _check_header(header: Dataset) -> None:
    missing = [name for name in _NEEDED if header.get(name) is None]
    if missing:
        raise Refusal(f"does not state what its pixels are (DICOM: {', '.join(missing)})")
    if header.get("PixelPresentation") in ("COLOR", "MIXED"):
        raise Refusal("grey with a supplemental palette (DICOM: PixelPresentation)")
    if not 0 < header.BitsStored <= header.BitsAllocated <= 32:
        raise Refusal(f"{header.BitsStored} bits stored of {header.BitsAllocated}")


def _check_inflated(file: BufferedIOBase) -> None:
    """Refuses a deflated file that would fill the memory; it is inflated piece by piece to see."""
    file.seek(132 + 8)
    file.seek(struct.unpack("<I", file.read(4))[0], 1)
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while piece := inflater.unconsumed_tail or file.read(2**16):
        total += len(inflater.decompress(piece, 2**20))
        if total > _MOST_BYTES:
            raise Refusal(f"unfolds to more than {_MOST_BYTES} bytes")


def _page(source: _Source, frame: int) -> Page:
    header, photometric = source.header, source.header.PhotometricInterpretation
    depth = int(header.BitsStored)
    if photometric in ("MONOCHROME1", "MONOCHROME2"):
        grey, window = shown(_stored(source, frame), header, frame)
        return Page(np.repeat(grey[..., None], 3, axis=2), depth, window)
    if photometric == "PALETTE COLOR":
        return Page(_of_palette(_stored(source, frame), source), depth)
    if depth > 16:
        raise Refusal(f"colours of {depth} bits")
    samples, found = _decoded(source, frame, raw=False)
    if found != "RGB" or samples.ndim != 3 or samples.shape[2] != 3:
        raise Refusal(f"photometric interpretation {code(photometric)} in {source.syntax.name} is not read")
    return Page(np.ascontiguousarray(scaled(samples, 0, 2**depth - 1)), depth)


def _stored(source: _Source, frame: int) -> Integer[np.ndarray, "_ _"]:
    """Returns stored values: the bits that count, with their sign."""
    header = source.header
    samples, _ = _decoded(source, frame, raw=True)
    if samples.ndim != 2:
        raise Refusal(f"{header.SamplesPerPixel} samples per pixel of {code(header.PhotometricInterpretation)}")
    bits, highest = int(header.BitsStored), int(header.get("HighBit", header.BitsStored - 1))
    shift = highest + 1 - bits
    if (shift and source.syntax.is_encapsulated) or not 0 <= highest < header.BitsAllocated or shift < 0:
        raise Refusal(f"high bit {highest} of {bits} bits stored")
    words = samples.astype(np.int32 if header.BitsAllocated <= 16 else np.int64)
    values = np.right_shift(words, shift) & (2**bits - 1)
    sign = 2 ** (bits - 1)
    return (values ^ sign) - sign if source.signed else values


def _decoded(source: _Source, frame: int, *, raw: bool) -> tuple[Shaped[np.ndarray, "..."], str]:
    """Decodes one frame; returns it and its photometric interpretation then: RGB for colours, unless ``raw``."""
    header, stream = source.header, source.stream
    stream.seek(source.start)
    options: dict[str, Any] = as_pixel_options(header, number_of_frames=source.frames, pixel_keyword="PixelData")
    if source.syntax in _BY_IMAGECODECS and not (source.syntax == uid.JPEGExtended12Bit and header.BitsAllocated == 8):
        offsets = options.get("extended_offsets")
        encoded = get_frame(stream, frame, number_of_frames=source.frames, extended_offsets=offsets)
        if size_of_jpeg(encoded) != (header.Columns, header.Rows):
            raise Refusal(f"damaged, the compressed pixels are not of {header.Columns}x{header.Rows}")
        samples = _BY_IMAGECODECS[source.syntax](encoded)
        found = str(header.PhotometricInterpretation)
        if found == "YBR_FULL" and not raw:
            return convert_color_space(samples, "YBR_FULL", "RGB"), "RGB"
        return samples, found
    try:
        decoder = get_decoder(source.syntax)
    except NotImplementedError:
        raise Refusal(f"compressed as {source.syntax.name}, for which there is no decoder") from None
    if not decoder.is_available:
        raise Refusal(f"{source.syntax.name} needs {' or '.join(decoder.missing_dependencies)}")
    options |= {"pixel_vr": source.words, "transfer_syntax_uid": source.syntax}
    # Bits that do not count are masked by us, who know where the high bit is.
    samples, facts = decoder.as_array(stream, index=frame, raw=raw, correct_unused_bits=not raw, **options)
    return samples, str(facts["photometric_interpretation"])


def _of_palette(stored: Integer[np.ndarray, "_ _"], source: _Source) -> Shaped[np.ndarray, "_ _ 3"]:
    header = source.header
    channels = []
    for colour in ("Red", "Green", "Blue"):
        descriptor = header.get(f"{colour}PaletteColorLookupTableDescriptor")
        data = header.get(f"{colour}PaletteColorLookupTableData")
        if descriptor is None or data is None:
            raise Refusal("a palette that is missing or in segments")
        entries, bits = lookup(stored, descriptor, data, source.signed, source.syntax.is_little_endian)
        channels.append(scaled(entries, 0, 2**bits - 1))
    return np.stack(channels, axis=-1)
