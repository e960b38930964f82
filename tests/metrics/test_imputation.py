"""Missing pixels are what a dense system of equations in float64 gives, however they lie."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xrcam_jax.metrics.imputation import imputed

SHAPE = (4, 13, 10, 2)
IMAGES = (3 + 2 * np.random.default_rng(0).standard_normal(SHAPE)).astype(np.float32)
#: Compiled once for all tests of one shape.
FILL = jax.jit(imputed)


def dense(image, missing):
    """Solves for all missing pixels at once: each is the mean of its neighbours, 1/6 beside it and 1/12 at corners."""
    places = [tuple(place) for place in np.argwhere(missing)]
    matrix, right = np.zeros((len(places), len(places))), np.zeros((len(places), image.shape[-1]))
    for row, (y, x) in enumerate(places):
        for dy, dx in np.ndindex(3, 3):
            other = y + dy - 1, x + dx - 1
            if (dy, dx) == (1, 1) or not (0 <= other[0] < image.shape[0] and 0 <= other[1] < image.shape[1]):
                continue
            weight = 1 / 6 if 1 in (dy, dx) else 1 / 12
            matrix[row, row] += weight
            if missing[other]:
                matrix[row, places.index(other)] -= weight
            else:
                right[row] += weight * image[other]
    filled = image.astype(float).copy()
    filled[missing] = np.linalg.solve(matrix, right)
    return filled


def gaps(how):
    """Masks: pixels at random, few or nearly all; all but a corner and all but one; blocks at the border and inside."""
    random = np.random.default_rng(1)
    masks = np.zeros(SHAPE[:3], bool)
    if how == "random":
        masks = random.random(SHAPE[:3]) < np.array([0.1, 0.5, 0.9, 0.97])[:, None, None]
        masks[:, 4, 4] = False
    elif how == "all but":
        masks[:] = True
        masks[0, 12, 9] = masks[1, 5, 5] = masks[2, 0, :] = masks[3, :, 3] = False
    else:
        masks[0, :9, :7] = masks[1, 2:12, 1:9] = masks[2, 5:] = masks[3, ::2, ::2] = True
    return masks


@pytest.mark.parametrize("how", ["random", "all but", "blocks"])
def test_a_dense_system_of_equations(how):
    """At the tolerance that is meant for use, pixels are right to a thousandth of the picture's deviation."""
    missing = gaps(how)
    found = np.asarray(FILL(IMAGES, missing))
    np.testing.assert_array_equal(found[~missing], IMAGES[~missing])
    for one, image, mask in zip(found, IMAGES, missing, strict=True):
        wanted = dense(image, mask)
        np.testing.assert_allclose(one, wanted, atol=1e-3 * image.std())
        # The mean of others is among them.
        assert image[~mask].min() - 1e-2 < one[mask].min() <= one[mask].max() < image[~mask].max() + 1e-2


def test_it_is_as_exact_as_the_tolerance_in_double_precision(float64):
    missing = gaps("blocks")
    errors = []
    for tolerance in (1e-3, 1e-6, 1e-10):
        found = jax.jit(partial(imputed, tolerance=tolerance))(jnp.asarray(IMAGES, jnp.float64), missing)
        wanted = np.stack([dense(image, mask) for image, mask in zip(IMAGES, missing, strict=True)])
        errors.append(np.abs(found - wanted).max())
    assert errors[0] < 1
    assert errors[1] < 1e-3
    assert errors[2] < 1e-6


def test_constants_and_slopes_stay():
    missing = gaps("blocks")
    np.testing.assert_allclose(FILL(np.full(SHAPE, 7.5, np.float32), missing), 7.5, rtol=1e-6)
    # A slope is the mean of what lies around, but at the border of the picture.
    slope = np.broadcast_to((np.arange(13.0)[:, None] + 2 * np.arange(10.0))[None, ..., None], SHAPE)
    inner = missing & np.pad(np.ones((11, 8), bool), 1)
    inner[[0, 2]] = False
    found = FILL(np.ascontiguousarray(slope, np.float32), missing & inner)
    np.testing.assert_allclose(found, slope, atol=1e-3 * slope.std())


def test_each_picture_is_for_itself_and_what_was_missing_does_not_matter():
    missing = gaps("random")
    whole = np.asarray(FILL(IMAGES, missing))
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(FILL(IMAGES[order], missing[order]), whole[order], rtol=1e-5)
    np.testing.assert_allclose(FILL(np.where(missing[..., None], np.nan, IMAGES), missing), whole, rtol=1e-5)


def test_without_a_known_pixel_there_is_nothing():
    found = FILL(IMAGES, np.array([True, False, False, False])[:, None, None] & np.ones(SHAPE[:3], bool))
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1:], IMAGES[1:])


def test_a_mask_says_yes_or_no():
    with pytest.raises(ValueError, match="missing must be of bool; got int32"):
        imputed(jnp.asarray(IMAGES), jnp.asarray(gaps("random"), jnp.int32))


@pytest.mark.parametrize("unit", [1e-30, 1e-18, 1e20, 1e36])
def test_values_may_be_of_any_size(unit):
    """Squares of these values are nothing, or infinite, in single precision."""
    missing = gaps("random")
    found = np.asarray(FILL((IMAGES * np.float64(unit)).astype(np.float32), missing), np.float64)
    for one, image, mask in zip(found / unit, IMAGES, missing, strict=True):
        np.testing.assert_allclose(one, dense(image, mask), atol=1e-3 * image.std())
