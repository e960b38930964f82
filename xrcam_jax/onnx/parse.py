"""From ONNX's protobuf to a :class:`xrcam_jax.onnx.graph.Graph`: plain data, in which all floats have one dtype."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xrcam_jax.errors import DamagedError
from xrcam_jax.onnx.graph import Graph, Input, Node
from xrcam_jax.onnx.read import OWN_DOMAINS, package

_FLOATS = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")
_OTHERS = ("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
#: PyTorch's exporter notes here which modules a node is in.
_SCOPES = "pkg.torch.onnx.name_scopes"


class Parser:
    """A parser reads graphs of one file.

    Args:
      path: of the file, for messages.
      opsets: the version of each domain's operators.
      dtype: what all floating-point arrays become, half and double precision among them.
    """

    def __init__(self, path: Path, opsets: Mapping[str, int], dtype: np.dtype):
        self.path, self.opsets, self.dtype, self.onnx = path, opsets, dtype, package()

    def graph(self, proto: Any) -> Graph:
        """Returns a graph; the arrays of its constant nodes are among those of the file."""
        arrays = {tensor.name: self.array(tensor) for tensor in proto.initializer}
        if proto.sparse_initializer:
            raise ValueError(f"{self.path}: it has sparse arrays, which are not supported")
        nodes = []
        for index, each in enumerate(proto.node):
            if each.op_type == "Constant" and each.domain in OWN_DOMAINS:
                arrays[each.output[0]] = self.constant(each)
            else:
                nodes.append(self.node(each, index))
        inputs = tuple(self.input(each) for each in proto.input if each.name not in arrays)
        return Graph(tuple(nodes), inputs, tuple(each.name for each in proto.output), arrays)

    def node(self, proto: Any, index: int) -> Node:
        """Returns a node."""
        domain = "" if proto.domain in OWN_DOMAINS else proto.domain
        outputs = tuple(proto.output)
        name = proto.name or next(filter(None, outputs), f"{proto.op_type}_{index}")
        where = f"node {name!r} ({proto.op_type})"
        attributes = {each.name: self.attribute(each, where) for each in proto.attribute}
        if proto.op_type == "ConstantOfShape":
            attributes.setdefault("value", np.zeros(1, self.dtype))
        scopes = next((each.value for each in proto.metadata_props if each.key == _SCOPES), "")
        scope = _scope(name, next(filter(None, outputs), name), scopes)
        return Node(
            name, proto.op_type, domain, self.opsets.get(domain, 1), tuple(proto.input), outputs, attributes, scope
        )

    def attribute(self, proto: Any, where: str) -> Any:
        """Returns the value of an attribute; one that is a type is a dtype."""
        kinds = self.onnx.AttributeProto
        if proto.type == kinds.TENSOR:
            return self.array(proto.t)
        if proto.type == kinds.GRAPH:
            return self.graph(proto.g)
        if proto.name in ("to", "dtype"):
            return self.dtype_of(proto.i, where)
        value = self.onnx.helper.get_attribute_value(proto)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return list(value) if proto.type in (kinds.INTS, kinds.FLOATS) else value

    def constant(self, proto: Any) -> np.ndarray:
        """Returns the array of a constant node."""
        (attribute,) = proto.attribute
        value = self.attribute(attribute, f"node {proto.name or proto.output[0]!r} (Constant)")
        if attribute.name == "value":
            return value
        if attribute.name not in ("value_float", "value_floats", "value_int", "value_ints"):
            raise ValueError(f"{self.path}: constant {proto.output[0]!r} is a {attribute.name}, which is not supported")
        return np.array(value, self.dtype if "float" in attribute.name else np.int64)

    def array(self, tensor: Any) -> np.ndarray:
        """Returns a tensor as an array."""
        where = f"array {tensor.name!r}"
        dtype = self.dtype_of(tensor.data_type, where)
        try:
            return np.asarray(self.onnx.numpy_helper.to_array(tensor)).astype(dtype)
        except Exception as error:
            # What is wrong with a damaged tensor shows in the package's own reading, in many ways.
            raise DamagedError(f"{self.path}: {where} is damaged ({' '.join(str(error).split())[:200]})") from error

    def dtype_of(self, number: int, where: str) -> np.dtype:
        """Returns the dtype of one of ONNX's element types."""
        names = {value: key for key, value in self.onnx.TensorProto.DataType.items()}
        name = names.get(number, f"type {number}")
        if name in _FLOATS:
            return self.dtype
        if name not in _OTHERS:
            raise ValueError(f"{self.path}: {where} is of {name}, which is not supported")
        return np.dtype(name.lower())

    def input(self, proto: Any) -> Input:
        """Returns an input's description."""
        tensor = proto.type.tensor_type
        if not proto.type.HasField("tensor_type"):
            raise ValueError(f"{self.path}: input {proto.name!r} is no array, which is not supported")
        dtype = self.dtype_of(tensor.elem_type, f"input {proto.name!r}")
        if not tensor.HasField("shape"):
            return Input(proto.name, None, dtype)
        lengths = (
            each.dim_value if each.HasField("dim_value") else each.dim_param or None for each in tensor.shape.dim
        )
        # A length of 0 or -1 is how some exporters leave it open.
        return Input(proto.name, tuple(n if isinstance(n, str) or (n or 0) > 0 else None for n in lengths), dtype)


def _scope(name: str, output: str, modules: str) -> str:
    """Returns the path of a node's layer: the modules around it, its own name and that of its value."""
    try:
        around = [str(part) for part in ast.literal_eval(modules)][:-1] if modules else []
    except (ValueError, SyntaxError):
        around = []
    path = around[-1].replace(".", "/") if around else ""
    # PyTorch's exporter names nodes after their values, and values after their nodes.
    names = [name.removeprefix("node_")] if name == f"node_{output}" else [name, output]
    parts = [part.strip("/") for part in dict.fromkeys((path, *names)) if part.strip("/")]
    return re.sub(r"[^\w./:-]", "_", re.sub("/+", "/", "/".join(parts)))
