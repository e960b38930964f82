"""Axioms of attributions: closed forms of linear and quadratic networks, and a network that undoes a shift."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.metrics import quadratic
from xrcam_jax.attribution.case import INPUT, Case
from xrcam_jax.attribution.gradients import integrated_gradients
from xrcam_jax.explain.again import explain_again, stacked_maps
from xrcam_jax.metrics import axioms
from xrcam_jax.metrics.patches import patch_largest, patch_numbers, patch_sums

SHIFT = 0.75


@pytest.fixture(scope="module")
def case():
    return quadratic.case(seed=6)


@pytest.fixture(scope="module")
def linear(case):
    return replace(case, parameters=case.parameters | {"a": {"kernel": 0 * case.parameters["a"]["kernel"]}})


def test_gradient_x_input_is_complete_where_the_network_is_linear(case, linear):
    gradient_x_input = quadratic.maps_of(linear)[1:]
    np.testing.assert_allclose(axioms.completeness(linear, gradient_x_input), 0, atol=1e-4)
    np.testing.assert_allclose(axioms.completeness(linear, 1.5 * gradient_x_input), 0.5, rtol=1e-4)
    # Of squares it counts twice what they contribute.
    squares = replace(case, parameters=case.parameters | {"b": {"kernel": 0 * case.parameters["b"]["kernel"]}})
    np.testing.assert_allclose(axioms.completeness(squares, quadratic.maps_of(squares)[1:]), 1, rtol=1e-4)


def test_integrated_gradients_are_complete_from_any_baseline(case):
    values = integrated_gradients(case, INPUT, baseline=0.5, steps=2).values[:, 0].sum(-1)
    np.testing.assert_allclose(axioms.completeness(case, values[None], baseline=0.5), 0, atol=1e-4)
    assert axioms.completeness(case, values[None], baseline=0.0).min() > 0.01


def test_the_residual_is_that_of_a_loop(case):
    maps, network = quadratic.maps_of(case), quadratic.InNumPy(case)
    found = axioms.completeness(case, maps, baseline=0.1, score="probability")
    for i, x, target in quadratic.each(case):
        difference = network.probability(x, target) - network.probability(np.full_like(x, 0.1), target)
        claimed = network.maps(x, target).sum((1, 2))
        np.testing.assert_allclose(found[:, i], abs(claimed - difference) / abs(difference), rtol=1e-3)


def of_three_pixels(images, parameters):
    """Returns a value that depends on three pixels of one row."""
    return jnp.stack([images[:, 1, :3].sum((1, 2)), 0 * images[:, 0, 0, 0]], axis=1)


def test_pixels_are_counted_that_a_map_takes_for_others(case):
    known = Case(of_three_pixels, (), case.images, jnp.zeros((3, 1), int))
    right = np.zeros((3, *quadratic.SHAPE[:3]), np.float32)
    right[:, :, 1, :3] = 1
    right[1, :, 1, 0], right[1, :, 3, 3:] = 0, -1
    right[2] = 0
    found = axioms.non_sensitivity(known, right, nr_samples=2, score="logit")
    np.testing.assert_array_equal(found, np.repeat([[0], [3], [3]], 3, axis=1))
    # In squares of 2 pixels the rows 0 and 1 are together, and columns 0 and 1, 2 and 3, and 4 by itself.
    of_squares = axioms.non_sensitivity(known, right, patch=2, nr_samples=2, score="logit")
    np.testing.assert_array_equal(of_squares, np.repeat([[0], [2], [2]], 3, axis=1))


def test_influences_are_those_of_redrawn_pixels(case):
    known = Case(of_three_pixels, (), case.images, jnp.zeros((3, 1), int), chunk_size=7)
    found = axioms.patch_influences(known, nr_samples=40, score="logit")
    influences = np.array(found).reshape(4, 5, 3)
    assert (influences[1, :3] > 0).all()
    influences[1, :3] = 0
    np.testing.assert_allclose(influences, 0, atol=1e-10)
    # For u uniform in [low, high], E (x - u)² is the variance of u and the square of x less the mean of u.
    for i, x, _ in quadratic.each(known):
        low, high = x.min(), x.max()
        expected = 2 * (high - low) ** 2 / 12 + (x[1, :3].sum(-1) - (high + low)) ** 2
        np.testing.assert_allclose(found.reshape(4, 5, 3)[1, :3, i], expected, rtol=0.75)
    few = replace(known, images=known.images[1:], targets=known.targets[1:], chunk_size=None)
    np.testing.assert_allclose(
        axioms.patch_influences(few, nr_samples=40, score="logit"), found[:, 1:], rtol=1e-4, atol=1e-10
    )


@pytest.fixture(scope="module")
def network():
    """Returns a network without padding, so that the biases of its first layer can undo a shift."""
    random = np.random.default_rng(0)
    kernel, head = random.normal(size=(2, 4)).astype(np.float32), random.normal(size=(4, 3)).astype(np.float32)

    def of_bias(bias):
        def network(images):
            return jnp.maximum(images @ kernel + bias, 0).mean((1, 2)) @ head

        return network

    return of_bias, kernel


def test_a_network_that_undoes_the_shift_by_its_biases_is_explained_alike(case, network):
    """Kindermans' network has other biases; ours takes the shift off before the first layer."""
    of_bias, kernel = network
    methods = ["gradient", "gradient_x_input"]
    plain = xr.Explainer(of_bias(np.zeros(4, np.float32)), methods)
    e = plain(case.images, case.targets[:, 0])
    maps = stacked_maps(e, raw=True)
    own = Case(plain._function, plain.parameters, case.images, case.targets)

    def shifted(shift):
        return explain_again(plain, raw=True, shift=shift)

    found = axioms.input_invariance(own, shifted, maps, shift=SHIFT)
    np.testing.assert_allclose(found[0], 0, atol=1e-5)
    assert found[1].min() > 0.01
    undone = xr.Explainer(of_bias(-SHIFT * kernel.sum(0)), methods)(case.images + SHIFT, case.targets[:, 0])
    others = stacked_maps(undone, raw=True).reshape(2, 3, -1)
    before = np.asarray(maps).reshape(2, 3, -1)
    expected = np.linalg.norm(others - before, axis=-1) / np.linalg.norm(before, axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_patches_that_do_not_divide_the_picture():
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    numbers, count = patch_numbers((4, 5), 3)
    parts = [maps[..., :3, :3], maps[..., :3, 3:], maps[..., 3:, :3], maps[..., 3:, 3:]]
    sums, largest = patch_sums(jnp.asarray(maps), numbers, count), patch_largest(jnp.asarray(maps), numbers, count)
    np.testing.assert_allclose(sums, np.stack([part.sum((-2, -1)) for part in parts], axis=-1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(largest, np.stack([part.max((-2, -1)) for part in parts], axis=-1))


def test_wrong_arguments(case):
    maps = quadratic.maps_of(case)
    with pytest.raises(ValueError, match="patch must be at least 1; got 0"):
        axioms.non_sensitivity(case, maps, patch=0)
    with pytest.raises(ValueError, match="influences must be those of the maps' 20 patches; got 3"):
        axioms.missed_patches(jnp.ones((3, 3)), maps)
    with pytest.raises(ValueError, match="tolerance must be a number from 0; got -1"):
        axioms.missed_patches(jnp.ones((20, 3)), maps, tolerance=-1)
    with pytest.raises(ValueError, match="shift must be a finite number other than 0; got inf"):
        axioms.input_invariance(case, lambda shift: quadratic.explain, maps, shift=float("inf"))
    with pytest.raises(ValueError, match="baseline must be a number or an array like the images"):
        axioms.completeness(case, maps, baseline=jnp.ones(7))
