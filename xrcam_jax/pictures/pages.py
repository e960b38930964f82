"""The pictures of one file, each decoded when it is asked for, and what the file says of it.

This is what all readers of pictures have in common: they give :class:`Pages`, raise :class:`Refusal`, and bring samples
of any range and any orientation to upright 8-bit arrays.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, Shaped, UInt8

PathLike = str | os.PathLike[str]
# Pictures of any size: a name in place of "_" would ask for the same size of all that one function handles.
RGB = UInt8[np.ndarray, "_ _ 3"]
Grey = UInt8[np.ndarray, "_ _"]

#: A picture of more pixels is refused before it is decoded. One of so many takes 0.8 GB in 16-bit colour and as much
#: again while it is scaled, and 0.4 GB afterwards; an array of all pixels of a whole slide would not fit at all.
MOST_PIXELS = 2**27


# Samples at a time: few enough to stay in a processor's cache.
_BLOCK = 2**18


class Refusal(ValueError):
    """A file is sound, but says something of itself that is not honoured; the message names it."""


@dataclass(frozen=True)
class Facts:
    """What a file says of one of its pictures.

    Attributes:
      depth: how many bits of each sample count, as stored; None for a frame of a video.
      pages: how many pictures the file holds; None for a video.
      window: centre and width of the intensities that are shown, such as "40/400"; empty where the file states none.
    """

    depth: int | None = None
    pages: int | None = None
    window: str = ""


class Page(NamedTuple):
    """One picture of a file.

    Attributes:
      pixels: upright, in RGB.
      depth: how many bits of each sample count, as stored; None for a frame of a video.
      window: as in :class:`Facts`.
    """

    pixels: RGB
    depth: int | None = None
    window: str = ""


@dataclass(frozen=True)
class Pages:
    """All pictures of one open file.

    Attributes:
      count: how many there are.
      read: decodes the page of this number, from 0. It is quick when pages are asked for in order.
    """

    count: int
    read: Callable[[int], Page]


def check_size(width: int, height: int) -> None:
    """Refuses pictures that are too large for memory, by the size that their header states.

    Args:
      width: in pixels.
      height: in pixels.

    Raises:
      Refusal: there are more than :data:`MOST_PIXELS` pixels, or none.

    Example:
      >>> from xrcam_jax.pictures.pages import check_size
      >>> check_size(20_000, 10_000)
      Traceback (most recent call last):
      xrcam_jax.pictures.pages.Refusal: 20000x10000 pixels are too many for memory; at most 134217728 are read, re...
    """
    if width < 1 or height < 1:
        raise Refusal(f"{width}x{height} pixels, an empty picture")
    if width * height > MOST_PIXELS:
        raise Refusal(
            f"{width}x{height} pixels are too many for memory; at most {MOST_PIXELS} are read, reduce the picture"
        )


def check_count(stated: int, room: int) -> None:
    """Refuses files that state far more pictures than they have room for; each would be told as damaged.

    Args:
      stated: how many pictures the header states.
      room: how many the file can hold at most.

    Raises:
      Refusal: there are none, or more than twice as many as there is room for.

    Example:
      >>> from xrcam_jax.pictures.pages import check_count
      >>> check_count(1000, 3)
      Traceback (most recent call last):
      xrcam_jax.pictures.pages.Refusal: states 1000 pictures, and has room for 3
    """
    if stated < 1 or stated > 2 * room + 1:
        raise Refusal(f"states {stated} pictures, and has room for {room}")


def scaled(samples: Integer[np.ndarray, "..."], lowest: int, highest: int) -> UInt8[np.ndarray, "..."]:
    """Scales integers of at most 16 bits from their full range to 8 bits, rounding to the nearest.

    Args:
      samples: the integers.
      lowest: what becomes 0; at most 0.
      highest: what becomes 255.

    Returns:
      ``(samples - lowest) / (highest - lowest) * 255``, rounded.

    Raises:
      Refusal: a sample is not in the range.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.pages import scaled
      >>> scaled(np.array([0, 2048, 4095], np.uint16), 0, 4095).tolist()
      [0, 128, 255]
    """
    if (lowest, highest) == (0, 255) and samples.dtype == np.uint8:
        return samples
    bounds = np.iinfo(samples.dtype)
    if (bounds.min < lowest or bounds.max > highest) and not (samples.min() >= lowest and samples.max() <= highest):
        raise Refusal(f"has intensities from {samples.min()} to {samples.max()}, but states {lowest} to {highest}")
    table = _table(lowest, highest)
    return in_blocks(lambda block: table[block], samples)


def in_blocks(
    function: Callable[[np.ndarray], UInt8[np.ndarray, "..."]], samples: Shaped[np.ndarray, "..."]
) -> UInt8[np.ndarray, "..."]:
    """Computes a picture a few rows at a time, as indices and floats take up to eight times its memory.

    Args:
      function: from rows of samples to as many rows of intensities.
      samples: of a picture, of at least one row.

    Returns:
      The intensities of all rows.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.pages import in_blocks
      >>> in_blocks(lambda rows: (rows * 2.5).astype(np.uint8), np.array([[2], [4]])).tolist()
      [[5], [10]]
    """
    rows = max(1, _BLOCK // max(1, samples[0].size))
    if len(samples) <= rows:
        return function(samples)
    first = function(samples[:rows])
    made = np.empty((len(samples), *first.shape[1:]), np.uint8)
    made[:rows] = first
    for start in range(rows, len(samples), rows):
        made[start : start + rows] = function(samples[start : start + rows])
    return made


@lru_cache(maxsize=8)
def _table(lowest: int, highest: int) -> UInt8[np.ndarray, " n"]:
    """Returns what becomes of each integer; negative ones count from the table's end, as indices do."""
    table = np.rint(np.arange(highest - lowest + 1) * 255 / (highest - lowest)).astype(np.uint8)
    return np.roll(table, lowest)


def grey_to_rgb(grey: Grey) -> RGB:
    """Repeats grey intensities as red, green and blue.

    Args:
      grey: the intensities.

    Returns:
      The picture in RGB.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.pages import grey_to_rgb
      >>> grey_to_rgb(np.array([[7]], np.uint8)).tolist()
      [[[7, 7, 7]]]
    """
    rgb = np.empty((*grey.shape, 3), np.uint8)
    for channel in range(3):
        rgb[..., channel] = grey
    return rgb


def upright(pixels: Shaped[np.ndarray, "_ _ *channels"], orientation: int) -> Shaped[np.ndarray, "_ _ *channels"]:
    """Turns and mirrors a picture as TIFF and EXIF number the orientations of cameras and scanners.

    Args:
      pixels: as they are stored.
      orientation: 1 to 8; 0 counts as 1, since many cameras write it for "unknown".

    Returns:
      The picture as it is to be seen.

    Raises:
      Refusal: the orientation is none of these.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.pages import upright
      >>> upright(np.array([[1, 2, 3]]), 6).tolist()
      [[1], [2], [3]]
    """
    if orientation in (0, 1):
        return pixels
    if orientation not in range(2, 9):
        raise Refusal(f"orientation {orientation} is none of 1 to 8")
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    # The stored first row is at the bottom, or the stored first column at the right.
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)
