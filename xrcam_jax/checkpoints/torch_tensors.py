"""Tensors of PyTorch's files: what a file says of them, and their values.

The files are not to be trusted: whatever they say of a tensor, nothing is read from beyond its storage.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

#: Types that NumPy has only from ml_dtypes; float32 holds their values exactly.
NARROW = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
#: Types of which there are values.
PLAIN = (
    *("float64", "float32", "float16", "int64", "int32", "int16", "int8"),
    *("uint8", "uint16", "uint32", "uint64", "bool", "complex128", "complex64"),
    *NARROW,
)


@dataclass(frozen=True, eq=False)
class Storage:
    """Describes the bytes that tensors share.

    Attributes:
      dtype: of their elements, in the byte order of the file.
      length: how many elements there are.
      read: returns the bytes.
    """

    dtype: np.dtype
    length: int
    read: Callable[[], bytes]


@dataclass(frozen=True, eq=False)
class Tensor:
    """Describes a tensor of a file.

    Attributes:
      shape: of its axes.
      dtype: the name of the type, as PyTorch has it.
      odd: why it has no plain values, in words that follow its name; empty if it has.
      storage: where its values are.
      offset: the place of its first element there.
      strides: by how many elements the places of neighbours differ, for each axis.
      conjugate: whether its values are the conjugates of those that are stored, as ``tensor.conj()`` saves them.
      negative: whether they are the negatives, as ``tensor.conj().imag`` saves them.
    """

    shape: tuple[int, ...]
    dtype: str
    odd: str = ""
    storage: Storage | None = None
    offset: int = 0
    strides: tuple[int, ...] = ()
    conjugate: bool = False
    negative: bool = False

    def __setstate__(self, _: Any) -> None:
        # Attributes that somebody has set on a tensor are not its values.
        ...

    def array(self) -> np.ndarray:
        """Returns the values, read from the file; of types that NumPy has not, as float32, which holds them exactly.

        Raises:
          ValueError: there are none, or they reach beyond what is in the file.
        """
        if self.storage is None or self.odd:
            raise ValueError(self.odd)
        if self.dtype not in PLAIN:
            raise ValueError(f"is of torch.{self.dtype}, which cannot be read")
        flat = np.frombuffer(self.storage.read(), np.uint8)
        dtype = numpy_type(self.dtype).newbyteorder(self.storage.dtype.byteorder)
        # The older format says the length of a storage wherever it refers to it, and need not say the same each time.
        size = min(self.storage.length * self.storage.dtype.itemsize, flat.nbytes)
        there = size // dtype.itemsize
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if 0 not in self.shape and last >= there:
            raise ValueError(f"has {there} values in the file, too few for {self.shape}")
        values = flat[: there * dtype.itemsize].view(dtype)[min(self.offset, there) :]
        # Before it is laid out: tensors that repeat a value may be far larger than what is in the file.
        values = values.astype(np.float32 if self.dtype in NARROW else dtype.newbyteorder("="), copy=False)
        values = values.conj() if self.conjugate else values
        values = -values if self.negative else values
        steps = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values, self.shape, steps, writeable=False)


def numpy_type(name: str) -> np.dtype:
    """Returns NumPy's type of a name, also of those that ml_dtypes brings.

    Args:
      name: one of :data:`PLAIN`.

    Example:
      >>> from xrcam_jax.checkpoints.torch_tensors import numpy_type
      >>> numpy_type("float16"), numpy_type("bfloat16").itemsize
      (dtype('float16'), 2)
    """
    return np.dtype(getattr(ml_dtypes, name) if name in NARROW else name)
