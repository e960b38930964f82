"""XRAI beside the authors' code, step by step, and its ranking beside a loop that forgets nothing and keeps nothing."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.attribution import paths
from xrcam_jax.attribution.case import INPUT, Case
from xrcam_jax.attribution.gradients import integrated_gradients
from xrcam_jax.attribution.xrai import _SCALES, _segmentation, grown_masks, ranked, xrai


@pytest.fixture(scope="module")
def wanted():
    return paths.reference()


@pytest.fixture(scope="module")
def masks(wanted):
    segment = _segmentation()
    return grown_masks([segment(wanted["regions"], scale) for scale in _SCALES], 5)


def test_regions_are_those_of_the_authors_code(wanted, masks):
    theirs = np.unpackbits(wanted["masks"], axis=1).astype(bool)
    np.testing.assert_array_equal(masks, theirs[theirs.any(1)])
    assert 10 < len(masks) < 500


def test_regions_are_ranked_as_by_the_authors_code(wanted, masks):
    found = ranked(masks, wanted["base"].max(-1).ravel(), 50).reshape(32, 32)
    np.testing.assert_allclose(found, wanted["xrai"], rtol=1e-5)
    assert len(np.unique(found)) > 5


@pytest.mark.usefixtures("float64")
def test_the_map_is_that_of_the_authors_code(wanted):
    """Its integrals are sums of 1000 steps, and in float32."""
    case = paths.referred(wanted, "regions", chunk_size=7)
    found = xrai(case, steps=20)
    np.testing.assert_allclose(found[0, 0], wanted["xrai"], atol=0.01 * np.abs(wanted["xrai"]).max())
    x = wanted["regions"]
    ends = [integrated_gradients(case, INPUT, baseline=end, steps=20).values for end in (x.min(), x.max())]
    np.testing.assert_allclose(found.sum(), np.mean(ends, axis=0).max(-1).sum(), rtol=1e-9)


def ranked_again(masks, attribution, min_pixels):
    found, covered = np.full(len(attribution), np.nan), np.zeros(len(attribution), bool)
    while True:
        new = [mask & ~covered for mask in masks]
        means = [attribution[each].mean() if each.sum() >= min_pixels else -np.inf for each in new]
        if max(means) == -np.inf:
            break
        found[new[np.argmax(means)]] = max(means)
        covered |= new[np.argmax(means)]
    found[~covered] = attribution[~covered].mean() if not covered.all() else 0
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_densest_of_what_is_left_comes_next(seed):
    rng = np.random.default_rng(seed)
    masks, attribution = rng.random((30, 80)) < rng.uniform(0.05, 0.4, (30, 1)), rng.standard_normal(80)
    for min_pixels in (1, 4):
        found = ranked(masks, attribution, min_pixels)
        np.testing.assert_allclose(found, ranked_again(masks, attribution, min_pixels), atol=1e-12)
        np.testing.assert_allclose(found.sum(), attribution.sum(), atol=1e-12)


def half(images, p):
    """A model of signals and pictures that looks at the last half of the last axis."""
    side = images.shape[-2] // 2
    return images[..., side:, :].sum(range(1, images.ndim - 1)) * p


def halves(*space):
    """An input whose last half is brighter."""
    return np.where(np.arange(space[-1]) < space[-1] // 2, 0.0, 1.0)[..., None] * np.ones((1, *space, 2))


def case(images, **options):
    return Case(half, jnp.array([1.0, -1.0]), jnp.asarray(images), jnp.array([[0, 1]]), **options)


@pytest.mark.parametrize("space", [(64,), (24, 24)])
def test_of_signals_and_pictures_the_half_that_counts_is_marked(space):
    """It is 1 more than black and as much as white; the region of the other class is the rest."""
    found = np.asarray(xrai(case(np.float32(halves(*space))), steps=2, dilation=1, min_pixels=1))[0]
    side = space[-1] // 2
    assert found.shape == (2, *space)
    np.testing.assert_allclose(found[0][..., side + 2 :], 0.5, atol=0.06)
    np.testing.assert_allclose(found[0][..., : side - 2], 0, atol=0.06)
    assert found[1].max() <= 1e-6


def test_flat_images_are_one_region():
    found = xrai(case(np.full((1, 16, 16, 2), 0.3, np.float32)), steps=2)
    np.testing.assert_array_equal(found, np.zeros((1, 2, 16, 16)))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8, 8), {"dilation": -1}, "dilation must be at least 0 and min_pixels at least 1; got -1 and 50"),
        ((8, 8), {"min_pixels": 0}, "got 5 and 0"),
        ((8, 8), {"steps": 1}, "steps must be at least 2; got 1"),
        ((2, 8, 8), {}, r"xrai segments signals and images; got inputs of \(1, 2, 8, 8, 2\)"),
    ],
)
def test_bad_options_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        xrai(case(np.float32(halves(*shape))), **options)


def test_inside_jit_it_says_that_it_cannot(monkeypatch):
    x = np.float32(halves(8, 8))
    with pytest.raises(ValueError, match="xrai segments images on the host: it cannot run inside jit"):
        jax.jit(lambda x: xrai(case(x)))(x)
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(ImportError, match=r"xrai needs scikit-image: pip install xrcam-jax\[perturbation\]"):
        xrai(case(x))
