"""Figures of single features are those of loops over features, and of linear models those that are known."""

from dataclasses import replace
from itertools import chain

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.metrics.judged_models import (
    BATCH,
    case_of,
    contributions,
    linear,
    network,
    patches,
    probabilities,
    random_maps,
    some,
    weights,
)
from xrcam_jax.metrics import monotonicity, turns
from xrcam_jax.metrics.turns import Uniform


def replaced(case, sets, fill):
    """The scores with one set of each picture's pixels replaced."""
    images = np.array(case.images)
    for image, places, filled in zip(images, sets, fill, strict=True):
        for place in places:
            image[place] = filled[place]
    return probabilities(case, images)


def features_by_loops(one_map, side, per_feature):
    """Sets of pixels of each picture: patches, or those that follow one another in the order of their sums."""
    for m in one_map:
        found = patches(side)
        if per_feature > 1:
            found.sort(key=lambda patch: -sum(m[p] for p in patch))
        yield [list(chain.from_iterable(found[i : i + per_feature])) for i in range(0, len(found), per_feature)]


@pytest.mark.parametrize(("side", "per_feature"), [((2, 2), 1), ((1, 1), 4)])
def test_estimate_and_nguyen_are_those_of_loops(side, per_feature):
    case, maps = case_of(network), random_maps()
    options = {"patch": side, "per_feature": per_feature}
    drawn = turns.fills_of(case, Uniform(draws=3))
    draws = [np.asarray(drawn.at(jnp.array(i))) for i in range(3)]
    intact, zeros = probabilities(case, case.images), np.zeros(case.images.shape)
    estimates = monotonicity.faithfulness_estimate(case, maps, **options)
    orders = monotonicity.monotonicity_nguyen(case, maps, fill=Uniform(draws=3), **options)
    for i, one_map in enumerate(maps):
        sets = list(features_by_loops(one_map, side, per_feature))
        drops = np.array([intact - replaced(case, each, zeros) for each in zip(*sets, strict=True)])
        sizes = np.abs(one_map)
        of_sizes = list(features_by_loops(sizes, side, per_feature))
        losses = np.mean(
            [[(intact - replaced(case, each, fill)) ** 2 for each in zip(*of_sizes, strict=True)] for fill in draws], 0
        )
        for b in range(BATCH):
            sums = [sum(one_map[b][p] for p in each) for each in sets[b]]
            np.testing.assert_allclose(estimates[i, b], np.corrcoef(sums, drops[:, b])[0, 1], atol=1e-4)
            sums = [sum(sizes[b][p] for p in each) for each in of_sizes[b]]
            np.testing.assert_allclose(orders[i, b], stats.spearmanr(sums, losses[:, b]).statistic, atol=1e-5)


def test_what_a_linear_model_adds_up_is_what_it_loses():
    case = case_of(linear)
    maps = contributions(case)
    maps = np.concatenate([maps, -2 * maps])
    found = monotonicity.faithfulness_estimate(case, maps, patch=2, score="logit")
    np.testing.assert_allclose(found, [[1] * BATCH, [-1] * BATCH], atol=1e-5)
    constant = monotonicity.faithfulness_estimate(case, np.ones_like(maps), patch=1, score="logit")
    assert np.isnan(constant).all()


def test_loss_of_a_linear_model_is_the_square_of_its_weight():
    """With 1 replaced by 0 in every pixel, the losses are the squares of the weights."""
    case = case_of(linear)
    case = replace(case, images=jnp.ones_like(case.images))
    maps = weights(case).sum(-1)[None]
    found = monotonicity.monotonicity_nguyen(case, maps, patch=1, fill=0.0, score="logit")
    np.testing.assert_allclose(found, 1, atol=1e-3)


def test_arya_is_that_of_a_loop_that_adds():
    case = case_of(network)
    maps = np.random.default_rng(4).standard_normal((12, *case.images.shape[:3])).astype(np.float32)
    found = np.asarray(monotonicity.monotonicity_arya(case, maps, patch=(3, 3), per_step=1))
    expected = np.zeros_like(found)
    for i, one_map in enumerate(maps):
        images, scores = np.zeros(case.images.shape), []
        orders = [sorted(patches((3, 3)), key=lambda patch, m=m: sum(m[p] for p in patch)) for m in one_map]
        for sets in zip(*orders, strict=True):
            for image, full, places in zip(images, np.asarray(case.images), sets, strict=True):
                for place in places:
                    image[place] = full[place]
            scores.append(probabilities(case, images))
        expected[i] = (np.diff(scores, axis=0) >= 0).all(0)
    np.testing.assert_array_equal(found, expected)
    assert 0 < expected.mean() < 1


def test_arya_of_a_linear_model():
    """Of what it adds up nothing may be negative; of one negative pixel only if it is the first."""
    case = case_of(linear)
    case = replace(case, images=jnp.abs(case.images), parameters=jnp.abs(case.parameters))
    maps = contributions(case)
    found = monotonicity.monotonicity_arya(case, np.concatenate([maps, -maps]), per_step=1, score="logit")
    np.testing.assert_array_equal(found, 1)
    # The pixel that is worth most is the last that the second map adds, and the first that the third does.
    case = replace(case, images=case.images.at[:, 2, 2].mul(-1))
    last, first = maps.copy(), maps.copy()
    last[:, :, 2, 2], first[:, :, 2, 2] = 1e3, -1e3
    found = monotonicity.monotonicity_arya(case, np.concatenate([last, first]), per_step=1, score="logit")
    np.testing.assert_array_equal(found, [[0] * BATCH, [1] * BATCH])


def test_rounding_is_no_fall():
    curve = jnp.array([2.0, 1.0, 1.0 + 5e-7, 0.0])[None, :, None]
    assert monotonicity.never_rises(curve).tolist() == [[1.0]]
    assert monotonicity.never_rises(curve, 0.0).tolist() == [[0.0]]
    assert np.isnan(monotonicity.never_rises(curve.at[0, 0].set(jnp.nan))).all()


@pytest.mark.long
def test_chunks_batches_and_their_order_do_not_matter():
    def everything(case, maps):
        return np.asarray(monotonicity.monotonicity_nguyen(case, maps, patch=2, fill=Uniform(draws=2)))

    case, maps = case_of(network), random_maps()
    whole = everything(case, maps)
    assert np.ptp(whole, axis=1).min() > 0.01
    found = everything(*some(replace(case, chunk_size=4), maps, [2, 0]))
    np.testing.assert_allclose(found, whole[:, [2, 0]], atol=1e-5)


def test_features_of_all_maps_share_their_passes():
    maps = random_maps()
    case = case_of(network)
    assert monotonicity.features(np.ones((1, 1, 224, 224), np.float32)).sums.shape == (1, 1, 256)
    assert len(monotonicity.scores_without_each(case, monotonicity.features(maps, patch=2))) == 1


def test_wrong_arguments():
    case, maps = case_of(network), random_maps()
    with pytest.raises(ValueError, match="per_feature must be at least 1; got 0"):
        monotonicity.faithfulness_estimate(case, maps, per_feature=0)
    with pytest.raises(ValueError, match="patch must have sides of at least 1; got 0"):
        monotonicity.monotonicity_nguyen(case, maps, patch=0)
