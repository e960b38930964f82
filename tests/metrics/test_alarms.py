"""The alarm's p-values are those of counting all cases; it rings for planted groups, and not for shuffled ones."""

from itertools import combinations
from math import comb

import numpy as np
import pytest

from xrcam_jax.metrics.alarms import (
    Suspicion,
    corrected,
    holm,
    hypergeometric,
    least_p_values,
    of_groups,
    of_patients,
    one_each,
    permuted,
)


def test_hypergeometric_is_the_share_of_all_draws():
    counts = np.array([[4, 1, 0], [2, 3, 5]])
    total = int(counts.sum())
    for c, size in enumerate(counts.sum(1).tolist()):
        for g, of_group in enumerate(counts.sum(0).tolist()):
            ways = sum(comb(of_group, x) * comb(total - of_group, size - x) for x in range(counts[c, g], size + 1))
            assert hypergeometric(counts)[c, g] == pytest.approx(ways / comb(total, size), rel=1e-12)


def test_permuted_is_the_share_of_all_deals():
    counts, groups = np.array([[4, 3, 0, 1, 0, 2], [0, 1, 4, 3, 1, 2]]), np.array([1, 1, 0, 0, 0, 0])
    deals = list(combinations(range(6), 2))
    shares = [np.mean([row[list(deal)].sum() >= row[:2].sum() for deal in deals]) for row in counts]
    others = [np.mean([row.sum() - row[list(deal)].sum() >= row[2:].sum() for deal in deals]) for row in counts]
    # Of 20,000 draws, a share has a deviation of 0.0035 at most.
    found = permuted(counts, groups, draws=20_000)
    np.testing.assert_allclose(found, np.stack([others, shares], axis=1), atol=0.02)


def test_no_cluster_has_a_smaller_p_than_the_least():
    sizes, groups = {"a": 2, "b": 4}, np.array([0, 0, 1, 1, 1, 1])
    least = [least_p_values(sizes)[name] for name in "ab"]
    assert least == pytest.approx([1 / 15, 1 / 15])
    # All clusters of whole patients, one frame each, and what is left.
    inside = np.array([[number >> i & 1 for i in range(6)] for number in range(1, 63)])
    of_frames = [hypergeometric(np.stack([row, 1 - row]) @ np.eye(2, dtype=int)[groups]) for row in inside]
    assert np.min(of_frames, axis=(0, 1)) == pytest.approx(least)
    of_deals = [permuted(np.stack([row, 1 - row]), groups, draws=999) for row in inside]
    # Of 999 draws, a share of 1 / 15 has a deviation of 0.008.
    np.testing.assert_allclose(np.min(of_deals, axis=(0, 1)), least, atol=0.032)


def test_holm_by_hand():
    # 0.01 * 4, 0.013 * 3 but no less than the former, 0.3 * 2, and 0.9.
    np.testing.assert_allclose(holm(np.array([[0.9, 0.01], [0.3, 0.013]])), [[0.9, 0.04], [0.6, 0.04]])
    assert holm(np.array([0.7, 0.6])).tolist() == [1, 1]


def test_an_alarm_is_of_more_than_half_and_beyond_chance():
    assert Suspicion(0, "p", 6, 10, 0.2, 0.01).alarming()
    assert not Suspicion(0, "p", 5, 10, 0.2, 0.001).alarming()
    assert not Suspicion(0, "p", 10, 10, 0.9, 0.011).alarming()
    assert Suspicion(0, "p", 10, 10, 0.9, 0.011).alarming(0.05)


def cohort(random):
    """Twenty patients of six frames, whose frames mostly share a cluster, whatever they were recorded with."""
    patients = np.repeat([f"p{i:02}" for i in range(20)], 6)
    labels = np.repeat(random.integers(0, 3, 20), 6)
    labels = np.where(random.random(120) < 0.1, random.integers(0, 3, 120), labels)
    return patients, labels


def test_shuffled_groups_rarely_alarm():
    random, level, rung, of_frames = np.random.default_rng(0), 0.05, 0, 0
    for seed in range(200):
        patients, labels = cohort(random)
        devices = np.repeat(random.permutation(["old"] * 8 + ["new"] * 12), 6)
        tested = corrected(of_groups(labels, patients.tolist(), devices.tolist(), draws=999, seed=seed))
        rung += any(each.alarming(level) for each in tested)
        of_frames += any(each.alarming(level) for each in corrected(of_patients(labels, devices.tolist())))
    assert rung / 200 <= level
    # Frames of a patient are no independent witnesses: a test that deals out frames would ring all the time.
    assert of_frames / 200 > 4 * level


def test_shuffled_patients_rarely_alarm():
    random, level, rung = np.random.default_rng(1), 0.05, 0
    for _ in range(200):
        patients, labels = cohort(random)
        labels[:7] = 3
        tested = corrected(of_patients(labels, random.permutation(patients).tolist()))
        rung += any(each.alarming(level) for each in tested)
    assert rung / 200 <= level


def test_a_device_of_its_own_cluster_is_named():
    patients, labels = cohort(np.random.default_rng(2))
    devices = np.where(np.isin(patients, ["p01", "p04", "p05", "p09", "p13", "p17"]), "old", "new")
    labels[devices == "old"] = 3
    tested = corrected(of_groups(labels, patients.tolist(), devices.tolist()))
    (alarm,) = (each for each in tested if each.alarming() and each.group == "old")
    assert (alarm.cluster, alarm.frames, alarm.size, alarm.share_of_all) == (3, 36, 36, 0.3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="expected one for all frames of a patient; 'p' has 'a' and 'b'"):
        one_each(["p", "p"], ["a", "b"])
    with pytest.raises(ValueError, match="expected one for each of 2 frames; got 1"):
        of_groups(np.array([0, 0]), ["p", "q"], ["a"])
    with pytest.raises(ValueError, match="expected one for each of 1 frames; got 2"):
        of_patients(np.array([0, 0]), ["p"])
