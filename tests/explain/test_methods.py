"""The table of methods: each runs, takes its options, and refuses others by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.explain import small

NAMES = tuple(name for name in reversed(xr.METHODS) if not xr.METHODS[name].kind.needs_attention)
SINGLE_PASS = tuple(name for name, method in xr.METHODS.items() if method.kind.single_pass)


@pytest.fixture(scope="module")
def network():
    return small.Network(small.weights())


@pytest.fixture(scope="module")
def two(network):
    """All methods in one call, at their default layers, for the two likeliest classes."""
    return xr.Explainer(network, NAMES, options=small.FEW)(small.images(), top_k=2)


@pytest.fixture(scope="module")
def one(network, two):
    """All at a chosen layer or, where they work on the image alone, there; for the second of these classes."""
    return xr.Explainer(network, NAMES, "last", options=small.FEW)(small.images(), two.targets[:, 1])


def test_every_method_says_what_it_is():
    for method in xr.METHODS.values():
        assert method.summary
        assert method.source
        assert method.family in ("activation", "propagation", "perturbation")


def test_every_method_has_a_title_of_its_own():
    titles = [method.title for method in xr.METHODS.values()]
    assert len(set(titles)) == len(titles) == 42
    assert all(title[0].isupper() and "_" not in title for title in titles)
    assert [xr.METHODS[name].title for name in ("x_grad_cam", "lrp", "lift_cam")] == ["XGrad-CAM", "LRP", "LIFT-CAM"]


def test_methods_keep_their_order(two, one):
    for e in (two, one):
        assert tuple(e.maps) == tuple(e.raw) == NAMES


def test_the_likeliest_classes_are_explained(two):
    np.testing.assert_array_equal(two.targets, np.argsort(-np.asarray(two.logits), axis=1)[:, :2])


@pytest.mark.parametrize("name", NAMES)
def test_default_layers_and_shapes(name, two):
    layers = {"marks": small.LAYERS, "input": ("input",), "both": ("input",)}[xr.METHODS[name].kind.where]
    assert tuple(two.maps[name]) == tuple(two.raw[name]) == (("last",) if name == "cam" else layers)
    for layer, maps in two.maps[name].items():
        assert maps.shape == (2, 2, 16, 16)
        assert float(maps.min()) >= 0
        assert float(maps.max()) == pytest.approx(1)
        size = {"first": (16, 16), "last": (8, 8), "input": (16, 16)}[layer]
        if name == "guided_grad_cam":
            size = (16, 16)
        assert two.raw[name][layer].shape == (2, 2, *size)
        assert bool(jnp.isfinite(two.raw[name][layer]).all())
        if name in two.attributions:
            assert two.attributions[name][layer].shape[:-1] == (2, 2, *size)


@pytest.mark.parametrize("name", NAMES)
def test_one_target_at_a_chosen_layer_is_what_several_give_at_all(name, two, one):
    layer = "input" if xr.METHODS[name].kind.where == "input" else "last"
    assert tuple(one.maps[name]) == (layer,)
    assert one.maps[name][layer].shape == (2, 16, 16)
    if layer not in two.raw[name]:
        return
    for found, wanted in ((one.raw, two.raw), (one.maps, two.maps)):
        a, b = np.asarray(found[name][layer]), np.asarray(wanted[name][layer])[:, 1]
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize("name", ["xrelevance_cam", "eigen_grad_cam", "guided_backprop", "score_cam", "rise"])
def test_what_is_explained_together_is_what_each_gives_alone(name, network, one):
    alone = xr.attribute(network, small.images(), name, one.targets, "last", **small.FEW.get(name, {}))
    assert tuple(alone.raw) == (name,)
    for layer, raw in alone.raw[name].items():
        np.testing.assert_allclose(one.raw[name][layer], raw, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.maps[name][layer], alone.maps[name][layer], atol=1e-4)


def test_arguments_of_the_explainer_are_arguments_of_attribute(network):
    images = small.images()
    options = {"samples": 4, "grid": 2}
    e = xr.Explainer(network, "rise", options={"rise": options}, relu=False, random_seed=3)(images, top_k=2)
    same = xr.attribute(network, images, "rise", top_k=2, relu=False, random_seed=3, **options)
    other = xr.attribute(network, images, "rise", top_k=2, relu=False, random_seed=4, **options)
    np.testing.assert_array_equal(same.maps["rise"]["input"], e.maps["rise"]["input"])
    assert same.relu is False
    assert np.abs(other.raw["rise"]["input"] - e.raw["rise"]["input"]).max() > 1e-3


def test_single_pass_methods_work_inside_jit(network, one):
    explain = xr.Explainer(network, SINGLE_PASS, "last")
    e = jax.jit(explain)(jnp.asarray(small.images()), one.targets)
    for name in SINGLE_PASS:
        (a,), (b,) = e.raw[name].values(), one.raw[name].values()
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_another_method_inside_changes_the_result(network, one):
    images, (a, b) = small.images(), ("gradient_x_input", "layer_cam")
    smooth = xr.attribute(network, images, "smooth_grad", one.targets, "last", base=a, samples=1, noise=0.0)
    np.testing.assert_allclose(smooth.raw["smooth_grad"]["last"], one.raw[a]["last"], rtol=1e-4, atol=1e-6)
    guided = xr.attribute(network, images, "guided_grad_cam", one.targets, "last", cam=b)
    assert np.abs(guided.raw["guided_grad_cam"]["last"] - one.raw["guided_grad_cam"]["last"]).max() > 1e-3


def test_propagation_works_at_marks_too(network):
    e = xr.Explainer(network, ("gradient", "grad_cam", "deep_lift"), ["last", "input"])(small.images())
    assert set(e.attributions["gradient"]) == set(e.attributions["deep_lift"]) == {"last", "input"}
    assert set(e.maps["grad_cam"]) == {"last"}
    assert e.attributions["gradient"]["last"].shape == (2, 8, 8, 6)


def test_rules_and_seeds_are_options_of_lrp(network):
    images = small.images()
    e = xr.attribute(network, images, "lrp", [0, 2], composite=xr.composites.epsilon_plus(), seed=xr.seeds.unit)
    wanted = xr.taps(
        lambda x: network(xr.mark(x, "x")),
        xr.composites.epsilon_plus(),
        images,
        seed=lambda y: xr.seeds.unit(y, np.array([0, 2])),
        marks=["x"],
    ).relevances["x"]
    np.testing.assert_allclose(e.attributions["lrp"]["input"], wanted, rtol=1e-4, atol=1e-7)


def test_the_explainers_composite_is_that_of_all_relevance(network):
    rules = xr.composites.epsilon_plus()
    e = xr.Explainer(network, ("lrp", "relevance_cam"), ["input", "last"], composite=rules)(small.images(), [0, 2])
    for name, layer in (("lrp", "input"), ("relevance_cam", "last")):
        alone = xr.attribute(network, small.images(), name, [0, 2], composite=rules)
        np.testing.assert_allclose(e.raw[name][layer], alone.raw[name][layer], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("grad_camm", {}, "unknown method 'grad_camm'; did you mean 'grad_cam'"),
        ("grad_cam_pp", {"variants": "inside"}, "unknown option of grad_cam_pp 'variants'; did you mean 'variant'"),
        ("grad_cam_pp", {"variant": "paper"}, "variant must be library, inside or normalised; got 'paper'"),
        ("smooth_grad", {"base": "gradiant"}, "unknown method 'gradiant'; did you mean 'gradient'"),
        ("smooth_grad", {"samples": 0}, "samples must be at least 1 and noise not negative"),
        ("guided_grad_cam", {"cam": "occlusion"}, "cam must name a class activation map; got 'occlusion'"),
        ("integrated_gradients", {"steps": 1}, "steps must be at least 2; got 1"),
        ("integrated_gradients", {"quadrature": "monte_carlo"}, "quadrature must be gauss_legendre or trapezoid"),
        ("integrated_gradients", {"baseline": np.zeros((5, 5))}, "baseline must be a number or an array"),
        ("deep_lift", {"max_pool": "mean"}, "max_pool must be rescale or gradient; got 'mean'"),
        ("shapley_cam", {"utility": "log_odds"}, "utility must be rest, logit or probability; got 'log_odds'"),
        ("kpca_cam", {"kernel": "cosine"}, "kernel must be sigmoid, rbf or polynomial; got 'cosine'"),
        ("kpca_cam", {"gamma": 0.0}, "gamma must be above 0; got 0.0"),
        ("finer_cam", {"comparison": 0}, "comparison must be at least 1, or name classes; got 0"),
        ("finer_cam", {"comparison": (1, 3)}, r"comparison must name classes from 0 to 2; got \(1, 3\)"),
        ("full_grad", {"rescale": "map"}, "rescale must be channel or layer; got 'map'"),
        ("occlusion", {"window": 17}, "window must have a height of 1 to the image's 16; got 17"),
        ("occlusion", {"window": 4, "stride": 5}, "stride must be 1 to the window's height 4; got 5"),
        ("rise", {"keep": 1.0}, "samples and grid must be at least 1 and keep between 0 and 1"),
        ("lime", {"samples": 1}, "samples and segments must be at least 2"),
        ("kernel_shap", {"segments": 1}, "samples and segments must be at least 2; got 1000 and 1"),
        ("xrai", {"min_pixels": 0}, "dilation must be at least 0 and min_pixels at least 1; got 5 and 0"),
        ("blur_integrated_gradients", {"max_sigma": 0.0}, "max_sigma must be positive and steps at least 2; got 0.0"),
        ("expected_gradients", {"samples": 0}, "samples must be at least 1; got 0"),
        ("prediction_difference", {"window": 16}, r"window \+ 2 border fit the images; got 10, 2 and 16 for images of"),
    ],
)
def test_wrong_options(method, options, message, network):
    with pytest.raises(ValueError, match=message):
        xr.attribute(network, small.images(), method, **options)


def test_a_seed_that_is_no_function_is_named(network):
    with pytest.raises(TypeError, match=r"seed must be a function .*; got 'sglrp'"):
        xr.attribute(network, small.images(), "lrp", seed="sglrp")


def test_wrong_layers_and_chunks(network):
    with pytest.raises(ValueError, match="unknown layer 'lst'; did you mean 'last'"):
        xr.attribute(network, small.images(), "grad_cam", layers=["lst"])
    with pytest.raises(ValueError, match="grad_cam needs a layer of activations, not the input"):
        xr.attribute(network, small.images(), "grad_cam", layers=["input"])
    with pytest.raises(ValueError, match="chunk_size must be at least 1; got 0"):
        xr.attribute(network, small.images(), "occlusion", chunk_size=0)
    with pytest.raises(ValueError, match="unknown method in options 'score_cam'"):
        xr.Explainer(network, "grad_cam", options={"score_cam": {}})


@pytest.mark.long(but=["5.0"])
@pytest.mark.parametrize("gap", [5.0, 80.0])
def test_sglrp_shows_something_however_sure_the_network_is(gap):
    """With the published seed the map is the same, and blank where the softmax is saturated in float32."""
    head = jnp.array([[1.0, 0.1, 0.2], [0.3, 0.2, 0.1]])
    image = jnp.array([[1.0, 0.0], [0.2, 0.9]]).reshape(1, 1, 2, 2)
    model = lambda x: x.sum((1, 2)) @ head + jnp.array([gap, 0.0, 1.0])  # noqa: E731
    found = xr.attribute(model, image, "sglrp", [0]).maps["sglrp"]["input"]
    published = xr.attribute(model, image, "sglrp", [0], seed=xr.seeds.sglrp).maps["sglrp"]["input"]
    if gap < 10:
        np.testing.assert_allclose(found, published, atol=1e-3)
    else:
        assert float(published.max()) == 0
    assert float(found.max()) == 1
