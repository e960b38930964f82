"""IROF is the area over the curve that removing superpixels one after the other gives, picture by picture."""

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
)
from xrcam_jax.attribution.superpixels import slic_regions
from xrcam_jax.metrics.irof import area_over, irof, segment_scores

#: Of 4, 6 and 3 superpixels; the numbers of the last one have a gap.
SEGMENTS = np.stack([
    np.arange(30).reshape(SPACE) // 8,
    np.arange(30).reshape(SPACE) % 6,
    np.array([0, 2, 5])[np.arange(30).reshape(SPACE) // 11],
]).astype(np.int32)  # fmt: skip


def curve(case, maps, b, fill):
    """Scores of one picture with superpixels removed, in the order of their means."""
    image, found = np.array(case.images[b], np.float64), []
    numbers = sorted(set(SEGMENTS[b].ravel().tolist()), key=lambda s: -maps[b][SEGMENTS[b] == s].mean())
    one = replace(case, images=case.images[b : b + 1], targets=case.targets[b : b + 1])
    for number in [None, *numbers]:
        image[SEGMENTS[b] == number] = fill
        found.append(probabilities(one, image[None])[0])
    return found


@pytest.mark.parametrize("how", ["number", "means"])
def test_superpixels_are_removed_one_after_the_other(how):
    case, maps = case_of(network), random_maps()
    fill = 0.5 if how == "number" else case.images.mean((1, 2))
    scores = segment_scores(case, maps, SEGMENTS, fill=fill)
    assert scores.shape == (MAPS, 7, BATCH)
    areas = irof(case, maps, SEGMENTS, fill=fill)
    for m, b in np.ndindex(MAPS, BATCH):
        wanted = curve(case, maps[m], b, fill if how == "number" else np.asarray(fill)[b])
        np.testing.assert_allclose(scores[m, : len(wanted), b], wanted, rtol=1e-4)
        np.testing.assert_allclose(scores[m, len(wanted) :, b], wanted[-1], rtol=1e-4)
        over = np.trapezoid(1 - np.array(wanted) / wanted[0]) / (len(wanted) - 1)
        assert float(areas[m, b]) == pytest.approx(over, abs=1e-4)


def test_no_order_has_more_area_than_that_of_the_contributions():
    case = case_of(linear)
    best = irof(case, contributions(case), SEGMENTS, score="logit")[0]
    others = irof(case, random_maps(), SEGMENTS, score="logit")
    # The logit falls fastest where it is positive; where it is negative, shares of it turn around.
    positive = np.asarray(segment_scores(case, contributions(case), SEGMENTS, score="logit")[0, 0] > 0)
    assert positive.any()
    assert (np.asarray(best)[positive] >= np.asarray(others)[:, positive] - 1e-5).all()


def test_batches_their_order_and_chunks_do_not_matter():
    case, maps = case_of(network), random_maps()
    whole = np.asarray(irof(case, maps, SEGMENTS))
    np.testing.assert_allclose(irof(replace(case, chunk_size=3), maps, SEGMENTS), whole, rtol=1e-5, atol=1e-6)
    for order in ([2, 0], [2]):
        some = replace(case, images=case.images[jnp.array(order)], targets=case.targets[jnp.array(order)])
        np.testing.assert_allclose(irof(some, maps[:, order], SEGMENTS[order]), whole[:, order], rtol=1e-5, atol=1e-6)


def test_nothing_to_lose():
    assert np.isnan(area_over(jnp.zeros((1, 3, 1)), np.array([2])))


def test_wrong_segments():
    case, maps = case_of(linear), random_maps()
    with pytest.raises(ValueError, match=r"segments from 0 of shape \(3, 6, 5\), .* got \(2, 6, 5\), from 0"):
        irof(case, maps, SEGMENTS[:2])
    with pytest.raises(ValueError, match="from -1"):
        irof(case, maps, SEGMENTS - 1)


def test_superpixels_have_numbers_without_gaps():
    pytest.importorskip("skimage")
    images = np.random.default_rng(0).standard_normal((2, 3, 3, 3)).astype(np.float32).repeat(4, 1).repeat(4, 2)
    images[1] = 0.5
    found = slic_regions(images, 6)
    assert found.shape == (2, 12, 12)
    for each in found:
        np.testing.assert_array_equal(np.unique(each), np.arange(each.max() + 1))
    assert found[0].max() > 0
