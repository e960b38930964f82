"""The area under the curve is what comparing all pairs of pixels gives, and their ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

from xrcam_jax.metrics.roc import auc

#: Maps of few levels, so that many pixels tie.
LEVELS = arrays(np.float32, (2, 3, 4, 5), elements=st.integers(-2, 2).map(np.float32))


@given(LEVELS, arrays(bool, (3, 4, 5)))
def test_all_pairs_of_pixels(maps, masks):
    found = np.asarray(auc(maps, masks))
    for m, b in np.ndindex(2, 3):
        inside, outside = maps[m, b][masks[b]], maps[m, b][~masks[b]]
        if not (inside.size and outside.size):
            assert np.isnan(found[m, b])
            continue
        wins = (inside[:, None] > outside).mean() + (inside[:, None] == outside).mean() / 2
        assert found[m, b] == pytest.approx(wins, abs=1e-6)


def test_ranks_of_a_large_map():
    """With nearly no pixel and nearly all pixels inside, float32 counts well enough."""
    random = np.random.default_rng(0)
    maps = np.stack([random.standard_normal((2, 160, 160)), random.integers(0, 9, (2, 160, 160))]).astype(np.float32)
    masks = random.random((2, 160, 160)) < np.array([0.003, 0.997])[:, None, None]
    maps[0] += masks
    found = auc(maps, masks)
    for m, b in np.ndindex(2, 2):
        inside = int(masks[b].sum())
        ranks = rankdata(maps[m, b].ravel().astype(float))[masks[b].ravel()].sum()
        wins = (ranks - inside * (inside + 1) / 2) / (inside * (masks[b].size - inside))
        assert float(found[m, b]) == pytest.approx(wins, abs=1e-6)


def test_perfect_reversed_and_blind_maps():
    masks = np.zeros((1, 4, 5), bool)
    masks[0, 1:3, 1:4] = True
    maps = np.stack([masks, ~masks, np.ones_like(masks)]).astype(np.float32)
    np.testing.assert_array_equal(auc(maps, masks)[:, 0], [1, 0, 0.5])
    # Only the order counts.
    np.testing.assert_array_equal(auc(np.exp(5 * maps), masks)[:, 0], [1, 0, 0.5])
    maps[0, 0, 0, 0] = np.nan
    assert np.isnan(auc(maps, masks)[0, 0])


def test_noise_is_at_chance():
    random = np.random.default_rng(0)
    found = auc(random.random((1, 400, 4, 5)).astype(np.float32), random.random((400, 4, 5)) < 0.4)
    assert abs(np.nanmean(found) - 0.5) < 4 * np.nanstd(found) / 20
