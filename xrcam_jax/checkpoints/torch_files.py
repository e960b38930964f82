"""Reading files of PyTorch: tensors and harmless things around them, and never code."""

import argparse
import collections
import datetime
import pathlib
import pickle
import re
import types
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from xrcam_jax.checkpoints.recognise import check_content
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
      ImportError: PyTorch is not installed.
      OSError: the file cannot be read.

    Example:
      >>> tensors, notes = read_torch(Path("resnet50-0676ba61.pth"))  # doctest: +SKIP
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{path}: reading it needs PyTorch: pip install 'xrcam-jax[torch]'") from error

    check_content(path, "PyTorch")
    _check_sums(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless()):
            # PyTorch warns of its own old formats, which is none of the reader's business.
            warnings.simplefilter("ignore")
            # Without weights_only, a pickle may run any code.
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(_asks_for_code(path, str(error))) from error
    except OSError:
        raise
    # A damaged pickle makes the unpickler fail in any way that Python knows.
    except Exception as error:
        raise DamagedError(f"{path}: not a whole PyTorch file ({_first_line(error)})") from error
    if not isinstance(content, collections.abc.Mapping):
        raise ValueError(f"{path}: not a dictionary of tensors, but {type(content).__name__}")
    tensors = flattened(content, torch.Tensor)
    if not tensors:
        raise ValueError(f"{path}: not a dictionary of tensors, there are none in it")
    try:
        found, notes = unwrapped(tensors)
        return {key: _array(torch, key, tensor) for key, tensor in found.items()}, notes
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check_sums(path: Path) -> None:
    """Compares what is in a file with the checksums that it states, which PyTorch writes, but does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    # The older format is no archive, and what is not even a whole archive, PyTorch finds out by itself.
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, zlib.error):
        return
    if damaged is not None:
        raise DamagedError(f"{path}: damaged, the checksum of {damaged} in it is another")


def _harmless() -> list[Any]:
    """Returns the classes and functions that a pickle may ask for besides PyTorch's own: all of them only hold data."""
    core = np._core.multiarray  # type: ignore[attr-defined]
    numpy_dtypes = {type(np.dtype(code)) for code in "?bhilqpBHILQPefdgFDSU"}
    return [
        argparse.Namespace,
        types.SimpleNamespace,
        datetime.datetime,
        datetime.date,
        datetime.timedelta,
        np.dtype,
        np.ndarray,
        *numpy_dtypes,
        # NumPy 1 and Python 3.12 and older have these elsewhere; a path of Windows cannot be made on other systems.
        *((core.scalar, f"numpy.{core_name}.multiarray.scalar") for core_name in ("core", "_core")),
        *((core._reconstruct, f"numpy.{core_name}.multiarray._reconstruct") for core_name in ("core", "_core")),
        *((pathlib.PurePosixPath, f"pathlib.{name}") for name in _names("Posix")),
        *((pathlib.PureWindowsPath, f"pathlib.{name}") for name in _names("Windows")),
    ]


def _names(system: str) -> list[str]:
    return [f"{place}{pure}{system}Path" for place in ("", "_local.") for pure in ("", "Pure")]


def _asks_for_code(path: Path, message: str) -> str:
    """Returns the message for a file that cannot be read without running what is in it, with a way out."""
    asked = re.search(r"(?:GLOBAL|global|class) ([\w.]+)", message)
    wants = f" ({asked[1]})" if asked and "." in asked[1] else ""
    return (
        f"{path}: holds more than tensors{wants}, and loading it could run code. If you trust it, save the tensors "
        "alone with Python, whatever key they are under:\n"
        f"  content = torch.load({str(path)!r}, weights_only=False); "
        f'torch.save(content["state_dict"], {str(path.with_name("tensors.pth"))!r})'
    )


def _array(torch: Any, key: str, tensor: Any) -> np.ndarray:
    """Returns a tensor as an array; what NumPy has no such type for is refused by name, or widened exactly."""
    if tensor.is_meta:
        raise ValueError(f"{key} is a meta tensor: it has a shape but no values")
    if tensor.is_quantized:
        raise ValueError(f"{key} is quantised ({tensor.dtype}); dequantize() it before it is saved")
    if tensor.layout != torch.strided:
        raise ValueError(f"{key} is sparse ({tensor.layout}); to_dense() it before it is saved")
    narrow = tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64)
    try:
        # NumPy has no bfloat16 and no float8, and float32 holds them exactly.
        return (tensor.float() if narrow else tensor).detach().numpy(force=True)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{key} is of {tensor.dtype}, which cannot be read ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
