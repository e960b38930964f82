"""Mass and rank accuracy against slow loops and closed forms; the truth itself scores 1, and what is blind, chance."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrcam_jax.metrics.mass import mass_accuracy, outshines, rank_accuracy
from xrcam_jax.metrics.overlap import centred_discs, overlap, precision, recall, salient


def loop_rank(values, inside):
    """Over all orders that sort the pixels, the mean share of the first K that are inside."""
    size, shares = sum(inside), []
    for order in permutations(range(len(values))):
        ordered = [values[i] for i in order]
        if ordered == sorted(values, reverse=True):
            shares.append(sum(inside[i] for i in order[:size]) / size)
    return np.mean(shares)


@pytest.mark.parametrize("seed", range(4))
def test_ties_count_by_their_mean_over_all_orders(seed):
    random = np.random.default_rng(seed)
    maps = random.integers(-1, 3, (3, 2, 3)).astype(np.float32)
    truth = np.array([random.permutation([True] * (seed + 1) + [False] * (5 - seed)) for _ in range(3)])
    wanted = [loop_rank(m.ravel().tolist(), t.tolist()) for m, t in zip(maps, truth, strict=True)]
    np.testing.assert_allclose(rank_accuracy(maps, truth.reshape(maps.shape)), wanted, rtol=1e-6)


def test_mass_is_the_share_of_what_is_positive():
    random = np.random.default_rng(0)
    maps, truth = random.standard_normal((5, 7, 6)).astype(np.float32), random.random((5, 7, 6)) < 0.3
    positive = [np.where(m > 0, m, 0).astype(np.float64) for m in maps]
    wanted = [p[t].sum() / p.sum() for p, t in zip(positive, truth, strict=True)]
    np.testing.assert_allclose(mass_accuracy(maps, truth), wanted, rtol=1e-5)


def test_the_truth_itself_scores_one_in_all():
    truth = np.random.default_rng(0).random((6, 9, 8)) < np.array([0.02, 0.1, 0.2, 0.3, 0.4, 0.45])[:, None, None]
    truth[:, 0, 0] = True
    maps = truth.astype(np.float32)
    counts = overlap(salient(maps), truth)
    for figures in (mass_accuracy(maps, truth), rank_accuracy(maps, truth), precision(counts), recall(counts)):
        np.testing.assert_allclose(figures, 1, rtol=1e-6)


def test_constant_maps_score_the_share_of_the_truth():
    truth = np.zeros((3, 4, 5), bool)
    for i in range(3):
        truth[i].ravel()[: i + 1] = True
    share = truth.mean((1, 2))
    for value in (0.2, 1.0):
        constant = np.full(truth.shape, value, np.float32)
        np.testing.assert_allclose(mass_accuracy(constant, truth), share, rtol=1e-6)
        np.testing.assert_allclose(rank_accuracy(constant, truth), share, rtol=1e-6)
    np.testing.assert_array_equal(mass_accuracy(np.zeros(truth.shape, np.float32), truth), 0)
    np.testing.assert_allclose(rank_accuracy(np.zeros(truth.shape, np.float32), truth), share, rtol=1e-6)


def test_blind_maps_are_at_chance():
    """Truth at random places against maps that see nothing of it: the mean is the share, within four deviations."""
    random = np.random.default_rng(0)
    truth = np.zeros((400, 16, 16), bool)
    for mask, (row, column) in zip(truth, random.integers(0, 16, (400, 2)), strict=True):
        # It goes on at the opposite border, so that all pixels are as likely.
        mask[np.ix_((row + np.arange(4)) % 16, (column + np.arange(4)) % 16)] = True
    noise = random.random(truth.shape).astype(np.float32)
    disc = np.asarray(centred_discs(truth), np.float32)
    for maps in (noise, disc):
        counts = overlap(salient(maps), truth)
        for figures in (mass_accuracy(maps, truth), rank_accuracy(maps, truth), precision(counts)):
            error = np.std(figures) / 400**0.5
            assert 0 < error < 0.02
            assert abs(np.mean(figures) - 1 / 16) < 4 * error


def test_the_brighter_of_two_sets_outshines_the_other():
    random = np.random.default_rng(0)
    maps = random.integers(0, 4, (60, 3, 3)).astype(np.float32)
    truth, others = random.random((2, 60, 3, 3)) < 0.3
    found = outshines(maps, truth, others)
    for value, each, within, among in zip(found, maps, truth, others, strict=True):
        a, b = (max((float(v) for v in each[pixels]), default=-1.0) for pixels in (within, among))
        assert float(value) == (1 if a > b else 0 if a < b else 0.5)
    assert set(np.asarray(found).tolist()) == {0.0, 0.5, 1.0}


def test_empty_truth_and_no_relevance_give_zero():
    maps, truth = np.ones((1, 2, 2), np.float32), np.zeros((1, 2, 2), bool)
    assert mass_accuracy(maps, truth).tolist() == rank_accuracy(maps, truth).tolist() == [0]
    assert mass_accuracy(-maps, ~truth).tolist() == [0]


def test_each_picture_is_for_itself():
    random = np.random.default_rng(0)
    maps, truth = random.random((6, 5, 5)).astype(np.float32), random.random((6, 5, 5)) < 0.4
    for figure in (mass_accuracy, rank_accuracy):
        alone = [figure(maps[i : i + 1], truth[i : i + 1])[0] for i in range(6)]
        np.testing.assert_allclose(figure(maps, truth), alone, rtol=1e-6)
        np.testing.assert_allclose(figure(maps[:, None], truth[0]), figure(maps[:, None], truth[None, :1]), rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-4, 4), min_size=6, max_size=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
    st.sampled_from([2.0**-100, 0.5, 4.0, 2.0**100]),
)
def test_scale_does_not_matter_and_shares_are_shares(values, inside, scale):
    maps, truth = np.array(values, np.float32).reshape(1, 2, 3), np.array(inside).reshape(1, 2, 3)
    for figure in (mass_accuracy, rank_accuracy):
        share = float(figure(maps, truth)[0])
        assert 0 <= share <= 1
        assert float(figure(maps * np.float32(scale), truth)[0]) == pytest.approx(share, abs=1e-6)
    # What the truth misses, its complement has.
    if (maps > 0).any():
        both = mass_accuracy(maps, truth) + mass_accuracy(maps, ~truth)
        assert float(both[0]) == pytest.approx(1, abs=1e-6)


def test_large_maps_of_half_precision_score_what_they_score_in_float32():
    maps = np.random.default_rng(0).random((1, 260, 260)).astype(np.float16)
    truth = np.zeros(maps.shape, bool)
    truth[:, :255] = True
    for score in (mass_accuracy, rank_accuracy):
        np.testing.assert_allclose(score(maps, truth), score(maps.astype(np.float32), truth), rtol=1e-6)


def test_maps_with_nan_score_nothing():
    maps, truth = np.float32([[[np.nan, 1.0, 2.0]]]), np.array([[[False, True, False]]])
    for score in (mass_accuracy, rank_accuracy, lambda a, b: outshines(a, b, ~b)):
        assert np.isnan(score(maps, truth)).all()


@pytest.mark.parametrize("metric", [mass_accuracy, rank_accuracy])
@pytest.mark.parametrize(
    ("maps", "truth", "line"),
    [
        ((2, 4, 5), (2, 4, 6), r"truth must have the height and width of the maps, \(4, 5\), .* got \(2, 4, 6\)"),
        ((2, 4, 5), (3, 4, 5), r"one for each map; got \(3, 4, 5\) with maps of \(2, 4, 5\)"),
        ((2, 4, 5), (5,), r"truth must .* got \(5,\)"),
        ((5,), (4, 5), r"maps must be of shape \(..., height, width\); got \(5,\)"),
    ],
)
def test_what_does_not_fit_together_is_named(metric, maps, truth, line):
    with pytest.raises(ValueError, match=line):
        metric(np.zeros(maps, np.float32), np.zeros(truth, bool))


def test_other_pixels_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="others must have the height and width of the maps"):
        outshines(np.zeros((2, 2), np.float32), np.zeros((2, 2), bool), np.zeros((3, 3), bool))
