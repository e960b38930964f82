"""How DICOM's grey is shown: stored values through the modality transformation and the window to 8 bits.

The equations are those of DICOM PS3.3: C.11.1 (modality LUT), C.11.2 (VOI LUT) and C.7.6.3 (palettes, padding).
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer, Num, UInt
from pydicom import Dataset

from xrcam_jax.pictures.pages import Grey, Refusal, in_blocks

#: The attributes that are looked at here.
DESCRIBING = (
    "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "WindowCenter", "WindowWidth",
    "VOILUTFunction", "PresentationLUTShape", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip


def shown(stored: Integer[np.ndarray, "_ _"], header: Dataset, frame: int) -> tuple[Grey, str]:
    """Applies what the header says of how a frame is shown.

    The first window counts, or the first VOI LUT where there is one. Where a file states neither, the full range of
    what may be stored becomes 0 to 255. Padding is black.

    Args:
      stored: values, with their sign.
      header: of the file.
      frame: from 0.

    Returns:
      The intensities, and the window as text: "40/400", "LUT" or nothing.

    Raises:
      Refusal: the header contradicts itself, or states what is not known.

    Example:
      >>> import numpy as np
      >>> from pydicom import Dataset
      >>> from xrcam_jax.pictures.dicom_grey import shown
      >>> header = Dataset()
      >>> header.update({"BitsStored": 12, "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME2"})
      >>> header.update({"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400})
      >>> grey, window = shown(np.array([[864, 1064, 1264]]), header, 0)
      >>> grey.tolist(), window
      ([[0, 128, 255]], '40/400')
    """
    bits, signed = int(header.BitsStored), bool(header.PixelRepresentation)
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    inverted = _inverted(header)
    # Of what may be stored; a picture has more pixels than that, so that its values are looked up.
    values = np.arange(lowest, highest + 1) if bits <= 16 else stored
    rescaled, bounds = _modality(values, header, frame, lowest, highest)
    share, window = _window(rescaled, header, frame, bounds)
    grey = np.rint(255 * np.clip(1 - share if inverted else share, 0, 1)).astype(np.uint8)
    grey[_padding(values, header, highest)] = 0
    return (in_blocks(lambda rows: grey[rows - lowest], stored) if bits <= 16 else grey), window


def lookup(
    values: Num[np.ndarray, "..."], descriptor: Sequence[int], data: bytes | Sequence[int], signed: bool, little: bool
) -> tuple[UInt[np.ndarray, "..."], int]:
    """Looks values up in a table of DICOM.

    Args:
      values: of any shape; those before the table's first have its first entry, those after its last have its last.
      descriptor: how many entries there are (0 for 65536), the value of the first, and how many bits each has.
      data: the entries, as numbers or as bytes.
      signed: whether the value of the first entry is signed.
      little: whether bytes are in little-endian order.

    Returns:
      The entries, and how many bits they have.

    Raises:
      Refusal: the table is too short, or of a kind that is not known.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.dicom_grey import lookup
      >>> lookup(np.array([-3, 11, 99]), [2, 10, 8], b"\\x05\\x07", True, True)
      (array([5, 7, 7], dtype=uint8), 8)
    """
    entries, first, bits = (int(number) for number in descriptor)
    entries = entries or 2**16
    first = first - 2**16 if signed and first >= 2**15 else first
    if isinstance(data, bytes):
        wide = len(data) >= 2 * entries
        table = np.frombuffer(data, (f"{'<' if little else '>'}u2") if wide else np.uint8)
    else:
        table = np.atleast_1d(np.asarray(data, np.uint16))
    if len(table) < entries or not 0 < bits <= 16 or table[:entries].max() >= 2**bits:
        raise Refusal(f"a lookup table of {len(table)} entries that states {entries} of {bits} bits")
    table = table[:entries].astype(np.uint8 if bits <= 8 else np.uint16)
    return table[np.clip(values - first, 0, entries - 1).astype(np.int64)], bits


def code(value: str) -> str:
    """Returns a value of the header for a message, if it is a code, and not what damage has put there.

    Args:
      value: of a type that has codes of at most 16 letters.

    Returns:
      The value, or that it is none.

    Example:
      >>> from xrcam_jax.pictures.dicom_grey import code
      >>> code("SIGMOID"), code("Doe^Jane")
      ('SIGMOID', '(no code)')
    """
    return value if re.fullmatch(r"[A-Z0-9_ ]{1,16}", str(value)) else "(no code)"


def _inverted(header: Dataset) -> bool:
    shape, photometric = header.get("PresentationLUTShape") or "", header.PhotometricInterpretation
    if shape not in ("", "IDENTITY", "INVERSE") or (shape == "INVERSE" and photometric == "MONOCHROME2"):
        raise Refusal(f"presentation LUT shape {code(shape)} of {code(photometric)}")
    return photometric == "MONOCHROME1"


def _group(header: Dataset, frame: int, name: str) -> Dataset:
    """Returns what holds a frame's values: its own functional group, the one that all share, or the header."""
    own, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    for group in (*(own[frame : frame + 1] if own else ()), *(shared or ())):
        if group.get(name):
            return group[name][0]
    return header


def _modality(
    values: Integer[np.ndarray, "..."], header: Dataset, frame: int, lowest: int, highest: int
) -> tuple[Num[np.ndarray, "..."], tuple[float, float]]:
    """Returns rescaled values and the range that they may have."""
    group = _group(header, frame, "PixelValueTransformationSequence")
    if group.get("ModalityLUTSequence"):
        item = group.ModalityLUTSequence[0]
        found, bits = lookup(values, item.LUTDescriptor, item.LUTData, lowest < 0, _little(header))
        return found.astype(np.int64), (0, 2**bits - 1)
    slope, intercept = group.get("RescaleSlope"), group.get("RescaleIntercept")
    if slope is None and intercept is None:
        return values, (lowest, highest)
    slope, intercept = float(1 if slope is None else slope), float(intercept or 0)
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope):
        raise Refusal(f"rescale slope {slope} and intercept {intercept}")
    low, high = sorted((slope * lowest + intercept, slope * highest + intercept))
    return slope * values + intercept, (low, high)


def _window(
    values: Num[np.ndarray, "..."], header: Dataset, frame: int, bounds: tuple[float, float]
) -> tuple[Float[np.ndarray, "..."], str]:
    """Returns the share of white, in [0, 1], and the window as text."""
    group = _group(header, frame, "FrameVOILUTSequence")
    if group.get("VOILUTSequence"):
        item = group.VOILUTSequence[0]
        found, bits = lookup(values, item.LUTDescriptor, item.LUTData, bounds[0] < 0, _little(header))
        return found / (2**bits - 1), "LUT"
    center, width = _first(group, "WindowCenter"), _first(group, "WindowWidth")
    if center is None and width is None:
        if header.BitsStored > 16:
            raise Refusal(f"{header.BitsStored}-bit pixels have no known range without a window")
        return (values - bounds[0]) / (bounds[1] - bounds[0]), ""
    if center is None or width is None or not (np.isfinite(center) and np.isfinite(width)):
        raise Refusal(f"window center {center} and width {width}")
    return _equation(values, center, width, group.get("VOILUTFunction") or "LINEAR"), f"{center:g}/{width:g}"


def _equation(values: Num[np.ndarray, "..."], center: float, width: float, function: str) -> Float[np.ndarray, "..."]:
    if width < 1 if function == "LINEAR" else width <= 0:
        raise Refusal(f"window width {width:g} of {code(function)}")
    match function:
        case "LINEAR":
            if width == 1:
                return (values > center - 0.5).astype(np.float64)
            return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
        case "LINEAR_EXACT":
            return np.clip((values - center) / width + 0.5, 0, 1)
        case "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    raise Refusal(f"VOI LUT function {code(function)}")


def _padding(values: Integer[np.ndarray, "..."], header: Dataset, highest: int) -> np.ndarray:
    padding = header.get("PixelPaddingValue")
    if padding is None:
        return np.zeros(values.shape, bool)
    limit = header.get("PixelPaddingRangeLimit", padding)
    # Where the header does not state types, what is signed is read as unsigned.
    ends = [end - 2**16 if header.PixelRepresentation and end > highest else end for end in (padding, limit)]
    return (values >= min(ends)) & (values <= max(ends))


def _first(group: Dataset, name: str) -> float | None:
    value = group.get(name)
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if len(value) else None
    return None if value is None or value == "" else float(value)


def _little(header: Dataset) -> bool:
    return header.original_encoding[1] is not False
