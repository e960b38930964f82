"""What the samples of a TIFF mean: from its PhotometricInterpretation to upright intensities in RGB."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from xrcam_jax.pictures.pages import RGB, Refusal, grey_to_rgb, in_blocks, scaled

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB_COLOUR, PALETTE, MASK, SEPARATED, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 4, 5, 6, 8, 9
#: What is known by name, but not read.
OTHERS = {
    10: "ITULAB",
    32803: "CFA, a camera's raw mosaic",
    32844: "LOGL",
    32845: "LOGLUV",
    34892: "LINEAR_RAW, a camera's raw intensities",
    51177: "DEPTH_MAP",
    52527: "SEMANTIC_MASK",
}
_CHANNELS = {
    WHITE_IS_ZERO: 1,
    BLACK_IS_ZERO: 1,
    RGB_COLOUR: 3,
    PALETTE: 1,
    SEPARATED: 4,
    YCBCR: 3,
    CIELAB: 3,
    ICCLAB: 3,
}
_ASSOCIATED = 1
# From CIE XYZ with the white point D50 to linear sRGB, adapted by Bradford's transformation.
_XYZ_TO_SRGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)
_D50 = np.array([0.96422, 1.0, 0.82521])


@dataclass(frozen=True)
class Meaning:
    """What a page of a TIFF says of its samples.

    Attributes:
      photometric: the number of its PhotometricInterpretation.
      lowest: what its least sample may be.
      highest: what its largest sample may be.
      extra: of each sample beyond the colours, 0 if it is unspecified, 1 for alpha that the colours are multiplied by,
        2 for alpha that they are not.
      colour_map: of a palette, three rows of 16-bit intensities.
      luma: of YCbCr, the shares of red, green and blue in Y.
      black_white: of YCbCr, the codes of black and white in Y, Cb and Cr.
    """

    photometric: int
    lowest: int
    highest: int
    extra: tuple[int, ...] = ()
    colour_map: np.ndarray | None = None
    luma: Sequence[float] = (0.299, 0.587, 0.114)
    black_white: Sequence[float] = (0, 255, 128, 255, 128, 255)


def check_meaning(meaning: Meaning, channels: int) -> None:
    """Refuses by name what is not read.

    Args:
      meaning: of a page.
      channels: samples per pixel.

    Raises:
      Refusal: the photometric interpretation is not read, or there are samples of which nothing is said.

    Example:
      >>> from xrcam_jax.pictures.tiff_colour import Meaning, check_meaning
      >>> check_meaning(Meaning(10, 0, 255), 3)
      Traceback (most recent call last):
      xrcam_jax.pictures.pages.Refusal: photometric interpretation ITULAB is not read; save it as grey or RGB
    """
    expected = _CHANNELS.get(meaning.photometric)
    if expected is None:
        name = OTHERS.get(meaning.photometric, meaning.photometric)
        raise Refusal(f"photometric interpretation {name} is not read; save it as grey or RGB")
    unspecified = channels - expected - sum(entry in (1, 2) for entry in meaning.extra)
    # The fourth sample of RGB is transparency in all but name.
    if channels < expected or unspecified > (meaning.photometric == RGB_COLOUR and not meaning.extra[1:]):
        raise Refusal(
            f"{channels} samples per pixel, of which {expected} have a meaning; save each channel as a picture"
        )


def to_rgb(samples: Integer[np.ndarray, "_ _ channels"], meaning: Meaning) -> RGB:
    """Turns samples into RGB.

    Args:
      samples: as they are stored, of at most 16 bits.
      meaning: of the page; :func:`check_meaning` has passed it.

    Returns:
      The picture. Transparency is ignored, and colours that were multiplied by it are divided again.

    Raises:
      Refusal: a sample is not in the range, or the colour map is not one of TIFF.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.tiff_colour import WHITE_IS_ZERO, Meaning, to_rgb
      >>> to_rgb(np.array([[[0], [1023]]], np.uint16), Meaning(WHITE_IS_ZERO, 0, 1023)).tolist()
      [[[255, 255, 255], [0, 0, 0]]]
    """
    return in_blocks(lambda rows: _to_rgb(rows, meaning), samples)


def _to_rgb(samples: Integer[np.ndarray, "_ _ channels"], meaning: Meaning) -> RGB:
    colours = samples[..., : _CHANNELS[meaning.photometric]]
    lowest, highest = meaning.lowest, meaning.highest
    if meaning.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB_COLOUR) and meaning.extra[:1] == (_ASSOCIATED,):
        colours = _divided(colours, samples[..., colours.shape[2]], lowest, highest)
    match meaning.photometric:
        case 0 | 1:
            eight = scaled(colours[..., 0], lowest, highest)
            return grey_to_rgb(255 - eight if meaning.photometric == WHITE_IS_ZERO else eight)
        case 2:
            return np.ascontiguousarray(scaled(colours, lowest, highest))
        case 3:
            return _of_palette(colours[..., 0], meaning)
        case 5:
            ink = (colours.astype(np.float32) - lowest) / np.float32(highest - lowest)
            return _eight_bits((1 - ink[..., :3]) * (1 - ink[..., 3:]))
        case 6:
            return _of_ycbcr(colours, meaning)
        case _:
            return _of_lab(_lab(colours, meaning.photometric == ICCLAB))


def _divided(colours: np.ndarray, alpha: np.ndarray, lowest: int, highest: int) -> np.ndarray:
    """Divides colours by their transparency; where nothing is left to be seen, they stay as they are."""
    if lowest:
        raise Refusal("signed samples multiplied by transparency")
    opacity = np.where(alpha > 0, alpha, highest).astype(np.float64)[..., None]
    return np.minimum(np.rint(colours * (highest / opacity)), highest).astype(colours.dtype)


def _of_palette(indices: Integer[np.ndarray, "_ _"], meaning: Meaning) -> RGB:
    if meaning.colour_map is None:
        raise Refusal("a palette without a colour map")
    colour_map = np.asarray(meaning.colour_map, np.uint16)
    if 0 < colour_map.max() < 256:
        raise Refusal("a colour map of 8-bit intensities; TIFF's have 16 bits")
    if indices.max() >= colour_map.shape[1]:
        raise Refusal(f"color {indices.max()} of a palette of {colour_map.shape[1]}")
    return np.ascontiguousarray(scaled(colour_map, 0, 65535).T[indices])


def _of_ycbcr(codes: np.ndarray, meaning: Meaning) -> RGB:
    """Takes the equations of TIFF 6.0, section 21."""
    if (meaning.lowest, meaning.highest) != (0, 255):
        raise Refusal("YCbCr that is not of 8 bits")
    black, white = np.reshape(np.asarray(meaning.black_white, np.float32), (3, 2)).T
    y, cb, cr = np.moveaxis((codes - black) * (np.array([255, 127, 127], np.float32) / (white - black)), -1, 0)
    red_share, green_share, blue_share = meaning.luma
    red, blue = cr * (2 - 2 * red_share) + y, cb * (2 - 2 * blue_share) + y
    green = (y - blue_share * blue - red_share * red) / green_share
    return _eight_bits(np.stack([red, green, blue], -1) / 255)


def _lab(codes: np.ndarray, icc: bool) -> Float[np.ndarray, "_ _ 3"]:
    """Returns L* in [0, 100] and a* and b*, as libtiff reads the two ways in which TIFF encodes them."""
    wide = codes.dtype.itemsize == 2
    unit = 256 if wide else 1
    full = (65280 if icc else 65535) if wide else 255
    unsigned = codes.astype(np.uint16 if wide else np.uint8)
    a_and_b = unsigned[..., 1:].astype(np.float64) / unit - 128
    if not icc:
        a_and_b = unsigned[..., 1:].view(np.int16 if wide else np.int8).astype(np.float64) / unit
    lightness = unsigned[..., :1].astype(np.float64) * (100 / full)
    return np.concatenate([lightness, a_and_b], axis=-1)


def _of_lab(lab: Float[np.ndarray, "_ _ 3"]) -> RGB:
    """Takes the equations of CIE 1976 L*a*b*, then those of IEC 61966-2-1."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = _D50 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(xyz @ _XYZ_TO_SRGB.T, 0, 1)
    return _eight_bits(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def _eight_bits(intensities: Float[np.ndarray, "_ _ 3"]) -> RGB:
    return np.rint(255 * np.clip(intensities, 0, 1)).astype(np.uint8)
