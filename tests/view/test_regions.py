"""Regions are counted as a slow loop counts them: each channel enlarged to the picture, each pixel asked by itself."""

import cv2
import numpy as np
import pytest

from xrcam_jax.view.regions import claims, coverage, ranked, rasterised

STAR = [(0.5, 0.0), (0.8, 1.0), (0.0, 0.4), (1.0, 0.4), (0.2, 1.0)]
POLYGONS = [
    [(0.1, 0.2), (0.7, 0.2), (0.7, 0.9), (0.1, 0.9)],
    [(0.0, 0.0), (1.0, 0.31), (0.29, 1.0)],
    STAR,
    [(0.2, 0.8), (0.2, 0.1), (0.9, 0.1), (0.9, 0.8), (0.6, 0.8), (0.6, 0.4), (0.5, 0.4), (0.5, 0.8)],
]


def crossings(x, y, points):
    """How often a line from a point straight down crosses a polygon."""
    count = 0
    for i in range(len(points)):
        (xa, ya), (xb, yb) = points[i - 1], points[i]
        if min(xa, xb) <= x < max(xa, xb):
            count += ya + (x - xa) / (xb - xa) * (yb - ya) > y
    return count


@pytest.mark.parametrize("points", POLYGONS)
@pytest.mark.parametrize("size", [(31, 17), (8, 40)])
def test_a_region_has_the_pixels_whose_centres_it_goes_around(points, size):
    height, width = size
    expected = [
        [crossings((x + 0.5) / width, (y + 0.5) / height, points) % 2 == 1 for x in range(width)] for y in range(height)
    ]
    found = rasterised(points, size)
    assert 0 < found.sum() < found.size
    np.testing.assert_array_equal(found, expected)


def test_a_region_can_be_the_whole_picture_or_none_of_it():
    assert rasterised([(0, 0), (1, 0), (1, 1), (0, 1)], (5, 7)).all()
    assert not rasterised([(0.2, 0.2), (0.6, 0.6), (0.4, 0.4)], (5, 7)).any()


@pytest.mark.parametrize("shape", [(7, 7), (5, 3), (1, 1), (20, 26)])
def test_claims_are_those_of_channels_that_are_enlarged_to_the_picture(shape):
    random = np.random.default_rng(0)
    contributions = random.normal(size=(*shape, 4)).astype(np.float32)
    contributions[..., 3] = 0
    region = rasterised(POLYGONS[1], (20, 26))
    claimed, inside = claims(contributions, region)
    for k in range(4):
        enlarged, size = (
            cv2.resize(a, (26, 20), interpolation=cv2.INTER_LINEAR)
            for a in (contributions[..., k], abs(contributions[..., k]))
        )
        assert claimed[k] == pytest.approx(enlarged[region].sum(), rel=1e-4, abs=1e-4)
        assert inside[k] == pytest.approx(size[region].sum() / size.sum() if k < 3 else 0, abs=1e-5)
    # What lies in no region and what lies in it are all that there is.
    together = coverage(region, shape) + coverage(~region, shape)
    np.testing.assert_allclose(together, coverage(np.ones((20, 26), bool), shape))
    assert coverage(region, shape).sum() == pytest.approx(region.sum())


def test_channels_come_from_the_one_that_speaks_most_for_to_the_one_most_against():
    contributions = np.random.default_rng(1).normal(size=(6, 5, 8)).astype(np.float32)
    region = rasterised(POLYGONS[0], (24, 25))
    found = ranked(contributions, region)
    claimed, inside = claims(contributions, region)
    total = sum(abs(c) for c in claimed)
    assert sorted(channel.number for channel in found) == list(range(8))
    assert [channel.share for channel in found] == sorted((c / total for c in claimed), reverse=True)
    assert min(channel.share for channel in found) < 0 < max(channel.share for channel in found)
    assert all(channel.share == claimed[channel.number] / total for channel in found)
    assert all(channel.inside == inside[channel.number] for channel in found)


def test_where_nothing_is_claimed_no_channel_has_a_share():
    found = ranked(np.zeros((3, 3, 2), np.float32), np.ones((6, 6), bool))
    assert [(channel.share, channel.inside) for channel in found] == [(0, 0), (0, 0)]
