"""Continuity is that of a loop in NumPy that moves each picture."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.metrics import quadratic
from xrcam_jax.metrics import continuity

OPTIONS = {"shifts": (-2, 1, 3, 4), "patch": 3, "fill": -0.5}


@pytest.fixture(scope="module")
def case():
    return quadratic.case(seed=5)


@pytest.fixture(scope="module")
def maps(case):
    return quadratic.maps_of(case)


@pytest.fixture(scope="module")
def found(case, maps):
    return continuity.moved(case, quadratic.explain, maps, **OPTIONS)


def moved(x, by):
    """Returns a picture that is moved to the right, or to the left."""
    found = np.full_like(x, OPTIONS["fill"])
    found[:, max(0, by) : x.shape[1] + min(0, by)] = x[:, max(0, -by) : x.shape[1] - max(0, by)]
    return found


def patches(map):
    """Returns the sums over the four patches of a map of 4 x 5 pixels."""
    return [part.sum() for part in (map[:3, :3], map[:3, 3:], map[3:, :3], map[3:, 3:])]


def test_continuity_is_that_of_a_loop(case, found):
    network = quadratic.InNumPy(case)
    for i, x, target in quadratic.each(case):
        versions = [moved(x, by) for by in OPTIONS["shifts"]]
        before, after = network.maps(x, target), [network.maps(y, target) for y in versions]
        ratios = [
            np.abs(before - r).sum((1, 2)) / np.sqrt(((x - y) ** 2).sum()) for y, r in zip(versions, after, strict=True)
        ]
        np.testing.assert_allclose(found.continuity()[:, i], np.max(ratios, axis=0), rtol=1e-5)
        scores = [network.probability(y, target) for y in versions]
        np.testing.assert_allclose(found.scores[:, i], scores, rtol=1e-4)
        for m in range(2):
            sums = np.array([patches(r[m]) for r in after])
            np.testing.assert_allclose(found.patches[:, m, i], sums, rtol=1e-4, atol=1e-5)
            expected = np.mean([spearmanr(each, scores).statistic for each in sums.T])
            np.testing.assert_allclose(found.continuity_correlation()[m, i], expected, atol=1e-6)


def test_the_metrics_are_what_their_shared_passes_say(case, maps, found):
    given = case, quadratic.explain, maps
    of_distances = {name: OPTIONS[name] for name in ("shifts", "fill")}
    np.testing.assert_allclose(continuity.continuity(*given, **of_distances), found.continuity(), rtol=1e-6)
    np.testing.assert_array_equal(continuity.continuity_correlation(*given, **OPTIONS), found.continuity_correlation())


def test_chunks_batches_and_their_order_do_not_matter(case, maps, found):
    few, of_few = quadratic.some(case, maps, [2, 0])
    again = continuity.moved(replace(few, chunk_size=3), quadratic.explain, of_few, **OPTIONS)
    np.testing.assert_allclose(again.continuity(), found.continuity()[:, np.array([2, 0])], rtol=1e-5)
    np.testing.assert_allclose(again.scores, found.scores[:, np.array([2, 0])], rtol=1e-4)


def test_patches_that_never_change_do_not_count(found):
    still = found._replace(patches=found.patches.at[..., 1:].set(0.0))
    first = [spearmanr(found.patches[:, 0, i, 0], found.scores[:, i]).statistic for i in range(quadratic.BATCH)]
    np.testing.assert_allclose(still.continuity_correlation()[0], first, atol=1e-6)


def test_wrong_arguments(case, maps):
    with pytest.raises(ValueError, match="patch must be at least 1; got 0"):
        continuity.moved(case, quadratic.explain, maps, patch=0)
    with pytest.raises(ValueError, match="shifts must be at least one number of pixels other than 0; got none"):
        continuity.continuity(case, quadratic.explain, maps, shifts=())
