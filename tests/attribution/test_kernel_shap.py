"""KernelSHAP beside Shapley values by their definition, and beside those of captum and shap."""

import sys
from itertools import combinations
from math import comb, factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attribution import paths
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.kernel_shap import coalitions, kernel_shap, shapley_values


def by_definition(game, m):
    """The mean, over all orders, of what a player adds to those before; ``game`` is by the bits of a coalition."""
    values = np.zeros((game.shape[1], m))
    for player in range(m):
        others = [other for other in range(m) if other != player]
        for size in range(m):
            weight = factorial(size) * factorial(m - size - 1) / factorial(m)
            for chosen in combinations(others, size):
                number = sum(2**other for other in chosen)
                values[:, player] += weight * (game[number + 2**player] - game[number])
    return values


def found(game, m, samples, seed=0):
    drawn = coalitions(m, samples, seed)
    return shapley_values(drawn, game[np.r_[0, 2**m - 1, drawn.visible @ 2 ** np.arange(m)]])


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@given(st.integers(1, 7), st.integers(0, 1000))
def test_from_all_coalitions_they_are_shapley_values(m, seed):
    game = normal(seed, 2**m, 2)
    np.testing.assert_allclose(found(game, m, 2**m), by_definition(game, m), atol=1e-9)


def test_they_are_those_of_shap():
    wanted = paths.reference()
    np.testing.assert_allclose(found(wanted["players"], 6, 62), wanted["games"], atol=1e-9)


@given(st.integers(2, 12), st.integers(2, 60), st.integers(0, 1000))
def test_from_some_coalitions_they_share_the_difference(m, samples, seed):
    game = normal(seed, 2**m, 2)
    values = found(game, m, samples, seed)
    np.testing.assert_allclose(values.sum(1), game[-1] - game[0], atol=1e-9)


@given(st.integers(2, 10), st.integers(0, 1000))
def test_what_players_add_by_themselves_is_found_from_few(m, seed):
    own = normal(seed, m, 2)
    bits = np.arange(2**m)[:, None] >> np.arange(m) & 1
    np.testing.assert_allclose(found(bits @ own + 3, m, 8 * m, seed).T, own, atol=1e-8)


def test_players_alike_have_the_same_and_one_without_effect_nothing():
    """Of a game that looks at the number of the first three of four players."""
    bits = np.arange(16)[:, None] >> np.arange(4) & 1
    values = found(np.sqrt(bits[:, :3].sum(1, keepdims=True)), 4, 14)
    np.testing.assert_allclose(values, [[*[np.sqrt(3) / 3] * 3, 0]], atol=1e-12)


def test_more_coalitions_come_nearer():
    game = normal(0, 2**10, 40)
    wanted = by_definition(game, 10)
    errors = [np.abs(found(game, 10, samples) - wanted).mean() for samples in (40, 200, 1022)]
    assert errors[0] > 1.5 * errors[1] > 1.5e6 * errors[2]


@given(st.integers(2, 40), st.integers(2, 300), st.integers(-5, 5))
def test_weights_are_those_of_the_kernel(m, samples, seed):
    drawn = coalitions(m, samples, seed)
    visible, size = drawn.visible, drawn.visible.sum(1)
    assert len(visible) == len(drawn.weights) <= samples
    assert ((size > 0) & (size < m)).all()
    kernel = np.array([(m - 1) / (comb(m, s) * s * (m - s)) for s in range(1, m)])
    mass = kernel * [comb(m, s) for s in range(1, m)]
    mass /= mass.sum()
    for s in range(1, m):
        if len(np.unique(visible[size == s], axis=0)) == comb(m, s) == (size == s).sum():
            np.testing.assert_allclose(drawn.weights[size == s], mass[s - 1] / comb(m, s), rtol=1e-9)
    # With each coalition goes its complement.
    np.testing.assert_allclose(drawn.weights @ visible, drawn.weights.sum() / 2, atol=1e-9)


def test_sizes_in_the_middle_are_drawn_by_their_share():
    drawn = coalitions(30, 20000, 0)
    size = drawn.visible.sum(1)
    mass = np.array([1 / (s * (30 - s)) for s in range(30) if s > 0])
    mass /= mass.sum()
    each = np.bincount(size, drawn.weights, 30)[1:]
    np.testing.assert_allclose(each, mass, atol=0.004)
    middle = drawn.visible[size == 15]
    assert len(middle) > 200
    np.testing.assert_allclose(middle.mean(0), 0.5, atol=0.12)


def blocks_of(image):
    return np.asarray(image)[[0, 0, -1, -1], [0, -1, 0, -1]]


@pytest.mark.usefixtures("float64")
def test_of_a_picture_they_are_those_of_captum():
    wanted = paths.reference()
    maps = kernel_shap(paths.referred(wanted, "blocks", chunk_size=5), segments=4, score="logit")[0, 0]
    assert len(np.unique(maps)) == 4
    np.testing.assert_allclose(blocks_of(maps), wanted["shapley"], atol=1e-9)
    # captum draws coalitions, some of them more often than others.
    np.testing.assert_allclose(blocks_of(maps), wanted["kernel_shap"], atol=0.1 * np.abs(wanted["shapley"]).max())


def squares(images, p):
    """Where a superpixel is hidden, what differs inside it is gone."""
    return jnp.tanh((images**2).mean(range(1, images.ndim - 1)) @ p)


def blocks(*count):
    """An input of twelve places along each axis, of that many blocks, each with noise in its colour."""
    rng = np.random.default_rng(3)
    colours = rng.permutation(int(np.prod(count))).reshape(1, *count, 1) + np.zeros(2)
    whole = np.kron(colours, np.ones((1, *(12 // each for each in count), 1)))
    return whole / colours.max() + 0.02 * rng.standard_normal(whole.shape)


def case(images, targets, **options):
    return Case(squares, jnp.asarray(normal(9, 2, 3)), jnp.asarray(images), jnp.asarray(targets), **options)


@pytest.mark.long
@pytest.mark.usefixtures("float64")
def test_neither_chunks_nor_the_batch_change_anything():
    x, targets = np.concatenate([blocks(side, side) for side in (2, 3, 4)]), np.array([[0, 2], [1, 0], [2, 1]])
    options = {"samples": 30, "segments": 9, "score": "logit"}
    whole = np.asarray(kernel_shap(case(x, targets), **options))
    backwards = case(x[::-1].copy(), targets[::-1].copy(), chunk_size=7)
    np.testing.assert_allclose(np.asarray(kernel_shap(backwards, **options))[::-1], whole, atol=1e-9)
    for b in range(3):
        alone = kernel_shap(case(x[b : b + 1], targets[b : b + 1]), **options)
        np.testing.assert_allclose(alone[0], whole[b], atol=1e-9)
    assert len({len(np.unique(each[0])) for each in whole} - {1}) == 3


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("count", [(4,), (1, 2, 2)])
def test_of_signals_and_volumes_they_sum_to_the_difference_too(count):
    """Superpixels have each a value of its own."""
    x = blocks(*count)
    example = case(x, [[1]])
    maps = np.asarray(kernel_shap(example, samples=20, segments=4, score="logit"))[0, 0]
    values, regions = np.unique(maps, return_inverse=True)
    assert len(values) > 2
    regions = regions.reshape(maps.shape)
    none = x[0].copy()
    for region in range(len(values)):
        none[regions == region] = x[0][regions == region].mean(0)
    scores = [squares(jnp.asarray(each)[None], example.parameters)[0, 1] for each in (x[0], none)]
    np.testing.assert_allclose(values.sum(), scores[0] - scores[1], atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8, 8, 2), {"samples": 1}, "samples and segments must be at least 2; got 1 and 50"),
        ((8, 8, 2), {"segments": 1}, "samples and segments must be at least 2; got 1000 and 1"),
        ((8, 8, 2), {"score": "loss"}, "score must be logit.* probability.*; got 'loss'"),
        ((2,), {}, "kernel_shap finds superpixels of signals, images and volumes; got images of"),
        ((1, 1, 8, 8, 2), {}, "kernel_shap finds superpixels of signals, images and volumes; got images of"),
    ],
)
def test_bad_options_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        kernel_shap(case(np.float32(normal(5, 1, *shape)), [[0]]), **options)


def test_inside_jit_it_says_that_it_cannot(monkeypatch):
    x = np.float32(normal(5, 1, 8, 8, 2))
    with pytest.raises(ValueError, match="kernel_shap finds superpixels on the host: it cannot run inside jit"):
        jax.jit(lambda x: kernel_shap(case(x, [[0]])))(x)
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(ImportError, match=r"kernel_shap needs scikit-image: pip install xrcam-jax\[perturbation\]"):
        kernel_shap(case(x, [[0]]))
