"""Occlusion and RISE against loops, and on models of which the answer is known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.perturbations import RandomMasks, Windows, occlusion, rise

pytestmark = pytest.mark.long(one_in=5)

TARGETS = np.array([[2, 0], [1, 1]])


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def network(images, p):
    return jnp.tanh(images.reshape(len(images), -1) @ p["first"]) @ p["second"]


def parameters():
    return {"first": normal(1, 7 * 9 * 2, 6) / 8, "second": normal(2, 6, 3)}


def images():
    return normal(3, 2, 7, 9, 2)


def case(x, function=network, targets=TARGETS, p=None, **options):
    p = parameters() if p is None else p
    return Case(function, jax.tree.map(jnp.asarray, p), jnp.asarray(x), jnp.asarray(targets), **options)


def single(x, **options):
    return case(np.float32(x), p=jax.tree.map(np.float32, parameters()), **options)


def scores(x, score="logit"):
    """The targets' scores (b, t), by numpy."""
    p = parameters()
    values = np.tanh(x.reshape(len(x), -1) @ p["first"]) @ p["second"]
    if score == "probability":
        values = np.exp(values) / np.exp(values).sum(-1, keepdims=True)
    return np.take_along_axis(values, TARGETS, 1)


def starts(side, window, stride):
    """Where windows begin: from the first pixel on, until one reaches the border."""
    found = [0]
    while found[-1] + window < side:
        found.append(found[-1] + stride)
    return found


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("window", "stride", "baseline", "score"),
    [
        ((3, 4), (2, 3), 0.0, "logit"),
        ((3, 4), (2, 3), normal(4, 2, 7, 9, 2), "probability"),
        (3, 3, normal(5, 2), "logit"),  # cut off below
        (4, 1, 0.5, "logit"),
        ((7, 9), (1, 1), 0.0, "logit"),  # one window, all of the image
        (1, 1, 0.0, "logit"),
    ],
)
def test_occlusion_is_the_mean_over_the_windows_that_cover_a_pixel(window, stride, baseline, score):
    found = occlusion(case(images(), chunk_size=7), window=window, stride=stride, baseline=baseline, score=score)
    (height, width), (down, across) = np.broadcast_to(window, 2), np.broadcast_to(stride, 2)
    totals, counts = np.zeros((2, 2, 7, 9)), np.zeros((7, 9))
    for top in starts(7, height, down):
        for left in starts(9, width, across):
            place = slice(top, top + height), slice(left, left + width)
            hidden = images()
            hidden[:, *place] = np.broadcast_to(baseline, hidden.shape)[:, *place]
            totals[:, :, *place] += (scores(images(), score) - scores(hidden, score))[:, :, None, None]
            counts[place] += 1
    np.testing.assert_allclose(found, totals / counts, atol=1e-12)


def test_occlusion_does_not_hide_all_of_a_small_image_by_default():
    small = single(images())
    np.testing.assert_array_equal(occlusion(small), occlusion(small, window=3, stride=1))


@given(st.integers(1, 12), st.data())
def test_windows_cover_every_pixel_and_no_more_of_them_than_needed(side, data):
    size = data.draw(st.integers(1, side))
    stride = data.draw(st.integers(1, size))
    covered = np.asarray(Windows((size, size), (stride, stride)).covered(0, side))
    assert len(covered) == len(starts(side, size, stride))
    for start, row in zip(starts(side, size, stride), covered, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(row), np.arange(start, min(side, start + size)))
    assert covered.any(0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 8}, "window must have a height of 1 to the image's 7; got 8"),
        ({"window": (7, 10), "stride": 1}, "window must have a width of 1 to the image's 9; got 10"),
        ({"window": 0}, "window must have a height of 1 to the image's 7; got 0"),
        ({"window": 3, "stride": 4}, "stride must be 1 to the window's height 3; got 4"),
        ({"window": 3, "stride": (1, 0)}, "stride must be 1 to the window's width 3; got 0"),
        ({"window": 3, "stride": 1, "score": "loss"}, "score must be logit.* probability.*; got 'loss'"),
        ({"window": 3, "stride": 1, "baseline": np.zeros(3)}, "baseline must be a number or an array like the images"),
    ],
)
def test_bad_options_of_occlusion_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        occlusion(single(images()), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "got 0, 7 and 0.5"),
        ({"grid": 0}, "got 2000, 0 and 0.5"),
        ({"keep": 0}, "samples and grid must be at least 1 and keep between 0 and 1; got 2000, 7 and 0"),
        ({"keep": 1}, "got 2000, 7 and 1"),
        ({"score": "loss"}, "score must be logit.* probability.*; got 'loss'"),
        ({"baseline": np.zeros(3)}, "baseline must be a number or an array like the images"),
    ],
)
def test_bad_options_of_rise_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rise(single(images()), **options)


def drawn(masks, count, shape, seed=0):
    key = jax.random.key(seed)
    return np.asarray(jax.jit(jax.vmap(lambda i: masks.mask(key, i, shape)))(jnp.arange(count)))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("baseline", "score", "keep"), [(0.0, "probability", 0.5), (normal(6, 2, 7, 9, 2), "logit", 0.3)]
)
def test_rise_is_the_loop_over_its_masks(baseline, score, keep):
    options = {"samples": 30, "grid": 3, "keep": keep, "baseline": baseline, "score": score}
    found = rise(case(images(), random_seed=4, chunk_size=8), **options)
    wanted = np.zeros((2, 2, 7, 9))
    for mask in drawn(RandomMasks(3, keep), 30, (7, 9), seed=4).astype(np.float64):
        shown = images() * mask[:, :, None] + baseline * (1 - mask[:, :, None])
        wanted += scores(shown, score)[:, :, None, None] * mask / (30 * keep)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    other = rise(case(images(), random_seed=5, chunk_size=8), **options)
    assert np.abs(other - found).max() > 1e-2


@pytest.mark.parametrize("keep", [0.2, 0.5])
@pytest.mark.parametrize(("grid", "shape"), [(7, (20, 31)), (1, (5, 5)), (9, (6, 5))])
def test_masks_are_between_0_and_1_and_on_average_what_is_kept(grid, shape, keep):
    masks = drawn(RandomMasks(grid, keep), 4000, shape)
    assert masks.shape == (4000, *shape)
    assert masks.min() >= 0
    assert masks.max() <= 1 + 1e-6
    # five standard deviations of a mean of zeros and ones, which vary more than any mask
    np.testing.assert_allclose(masks.mean(0), keep, atol=5 * np.sqrt(keep * (1 - keep) / 4000))


def test_masks_are_smooth_and_shifted_and_differ():
    masks = drawn(RandomMasks(4, 0.5), 500, (24, 24))
    # upsampled, a cell has (4 + 1) * 6 / 4 pixels
    assert max(np.abs(np.diff(masks, axis=axis)).max() for axis in (1, 2)) <= 4 / 30 + 1e-6
    assert len(np.unique(masks.reshape(500, -1), axis=0)) == 500
    # without shifts some pixels would always be the middle of a cell, where masks vary most
    spread = masks.std(0)[4:-4, 4:-4]
    assert spread.min() > 0.75 * spread.max()


def of_quadrant(images, p):
    height, width = images.shape[1] // 2, images.shape[2] // 2
    seen = images[:, :height, width:].mean((1, 2, 3))
    return jnp.stack([seen, 1 - seen], axis=-1)


def test_rise_finds_the_quadrant_that_a_model_reads():
    x = np.ones((2, 16, 16, 1), np.float32)
    found = rise(case(x, of_quadrant, np.array([[0, 1]] * 2), ()), samples=3000, grid=4, score="logit")
    quadrants = np.asarray(found).reshape(2, 2, 2, 8, 2, 8).mean((3, 5)).reshape(2, 2, 4)
    for positive, negative in quadrants:
        others = np.delete(positive, 1)
        assert positive[1] - others.max() > 2 * np.ptp(others)
        assert np.delete(negative, 1).min() > negative[1]


METHODS = [
    partial(occlusion, window=3, stride=2),
    partial(occlusion, window=3, stride=2, score="probability"),
    partial(rise, samples=11, grid=3),
]


@pytest.mark.parametrize("method", METHODS)
def test_extreme_images_have_finite_maps(method):
    some = np.where(normal(30, 7, 9, 2) > 0, 1e4, 0)
    x = np.stack([np.full((7, 9, 2), v) for v in (0, 0.3, 1e4)] + [some])
    found = method(single(x, targets=np.tile([0, 2], (4, 1))))
    assert found.shape == (4, 2, 7, 9)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


@pytest.mark.parametrize("method", METHODS)
def test_neither_chunks_nor_jit_change_anything(method):
    example = single(images())
    wanted = method(example)
    np.testing.assert_allclose(method(single(images(), chunk_size=3)), wanted, atol=2e-5)
    inside = jax.jit(lambda p, x, t: method(Case(network, p, x, t, 3)))
    np.testing.assert_allclose(inside(example.parameters, example.images, example.targets), wanted, atol=2e-5)
