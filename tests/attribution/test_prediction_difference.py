"""Prediction difference analysis: its Gaussian on data of known covariance, and the loop over its windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.perturbations import Windows
from xrcam_jax.attribution.prediction_difference import Resampled, _fit, prediction_difference

pytestmark = pytest.mark.long(one_in=3)

TARGETS = np.array([[1, 0], [2, 2]])
SMALL = {"window": 3, "border": 1, "stride": 2, "samples": 3}


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def network(images, p):
    return jnp.tanh(images.reshape(len(images), -1) @ p["first"]) @ p["second"]


def case(x, function=network, targets=TARGETS, **options):
    p = {"first": jnp.asarray(normal(1, 8 * 10 * 2, 5) / 6, x.dtype), "second": jnp.asarray(normal(2, 5, 3), x.dtype)}
    return Case(function, p, jnp.asarray(x), jnp.asarray(targets), **options)


def images():
    """Two smooth pictures."""
    x = normal(3, 2, 12, 14, 2)
    return sum(x[:, i : i + 8, j : j + 10] for i in range(4) for j in range(4)) / 4


def positions(side, window, stride):
    """Where windows begin; the last is moved inside."""
    found = [0]
    while found[-1] + window < side:
        found.append(found[-1] + stride)
    return [min(start, side - window) for start in found]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("window", "border", "stride", "samples", "train_size"), [(3, 1, 2, 3, 10**6), (4, 2, 4, 2, 50), (2, 1, 2, 1, 10)]
)
def test_it_is_the_mean_evidence_of_the_windows_that_cover_a_pixel(window, border, stride, samples, train_size):
    x, side = images(), window + 2 * border
    example = case(x, random_seed=7, chunk_size=5)
    found = prediction_difference(
        example, window=window, border=border, stride=stride, samples=samples, train_size=train_size
    )
    mean_i, mean_o, gain, root = map(np.asarray, _fit(jnp.asarray(x), jax.random.key(7), window=window, border=border))
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)), mode="edge")
    inside = np.zeros((side, side), bool)
    inside[border:-border, border:-border] = True

    def probabilities(x):
        logits = np.asarray(network(jnp.asarray(x), example.parameters))
        return np.take_along_axis(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), TARGETS, 1)

    def log_odds(p):
        corrected = (p * train_size + 1) / (train_size + 3)
        return np.log2(corrected / (1 - corrected))

    totals, counts, index = np.zeros((2, 2, 8, 10)), np.zeros((8, 10)), 0
    for top in positions(8, window, stride):
        for left in positions(10, window, stride):
            around = padded[:, top : top + side, left : left + side][:, ~inside].reshape(2, -1)
            mean = mean_i + (around - mean_o) @ gain.T
            drawn = []
            for _ in range(samples):
                noise = jax.random.normal(jax.random.fold_in(jax.random.key(8), index), mean.shape)
                changed = x.copy()
                patch = (mean + np.asarray(noise) @ root.T).reshape(2, window, window, 2)
                changed[:, top : top + window, left : left + window] = patch
                drawn.append(probabilities(changed))
                index += 1
            evidence = log_odds(probabilities(x)) - log_odds(np.mean(drawn, axis=0))
            place = slice(top, top + window), slice(left, left + window)
            totals[:, :, *place] += evidence[:, :, None, None]
            counts[place] += 1
    np.testing.assert_allclose(found, totals / counts, atol=1e-6)
    assert np.abs(found).max() > 0.05


@pytest.fixture(scope="module")
def stationary():
    """5000 pictures of 4 x 4 whose covariance falls off by 0.8 and 0.5 a pixel, with mean 3; and that covariance."""
    distance = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    covariance = np.kron(0.8**distance, 0.5**distance)
    x = 3 + normal(4, 5000, 16) @ np.linalg.cholesky(covariance).T
    return x.reshape(5000, 4, 4, 1).astype(np.float32), covariance


@pytest.fixture(scope="module")
def conditional(stationary):
    """The Gaussian of the middle four of these pixels given the others: numpy's from the true covariance."""
    _, covariance = stationary
    inner = np.isin(np.arange(16), [5, 6, 9, 10])
    gain = covariance[np.ix_(inner, ~inner)] @ np.linalg.inv(covariance[np.ix_(~inner, ~inner)])
    return gain, covariance[np.ix_(inner, inner)] - gain @ covariance[np.ix_(~inner, inner)]


def test_the_gaussian_is_that_of_the_patches(stationary, conditional):
    found = _fit(jnp.asarray(stationary[0]), jax.random.key(0), window=2, border=1)
    gain, covariance = conditional
    np.testing.assert_allclose(found.inner_mean, 3, atol=0.1)
    np.testing.assert_allclose(found.outer_mean, 3, atol=0.1)
    np.testing.assert_allclose(found.gain, gain, atol=0.1)
    np.testing.assert_allclose(found.root @ found.root.T, covariance, atol=0.03)


def test_patches_are_taken_from_all_places():
    x = np.zeros((1, 8, 8, 1), np.float32)
    x[0, 1::3, 1::3] = 9
    found = _fit(jnp.asarray(x), jax.random.key(0), window=1, border=1)
    # one of nine pixels of any patch is bright, and which one is as likely anywhere
    np.testing.assert_allclose(found.inner_mean, 1, atol=0.25)
    # in a lattice the middle is bright where no pixel around it is
    np.testing.assert_allclose(found.inner_mean + (0 - found.outer_mean) @ found.gain.T, 9, atol=0.3)


def test_draws_follow_what_is_around_the_window(stationary, conditional):
    gaussian = _fit(jnp.asarray(stationary[0]), jax.random.key(0), window=2, border=1)
    x = np.float32(3 + normal(5, 2, 4, 4, 1))
    # the middle one of three windows along each side
    change, state = Resampled(Windows((2, 2), (1, 1), inside=True), 1, 5000), (jax.random.key(1), gaussian)
    window = 4
    drawn = jax.jit(jax.vmap(lambda i: change(jnp.asarray(x), window * 5000 + i, state)))(jnp.arange(5000))
    drawn = np.asarray(drawn)[..., 0]
    gain, covariance = conditional
    around = np.ones((4, 4), bool)
    around[1:3, 1:3] = False
    for b in range(2):
        np.testing.assert_array_equal(drawn[:, b][:, around], np.tile(x[b, around, 0], (5000, 1)))
        inner = drawn[:, b, 1:3, 1:3].reshape(5000, 4)
        # the gain is estimated to a tenth, the mean from 5000 draws
        np.testing.assert_allclose(inner.mean(0), 3 + gain @ (x[b, around, 0] - 3), atol=0.2)
        np.testing.assert_allclose(np.cov(inner.T), covariance, atol=0.05)


def of_patch(images, p):
    """Class 1 is for a bright patch, class 0 against it; of the rest nothing counts."""
    bright = 4 * images[:, 2:4, 6:9].mean((1, 2, 3))
    return jnp.stack([-bright, bright, 0 * bright], axis=-1)


def test_evidence_is_where_the_model_looks_and_nowhere_else():
    x = np.float32(images() / 4)
    x[:, 2:4, 6:9] += 2  # brighter than what is around lets expect
    example = case(x, of_patch, np.array([[1, 0]] * 2))
    found = np.asarray(prediction_difference(example, reference=images() / 4, **SMALL | {"samples": 8}))
    touched = np.zeros((8, 10), bool)
    for top in positions(8, 3, 2):
        for left in positions(10, 3, 2):
            if top < 4 and top + 3 > 2 and left < 9 and left + 3 > 6:
                touched[top : top + 3, left : left + 3] = True
    assert not touched.all()
    np.testing.assert_allclose(found[:, :, ~touched], 0, atol=1e-4)
    assert (found[:, 0, 2:4, 6:9] > 0.5).all()
    assert (found[:, 1, 2:4, 6:9] < -0.5).all()


def test_what_is_expected_comes_from_the_reference():
    x = np.zeros((2, 8, 10, 2), np.float32)
    example = case(x, of_patch, np.array([[1], [0]]))
    np.testing.assert_allclose(prediction_difference(example, **SMALL), 0, atol=0.1)
    # where others are bright, dark is evidence against bright
    found = np.asarray(prediction_difference(example, reference=np.float32(3 + normal(6, 5, 9, 9, 2) / 9), **SMALL))
    assert found[0, 0, 2:4, 6:9].max() < -1
    assert found[1, 0, 2:4, 6:9].min() > 1


@pytest.mark.parametrize("train_size", [1, 10**6, 10**9])
def test_certain_models_have_finite_evidence(train_size):
    noise = np.where(normal(7, 8, 10, 2) > 0, 1e4, 0)
    x = np.stack([np.full((8, 10, 2), v) for v in (0, 0.3, 1e4)] + [noise]).astype(np.float32)
    found = prediction_difference(case(x, of_patch, np.tile([0, 1], (4, 1))), train_size=train_size, **SMALL)
    assert found.shape == (4, 2, 8, 10)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    # the odds of certainty are 1 to N + 1, or 2 of three classes
    assert np.abs(found).max() <= np.log2((train_size + 1) * (train_size + 2) / 2) + 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "got 0, 2 and 8 for images of 8 x 10"),
        ({"window": 3, "border": 0}, "samples and border must be at least 1, and window . 2 border fit the images"),
        ({"window": 7, "border": 1}, "got 10, 1 and 7 for images of 8 x 10"),
        ({"window": 4, "border": 1, "reference": np.zeros((1, 20, 5, 2))}, "got 10, 1 and 4"),
        ({"window": 0}, "window must have a height of 1 to the image's 8; got 0"),
        ({"window": 3, "stride": 4}, "stride must be 1 to the window's height 3; got 4"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        prediction_difference(case(np.zeros((2, 8, 10, 2), np.float32)), **options)


def test_neither_chunks_nor_jit_change_anything():
    x = np.float32(images())
    wanted = prediction_difference(case(x), **SMALL)
    np.testing.assert_allclose(prediction_difference(case(x, chunk_size=7), **SMALL), wanted, atol=1e-3)
    inside = jax.jit(lambda p, x, t: prediction_difference(Case(network, p, x, t), **SMALL))
    np.testing.assert_allclose(inside(case(x).parameters, x, TARGETS), wanted, atol=1e-3)
