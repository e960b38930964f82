"""FullGrad, ShapleyCAM, Finer-CAM, KPCA-CAM and RefineCAM against pytorch-grad-cam, in float64 before any scaling."""

import jax
import numpy as np
import pytest
from jax import lax

import xrcam_jax as xr
from tests import oracle
from xrcam_jax.cam.saliency import fused

LAYERS = ("relu2", "relu3")
#: Our name to the library's, and which of the targets below is compared.
NAMES = {
    "shapley_cam": ("shapleycam/rest", 1),
    "shapley_cam+utility=logit": ("shapleycam/logit", 1),
    "shapley_cam+utility=probability": ("shapleycam/probability", 1),
    "finer_cam": ("finercam/1.0", 0),
    "finer_cam+alpha=0.6": ("finercam/0.6", 0),
    "finer_cam+alpha=0.6+comparison=5x7": ("finercam/named", 2),
    "kpca_cam": ("kpcacam/sigmoid", 0),
    "kpca_cam+kernel=rbf": ("kpcacam/rbf", 0),
    "kpca_cam+kernel=polynomial": ("kpcacam/poly", 0),
}


def network(p):
    """The network of the references, with its ReLUs as layers."""

    def conv(x, name, stride):
        w = p[f"conv{name}.weight"].transpose(2, 3, 1, 0)
        z = lax.conv_general_dilated(
            x, w, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        mean, var = p[f"bn{name}.running_mean"], p[f"bn{name}.running_var"]
        z = z + p[f"conv{name}.bias"] - mean
        z = z * (p[f"bn{name}.weight"] / np.sqrt(var + 1e-5)) + p[f"bn{name}.bias"]
        return xr.mark(jax.nn.relu(z), f"relu{name}")

    def model(x):
        x = conv(conv(x, 1, 1), 2, 2)
        x = lax.reduce_window(x, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return conv(x, 3, 1).mean((1, 2)) @ p["fc.weight"].T + p["fc.bias"]

    return model


def stored(name):
    with np.load(oracle.DATA / f"{name}.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def compared():
    """What the library found, and what is found here for its targets argmax, other and 2."""
    given, wanted, start = stored("zennit_smallcnn"), stored("more_cams_small"), "bn/param/"
    with jax.enable_x64(True):
        p = {k.removeprefix(start): a.astype(np.float64) for k, a in given.items() if k.startswith(start)}
        images = given["images"].astype(np.float64).transpose(0, 2, 3, 1)
        targets = np.stack([wanted["argmax"], wanted["other"], np.full(len(images), 2)], axis=1)
        found = xr.Explainer(network(p), (*NAMES, "full_grad"), LAYERS)(images, targets)
        maps = xr.attribute(network(p), images, "grad_cam_pp", targets[:, 0]).maps["grad_cam_pp"]
        by_layer = [maps[layer] for layer in ("relu1", *LAYERS)]
        found, together = jax.device_get((found, fused(by_layer, "product")))
    np.testing.assert_array_equal(found.logits.argmax(1), wanted["argmax"])
    return wanted, found, together


def error(found, wanted):
    """Largest difference, relative to the largest value of each picture's map."""
    return (np.abs(found - wanted) / np.abs(wanted).max((1, 2), keepdims=True)).max()


@pytest.mark.long(one_in=3)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", NAMES)
def test_maps_are_those_of_pytorch_grad_cam(name, layer, compared):
    wanted, found, _ = compared
    key, target = NAMES[name]
    raw, ours = wanted[f"{key}/{layer}"], found.raw[name][layer][:, target]
    if name.startswith("kpca_cam"):
        # The library makes the largest value positive, and ours rise with the activation.
        raw = raw * np.sign((raw * ours).sum((1, 2), keepdims=True))
    assert error(ours, raw) < 1e-6


@pytest.mark.parametrize(("target", "name"), [(0, "argmax"), (1, "other")])
def test_full_grad_is_that_of_pytorch_grad_cam(target, name, compared):
    wanted, found, _ = compared
    assert error(found.raw["full_grad"]["input"][:, target], wanted[f"fullgrad/{name}"]) < 1e-6


def test_refine_cam_is_the_product_over_layers(compared):
    """The library takes no root, and scales each layer's map twice."""
    wanted, _, together = compared
    np.testing.assert_allclose(together**3, wanted["refinecam"], atol=1e-5)
