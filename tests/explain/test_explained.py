"""Explanations are indexed by method, layer and picture, and say what they hold."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.explain import small

METHODS, LABELS = ("xrelevance_cam", "gradient", "grad_cam"), ("glioma", "meningioma", "pituitary")


@pytest.fixture(scope="module")
def explain():
    return xr.Explainer(small.Network(small.weights()), METHODS, labels=LABELS)


@pytest.fixture(scope="module")
def e(explain):
    return explain(small.images(4), [0, 1, 2, 1])


def test_a_method_and_a_layer_are_an_index(e):
    assert e["grad_cam"] is e.maps["grad_cam"]
    assert e["grad_cam", "last"] is e["grad_cam"]["last"] is e.maps["grad_cam"]["last"]
    with pytest.raises(ValueError, match="unknown method 'gradcam'; did you mean 'grad_cam'"):
        e["gradcam"]
    with pytest.raises(ValueError, match="unknown layer 'lst'; did you mean 'last'"):
        e["grad_cam", "lst"]


@pytest.mark.parametrize("chosen", [2, -1, np.int64(1), slice(1, 3), [3, 0], np.array([True, False, False, True])])
def test_pictures_are_an_index(e, chosen):
    some = e[chosen]
    rows = np.atleast_1d(np.arange(4)[chosen])
    assert len(some) == len(rows)
    expected = jax.tree.map(lambda a: np.asarray(a)[rows], e)
    for a, b in zip(jax.tree.leaves(some), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [list(some.maps), some.labels, some.relu] == [list(METHODS), LABELS, True]


def test_one_picture_after_the_other(e):
    assert [one.targets.tolist() for one in e] == [[0], [1], [2], [1]]
    for wrong in (4, -5, slice(4, 9), [[0]], 1.5, True):
        with pytest.raises(IndexError):
            e[wrong]


def test_it_says_what_it_holds(e):
    lines = repr(e).splitlines()
    assert lines[:3] == ["Explanation of 4 pictures", "  xrelevance_cam, grad_cam: first, last", "  gradient: input"]
    logits = np.asarray(e.logits, np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = [f"{LABELS[t]} ({shares[i, t]:.2f})" for i, t in enumerate([0, 1, 2, 1])]
    assert lines[3] == f"  targets: {', '.join(expected)}"
    assert len(lines) == 4
    assert "targets: class 0 (" in repr(dataclasses.replace(e, labels=None))


def test_logits_that_are_no_numbers_are_told():
    e = xr.Explanation(jnp.array([[0.0, 1.0], [jnp.nan, 1.0], [jnp.inf, 0.0]]), jnp.array([1, 1, 0]), {}, {})
    assert repr(e).endswith("the logits of pictures 1, 2 are NaN or infinite: their maps say nothing")


def test_it_stays_a_tree_that_programs_take_and_give(e):
    @jax.jit
    def doubled(e):
        assert repr(e).startswith("Explanation of 4 pictures\n")
        return jax.tree.map(lambda a: 2 * a, e)

    assert doubled(e).labels == LABELS
    np.testing.assert_array_equal(doubled(e)["grad_cam", "last"], 2 * e["grad_cam", "last"])
    assert repr(jax.tree.map(lambda a: None, e)).startswith("Explanation")
    assert jax.device_get(e)[1:]["grad_cam", "last"].shape == (3, 16, 16)


def test_names_of_classes_make_no_other_program():
    network, images = small.Network(small.weights()), small.images(4)
    network.labels = None
    explain = xr.Explainer(network, METHODS)
    network.labels = ("a", "b", "c")
    named = xr.Explainer(network, METHODS)
    assert named.labels == ("a", "b", "c")
    assert named._function is explain._function
    assert network.labels == ("a", "b", "c")
    assert "a (" in repr(named(images, 0))


def test_the_value_of_a_function_has_no_class(explain):
    e = explain(small.images(2), target=lambda logits: logits[:, 0] - logits[:, 1])
    assert (e.labels, [f"{v:.3g}" in repr(e) for v in e.value]) == (None, [True, True])


def test_explainers_say_what_they_are():
    explain = xr.Explainer(small.Network(small.weights()), ("grad_cam", "rise+samples=9"), "last", labels=LABELS)
    assert repr(explain).splitlines() == [
        "Explainer of Network",
        "  grad_cam, rise+samples=9: last",
        "  labels: glioma, meningioma, pituitary",
    ]


def test_repeated_ones_too(explain):
    images = small.images(3)
    r = xr.Repeated(xr.Explainer(small.Network(small.weights()), "grad_cam", labels=LABELS), xr.Noise(0.1), 2)(images)
    assert r.images is images
    lines = repr(r).splitlines()
    assert lines[:2] == ["RepeatedExplanation of 3 pictures, 2 passes", "  grad_cam: first, last, aggregate"]
    assert r["grad_cam", "last"] is r.maps["grad_cam"]["last"]
    np.testing.assert_array_equal(r[1:]["grad_cam", "last"].high, r.maps["grad_cam"]["last"].high[1:])
    mean = r.mean()
    np.testing.assert_array_equal(mean["grad_cam", "last"], r.maps["grad_cam"]["last"].mean)
    assert (mean.labels, mean.images is images) == (LABELS, True)
