"""Checksums of prepared frames, by which it is noticed that a picture is another one than before."""

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from xrcam_jax.data.manifest import MANIFEST, Frame, Prepared
from xrcam_jax.runtime.reading import read_whole


def checksum_of_frames(folder: str | os.PathLike[str], frames: Sequence[Frame]) -> str:
    """Returns a checksum of frames as the manifest lists them, and of all bytes of their pictures.

    Args:
      folder: the prepared folder; where it lies does not count.
      frames: some of its frames.

    Returns:
      16 hexadecimal digits.

    Raises:
      ValueError: naming the picture that cannot be read.

    Example:
      >>> from xrcam_jax.data.checksums import checksum_of_frames
      >>> from xrcam_jax.pictures.crop import Crop
      >>> from xrcam_jax.data.manifest import Frame
      >>> checksum_of_frames("nowhere", [Frame("a.png", "sick", "p1", "sick/p1/clip.avi", 0, Crop(0, 0, 8, 8, 8))])
      Traceback (most recent call last):
      ...
      ValueError: nowhere/a.png: no such file; manifest.csv lists it
    """
    digest = hashlib.sha256(json.dumps([asdict(frame) for frame in frames]).encode())
    for frame in frames:
        path = Path(folder) / frame.file
        try:
            digest.update(read_whole(path))
        except ValueError as error:
            raise ValueError(f"{error}; {MANIFEST} lists it") from None
    return digest.hexdigest()[:16]


def summary_of_parts(prepared: Prepared) -> str:
    """Returns in a few words which frames a prepared folder lists, and which patients are in which part.

    Args:
      prepared: the folder, or one of its folds; where it lies does not count.

    Returns:
      The number of frames, and a checksum of what is listed.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.data.checksums import summary_of_parts
      >>> from xrcam_jax.data.manifest import Prepared, Statistics
      >>> summary_of_parts(Prepared(Path("anywhere"), (), {"p1": "train"}, Statistics(0.5, 0.25)))
      '0 frames, checksum 3d9d4b8a'
    """
    content = json.dumps([[asdict(frame) for frame in prepared.frames], sorted(prepared.parts.items())])
    return f"{len(prepared.frames)} frames, checksum {zlib.crc32(content.encode()):08x}"
