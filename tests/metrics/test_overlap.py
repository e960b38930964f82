"""Overlap of masks, against loops over pixels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xrcam_jax.metrics.overlap import overlap, pooled_iou, salient

MASKS = st.tuples(*[arrays(bool, (3, 4, 5))] * 2)


@given(arrays(np.float32, (2, 4, 3), elements=st.floats(0, 1, width=32)))
def test_salient_is_above_mean_and_deviation(maps):
    for found, one in zip(salient(maps), maps.astype(np.float64), strict=True):
        bound = one.mean() + np.sqrt(((one - one.mean()) ** 2).mean())
        sure = np.abs(one - bound) > 1e-6
        np.testing.assert_array_equal(np.asarray(found)[sure], (one > bound)[sure])


@given(MASKS)
def test_pooled_iou_is_a_ratio_of_counts(masks):
    found, truth = masks
    both = either = 0
    for f, t in zip(found.ravel(), truth.ravel(), strict=True):
        both, either = both + (f and t), either + (f or t)
    np.testing.assert_allclose(pooled_iou(found, truth), both / either if either else 0, rtol=1e-6)
    pooled = [sum(np.asarray(part).tolist()) for part in overlap(found, truth)]
    assert pooled == [both, either]


def test_a_perfect_map_and_a_map_elsewhere():
    truth = np.zeros((1, 8, 8), bool)
    truth[:, 2:4, 2:4] = True
    assert pooled_iou(salient(truth.astype(np.float32)), truth) == 1
    assert pooled_iou(np.roll(truth, 4, axis=2), truth) == 0
