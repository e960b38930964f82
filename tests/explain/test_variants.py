"""Methods with options in their names: read, refused, and the same as with options that are given in Python."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.evaluation.metric import chosen
from xrcam_jax.explain.methods import METHODS, configure
from xrcam_jax.explain.variants import COMPOSITES, SEEDS, SIGN, check_value, described
from xrcam_jax.metrics.drops import Noise
from xrcam_jax.metrics.subsets import Squares
from xrcam_jax.metrics.turns import Uniform

#: A value of each kind that a list of options shows.
EXAMPLES = {"N": "3", "X": "0.5", "NxN": "3x4", "XxX": "0.5x0.7", "NAME": "fc", "NAME:NAME": "layer4:fc"}


@pytest.mark.parametrize(
    ("name", "method", "options"),
    [
        ("xrelevance_cam+eps=1e-3", "xrelevance_cam", {"eps": 1e-3}),
        ("lrp+seed=clrp+composite=epsilon_plus", "lrp",
         {"seed": xr.seeds.clrp, "composite": xr.composites.epsilon_plus()}),
        ("grad_cam_pp+variant=inside", "grad_cam_pp", {"variant": "inside"}),
        ("smooth_grad+base=grad_cam_pp+samples=3+variant=inside", "smooth_grad",
         {"base": "grad_cam_pp", "samples": 3, "variant": "inside"}),
    ],
)  # fmt: skip
def test_a_name_with_options_is_the_method_with_them(name, method, options):
    assert configure(name, {}) == configure(method, options) != configure(method, {})


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("rise+samples=5+grid=5x7+keep=0.25+score=none", {"samples": 5, "grid": (5, 7), "keep": 0.25, "score": None}),
        ("rise+grid=5+baseline=-1", {"grid": 5, "baseline": -1}),
        ("score_cam+align_corners=true+weights=softmax", {"align_corners": True, "weights": "softmax"}),
        ("deep_lift+rule=reveal_cancel", {"rule": "reveal_cancel"}),
    ],
)
def test_values_have_the_type_of_the_option(name, given):
    found = configure(name, {}).function.keywords
    assert found == given
    assert [type(value) for value in found.values()] == [type(value) for value in given.values()]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("rize+samples=5", "unknown method 'rize'; did you mean 'rise'?"),
        ("rise+sample=5", "unknown option of rise 'sample'; did you mean 'samples'?"),
        ("rise+samples=5.5", "value of samples of rise must be a whole number; got '5.5'"),
        ("rise+samples=True", "value of samples of rise must be a whole number; got 'True'"),
        ("rise+keep=nan", "value of keep of rise must be a number; got 'nan'"),
        ("rise+grid=5x", "value of grid of rise must be a whole number or whole numbers with x between them; got '5x'"),
        ("ablation_cam+score=logits", "unknown value of score of ablation_cam 'logits'; did you mean 'logit'?"),
        ("xrelevance_cam+axiom=sensitive", "did you mean 'sensitivity'? known: conservation, sensitivity, none"),
        (
            "lrp+composite=epsilon_pluss",
            "composite of lrp 'epsilon_pluss'; did you mean 'epsilon_plus'?",
        ),
        (
            "prediction_difference+reference=a.npy",
            "must be an array, which only Python can give; got 'a.npy'",
        ),
        ("smooth_grad+bases=rise", "unknown option of smooth_grad 'bases'; did you mean 'base'?"),
        ("rise+samples", "expected rise+OPTION=VALUE, found 'samples' behind '+'"),
        ("rise+", "expected rise+OPTION=VALUE, found '' behind '+'"),
        ("rise+samples=3+samples=4", "the option samples is given twice"),
    ],
)
def test_what_is_wrong_is_named(name, line):
    with pytest.raises(ValueError, match=re.escape(line)):
        configure(name, {})


def test_an_option_is_given_in_one_place():
    with pytest.raises(ValueError, match="the option samples is given twice"):
        configure("rise+samples=3", {"samples": 4})


def test_all_composites_and_seeds_can_be_named():
    public = {name for name in vars(xr.seeds) if not name.startswith("_") and getattr(xr.seeds, name) in SEEDS.values()}
    assert set(SEEDS) == public
    assert all(getattr(xr.composites, name) is made for name, made in COMPOSITES.items())


@pytest.mark.parametrize("method", METHODS)
def test_what_is_listed_can_be_given(method):
    for line in described(METHODS[method].kind.options_known()):
        option, _, values = line.partition("=")
        for value in values.split("|"):
            if not (option == "seed" and "axiom" in line):
                configure(f"{method}{SIGN}{option}={EXAMPLES.get(value, value)}", {})


@pytest.mark.parametrize("metric", xr.METRICS)
def test_what_is_listed_of_metrics_can_be_given(metric):
    for line in described(xr.METRICS[metric].options_known):
        option, _, values = line.partition("=")
        for value in values.split("|"):
            name = f"{metric}{SIGN}{option}={EXAMPLES.get(value, value)}"
            others = {"layer": "layer1"} if metric == "relative_representation_stability" and option != "layer" else {}
            check_value(
                option, chosen(name, xr.METRICS, others).options[option], xr.METRICS[metric].options_known[option]
            )


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("sensitivity_n+sizes=1x10x100", "sizes", (1, 10, 100)),
        ("sensitivity_n+sizes=5", "sizes", (5,)),
        ("sensitivity_n+sizes=none", "sizes", None),
        ("continuity+shifts=-2x-1x1x2", "shifts", (-2, -1, 1, 2)),
        ("road+shares=0.1x5e-1", "shares", (0.1, 0.5)),
        ("road+shares=0.1", "shares", 0.1),
        ("mprt+parts=layer4/0/conv1:fc", "parts", ("layer4/0/conv1", "fc")),
        ("mprt+parts=max", "parts", ("max",)),
        ("infidelity+change=noise", "change", Noise()),
        ("infidelity+change=squares", "change", Squares()),
        ("pixel_flipping+fill=uniform", "fill", Uniform()),
        ("pixel_flipping+fill=0.5", "fill", 0.5),
    ],
)
def test_metrics_with_several_values_for_an_option(name, option, value):
    assert chosen(name, xr.METRICS, {}).options[option] == value


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "sensitivity_n+sizes=1x",
            "sizes of sensitivity_n must be whole numbers with x between them or none; got '1x'",
        ),
        ("continuity+shifts=1.5", "shifts of continuity must be whole numbers with x between them; got '1.5'"),
        ("road+shares=0.1xnan", "shares of road must be a number or numbers with x between them; got '0.1xnan'"),
        ("mprt+parts=fc:", "parts of mprt must be names with : between them or none; got 'fc:'"),
        ("infidelity+change=nose", "unknown value of change of infidelity 'nose'; did you mean 'noise'?"),
    ],
)
def test_several_values_that_are_none(name, line):
    with pytest.raises(ValueError, match=re.escape(line)):
        chosen(name, xr.METRICS, {})


def test_variants_of_one_method_are_explained_together():
    def model(images):
        return xr.mark(jnp.maximum(images @ jnp.array([[1.0, -1.0], [0.5, 1.0], [1.0, 0.0]]), 0), "layer").mean((1, 2))

    images = jnp.asarray(np.random.default_rng(0).random((2, 3, 3, 3)), jnp.float32)
    names = ["ablation_cam+score=probability", "ablation_cam", "xrelevance_cam", "xrelevance_cam+axiom=sensitivity"]
    e = xr.Explainer(model, names)(images, [0, 1])
    assert list(e.maps) == names
    for name in names:
        method, _, option = name.partition("+")
        alone = xr.attribute(model, images, method, [0, 1], **dict([option.split("=")] if option else []))
        np.testing.assert_allclose(e.raw[name]["layer"], alone.raw[method]["layer"], atol=1e-6)
    assert not np.allclose(e.raw[names[0]]["layer"], e.raw[names[1]]["layer"])
