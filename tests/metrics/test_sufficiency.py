"""Sufficiency counts pairs of pictures whose maps are near each other."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tests.metrics.judged_models import case_of, network, patches, random_maps
from xrcam_jax.attribution.case import Case
from xrcam_jax.metrics.sufficiency import agreement, consistency, predicted, sufficiency

MAPS = np.random.default_rng(0).standard_normal((2, 9, 4, 5)).astype(np.float32)
MAPS[:, :, 0, 0] = 3
CLASSES = np.random.default_rng(1).integers(0, 2, 9).astype(np.int32)


@pytest.mark.parametrize("threshold", [0.6, 0.9, 1.0])
def test_pairs_one_by_one(threshold):
    found = np.asarray(agreement(MAPS, CLASSES, threshold=threshold))
    for m, one in enumerate(MAPS.reshape(2, 9, 20)[:, :, 1:]):
        distances = cdist(one, one, "seuclidean")
        for i in range(9):
            alike = [j for j in range(9) if j != i and distances[i, j] <= threshold * distances.max() * (1 + 1e-6)]
            wanted = np.mean([CLASSES[j] == CLASSES[i] for j in alike]) if alike else np.nan
            np.testing.assert_allclose(found[m, i], wanted, rtol=1e-6)
    assert np.isnan(found).any() == (threshold == 0.6)


def test_the_order_of_pictures_does_not_matter():
    order = np.random.default_rng(2).permutation(9)
    whole = np.asarray(agreement(MAPS, CLASSES, threshold=0.85))
    np.testing.assert_allclose(agreement(MAPS[:, order], CLASSES[order], threshold=0.85), whole[:, order], rtol=1e-6)


def test_without_a_threshold_equal_maps_are_the_same():
    maps = MAPS[:, [0, 1, 0, 2, 1, 0]]
    found = agreement(maps, np.array([0, 1, 1, 0, 1, 0], np.int32), threshold=0.0)
    np.testing.assert_array_equal(found, [[0.5, 1, 0, np.nan, 1, 0.5]] * 2)


def test_of_a_model():
    case, maps = case_of(network), random_maps()
    classes = np.asarray(network(case.images, case.parameters)).argmax(1)
    np.testing.assert_array_equal(predicted(case), classes)
    np.testing.assert_array_equal(
        sufficiency(case, maps, threshold=0.95), agreement(maps, classes.astype(np.int32), threshold=0.95)
    )
    single = Case(lambda images, parameters: images.sum((1, 2, 3))[:, None], (), case.images, case.targets)
    np.testing.assert_array_equal(predicted(single), np.asarray(case.images).sum((1, 2, 3)) > 0)


@pytest.mark.parametrize(("side", "top"), [((2, 5), 1), ((3, 3), 2)])
def test_pictures_of_the_same_patches_one_by_one(side, top):
    random = np.random.default_rng(3)
    images, maps = (random.standard_normal((*shape, 6, 5, 2)).astype(np.float32) for shape in ((12,), (2, 12)))
    targets = jnp.zeros((12, 1), jnp.int32)
    case, maps = replace(case_of(network), images=jnp.asarray(images), targets=targets), maps[..., 0]
    sums = np.array([[[sum(one[p] for p in places) for places in patches(side)] for one in each] for each in maps])
    best = [[set(np.argsort(-picture)[:top]) for picture in each] for each in sums]
    classes, found = (np.asarray(each) for each in (predicted(case), consistency(case, maps, patch=side, top=top)))
    for m, b in np.ndindex(2, 12):
        alike = [i for i in range(12) if i != b and best[m][i] == best[m][b]]
        wanted = np.mean([classes[i] == classes[b] for i in alike]) if alike else np.nan
        np.testing.assert_allclose(found[m, b], wanted, rtol=1e-6)
    assert len(np.unique(found[np.isfinite(found)])) > 2


def test_wrong_arguments():
    with pytest.raises(ValueError, match="top must be from 1 to the number of patches, 4; got 10"):
        consistency(case_of(network), random_maps(), patch=3, top=10)
    with pytest.raises(ValueError, match=r"threshold must be a number from 0; got -0.1"):
        agreement(MAPS, CLASSES, threshold=-0.1)
    with pytest.raises(ValueError, match=r"one for each of 9 pictures; got \(8,\)"):
        agreement(MAPS, CLASSES[:8])
