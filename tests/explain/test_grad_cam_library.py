"""Maps of two full networks against pytorch-grad-cam, in float64 and before any scaling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests import oracle
from xrcam_jax.checkpoints.convert import from_timm

LAYERS = ("layer1", "layer2", "layer3", "layer4")
#: Our name to the library's.
NAMES = {
    "grad_cam": "gradcam",
    "grad_cam_pp": "gradcampp",
    "x_grad_cam": "xgradcam",
    "hires_cam": "hirescam",
    "layer_cam": "layercam",
    "elementwise_grad_cam": "gradcamew",
    "eigen_cam": "eigencam",
    "eigen_grad_cam": "eigengradcam",
}
#: The library leaves the sign of a principal component to LAPACK.
UP_TO_SIGN = ("eigen_cam", "eigen_grad_cam")
MODELS = (("resnet50", 1000), ("skresnext50_32x4d", 2))


def stored(name):
    with np.load(oracle.DATA / f"{name}.npz") as arrays:
        return dict(arrays)


def explained(model, images, targets, **arguments):
    """What an Explainer finds, as one program, optimised: unlike the rest of the suite's these run for long."""
    explain = xr.Explainer(model, **arguments)
    run = jax.jit(explain.explain, compiler_options={"xla_backend_optimization_level": 2})
    return jax.device_get(run(explain.parameters, images, targets))


def error(found, wanted):
    """Largest difference, relative to the largest value of each image's map."""
    largest = np.abs(wanted).max((-2, -1), keepdims=True)
    return (np.abs(np.asarray(found) - wanted) / largest).max()


@pytest.mark.long
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "classes"), MODELS)
def test_maps_of_one_call_are_those_of_pytorch_grad_cam(name, classes):
    wanted = stored(f"cam_{name}_nc{classes}")
    targets = np.stack([wanted["argmax"], wanted["other"]], axis=1)
    model = from_timm(name, oracle.seeded_state(name, classes), dtype=jnp.float64)
    e = explained(model, oracle.images().astype(np.float64), targets, methods=tuple(NAMES))
    np.testing.assert_array_equal(e.logits.argmax(1), wanted["argmax"])
    compared = 0
    for method, name_in_library in NAMES.items():
        for layer in LAYERS:
            for t, target in enumerate(("argmax", "other")):
                key = f"{name_in_library}_{layer}_{target}_raw"
                if method == "eigen_cam" and target == "other":
                    # It is stored once, since it does not depend on the class.
                    assert key not in wanted
                    key = f"{name_in_library}_{layer}_argmax_raw"
                raw, ours = wanted[key], np.asarray(e.raw[method][layer][:, t])
                if method in UP_TO_SIGN:
                    sign = np.sign((raw * ours).sum((1, 2), keepdims=True))
                    assert np.all(sign != 0)
                    raw = raw * sign
                assert error(ours, raw) < 1e-6, (method, layer, target)
                compared += 1
    assert compared == 64

    for layer in LAYERS:
        for t, target in enumerate(("argmax", "other")):
            final = wanted[f"gradcam_{layer}_{target}_final"]
            np.testing.assert_allclose(e.maps["grad_cam"][layer][:, t], final, atol=1e-5)
    # The library divides by max + 1e-7, which weighs layers of small values down a little.
    np.testing.assert_allclose(e.aggregate("grad_cam")[:, 0], wanted["gradcam_all4_argmax_final"], atol=5e-4)


@pytest.fixture(scope="module")
def single():
    """ResNet50 in single precision, as the library's scores are in these methods, and what it finds."""
    return from_timm("resnet50", oracle.seeded_state("resnet50")), stored("cam_perturb_resnet50")


@pytest.mark.long
def test_score_cam_is_that_of_pytorch_grad_cam(single):
    model, wanted = single
    e = explained(
        model, oracle.images()[:1], wanted["argmax"][:1], methods="score_cam", layers="layer1", chunk_size=300,
        options={"score_cam": {"weights": "softmax", "align_corners": True}},
    )  # fmt: skip
    assert error(e.raw["score_cam"]["layer1"], wanted["scorecam_layer1_argmax_raw"][:1]) < 1e-5
    np.testing.assert_allclose(e.maps["score_cam"]["layer1"], wanted["scorecam_layer1_argmax_final"][:1], atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize(("layer", "target"), [("layer1", "other"), ("layer4", "argmax")])
def test_ablation_cam_is_that_of_pytorch_grad_cam(layer, target, single):
    model, wanted = single
    # Of two images the second: in the other test it is the first.
    images, targets = oracle.images()[1:], wanted[target][1:]
    e = explained(model, images, targets, methods="ablation_cam", layers=layer, chunk_size=3000)
    assert error(e.raw["ablation_cam"][layer], wanted[f"ablationcam_{layer}_{target}_raw"][1:]) < 3e-4
