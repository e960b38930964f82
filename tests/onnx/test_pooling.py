"""Max pooling of a file, dilated or not: what ONNX says it is, and explanations that go to the winners."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("onnx")

import xrcam_jax as xr
from tests.onnx.graphs import computed, drawn, node, proto, written

POOLS = {
    "1d_pads": ((2, 3, 11), {"kernel_shape": [3], "dilations": [3], "pads": [2, 1]}),
    "one_axis": ((2, 3, 6, 7), {"kernel_shape": [2, 2], "dilations": [2, 1]}),
    "strides": ((2, 3, 9, 8), {"kernel_shape": [2, 3], "dilations": [3, 2], "strides": [2, 2], "pads": [1, 1, 0, 2]}),
    "ceil": ((1, 3, 10, 10), {"kernel_shape": [2, 2], "dilations": [2, 3], "strides": [2, 3], "ceil_mode": 1}),
    "same": ((1, 3, 7, 8), {"kernel_shape": [3, 3], "dilations": [2, 2], "strides": [2, 1], "auto_pad": "SAME_UPPER"}),
    "not dilated": ((2, 3, 7, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}),
    "not dilated, padded behind": ((2, 3, 6, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    "3d": ((1, 2, 5, 6, 4), {"kernel_shape": [2, 2, 2], "dilations": [2, 3, 1], "pads": [1, 0, 0, 0, 1, 0]}),
}


@pytest.mark.long(one_in=2)
@pytest.mark.parametrize("name", POOLS)
def test_maxima_are_those_of_onnx_and_derivatives_go_to_the_winners(name, tmp_path):
    shape, attributes = POOLS[name]
    x = drawn(*shape)
    found, expected = computed(proto([node("MaxPool", "x", **attributes)], {}, x=shape, opset=12), x, tmp_path)
    np.testing.assert_array_equal(found[0], expected[0])
    # No two numbers are equal, so each maximum is at the place where its number is.
    arriving = np.zeros(shape)
    for number in expected[0].ravel():
        arriving[np.nonzero(x == number)] += 1
    model = xr.from_onnx(tmp_path / "net.onnx")
    images = jnp.moveaxis(x, 1, -1) if model.function.channels_first else x
    gradient = jax.grad(lambda images: model(images).sum())(images)
    np.testing.assert_array_equal(gradient if gradient.shape == shape else np.moveaxis(gradient, -1, 1), arriving)


@pytest.mark.parametrize(("pads", "fast"), [([0] * 4, True), ([1] * 4, True), ([0, 0, 1, 1], False)])
def test_squares_with_the_same_padding_on_all_sides_are_pooled_by_the_fast_operation(pads, fast, tmp_path):
    made = node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=pads)
    model = xr.from_onnx(written(proto([made], {}, x=(2, 3, 8, 8)), tmp_path))
    (shape,) = model.input_shapes.values()
    assert ("xrcam_jax.max_pool" in str(jax.make_jaxpr(model.function)(jnp.zeros(shape), model.parameters))) == fast


@pytest.fixture
def network(tmp_path):
    """Leaky ReLU of a convolution, dilated pooling, mean and head; and the same of shifted slices in JAX."""
    nodes = [
        node("Conv", "x w", "c", name="/conv", pads=[1] * 4),
        node("LeakyRelu", "c", "r", name="/act", alpha=0.1),
        node("MaxPool", "r", "m", name="/pool", kernel_shape=[2, 2], dilations=[2, 1]),
        node("GlobalAveragePool", "m", "g"),
        node("Flatten", "g", "f"),
        node("MatMul", "f head"),
    ]
    w, head = drawn(4, 3, 3, 3), drawn(4, 3)

    def pooled(z):
        return jnp.stack([z[:, i : i + 6, j : j + 7] for i, j in product((0, 2), (0, 1))]).max(0)

    def in_jax(x):
        c = jax.lax.conv_general_dilated(
            x, w.transpose(2, 3, 1, 0), (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return pooled(jax.nn.leaky_relu(xr.mark(c, "conv"), 0.1)).mean((1, 2)) @ head

    return xr.from_onnx(written(proto(nodes, {"w": w, "head": head}, x=(1, 3, 8, 8)), tmp_path)), in_jax


def test_gradients_and_relevance_are_those_of_shifted_slices(network):
    x, targets = drawn(2, 8, 8, 3), [0, 2]
    methods = ("gradient", "gradient_x_input", "integrated_gradients", "lrp", "grad_cam", "xrelevance_cam")
    found, wanted = (xr.Explainer(each, methods=methods, layers=["conv"])(x, targets) for each in network)
    np.testing.assert_allclose(found.logits, wanted.logits, rtol=1e-5, atol=1e-6)
    for method in methods:
        ours, theirs = (e.maps[method]["conv"] for e in (found, wanted))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max(), err_msg=method)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_contributions_of_deep_lift_sum_to_the_change_of_the_logit(rule, network):
    model, in_jax = network
    x = drawn(2, 8, 8, 3)
    found = xr.attribute(model, x, "deep_lift", [0, 2], ["input"], rule=rule).attributions["deep_lift"]["input"]
    change = (in_jax(x) - in_jax(np.zeros_like(x)))[jnp.arange(2), jnp.array([0, 2])]
    np.testing.assert_allclose(found.sum((1, 2, 3)), change, rtol=1e-4)
