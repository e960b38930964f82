"""ADCC and its parts are those of a loop in NumPy."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from tests.metrics import quadratic
from xrcam_jax.metrics import adcc


@pytest.fixture(scope="module")
def case():
    return quadratic.case(seed=2)


@pytest.fixture(scope="module")
def maps():
    return jnp.asarray(np.random.default_rng(4).random((2, *quadratic.SHAPE[:3])), jnp.float32)


@pytest.fixture(scope="module")
def found(case, maps):
    return adcc.covered(case, quadratic.explain, maps, fill=0.25)


def test_the_parts_are_those_of_a_loop(case, maps, found):
    network, harmonic = quadratic.InNumPy(case), found.adcc()
    for i, x, target in quadratic.each(case):
        for m in range(2):
            shown = np.asarray(maps[m, i], np.float64)
            left = x * shown[..., None] + 0.25 * (1 - shown[..., None])
            coherency = (1 + np.corrcoef(shown.ravel(), network.maps(left, target)[m].ravel())[0, 1]) / 2
            before, after = network.probability(x, target), network.probability(left, target)
            drop = max(0, before - after) / before
            np.testing.assert_allclose(found.coherency[m, i], coherency, rtol=1e-4)
            np.testing.assert_allclose(found.complexity[m, i], shown.mean(), rtol=1e-5)
            np.testing.assert_allclose(found.drop[m, i], drop, rtol=1e-3, atol=1e-5)
            expected = 3 / (1 / coherency + 1 / (1 - shown.mean()) + (1 / (1 - drop) if drop < 1 else np.inf))
            np.testing.assert_allclose(harmonic[m, i], expected, rtol=1e-3, atol=1e-5)
    assert np.ptp(found.drop) > 0.1


def test_the_metric_is_what_its_passes_say(case, maps, found):
    np.testing.assert_array_equal(adcc.adcc(case, quadratic.explain, maps, fill=0.25), found.adcc())


def test_chunks_batches_and_their_order_do_not_matter(case, maps, found):
    few, of_few = quadratic.some(replace(case, chunk_size=1), maps, [2, 0])
    again = adcc.covered(few, quadratic.explain, of_few, fill=0.25)
    for one, other in zip(again, found, strict=True):
        np.testing.assert_allclose(one, other[:, jnp.array([2, 0])], rtol=1e-4, atol=1e-5)


def test_a_part_of_zero_leaves_nothing():
    one = jnp.ones((1, 1))
    assert adcc.Covered(one, 0 * one, one).adcc().tolist() == [[0.0]]
    assert adcc.Covered(0 * one, 0 * one, 0 * one).adcc().tolist() == [[0.0]]
    assert adcc.Covered(one, 0 * one, 0 * one).adcc().tolist() == [[1.0]]
