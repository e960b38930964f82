"""What the kinds of methods promise: their options, and that they are equal where they do the same."""

import numpy as np
import pytest

import xrcam_jax as xr
from tests.explain import small
from xrcam_jax.explain.methods import METHODS, configure


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("grad_cam", {"composite", "seed"}),
        ("grad_cam_pp", {"composite", "seed", "variant", "eps"}),
        ("finer_cam", {"composite", "alpha", "comparison"}),
        ("lrp", {"composite", "seed"}),
        ("rise", {"samples", "grid", "keep", "baseline", "score"}),
        ("score_cam", {"weights", "score", "align_corners"}),
        ("smooth_grad", {"samples", "noise", "composite", "seed"}),
        ("guided_grad_cam", {"composite", "seed"}),
    ],
)
def test_a_method_knows_its_options(method, names):
    assert set(METHODS[method].kind.options_known()) == names


def test_options_of_a_method_inside_are_those_of_the_whole():
    assert "grid" in configure("smooth_grad", {"base": "rise"}).options_known()
    assert "align_corners" in configure("guided_grad_cam", {"cam": "score_cam"}).options_known()


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].kind.single_pass])
def test_single_pass_methods_with_equal_options_are_one_program(method):
    """They are parts of programs, which JAX looks up by equality."""
    options = {"seed": xr.seeds.one_hot, "alpha": 0.5, "composite": xr.composites.epsilon_plus()}
    options = {name: value for name, value in options.items() if name in METHODS[method].kind.options_known()}
    one, same, other = configure(method, options), configure(method, dict(options)), configure(method, {})
    assert one == same
    assert hash(one) == hash(same)
    assert one != other


def test_only_relevance_takes_the_explainers_composite():
    rules = xr.composites.epsilon_plus()
    single = [name for name in METHODS if METHODS[name].kind.single_pass]
    follow = {name for name in single if configure(name, {}, rules) != configure(name, {})}
    assert follow == {"xrelevance_cam", "relevance_cam", "lrp", "clrp", "sglrp"}


def test_some_of_the_methods_can_be_asked_for():
    explain = xr.Explainer(small.Network(small.weights()), ("gradient", "rise", "grad_cam"), "last")
    images = small.images()
    e = explain.explain(explain.parameters, images, methods=("grad_cam", "gradient"))
    assert tuple(e.maps) == ("grad_cam", "gradient")
    wanted = xr.attribute(small.Network(small.weights()), images, "grad_cam", layers="last")
    np.testing.assert_allclose(e.raw["grad_cam"]["last"], wanted.raw["grad_cam"]["last"], rtol=1e-5, atol=1e-6)
