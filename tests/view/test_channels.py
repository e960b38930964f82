"""What channels contribute sums to the map that the Explainer makes, and is weight times activation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.view.small import NETWORK, pixels
from xrcam_jax.pictures.preprocessing import preprocess
from xrcam_jax.view.channels import ACTIVATION, explainer

IMAGES = preprocess([pixels(0)], NETWORK.preprocessing)
LAYERS = ("layer1", "layer2")
CAMS = ("xrelevance_cam", "layer_cam", "ablation_cam")


@pytest.fixture(scope="module")
def expected():
    return xr.Explainer(NETWORK, CAMS, LAYERS)(IMAGES, np.int32([1]))


def explained(method, layers=LAYERS):
    return explainer(NETWORK, method, layers)(IMAGES, np.int32([1]))


@pytest.mark.long(one_in=2)
@pytest.mark.parametrize("method", CAMS)
def test_contributions_sum_to_the_map(method, expected):
    found = explained(method)
    for layer in LAYERS:
        raw = np.asarray(expected.raw[method][layer])
        scale = abs(raw).max()
        np.testing.assert_allclose(found.attributions[method][layer].sum(-1), raw, atol=1e-5 * scale)
        np.testing.assert_allclose(found.maps[method][layer], expected.maps[method][layer], atol=1e-4)


def test_a_contribution_is_weight_times_activation():
    found = explained("grad_cam")
    taps = xr.taps(NETWORK, xr.composites.gradient(), jnp.asarray(IMAGES), seed=jnp.array([[0.0, 1.0, 0.0]]))
    for layer in LAYERS:
        activation, gradient = np.asarray(taps.activations[layer]), np.asarray(taps.relevances[layer])
        np.testing.assert_allclose(found.attributions[ACTIVATION][layer], activation, rtol=1e-5, atol=1e-5)
        expected = gradient.mean((1, 2), keepdims=True) * activation
        np.testing.assert_allclose(found.attributions["grad_cam"][layer], expected, rtol=1e-4, atol=1e-5)


def test_a_method_of_values_has_the_input_too():
    found = explained("gradient_x_input", ("layer2", "input"))
    np.testing.assert_array_equal(found.attributions[ACTIVATION]["input"], IMAGES)
    expected = jax.grad(lambda x: NETWORK(x)[0, 1])(jnp.asarray(IMAGES)) * IMAGES
    np.testing.assert_allclose(found.attributions["gradient_x_input"]["input"], expected, rtol=1e-3, atol=1e-5)


def test_a_perturbation_has_no_channels():
    assert explained("occlusion", ("input",)).attributions == {}
