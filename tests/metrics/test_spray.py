"""Clusters of maps: graphs against loops, eigenvalues against closed forms, and a planted logo is found."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import xrcam_jax as xr
from xrcam_jax.metrics.alarms import corrected, of_groups, of_patients
from xrcam_jax.metrics.spray import (
    affinity,
    clusters,
    downsized,
    embedding,
    number_of_clusters,
    partition,
    placed,
    spectrum,
)


def triangle(size, side):
    """The weights of pixels in a pixel ``size / side`` times as large, falling linearly with the distance."""
    ratio = size / side
    away = np.abs((np.arange(size)[None] + 0.5) / ratio - (np.arange(side)[:, None] + 0.5))
    weights = np.maximum(0, 1 - away)
    return weights / weights.sum(1, keepdims=True)


def test_downsized_maps():
    maps = np.random.default_rng(0).standard_normal((3, 12, 9)).astype(np.float32)
    small = np.einsum("ai,nij,bj->nab", triangle(12, 4), maps.astype(np.float64), triangle(9, 4))
    wanted = small / np.sqrt((small**2).sum((1, 2), keepdims=True))
    found = downsized(maps, side=4)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    # How much relevance there is does not count, nor can it overflow.
    np.testing.assert_allclose(downsized(maps * np.float32(1e30), side=4), wanted, atol=1e-6)
    assert downsized(maps, side=20).shape == maps.shape
    assert not np.any(downsized(0 * maps, side=4))


def test_affinity_is_that_of_a_loop():
    features = np.random.default_rng(1).standard_normal((9, 2))
    wanted = np.zeros((9, 9))
    for i, row in enumerate(features):
        away = [np.inf if i == j else float(((row - other) ** 2).sum()) for j, other in enumerate(features)]
        for j in sorted(range(9), key=away.__getitem__)[:3]:
            wanted[i, j] = wanted[j, i] = 1
    np.testing.assert_array_equal(affinity(features, 3), wanted)


def test_spectrum_is_that_of_the_formula():
    graph = affinity(np.random.default_rng(2).standard_normal((12, 3)), 3)
    root = np.diag(1 / np.sqrt(graph.sum(0)))
    laplacian = np.eye(12) - root @ graph @ root
    values, vectors = spectrum(graph, 5)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(laplacian)[:5], atol=1e-12)
    np.testing.assert_allclose(laplacian @ vectors, vectors * values, atol=1e-12)


def test_spectrum_in_closed_form():
    whole = np.ones((6, 6)) - np.eye(6)
    np.testing.assert_allclose(spectrum(whole, 6)[0], [0, *[6 / 5] * 5], atol=1e-12)
    two = np.kron(np.eye(2), whole)
    values = spectrum(two, 12)[0]
    np.testing.assert_allclose(values, [0, 0, *[6 / 5] * 10], atol=1e-12)
    assert number_of_clusters(values) == 2
    ring = np.roll(np.eye(8), 1, 0) + np.roll(np.eye(8), -1, 0)
    np.testing.assert_allclose(spectrum(ring, 8)[0], np.sort(1 - np.cos(np.pi * np.arange(8) / 4)), atol=1e-12)


def test_points_lie_on_the_sphere_and_large_clusters_come_first():
    points = embedding(np.array([[3.0, 4.0, 1.0], [0.0, 0.0, 1.0], [-2.0, 0.0, 1.0]]), 2)
    assert points.tolist() == [[0.6, 0.8], [0, 0], [-1, 0]]
    apart = np.repeat([5.0, 0.0, 9.0], [2, 4, 3])[:, None]
    assert partition(apart, 3).tolist() == [2, 2, 0, 0, 0, 0, 1, 1, 1]
    # Of two points that coincide there are no two clusters.
    assert partition(np.zeros((4, 1)), 2).tolist() == [0] * 4


def test_the_graph_is_woven_closer_where_it_falls_to_pieces():
    # Frames that follow each other, eight of each recording: with five neighbours each recording is a piece of its own.
    features = np.repeat(np.eye(16) * 9, 8, axis=0) + np.random.default_rng(3).random((128, 16))
    found = clusters(features, most=5)
    assert found.neighbours > 5
    assert 2 <= found.count <= 5
    assert np.bincount(found.labels).tolist() == sorted(np.bincount(found.labels).tolist(), reverse=True)
    assert clusters(features, neighbours=5, most=20).count == 16


def test_maps_that_are_alike_lie_together():
    features = np.repeat([[0.0, 0.0], [9.0, 9.0]], 12, axis=0) + np.random.default_rng(4).random((24, 2))
    points = placed(features)
    away = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(away, np.inf)
    assert ((away.argmin(1) < 12) == (np.arange(24) < 12)).all()
    np.testing.assert_array_equal(points, placed(features))
    assert not placed(np.ones((5, 2))).any()


def test_what_does_not_fit_is_refused():
    features = np.random.default_rng(5).standard_normal((6, 2))
    with pytest.raises(ValueError, match="expected 4 to 10000 maps; got 3"):
        clusters(features[:3])
    with pytest.raises(ValueError, match="expected 1 to 5, of 6 maps; got 6"):
        clusters(features, neighbours=6)
    with pytest.raises(ValueError, match="expected 1 to 5 clusters of 6 maps; got 6"):
        clusters(features, 6)
    with pytest.raises(ValueError, match="expected finite numbers"):
        clusters(np.where(features > 0, np.nan, features))
    with pytest.raises(ValueError, match="expected more than 2; got 2"):
        number_of_clusters(np.zeros(2))


def features_of(drawn, chosen):
    explain = xr.Explainer(drawn.network, ["xrelevance_cam"], ["layer2"])
    e = explain(drawn.images[chosen], targets=drawn.labels[chosen])
    return np.asarray(downsized(e.maps["xrelevance_cam"]["layer2"])).reshape(len(chosen), -1)


@pytest.fixture(scope="module")
def planted():
    """Maps of one class: in 18 frames the network goes by a logo in one corner, in 36 by structures anywhere."""
    stamped, plain = xr.datasets.planted("shortcut", 216), xr.datasets.planted("pattern", 72)
    in_corner = ~stamped.truth[:, 32:].any((1, 2)) & ~stamped.truth[:, :, 32:].any((1, 2))
    logos = np.flatnonzero(in_corner & (stamped.labels == 0))[:18]
    features = [features_of(stamped, logos), features_of(plain, np.flatnonzero(plain.labels == 0))]
    assert [len(each) for each in features] == [18, 36]
    return np.concatenate(features), np.arange(54) < 18


def test_the_planted_logo_is_a_cluster(planted):
    features, logo = planted
    labels = clusters(features).labels
    number = np.bincount(labels[logo]).argmax()
    assert adjusted_rand_score(labels == number, logo) > 0.9
    # The logo is of a device with which six patients were recorded; there are twelve others.
    patients, devices = [f"p{i // 3}" for i in range(54)], np.where(logo, "old", "new").tolist()
    alarms = [each for each in corrected(of_groups(labels, patients, devices)) if each.alarming()]
    assert (number, "old") in [(each.cluster, each.group) for each in alarms]
    assert not [each for each in corrected(of_patients(labels, patients)) if each.alarming()]
    # All of them are of one patient.
    patients = ["p0" if there else f"p{i // 3}" for i, there in enumerate(logo)]
    alarms = [each for each in corrected(of_patients(labels, patients)) if each.alarming()]
    assert [(each.cluster, each.group) for each in alarms] == [(number, "p0")]
    # Dealt to patients at random, the devices raise no alarm.
    dealt = np.random.default_rng(0)
    rung = 0
    for seed in range(200):
        groups = np.repeat(dealt.permutation(["old"] * 6 + ["new"] * 12), 3).tolist()
        tested = corrected(of_groups(labels, [f"p{i // 3}" for i in range(54)], groups, draws=999, seed=seed))
        rung += any(each.alarming(0.05) for each in tested)
    assert rung / 200 <= 0.05
