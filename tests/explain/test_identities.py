"""What the definitions imply, in float64: no reference needed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.explain import small
from tests.lrp import networks
from xrcam_jax.lrp.composites import WEIGHTED_KINDS, Assign, Composite
from xrcam_jax.lrp.rules import Epsilon, Gradient

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.long(one_in=3)]


def setting():
    return small.Network(small.weights(dtype=np.float64)), small.images(dtype=np.float64)


def explained(methods, **options):
    model, images = setting()
    return xr.Explainer(model, methods, **options)(images)


def scaled(maps):
    return maps / np.abs(maps).max((-2, -1), keepdims=True)


def test_behind_global_pooling_four_cams_are_one_up_to_scale():
    e = explained(("cam", "grad_cam", "x_grad_cam", "hires_cam"))
    wanted = scaled(np.asarray(e.raw["cam"]["last"]))
    for method in ("grad_cam", "x_grad_cam", "hires_cam"):
        np.testing.assert_allclose(scaled(np.asarray(e.raw[method]["last"])), wanted, atol=1e-5)


def test_cam_weighs_channels_by_the_classifier():
    model, images = setting()
    head = np.asarray(small.weights(dtype=np.float64)[2])
    e = xr.attribute(model, images, "cam", targets=[0, 2])
    activations = xr.taps(
        model, xr.composites.gradient(), jnp.asarray(images), seed=lambda y: jnp.zeros_like(y)
    ).activations["last"]
    assert list(e.raw["cam"]) == ["last"]
    for i, target in enumerate((0, 2)):
        np.testing.assert_allclose(e.raw["cam"]["last"][i], activations[i] @ head[:, target], rtol=1e-10)


def test_cam_is_refused_where_more_than_pooling_and_a_linear_layer_follows():
    with pytest.raises(ValueError, match="cam is defined for a layer that only global pooling"):
        explained("cam", layers="first")


def test_xrelevance_cam_conserves_the_relevance_of_each_layer():
    model, images = setting()
    e = xr.Explainer(model, "xrelevance_cam")(images)
    relevances = xr.taps(
        model, xr.composites.relevance_cam(), jnp.asarray(images), seed=lambda y: xr.seeds.contrastive(y, e.targets)
    ).relevances
    for layer in small.LAYERS:
        np.testing.assert_allclose(
            e.raw["xrelevance_cam"][layer].sum((1, 2)), relevances[layer].sum((1, 2, 3)), rtol=1e-6
        )


def test_xrelevance_cam_conserves_through_gates_and_norms_too():
    f, args, x = networks.functions(jnp.float64)["nnx"]
    e = xr.attribute(lambda x: f(x, *args), x, "xrelevance_cam", targets=[1, 3])

    @jax.jit
    def relevances_of(x, *args):
        return xr.taps(
            f, xr.composites.relevance_cam(), x, *args, seed=lambda y: xr.seeds.contrastive(y, jnp.array([1, 3]))
        ).relevances

    relevances = relevances_of(x, *args)
    for layer in ("first", "second"):
        total = relevances[layer].sum((1, 2, 3))
        np.testing.assert_allclose(e.raw["xrelevance_cam"][layer].sum((1, 2)), total, rtol=1e-6)
        # All of the seed's, since these rules conserve.
        np.testing.assert_allclose(total, 1 - 4 / 5, rtol=1e-6)


@pytest.mark.parametrize("layers", [None, ["last"]])
def test_contributions_sum_to_the_difference_of_the_logits(layers):
    model, images = setting()
    baseline = small.images(seed=7, dtype=np.float64)
    options = {"integrated_gradients": {"steps": 300, "baseline": baseline}, "deep_lift": {"baseline": baseline}}
    e = xr.Explainer(model, tuple(options), layers, options=options)(images, [0, 2])
    difference = (np.asarray(model(images)) - np.asarray(model(baseline)))[[0, 1], [0, 2]]
    for method, tolerance in (("integrated_gradients", 1e-3), ("deep_lift", 1e-12)):
        (layer,) = e.attributions[method]
        found = np.asarray(e.attributions[method][layer]).sum((1, 2, 3))
        np.testing.assert_allclose(found, difference, atol=tolerance)
        np.testing.assert_allclose(e.errors[method][layer], difference - found, atol=1e-12)


def test_lrp_epsilon_is_gradient_times_input_without_biases():
    rules = Composite((Assign(Epsilon(0.0), kinds=(*WEIGHTED_KINDS, "sum")),), default=Gradient())
    model, images = setting()
    lrp = xr.attribute(model, images, "lrp", composite=rules).attributions["lrp"]["input"]
    wanted = xr.attribute(model, images, "gradient_x_input").attributions["gradient_x_input"]["input"]
    np.testing.assert_allclose(lrp, wanted, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("base", ["gradient", "grad_cam", "occlusion"])
def test_smooth_grad_without_noise_is_the_method(base):
    model, images = setting()
    wanted = xr.attribute(model, images, base, **small.FEW.get(base, {}))
    options = {} if base == "occlusion" else {"samples": 3}
    found = xr.attribute(model, images, "smooth_grad", base=base, noise=0.0, **options, **small.FEW.get(base, {}))
    for layer, raw in wanted.raw[base].items():
        np.testing.assert_allclose(found.raw["smooth_grad"][layer], raw, rtol=1e-9)


def test_the_gradient_is_jax_grad():
    model, images = setting()
    e = xr.attribute(model, images, "gradient")
    wanted = jax.grad(lambda x: model(x)[jnp.arange(len(x)), e.targets].sum())(jnp.asarray(images))
    np.testing.assert_allclose(e.attributions["gradient"]["input"], wanted, rtol=1e-12)
    np.testing.assert_allclose(e.raw["gradient"]["input"], np.abs(wanted).max(-1), rtol=1e-12)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_bent_gradients_are_those_of_bent_relus(method, monkeypatch):
    model, images = setting()
    found = xr.attribute(model, images, method, targets=[0, 1]).attributions[method]["input"]

    @jax.custom_vjp
    def relu(x):
        return jnp.maximum(x, 0)

    def backward(x, g):
        return (jnp.where(x > 0, jnp.maximum(g, 0), 0) if method == "guided_backprop" else jnp.maximum(g, 0),)

    relu.defvjp(lambda x: (relu(x), x), backward)
    monkeypatch.setattr(jax.nn, "relu", relu)
    wanted = jax.grad(lambda x: model(x)[jnp.arange(2), jnp.array([0, 1])].sum())(jnp.asarray(images))
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


@pytest.mark.long
def test_guided_grad_cam_is_the_product_of_its_parts():
    model, images = setting()
    e = xr.Explainer(model, ("guided_grad_cam", "grad_cam"), small.LAYERS)(images)
    backprop = xr.attribute(model, images, "guided_backprop").attributions["guided_backprop"]["input"]
    for layer in small.LAYERS:
        cam = np.maximum(np.asarray(e.raw["grad_cam"][layer]), 0)
        low, high = cam.min((1, 2), keepdims=True), cam.max((1, 2), keepdims=True)
        large = jax.image.resize((cam - low) / (high - low), (2, 16, 16), "bilinear")
        wanted = backprop * large[..., None]
        np.testing.assert_allclose(e.attributions["guided_grad_cam"][layer], wanted, atol=1e-12)
