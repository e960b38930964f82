"""Results in a notebook or a debugger say what they hold, and not every number of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.explain.spread import Spread
from xrcam_jax.pictures.volumes import Volume
from xrcam_jax.runtime.brief import brief

PLANTED = xr.datasets.planted("pattern", 2)
IMAGES = jnp.asarray(PLANTED.images)
NETWORK, EVEN = PLANTED.network, xr.composites.epsilon_plus()
SOME = jnp.zeros((2, 3))

RESULTS = {
    "ConceptMaps(maps=float32[2, 2, 64, 64], relevance=float32[2, 2], logits=float32[2, 2], targets=int32[2])": (
        lambda: xr.concepts.attribute(NETWORK, IMAGES, "layer2", [0, 1])
    ),
    "ConceptGraph(upper='layer3', lower='layer2', edges=float32[1, 1, 2], relevance=float32[1, 2], "
    "logits=float32[2, 2], targets=int32[2])": (
        lambda: xr.concepts.graph(NETWORK, IMAGES, {"layer3": [0], "layer2": [1]})
    ),
    "RankedConcepts(concepts=int32[3, 2], relevance=float32[3, 2], share=float32[3, 2], logits=float32[2, 2], "
    "targets=int32[2])": lambda: xr.concepts.most_relevant(NETWORK, IMAGES, "layer2", 3),
    "Planted(images=float32[2, 64, 64, 3], labels=int32[2], truth=bool[2, 64, 64], decoy=bool[2, 64, 64], "
    "network=Detector(...))": lambda: PLANTED,
    "Spread(mean=float32[2, 3], deviation=float32[2, 3], low=float32[2, 3], high=float32[2, 3], "
    "quantiles={0.5: float32[2, 3]})": lambda: Spread(SOME, SOME, SOME, SOME, {0.5: SOME}),
    "Volume(values=float32[2, 3, 4], affine=float64[4, 4], header=None, laid=((0, 1), (1, 1), (2, -1)))": lambda: (
        Volume(np.zeros((2, 3, 4), np.float32), np.eye(4), None, ((0, 1), (1, 1), (2, -1)))
    ),
}


@pytest.mark.parametrize("said", RESULTS)
def test_results_say_shapes(said):
    assert repr(RESULTS[said]()) == said


def test_what_prints_as_a_table_is_that_table():
    found = xr.layers(NETWORK, IMAGES)
    assert repr(found) == str(found)
    account = xr.conservation(lambda x: jnp.maximum(x, 0), EVEN, SOME, seed=lambda y: y)
    assert repr(account) == str(account)


def test_taps_say_shapes_also_where_they_are_traced():
    def pooled(x):
        return xr.mark(jnp.maximum(x, 0), "low").sum(1)

    said = "Taps(output=float32[2], activations={'low': float32[2, 3]}, relevances={'low': float32[2, 3]})"
    seen = []

    def find(x):
        found = xr.taps(pooled, EVEN, x, seed=lambda y: y)
        seen.append(repr(found))
        return found.output

    jax.jit(find)(SOME)
    assert seen == [said]


def test_all_kinds_of_containers():
    class Pair(NamedTuple):
        left: object
        right: object

    assert brief(Pair((np.float32(1),), [])) == "Pair(left=(float32[],), right=[])"
    assert brief({"a": None}) == "{'a': None}"
