"""All metrics of the table, by one call, of a map that is right by construction and of a blind one.

The network is linear: a class's logit is the mean of four pixels. Each picture is 1 there and 0 elsewhere, so that the
gradient is the truth, and what a perfect map gets has a closed form.
"""

import math
from dataclasses import replace

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.explain.variants import base

SIDE, COUNT, PIXELS, INSIDE = 8, 4, 64, 4
CHANCE = INSIDE / PIXELS
#: What the truth gets; of those without a number, only that it is finite is known.
WANTED = {
    # The first of 16 steps takes all of the truth.
    "deletion+steps=16+score=logit": 1 / 32,
    "insertion+steps=16+score=logit": 31 / 32,
    "contrast+steps=16+score=logit": 1,
    "joint_faithfulness+steps=16+score=logit": 1,
    "confidence_drop+score=logit": 1,
    "average_drop+score=logit": 0,
    "increase+score=logit": 0,
    "adcc+score=logit": 3 / (1 + 1 / (1 - CHANCE) + 1),
    "pixel_flipping+per_step=4+score=logit": 1 / 32,
    "region_perturbation+patch=2+steps=16+fill=0.0+score=logit": 16 / 17,
    "selectivity+patch=2+score=logit": 1 / 32,
    "faithfulness_correlation+runs=50+subset_size=8+score=logit": 1,
    "faithfulness_estimate+score=logit": 1,
    "sensitivity_n+samples=20+score=logit": 1,
    "infidelity+samples=20": 0,
    "monotonicity_arya+score=logit": 1,
    "monotonicity_nguyen+fill=0.0+score=logit": 1,
    "irof+superpixels=4+score=logit": None,
    "road+noise=0.0+score=logit": 0,
    "sufficiency": 1,
    "consistency": 1,
    "relevance_mass_accuracy": 1,
    "mass_over_chance": 1,
    "relevance_rank_accuracy": 1,
    "pointing_game": 1,
    "iou": 1,
    "dice": 1,
    "precision": 1,
    "recall": 1,
    "attribution_localisation+weighted=true": 1 / CHANCE,
    "top_k_intersection+k=4": 1,
    "auc": 1,
    "focus": 1,
    "sparseness": 1 - CHANCE,
    "complexity": math.log(INSIDE),
    "effective_complexity": INSIDE,
    # A linear network has the same gradient everywhere.
    "local_lipschitz+nr_samples=2": 0,
    "max_sensitivity+nr_samples=2": 0,
    "avg_sensitivity+nr_samples=2": 0,
    "continuity": 0,
    "continuity_correlation": math.nan,
    "relative_input_stability+nr_samples=2+noise=0.01": 0,
    "relative_output_stability+nr_samples=2+noise=0.01": 0,
    "relative_representation_stability+nr_samples=2+noise=0.01+layer=pixels": 0,
    "mprt": None,
    "smooth_mprt+nr_samples=2": None,
    "efficient_mprt": None,
    # The other class's pixels are other ones.
    "random_logit+similarity=pearson": -CHANCE / (1 - CHANCE),
    "completeness": 0,
    "non_sensitivity+nr_samples=2+score=logit": 0,
    "input_invariance": 0,
}
BLIND = {
    "relevance_mass_accuracy": CHANCE,
    "mass_over_chance": 0,
    "relevance_rank_accuracy": CHANCE,
    "pointing_game": 0,
    "attribution_localisation": CHANCE,
    "top_k_intersection+k=4": CHANCE,
    "auc": 0.5,
    "focus": CHANCE,
    "sparseness": 0,
    "complexity": math.log(PIXELS),
    "effective_complexity": PIXELS,
    "contrast+steps=16+score=logit": 0,
    "joint_faithfulness+steps=16+score=logit": 0,
}


class Linear(nn.Module):
    """The mean of each class's pixels."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2, use_bias=False)(xr.mark(x, "pixels").reshape(len(x), -1))


@pytest.fixture(scope="module")
def planted():
    """The explainer, its explanation, and the truth."""
    classes = np.zeros((2, SIDE, SIDE), bool)
    classes[0, 2:4, 4:6] = classes[1, 6:8, 0:2] = True
    kernel = jnp.asarray(classes.reshape(2, -1).T / INSIDE, jnp.float32)
    explainer = xr.Explainer(Linear().bind({"params": {"Dense_0": {"kernel": kernel}}}), "gradient")
    targets = np.arange(COUNT) % 2
    truth = classes[targets]
    return explainer, explainer(truth[..., None].astype(np.float32), targets=targets), truth


def test_the_truth_is_perfect_by_every_metric(planted):
    explainer, e, truth = planted
    assert [base(name) for name in WANTED] == list(xr.METRICS)
    found = xr.evaluate(e, list(WANTED), masks=truth, explainer=explainer)
    for name, wanted in WANTED.items():
        figures = found[name, "gradient", "input"]
        assert figures.shape == (COUNT,)
        if wanted is None:
            assert np.isfinite(figures).all(), name
        else:
            np.testing.assert_allclose(figures, np.full(COUNT, wanted), rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_blind_map_is_at_chance(planted):
    explainer, e, truth = planted
    blind = replace(e, maps={"gradient": {"input": jnp.ones_like(e["gradient", "input"])}})
    found = xr.evaluate(blind, list(BLIND), masks=truth, explainer=explainer)
    for name, wanted in BLIND.items():
        np.testing.assert_allclose(found[name, "gradient", "input"], wanted, rtol=1e-5, atol=1e-6, err_msg=name)


ALONE = [
    f"{name}+k=4" if name == "top_k_intersection" else name
    for name, metric in xr.METRICS.items()
    if set(metric.needs) <= {"outlines"}
]


def of_maps(maps):
    maps = {"lrp": {"input": jnp.asarray(maps)}}
    return xr.Explanation(jnp.zeros((2, 2)), jnp.zeros(2, jnp.int32), maps, maps)


@pytest.fixture(scope="module")
def drawn():
    random = np.random.default_rng(0)
    return random.random((2, 4, 8)).astype(np.float32), random.random((2, 4, 8)) < 0.3


@pytest.fixture(scope="module")
def of_pictures(drawn):
    return xr.evaluate(of_maps(drawn[0]), ALONE, masks=drawn[1])


@pytest.mark.parametrize("space", [(32,), (2, 4, 4)], ids=["signals", "volumes"])
def test_signals_and_volumes_have_the_figures_of_their_pixels(drawn, of_pictures, space):
    maps, masks = (each.reshape(2, *space) for each in drawn)
    found = xr.evaluate(of_maps(maps), ALONE, masks=masks)
    for name in ALONE:
        wanted = of_pictures[name, "lrp", "input"]
        np.testing.assert_allclose(found[name, "lrp", "input"], wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_map_with_nan_has_no_figure(drawn, of_pictures):
    maps, masks = drawn
    maps = maps.copy()
    maps[0, 3, 7] = np.nan
    found = xr.evaluate(of_maps(maps), ALONE, masks=masks)
    for name in ALONE:
        first, second = found[name, "lrp", "input"]
        assert np.isnan(first), name
        assert second == pytest.approx(of_pictures[name, "lrp", "input"][1], rel=1e-6), name


def test_structural_similarity_is_of_pictures(planted):
    explainer, e, _ = planted
    maps = {"gradient": {"input": e["gradient", "input"].reshape(COUNT, -1)}}
    with pytest.raises(ValueError, match=r"similarity='ssim' compares maps of height and width; .* of \(64,\)"):
        xr.evaluate(replace(e, maps=maps), "random_logit", explainer=explainer)


def test_the_rise_over_no_entropy_is_undefined(planted):
    explainer, e, _ = planted
    found = xr.evaluate(replace(e, maps={"gradient": {"input": jnp.ones_like(e["gradient", "input"])}}),
                        "efficient_mprt", explainer=explainer)  # fmt: skip
    assert np.isnan(found["efficient_mprt", "gradient", "input"]).all()
