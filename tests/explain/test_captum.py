"""Attributions of ResNet50's input against captum's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests import oracle
from xrcam_jax.checkpoints.convert import from_timm

NAME = "resnet50"


@pytest.fixture(scope="module")
def wanted():
    """captum's arrays, channels last."""
    with np.load(oracle.DATA / "captum_resnet50.npz") as arrays:
        return {key: a.transpose(0, 2, 3, 1) if a.ndim == 4 else a for key, a in arrays.items()}


@pytest.fixture(scope="module")
def double():
    with jax.enable_x64(True):
        return from_timm(NAME, oracle.seeded_state(NAME), dtype=jnp.float64)


@pytest.fixture(scope="module")
def single():
    return from_timm(NAME, oracle.seeded_state(NAME))


def explained(model, images, targets, methods, **options):
    """What an Explainer finds, as one program, optimised: unlike the rest of the suite's these run for long."""
    explain = xr.Explainer(model, methods, chunk_size=64, options={methods: options} if options else {})
    run = jax.jit(explain.explain, compiler_options={"xla_backend_optimization_level": 2})
    return jax.device_get(run(explain.parameters, images, targets))


def error(found, wanted):
    """Largest difference, relative to the largest value of each image."""
    axes = tuple(range(1, wanted.ndim))
    return (np.abs(found - wanted).max(axes) / np.abs(wanted).max(axes)).max()


@pytest.mark.long
def test_gradients_and_what_bends_them(double, wanted, float64):
    methods = {
        "gradient": "saliency_signed",
        "gradient_x_input": "inputxgrad",
        "guided_backprop": "guidedbackprop",
        "deconvnet": "deconv",
    }
    targets = np.stack([wanted["argmax"], wanted["other"]], axis=1)
    e = explained(double, oracle.images().astype(np.float64), targets, tuple(methods))
    for method, name in methods.items():
        assert error(e.attributions[method]["input"][:, 0], wanted[f"{name}_argmax"]) < 1e-6, method
    assert error(e.attributions["gradient"]["input"][:, 1], wanted["saliency_signed_other"]) < 1e-6
    # A map is the largest absolute value over the channels, or their sum where values have been multiplied in.
    for method in ("gradient", "guided_backprop", "deconvnet"):
        largest = np.abs(wanted[f"{methods[method]}_argmax"]).max(-1)
        assert error(e.raw[method]["input"][:, 0], largest) < 1e-6, method
    assert error(e.raw["gradient_x_input"]["input"][:, 0], wanted["inputxgrad_argmax"].sum(-1)) < 1e-6


@pytest.mark.long
def test_deep_lift_with_the_gradient_of_max_pooling(double, wanted, float64):
    targets = np.stack([wanted["argmax"], wanted["other"]], axis=1)
    e = explained(double, oracle.images().astype(np.float64), targets, "deep_lift", max_pool="gradient")
    for t, target in enumerate(("argmax", "other")):
        assert error(e.attributions["deep_lift"]["input"][:, t], wanted[f"deeplift_{target}"]) < 1e-6
    np.testing.assert_allclose(e.errors["deep_lift"]["input"], 0, atol=1e-10)


@pytest.mark.long
def test_deep_lift_sums_to_the_difference_of_logits_against_another_picture(double, wanted, float64):
    images = oracle.images().astype(np.float64)
    e = explained(double, images, wanted["argmax"], "deep_lift", baseline=images[::-1])
    # The baseline of each image is the other one, so its logits are the other row.
    rows = np.arange(2)
    difference = e.logits[rows, wanted["argmax"]] - e.logits[rows[::-1], wanted["argmax"]]
    assert np.abs(difference).min() > 1e-3
    np.testing.assert_allclose(e.attributions["deep_lift"]["input"].sum((1, 2, 3)), difference, rtol=1e-8)
    np.testing.assert_allclose(e.errors["deep_lift"]["input"], 0, atol=1e-10)


@pytest.mark.long
def test_integrated_gradients(single, wanted):
    """In single precision, since the kinks of the ReLUs leave no more than three digits in any case."""
    e = explained(single, oracle.images(), wanted["argmax"], "integrated_gradients", steps=50)
    found = e.attributions["integrated_gradients"]["input"]
    assert error(found, wanted["ig50gl_argmax"]) < 5e-3
    assert np.linalg.norm(found - wanted["ig50gl_argmax"]) < 2e-3 * np.linalg.norm(wanted["ig50gl_argmax"])
    # captum's delta is the sum minus the difference, ours the difference minus the sum
    np.testing.assert_allclose(e.errors["integrated_gradients"]["input"], -wanted["ig50gl_argmax_delta"], atol=2e-4)


@pytest.mark.long
@pytest.mark.parametrize(("window", "stride"), [(16, 8), (15, 10)])
def test_occlusion_even_where_the_last_window_is_cut_off(window, stride, single, wanted):
    e = explained(single, oracle.images(), wanted["argmax"], "occlusion", window=window, stride=stride)
    assert error(e.raw["occlusion"]["input"], wanted[f"occl_w{window}s{stride}_argmax_ch0"]) < 1e-4
