"""Figures of overlap are those of loops over pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xrcam_jax.metrics.overlap import (
    Overlap,
    centred_discs,
    dice,
    false_positive_rate,
    iou,
    iou_eq_2_22,
    overlap,
    pooled,
    precision,
    recall,
    salient,
)

MASKS = st.tuples(*[arrays(bool, (3, 4, 5))] * 2)


@given(arrays(np.float32, (2, 4, 3), elements=st.floats(0, 1, width=32)))
def test_salient_is_above_mean_and_deviation(maps):
    for found, one in zip(salient(maps), maps.astype(np.float64), strict=True):
        bound = one.mean() + np.sqrt(((one - one.mean()) ** 2).mean())
        sure = np.abs(one - bound) > 1e-6
        np.testing.assert_array_equal(np.asarray(found)[sure], (one > bound)[sure])


def test_pooled_counts_are_beyond_32_bits():
    """A whole data set has more pixels than that; the sums of these counts are 1.5, 2 and 3 times 2 to the 32."""
    counts = Overlap(*(np.full(2**13, count, np.int32) for count in (3 * 2**18, 2**20, 3 * 2**19)))
    whole = pooled(counts)
    assert [float(part) for part in whole] == [1.5 * 2.0**32, 2.0**33, 3 * 2.0**32]
    assert float(iou(whole)) == pytest.approx(1.5 / (2 + 3 - 1.5))
    uneven = Overlap(*(np.random.default_rng(0).integers(0, 2**24, 4096, np.int32) for _ in range(3)))
    np.testing.assert_allclose(pooled(uneven), [part.sum(dtype=np.float64) for part in uneven], rtol=2e-7)


@given(MASKS)
def test_pooled_iou_is_a_ratio_of_counts(masks):
    found, truth = masks
    both = either = 0
    for f, t in zip(found.ravel(), truth.ravel(), strict=True):
        both, either = both + (f and t), either + (f or t)
    counts = overlap(found, truth)
    np.testing.assert_allclose(iou(pooled(counts)), both / either if either else 0, rtol=1e-6)
    assert int(pooled(counts).both) == both


def test_a_perfect_map_and_a_map_elsewhere():
    truth = np.zeros((1, 8, 8), bool)
    truth[:, 2:4, 2:4] = True
    assert iou(overlap(salient(truth.astype(np.float32)), truth)) == 1
    assert iou(overlap(np.roll(truth, 4, axis=2), truth)) == 0


@given(MASKS)
def test_figures_of_each_picture(masks):
    counts = overlap(*masks)
    for i, (f, t) in enumerate(zip(*masks, strict=True)):
        both, total = np.logical_and(f, t).sum(), f.sum() + t.sum()
        np.testing.assert_allclose(dice(counts)[i], 2 * both / total if total else 0, rtol=1e-6)
        np.testing.assert_allclose(iou_eq_2_22(counts)[i], both / total if total else 0, rtol=1e-6)
        np.testing.assert_allclose(iou(counts)[i], both / (total - both) if total else 0, rtol=1e-6)


@given(MASKS)
def test_rates_are_of_pixels_that_are_right_and_wrong(masks):
    """Of each picture and pooled, against loops; where nothing is below the line, the rate is 0."""
    counts = overlap(*masks)
    of_all = [masks[0].reshape(1, -1, 5), masks[1].reshape(1, -1, 5)]
    for found, truth, some in ((*masks, counts), (*of_all, pooled(counts))):
        pixels = found[0].size
        for i, (f, t) in enumerate(zip(found, truth, strict=True)):
            right = wrong = missed = left = 0
            for a, b in zip(f.ravel(), t.ravel(), strict=True):
                right, wrong, missed, left = right + (a & b), wrong + (a & ~b), missed + (b & ~a), left + (~a & ~b)
            assert right + wrong + missed + left == pixels
            for rate, part, whole in (
                (precision(some), right, right + wrong),
                (recall(some), right, right + missed),
                (false_positive_rate(some, pixels), wrong, wrong + left),
            ):
                np.testing.assert_allclose(np.atleast_1d(rate)[i], part / whole if whole else 0, rtol=1e-6)


@given(MASKS)
def test_pooled_figures_of_parts_are_those_of_the_whole(masks):
    whole = pooled(overlap(*masks))
    parts = [pooled(overlap(*(m[some] for m in masks))) for some in (slice(0, 1), slice(1, 3))]
    assert [int(a + b) for a, b in zip(*parts, strict=True)] == [int(part) for part in whole]


@given(arrays(bool, (2, 3, 4, 5)), arrays(bool, (3, 4, 5)))
def test_one_outline_serves_all_methods(found, truth):
    """Masks (m, b, h, w) are compared with (b, h, w), in either order, and a batch with one mask."""
    for counts in (overlap(found, truth), overlap(truth, found)):
        for i, j in np.ndindex(2, 3):
            assert int(counts.both[i, j]) == (found[i, j] & truth[j]).sum()
    counts = overlap(found, truth)
    assert counts.found.shape == counts.truth.shape == (2, 3)
    np.testing.assert_array_equal(counts.truth, [[mask.sum() for mask in truth]] * 2)
    alone = overlap(found[0], truth[0])
    np.testing.assert_array_equal(alone.both, [(mask & truth[0]).sum() for mask in found[0]])


@given(arrays(bool, (2, 9, 12)))
def test_centred_discs_have_the_areas_of_the_masks_about_the_middle(masks):
    """No pixel outside is nearer to the middle than one inside, and the area is right but for the last ring."""
    rows, columns = np.indices(masks.shape[1:])
    distance = np.hypot(rows - 4, columns - 5.5)
    for disc, mask in zip(np.asarray(centred_discs(masks)), masks, strict=True):
        assert distance[disc].max(initial=0) <= distance[~disc].min(initial=np.inf)
        # Within the frame, a circle of 4 pixels' radius has its area up to the pixels that its arc passes through.
        if mask.sum() < 50:
            assert abs(int(disc.sum()) - int(mask.sum())) <= 2 * np.pi * np.sqrt(mask.sum() / np.pi) + 1
