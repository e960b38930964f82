"""Norms have the gradients that PyTorch's have, also where all that they are the length of is 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("onnx")

import xrcam_jax as xr
from tests.onnx.graphs import drawn, node, proto, written

#: By name, a node and the places that each length is of, as (axes of the channels and places of a picture).
NODES = {
    "reduced": (node("ReduceL2", "x", axes=[1], keepdims=0), (0,)),
    "normalised": (node("LpNormalization", "x", axis=1), (0,)),
    "pooled": (node("GlobalLpPool", "x"), (1, 2)),
    "cubes": (node("GlobalLpPool", "x", p=3), (1, 2)),
    "windows": (node("LpPool", "x", kernel_shape=[6, 6]), (1, 2)),
}


@pytest.mark.parametrize("name", NODES)
def test_a_length_of_zero_is_at_rest(name, tmp_path):
    made, axes = NODES[name]
    x = drawn(1, 3, 6, 6)
    # One channel is 0 everywhere, and all channels are 0 in three rows.
    x[0, 1], x[0, :, 2:5] = 0, 0
    net = xr.from_onnx(written(proto([made], {}, x=x.shape), tmp_path), input_shape=x.shape)
    given = jnp.moveaxis(jnp.asarray(x), 1, -1) if net.function.channels_first else jnp.asarray(x)
    found = jax.grad(lambda x: net(x).sum())(given)
    found = np.moveaxis(np.asarray(found), -1, 1)[0] if net.function.channels_first else np.asarray(found)[0]
    p, x = (3 if name == "cubes" else 2), x[0].astype(np.float64)
    length = (np.abs(x) ** p).sum(axes, keepdims=True) ** (1 / p)
    some = np.where(length == 0, 1, length)
    slope = np.sign(x) * (np.abs(x) / some) ** (p - 1)
    if name == "normalised":
        # What is not there is divided by 1.
        slope = (1 - slope * (x / some).sum(axes, keepdims=True)) / some
    np.testing.assert_allclose(found, slope, rtol=1e-4, atol=1e-5)
    assert (length == 0).any()
