"""LIME on models that are linear in what is visible, and against the normal equations."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.lime import Visible, lime

SIDE = 16
#: Whether pixels are lighter or darker than their block.
BOARD = np.indices((SIDE, SIDE)).sum(0) % 2 * 2.0 - 1


def blocks(values):
    """Four numbers as the quadrants of an image."""
    return np.reshape(values, (2, 2)).repeat(SIDE // 2, 0).repeat(SIDE // 2, 1)


def image(colours=(0.0, 0.3, 0.6, 0.9)):
    """Four flat blocks, each with a faint chequerboard: SLIC cannot but find them."""
    return (blocks(colours) + 0.02 * BOARD)[..., None]


def chequered(images, p):
    """Each class weighs the chequerboards of the four blocks: hidden blocks, shown by their mean, have none."""
    read = images[..., 0] * BOARD.astype(images.dtype)
    of_block = read.reshape(-1, 2, SIDE // 2, 2, SIDE // 2).mean((2, 4)).reshape(-1, 4) / 0.02
    return of_block @ p["linear"] + p["square"] * (of_block @ p["linear"]) ** 2


LINEAR = np.array([[3.0, 0.5], [-2.0, 0.1], [1.0, -4.0], [0.0, 2.0]])


def case(images=None, square=0.0, targets=((0, 1), (1, 0)), function=chequered, **options):
    images = np.stack([image(), image((0.9, 0.1, 0.5, 0.3))]) if images is None else images
    p = {"linear": jnp.asarray(LINEAR), "square": jnp.asarray(square)}
    return Case(function, p, jnp.asarray(images), jnp.asarray(targets), **options)


@pytest.mark.usefixtures("float64")
def test_of_a_linear_model_lime_finds_the_coefficients():
    found = lime(case(), samples=60, segments=4, ridge=1e-9, score="logit")
    for b, targets in enumerate(((0, 1), (1, 0))):
        for t, target in enumerate(targets):
            np.testing.assert_allclose(found[b, t], blocks(LINEAR[:, target]), atol=1e-5)


@pytest.mark.usefixtures("float64")
def test_the_ridge_shrinks_coefficients_but_keeps_their_order():
    found = np.asarray(lime(case(), samples=200, segments=4, score="logit"))[0, 0]
    of_block = found[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_array_equal(found, blocks(of_block))
    np.testing.assert_array_equal(np.argsort(of_block), np.argsort(LINEAR[:, 0]))
    assert abs(of_block[0]) < 3.0
    assert abs(of_block[1]) < 2.0


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("width", "ridge", "score"), [(0.25, 1.0, "logit"), (0.6, 0.1, "probability")])
def test_lime_is_the_weighted_ridge_regression_of_the_scores(width, ridge, score):
    example, samples = case(square=0.3, random_seed=3, chunk_size=7), 40
    found = lime(example, samples=samples, segments=4, kernel_width=width, ridge=ridge, score=score)
    visible = np.stack([Visible(32).drawn(jax.random.key(3), i) for i in range(samples)])[:, :4]
    # SLIC numbers the blocks row by row
    logits = visible @ LINEAR + 0.3 * (visible @ LINEAR) ** 2
    wanted = logits if score == "logit" else np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    intact, length = np.ones(4), np.linalg.norm(visible, axis=1)
    cosine = 1 - visible @ intact / np.maximum(length, 1) / 2
    weights = np.exp(-(cosine**2) / width**2)
    centred = visible - np.average(visible, axis=0, weights=weights)
    gram = centred.T @ (weights[:, None] * centred) + ridge * np.eye(4)
    for b, targets in enumerate(((0, 1), (1, 0))):
        for t, target in enumerate(targets):
            coefficients = np.linalg.solve(gram, centred.T @ (weights * wanted[:, target]))
            np.testing.assert_allclose(found[b, t], blocks(coefficients), atol=1e-6)


def test_half_of_the_superpixels_are_visible_but_in_the_first_version_all():
    key = jax.random.key(0)
    shown = np.asarray(jax.vmap(lambda i: Visible(32).drawn(key, i))(jnp.arange(1000)))
    assert set(np.unique(shown)) == {0, 1}
    np.testing.assert_array_equal(shown[0], 1)
    np.testing.assert_allclose(shown[1:].mean(0), 0.5, atol=0.08)
    assert len(np.unique(shown, axis=0)) == 1000


def test_a_pixel_shows_the_image_or_the_mean_of_its_superpixel():
    seen = []

    def model(images, p):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), images)
        return chequered(images, p)

    x = np.float32(np.stack([image()]))
    lime(case(x, targets=[[0]], function=model), samples=20, segments=4)
    jax.effects_barrier()
    versions = np.concatenate(seen)
    np.testing.assert_array_equal(versions[0], x[0])
    for version in versions:
        for rows in (slice(0, 8), slice(8, 16)):
            for columns in (slice(0, 8), slice(8, 16)):
                block, of_image = version[rows, columns], x[0, rows, columns]
                assert (block == of_image).all() or np.allclose(block, of_image.mean(), atol=1e-6)


def test_images_of_few_or_more_superpixels_share_a_program():
    traces = []

    def model(images, p):
        traces.append(images.shape)
        return chequered(images, p)

    options = {"targets": [[0]], "function": model, "chunk_size": 5}
    first = lime(case(np.float32(image()[None]), **options), samples=20, segments=4)
    before = len(traces)
    sixteen = np.random.default_rng(0).permutation(16).reshape(4, 4).repeat(4, 0).repeat(4, 1)[..., None]
    second = lime(case(np.float32(sixteen + BOARD[..., None] / 50)[None], **options), samples=20, segments=16)
    assert len(np.unique(first)) == 4
    assert len(np.unique(second)) == 16
    assert len(traces) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 1}, "got 1, 50 and 0.25"),
        ({"segments": 1}, "got 1000, 1 and 0.25"),
        ({"kernel_width": 0}, "samples and segments must be at least 2 and kernel_width positive; got 1000, 50 and 0"),
        ({"score": "loss"}, "score must be logit.* probability.*; got 'loss'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        lime(case(), **options)


@pytest.mark.parametrize("traced", ["images", "parameters", "targets"])
def test_inside_jit_it_says_that_it_cannot(traced):
    concrete = case()

    def inside(value):
        parts = {name: getattr(concrete, name) for name in ("images", "parameters", "targets")} | {traced: value}
        return lime(Case(chequered, **parts), samples=4, segments=4)

    with pytest.raises(ValueError, match="lime finds superpixels on the host: it cannot run inside jit"):
        jax.jit(inside)(getattr(concrete, traced))
    with pytest.raises(ValueError, match="it cannot run inside jit"):
        jax.jit(lambda: inside(getattr(concrete, traced)))()


@pytest.mark.parametrize("missing", ["skimage.segmentation", "sklearn.linear_model"])
def test_what_is_missing_can_be_installed(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install xrcam-jax\[perturbation\]"):
        lime(case(), samples=4, segments=4)


def test_extreme_images_have_finite_maps():
    noise = np.random.default_rng(0).standard_normal((SIDE, SIDE, 1))
    x = [np.full((SIDE, SIDE, 1), v) for v in (0, 0.3, 1e4)] + [np.where(noise > 0, 1e4, 0)]
    for score in ("logit", "probability"):
        found = lime(case(np.float32(x), targets=np.tile([0, 1], (4, 1))), samples=20, segments=6, score=score)
        assert found.shape == (4, 2, SIDE, SIDE)
        assert np.isfinite(found).all()
    # nothing changes when a part of a flat image is replaced by its mean
    np.testing.assert_allclose(found[:3], 0, atol=1e-5)
