"""Figures of faithfulness are those that Quantus 0.6 gave for a small network, where the two mean the same."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xrcam_jax.attribution.case import Case
from xrcam_jax.metrics import drops, flipping, monotonicity, subsets, turns

REFERENCES = Path(__file__).parents[1] / "references" / "quantus.npz"
LAYERS = ("conv1", "conv2", "fc")


def network(images, parameters):
    """The network of the references, on pictures with channels last; their dense layer has channels first."""
    convolved = partial(
        jax.lax.conv_general_dilated,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
        precision="highest",
    )
    (first, first_bias), (second, second_bias), (dense, dense_bias) = parameters
    x = jax.nn.relu(convolved(images, first) + first_bias)
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))
    x = jax.nn.relu(convolved(x, second) + second_bias)
    return jnp.matmul(jnp.moveaxis(x, -1, 1).reshape(b, -1), dense.T, precision="highest") + dense_bias


@pytest.fixture(scope="module")
def references():
    with np.load(REFERENCES) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def case(references):
    images = jnp.asarray(np.moveaxis(references["images"], 1, -1))
    parameters = [tuple(jnp.asarray(references[f"{layer}_{part}"]) for part in "wb") for layer in LAYERS]
    return Case(network, parameters, images, jnp.asarray(references["labels"], jnp.int32)[:, None])


@pytest.fixture(scope="module")
def maps(references):
    return references["maps"]


@pytest.fixture(scope="module")
def black(case):
    """What Quantus calls black: the least value of each picture."""
    return jnp.broadcast_to(case.images.min((1, 2, 3), keepdims=True), case.images.shape)


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("baseline", ["black", "zero"])
def test_pixel_flipping(case, maps, black, references, baseline):
    fill = black if baseline == "black" else jnp.zeros_like(black)
    curve = flipping.flipped_scores(case, maps, per_step=4, fill=fill)
    same(jnp.moveaxis(curve[:, 1:], 1, 2), references[f"pixel_flipping_{baseline}"])


@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_region_perturbation(case, maps, black, references, order):
    curve = flipping.flipped_scores(case, maps, patch=4, per_step=1, order=order, fill=black)
    same(jnp.moveaxis(curve[:, :1] - curve[:, 1:], 1, 2), references[f"region_perturbation_{order}"])


def test_selectivity(case, maps, black, references):
    curve = flipping.flipped_scores(case, maps, patch=4, per_step=1, fill=black)
    same(jnp.moveaxis(curve[:, 1:], 1, 2), references["selectivity"])


def test_faithfulness_estimate(case, maps, black, references):
    found = monotonicity.faithfulness_estimate(case, maps, patch=1, per_feature=4, fill=black, score="logit")
    same(found, references["faithfulness_estimate"])


def test_monotonicity_arya(case, maps, black, references):
    found = monotonicity.monotonicity_arya(case, maps, per_step=48, fill=black)
    same(found, references["monotonicity_arya"])


def test_monotonicity_nguyen(case, maps, references):
    """Of the absolute maps: the paper's are absolute, and Quantus had been told to take maps as they are."""
    sizes = maps[2:]
    found = monotonicity.features(sizes, patch=1, per_feature=4)
    values = np.moveaxis(references["values"], 1, -1)
    scores = [monotonicity.scores_without_each(case, found, fill=jnp.asarray(each)) for each in values]
    same(
        monotonicity.losses_like_sizes(jnp.concatenate(scores, axis=2), found.sums),
        references["monotonicity_nguyen"][2:],
    )


def test_faithfulness_correlation(case, maps, black, references):
    pixels = np.zeros((20, 144), bool)
    np.put_along_axis(pixels, references["subsets"], True, axis=1)
    pixels = pixels.reshape(20, 12, 12)
    lost = drops.subset_drops(case, pixels, fill=black, score="logit")
    same(subsets.correlations(lost, drops.subset_sums(maps, pixels)), references["faithfulness_correlation"])


def test_sensitivity_n_of_quantus_is_another_figure(case, maps, black, references):
    """It correlates over pictures what is lost so far with what the last step's pixels have, and draws nothing."""
    found = turns.in_turn(maps, per_turn=4)
    scores = turns.replaced_scores(case, found, alone=False, fill=black, score="logit", steps=9)[:, :, 0]
    lost = scores[:, :1] - scores[:, 1:]
    for m, s in np.ndindex(4, 9):
        same(np.corrcoef(lost[m, s], found.sums[m, :, s])[0, 1], references["sensitivity_n"][m, s])


def test_infidelity(case, maps, references):
    """The stored noise is subtracted from all pixels: these are pictures of which all is replaced by that."""
    everything = np.ones((1, 12, 12), bool)
    lost, sums = [], []
    for noise in np.moveaxis(references["noise"], 1, -1):
        lost.append(drops.subset_drops(case, everything, fill=case.images - noise, score="logit"))
        sums.append(drops.subset_sums(maps * noise.sum(-1), everything))
    found = subsets.squared_errors(jnp.concatenate(lost), jnp.concatenate(sums, axis=1))
    same(found, references["infidelity"])
