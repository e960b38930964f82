"""Gradients, DeepLIFT and integrated gradients of a small network are captum's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import xrcam_jax as xr
from tests import oracle

pytestmark = pytest.mark.long(one_in=5)


def small_cnn(x, p):
    """The network of the references: three convolutions with biases, one max pooling."""
    p = {name: value.astype(x.dtype) for name, value in p.items()}

    def conv(x, name, stride):
        w = p[f"conv{name}.weight"].transpose(2, 3, 1, 0)
        z = lax.conv_general_dilated(
            x, w, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jax.nn.relu(z + p[f"conv{name}.bias"])

    x = conv(conv(x, 1, 1), 2, 2)
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return conv(x, 3, 1).mean((1, 2)) @ p["fc.weight"].T + p["fc.bias"]


@pytest.fixture(scope="module")
def captum():
    """captum's attributions in NHWC, the network that they are for, its images and targets."""
    with np.load(oracle.DATA / "zennit_smallcnn.npz") as arrays:
        prefix = "plain/param/"
        p = {k.removeprefix(prefix): arrays[k] for k in arrays if k.startswith(prefix)}
        x, targets = arrays["images"].astype(np.float64).transpose(0, 2, 3, 1), arrays["plain/target_argmax"]
    with np.load(oracle.DATA / "captum_smallcnn.npz") as arrays:
        found = {k: a.transpose(0, 2, 3, 1) if a.ndim == 4 else a for k, a in dict(arrays).items()}
    return found, lambda x: small_cnn(x, p), x, targets


def relative(found, wanted):
    return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("key", "method"),
    [("saliency_signed", "gradient"), ("guidedbackprop", "guided_backprop"), ("deconv", "deconvnet")],
)
def test_gradients_are_captums(key, method, captum):
    wanted, model, x, targets = captum
    found = xr.attribute(model, x, method, targets).attributions[method]["input"]
    assert relative(found, wanted[f"{key}_argmax"]) < 2e-7


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("baseline", ["zero", "flip"])
def test_deep_lift_is_captums_with_the_gradient_for_max_pooling(baseline, captum):
    wanted, model, x, targets = captum
    start = wanted["baseline_flip"].astype(np.float64) if baseline == "flip" else 0.0
    e = xr.attribute(model, x, "deep_lift", targets, baseline=start, max_pool="gradient")
    assert relative(e.attributions["deep_lift"]["input"], wanted[f"deeplift_{baseline}_argmax"]) < 2e-7
    # captum's delta has the other sign
    delta = -wanted[f"deeplift_{baseline}_argmax_delta"]
    assert np.abs(delta).min() > 1e-4
    np.testing.assert_allclose(e.errors["deep_lift"]["input"], delta, atol=1e-6)
    own = xr.attribute(model, x, "deep_lift", targets, baseline=start)
    np.testing.assert_allclose(own.errors["deep_lift"]["input"], 0, atol=1e-9)


@pytest.mark.parametrize("baseline", ["zero", "flip"])
def test_integrated_gradients_are_captums(baseline, captum):
    # in float32: CPUs take a minute for as many convolutions in float64
    wanted, model, x, targets = captum
    start = wanted["baseline_flip"] if baseline == "flip" else 0.0
    e = xr.attribute(model, x.astype(np.float32), "integrated_gradients", targets, baseline=start, steps=50)
    found = e.attributions["integrated_gradients"]["input"]
    assert relative(np.asarray(found), wanted[f"ig50gl_{baseline}_argmax"]) < 2e-6
