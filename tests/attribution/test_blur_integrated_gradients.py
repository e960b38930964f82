"""Blur integrated gradients beside the authors' code, and beside a loop over the blurs of any number of axes."""

from functools import reduce

import numpy as np
import pytest

from tests.attribution import paths
from xrcam_jax.attribution.blur_integrated_gradients import blur_integrated_gradients


@pytest.mark.usefixtures("float64")
def test_they_are_those_of_the_authors_code():
    """Its Gaussians end at four deviations."""
    wanted = paths.reference()
    found = blur_integrated_gradients(paths.referred(wanted, "blurred", chunk_size=7), max_sigma=6, steps=20)
    np.testing.assert_allclose(found.values[0, 0], wanted["blur"], atol=2e-3 * np.abs(wanted["blur"]).max())


def kernel(side, sigma):
    """The blur of an axis as a matrix, and how it changes with the deviation."""
    distance, all_of = np.subtract.outer(np.arange(side), np.arange(side)), np.arange(-200, 201)
    if sigma == 0:
        return np.eye(side), np.zeros((side, side))
    value, whole = (np.exp(-(d**2) / (2 * sigma**2)) for d in (distance, all_of))
    slope, whole_slope = value * distance**2 / sigma**3, (whole * all_of**2 / sigma**3).sum()
    return value / whole.sum(), slope / whole.sum() - value * whole_slope / whole.sum() ** 2


def along(x, matrices):
    for axis, matrix in enumerate(matrices):
        x = np.moveaxis(np.tensordot(matrix, x, axes=(1, axis)), 0, axis)
    return x


def blurred(x, sigma):
    """A blurred picture, and how it changes with the deviation: the sum over axes of what their blurs change."""
    values, slopes = zip(*(kernel(side, sigma) for side in x.shape[:-1]), strict=True)
    parts = [along(x, [*values[:axis], slope, *values[axis + 1 :]]) for axis, slope in enumerate(slopes)]
    return along(x, values), reduce(np.add, parts)


def batch(shape):
    return np.random.default_rng(3).standard_normal((2, *shape))


TARGETS = np.array([[0, 2], [1, 0]])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("shape", [(7, 2), (3, 4, 5, 1)])
@pytest.mark.parametrize("quadrature", ["riemann", "gauss_legendre"])
def test_they_are_the_loop_over_the_blurs(shape, quadrature):
    p, x = paths.bent_parameters(shape), batch(shape)
    case = paths.bent_case(p, x, TARGETS, chunk_size=2)
    found = blur_integrated_gradients(case, max_sigma=3, steps=5, quadrature=quadrature)
    nodes, weights = np.polynomial.legendre.leggauss(5)
    nodes, weights = (nodes + 1) * 1.5, weights * 1.5
    if quadrature == "riemann":
        nodes, weights = np.arange(5) * 0.6, np.full(5, 0.6)
    for b, t in np.ndindex(2, 2):
        total = np.zeros(shape)
        for sigma, weight in zip(nodes, weights, strict=True):
            point, slope = blurred(x[b], sigma)
            total -= weight * slope * paths.bent_gradient(point, p, TARGETS[b, t])
        np.testing.assert_allclose(found.values[b, t], total, atol=1e-12)
        ends = [paths.bent_logits(end, p)[TARGETS[b, t]] for end in (x[b], blurred(x[b], 3)[0])]
        np.testing.assert_allclose(found.error[b, t], ends[0] - ends[1] - total.sum(), atol=1e-12)
    assert np.abs(found.error).max() > 1e-4, "too exact to show that the error is that of the quadrature"


@pytest.mark.usefixtures("float64")
def test_in_the_limit_they_are_complete():
    shape = (7, 2)
    case = paths.bent_case(paths.bent_parameters(shape), batch(shape), TARGETS)
    riemann, fine = (blur_integrated_gradients(case, max_sigma=9, steps=steps).error for steps in (20, 200))
    smooth = blur_integrated_gradients(case, max_sigma=9, steps=100, quadrature="gauss_legendre").error
    assert np.abs(riemann).max() > 5 * np.abs(fine).max() > 100 * np.abs(smooth).max()
    assert np.abs(smooth).max() < 1e-7


@pytest.mark.usefixtures("float64")
def test_neither_chunks_nor_the_batch_change_anything():
    p, x = paths.bent_parameters((7, 2)), batch((7, 2))
    whole = blur_integrated_gradients(paths.bent_case(p, x, TARGETS), max_sigma=3, steps=5).values
    backwards = paths.bent_case(p, x[::-1].copy(), TARGETS[::-1].copy(), chunk_size=3)
    alone = paths.bent_case(p, x[1:], TARGETS[1:])
    np.testing.assert_allclose(
        blur_integrated_gradients(backwards, max_sigma=3, steps=5).values[::-1], whole, atol=1e-12
    )
    np.testing.assert_allclose(blur_integrated_gradients(alone, max_sigma=3, steps=5).values[0], whole[1], atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((7, 2), {"max_sigma": 0}, "max_sigma must be positive and steps at least 2; got 0 and 100"),
        ((7, 2), {"steps": 1}, "got 50.0 and 1"),
        ((7, 2), {"quadrature": "trapezoid"}, "quadrature must be riemann or gauss_legendre; got 'trapezoid'"),
        ((7,), {}, r"blur_integrated_gradients blurs signals, images and volumes; got inputs of \(2, 7\)"),
    ],
)
def test_bad_options_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        blur_integrated_gradients(paths.bent_case(paths.bent_parameters(shape), batch(shape), TARGETS), **options)
