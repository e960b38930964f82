"""Receptive fields are those pixels on which a place depends: what becomes NaN where a pixel is, and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import xrcam_jax as xr
from xrcam_jax.concepts.field import receptive_fields
from xrcam_jax.data.detector import Detector
from xrcam_jax.explain.functional import as_function
from xrcam_jax.pictures.preprocessing import Box


def of_nan(run, side, layer):
    """The rows and columns of the picture that make each row and column of a layer NaN, one pixel after another."""
    pictures = np.zeros((side, side, side, 3), np.float32)
    pictures[np.arange(side), np.arange(side), np.arange(side)] = np.nan
    found = []
    for axis in (1, 2):
        reached = np.isnan(run(pictures)[layer]).any(axis=(3 - axis, 3))
        found.append([[int(i) for i in (np.flatnonzero(seen)[0], np.flatnonzero(seen)[-1] + 1)] for seen in reached.T])
    return found


class Small(nnx.Module):
    """Strides, a dilated kernel, a maximum, a mean, batch norm and a residual connection, with weights of any sign."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.stem = nnx.Conv(3, 4, (5, 5), strides=2, padding=2, rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
        self.wide = nnx.Conv(4, 4, (3, 3), kernel_dilation=2, padding=2, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.stem(x)))
        x = nnx.max_pool(x, (3, 3), (2, 2), [(1, 1), (1, 1)])
        low = xr.mark(nnx.relu(x + self.wide(x)), "low")
        return xr.mark(lax.reduce_window(low, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4, "high").mean(
            (1, 2)
        )


def test_a_place_sees_what_can_change_it():
    model, side = Small(), 24
    function, parameters = as_function(model)

    def layers(x):
        signal = xr.composites.gradient()
        return xr.taps(lambda x: function(x, parameters), signal, x, seed=jnp.ones_like).activations

    activations = jax.device_get(jax.jit(layers)(np.zeros((side, side, side, 3), np.float32)))
    for layer in ("low", "high"):
        size = activations[layer].shape[1:3]
        fields = receptive_fields(function, parameters, layer, (side, side, 3), size)
        rows, columns = of_nan(jax.jit(layers), side, layer)
        assert fields.rows.tolist() == rows
        assert fields.columns.tolist() == columns
    # The closed form: kernels of 5, 3 and 5 with strides 2, 2 and 1 in front of them, then a mean of two places.
    jumps, kernels = [1, 2, 4, 4], [5, 3, 5, 2]
    sees = 1 + sum(jump * (kernel - 1) for jump, kernel in zip(jumps, kernels, strict=True))
    assert max(bottom - top for top, bottom in fields.rows.tolist()) == min(side, sees)


def test_the_picture_need_not_be_square():
    function, parameters = as_function(Detector())
    fields = receptive_fields(function, parameters, "layer2", (16, 32, 3), (4, 8))
    assert fields.rows.tolist() == [[4 * i, 4 * (i + 1)] for i in range(4)]
    assert fields.columns.tolist() == [[4 * i, 4 * (i + 1)] for i in range(8)]
    assert fields.box(8 + 3) == Box(4, 12, 8, 16)


def summed(x):
    """Sums of 3 x 3 pixels."""
    return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")


def standardised(x):
    """What an instance norm makes of sums, whose statistics see all of the picture and count as constants."""
    x = summed(x)
    return (x - x.mean((1, 2), keepdims=True)) / jnp.sqrt(x.var((1, 2), keepdims=True) + 1)


@pytest.mark.parametrize(
    ("low", "columns"),
    [
        (lambda x: jnp.prod(summed(x), -1, keepdims=True), [[0, 2], [0, 3], [1, 4], [2, 5], [3, 5]]),
        (lambda x: jax.nn.softmax(summed(x), -1), [[0, 2], [0, 3], [1, 4], [2, 5], [3, 5]]),
        (lambda x: jax.nn.softmax(x, 2), [[0, 5]] * 5),
        (standardised, [[0, 2], [0, 3], [1, 4], [2, 5], [3, 5]]),
    ],
    ids=["product", "softmax of channels", "softmax of columns", "instance norm"],
)
def test_operations_of_several_values_reach_all_of_them(low, columns):
    fields = receptive_fields(lambda x, _: xr.mark(low(x), "low").sum((1, 2)), (), "low", (4, 5, 2), (4, 5))
    assert fields.columns.tolist() == columns


def test_a_pixel_sees_itself():
    fields = receptive_fields(lambda x, _: x.sum((1, 2)), (), "input", (2, 3, 1), (2, 3))
    assert (fields.rows.tolist(), fields.columns.tolist()) == ([[0, 1], [1, 2]], [[0, 1], [1, 2], [2, 3]])
