"""Files that are exported for a batch of one picture are for batches of any size, where that can be."""

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("onnx")

import xrcam_jax as xr
from tests.onnx.graphs import drawn, node, proto, written


def test_a_batch_of_one_in_the_file_is_any_batch(tmp_path):
    nodes = [
        node("Conv", "x w", "c"),
        node("Reshape", "c tokens", "t"),
        node("Expand", "class once", "k"),
        node("Concat", "k t", "all", axis=1),
        node("Reshape", "all windows", "w2"),
        node("Reshape", "w2 flat", "f"),
        node("MatMul", "f head"),
    ]
    arrays = {
        "w": drawn(4, 3, 3, 3, seed=1), "head": drawn(72, 5), "class": drawn(1, 1, 4), "once": np.array([1, 2, 4]),
        "tokens": np.array([1, 16, 4]), "windows": np.array([3, 6, 4]), "flat": np.array([1, -1]),
    }  # fmt: skip
    model = xr.from_onnx(written(proto(nodes, arrays, x=(1, 3, 6, 6)), tmp_path))
    x = drawn(4, 6, 6, 3)
    assert model.batch is None
    alone = jnp.concatenate([model(x[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(model(x), alone, rtol=1e-5, atol=1e-5)


def test_kernels_that_a_picture_makes_are_for_it_alone(tmp_path):
    """As in dynamic convolution and in correlation of features; exporters write the batch of one as any other axis."""
    nodes = [node("ReduceMean", "x", "m", axes=[2, 3], keepdims=0), node("MatMul", "m mix", "k"),
             node("Reshape", "k kernel", "w"), node("Conv", "x w", "c"), node("Flatten", "c")]  # fmt: skip
    arrays = {"mix": drawn(3, 12), "kernel": np.array([1, 3, 2, 2])}
    model = xr.from_onnx(written(proto(nodes, arrays, x=(1, 3, 6, 6)), tmp_path))
    x = drawn(4, 6, 6, 3)
    assert model.batch is None
    kernels = (x.mean((1, 2)) @ arrays["mix"]).reshape(4, 3, 2, 2)
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), (1, 2))
    np.testing.assert_allclose(model(x), np.einsum("bhwcij,bcij->bhw", windows, kernels).reshape(4, -1), atol=1e-5)


def test_a_batch_that_cannot_be_changed_is_told(tmp_path, caplog):
    nodes = [node("Flatten", "x", "f"), node("Transpose", "f", "t"), node("MatMul", "f t")]
    model = xr.from_onnx(written(proto(nodes, {}, x=(2, 3, 4, 4)), tmp_path))
    assert model.batch == 2
    assert "it was exported for batches of 2, and takes no others" in caplog.text
