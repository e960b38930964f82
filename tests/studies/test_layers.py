"""The columns of the tables have names, and maps that are those of an Explanation and of OpenCV."""

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax import Explanation
from xrcam_jax.cam.saliency import AGGREGATIONS
from xrcam_jax.studies.layers import aggregates, all_maps, columns, described, last_column, layer_maps, title

LAYERS = ("layer1", "layer2", "layer3", "layer4")
SIDES = {"layer1": (10, 12), "layer2": (5, 6), "layer3": (3, 3), "layer4": (2, 1)}
SIZE = (20, 24)


def raws(seed, layers=LAYERS):
    """Returns weighted sums of either sign; those of the last picture are nowhere positive."""
    random = np.random.default_rng(seed)
    found = {layer: random.standard_normal((2, *SIDES[layer])).astype(np.float32) for layer in layers}
    return {layer: np.stack([raw[0], -np.abs(raw[1])]) for layer, raw in found.items()}


def explanation(by_method):
    """Returns an explanation with maps of which only the size counts."""
    maps = {method: {layer: jnp.zeros((2, *SIZE)) for layer in some} for method, some in by_method.items()}
    raw = {method: {layer: jnp.asarray(a) for layer, a in some.items()} for method, some in by_method.items()}
    return Explanation(jnp.zeros((2, 2)), jnp.zeros(2, int), maps, raw)


def by_hand(raw):
    """Returns the ReLU, scaled to [0, 1] and enlarged as OpenCV does it."""
    positive = np.maximum(raw, 0)
    spread = positive.max() - positive.min()
    return cv2.resize(positive / spread if spread else positive, SIZE[::-1], interpolation=cv2.INTER_LINEAR)


def scaled(one):
    return (one - one.min()) / (np.ptp(one) or 1)


def test_names_are_the_theses():
    assert columns(LAYERS) == [*LAYERS, "layer4+3", "layer4+3+2", "layer4+3+2+1"]
    assert aggregates(LAYERS)[1] == ("layer4", "layer3", "layer2")
    assert columns(("layer3",)) == ["layer3"]
    assert columns(("layer1", "layer4")) == ["layer1", "layer4", "layer4+1"]
    assert title(("stem",)) == "stem"


@given(st.integers(0, 999))
def test_maps_are_those_of_an_explanation(seed):
    e = explanation({"m": raws(seed)})
    found = layer_maps(e.raw["m"], SIZE)
    assert set(found) == set(columns(LAYERS))
    for some in (("layer2",), aggregates(LAYERS)[-1]):
        np.testing.assert_allclose(found[title(some)], e.aggregate("m", some), atol=1e-6)


@pytest.mark.parametrize("how", ["maximum", "weighted"])
def test_layers_are_aggregated_as_an_explanation_does_it(how):
    e = explanation({"m": raws(0)})
    found = layer_maps(e.raw["m"], SIZE, how)
    for some in aggregates(LAYERS):
        np.testing.assert_allclose(found[title(some)], e.aggregate("m", some, how=how), atol=1e-6)


def test_every_way_of_aggregation_is_described():
    assert len({described(how) for how in AGGREGATIONS}) == len(AGGREGATIONS)


@given(st.integers(0, 999))
def test_maps_are_those_of_opencv(seed):
    given = raws(seed)
    found = {name: np.asarray(maps) for name, maps in layer_maps(given, SIZE).items()}
    for b in range(2):
        large = {layer: by_hand(raw[b]) for layer, raw in given.items()}
        for layer in LAYERS:
            np.testing.assert_allclose(found[layer][b], scaled(large[layer]), atol=1e-5)
        for some in aggregates(LAYERS):
            together = sum(large[layer] for layer in some) / len(some)
            np.testing.assert_allclose(found[title(some)][b], scaled(together), atol=1e-5)
    assert not any(maps[1].any() for maps in found.values())


def test_methods_in_order_each_at_its_own_layers():
    found = all_maps(explanation({"second": raws(1), "first": raws(2), "cam": raws(3, ("layer4",))}))
    assert list(found) == [
        *(f"{method}/{column}" for method in ("second", "first") for column in columns(LAYERS)),
        "cam/layer4",
    ]
    for method, seed in (("second", 1), ("first", 2)):
        np.testing.assert_allclose(found[f"{method}/layer1"][0], scaled(by_hand(raws(seed)["layer1"][0])), atol=1e-5)


@pytest.mark.parametrize("order", [("layer4", "layer3"), ("layer3", "layer4")])
def test_columns_are_of_the_layers_whatever_their_order(order):
    """Aggregates go from the highest layer down, as the thesis has them."""
    found = all_maps(explanation({"m": raws(4, order)}))
    assert set(found) == {"m/layer3", "m/layer4", "m/layer4+3"}


def test_the_column_of_most_layers():
    maps = ["cam/layer4", "grad_cam/layer3", "grad_cam/layer4", "grad_cam/layer4+3"]
    assert last_column(("layer3", "layer4"), "grad_cam", maps) == "layer4+3"
    assert last_column(("layer3", "layer4"), "cam", maps) == "layer4"
    assert last_column(("layer4",), "grad_cam", maps) == "layer4"
