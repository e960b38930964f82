"""What Quantus 0.6 says of a small network, with the same noise and the same networks drawn anew.

``tests/references/make_quantus.py`` says what each array is. Quantus gives a picture up whose class noise changes, as
the papers do not: such figures are NaN there, and only the others are compared.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

import xrcam_jax as xr
from tests.oracle import DATA
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.scores import changed_scores
from xrcam_jax.metrics import axioms, randomisation, sensitivity, stability

QUANTUS = np.load(DATA / "quantus.npz")
LAYERS = ("conv1", "conv2", "fc")


def model(images, parameters):
    """Returns the logits of Quantus's network, whose flattened channels come first."""
    a = jnp.maximum(_convolved(images, parameters["conv1"]), 0)
    a = a.reshape(len(a), 5, 2, 5, 2, -1).mean((2, 4))
    a = jnp.maximum(xr.mark(_convolved(a, parameters["conv2"]), "conv2"), 0)
    return jnp.moveaxis(a, -1, 1).reshape(len(a), -1) @ parameters["fc"]["kernel"] + parameters["fc"]["bias"]


def _convolved(x, layer):
    found = jax.lax.conv_general_dilated(
        x, layer["kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return found + layer["bias"]


def gradient(images, parameters, targets):
    def total(x):
        return jnp.take_along_axis(model(x, parameters), targets, axis=1).sum()

    return jax.grad(total)(images).sum(-1)[None]


def gradient_x_input(images, parameters, targets):
    def total(x):
        return jnp.take_along_axis(model(x, parameters), targets, axis=1).sum()

    return (jax.grad(total)(images) * images).sum(-1)[None]


def channels_last(a):
    return jnp.moveaxis(jnp.asarray(a), -3, -1)


def weights(prefix=""):
    def layer(name):
        kernel = QUANTUS[f"{prefix}{name}_w"]
        kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
        return {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(QUANTUS[f"{prefix}{name}_b"])}

    return {name: layer(name) for name in LAYERS}


@pytest.fixture(scope="module")
def case():
    targets = jnp.asarray(QUANTUS["labels"], jnp.int32)[:, None]
    return Case(model, weights(), channels_last(QUANTUS["images"]), targets)


@pytest.fixture(scope="module")
def maps():
    return jnp.asarray(QUANTUS["maps"][:1])


def same(found, expected, rtol=1e-5):
    known = ~np.isnan(expected)
    assert known.sum() > known.size // 2
    np.testing.assert_allclose(np.asarray(found)[known], expected[known], rtol=rtol, atol=1e-6)


def test_explanations_are_the_same(case, maps):
    np.testing.assert_allclose(gradient_x_input(case.images, case.parameters, case.targets), maps, atol=1e-5)


def test_sensitivities(case, maps):
    found = sensitivity.noisy_distances(case, gradient_x_input, maps, draws=channels_last(QUANTUS["noise"]))
    same(found.max_sensitivity()[0], QUANTUS["max_sensitivity"])
    same(found.avg_sensitivity()[0], QUANTUS["avg_sensitivity"])
    same(found.local_lipschitz()[0], QUANTUS["local_lipschitz"])


def test_relative_stabilities(case, maps):
    given = case, gradient_x_input, maps
    found = stability.neighbours(*given, layer="conv2", draws=channels_last(QUANTUS["noise"]))
    # Small values of maps are divided by, in float32.
    same(found.relative_input_stability()[0], QUANTUS["relative_input_stability"], 1e-3)
    same(found.relative_output_stability()[0], QUANTUS["relative_output_stability"], 1e-3)
    same(found.relative_representation_stability()[0], QUANTUS["relative_representation_stability"], 1e-3)


@pytest.mark.parametrize("order", ["top_down", "bottom_up", "independent"])
def test_networks_drawn_anew(case, maps, order):
    given = case, gradient_x_input, maps
    curve = randomisation.mprt_curve(*given, order=order, drawn=weights("random_"))
    # Their curve begins with the trained network. Of two values that are almost the same rounding may exchange ranks.
    same(curve[:, 0], QUANTUS[f"mprt_{order}"][1:], 1e-4)


def test_smooth_maps_of_networks_drawn_anew(case, maps):
    draws = channels_last(np.concatenate([QUANTUS["smooth_noise"], np.zeros_like(QUANTUS["smooth_noise"][:1])]))
    options = {"order": "bottom_up", "drawn": weights("random_"), "noise": 0.1, "draws": draws}
    found = randomisation.smooth_mprt(case, gradient_x_input, maps, **options)
    same(found[0], QUANTUS["smooth_mprt"][1:].mean(0), 1e-4)


def test_the_rise_in_complexity(case, maps):
    found = randomisation.efficient_mprt(case, gradient_x_input, maps, bins=20, drawn=weights("random_"))
    same(found[0], QUANTUS["efficient_mprt"])


def test_another_class(case, maps):
    others = QUANTUS["off_labels"][:, None]
    found = randomisation.random_logit(case, gradient_x_input, maps, similarity="spearman", others=others)
    same(found[0], QUANTUS["random_logit_spearman"])


def test_their_structural_similarity_is_that_of_rows_laid_end_to_end(case, maps):
    """The paper's, and ours, is that of squares of pixels."""
    others = jnp.asarray(QUANTUS["off_labels"], jnp.int32)[:, None]
    of_others = np.array(gradient_x_input(case.images, case.parameters, others)[0], np.float64)
    found = randomisation.random_logit(case, gradient_x_input, maps, others=others)
    for i, (a, b) in enumerate(zip(np.array(maps[0], np.float64), of_others, strict=True)):
        span = max(a.max(), b.max()) - min(a.min(), b.min())
        in_line = structural_similarity(a.ravel(), b.ravel(), win_size=7, data_range=span)
        assert in_line == pytest.approx(QUANTUS["random_logit_ssim"][i], abs=1e-5)
        assert float(found[0, i]) == pytest.approx(structural_similarity(a, b, win_size=7, data_range=span), abs=1e-5)


def test_where_their_sums_are_the_same_floats_the_residual_is_that_of_rounding(case):
    exact = jnp.asarray(QUANTUS["completeness_maps"].sum(1))[None]
    black = case.images.min((1, 2, 3), keepdims=True)
    residual = axioms.completeness(case, exact, baseline=black)[0]
    assert ((residual < 1e-5) == (QUANTUS["completeness"] == 1)).all()


def test_pixels_that_turn_black(case):
    """Their count is of channels, all three of which take part; the difference of scores is compared with 0.01."""

    def black(images, index, state):
        here = (jnp.arange(144).reshape(12, 12) == index)[None, ..., None]
        return jnp.where(here, images.min((1, 2, 3), keepdims=True), images)

    scores = changed_scores(case, black, 145, score="logit")[..., 0]
    influences = jnp.abs(scores[:-1] - scores[-1])
    found = axioms.missed_patches(influences, QUANTUS["maps"], tolerance=0.01)
    np.testing.assert_array_equal(3 * found, QUANTUS["non_sensitivity"])


def test_the_gradient_is_invariant_and_gradient_x_input_is_not(case, maps):
    """Quantus compares floats: of one picture, rounding makes it say that the gradient is not invariant."""

    def by_biases(explain, shift):
        def explained(images, parameters, targets):
            kernel, bias = parameters["conv1"]["kernel"], parameters["conv1"]["bias"]
            undone = parameters | {"conv1": {"kernel": kernel, "bias": bias - shift * kernel.sum((0, 1, 2))}}
            return explain(images, undone, targets)

        return explained

    plain = gradient(case.images, case.parameters, case.targets)
    np.testing.assert_allclose(
        axioms.input_invariance(case, partial(by_biases, gradient), plain, shift=-1), 0, atol=1e-5
    )
    assert QUANTUS["input_invariance_gradient"].any()
    found = axioms.input_invariance(case, partial(by_biases, gradient_x_input), maps, shift=-1)
    assert found.min() > 0.1
    assert not QUANTUS["input_invariance"].any()
