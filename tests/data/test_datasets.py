"""The planted sets: the logits follow from their equations, and depend on the truth and on nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.data.datasets import DULL, PLANTED

#: The motifs of structures and logos, for each class, once more.
MOTIFS = {
    "structure": ([[1, 0], [1, 0]], [[1, 1], [0, 0]]),
    "logo": ([[1, 0], [0, 1]], [[0, 1], [1, 0]]),
}


@pytest.fixture(scope="module", params=PLANTED)
def drawn(request):
    return request.param, xr.datasets.planted(request.param, 4, size=48)


def halved(a):
    return a.reshape(a.shape[0] // 2, 2, a.shape[1] // 2, 2).mean((1, 3))


def logit(picture, motif, saturated):
    """What a motif contributes to the logit, from distances in float64: patches, quarters, eighths, their mean."""
    picture, motif = picture.astype(np.float64), np.array(motif)
    side = len(picture) // 2
    first = np.zeros((side, side))
    for row, column in np.ndindex(side, side):
        patch = picture[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        first[row, column] = max(0.0, 1 - np.abs(patch - motif).sum())
    second = np.maximum(halved(first) - 1 / 64, 0)
    third = np.maximum(halved(second) - 1 / 64, 0)
    return 25 * np.minimum(64 * third, 1).mean() if saturated else 100 * third.mean()


def test_the_logits_follow_from_the_distances(drawn):
    name, planted = drawn
    found = np.asarray(planted.network(planted.images))
    motifs = MOTIFS["logo" if name == "shortcut" else "structure"]
    wanted = [[logit(picture[..., 0], motif, name == "saturated") for motif in motifs] for picture in planted.images]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_array_equal(found.argmax(1), planted.labels)


def slopes(planted):
    def total(images):
        return jnp.take_along_axis(planted.network(images), planted.labels[:, None], axis=1).sum()

    return np.abs(np.asarray(jax.grad(total)(planted.images)))


def test_the_logit_depends_on_each_pixel_of_the_truth_and_on_no_other(drawn):
    name, planted = drawn
    if name == "saturated":
        pytest.skip("no slope tells which pixels these are; the next test does")
    found = slopes(planted).min(-1)
    np.testing.assert_array_equal(found > 1e-4, planted.truth)
    assert found[~planted.truth].max() < 1e-6


def test_saturated_logits_are_flat_and_fall_with_each_place_that_is_hidden():
    planted = xr.datasets.planted("saturated", 2, size=48)
    assert slopes(planted).max() == 0
    before = np.asarray(planted.network(planted.images))[[0, 1], planted.labels]
    for row, column in np.ndindex(6, 6):
        place = slice(None), slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8)
        hidden = planted.images.copy()
        hidden[place] = 0.5
        after = np.asarray(planted.network(hidden))[[0, 1], planted.labels]
        np.testing.assert_allclose(before - after, 25 / 36 * planted.truth[place].any((1, 2)), atol=1e-4)


@pytest.mark.parametrize("kind", ["noise", "extremes"])
def test_whatever_lies_in_the_range_of_tissue_changes_nothing(drawn, kind):
    _, planted = drawn
    random = np.random.default_rng(1)
    other = random.uniform(DULL, 1 - DULL, planted.images.shape).astype(np.float32)
    other = np.where(other < 0.5, DULL, 1 - DULL).astype(np.float32) if kind == "extremes" else other
    changed = np.where(planted.truth[..., None], planted.images, other)
    labels = np.arange(len(changed)), planted.labels
    before, after = (np.asarray(planted.network(images)) for images in (planted.images, changed))
    np.testing.assert_allclose(after[labels], before[labels], atol=1e-5)
    # The same in the truth takes the decision away.
    hidden = np.where(planted.truth[..., None], other, planted.images)
    assert np.abs(np.asarray(planted.network(hidden))[labels]).max() < 1e-5


def test_every_pixel_is_as_the_proof_wants_it(drawn):
    name, planted = drawn
    images, shapes = planted.images, planted.truth | planted.decoy
    assert images.dtype == np.float32
    assert 0 <= images.min() <= images.max() <= 1
    assert images[~shapes].min() >= DULL
    assert images[~shapes].max() <= 1 - DULL
    assert np.abs(images[shapes] - 0.5).min() > 0.4
    assert not (planted.truth & planted.decoy).any()
    assert planted.truth.any((1, 2)).all()
    assert planted.decoy.any((1, 2)).all() == (name != "pattern")


def test_channels_see_the_decoys(drawn):
    """What is to be ignored is there in the activations, or there would be nothing to ignore."""
    name, planted = drawn
    if name == "pattern":
        return
    taps = xr.taps(planted.network, xr.composites.gradient(), planted.images, seed=jnp.ones((4, 2)))
    seen = np.asarray(taps.activations["layer1"]).max(-1).repeat(2, 1).repeat(2, 2) > 0.5
    np.testing.assert_array_equal(seen, planted.truth | planted.decoy)


def test_a_picture_does_not_depend_on_how_many_follow():
    few, many = (xr.datasets.planted("mirror", count, size=48, seed=3) for count in (2, 5))
    np.testing.assert_array_equal(many.images[:2], few.images)
    np.testing.assert_array_equal(many.truth[:2], few.truth)
    other = xr.datasets.planted("mirror", 2, size=48, seed=4)
    assert (other.truth != few.truth).any((1, 2)).all()


def test_the_mirror_has_the_pictures_of_the_shortcut():
    shortcut, mirror = (xr.datasets.planted(name, 2, size=48) for name in ("shortcut", "mirror"))
    np.testing.assert_array_equal(shortcut.images, mirror.images)
    np.testing.assert_array_equal(shortcut.truth, mirror.decoy)
    np.testing.assert_array_equal(shortcut.decoy, mirror.truth)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("shortcuts", {}, "unknown planted set 'shortcuts'; did you mean 'shortcut'"),
        ("shortcut", {"count": 0}, "count must be at least 1; got 0"),
        ("shortcut", {"size": 60}, "size must be a multiple of 8 from 48 on; got 60"),
        ("shortcut", {"size": 40}, "size must be a multiple of 8 from 48 on; got 40"),
        ("shortcut", {"seed": -1}, "seed must not be negative; got -1"),
    ],
)
def test_wrong_arguments(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        xr.datasets.planted(name, **arguments)
