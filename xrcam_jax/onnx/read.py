"""Reading an ONNX file: what it is, what it needs, and where the rest of it lies."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xrcam_jax.checkpoints.recognise import check_content
from xrcam_jax.errors import DamagedError
from xrcam_jax.onnx.operators import OPSETS

#: ONNX's own operators go by either name.
OWN_DOMAINS = ("", "ai.onnx")


def package() -> Any:
    """Returns the package ``onnx``, which is an extra.

    Returns:
      The module.

    Raises:
      ImportError: it is not installed.

    Example:
      >>> package().__name__
      'onnx'
    """
    try:
        import onnx
        import onnx.inliner
    except ImportError as error:
        raise ImportError("reading an ONNX file needs the package onnx: pip install 'xrcam-jax[onnx]'") from error
    return onnx


def read_model(path: Path) -> Any:
    """Reads an ONNX file with all that belongs to it.

    Args:
      path: of the file.

    Returns:
      The ``onnx.ModelProto``, with arrays from other files in it, and functions put in their places.

    Raises:
      FileNotFoundError: there is no such file, or one with its arrays is missing.
      ValueError: it is no ONNX file, its operators are of a version that is not known here, or arrays lie outside of
        its folder. A damaged one is a ``DamagedError``.
      ImportError: the package onnx is not installed.

    Example:
      >>> import pathlib
      >>> read_model(pathlib.Path("missing.onnx"))
      Traceback (most recent call last):
      ...
      FileNotFoundError: missing.onnx: no such file
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'a folder and not an ONNX file' if path.is_dir() else 'no such file'}")
    onnx = package()
    check_content(path, "ONNX")
    try:
        model = onnx.load(os.fspath(path), format="protobuf", load_external_data=False)
    except Exception as error:
        # Protobuf's errors have no class in common that its packages show.
        raise DamagedError(f"{path}: not a whole ONNX file ({' '.join(str(error).split())[:200]})") from error
    if not model.ir_version or not model.graph.output:
        raise ValueError(f"{path}: not an ONNX file, it has no graph with an output")
    _check_opset(path, model)
    _read_beside(path, model, onnx)
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:
        raise ValueError(f"{path}: its functions cannot be put in their places ({str(error)[:200]})") from error


def _check_opset(path: Path, model: Any) -> None:
    versions = {each.domain: each.version for each in model.opset_import}
    own = [version for domain, version in versions.items() if domain in OWN_DOMAINS]
    used = {node.domain for node in model.graph.node}
    if not own and used.intersection(OWN_DOMAINS):
        raise ValueError(f"{path}: it does not say which opset its operators are of")
    if own and max(own) not in OPSETS:
        raise ValueError(
            f"{path}: its operators are of opset {max(own)}, known are {OPSETS[0]} to {OPSETS[-1]}; export it with one "
            "of these, or convert it with onnx.version_converter"
        )


def _tensors(graph: Any) -> Iterator[Any]:
    """Yields all tensors of a graph, also those in its nodes and the graphs in them."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _read_beside(path: Path, model: Any, onnx: Any) -> None:
    """Reads the arrays that lie in other files, which have to be in the folder of the model."""
    folder = path.parent.resolve()
    for tensor in _tensors(model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        fields = {entry.key: entry.value for entry in tensor.external_data}
        location = fields.get("location", "")
        other = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not other.is_relative_to(folder):
            raise ValueError(f"{path}: {tensor.name!r} is said to lie in {location!r}, outside of the file's folder")
        if not other.is_file():
            raise FileNotFoundError(
                f"{path}: the file {location!r} with {tensor.name!r} is missing; it belongs beside the ONNX file"
            )
        try:
            start, length = int(fields.get("offset", 0)), int(fields.get("length", -1))
        except ValueError as error:
            raise DamagedError(f"{path}: where {tensor.name!r} lies in {location!r} makes no sense ({error})") from None
        size = other.stat().st_size
        if not 0 <= start <= size or start + max(length, 0) > size:
            raise DamagedError(
                f"{path}: the file {location!r} has {size} bytes, {tensor.name!r} is said to end at {start + length}"
            )
        with other.open("rb") as file:
            file.seek(start)
            tensor.raw_data = file.read(length if length >= 0 else size - start)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
