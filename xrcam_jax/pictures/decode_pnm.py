"""Portable bitmaps, greymaps and pixmaps (PBM, PGM, PPM: P1 to P6), with any range that their header states."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import UInt

from xrcam_jax.pictures.pages import Page, Pages, Refusal, check_size, grey_to_rgb, scaled

# A header is short, but for comments.
_LONGEST_HEADER = 4096
_SPACE = rb"(?:[ \t\r\n\v\f]|#[^\r\n]*[\r\n])+"


class _Header(NamedTuple):
    """What precedes the samples: 1 to 6, as in P1 to P6, the size, the largest sample, and where the samples begin."""

    kind: int
    width: int
    height: int
    highest: int
    start: int

    @property
    def channels(self) -> int:
        return 3 if self.kind in (3, 6) else 1

    @property
    def length(self) -> int:
        """The length of the samples in bytes, of the binary kinds."""
        if self.kind == 4:
            return self.height * -(-self.width // 8)
        return self.height * self.width * self.channels * (2 if self.highest > 255 else 1)


@contextmanager
def opened(path: Path) -> Iterator[Pages]:
    """Opens a file of one or, if binary, several pictures, and reads no more than the headers.

    Args:
      path: of the file, which begins with P1 to P6.

    Returns:
      Its pages, as a context manager that closes the file.

    Raises:
      Refusal: a picture is too large.
      ValueError: a header is damaged.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from xrcam_jax.pictures.decode_pnm import opened
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     _ = Path(folder, "a.pgm").write_text("P2 3 1 1023  0 512 1023")
      ...     with opened(Path(folder, "a.pgm")) as pages:
      ...         pages.read(0).pixels[..., 0].tolist()
      [[0, 128, 255]]
    """
    with path.open("rb") as file:
        headers = _headers(file)

        def read(page: int) -> Page:
            header = headers[page]
            eight = scaled(_samples(file, header), 0, header.highest)
            # In bitmaps 1 is black.
            eight = 255 - eight if header.kind in (1, 4) else eight
            shaped = eight.reshape(header.height, header.width, header.channels)
            rgb = shaped if header.channels == 3 else grey_to_rgb(shaped[..., 0])
            return Page(rgb, header.highest.bit_length())

        yield Pages(len(headers), read)


def _headers(file: BinaryIO) -> list[_Header]:
    size = file.seek(0, 2)
    headers = [_header(file, 0)]
    while headers[-1].kind > 3 and (end := headers[-1].start + headers[-1].length) < size:
        file.seek(end)
        # Some programs end a file with a line break; what else follows a picture is another one.
        if not file.read(_LONGEST_HEADER).strip():
            break
        headers.append(_header(file, end))
    return headers


def _header(file: BinaryIO, start: int) -> _Header:
    file.seek(start)
    text = file.read(_LONGEST_HEADER)
    bitmap = re.match(rb"\s*P[14]", text)
    number = _SPACE + rb"(\d{1,9})"
    match = re.match(rb"\s*P([1-6])" + number * (2 if bitmap else 3) + rb"[ \t\r\n\v\f]", text)
    if match is None:
        raise ValueError("no header of a picture")
    kind, width, height, *highest = map(int, match.groups())
    check_size(width, height)
    if highest and not 0 < highest[0] < 65536:
        raise Refusal(f"a largest sample of {highest[0]}; PGM and PPM have 1 to 65535")
    return _Header(kind, width, height, highest[0] if highest else 1, start + match.end())


def _samples(file: BinaryIO, header: _Header) -> UInt[np.ndarray, " n"]:
    expected = header.height * header.width * header.channels
    file.seek(header.start)
    if header.kind > 3:
        content = file.read(header.length)
        if len(content) < header.length:
            raise ValueError(f"ends after {len(content)} of {header.length} bytes")
        if header.kind == 4:
            rows = np.frombuffer(content, np.uint8).reshape(header.height, -1)
            return np.unpackbits(rows, axis=1)[:, : header.width].ravel()
        samples = np.frombuffer(content, ">u2" if header.highest > 255 else np.uint8)
        return samples.astype(np.uint16) if header.highest > 255 else samples
    text = re.sub(rb"#[^\r\n]*", b"", file.read())
    # The digits of a bitmap need no space between them.
    words = re.findall(rb"[01]", text) if header.kind == 1 else text.split()
    if len(words) < expected:
        raise ValueError(f"ends after {len(words)} of {expected} samples")
    return np.array(words[:expected]).astype(np.int64).clip(0, 65535).astype(np.uint16)
