"""TIFF and BigTIFF, OME-TIFF and stacks of ImageJ, by tifffile and imagecodecs: every page that is a picture."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import tifffile
from imagecodecs import tiff_decode
from jaxtyping import Integer

from xrcam_jax.pictures.pages import Page, Pages, Refusal, check_count, check_size, upright
from xrcam_jax.pictures.signatures import size_of_jpeg
from xrcam_jax.pictures.tiff_colour import MASK, PALETTE, YCBCR, Meaning, check_meaning, to_rgb

# What tifffile tells of oddities is for programmers; what cannot be read raises.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_WHOLE_SLIDES = ("svs", "ndpi", "scn", "bif", "philips")
_NEAR = 500
_LZW, _JPEG = 5, (6, 7, 34892, 33007)
_UNSIGNED, _SIGNED, _FLOAT, _UNTYPED = 1, 2, 3, 4
# NewSubfileType: a reduced copy of another page, or its mask.
_REDUCED_OR_MASK = 0b101


@contextmanager
def opened(path: Path) -> Iterator[Pages]:
    """Opens a TIFF and reads its directories.

    Args:
      path: of the file.

    Returns:
      Its pages, as a context manager that closes the file. Reduced copies and masks are none of them.

    Raises:
      Refusal: the file is of a kind that is not read, or holds no picture.
      Exception: the file is damaged.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np, tifffile
      >>> from xrcam_jax.pictures.decode_tiff import opened
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     tifffile.imwrite(f"{folder}/a.tif", np.full((2, 4, 4), 4095, np.uint16), photometric="minisblack")
      ...     with opened(Path(folder, "a.tif")) as pages:
      ...         pages.count, pages.read(1).pixels[0, 0].tolist(), pages.read(1).depth
      (2, [16, 16, 16], 16)
    """
    with tifffile.TiffFile(path) as file:
        for kind in _WHOLE_SLIDES:
            if getattr(file, f"is_{kind}"):
                raise Refusal(f"a whole slide ({kind.upper()}); export the region that is to be explained as a picture")
        if file.is_stk and len(file.series[0].shape) > 2:
            raise Refusal("a stack of MetaMorph (STK); save it as a stack of ImageJ or as OME-TIFF")
        significant = _significant_bits(file)
        hidden = _behind_one_directory(file)
        if hidden > 1:
            check_count(hidden, file.filehandle.size // max(1, file.pages[0].nbytes))
            yield Pages(hidden, lambda number: _page(file.pages[0], significant, number))
            return
        places = [index for index in range(len(file.pages)) if _is_picture(file.pages[index])]
        if not places:
            raise Refusal("holds no pictures, but reduced copies or masks of such")
        yield Pages(len(places), lambda number: _page(file.pages[places[number]], significant))


def _is_picture(page: tifffile.TiffPage) -> bool:
    return not page.subfiletype & _REDUCED_OR_MASK and _photometric(page) != MASK


def _behind_one_directory(file: tifffile.TiffFile) -> int:
    """Returns how many pictures lie one behind the other although only the first has a directory, or 1."""
    if len(file.pages) != 1:
        return 1
    if file.is_imagej:
        return int((file.imagej_metadata or {}).get("images", 1))
    (shaped, *_) = file.shaped_metadata or [{}]
    return prod(shaped["shape"]) // prod(file.pages[0].shape) if shaped.get("truncated") else 1


def _significant_bits(file: tifffile.TiffFile) -> int | None:
    """Returns how many bits of each sample count, which OME says, or None."""
    found = set(re.findall(r'SignificantBits="(\d+)"', file.ome_metadata or "" if file.is_ome else ""))
    if len(found) > 1:
        raise Refusal(f"OME states several numbers of significant bits ({', '.join(sorted(found))})")
    return int(found.pop()) if found else None


def _page(page: tifffile.TiffPage, significant: int | None, hidden: int = 0) -> Page:
    check_size(page.imagewidth, page.imagelength)
    if page.is_tiled:
        check_size(page.tilewidth, page.tilelength)
    if page.imagedepth > 1:
        raise Refusal("a volume in one page (ImageDepth); save a page for each of its slices")
    orientation = _value(page, "Orientation", 1)
    bits, meaning = _stated(page, significant)
    check_meaning(meaning, page.samplesperpixel)
    samples = _samples(page, hidden)
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        samples = np.moveaxis(samples, 0, -1)
    samples = samples.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    return Page(upright(to_rgb(samples, meaning), orientation), bits)


def _stated(page: tifffile.TiffPage, significant: int | None) -> tuple[int, Meaning]:
    """Returns the bits per sample, and what the page says that the samples mean."""
    bits = page.bitspersample
    if page.sampleformat not in (_UNSIGNED, _SIGNED, _UNTYPED):
        kind = "floating-point" if page.sampleformat == _FLOAT else "complex"
        raise Refusal(f"{bits}-bit {kind} pixels have no known range, save it with 8 or 16 bits")
    if not isinstance(bits, int):
        raise Refusal(f"samples of {' and '.join(map(str, bits))} bits in one pixel")
    if bits > 16:
        raise Refusal(f"{bits}-bit pixels have no known range, save it with 8 or 16 bits")
    signed = page.sampleformat == _SIGNED
    if signed and bits not in (8, 16):
        raise Refusal(f"signed samples of {bits} bits")
    photometric = _photometric(page)
    coded = page.compression in _JPEG and photometric == YCBCR
    depth = bits if photometric == PALETTE else _depth(page, significant, signed)
    meaning = Meaning(
        # JPEG's decoder has turned its own YCbCr into RGB.
        photometric=2 if coded else photometric,
        lowest=-(2 ** (depth - 1)) if signed else 0,
        highest=2 ** (depth - signed) - 1,
        extra=tuple(map(int, page.extrasamples)),
        colour_map=_value(page, "ColorMap", None),
        luma=_numbers(page, "YCbCrCoefficients", Meaning.luma),
        black_white=_numbers(page, "ReferenceBlackWhite", Meaning.black_white),
    )
    _check_inks(page, photometric, bits)
    return depth, meaning


def _depth(page: tifffile.TiffPage, significant: int | None, signed: bool) -> int:
    """Returns how many bits of each sample count: by default all; fewer where OME or the largest sample says so."""
    bits = page.bitspersample
    if significant is not None and not 0 < significant <= bits:
        raise Refusal(f"states {significant} significant bits of {bits}")
    depth = significant or bits
    lowest = _extreme(page, "MinSampleValue", "SMinSampleValue")
    highest = _extreme(page, "MaxSampleValue", "SMaxSampleValue")
    for stated in range(depth, 7, -1):
        full = (-(2 ** (stated - 1)), 2 ** (stated - 1) - 1) if signed else (0, 2**stated - 1)
        if lowest in (None, full[0]) and highest in (None, full[1]):
            return stated
    if lowest in (None, 0) and highest in (None, 2**depth - 1):
        return depth
    # TIFF 6.0 means by these tags what the pixels happen to have, and writers mean the range of the camera.
    raise Refusal(f"states samples from {lowest} to {highest}, no full range of any number of bits; remove these tags")


def _check_inks(page: tifffile.TiffPage, photometric: int, bits: int) -> None:
    if photometric != 5:
        return
    if _value(page, "InkSet", 1) != 1:
        raise Refusal("inks other than cyan, magenta, yellow and black (InkSet)")
    if set(_numbers(page, "DotRange", (0, 2**bits - 1))) != {0, 2**bits - 1}:
        raise Refusal("inks that do not have the full range (DotRange)")


def _samples(page: tifffile.TiffPage, hidden: int) -> Integer[np.ndarray, "..."]:
    """Decodes the samples of a page, or of the picture that lies so many places behind its own."""
    if hidden:
        if not page.is_contiguous or page.bitspersample not in (8, 16):
            raise Refusal("a stack with one directory whose pixels are compressed or packed")
        dtype = np.dtype(page.parent.byteorder + page.dtype.char)
        start = page.dataoffsets[0] + hidden * page.nbytes
        found = page.parent.filehandle.read_array(dtype, page.size, start)
        return found.reshape(page.shape).astype(page.dtype)
    _check_segments(page)
    if page.compression in _JPEG:
        _check_jpeg(page)
    if page.is_subsampled and page.compression not in _JPEG:
        raise Refusal("YCbCr with fewer samples of colour and not in JPEG (YCbCrSubSampling)")
    plain = page.bitspersample in (8, 16) and _photometric(page) <= PALETTE
    if page.compression == _LZW and plain and page.index < _NEAR:
        # libtiff takes half the time for these, which are common. It would turn other colours into RGB by itself, and
        # goes through all pages before the one that is asked for.
        with mmap(page.parent.filehandle.fileno(), 0, access=ACCESS_READ) as content:
            return tiff_decode(content, index=page.index)
    if 8 < page.bitspersample < 16 and _in_whole_words(page):
        page.bitspersample = 16
    return page.asarray(maxworkers=1).astype(np.uint8 if page.bitspersample == 1 else page.dtype, copy=False)


def _check_segments(page: tifffile.TiffPage) -> None:
    """Refuses pages of which a strip or tile is missing, as it would be drawn black."""
    offsets, lengths = page.dataoffsets, page.databytecounts
    if len(offsets) != prod(page.chunked) or len(lengths) != len(offsets) or not all(offsets) or not all(lengths):
        raise ValueError("a strip or tile is missing")
    end = page.parent.filehandle.size
    if page.compression != 1 and any(start + length > end for start, length in zip(offsets, lengths, strict=True)):
        raise ValueError("a strip or tile is cut off")


def _check_jpeg(page: tifffile.TiffPage) -> None:
    """Refuses pages of which a strip or tile is larger than the page says, up to 4 gigapixels, or cut off.

    The decoder would fill up with grey what is missing.
    """
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        page.parent.filehandle.seek(start)
        encoded = page.parent.filehandle.read(length)
        if b"\xff\xd9" not in encoded:
            raise ValueError("a strip or tile is cut off")
        width, height = size_of_jpeg(encoded) or (0, 0)
        if width > columns or height > max(rows, 16):
            raise ValueError(f"a strip or tile of {width}x{height} pixels, where {columns}x{rows} is stated")


def _in_whole_words(page: tifffile.TiffPage) -> bool:
    """Tells by the first strip's length whether samples of 9 to 15 bits have two bytes each instead of being packed."""
    if page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS:
        return False
    rows, columns = page.chunks[-3:-1] if page.planarconfig == 1 and page.samplesperpixel > 1 else page.chunks[-2:]
    samples = columns * (page.samplesperpixel if page.planarconfig == 1 else 1)
    rows = min(rows, page.imagelength) if not page.is_tiled else rows
    length = page.databytecounts[0]
    if page.compression != 1:
        page.parent.filehandle.seek(page.dataoffsets[0])
        length = len(tifffile.TIFF.DECOMPRESSORS[page.compression](page.parent.filehandle.read(length)))
    # Of a few samples in a row both may take as many bytes; packed is what the standard says.
    packed = rows * -(-samples * page.bitspersample // 8)
    return length >= 2 * rows * samples > packed


def _photometric(page: tifffile.TiffPage) -> int:
    stated = page.tags.valueof(262)
    if not isinstance(stated, int):
        raise Refusal("does not state its photometric interpretation")
    return int(stated)


def _value(page: tifffile.TiffPage, name: str, default):
    return page.tags[name].value if name in page.tags else default


def _numbers(page: tifffile.TiffPage, name: str, default) -> tuple[float, ...]:
    """Returns the values of a tag, fractions among them, each of which is two numbers."""
    if name not in page.tags:
        return tuple(default)
    value = np.ravel(page.tags[name].value).astype(float)
    if page.tags[name].dtype in (5, 10):
        value = value[::2] / value[1::2]
    return tuple(value.tolist())


def _extreme(page: tifffile.TiffPage, *names: str) -> float | None:
    found = {number for name in names for number in _numbers(page, name, ())}
    if len(found) > 1:
        raise Refusal(f"states several values as {names[0]}")
    return found.pop() if found else None
