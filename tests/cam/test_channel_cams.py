"""Score-CAM and Ablation-CAM against loops over the channels."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from tests.explain import small
from xrcam_jax.attribution.case import Case
from xrcam_jax.cam.channel_cams import ablation_cam, from_corner_to_corner, noisy, score_cam, smoothed_score_cam
from xrcam_jax.cam.saliency import upsample
from xrcam_jax.explain.functional import as_function

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.long(one_in=3)]
TARGETS = np.array([[0, 2], [1, 0]])


def case(**options):
    function, parameters = as_function(small.Network(small.weights(dtype=np.float64)))
    return Case(function, parameters, jnp.asarray(small.images(dtype=np.float64)), jnp.asarray(TARGETS), **options)


def logits(of, images):
    return np.asarray(of.function(jnp.asarray(images), of.parameters))


def targets_of(values):
    return np.take_along_axis(values, TARGETS, axis=1)


def seen_through(of, channel):
    activation, _ = of.at("last")
    return masked(of, np.asarray(upsample(activation[..., channel], (16, 16))))


def masked(of, large):
    """The images times maps scaled to [0, 1]; a constant map shows nothing."""
    low = large.min((1, 2), keepdims=True)
    spread = large.max((1, 2), keepdims=True) - low
    mask = np.where(spread > 0, (large - low) / np.where(spread > 0, spread, 1), 0)
    return np.asarray(of.images) * mask[..., None]


def test_score_cam_is_the_loop_over_its_channels():
    of = case()
    nothing = targets_of(logits(of, np.zeros_like(of.images)))
    scores = np.stack([targets_of(logits(of, seen_through(of, k))) for k in range(6)], axis=-1)
    found = np.asarray(score_cam(of, "last"))
    assert found.shape == (2, 2, 1, 1, 6)
    np.testing.assert_allclose(found[:, :, 0, 0], scores - nothing[..., None], atol=1e-12)
    found = score_cam(of, "last", weights="softmax")[:, :, 0, 0]
    np.testing.assert_allclose(found, softmax(scores, axis=-1), atol=1e-12)


def test_score_cam_by_probability():
    of = case()
    found = np.asarray(score_cam(of, "last", score="probability"))[:, :, 0, 0]
    nothing = targets_of(softmax(logits(of, np.zeros_like(of.images)), axis=1))
    for k in range(6):
        wanted = targets_of(softmax(logits(of, seen_through(of, k)), axis=1)) - nothing
        np.testing.assert_allclose(found[..., k], wanted, atol=1e-12)


@pytest.mark.parametrize("noise_on", ["image", "activation"])
def test_smoothed_score_cam_without_noise_is_score_cam(noise_on):
    found = smoothed_score_cam(case(), "last", samples=2, noise=0.0, noise_on=noise_on)
    np.testing.assert_allclose(found, score_cam(case(), "last"), atol=1e-12)


def test_smoothed_score_cam_depends_on_the_seed_alone():
    first, again, other = (
        smoothed_score_cam(case(random_seed=seed, chunk_size=size), "last", samples=2)
        for seed, size in ((1, 3), (1, 5), (2, 3))
    )
    np.testing.assert_allclose(first, again, atol=1e-10)
    assert np.abs(first - other).max() > 1e-6


def test_ablation_cam_is_the_loop_over_its_channels():
    of = case()
    activation, _ = of.at("last")
    head = small.weights(dtype=np.float64)[2]
    intact = targets_of(logits(of, of.images))
    found = np.asarray(ablation_cam(of, "last"))
    for k in range(6):
        without = np.asarray(activation.at[..., k].set(0).mean((1, 2)) @ head)
        np.testing.assert_allclose(found[:, :, 0, 0, k], (intact - targets_of(without)) / intact, rtol=1e-9)


def test_a_score_of_zero_gives_no_weights():
    of = case()
    one, two, head = small.weights(dtype=np.float64)
    function, parameters = as_function(small.Network([one, two, head * 0]))
    silent = Case(function, parameters, of.images, of.targets)
    np.testing.assert_array_equal(ablation_cam(silent, "last"), 0)


def test_noise_is_a_share_of_each_pictures_range():
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (2, 40, 40, 3)) * [[[[1.0]]], [[[10.0]]]])
    added = np.asarray(noisy(images, jax.random.key(0), 0.1) - images)
    np.testing.assert_allclose(added.std((1, 2, 3)), [0.1, 1.0], rtol=0.05)


def test_upsampling_from_corner_to_corner():
    found = from_corner_to_corner(jnp.asarray([[[0.0, 2.0], [4.0, 6.0]]]), (3, 5))
    rows, columns = np.linspace(0, 4, 3), np.linspace(0, 2, 5)
    np.testing.assert_allclose(found[0], rows[:, None] + columns[None], atol=1e-12)
    np.testing.assert_allclose(from_corner_to_corner(jnp.full((1, 1, 1), 3.0), (2, 2)), 3.0)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (score_cam, {"weights": "max"}, "weights must be difference or softmax; got 'max'"),
        (score_cam, {"score": "loss"}, "score must be logit, probability or log_odds; got 'loss'"),
        (smoothed_score_cam, {"samples": 0}, "samples must be at least 1; got 0"),
        (smoothed_score_cam, {"noise_on": "both"}, "noise_on must be image or activation; got 'both'"),
    ],
)
def test_wrong_options(method, options, message):
    with pytest.raises(ValueError, match=message):
        method(case(), "last", **options)


def test_ablation_cam_by_probability():
    of = case()
    activation, _ = of.at("last")
    head = small.weights(dtype=np.float64)[2]
    intact = targets_of(softmax(logits(of, of.images), axis=1))
    found = np.asarray(ablation_cam(of, "last", score="probability"))
    for k in range(6):
        without = np.asarray(activation.at[..., k].set(0).mean((1, 2)) @ head)
        wanted = (intact - targets_of(softmax(without, axis=1))) / intact
        np.testing.assert_allclose(found[:, :, 0, 0, k], wanted, rtol=1e-9)


def test_masks_can_be_upsampled_from_corner_to_corner():
    of = case()
    activation = np.asarray(of.at("last")[0])
    nothing = targets_of(logits(of, np.zeros_like(of.images)))
    found = np.asarray(score_cam(of, "last", align_corners=True))[:, :, 0, 0]
    places = np.linspace(0, 7, 16)
    for k in range(6):
        rows = np.apply_along_axis(lambda a: np.interp(places, np.arange(8), a), 1, activation[..., k])
        large = np.apply_along_axis(lambda a: np.interp(places, np.arange(8), a), 2, rows)
        wanted = targets_of(logits(of, masked(of, large))) - nothing
        np.testing.assert_allclose(found[..., k], wanted, atol=1e-12)


@pytest.mark.parametrize(("noise_on", "weights"), [("image", "difference"), ("activation", "softmax")])
def test_smoothed_score_cam_is_the_loop_over_its_noise(noise_on, weights):
    of, samples, noise = case(random_seed=9, chunk_size=5), 3, 0.4
    activation, _ = of.at("last")
    key, means = jax.random.key(9), []

    def with_noise(a, index):
        spread = np.ptp(a.reshape(2, -1), axis=1).reshape(2, *[1] * (a.ndim - 1))
        return a + noise * spread * np.asarray(jax.random.normal(jax.random.fold_in(key, index), a.shape, a.dtype))

    for k in range(6):
        scores = []
        for index in range(k * samples, (k + 1) * samples):
            maps = np.asarray(activation[..., k])
            noisy_maps = with_noise(maps, index) if noise_on == "activation" else maps
            large = np.asarray(upsample(jnp.asarray(noisy_maps), (16, 16)))
            seen = masked(of, large)
            scores.append(targets_of(logits(of, with_noise(seen, index) if noise_on == "image" else seen)))
        means.append(np.mean(scores, axis=0))
    wanted = np.stack(means, axis=-1)
    if weights == "difference":
        wanted = wanted - targets_of(logits(of, np.zeros_like(of.images)))[..., None]
    else:
        wanted = softmax(wanted, axis=-1)
    found = smoothed_score_cam(of, "last", samples=samples, noise=noise, noise_on=noise_on, weights=weights)
    np.testing.assert_allclose(found[:, :, 0, 0], wanted, atol=1e-10)


METHODS = [score_cam, partial(score_cam, align_corners=True), partial(smoothed_score_cam, samples=2), ablation_cam]


@pytest.mark.parametrize("method", METHODS)
def test_dead_channels_weigh_nothing_and_extreme_images_are_finite(method):
    one, two, head = (np.asarray(kernel) for kernel in small.weights())
    two = two.copy()
    two[..., [1, 4]] = 0
    function, parameters = as_function(small.Network([jnp.asarray(kernel) for kernel in (one, two, head)]))
    noise = np.random.default_rng(0).standard_normal((16, 16, 3))
    x = np.stack([np.full((16, 16, 3), v) for v in (0, 0.3, 1e4)] + [np.where(noise > 0, 1e4, 0)])
    of = Case(function, parameters, jnp.asarray(x, jnp.float32), jnp.tile(jnp.array([0, 1]), (4, 1)))
    found = method(of, "last")
    assert found.shape == (4, 2, 1, 1, 6)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    # To rounding: the copies of a batch that differ in nothing lie in different places of one product.
    largest = np.abs(found).max(-1, keepdims=True)
    np.testing.assert_allclose(found[..., [1, 4]] / np.where(largest > 0, largest, 1), 0, atol=1e-5)
    np.testing.assert_array_equal(found[0], 0)
    assert np.abs(found[3]).max() > 0


@pytest.mark.parametrize("method", METHODS)
def test_neither_chunks_nor_jit_change_anything(method):
    of = case()
    wanted = method(of, "last")
    np.testing.assert_allclose(method(case(chunk_size=2), "last"), wanted, atol=1e-10)
    inside = jax.jit(lambda p, x, t: method(Case(of.function, p, x, t, 3), "last"))
    np.testing.assert_allclose(inside(of.parameters, of.images, of.targets), wanted, atol=1e-10)
