"""The share of the highest pixels in an outline is that of plain sorting, and with ties that of all orders."""

from itertools import permutations

import jax
import numpy as np
import pytest

from xrcam_jax.metrics.top_k import top_k_intersection

SHAPE = (3, 4, 5, 4)
RANDOM = np.random.default_rng(0)
MAPS, MASKS = RANDOM.standard_normal(SHAPE).astype(np.float32), RANDOM.random(SHAPE[1:]) < 0.3


def test_the_highest_pixels_are_those_of_sorting():
    for k in (1, 7, 20):
        found = top_k_intersection(MAPS, MASKS, k=k)
        influence = top_k_intersection(MAPS, MASKS, k=k, concept_influence=True)
        for m, b in np.ndindex(SHAPE[:2]):
            highest = np.argsort(-MAPS[m, b].ravel())[:k]
            share = MASKS[b].ravel()[highest].mean()
            assert float(found[m, b]) == pytest.approx(share, rel=1e-6)
            assert float(influence[m, b]) == pytest.approx(share / MASKS[b].mean(), rel=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_ties_count_by_their_mean_over_all_orders(k):
    maps = np.random.default_rng(k).integers(0, 3, (2, 2, 2, 3)).astype(np.float32)
    masks = np.array([[[True, False, False], [True, True, False]], [[False, False, True], [False, False, False]]])
    found = top_k_intersection(maps, masks, k=k)
    for m, b in np.ndindex(2, 2):
        values, shares = maps[m, b].ravel(), []
        for order in permutations(range(6)):
            if sorted(values, reverse=True) == [values[i] for i in order]:
                shares.append(masks[b].ravel()[list(order[:k])].mean())
        assert float(found[m, b]) == pytest.approx(np.mean(shares), rel=1e-6)


def test_perfect_and_blind_maps():
    masks = np.zeros((1, 4, 5), bool)
    masks[0, 1:3, 1:4] = True
    maps = np.stack([masks, ~masks, np.ones_like(masks)]).astype(np.float32)
    np.testing.assert_allclose(top_k_intersection(maps, masks, k=6)[:, 0], [1, 0, 0.3], rtol=1e-6)
    np.testing.assert_allclose(
        top_k_intersection(maps, masks, k=6, concept_influence=True)[:, 0], [20 / 6, 0, 1], rtol=1e-6
    )


def test_nothing_outlined_and_not_a_number():
    maps, masks = np.ones((1, 2, 2, 2), np.float32), np.zeros((2, 2, 2), bool)
    maps[0, 1, 0, 0], masks[1] = np.nan, True
    assert np.isnan(top_k_intersection(maps, masks, k=2)).all()


def test_each_picture_is_for_itself_inside_jit_too():
    whole = jax.jit(lambda maps, masks: top_k_intersection(maps, masks, k=6))(MAPS, MASKS)
    np.testing.assert_array_equal(top_k_intersection(MAPS[:, [2, 0]], MASKS[[2, 0]], k=6), whole[:, np.array([2, 0])])


def test_wrong_arguments():
    for k in (0, 21):
        with pytest.raises(ValueError, match=f"k must be from 1 to the number of pixels, 20; got {k}, give another k="):
            top_k_intersection(MAPS, MASKS, k=k)
    with pytest.raises(ValueError, match=r"with the same pixels; got maps of \(3, 4, 5, 4\), masks of \(4, 4, 5\)"):
        top_k_intersection(MAPS, MASKS.reshape(4, 4, 5), k=2)
    with pytest.raises(ValueError, match="masks must be of booleans; got int64"):
        top_k_intersection(MAPS, MASKS.astype(int), k=2)
