"""Methods made of methods: SmoothGrad around any other, and guided backprop times any class activation map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.explain import small

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.long(one_in=3)]
RANGES = (1.0, 20.0, 0.1)


def energy(x):
    """The first class's gradient at an image is the image itself: it shows what a method looked at."""
    x = xr.mark(x, "first")
    half = (x**2).sum((1, 2, 3)) / 2
    return jnp.stack([half, -2 * half], axis=1)


def pictures():
    """Random ones of different ranges, and last one without any."""
    drawn = np.random.default_rng(0).uniform(-0.5, 0.5, (len(RANGES), 24, 24, 3))
    drawn[:, 0, 0, 0], drawn[:, 0, 0, 1] = -0.5, 0.5
    return np.concatenate([drawn * np.reshape(RANGES, (-1, 1, 1, 1)), np.full((1, 24, 24, 3), 3.0)])


def smooth(targets=0, **arguments):
    options = {key: value for key, value in arguments.items() if key not in ("random_seed", "chunk_size", "layers")}
    rest = {key: value for key, value in arguments.items() if key not in options}
    explain = xr.Explainer(energy, "smooth_grad", options={"smooth_grad": options}, **rest)
    images = pictures()
    return explain(images, np.broadcast_to(targets, (len(images), *np.shape(targets))))


def looked_at(**arguments):
    """The mean of the images that SmoothGrad looked at."""
    return np.asarray(smooth(**arguments).attributions["smooth_grad"]["input"])


@pytest.mark.parametrize("samples", [1, 9])
def test_noise_is_a_share_of_each_images_range(samples):
    noise = looked_at(samples=samples, noise=0.2) - pictures()
    deviations = np.array(RANGES) * 0.2 / np.sqrt(samples)
    np.testing.assert_allclose(noise[:-1].std((1, 2, 3)), deviations, rtol=0.1)
    np.testing.assert_allclose(noise[:-1].mean((1, 2, 3)) / deviations, 0, atol=0.1)
    np.testing.assert_allclose(noise[-1], 0, atol=1e-12)


def test_every_image_copy_and_seed_has_noise_of_its_own():
    one, two, other = (
        (looked_at(samples=samples, random_seed=seed) - pictures())[:-1].reshape(len(RANGES), -1)
        for samples, seed in ((1, 0), (2, 0), (1, 1))
    )
    second = 2 * two - one
    correlations = np.corrcoef(np.concatenate([one, second, other]))
    np.testing.assert_allclose(correlations, np.eye(len(correlations)), atol=0.12)
    np.testing.assert_array_equal(one, (looked_at(samples=1) - pictures())[:-1].reshape(len(RANGES), -1))


@pytest.mark.parametrize("chunk_size", [1, 2, 5])
def test_chunks_make_no_difference(chunk_size):
    np.testing.assert_allclose(looked_at(samples=5, chunk_size=chunk_size), looked_at(samples=5), rtol=1e-12)


@pytest.mark.parametrize("base", ["hires_cam", "occlusion"])
def test_what_is_averaged_is_what_the_method_says_of_each_noisy_image(base):
    """Of class 0 both only look at the squared pixels, of class 1 at -2 times these."""
    squares = smooth(base="gradient_x_input", samples=3).attributions["smooth_grad"]["input"]
    assert np.abs(squares - pictures() ** 2).max() > 0.1
    if base == "hires_cam":
        (found,) = smooth([0, 1], base=base, samples=3).raw["smooth_grad"].values()
        wanted = squares.sum(-1)
    else:
        options = {"window": 12, "stride": 12}
        (found,) = smooth([0, 1], base=base, samples=3, **options).raw["smooth_grad"].values()
        windows = squares.reshape(-1, 2, 12, 2, 12, 3).sum((2, 4, 5)) / 2
        wanted = windows.repeat(12, axis=1).repeat(12, axis=2)
    np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-9)
    np.testing.assert_allclose(found[:, 1], -2 * wanted, rtol=1e-9)


@pytest.fixture(scope="module")
def network():
    with jax.enable_x64(True):
        return small.Network(small.weights(dtype=np.float64))


def product(backprop, raw):
    """Guided backprop times a map, cut off at zero, scaled and enlarged."""
    cam = np.maximum(np.asarray(raw), 0)
    cam = (cam - cam.min((-2, -1), keepdims=True)) / np.ptp(cam, (-2, -1), keepdims=True)
    return np.asarray(backprop) * jax.image.resize(cam, (*cam.shape[:-2], 16, 16), "bilinear")[..., None]


@pytest.mark.parametrize(
    ("cam", "options"), [("grad_cam_pp", {"variant": "inside"}), ("ablation_cam", {"score": "probability"})]
)
def test_any_cam_can_be_guided_with_options_of_its_own_for_several_targets(cam, options, network):
    images, targets = small.images(dtype=np.float64), [[0, 2], [1, 0]]
    e = xr.Explainer(
        network, ("guided_grad_cam", cam), "first", options={"guided_grad_cam": {"cam": cam, **options}, cam: options}
    )(images, targets)
    backprop = xr.attribute(network, images, "guided_backprop", targets).attributions["guided_backprop"]["input"]
    wanted = product(backprop, e.raw[cam]["first"])
    np.testing.assert_allclose(e.attributions["guided_grad_cam"]["first"], wanted, atol=1e-12)
    np.testing.assert_allclose(e.raw["guided_grad_cam"]["first"], np.abs(wanted).max(-1), atol=1e-12)
    assert np.abs(wanted).max() > 1e-3


def test_what_is_guided_can_be_smoothed(network):
    images = small.images(dtype=np.float64)
    options = {"base": "guided_grad_cam", "samples": 3, "noise": 0.0}
    e = xr.Explainer(network, ("smooth_grad", "guided_grad_cam"), "last", options={"smooth_grad": options})(images)
    wanted = e.attributions["guided_grad_cam"]["last"]
    np.testing.assert_allclose(e.attributions["smooth_grad"]["last"], wanted, atol=1e-12)
    np.testing.assert_allclose(e.raw["smooth_grad"]["last"], np.abs(wanted).max(-1), atol=1e-12)


@pytest.mark.parametrize(("method", "inside"), [("smooth_grad", "base"), ("guided_grad_cam", "cam")])
def test_the_cam_of_2016_inside_another_method_is_at_the_last_layer_only_too(method, inside, network):
    images, options = small.images(dtype=np.float64), {method: {inside: "cam"}}
    assert tuple(xr.Explainer(network, method, options=options)(images).maps[method]) == ("last",)
    with pytest.raises(ValueError, match=f"{method} is defined for a layer that only global pooling"):
        xr.Explainer(network, method, "first", options=options)(images)


def test_the_composite_of_the_explainer_reaches_the_methods_inside(network):
    images, plus = small.images(dtype=np.float64), xr.composites.epsilon_plus()
    options = {
        "smooth_grad": {"base": "relevance_cam", "samples": 1, "noise": 0.0},
        "guided_grad_cam": {"cam": "relevance_cam"},
        "relevance_cam": {},
    }
    for_all = xr.Explainer(network, (*options, "grad_cam"), "first", options=options, composite=plus)(images)
    own = {name: {**chosen, "composite": plus} for name, chosen in options.items()}
    each = xr.Explainer(network, (*options, "grad_cam"), "first", options=own)(images)
    default = xr.Explainer(network, (*options, "grad_cam"), "first", options=options)(images)
    for name in options:
        np.testing.assert_allclose(for_all.raw[name]["first"], each.raw[name]["first"], rtol=1e-9, atol=1e-12)
        assert np.abs(for_all.raw[name]["first"] - default.raw[name]["first"]).max() > 1e-5, name
    np.testing.assert_allclose(for_all.raw["smooth_grad"]["first"], for_all.raw["relevance_cam"]["first"], rtol=1e-9)
    np.testing.assert_allclose(for_all.raw["grad_cam"]["first"], default.raw["grad_cam"]["first"], rtol=1e-9)


def test_a_methods_own_composite_comes_before_that_of_the_explainer(network):
    images, rules = small.images(dtype=np.float64), xr.composites.relevance_cam()
    options = {"lrp": {"composite": rules}}
    found = xr.Explainer(network, "lrp", options=options, composite=xr.composites.epsilon_plus())(images)
    wanted = xr.Explainer(network, "lrp")(images)
    np.testing.assert_allclose(found.raw["lrp"]["input"], wanted.raw["lrp"]["input"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("smooth_grad", {"nois": 1}, "unknown option of smooth_grad 'nois'; did you mean 'noise'"),
        (
            "smooth_grad",
            {"base": "occlusion", "windw": 4},
            "unknown option of smooth_grad 'windw'; did you mean 'window'",
        ),
        ("smooth_grad", {"noise": -0.1}, "samples must be at least 1 and noise not negative; got 16 and -0.1"),
        ("guided_grad_cam", {"variant": "inside"}, "unknown option of guided_grad_cam 'variant'"),
        ("guided_grad_cam", {"cam": "smooth_grad"}, "cam must name a class activation map; got 'smooth_grad'"),
        ("guided_grad_cam", {"cam": "gradcam"}, "unknown method 'gradcam'; did you mean 'grad_cam'"),
    ],
)
def test_wrong_options_of_what_is_inside_are_named(method, options, message):
    with pytest.raises(ValueError, match=message):
        xr.Explainer(energy, method, options={method: options})
