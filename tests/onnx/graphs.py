"""Small ONNX graphs for the tests, and what other implementations compute of them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import xrcam_jax as xr


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def proto(nodes, arrays, *, x=(2, 3, 6, 6), outputs=("y",), opset=17, x_shape=None, elem=TensorProto.FLOAT):
    """A model of some nodes, of the input x."""
    shape = list(x) if x_shape is None else x_shape
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", elem, shape)],
        [helper.make_tensor_value_info(name, elem, None) for name in outputs],
        [tensor(name, array) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def node(op, inputs, outputs="y", **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), name=attributes.pop("name", None), **attributes)


def written(model, folder, name="net.onnx"):
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def computed(model, x, folder, compare=True, **options):
    """What a model gives for pictures in ONNX's order, by our function and by ONNX's reference implementation."""
    ours = xr.from_onnx(written(model, folder), input_shape=x.shape, **options)
    given = np.moveaxis(x, 1, -1) if ours.function.channels_first else x
    found = ours(given)
    expected = compare and ReferenceEvaluator(onnx.load_from_string(model.SerializeToString())).run(None, {"x": x})
    return ([*found.values()] if isinstance(found, dict) else [found]), expected


def drawn(*shape, seed=0, low=None):
    """Numbers of float32, normally distributed, or uniform from ``low`` to 2."""
    random = np.random.default_rng((seed, *shape))
    values = random.normal(size=shape) if low is None else random.uniform(low, 2, shape)
    return values.astype(np.float32)
