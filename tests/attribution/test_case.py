"""A model cut at a layer, and what it goes on with from there."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.attribution.brightness import case, marked
from xrcam_jax.attribution.case import Case, onwards, versions_onwards


def test_versions_of_a_layer_that_is_not_all_that_counts():
    """The model goes on from a mark with what came before it too: something of each image, and parameters."""

    def skipping(images, parameters):
        early = jnp.sin(images)
        marked = xr.mark(jnp.cos(images) * parameters[0, 0], "layer")
        together = marked * parameters[1, 1] + early + jnp.arange(3.0)
        return together.mean((1, 2)) @ parameters

    of = case()
    a, rest = replace(of, function=skipping).at("layer")
    versions = jnp.stack([a, 2 * a, a + 1], axis=1)
    tail = versions_onwards(skipping, "layer", of.images, of.parameters, rest, 3)
    found = tail(versions.reshape(-1, *a.shape[1:])).reshape(2, 3, -1)
    for i in range(3):
        expected = onwards(skipping, "layer", of.images, of.parameters)(versions[:, i], rest)
        np.testing.assert_allclose(found[:, i], expected, rtol=1e-6)


def test_the_model_is_cut_at_a_layer_and_goes_on_from_there():
    of = case()
    activation, rest = Case(marked, of.parameters, of.images, of.targets).at("layer")
    np.testing.assert_allclose(activation, np.sin(of.images), rtol=1e-6)
    found = onwards(marked, "layer", of.images, of.parameters)(2 * activation, rest)
    np.testing.assert_allclose(found, np.tanh(2 * np.sin(of.images) @ of.parameters).sum((1, 2)), rtol=1e-4, atol=1e-5)
    activation, rest = of.at("input", 3 * of.images)
    np.testing.assert_array_equal(activation, 3 * of.images)
    assert rest == []
    with pytest.raises(ValueError, match="layer"):
        Case(marked, of.parameters, of.images, of.targets).at("layers")
