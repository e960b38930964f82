"""ROAD removes the pixels that a map orders, picture by picture, whatever else is in the batch."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.metrics.judged_models import (
    BATCH,
    HEIGHT,
    MAPS,
    WIDTH,
    case_of,
    linear,
    network,
    probabilities,
    random_maps,
    some,
)
from xrcam_jax.attribution.case import Case
from xrcam_jax.metrics.imputation import imputed
from xrcam_jax.metrics.road import SHARES, Margins, road, road_scores

SHARE = (0.1, 0.5, 0.9)
FILL = jax.jit(imputed)


def versions(case, maps, order, noise=0.0):
    """The changed pictures of each map and share, with the pixels chosen one picture at a time."""
    for one in maps if order == "morf" else -maps:
        for share in SHARE:
            missing = np.zeros(one.shape, bool)
            for mask, values in zip(missing, one, strict=True):
                mask.ravel()[np.argsort(-values.ravel(), kind="stable")[: int(share * values.size)]] = True
            yield np.asarray(FILL(case.images, jnp.asarray(missing)))


@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_scores_on_imputed_pictures(order):
    case, maps = case_of(network), random_maps()
    found = road_scores(case, maps, shares=SHARE, order=order, noise=0.0, score="probability")
    wanted = np.array([probabilities(case, images) for images in versions(case, maps, order)])
    np.testing.assert_allclose(found, wanted.reshape(MAPS, 3, BATCH), rtol=1e-3)
    accuracy = road_scores(case, maps, shares=SHARE, order=order, noise=0.0)
    predicted = [
        np.asarray(network(jnp.asarray(images), case.parameters)).argmax(1) == np.asarray(case.targets)[:, 0]
        for images in versions(case, maps, order)
    ]
    np.testing.assert_array_equal(accuracy, np.reshape(predicted, accuracy.shape))
    assert 0 < np.mean(predicted) < 1
    mean = road(case, maps, shares=SHARE, order=order, noise=0.0)
    np.testing.assert_allclose(mean, np.mean(accuracy, 1), rtol=1e-6)


def test_noise_is_added_to_what_is_filled_in_and_to_nothing_else():
    """A model of one pixel shows it; the same for each map, another for each share, of the deviation asked for."""
    images = jnp.zeros((1, 16, 16, 1))
    maps = jnp.arange(256.0).reshape(1, 1, 16, 16)
    case = Case(
        lambda images, parameters: images.reshape(len(images), -1) + parameters,
        jnp.zeros(()),
        images,
        jnp.ones((1, 1), int),
    )
    drawn = np.stack([
        road_scores(replace(case, targets=jnp.full((1, 1), pixel)), maps, shares=(0.5, 0.9), noise=0.5, score="logit")
        for pixel in (0, 100, 140, 200, 220, 240, 250, 255)
    ])[:, 0, :, 0]  # fmt: skip
    np.testing.assert_array_equal(drawn == 0, [[True, True], [True, False], *[[False, False]] * 6])
    assert len(np.unique(drawn[2:])) == 12
    assert 0.25 < drawn[2:].std() < 1


@pytest.mark.long
def test_batches_their_order_and_chunks_do_not_matter():
    case, maps = case_of(network), random_maps()
    whole = np.asarray(road_scores(case, maps, score="probability"))
    assert whole.shape == (MAPS, len(SHARES), BATCH)
    np.testing.assert_allclose(road_scores(replace(case, chunk_size=4), maps, score="probability"), whole, rtol=1e-5)
    np.testing.assert_allclose(
        road_scores(*some(case, maps, [2, 0]), score="probability"), whole[..., [2, 0]], rtol=1e-5
    )
    np.testing.assert_allclose(road_scores(case, maps[1:], score="probability"), whole[1:], rtol=1e-5)


def test_whole_numbers_of_pixels_are_not_lost_to_rounding():
    """0.29 * 100 is a little less than 29 in binary: the 29th pixel is removed all the same, and the 30th is not."""
    images = jnp.ones((1, 10, 10, 1)).at[0, 2, 8].set(9.0).at[0, 2, 9].set(9.0)
    maps = -jnp.arange(100.0).reshape(1, 1, 10, 10)
    case = Case(linear, jnp.eye(100), images, jnp.array([[28]]))
    at = lambda pixel: float(  # noqa: E731
        road_scores(replace(case, targets=jnp.array([[pixel]])), maps, shares=(0.29,), noise=0.0, score="logit")[
            0, 0, 0
        ]
    )
    assert at(28) < 8.99
    assert at(29) == 9


def test_margins_are_to_the_best_of_the_others():
    logits = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    found = np.asarray(Margins(lambda images, parameters: images[:, 0])(jnp.asarray(logits)[:, None], ()))
    for row, margins in zip(logits, found, strict=True):
        np.testing.assert_allclose(margins, [row[i] - np.delete(row, i).max() for i in range(4)], rtol=1e-6)
    single = Margins(lambda images, parameters: images[:, 0])(jnp.asarray(logits)[:, None, :1], ())
    np.testing.assert_allclose(single, logits[:, :1] * [-2, 2], rtol=1e-6)


def test_wrong_arguments():
    case, maps = case_of(linear), random_maps()
    for shares in ((), (0.5, 1.0), (-0.1,)):
        with pytest.raises(ValueError, match=r"shares must be numbers in \[0, 1\)"):
            road(case, maps, shares=shares)
    with pytest.raises(ValueError, match="order must be morf or lerf; got 'most'"):
        road(case, maps, order="most")
    with pytest.raises(ValueError, match=r"road fills in pictures of shape \(b, h, w, c\); got \(3, 30, 2\)"):
        road(replace(case, images=case.images.reshape(BATCH, HEIGHT * WIDTH, -1)), maps)
