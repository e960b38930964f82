"""Occlusion, RISE, LIME and prediction difference analysis, on models whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.attribution.lime import lime
from xrcam_jax.attribution.perturbations import RandomMasks, Windows, occlusion, rise
from xrcam_jax.attribution.prediction_difference import _fit, prediction_difference
from xrcam_jax.case import Case

CORNER = np.zeros((12, 15, 1), np.float32)
CORNER[:6, :5] = 1


def corner(images, parameters):
    """Class 1 is the brightness of the upper left corner, class 0 its opposite."""
    bright = (images * CORNER).sum((1, 2, 3)) / 20
    return jnp.stack([-bright, bright], axis=1)


def case(**options):
    images = np.random.default_rng(0).uniform(0.2, 1, (2, 12, 15, 3)).astype(np.float32)
    return Case(corner, (), jnp.asarray(images), jnp.array([[1, 0], [1, 0]]), **options)


@pytest.mark.parametrize(("window", "stride"), [(5, 3), ((4, 6), (4, 5)), (12, 7)])
def test_occlusion_is_the_mean_drop_over_the_windows_that_cover_a_pixel(window, stride):
    of = case()
    (height, width), (down, across) = np.broadcast_to(window, 2), np.broadcast_to(stride, 2)
    images, drops, covering = np.asarray(of.images), np.zeros((2, 12, 15)), np.zeros((12, 15))
    intact = np.asarray(corner(images, ()))[:, 1]
    for top in range(0, 12 - height + down, down):
        for left in range(0, 15 - width + across, across):
            hidden = images.copy()
            hidden[:, top : top + height, left : left + width] = 0.5
            drop = intact - np.asarray(corner(hidden, ()))[:, 1]
            drops[:, top : top + height, left : left + width] += drop[:, None, None]
            covering[top : top + height, left : left + width] += 1
    found = occlusion(of, window=window, stride=stride, baseline=0.5)
    np.testing.assert_allclose(found[:, 0], drops / covering, atol=1e-5)
    np.testing.assert_allclose(found[:, 1], -found[:, 0], atol=1e-5)


def test_windows_cover_every_pixel():
    windows = Windows((5, 4), (3, 4))
    masks = [windows.mask(jnp.asarray(i), (12, 15)) for i in range(4 * 4)]
    assert all(set(np.unique(m)) == {0.0, 1.0} for m in masks)
    assert (np.sum(masks, axis=0) >= 1).all()


def test_rise_is_the_mean_of_its_masks_weighted_by_what_they_leave():
    of, masks = case(seed=3), RandomMasks(3, 0.4)
    drawn = np.stack([masks.mask(jax.random.key(3), jnp.asarray(i), (12, 15)) for i in range(40)])
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert abs(drawn.mean() - 0.4) < 0.05
    scores = np.stack([jax.nn.softmax(corner(of.images * m[None, ..., None], ()))[:, 1] for m in drawn])
    wanted = np.einsum("nb,nhw->bhw", scores, drawn) / (40 * 0.4)
    np.testing.assert_allclose(rise(of, samples=40, grid=3, keep=0.4)[:, 0], wanted, rtol=1e-4)


@pytest.mark.parametrize("size", [1, 3, None])
def test_the_size_of_a_chunk_changes_nothing(size):
    for method, options in ((rise, {"samples": 7}), (prediction_difference, {"window": 4, "border": 1, "samples": 2})):
        wanted = method(case(chunk_size=2), **options)
        np.testing.assert_allclose(method(case(chunk_size=size), **options), wanted, rtol=1e-3, atol=1e-4)


def test_where_the_evidence_is():
    inside, of = CORNER[..., 0] > 0, case()
    for maps in (
        rise(of, samples=400, grid=4),
        occlusion(of, window=3, stride=3, score="probability"),
    ):
        found = np.asarray(maps)[:, 0]
        assert found[:, inside].mean() > found[:, ~inside].mean() + 0.3 * found.std()


def test_prediction_difference_sees_evidence_only_where_the_model_looks():
    smooth = np.add.outer(np.sin(np.arange(12) / 2), np.cos(np.arange(15) / 3))[..., None] * np.ones(3)
    of = Case(corner, (), jnp.asarray(smooth[None], jnp.float32), jnp.array([[1]]))
    found = np.asarray(prediction_difference(of, window=3, border=1, stride=3, samples=4))[0, 0]
    np.testing.assert_allclose(found[6:], 0, atol=1e-3)
    np.testing.assert_allclose(found[:, 6:], 0, atol=1e-3)
    assert np.abs(found[:6, :5]).max() > 0.01


def test_the_gaussian_of_patches_is_conditioned_on_their_border():
    images = np.random.default_rng(0).standard_normal((40, 20, 20, 1))
    images = (images + np.roll(images, 1, 1) + np.roll(images, 1, 2)).astype(np.float32)
    gaussian = _fit(jnp.asarray(images), jax.random.key(0), window=1, border=1)
    patches = np.lib.stride_tricks.sliding_window_view(images[..., 0], (3, 3), axis=(1, 2)).reshape(-1, 9)
    covariance = np.cov(patches.T)
    outer = [i for i in range(9) if i != 4]
    gain = np.linalg.solve(covariance[np.ix_(outer, outer)], covariance[outer, 4])
    np.testing.assert_allclose(gaussian.gain[0], gain, atol=0.08)
    variance = covariance[4, 4] - gain @ covariance[outer, 4]
    np.testing.assert_allclose(gaussian.root[0, 0] ** 2, variance, rtol=0.15)


def test_lime_is_refused_inside_jit():
    with pytest.raises(ValueError, match="it cannot run inside jit"):
        jax.jit(lambda x: lime(Case(corner, (), x, jnp.array([[1]]))))(case().images[:1])


def test_occlusion_works_inside_jit():
    found = jax.jit(lambda x: occlusion(Case(corner, (), x, jnp.array([[1], [1]])), window=4, stride=4))(case().images)
    np.testing.assert_allclose(found[:, 0], occlusion(case(), window=4, stride=4)[:, 0], rtol=1e-5, atol=1e-6)


def test_by_name_it_is_the_same():
    e = xr.attribute(lambda x: corner(x, ()), case().images, "occlusion", [1, 1], window=6, stride=3)
    np.testing.assert_allclose(e.raw["occlusion"]["input"], occlusion(case(), window=6, stride=3)[:, 0], rtol=1e-5)
