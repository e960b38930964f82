"""Drops of the score with subsets of pixels are those of loops, and of linear models those that are known."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from tests.metrics.judged_models import (
    BATCH,
    MAPS,
    SPACE,
    case_of,
    contributions,
    linear,
    network,
    probabilities,
    random_maps,
    some,
    weights,
)
from xrcam_jax.metrics import drops, subsets
from xrcam_jax.metrics.drops import Noise
from xrcam_jax.metrics.subsets import Squares


def test_random_subsets_take_each_pixel_as_often():
    sizes = [3, 20] * 200
    found = np.asarray(drops.random_subsets(SPACE, sizes, seed=1))
    np.testing.assert_array_equal(found.sum((1, 2)), sizes)
    np.testing.assert_allclose(found[1::2].mean(0), 20 / 30, atol=0.15)
    np.testing.assert_allclose(found[::2].mean(0), 3 / 30, atol=0.08)
    # The first ones are the same however many there are.
    np.testing.assert_array_equal(drops.random_subsets(SPACE, sizes[:4], seed=1), found[:4])
    assert (np.asarray(drops.random_subsets(SPACE, sizes[:4], seed=2)) != found[:4]).any()


def test_random_squares_lie_at_each_place_as_often():
    found = np.asarray(drops.random_squares(SPACE, (3, 2), 600))
    corners = np.zeros(SPACE)
    for square in found:
        ys, xs = np.nonzero(square)
        assert (len(ys), np.ptp(ys), np.ptp(xs)) == (6, 2, 1)
        corners[ys[0], xs[0]] += 1
    assert corners[4:].sum() == corners[:, 4:].sum() == 0
    np.testing.assert_allclose(corners[:4, :4], 600 / 16, atol=25)


def test_drops_sums_and_correlations_are_those_of_loops():
    case, maps = case_of(network), random_maps()
    chosen = np.random.default_rng(2).random((7, *SPACE)) < 0.3
    fill = np.random.default_rng(3).standard_normal(case.images.shape).astype(np.float32)
    lost = np.asarray(drops.subset_drops(case, chosen, fill=fill))
    sums = np.asarray(drops.subset_sums(maps, chosen))
    for v, subset in enumerate(chosen):
        images = np.where(subset[..., None], fill, case.images)
        np.testing.assert_allclose(lost[v], probabilities(case, case.images) - probabilities(case, images), atol=1e-5)
        for m, b in np.ndindex(MAPS, BATCH):
            np.testing.assert_allclose(sums[m, v, b], maps[m, b][subset].sum(), rtol=1e-4, atol=1e-5)
    found = subsets.correlations(jnp.asarray(lost), jnp.asarray(sums))
    for m, b in np.ndindex(MAPS, BATCH):
        np.testing.assert_allclose(found[m, b], np.corrcoef(lost[:, b], sums[m, :, b])[0, 1], atol=1e-5)


def test_correlations_with_what_a_linear_model_adds_up():
    """A map has sensitivity-n where it is what the model adds up, and its negative the opposite."""
    case = case_of(linear)
    maps = contributions(case)
    maps = np.concatenate([maps, -3 * maps])
    found = subsets.faithfulness_correlation(case, maps, runs=20, subset_size=5, score="logit")
    np.testing.assert_allclose(found, [[1] * BATCH, [-1] * BATCH], atol=1e-4)
    options = {"sizes": [1, 4, 24, 30], "samples": 12, "score": "logit"}
    curve = subsets.sensitivity_curve(case, maps, **options)
    np.testing.assert_allclose(curve[0, :3], 1, atol=1e-3)
    np.testing.assert_allclose(curve[1, :3], -1, atol=1e-3)
    # There is one set of all pixels, and nothing to correlate.
    assert np.isnan(curve[:, 3]).all()
    found = subsets.sensitivity_n(case, maps, **options)
    np.testing.assert_allclose(found, [[1] * BATCH, [-1] * BATCH], atol=1e-3)


def test_sizes_go_from_one_to_four_fifths():
    assert subsets._default_sizes(30) == [1, 2, 3, 4, 6, 8, 12, 17, 24]
    assert subsets._default_sizes(50176)[::9] == [1, 40140]


def gradient_of_alike_channels(case):
    """A linear case in which a pixel's channels have one weight, and its gradient as a map."""
    shared = jnp.asarray(weights(case))[..., :1]
    case = replace(case, parameters=jnp.repeat(shared[0].reshape(-1, 1), 2, 0).repeat(3, 1), targets=0 * case.targets)
    return case, np.repeat(np.asarray(shared[:1, ..., 0]), BATCH, 0)[None]


CHANGES = [Squares(), Squares((3, 2)), Noise(0.5), Noise(0.5, of_picture=True)]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_the_gradient_of_a_linear_model_has_no_infidelity(change):
    case, gradient = gradient_of_alike_channels(case_of(linear))
    maps = np.concatenate([gradient, 2 * gradient, 0 * gradient])
    found = np.asarray(subsets.infidelity(case, maps, change=change, samples=25, fill=0.3))
    np.testing.assert_allclose(found[0], 0, atol=1e-8)
    assert found[2].min() > 0.1
    np.testing.assert_allclose(found[1], found[2], rtol=1e-3)
    scaled = np.asarray(subsets.infidelity(case, maps, change=change, samples=25, fill=0.3, scaled=True))
    np.testing.assert_allclose(scaled[:2], 0, atol=1e-8)
    np.testing.assert_allclose(scaled[2], found[2], rtol=1e-5)


def test_infidelity_of_products_with_the_picture():
    case = case_of(linear)
    found = subsets.infidelity(case, contributions(case), change=Squares(2), samples=10, multiplied=True)
    np.testing.assert_allclose(found, 0, atol=1e-8)


def test_infidelity_of_nothing_is_the_variance_of_the_score():
    """With noise of deviation s on a linear model, the square of what it loses is (w x)² + s² w² on the mean."""
    case = case_of(linear)
    nothing, w = np.zeros((1, BATCH, *SPACE), np.float32), weights(case).astype(np.float64)
    noise = 0.25 * (w**2).sum((1, 2, 3))
    intact = (w * np.asarray(case.images)).sum((1, 2, 3))
    of_picture = subsets.infidelity(case, nothing, change=Noise(0.5, of_picture=True), samples=800)
    np.testing.assert_allclose(of_picture[0], noise, rtol=0.25)
    of_baseline = subsets.infidelity(case, nothing, change=Noise(0.5), samples=800)
    np.testing.assert_allclose(of_baseline[0], intact**2 + noise, rtol=0.25)


def test_errors_are_those_of_least_squares():
    random = np.random.default_rng(5)
    lost, sums = random.standard_normal((9, BATCH)), random.standard_normal((MAPS, 9, BATCH))
    found = [subsets.squared_errors(jnp.float32(lost), jnp.float32(sums), scaled=scaled) for scaled in (False, True)]
    for m, b in np.ndindex(MAPS, BATCH):
        np.testing.assert_allclose(found[0][m, b], np.mean((sums[m, :, b] - lost[:, b]) ** 2), rtol=1e-5)
        residual = np.linalg.lstsq(sums[m, :, b, None], lost[:, b])[1][0]
        np.testing.assert_allclose(found[1][m, b], residual / 9, rtol=1e-5)


@pytest.mark.long
def test_chunks_batches_and_their_order_do_not_matter():
    def everything(case, maps):
        return np.concatenate(
            [
                subsets.faithfulness_correlation(case, maps, runs=10, subset_size=6),
                subsets.infidelity(case, maps, samples=10, change=Noise()),
            ]
        )

    case, maps = case_of(network), random_maps()
    whole = everything(case, maps)
    assert np.ptp(whole, axis=1).min() > 0.01
    found = everything(*some(replace(case, chunk_size=4), maps, [2, 0]))
    np.testing.assert_allclose(found, whole[:, [2, 0]], rtol=1e-4, atol=1e-4)


def test_wrong_arguments():
    case, maps = case_of(network), random_maps()
    with pytest.raises(ValueError, match="runs must be at least 2"):
        subsets.faithfulness_correlation(case, maps, runs=1)
    with pytest.raises(ValueError, match="samples must be at least 2"):
        subsets.sensitivity_n(case, maps, samples=1)
    with pytest.raises(ValueError, match=r"sizes of subsets must be 1 to the picture's 30 pixels; got \[0\]"):
        subsets.sensitivity_n(case, maps, sizes=[0])
    with pytest.raises(ValueError, match=r"side of a square must be 1 to the picture's \(6, 5\); got 6"):
        subsets.infidelity(case, maps, change=Squares(6))
    with pytest.raises(ValueError, match="samples must be at least 1; got 0"):
        subsets.infidelity(case, maps, samples=0)
    with pytest.raises(ValueError, match="multiplied must be False with noise"):
        subsets.infidelity(case, maps, change=Noise(), multiplied=True)
