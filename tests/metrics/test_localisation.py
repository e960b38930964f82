"""Parts, boxes and the pointing game agree with SciPy's labels, painted boxes and loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from xrcam_jax.metrics import localisation
from xrcam_jax.metrics.localisation import largest_part, localised

# These are compiled once for each shape; called as they are, their loops would be compiled at every call.
bounding_box, box_iou, points_at = map(
    jax.jit, (localisation.bounding_box, localisation.box_iou, localisation.points_at)
)

SHAPE = (4, 9, 11)
#: Masks have few or many pixels; from a half on nearly all of them would hang together.
MASKS = st.builds(
    lambda seed, share: np.random.default_rng(seed).random(SHAPE) < share, st.integers(0, 999), st.floats(0, 0.6)
)


def parts(mask):
    """Returns all connected parts of a mask; corners connect."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return [labels == number for number in range(1, count + 1)]


def lowest_of_largest(mask):
    """Returns the parts that may be meant: the largest, of those the lowest, and of those the ones furthest right."""
    found = parts(mask)

    def places(part):
        return part.sum(), np.flatnonzero(part.any(1))[-1], np.flatnonzero(part.any(0))[-1]

    return [part for part in found if places(part) == max(map(places, found))]


def box_around(mask):
    """Finds top, left, bottom and right by looking at every pixel."""
    places = [(y, x) for y in range(mask.shape[0]) for x in range(mask.shape[1]) if mask[y, x]]
    if not places:
        return [0, 0, 0, 0]
    rows, columns = zip(*places, strict=True)
    return [min(rows), min(columns), max(rows) + 1, max(columns) + 1]


def painted_iou(a, b, side=12):
    """Computes the IoU of two boxes by painting both."""
    masks = np.zeros((2, side, side), bool)
    for mask, (top, left, bottom, right) in zip(masks, (a, b), strict=True):
        mask[top:bottom, left:right] = True
    either = (masks[0] | masks[1]).sum()
    return (masks[0] & masks[1]).sum() / either if either else 0.0


def spiral(turns):
    """Draws a path of one pixel's width, with a pixel between its arms, from a corner to the middle."""
    side = 4 * turns + 1
    mask, place, step, places = np.zeros((side, side), bool), (0, 0), (0, 1), [(0, 0)]
    mask[place] = True

    def is_free(y, x):
        return not (0 <= y < side and 0 <= x < side) or not mask[y, x]

    while True:
        for _ in range(2):
            ahead = place[0] + step[0], place[1] + step[1]
            beyond = ahead[0] + step[0], ahead[1] + step[1]
            if 0 <= ahead[0] < side and 0 <= ahead[1] < side and is_free(*ahead) and is_free(*beyond):
                break
            step = (step[1], -step[0])
        else:
            return mask, places
        place = ahead
        mask[place] = True
        places.append(place)


@given(MASKS)
def test_largest_part_is_scipys(masks):
    for found, mask in zip(largest_part(masks), masks, strict=True):
        assert found.any() == mask.any()
        if mask.any():
            assert any((found == part).all() for part in lowest_of_largest(mask))


def test_of_equal_parts_the_lowest_and_then_the_right():
    masks = np.zeros(SHAPE, bool)
    masks[0, 1, 1:3] = masks[0, 5, 8:10] = masks[0, 3, 5:7] = True
    masks[1, 0, 10] = masks[1, 8, 0] = True
    masks[2, 2:4, 2] = masks[2, 6:8, 9] = masks[2, 0:3, 7] = True
    masks[3, 4, 1] = masks[3, 4, 9] = masks[3, 4, 5] = masks[3, 2, 10] = True
    expected = np.zeros(SHAPE, bool)
    expected[0, 5, 8:10] = expected[1, 8, 0] = expected[2, 0:3, 7] = expected[3, 4, 9] = True
    np.testing.assert_array_equal(largest_part(masks), expected)
    # Masks may be of several methods at once, of one picture, and of none.
    np.testing.assert_array_equal(largest_part(masks.reshape(2, 2, 9, 11)), expected.reshape(2, 2, 9, 11))
    np.testing.assert_array_equal(largest_part(masks[2]), expected[2])
    assert largest_part(masks[:0]).shape == (0, 9, 11)


def test_spirals_hang_together():
    """A part's far ends find each other however long the way; cut, it falls into two."""
    whole, places = spiral(5)
    assert len(places) > 200
    assert len(parts(whole)) == 1
    cut = whole.copy()
    at = len(places) // 3
    # The cut is in the middle of an arm, lest the corner of a bend connect.
    while not (places[at - 1][0] == places[at + 1][0] or places[at - 1][1] == places[at + 1][1]):
        at += 1
    cut[places[at]] = False
    masks = np.stack([whole, whole.T, whole[::-1], whole[:, ::-1], cut, cut.T, cut[::-1, ::-1], ~whole])
    found = largest_part(masks)
    np.testing.assert_array_equal(found[:4], masks[:4])
    rest = np.zeros_like(whole)
    rest[tuple(zip(*places[at + 1 :], strict=True))] = True
    for part, expected in zip(found[4:7], (rest, rest.T, rest[::-1, ::-1]), strict=True):
        np.testing.assert_array_equal(part, expected)
    assert (found[7] == lowest_of_largest(masks[7])[0]).all()


def test_corners_connect():
    checkered = np.indices(SHAPE[1:]).sum(0) % 2 == 0
    masks = np.stack([checkered, ~checkered, np.eye(*SHAPE[1:], dtype=bool), np.ones(SHAPE[1:], bool)])
    np.testing.assert_array_equal(largest_part(masks), masks)


@given(MASKS)
def test_bounding_box_holds_all_pixels_and_no_more(masks):
    np.testing.assert_array_equal(bounding_box(masks), [box_around(mask) for mask in masks])
    np.testing.assert_array_equal(bounding_box(masks[0]), box_around(masks[0]))


BOXES = arrays(np.int32, (5, 2, 2), elements=st.integers(0, 12)).map(lambda ends: np.sort(ends, 1).reshape(5, 4))


@given(BOXES, BOXES)
def test_box_iou_is_that_of_painted_boxes(a, b):
    """Some of the boxes have no area."""
    np.testing.assert_allclose(box_iou(a, b), [painted_iou(*pair) for pair in zip(a, b, strict=True)], rtol=1e-6)
    table = [[painted_iou(one, other) for other in b] for one in a]
    np.testing.assert_allclose(box_iou(a[:, None], b), table, rtol=1e-6)


@given(MASKS, st.integers(0, 99))
def test_localised_takes_the_best_box(masks, seed):
    ends = np.random.default_rng(seed).integers(0, 10, (len(masks), 3, 2, 2))
    boxes = np.sort(ends, axis=2).reshape(len(masks), 3, 4).astype(np.int32)
    boxes[0, 2] = boxes[1, 1:] = boxes[2] = 0
    found = localised(masks, boxes)
    for value, mask, some in zip(np.asarray(found), masks, boxes, strict=True):
        around = [box_around(part) for part in lowest_of_largest(mask)] if mask.any() else [[0] * 4]
        allowed = [max(painted_iou(box, each) for each in some) for box in around]
        assert min(abs(value - each) for each in allowed) < 1e-6


def test_localised_of_a_perfect_and_of_an_empty_mask():
    masks = np.zeros(SHAPE, bool)
    masks[0, 2:5, 3:7] = masks[0, 8, 0] = True
    masks[1, 2:5, 3:7] = True
    boxes = np.zeros((4, 2, 4), np.int32)
    boxes[:3, 1] = (2, 3, 5, 7)
    np.testing.assert_allclose(localised(masks, boxes), [1, 1, 0, 0])
    np.testing.assert_array_equal(localised(masks, boxes[:, :0]), np.zeros(4))
    # Masks may be of several methods at once.
    np.testing.assert_allclose(localised(np.stack([masks, ~masks & False]), boxes), [[1, 1, 0, 0], [0] * 4])


def test_large_masks_of_a_computation_still_under_way():
    """The masks may not be ready yet: looking at them on the host waits for them, and for nothing else."""
    masks = jax.jit(lambda x: jnp.sin(x) > 0.9)(jnp.arange(24 * 8 * 96 * 96, dtype=float).reshape(24, 8, 96, 96))
    assert localised(masks, np.zeros((8, 1, 4), np.int32)).shape == (24, 8)


@given(
    arrays(np.float32, (3, 2, 4, 5), elements=st.integers(0, 4).map(np.float32)), arrays(bool, (2, 4, 5)), st.booleans()
)
def test_pointing_game(maps, truth, single):
    """Of several equal maxima the first counts; the outlines serve all methods."""
    found = np.asarray(points_at(maps[0] if single else maps, truth)).reshape(-1, 2)
    for of_method, several in zip(found, maps, strict=False):
        for points, one, outline in zip(of_method, several, truth, strict=True):
            best, at = -np.inf, None
            for place in np.ndindex(one.shape):
                if one[place] > best:
                    best, at = one[place], place
            assert points == (outline[at] and one.min() < best)


@pytest.mark.parametrize("level", [0, 0.5, 1])
def test_a_constant_map_points_nowhere(level):
    everything = np.ones((1, 4, 5), bool)
    assert not points_at(np.full((1, 4, 5), level, np.float32), everything).any()
