"""The two formats of PyTorch's files, read without PyTorch and without running what is in them.

A pickle is a program that calls what it names. Here a name stands for what :func:`_allowed` has for it: something that
describes a tensor, or :class:`_Nothing` where a file only holds data that nobody asks for. Any other name ends the
reading.
"""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from xrcam_jax.checkpoints.torch_tensors import PLAIN, Storage, Tensor, numpy_type

#: What the older format begins with.
_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
    "UntypedStorage": "uint8",
}
_DTYPES = {"double": "float64", "float": "float32", "half": "float16"} | {
    name: name for name in (*PLAIN, "qint8", "quint8", "qint32", "complex32")
}
#: Classes and functions that only hold data, under all the names that they have had.
_DATA = {
    "argparse": ("Namespace",),
    "types": ("SimpleNamespace",),
    "datetime": ("datetime", "date", "timedelta"),
    "numpy": ("dtype", "ndarray"),
    "numpy.dtypes": tuple(sorted({type(np.dtype(code)).__name__ for code in "?bhilqpBHILQPefdgFDSU"})),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.numeric": ("_frombuffer",),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "numpy._core.multiarray": ("scalar", "_reconstruct"),
    "pathlib": ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"),
    "pathlib._local": ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"),
    "_codecs": ("encode",),
    "builtins": (
        "set",
        "frozenset",
        "bytearray",
        "complex",
        "slice",
        "range",
        "list",
        "dict",
        "tuple",
        "int",
        "float",
        "str",
    ),
    "torch": (
        "Tensor",
        "device",
        "per_tensor_affine",
        "per_channel_affine",
        "per_tensor_symmetric",
        "per_channel_symmetric",
    ),
    "torch.nn.parameter": ("Parameter", "Buffer"),
    "torch._tensor": ("Tensor",),
}


#: How many tuples and other things there may be in a key of a dictionary.
_MOST_PARTS = 1000
#: How many times as large a file of an archive may get, if it is not small then.
_LARGEST_RATIO, _SMALL = 100, 1 << 20


class AsksForCode(Exception):
    """Says that a file names something that could run code; its text is that name."""


class _Nothing:
    """Stands for data that nobody asks for, and forgets whatever it is given."""

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> "_Nothing":
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None: ...

    def __setitem__(self, *_: Any) -> None: ...

    def append(self, _: Any) -> None:
        """Forgets an item of a list."""

    def extend(self, _: Any) -> None:
        """Forgets items of a list."""

    def add(self, _: Any) -> None:
        """Forgets an item of a set."""


class _Call:
    """Stands for a function of PyTorch; a pickle can call it, and change nothing of it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, _: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Opens a file of PyTorch, whose tensors can be read as long as it is open.

    Args:
      path: of the file.

    Yields:
      What was saved: dictionaries, lists, texts and numbers as they were, tensors as :class:`Tensor`.

    Raises:
      AsksForCode: what is in it names something that could run code.
      Exception: anything at all if the file is damaged.

    Example:
      >>> with opened(Path("resnet50-0676ba61.pth")) as content:  # doctest: +SKIP
      ...     shape = content["fc.weight"].shape
    """
    with path.open("rb") as file:
        if file.peek(2).startswith(b"PK"):
            with zipfile.ZipFile(file) as archive:
                yield _content_of_archive(archive)
        else:
            yield _content_of_pickles(io.BytesIO(file.read()))


def _content_of_archive(archive: zipfile.ZipFile) -> Any:
    """Returns what is in an archive, the format since PyTorch 1.6: a pickle, and a file for each storage."""
    pickled = next(name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
    folder = pickled.removesuffix("data.pkl")
    # Archives of before 2.1 do not say it, and all of them were read as little.
    said = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in archive.namelist() else b"little"
    storages: dict[str, Storage] = {}

    def storage(kind: str, key: str, _location: Any, length: int) -> Storage:
        def read() -> bytes:
            return _unpacked(archive, f"{folder}data/{key}")

        if key not in storages:
            dtype = _ordered(kind, said == b"big")
            size = archive.getinfo(f"{folder}data/{key}").file_size
            if not 0 <= length * dtype.itemsize <= size:
                raise EOFError(f"{length} values of {kind} are said to be in {size} bytes")
            storages[key] = Storage(dtype, length, read)
        return storages[key]

    return _Unpickler(io.BytesIO(_unpacked(archive, pickled)), storage).load()


def _unpacked(archive: zipfile.ZipFile, name: str) -> bytes:
    """Returns what is in a file of an archive, unless it would fill the memory: PyTorch itself packs nothing."""
    entry = archive.getinfo(name)
    if entry.file_size > _LARGEST_RATIO * entry.compress_size + _SMALL:
        raise EOFError(f"{name} in it is {entry.compress_size} bytes that unpack to {entry.file_size}")
    return archive.read(name)


def _content_of_pickles(file: io.BytesIO) -> Any:
    """Returns what is in the format before PyTorch 1.6: pickles in a row, the storages after them."""
    if _Unpickler(file).load() != _MAGIC:
        raise ValueError("it does not begin with PyTorch's number")
    _version, system = _Unpickler(file).load(), _Unpickler(file).load()
    big = isinstance(system, dict) and system.get("little_endian") is False
    roots: dict[str, tuple[np.dtype, int]] = {}
    contents: dict[str, bytes] = {}

    def storage(kind: str, key: str, _location: Any, length: int, view: Any = None) -> Storage:
        dtype, _ = roots.setdefault(key, (_ordered(kind, big), length))
        if view is None:
            return Storage(dtype, length, lambda: contents[key])
        _key, start, length = view
        if not _are_counts(start, length):
            raise pickle.UnpicklingError("it refers to no part of a storage")
        begin, end = start * dtype.itemsize, (start + length) * dtype.itemsize
        return Storage(dtype, length, lambda: contents[key][begin:end])

    content = _Unpickler(file, storage).load()
    for key in _Unpickler(file).load():
        dtype, length = roots[key]
        if int.from_bytes(file.read(8), "big" if big else "little") != length:
            raise EOFError(f"the length of storage {key} is another than its tensors say")
        contents[key] = file.read(length * dtype.itemsize)
        if len(contents[key]) < length * dtype.itemsize:
            raise EOFError("it ends within the values of its tensors")
    return content


def _ordered(kind: str, big: bool) -> np.dtype:
    return numpy_type(kind).newbyteorder(">" if big else "<")


class _Dictionary(dict):
    """Is a dictionary whose keys are soon hashed, and whose methods no pickle can replace.

    Tuples in tuples are hashed for ever where they hold one another twice, and beyond the end of the C stack where
    there are many of them.
    """

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        waiting, parts = [key], 0
        while waiting:
            part = waiting.pop()
            waiting += part if isinstance(part, tuple) else ()
            parts += 1
            if parts > _MOST_PARTS:
                raise pickle.UnpicklingError(f"a key has more than {_MOST_PARTS} parts")
        super().__setitem__(key, value)

    def __setstate__(self, _: Any) -> None: ...


def _dictionary(items: Any = ()) -> _Dictionary:
    found = _Dictionary()
    for key, value in items.items() if isinstance(items, dict) else items:
        found[key] = value
    return found


# The one in Python: that in C asks for gigabytes of memory where a file gives one of its objects a high number. Of its
# inside, which is used here, types know nothing.
_PythonUnpickler: Any = pickle._Unpickler


class _Unpickler(_PythonUnpickler):
    """Reads a pickle in which names stand for what is allowed, and persistent names for storages."""

    dispatch: ClassVar = dict(_PythonUnpickler.dispatch)

    def __init__(self, file: io.BytesIO, storage: Callable[..., Storage] | None = None):
        super().__init__(file, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """Returns what a name stands for."""
        return _allowed("builtins" if module == "__builtin__" else module, name)

    def persistent_load(self, pid: Any) -> Storage:
        """Returns the storage that a pickle refers to."""
        kind, *described = pid if isinstance(pid, tuple) and pid else (None,)
        if kind == "module":
            raise AsksForCode("the source of a module")
        if kind != "storage" or self._storage is None:
            raise pickle.UnpicklingError("it refers to what is no storage")
        named, key, location, length, *view = described
        if not (isinstance(named, _Named) and isinstance(key, str) and _are_counts(length)):
            raise pickle.UnpicklingError("it refers to what is no storage")
        return self._storage(named.name, key, location, length, *view)

    def load_bytearray8(self) -> None:
        """Reads an array of bytes, without first setting aside as much memory as the file says that it has."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(length))

    def load_dict(self) -> None:
        """Makes a dictionary of what lies on the stack."""
        items = self.pop_mark()
        self.append(_dictionary(zip(items[::2], items[1::2], strict=True)))

    def load_frozenset(self) -> None:
        """Forgets the items of a set, which would be hashed."""
        self.pop_mark()
        self.append(_Nothing())

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.FROZENSET[0]] = load_frozenset
    dispatch[pickle.EMPTY_DICT[0]] = lambda self: self.append(_Dictionary())
    dispatch[pickle.EMPTY_SET[0]] = lambda self: self.append(_Nothing())


def _are_counts(*numbers: Any) -> bool:
    return all(type(number) is int and number >= 0 for number in numbers)


@dataclass(frozen=True)
class _Named:
    """Stands for a type of PyTorch."""

    name: str

    def __setstate__(self, _: Any) -> None: ...


def _allowed(module: str, name: str) -> Any:
    """Returns what a name in a pickle stands for.

    Raises:
      AsksForCode: it is none of those that only hold data.
    """
    if module in ("torch", "torch.storage") and name in _STORAGES:
        return _Named(_STORAGES[name])
    if module == "torch" and name in _DTYPES:
        return _Named(_DTYPES[name])
    if (module, name) in _CALLS:
        return _CALLS[module, name]
    if name in _DATA.get(module, ()):
        return _Nothing
    raise AsksForCode(f"{module}.{name}")


def _tensor(
    storage: Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    _grad: Any = False,
    _hooks: Any = None,
    bits: Any = None,
) -> Tensor:
    if not (isinstance(storage, Storage) and _are_counts(offset, *shape, *strides)):
        raise pickle.UnpicklingError("a tensor has no storage, or its shape is not of numbers")
    conj, neg = (isinstance(bits, dict) and bits.get(name) is True for name in ("conj", "neg"))
    name = _torch_name(storage.dtype)
    return Tensor(tuple(shape), name, "", storage, offset, tuple(strides), conjugate=conj, negative=neg)


def _tensor_of_type(*arguments: Any) -> Tensor:
    *before, dtype = arguments[:7]
    return replace(_tensor(*before, *arguments[7:8]), dtype=dtype.name)


def _torch_name(dtype: np.dtype) -> str:
    return dtype.newbyteorder("=").name


def _odd(why: str) -> Callable[..., Tensor]:
    return lambda *_: Tensor((), "float32", why)


def _sparse(layout: Any, *_: Any) -> Tensor:
    return Tensor((), "float32", f"is sparse ({layout}); to_dense() it before it is saved")


def _quantised(storage: Storage, *_: Any) -> Tensor:
    name = {"int8": "qint8", "uint8": "quint8", "int32": "qint32"}.get(_torch_name(storage.dtype), "quantised")
    return Tensor((), name, f"is quantised (torch.{name}); dequantize() it before it is saved")


_CALLS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Call(_dictionary),
    ("collections", "defaultdict"): _Call(lambda *_: _Dictionary()),
    ("collections", "Counter"): _Call(_dictionary),
    ("torch", "Size"): _Call(tuple),
    ("torch.serialization", "_get_layout"): _Call(lambda layout: layout),
    ("torch._utils", "_rebuild_tensor"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Call(_tensor_of_type),
    ("torch._utils", "_rebuild_parameter"): _Call(lambda tensor, *_: tensor),
    ("torch._utils", "_rebuild_parameter_with_state"): _Call(lambda tensor, *_: tensor),
    ("torch._tensor", "_rebuild_from_type_v2"): _Call(lambda make, _kind, arguments, *_: make(*arguments)),
    ("torch._utils", "_rebuild_sparse_tensor"): _Call(_sparse),
    ("torch._utils", "_rebuild_sparse_csr_tensor"): _Call(_sparse),
    ("torch._utils", "_rebuild_qtensor"): _Call(_quantised),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _Call(_odd("is a meta tensor: it has a shape but no values")),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _Call(
        _odd("is of a device without storages; move it to the CPU before it is saved")
    ),
}
