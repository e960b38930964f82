"""Each method as a function: its signature is what the table of methods knows."""

from inspect import getdoc, signature

import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.explain import small
from xrcam_jax.explain.calls import cams, common, more_cams, paths, perturbation, propagation
from xrcam_jax.explain.composed import Smooth
from xrcam_jax.explain.finer import FinerCam

MODULES = (cams, more_cams, propagation, paths, perturbation)
#: Arguments that all methods have.
ALL = ("model", "images", "targets", "layers", "call")


def function(name):
    return next(getattr(module, name) for module in MODULES if hasattr(module, name))


def own(name):
    return {k: p for k, p in signature(function(name)).parameters.items() if k not in ALL}


def source(name):
    """What computes the method, in whose signature its options stand with their defaults."""
    kind = xr.METHODS[name].kind
    own = next((each for each in (Smooth, FinerCam) if isinstance(kind, each)), None)
    found = own or getattr(kind, "weights", None) or getattr(kind, "function", None)
    return signature(found).parameters if found else {}


@pytest.mark.parametrize("name", xr.METHODS)
def test_the_signature_is_that_of_the_method(name):
    kind, found = xr.METHODS[name].kind, own(name)
    known = {**({kind.inside: str} if kind.inside else {}), **kind.options_known()}
    assert set(found) == set(known)
    assert tuple(signature(function(name)).parameters)[:4] == ALL[:4]
    for option, parameter in found.items():
        assert parameter.kind is parameter.KEYWORD_ONLY
        if option in source(name):
            assert parameter.default == source(name)[option].default, option
            # jaxtyping makes a class anew for each annotation.
            assert str(parameter.annotation) == str(known[option]), option
        else:
            assert parameter.default in (None, "grad_cam", "gradient"), option
            assert parameter.annotation in (known[option], known[option] | None), option
        assert f"\n  {option}: " in getdoc(function(name)), option


def test_the_face_has_all_but_the_one_whose_name_is_taken():
    assert {name for name in xr.METHODS if getattr(xr, name) is not function(name)} == {"lrp"}
    assert set(xr.METHODS) - {"lrp"} <= set(dir(xr))


def test_only_options_that_differ_are_passed_on(monkeypatch):
    asked, nothing = [], xr.Explanation(jnp.zeros((1, 2)), jnp.zeros(1, int), {}, {})
    monkeypatch.setattr(common, "attribute", lambda *given, **also: asked.append((given[2:], also)) or nothing)
    images = small.images()
    xr.rise(abs, images, samples=2000, keep=0.25, random_seed=3)
    xr.smooth_grad(abs, images, 1, base="lrp")
    xr.deep_lift(abs, images, layers="last", baseline=np.zeros(3))
    assert asked[0] == (("rise", None, None), {"keep": 0.25, "random_seed": 3})
    assert asked[1] == (("smooth_grad", 1, None), {"base": "lrp"})
    assert asked[2][0] == ("deep_lift", None, "last")
    assert asked[2][1]["baseline"].shape == (3,)


def test_a_method_explains_as_the_explainer_does():
    network, images = small.Network(small.weights()), small.images()
    e = xr.grad_cam_pp(network, images, [1, 2], "last", variant="inside", relu=False)
    explain = xr.Explainer(network, "grad_cam_pp", "last", options={"grad_cam_pp": {"variant": "inside"}}, relu=False)
    np.testing.assert_array_equal(e["grad_cam_pp", "last"], explain(images, [1, 2])["grad_cam_pp", "last"])
