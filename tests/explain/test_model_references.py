"""Maps of token models and convolutional networks against pytorch-grad-cam, in float64 and before any scaling.

Some shallow networks are compared in every run, those of all classes and whole networks by ``XRCAM_TEST_WHOLE=1``.
"""

import os

import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests import oracle
from tests.models.shallow import CHANGES, shallow
from xrcam_jax.checkpoints.convert import from_timm

WHOLE = "XRCAM_TEST_WHOLE" in os.environ
EVERY_RUN = ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mobilenetv3_small_100")
#: Our name to the library's.
NAMES = {
    "grad_cam": "gradcam",
    "grad_cam_pp": "gradcampp",
    "x_grad_cam": "xgradcam",
    "layer_cam": "layercam",
    "hires_cam": "hirescam",
    "eigen_cam": "eigencam",
}
#: For timm's modules in the shallow and in the whole network, our layers.
LAYERS = {
    # At the last, a norm, it has to be said which tokens are patches.
    "vit_tiny_patch16_224": (
        {"blocks.1": "layer4", "blocks.2.norm1": "blocks/2/norm1"},
        {"blocks.5": "layer2", "blocks.10": "layer4", "blocks.11.norm1": "blocks/11/norm1"},
    ),
    "swin_tiny_patch4_window7_224": ({"layers.1": "layer2", "layers.2": "layer3"}, {"layers.1": "layer2"}),
    "convnext_atto": ({"stages.1": "layer2", "stages.2": "layer3"},) * 2,
    "vgg16": (
        {"features.4": "features/4", "features.9": "features/9"},
        {"features.15": "features/15", "features.22": "features/22"},
    ),
    "densenet121": ({"features.denseblock2": "layer2", "features.norm5": "layer4"},) * 2,
    "mobilenetv3_small_100": (
        {"blocks.0": "layer1", "blocks.1": "layer2"},
        {"blocks.1": "layer2", "blocks.3": "layer3"},
    ),
}


def compare(model, images, wanted, layers, tokens=None, without=()):
    names = {method: name for method, name in NAMES.items() if method not in without}
    e = xr.Explainer(model, tuple(names), tuple(layers.values()), tokens=tokens)(images, wanted["target"])
    for method, name in names.items():
        for module, layer in layers.items():
            ours, raw = np.asarray(e.raw[method][layer]), wanted[f"{name}/{module}"]
            if method == "eigen_cam":
                # The library leaves the sign of a principal component to LAPACK.
                raw = raw * np.sign((raw * ours).sum((1, 2), keepdims=True))
            largest = np.abs(raw).max((1, 2), keepdims=True)
            assert (np.abs(ours - raw) / largest).max() < 1e-6, (method, layer)
    return e


def tokens(name, side):
    return xr.Tokens(grid=(side, side), prefix=1) if name.startswith("vit") else None


@pytest.mark.long(but=["vit_tiny", "mobilenetv3"])
@pytest.mark.usefixtures("float64", "mixed")
@pytest.mark.parametrize("name", CHANGES if WHOLE else EVERY_RUN)
def test_maps_of_shallow_networks_are_those_of_pytorch_grad_cam(name):
    with shallow(name) as model, np.load(oracle.DATA / f"shallow_{name}.npz") as wanted:
        e = compare(model, oracle.images().astype(np.float64), wanted, LAYERS[name][0], tokens(name, 4))
        np.testing.assert_allclose(e.logits, wanted["logits_f64"], rtol=1e-10, atol=1e-10)


@pytest.mark.skipif(not WHOLE, reason="whole networks take minutes: XRCAM_TEST_WHOLE=1")
@pytest.mark.usefixtures("float64", "mixed")
@pytest.mark.parametrize("name", CHANGES)
def test_maps_of_whole_networks_are_those_of_pytorch_grad_cam(name):
    images = oracle.images() if name == "vgg16" else oracle.model_images(name)
    model = from_timm(name, oracle.seeded_state(name), dtype=jnp.float64)
    with np.load(oracle.DATA / f"maps_{name}.npz") as wanted:
        # PyTorch's derivative of a hard sigmoid has 1/6 in single precision, also of float64. Near the poles of
        # Grad-CAM++'s weights, which go to thousands here, that is an error of a thousandth.
        without = ("grad_cam_pp",) if name.startswith("mobilenet") else ()
        compare(model, images.astype(np.float64), wanted, LAYERS[name][1], tokens(name, 14), without)
