"""Files of arrays that say what they are of: one that is damaged or of something else is told from a good one."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from xrcam_jax.errors import CommandError

#: Arrays by name.
Arrays = dict[str, np.ndarray]

SEAL = "seal"


def sealed(arrays: Arrays, about: Any) -> bytes:
    """Returns the content of a file of arrays, with a digest of them and of what they are of.

    Args:
      arrays: by name.
      about: what they are of, as JSON has it.
    """
    content = io.BytesIO()
    np.savez(content, **arrays, **{SEAL: _seal(arrays, about)})  # type: ignore[arg-type]
    return content.getvalue()


def read_sealed(path: Path, about: Any) -> Arrays:
    """Reads the arrays of a file.

    Args:
      path: of the file.
      about: what they are to be of.

    Raises:
      CommandError: it is damaged, or of something else.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except Exception as error:
        # NumPy and zipfile raise anything on damaged content, from struct.error to SyntaxError.
        raise CommandError(f"{path}: damaged ({error})") from error
    seal = found.pop(SEAL, None)
    if seal is None or not np.array_equal(seal, _seal(found, about)):
        raise CommandError(f"{path}: damaged, or of other frames or settings")
    return found


def _seal(arrays: Arrays, about: Any) -> UInt8[np.ndarray, "32"]:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return np.frombuffer(digest.digest(), np.uint8)
