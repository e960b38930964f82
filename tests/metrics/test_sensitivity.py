"""Sensitivities are those of a loop in NumPy over the same noise, and zero where no map changes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.metrics import quadratic
from xrcam_jax.metrics import sensitivity

RADIUS, SAMPLES = 0.3, 5


@pytest.fixture(scope="module")
def case():
    return quadratic.case(random_seed=7)


@pytest.fixture(scope="module")
def maps(case):
    return quadratic.maps_of(case)


@pytest.fixture(scope="module")
def found(case, maps):
    return sensitivity.noisy_distances(case, quadratic.explain, maps, radius=RADIUS, nr_samples=SAMPLES)


def noise(case):
    keys = [jax.random.fold_in(jax.random.key(case.random_seed), i) for i in range(SAMPLES)]
    drawn = [jax.random.uniform(key, quadratic.SHAPE[1:], minval=-1, maxval=1) for key in keys]
    return RADIUS * np.array(drawn, np.float64)


def test_distances_and_what_is_made_of_them_are_those_of_a_loop(case, maps, found):
    network = quadratic.InNumPy(case)
    added = noise(case)
    assert RADIUS / 2 < np.abs(added).max() < RADIUS
    for i, x, target in quadratic.each(case):
        before = network.maps(x, target).reshape(2, -1)
        after = np.stack([network.maps(x + e, target).reshape(2, -1) for e in added])
        distances = np.sqrt(((after - before) ** 2).sum(-1))
        changes = np.array([np.sqrt((e**2).sum()) for e in added])
        norm, of_x = np.sqrt((before**2).sum(-1)), np.sqrt((x**2).sum())
        np.testing.assert_allclose(found.maps[:, :, i], distances, rtol=1e-5)
        np.testing.assert_allclose(found.images[:, i], changes, rtol=1e-5)
        np.testing.assert_allclose(found.max_sensitivity()[:, i], distances.max(0) / norm, rtol=1e-5)
        np.testing.assert_allclose(found.max_sensitivity("image")[:, i], distances.max(0) / of_x, rtol=1e-5)
        np.testing.assert_allclose(found.avg_sensitivity("nothing")[:, i], distances.mean(0), rtol=1e-5)
        np.testing.assert_allclose(found.local_lipschitz()[:, i], (distances / changes[:, None]).max(0), rtol=1e-5)


def test_the_metrics_are_what_their_shared_passes_say(case, maps, found):
    given = case, quadratic.explain, maps
    options = {"radius": RADIUS, "nr_samples": SAMPLES}
    np.testing.assert_array_equal(sensitivity.max_sensitivity(*given, **options), found.max_sensitivity())
    np.testing.assert_array_equal(sensitivity.avg_sensitivity(*given, **options), found.avg_sensitivity())
    np.testing.assert_array_equal(sensitivity.local_lipschitz(*given, **options), found.local_lipschitz())


def test_the_gradient_of_a_linear_model_does_not_change(case):
    linear = replace(case, parameters=case.parameters | {"a": {"kernel": 0 * case.parameters["a"]["kernel"]}})
    found = sensitivity.max_sensitivity(linear, quadratic.explain, quadratic.maps_of(linear))
    np.testing.assert_allclose(found[0], 0, atol=1e-6)
    assert found[1].min() > 0.01


def test_chunks_batches_and_their_order_do_not_matter(case, maps, found):
    def again(case, maps):
        found = sensitivity.noisy_distances(case, quadratic.explain, maps, radius=RADIUS, nr_samples=SAMPLES)
        return np.asarray(found.maps)

    # 2 does not divide the 5 samples.
    np.testing.assert_allclose(again(replace(case, chunk_size=2), maps), found.maps, rtol=1e-5)
    few, of_few = quadratic.some(case, maps, [2, 0])
    np.testing.assert_allclose(again(replace(few, random_seed=7), of_few), found.maps[..., [2, 0]], rtol=1e-5)
    assert np.abs(again(replace(case, random_seed=8), maps) - found.maps).min() > 1e-4


def test_wrong_arguments(case, maps):
    given = case, quadratic.explain, maps
    with pytest.raises(ValueError, match=r"radius must be a positive number; got 0"):
        sensitivity.max_sensitivity(*given, radius=0)
    with pytest.raises(ValueError, match="nr_samples must be at least 1; got 0"):
        sensitivity.local_lipschitz(*given, nr_samples=0)
    with pytest.raises(ValueError, match=r"draws must be of shape \(n, .*; got shape \(0, 4\)"):
        sensitivity.noisy_distances(*given, draws=np.zeros((0, 4), np.float32))
    with pytest.raises(ValueError, match="relative_to must be map, image or nothing; got 'maps'"):
        sensitivity.avg_sensitivity(*given, relative_to="maps")
    with pytest.raises(
        ValueError, match=r"targets must be one class for each picture, of shape \(3, 1\); got \(3, 2\)"
    ):
        sensitivity.max_sensitivity(replace(case, targets=jnp.zeros((3, 2), int)), *given[1:])
