"""The table of methods: each runs, takes its options, and refuses others by name."""

import numpy as np
import pytest
import small

import xrcam_jax as xr
from xrcam_jax.explain.kinds import is_single_pass, where

CHEAP = tuple(name for name, method in xr.METHODS.items() if is_single_pass(method.kind))


@pytest.fixture(scope="module")
def network():
    return small.Network(small.weights())


def test_every_method_says_what_it_is():
    for method in xr.METHODS.values():
        assert method.summary
        assert method.source
        assert method.family in ("activation", "propagation", "perturbation")


@pytest.mark.parametrize("name", xr.METHODS)
def test_shapes_at_the_default_layers_for_several_targets(name, network):
    e = xr.attribute(network, small.images(), name, [[0, 1], [2, 0]], **small.FEW.get(name, {}))
    layers = {"marks": small.LAYERS, "input": ("input",), "both": ("input",)}[where(xr.METHODS[name].kind)]
    assert tuple(e.maps[name]) == (("last",) if name == "cam" else layers)
    for maps in e.maps[name].values():
        assert maps.shape == (2, 2, 16, 16)
        assert float(maps.min()) >= 0
        assert float(maps.max()) <= 1
    for layer, values in e.attributions.get(name, {}).items():
        assert values.shape[:2] == (2, 2)
        assert values.shape[2:4] == e.raw[name][layer].shape[2:]


def test_many_at_once_are_each_alone(network):
    together = xr.Explainer(network, CHEAP)(small.images(), [0, 2])
    assert set(together.maps) == set(CHEAP)
    for name in CHEAP:
        alone = xr.attribute(network, small.images(), name, [0, 2])
        for layer, raw in alone.raw[name].items():
            np.testing.assert_allclose(together.raw[name][layer], raw, rtol=1e-4, atol=1e-6)


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
        ("occlusion", {"window": 17}, "window must have a height of 1 to the image's 16; got 17"),
        ("occlusion", {"window": 4, "stride": 5}, "stride must be 1 to the window's height 4; got 5"),
        ("rise", {"keep": 1.0}, "samples and grid must be at least 1 and keep between 0 and 1"),
        ("lime", {"samples": 1}, "samples and segments must be at least 2"),
        ("prediction_difference", {"window": 16}, r"window \+ 2 border fit the images; got 10, 2 and 16 for images of"),
    ],
)
def test_wrong_options(method, options, message, network):
    with pytest.raises(ValueError, match=message):
        xr.attribute(network, small.images(), method, **options)


def test_wrong_layers_and_chunks(network):
    with pytest.raises(ValueError, match="unknown layer 'lst'; did you mean 'last'"):
        xr.attribute(network, small.images(), "grad_cam", layers=["lst"])
    with pytest.raises(ValueError, match="grad_cam needs a layer of activations, not the input"):
        xr.attribute(network, small.images(), "grad_cam", layers=["input"])
    with pytest.raises(ValueError, match="chunk_size must be at least 1; got 0"):
        xr.attribute(network, small.images(), "occlusion", chunk_size=0)
    with pytest.raises(ValueError, match="unknown method in options 'score_cam'"):
        xr.Explainer(network, "grad_cam", options={"score_cam": {}})
