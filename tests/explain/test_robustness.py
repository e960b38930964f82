"""Nothing returns NaN, whatever the picture and the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.explain import small

pytestmark = pytest.mark.long(one_in=5)

METHODS = tuple(name for name, method in xr.METHODS.items() if not method.kind.needs_attention)
SINGLE_PASS = tuple(name for name, method in xr.METHODS.items() if method.kind.single_pass)


def difficult():
    """Black, constant, saturated and noise, of odd sizes."""
    noise = small.images(1, 31, 45)
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
    # The networks share what was compiled.
    for change in (lambda kernels: kernels, dead_channels, equal_logits):
        network = small.Network(change(small.weights()))
        e = xr.attribute(network, difficult(), method, **small.FEW.get(method, {}))
        assert_sound(e)
        for maps in e.maps[method].values():
            assert maps.shape == (4, 31, 45)


def test_a_single_class():
    methods = (*SINGLE_PASS, "ablation_cam", "deep_lift", "occlusion", "prediction_difference")
    options = {name: small.FEW[name] for name in methods if name in small.FEW}
    e = xr.Explainer(small.Network(small.weights(classes=1)), methods, options=options)(small.images())
    assert_sound(e)
    # An output of 0 is at the border, and below it speaks for class 0.
    np.testing.assert_array_equal(e.targets, np.asarray(e.logits)[:, 0] > 0)
