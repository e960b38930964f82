"""Expected gradients beside a loop over their draws, and beside integrated gradients of every reference."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.attribution import paths
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.expected_gradients import _draws, expected_gradients
from xrcam_jax.attribution.gradients import integrated_gradients

SHAPE = (2, 3, 2)
TARGETS = np.array([[0, 2], [1, 0], [2, 1]])
P = paths.bent_parameters(SHAPE)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


IMAGES, KNOWN = normal(1, 3, *SHAPE), normal(2, 4, *SHAPE)


def found(layer="input", images=IMAGES, targets=TARGETS, reference=KNOWN, samples=10, **options):
    case = paths.bent_case(P, images, targets, **options)
    return expected_gradients(case, layer, samples=samples, reference=reference)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("layer", ["input", "scaled"])
def test_they_are_the_loop_over_the_draws(layer):
    """A layer that scales each element has the contributions of the input."""
    e = found(layer, random_seed=5, chunk_size=3)
    order, alphas = map(np.asarray, _draws(5, 10, 4))
    for b, t in np.ndindex(3, 2):
        total, logits = np.zeros(SHAPE), []
        for number, alpha in enumerate(alphas):
            x, x0 = IMAGES[b], KNOWN[order[number % 4]]
            gradient = paths.bent_gradient(x0 + alpha * (x - x0), P, TARGETS[b, t])
            total += (x - x0) * gradient / 10
            logits.append(paths.bent_logits(x0, P)[TARGETS[b, t]])
        np.testing.assert_allclose(e.values[b, t], total, atol=1e-12)
        difference = paths.bent_logits(IMAGES[b], P)[TARGETS[b, t]] - np.mean(logits)
        np.testing.assert_allclose(e.error[b, t], difference - total.sum(), atol=1e-12)
    assert np.abs(e.error).max() > 1e-4, "too exact to show that the error is that of the draws"


def test_draws_are_spread_over_pictures_and_the_way():
    order, alphas = map(np.asarray, _draws(0, 50, 7))
    assert sorted(order) == list(range(7))
    for number in range(7):
        own = np.sort(alphas[number::7])
        np.testing.assert_array_equal(np.floor(own * len(own)), np.arange(len(own)))
    assert (np.asarray(_draws(1, 50, 7)[1]) != alphas).all()
    few = np.asarray(_draws(0, 5, 7)[1])
    assert few.shape == (5,)
    assert len(np.unique(few)) == 5


@pytest.mark.usefixtures("float64")
def test_in_the_limit_they_are_the_mean_of_integrated_gradients_and_complete():
    case = paths.bent_case(P, IMAGES, TARGETS)
    each = [integrated_gradients(case, "input", baseline=known, steps=20).values for known in KNOWN]
    wanted = np.mean(each, axis=0)
    few, many = found(samples=40), found(samples=4000)
    np.testing.assert_allclose(many.values, wanted, atol=3e-4)
    assert np.abs(few.values - wanted).max() > 10 * np.abs(many.values - wanted).max()
    assert np.abs(few.error).max() > 10 * np.abs(many.error).max()
    assert np.abs(many.error).max() < 1e-3


@pytest.mark.usefixtures("float64")
def test_neither_chunks_nor_the_batch_change_anything():
    whole = found()
    np.testing.assert_allclose(found(chunk_size=4).values, whole.values, atol=1e-12)
    backwards = found(images=IMAGES[::-1].copy(), targets=TARGETS[::-1].copy())
    np.testing.assert_allclose(backwards.values[::-1], whole.values, atol=1e-12)
    alone = found(images=IMAGES[1:2], targets=TARGETS[1:2])
    np.testing.assert_allclose(alone.values[0], whole.values[1], atol=1e-12)
    np.testing.assert_allclose(alone.error[0], whole.error[1], atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_without_a_reference_the_batch_is_one_and_alone_it_is_zero():
    np.testing.assert_array_equal(found(reference=None).values, found(reference=IMAGES).values)
    alone = found(images=IMAGES[:1], targets=TARGETS[:1], reference=None)
    zero = found(images=IMAGES[:1], targets=TARGETS[:1], reference=np.zeros((1, *SHAPE)))
    np.testing.assert_array_equal(alone.values, zero.values)
    assert np.abs(alone.values).max() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples must be at least 1; got 0"),
        ({"reference": KNOWN[0]}, r"reference must be pictures like the images, \(n, 2, 3, 2\); got \(2, 3, 2\)"),
        ({"reference": KNOWN[:0]}, r"reference must be pictures like the images, .*got \(0, 2, 3, 2\)"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        found(**options)


def test_token_ids_want_token_ids():
    case = Case(lambda ids, p: p[ids].sum(1), jnp.eye(3), jnp.zeros((2, 4), int), jnp.zeros((2, 1), int))
    with pytest.raises(ValueError, match="reference must hold token ids, as the inputs do; got float64"):
        expected_gradients(case, "embedding", reference=np.zeros((1, 4)))
