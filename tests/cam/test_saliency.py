"""Scaling, upsampling and aggregation against OpenCV and plain numpy."""

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import gmean

from xrcam_jax.arguments import aggregation
from xrcam_jax.cam import saliency

MAPS = arrays(np.float32, (2, 3, 4), elements=st.floats(-100, 100, width=32))


def scaled(m):
    m = m - m.min()
    return m / m.max() if m.max() > 0 else m


@given(MAPS)
def test_min_max_scales_each_map_to_the_unit_interval(maps):
    found = np.asarray(saliency.min_max(jnp.asarray(maps)))
    np.testing.assert_allclose(found, np.stack([scaled(m) for m in maps]), atol=1e-5)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6


def test_a_constant_map_shows_nothing():
    np.testing.assert_array_equal(saliency.min_max(jnp.full((2, 4, 4), 7.0)), 0)


@given(MAPS, st.integers(4, 40), st.integers(5, 40))
def test_upsampling_is_opencvs(maps, height, width):
    found = saliency.upsample(jnp.asarray(maps), (height, width))
    for one, m in zip(found, maps, strict=True):
        wanted = cv2.resize(m, (width, height), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(one, wanted, atol=1e-4 * max(1, np.abs(m).max()))


@given(MAPS, MAPS)
def test_aggregate_is_the_scaled_mean_of_scaled_maps(first, second):
    found = saliency.aggregate([jnp.asarray(first), jnp.asarray(second)], (12, 16))
    for i in range(2):
        both = [cv2.resize(scaled(np.maximum(m[i], 0)), (16, 12)) for m in (first, second)]
        mean = np.mean(both, axis=0)
        if np.ptp(mean) > 1e-3:
            np.testing.assert_allclose(found[i], scaled(mean), atol=1e-3)


def test_without_relu_evidence_against_the_target_keeps_its_rank():
    raw = jnp.array([[[-2.0, 0.0], [2.0, 6.0]]])
    np.testing.assert_allclose(saliency.saliency(raw, (2, 2), relu=False), [[[0, 0.25], [0.5, 1]]])
    np.testing.assert_allclose(saliency.saliency(raw, (2, 2)), [[[0, 0], [1 / 3, 1]]], rtol=1e-6)


def fused_by_hand(maps, how, weights):
    """One equation for each way, of maps (n, height, width)."""
    if how == "maximum":
        return np.max([np.tanh(2 * m / (m.max() or 1)) for m in maps], axis=0)
    if how == "product":
        return gmean(maps, axis=0)
    return np.average(maps, axis=0, weights=weights if how == "weighted" else None)


@pytest.mark.parametrize("how", saliency.AGGREGATIONS)
def test_layers_are_fused_as_the_equations_say(how):
    """At two pictures of three layers, of which the last is blank in the second picture."""
    rng = np.random.default_rng(0)
    raws = [rng.standard_normal((2, *side)).astype(np.float32) for side in ((8, 12), (4, 6), (2, 3))]
    raws[2][1] = -1
    large = np.stack([np.asarray(saliency.upsampled(jnp.asarray(raw), (16, 24))) for raw in raws])
    given = {"weights": (0.5, 0.0, 2.0)} if how == "weighted" else {}
    found = saliency.aggregate(list(map(jnp.asarray, raws)), (16, 24), how=how, **given)
    with np.errstate(divide="ignore"):
        wanted = np.stack([fused_by_hand(large[:, i], how, given.get("weights")) for i in range(2)])
    np.testing.assert_allclose(found, [scaled(w) for w in wanted], atol=2e-6)
    assert np.asarray(found[1]).any() == (how != "product"), "a product shows only what every layer shows"


def test_the_deeper_a_layer_the_more_it_weighs():
    raws = [jnp.arange(1.0 * side * side).reshape(1, side, side) for side in (8, 4, 2)]
    assert [saliency.stride(raw, (16, 16)) for raw in raws] == [2, 4, 8]
    given = saliency.aggregate(raws, (16, 16), how="weighted", weights=(1, 2, 4))
    np.testing.assert_allclose(saliency.aggregate(raws, (16, 16), how="weighted"), given, atol=1e-6)


def test_several_targets_and_volumes_are_fused_each_by_itself():
    maps = [jnp.asarray(np.random.default_rng(i).random((2, 3, 4, 4, 4))) for i in range(2)]
    found = saliency.fused(maps, "maximum", dimensions=3)
    one = saliency.fused([m[1, 2] for m in maps], "maximum", dimensions=3)
    np.testing.assert_allclose(found[1, 2], one, atol=1e-6)


def test_ways_of_the_commands_are_those_of_the_library():
    assert aggregation.WAYS == saliency.AGGREGATIONS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"how": "maximun"}, "unknown aggregation 'maximun'; did you mean 'maximum'"),
        ({"weights": (1, 2)}, "weights are for how='weighted'"),
        ({"how": "weighted", "weights": (1,)}, "weights must be 2 numbers of 0 or more, not all 0; got \\(1,\\)"),
        ({"how": "weighted", "weights": (0, 0)}, "not all 0"),
        ({"how": "weighted", "weights": (1, float("nan"))}, "0 or more"),
    ],
)
def test_aggregations_that_are_none(given, message):
    with pytest.raises(ValueError, match=message):
        saliency.aggregate([jnp.ones((1, 2, 2))] * 2, (4, 4), **given)


@pytest.mark.parametrize("scale", [1e-46, 1e38])
def test_only_the_ratio_of_weights_counts(scale):
    raws = [jnp.array([[[0.0, 1.0, 2.0]]]), jnp.array([[[0.0, 4.0, 2.0]]])]
    found = saliency.aggregate(raws, (1, 3), how="weighted", weights=(3 * scale, scale))
    # (3 (0, 1/2, 1) + (0, 1, 1/2)) / 4, over its maximum.
    np.testing.assert_allclose(found, [[[0, 2.5 / 3.5, 1]]], rtol=1e-6)
