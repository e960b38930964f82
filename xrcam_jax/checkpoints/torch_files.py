"""Reading files of PyTorch: tensors and harmless things around them, and never code."""

import collections
import re
import zipfile
from pathlib import Path

import numpy as np

from xrcam_jax.checkpoints.recognise import check_content
from xrcam_jax.checkpoints.torch_pickle import AsksForCode, opened
from xrcam_jax.checkpoints.torch_tensors import Tensor
from xrcam_jax.checkpoints.unwrap import flattened, unwrapped
from xrcam_jax.errors import DamagedError

SUFFIXES = (".pth", ".pt", ".bin", ".tar", ".ckpt")


def read_torch(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Reads the tensors of the network that a file of PyTorch holds.

    Args:
      path: of the file.

    Returns:
      The tensors under the network's own names, and sentences that say what was taken off, chosen and left out.

    Raises:
      ValueError: the file is damaged, something else, needs code to be run, or holds tensors that NumPy has not.
      OSError: the file cannot be read.

    Example:
      >>> tensors, notes = read_torch(Path("resnet50-0676ba61.pth"))  # doctest: +SKIP
    """
    check_content(path, "PyTorch")
    try:
        with opened(path) as content:
            return _network(content)
    except AsksForCode as error:
        raise ValueError(_asks_for_code(path, str(error))) from error
    except zipfile.BadZipFile as error:
        named = re.fullmatch(r"Bad CRC-32 for file '(.*)'", str(error))
        why = f"damaged, the checksum of {named[1]} in it is another" if named else f"not a whole archive ({error})"
        raise DamagedError(f"{path}: {why}") from error
    except _Refused as error:
        raise ValueError(f"{path}: {error}") from error
    # A damaged file makes the unpickler fail in any way that Python knows, and the archive seek before its beginning.
    except Exception as error:
        raise DamagedError(f"{path}: not a whole PyTorch file ({_first_line(error)})") from error


class _Refused(Exception):
    """Says why the content of a whole file is no network."""


def _network(content: object) -> tuple[dict[str, np.ndarray], list[str]]:
    if not isinstance(content, collections.abc.Mapping):
        raise _Refused(f"not a dictionary of tensors, but {type(content).__name__}")
    try:
        tensors = flattened(content, Tensor)
        if not tensors:
            raise _Refused("not a dictionary of tensors, there are none in it")
        found, notes = unwrapped(tensors)
    except ValueError as error:
        raise _Refused(str(error)) from error
    return {key: _array(key, tensor) for key, tensor in found.items()}, notes


def _array(key: str, tensor: Tensor) -> np.ndarray:
    try:
        return tensor.array()
    except ValueError as error:
        raise _Refused(f"{key} {error}") from error


def _asks_for_code(path: Path, wants: str) -> str:
    """Returns the message for a file that cannot be read without running what is in it, with a way out."""
    return (
        f"{path}: holds more than tensors ({wants}), and loading it could run code. If you trust it, save the tensors "
        "alone with Python, whatever key they are under:\n"
        f"  content = torch.load({str(path)!r}, weights_only=False); "
        f'torch.save(content["state_dict"], {str(path.with_name("tensors.pth"))!r})'
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
