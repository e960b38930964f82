"""Tests by randomisation are those of a loop over networks; maps that see nothing of the network do not change."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import entropy, pearsonr, spearmanr

from tests.metrics import quadratic
from xrcam_jax.metrics import randomisation
from xrcam_jax.metrics.sanity import randomised

LAYERS = ("a", "b")


@pytest.fixture(scope="module")
def case():
    return quadratic.case(seed=11)


@pytest.fixture(scope="module")
def maps(case):
    return quadratic.maps_of(case)


def blind(images, parameters, targets):
    """Returns maps of the picture alone."""
    return jnp.abs(images).sum(-1)[None]


def drawn(case, parts):
    return quadratic.InNumPy(case, randomised(case.parameters, parts, jax.random.key(0), draw="own"))


@pytest.mark.parametrize(
    ("order", "similarity", "steps"),
    [
        ("top_down", "spearman", [("b",), ("a", "b")]),
        ("bottom_up", "pearson", [("a",), ("a", "b")]),
        ("independent", "spearman", [("a",), ("b",)]),
    ],
)
def test_curves_are_those_of_a_loop_over_networks(case, maps, order, similarity, steps):
    given = case, quadratic.explain, maps
    curve = randomisation.mprt_curve(*given, order=order, similarity=similarity)
    trained, measure = quadratic.InNumPy(case), {"spearman": spearmanr, "pearson": pearsonr}[similarity]
    assert curve.shape == (2, 2, quadratic.BATCH)
    for step, parts in enumerate(steps):
        network = drawn(case, parts)
        for i, x, target in quadratic.each(case):
            pairs = zip(trained.maps(x, target), network.maps(x, target), strict=True)
            expected = [measure(one.ravel(), other.ravel()).statistic for one, other in pairs]
            np.testing.assert_allclose(curve[step, :, i], expected, atol=1e-5)
    figures = randomisation.mprt(*given, order=order, similarity=similarity)
    np.testing.assert_allclose(figures, np.mean(curve, axis=0), atol=1e-6)


def test_layers_are_found_in_the_order_in_which_they_are_used(case):
    assert randomisation.layers_in_order(case) == ("a", "b")

    def other_way(images, parameters):
        return quadratic.model(images, {"a": parameters["b"], "b": parameters["a"]})

    assert randomisation.layers_in_order(replace(case, function=other_way)) == ("b", "a")


def test_one_program_serves_all_networks(case, maps):
    traces = []

    def counted(images, parameters, targets):
        traces.append(images.shape)
        return quadratic.explain(images, parameters, targets)

    curve = randomisation.mprt_curve(case, counted, maps)
    assert len(curve) == 2
    assert len(traces) == 1


def test_maps_that_are_blind_to_the_network_stay_the_same(case):
    maps = blind(case.images, case.parameters, case.targets)
    few = replace(case, chunk_size=2)
    np.testing.assert_allclose(randomisation.mprt(case, blind, maps), 1, rtol=1e-6)
    np.testing.assert_allclose(randomisation.smooth_mprt(few, blind, maps, nr_samples=3), 1, rtol=1e-6)
    np.testing.assert_array_equal(randomisation.efficient_mprt(case, blind, maps), 0)
    np.testing.assert_allclose(randomisation.random_logit(case, blind, maps, similarity="spearman"), 1, rtol=1e-6)


def test_smooth_maps_are_means_over_noise(case, maps):
    """The gradient of a quadratic form is linear: its mean is the gradient at the mean of the noise."""
    samples, level = 5, 0.3
    options = {"nr_samples": samples, "noise": level, "parts": ["b"]}
    found = randomisation.smooth_mprt(replace(case, chunk_size=2), quadratic.explain, maps, **options)
    key = jax.random.fold_in(jax.random.key(0), 1)
    draws = [jax.random.normal(jax.random.fold_in(key, i), quadratic.SHAPE[1:]) for i in range(samples)]
    trained, network = quadratic.InNumPy(case), drawn(case, ["b"])
    for i, x, target in quadratic.each(case):
        noise = level * np.ptp(x) * np.array(draws, np.float64)
        one, other = (np.mean([n.maps(x + e, target) for e in noise], axis=0) for n in (trained, network))
        expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
        np.testing.assert_allclose(found[:, i], expected, atol=1e-5)


def test_without_noise_smooth_is_plain(case, maps):
    smooth = randomisation.smooth_mprt(case, quadratic.explain, maps, nr_samples=2, noise=0.0)
    np.testing.assert_allclose(smooth, randomisation.mprt(case, quadratic.explain, maps), atol=0.01)


def test_the_rise_in_complexity_is_that_of_histograms(case, maps):
    found = randomisation.efficient_mprt(case, quadratic.explain, maps, bins=9)
    trained, network = quadratic.InNumPy(case), drawn(case, LAYERS)
    for i, x, target in quadratic.each(case):
        before, after = (
            np.array([entropy(np.histogram(m, bins=9)[0]) for m in n.maps(x, target)]) for n in (trained, network)
        )
        np.testing.assert_allclose(found[:, i], (after - before) / before, rtol=1e-4, atol=1e-6)
    assert np.abs(found).min() > 0


def test_another_class_is_explained(case, maps):
    found = randomisation.random_logit(case, quadratic.explain, maps, similarity="pearson")
    network = quadratic.InNumPy(case)

    def expected(away):
        return [
            [pearsonr(a.ravel(), b.ravel()).statistic for a, b in zip(network.maps(x, t), other, strict=True)]
            for _, x, t in quadratic.each(case)
            for other in [network.maps(x, (t + away) % quadratic.CLASSES)]
        ]

    # The same number of classes away for all pictures.
    assert any(np.allclose(np.asarray(found).T, expected(away), atol=1e-5) for away in (1, 2))


def test_a_model_of_one_output_has_two_classes():
    one = replace(quadratic.case(), function=lambda x, p: x.mean((1, 2))[:, :1], targets=jnp.ones((3, 1), int))

    def signed(images, parameters, targets):
        return (2 * targets[:, :, None] - 1).astype(images.dtype) * images[None, ..., 0]

    found = randomisation.random_logit(one, signed, one.images[None, ..., 0], similarity="pearson")
    np.testing.assert_allclose(found, -1, rtol=1e-6)


def test_batches_and_their_order_do_not_matter(case, maps):
    few, of_few = quadratic.some(case, maps, [2, 0])
    for metric, options in (
        (randomisation.mprt, {}),
        (randomisation.efficient_mprt, {}),
        (randomisation.smooth_mprt, {"nr_samples": 3, "parts": ["b"]}),
        (randomisation.random_logit, {"similarity": "spearman"}),
    ):
        whole = metric(case, quadratic.explain, maps, **options)
        again = metric(few, quadratic.explain, of_few, **options)
        # Of two values that are almost the same, rounding may exchange the ranks.
        np.testing.assert_allclose(again, whole[:, jnp.array([2, 0])], atol=0.01)


def test_wrong_arguments(case, maps):
    given = case, quadratic.explain, maps
    with pytest.raises(ValueError, match="unknown order 'down'"):
        randomisation.mprt(*given, order="down")
    with pytest.raises(ValueError, match="unknown similarity 'psnr'"):
        randomisation.mprt(*given, similarity="psnr")
    with pytest.raises(ValueError, match="unknown similarity 'psnr'"):
        randomisation.random_logit(*given, similarity="psnr")
    with pytest.raises(ValueError, match="unknown part of the model 'c'"):
        randomisation.mprt(*given, parts=["c"])
    with pytest.raises(ValueError, match="bins must be at least 2; got 1"):
        randomisation.efficient_mprt(*given, bins=1)
    with pytest.raises(ValueError, match="noise must be a number from 0; got -1"):
        randomisation.smooth_mprt(*given, noise=-1)
    with pytest.raises(ValueError, match="parameters that are called kernel; got one without"):
        randomisation.mprt(replace(case, function=lambda x, p: x.sum((1, 2)), parameters=()), *given[1:])
