"""Signed maps keep what speaks against a class, with zero where it was."""

import jax.numpy as jnp
import numpy as np

import xrcam_jax as xr
from xrcam_jax.explain.signed import is_signed, signed_maps
from xrcam_jax.figures.overlay import overlay


def test_which_methods_tell_for_from_against():
    found = {name for name in xr.METHODS if is_signed(name)}
    contributions = {"gradient_x_input", "lrp", "clrp", "sglrp", "integrated_gradients", "deep_lift"}
    contributions |= {"expected_gradients", "blur_integrated_gradients"}
    assert found == contributions | {"occlusion", "lime", "kernel_shap", "prediction_difference"}
    assert is_signed("smooth_grad+base=lrp")
    assert not is_signed("smooth_grad")


def test_signed_maps_are_the_raw_ones_over_their_largest():
    """A linear model, whose contributions are known: weight times input, at each place."""
    weights = jnp.array(np.random.default_rng(0).normal(size=(6, 6, 1)), jnp.float32)
    images = jnp.array(np.random.default_rng(1).normal(size=(2, 6, 6, 1)), jnp.float32)

    def model(images):
        return jnp.stack([(images * weights).sum((1, 2, 3)), images.sum((1, 2, 3))], axis=1)

    e = xr.Explainer(model, ["gradient_x_input"])(images, jnp.zeros(2, int))
    expected = np.asarray(images * weights)[..., 0]
    most = np.quantile(np.abs(expected), 0.98, axis=(1, 2), keepdims=True, method="lower")
    expected = np.clip(expected / most, -1, 1)
    found = signed_maps(e.raw["gradient_x_input"], (6, 6))
    assert list(found) == ["input"]
    np.testing.assert_allclose(found["input"], expected, atol=1e-6)
    # The map in [0, 1] has something where these are positive, and nowhere else.
    np.testing.assert_array_equal(np.asarray(e.maps["gradient_x_input"]["input"]) > 0, expected > 0)


def test_the_mean_of_layers_is_signed_too():
    def model(images):
        return xr.mark(images, "colours").sum((1, 2)) * jnp.array([1.0, -1.0])

    images = jnp.array([[[1.0, -2.0], [0.5, 0.0]]])[..., None] * jnp.ones((1, 1, 1, 2))
    e = xr.Explainer(model, ["lrp"], ["colours", "input"])(images, jnp.array([0]))
    found = signed_maps(e.raw["lrp"], (2, 2))
    assert set(found) == {"colours", "input", "aggregate"}
    assert float(jnp.abs(found["aggregate"]).max()) == 1
    mean = (found["colours"] + found["input"]) / 2
    most = np.quantile(np.abs(mean), 0.98, method="lower")
    np.testing.assert_allclose(found["aggregate"], np.clip(mean / most, -1, 1), atol=1e-6)


def test_a_map_of_few_pixels_is_scaled_by_the_largest():
    images = jnp.zeros((1, 10, 10, 1)).at[0, 3, 4, 0].set(-2.0).at[0, 5, 5, 0].set(1.0)
    e = xr.Explainer(lambda images: images.sum((1, 2)) * jnp.array([1.0, 2.0]), ["gradient_x_input"])(
        images, jnp.array([0])
    )
    found = np.asarray(signed_maps(e.raw["gradient_x_input"], (10, 10))["input"][0])
    assert (found[3, 4], found[5, 5], np.count_nonzero(found)) == (-1, 0.5, 2)


def test_an_explanation_is_drawn_with_the_same_maps():
    """One pixel of far more than the others leaves these to be seen."""
    images = jnp.full((1, 10, 10, 3), 0.5).at[0, 3, 4].set(1.0).at[0, :, 7].set(0.25)
    weights = jnp.where(jnp.arange(10) < 5, 1.0, -1.0)[:, None, None].repeat(10, 1).at[3, 4].set(100.0)
    e = xr.Explainer(lambda x: (x * weights).sum((1, 2, 3))[:, None] * jnp.array([1.0, 0.0]), ["gradient_x_input"])(
        images, jnp.array([0])
    )
    found = np.asarray(signed_maps(e.raw["gradient_x_input"], (10, 10))["input"][0])
    expected = overlay(np.asarray(images[0]), found, signed=True)
    np.testing.assert_array_equal(e[0].overlay(method="gradient_x_input"), expected)
    assert (found[0, 0], found[9, 0]) == (1, -1)
