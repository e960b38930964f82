"""Nothing returns NaN, whatever the picture and the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

import xrcam_jax as xr

METHODS = tuple(xr.METHODS)


def difficult():
    """Black, constant, saturated and noise."""
    noise = small.images(1)
    return np.concatenate([np.zeros_like(noise), np.full_like(noise, 0.5), np.sign(noise) * 1e4, noise])


def assert_sound(e):
    for leaf in jax.tree.leaves((e.raw, e.attributions, e.errors)):
        assert bool(jnp.isfinite(leaf).all())
    for by_layer in e.maps.values():
        for maps in by_layer.values():
            assert bool(((maps >= 0) & (maps <= 1)).all())


def dead_channels(kernels):
    one, two, head = kernels
    return [one.at[..., :2].set(0), two.at[..., 3:].set(0), head]


def equal_logits(kernels):
    one, two, head = kernels
    return [one, two, head.at[:, 1].set(head[:, 0])]


@pytest.mark.parametrize("method", METHODS)
def test_difficult_pictures_and_networks(method):
    for change in (lambda kernels: kernels, dead_channels, equal_logits):
        network = small.Network(change(small.weights()))
        assert_sound(xr.attribute(network, difficult(), method, **small.FEW.get(method, {})))


def test_a_single_class_and_odd_sizes():
    images = small.images(1, 31, 45)
    e = xr.Explainer(small.Network(small.weights(classes=1)), METHODS, options=small.FEW)(images)
    assert_sound(e)
    np.testing.assert_array_equal(e.targets, 0)
    for method in METHODS:
        for maps in e.maps[method].values():
            assert maps.shape == (1, 31, 45)
