"""Curves of replaced pixels are those of loops over pixels, and of linear models those that are known."""

from dataclasses import replace
from itertools import chain

import jax.numpy as jnp
import numpy as np
import pytest

from tests.metrics.judged_models import (
    MAPS,
    case_of,
    contributions,
    linear,
    network,
    patches,
    probabilities,
    random_maps,
    some,
)
from xrcam_jax.attribution.case import Case
from xrcam_jax.metrics import flipping, turns
from xrcam_jax.metrics.turns import Uniform


def curve_by_loops(case, one_map, side, per_step, sign, fill):
    """The scores of all pictures by one map, with its patches replaced one after the other."""
    images = np.array(case.images)
    orders = [sorted(patches(side), key=lambda patch: -sign * sum(m[p] for p in patch)) for m in one_map]
    found = [probabilities(case, images)]
    for first in range(0, len(orders[0]), per_step):
        for image, order, filled in zip(images, orders, fill, strict=True):
            for place in chain.from_iterable(order[first : first + per_step]):
                image[place] = filled[place]
        found.append(probabilities(case, images))
    return np.array(found)


@pytest.mark.parametrize(("patch", "side", "per_step", "order"), [((4, 3), (4, 3), 1, "lerf"), (2, (2, 2), 2, "morf")])
def test_curves_are_those_of_loops(patch, side, per_step, order):
    case, maps = case_of(network), random_maps()
    found = flipping.flipped_scores(case, maps, patch=patch, per_step=per_step, order=order, fill=0.5)
    fill = np.full(case.images.shape, 0.5)
    for curve, one_map in zip(found, maps, strict=True):
        expected = curve_by_loops(case, one_map, side, per_step, 1 if order == "morf" else -1, fill)
        np.testing.assert_allclose(curve, expected, atol=1e-5)


def test_region_perturbation_is_the_area_over_the_curve_of_drawn_values():
    case, maps = case_of(network), random_maps()
    fills = turns.fills_of(case, Uniform(draws=2))
    curves = [curve_by_loops(case, maps[0], (3, 3), 1, 1, np.asarray(fills.at(jnp.array(i)))) for i in range(2)]
    found = flipping.region_perturbation(case, maps, patch=3, steps=3, fill=Uniform(draws=2))
    expected = np.mean([curve[0] - curve[:4] for curve in curves], axis=(0, 1))
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


@pytest.mark.parametrize(("side", "region", "steps"), [(8, 1, 64), (64, 3, 100), (224, 9, 100)])
def test_regions_are_as_large_a_part_of_the_picture_as_in_the_paper(side, region, steps):
    """A model that adds up pixels of 1 loses by each step what a region has; those at the border are cut off."""
    along = np.minimum(region, side - np.arange(0, side, region))
    removed = np.cumsum([0, *np.outer(along, along).ravel()[:steps]])
    case = Case(lambda images, parameters: images.sum((1, 2)), (), jnp.ones((1, side, side, 1)), jnp.ones((1, 1), int))
    maps = jnp.zeros((1, 1, side, side))
    (curve,) = flipping.region_scores(case, maps, fill=0.0, score="logit")
    np.testing.assert_allclose(curve[:, 0], side**2 - removed)


def test_drawn_values_fill_the_range_of_each_channel():
    case = case_of(network)
    images = np.asarray(case.images)
    fills = turns.fills_of(case, Uniform(draws=40))
    drawn = np.stack([fills.at(jnp.array(i)) for i in range(40)])
    low, high = images.min((1, 2)), images.max((1, 2))
    shares = (drawn - low[:, None, None]) / (high - low)[:, None, None]
    assert shares.min() > -1e-5
    assert shares.max() < 1 + 1e-5
    np.testing.assert_allclose(shares.mean((0, 2, 3)), 0.5, atol=0.05)
    np.testing.assert_allclose(shares.std((0, 2, 3)), 12**-0.5, atol=0.03)
    np.testing.assert_allclose(shares, np.broadcast_to(shares[:, :1], shares.shape), atol=1e-5)
    given = turns.fills_of(case, Uniform(low=2.0, high=3.0)).at(jnp.array(0))
    assert float(given.min()) >= 2
    assert float(given.max()) <= 3


def test_areas_of_a_linear_model_are_sums_of_what_it_adds_up():
    case = case_of(linear)
    maps = contributions(case)
    for picture, found in zip(maps[0], flipping.pixel_flipping(case, maps, per_step=1, score="logit")[0], strict=True):
        lost = np.concatenate([[0], np.sort(picture.ravel())[::-1].cumsum(dtype=np.float64)])
        left = picture.sum() - lost
        np.testing.assert_allclose(found, np.trapezoid(left) / picture.size, rtol=1e-4)
    sums = np.array([[sum(picture[p] for p in patch) for patch in patches((4, 3))] for picture in maps[0]])
    lost = np.pad(-np.sort(-sums, axis=1), ((0, 0), (1, 0))).cumsum(1)
    found = flipping.region_perturbation(case, maps, patch=(4, 3), fill=0.0, score="logit")
    np.testing.assert_allclose(found[0], lost.mean(1), rtol=1e-4)
    found = flipping.selectivity(case, maps, patch=(4, 3), score="logit")
    left = lost[:, -1:] - lost
    np.testing.assert_allclose(found[0], np.trapezoid(left, axis=1) / len(sums[0]), rtol=1e-4, atol=1e-4)


def test_no_order_falls_earlier_than_that_of_what_a_linear_model_adds_up():
    case = case_of(linear)
    maps = contributions(case)
    curves = {
        order: np.asarray(flipping.flipped_scores(case, maps, per_step=1, order=order, score="logit"))
        for order in ("morf", "random", "lerf")
    }
    assert (curves["morf"] <= curves["random"] + 1e-4).all()
    assert (curves["random"] <= curves["lerf"] + 1e-4).all()
    assert (curves["morf"] < curves["lerf"] - 1).any()
    # The random order is one of the pictures' pixels, which each lose what they have.
    for steps, picture in zip(curves["random"][0].T, maps[0], strict=True):
        np.testing.assert_allclose(np.sort(-np.diff(steps)), np.sort(picture.ravel()), atol=1e-4)


def test_a_random_order_does_not_depend_on_maps():
    case, maps = case_of(linear), random_maps()
    found = flipping.flipped_scores(case, maps, per_step=7, order="random", score="logit")
    assert len(found) == MAPS
    np.testing.assert_array_equal(found[0], found[1])
    other = flipping.flipped_scores(replace(case, random_seed=1), maps, per_step=7, order="random", score="logit")
    assert np.abs(found - other).max() > 0.1


def test_chunks_batches_and_their_order_do_not_matter():
    def everything(case, maps):
        return np.asarray(flipping.region_perturbation(case, maps, patch=3, fill=Uniform(draws=2)))

    case, maps = case_of(network), random_maps()
    whole = everything(case, maps)
    assert np.ptp(whole, axis=1).min() > 0.01
    found = everything(*some(replace(case, chunk_size=4), maps, [2, 0]))
    np.testing.assert_allclose(found, whole[:, [2, 0]], atol=1e-6)


def test_a_map_with_nan_has_no_figure():
    case, maps = case_of(network), random_maps()
    maps[1, 2, 3, 4] = np.nan
    found = np.asarray(flipping.pixel_flipping(case, maps, per_step=7))
    assert np.isnan(found[1, 2])
    assert np.isfinite(found).sum() == found.size - 1


def test_as_many_steps_as_are_worth_it():
    """A large picture takes a hundred steps, and as many patches as the paper has of a digit."""
    assert turns.patch_side((224, 224), flipping.PATCHES) == (32, 32)
    assert turns.patch_side((28, 28), flipping.PATCHES) == (4, 4)
    assert turns.patch_side((1, 28), 7) == (1, 4)
    case = case_of(lambda images, parameters: images.sum((1, 2)))
    images = jnp.ones((1, 30, 40, 1))
    case = replace(case, parameters=(), images=images, targets=jnp.ones((1, 1), int))
    curve = flipping.flipped_scores(case, images[None, ..., 0], score="logit")[0, :, 0]
    np.testing.assert_allclose(curve, 1200 - 12 * np.arange(101), rtol=1e-5)


def test_wrong_arguments():
    case, maps = case_of(network), random_maps()
    with pytest.raises(ValueError, match="patch must have sides of at least 1; got 0"):
        flipping.region_perturbation(case, maps, patch=0)
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        flipping.region_perturbation(case, maps, steps=0)
    with pytest.raises(ValueError, match="per_step must be at least 1; got 0"):
        flipping.pixel_flipping(case, maps, per_step=0)
    with pytest.raises(ValueError, match="order must be one of morf, lerf, random"):
        flipping.flipped_scores(case, maps, order="up")
    with pytest.raises(ValueError, match="draws must be at least 1; got 0"):
        flipping.pixel_flipping(case, maps, fill=Uniform(draws=0))
