"""Networks of one output z, for both of their classes, against networks of two outputs that are built by hand.

These have -z and z as logits or, where probabilities count, -z/2 and z/2, whose softmax is the sigmoid of -z and z.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.explain import small

NAMES = tuple(name for name in xr.METHODS if not xr.METHODS[name].kind.needs_attention)
SINGLE_PASS = tuple(name for name in NAMES if xr.METHODS[name].kind.single_pass)
#: Of a class with a negative logit, these are to show what speaks for it. Of one of many they show the opposite.
BY_SIGN = ("lrp", "clrp")
#: What these find depends on the target's logit, or on how its probability changes, but for a factor.
LINEAR = ("cam", "grad_cam", "x_grad_cam", "hires_cam", "eigen_grad_cam", "gradient", "gradient_x_input", "smooth_grad")
LINEAR += ("integrated_gradients", "deep_lift", "lift_cam", "ablation_cam", "score_cam", "smoothed_score_cam")
LINEAR += ("finer_cam", "expected_gradients", "blur_integrated_gradients")
LINEAR += ("occlusion", "lime", "kernel_shap", "prediction_difference")
BOTH = np.array([[0, 1], [0, 1]])
OPTIONS = {
    **small.FEW,
    "smoothed_score_cam": {"samples": 1},
    "occlusion": {"window": 4, "stride": 4},
    "prediction_difference": {"window": 4, "border": 1, "stride": 4, "samples": 2},
}
CHANNELS, BIAS = 6, 5.0


def weights():
    """The kernels of a convolution and of a dense layer of one output."""
    rng = np.random.default_rng(4)
    kernel, head = rng.standard_normal((3, 3, 3, CHANNELS)) / 5, 20 * rng.standard_normal((CHANNELS, 1))
    return jnp.asarray(kernel, jnp.float32), jnp.asarray(head, jnp.float32)


@functools.cache
def network(*factors):
    """Convolution, ReLU, mean, dense: the network whose logits are z times each of the factors."""
    kernel, head = weights()
    rows = jnp.asarray(factors, jnp.float32)

    def model(x):
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return xr.mark(jax.nn.relu(x), "last").mean((1, 2)) @ (head * rows) + BIAS * rows

    return model


def images():
    """Pictures of which the network takes the first for class 0, the second for class 1."""
    return small.images(seed=11)


def explained(model, names):
    options = {name: OPTIONS.get(name, {}) for name in names}
    return xr.Explainer(model, names, options=options)(images(), BOTH)


@pytest.fixture(scope="module")
def found():
    return explained(network(1), NAMES)


@pytest.fixture(scope="module")
def z():
    found = np.asarray(network(1)(images()))[:, 0]
    assert (np.sign(found) == [-1, 1]).all()
    return found


def test_both_classes_are_explained_as_those_of_two_outputs(found, z):
    for name, by_layer in explained(network(-1, 1), SINGLE_PASS).raw.items():
        signs = np.sign(np.stack([-z, z], axis=1)) if name in BY_SIGN else np.ones((2, 2))
        assert found.raw[name].keys() == by_layer.keys()
        for layer, raw in by_layer.items():
            wanted = np.asarray(raw) * signs[:, :, None, None]
            np.testing.assert_allclose(found.raw[name][layer], wanted, atol=1e-4 * np.abs(wanted).max(), err_msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_no_map_is_blank_and_the_classes_differ(name, found):
    for maps in map(np.asarray, found.maps[name].values()):
        np.testing.assert_allclose(maps.max((2, 3)), 1, rtol=1e-6)
        # Principal components of the activations know no class, nor does the size of a gradient.
        if name not in ("eigen_cam", "kpca_cam", "gradient", "smooth_grad", "full_grad"):
            assert np.abs(maps[:, 0] - maps[:, 1]).max() > 0.05


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_linear_in_the_logit_has_the_opposite_sign_for_the_other_class(name, found):
    parts = found.attributions if name in ("gradient", "smooth_grad") else found.raw
    for values in map(np.asarray, parts[name].values()):
        np.testing.assert_allclose(values[:, 0], -values[:, 1], atol=1e-4 * np.abs(values).max())


def test_random_masks_are_weighted_by_the_probability_of_either_class(found):
    """The probabilities sum to 1, so that both maps together are the mean of the masks, whatever the network."""
    together = np.asarray(found.raw["rise"]["input"]).sum(1)
    np.testing.assert_allclose(together[0], together[1], rtol=1e-5)
    masks = xr.attribute(lambda x: 0 * x.mean((1, 2)), images(), "rise", [0, 0], **OPTIONS["rise"]).raw["rise"]["input"]
    np.testing.assert_allclose(together, 3 * masks, rtol=1e-5)


def test_the_gradient_is_that_of_the_logit(found):
    gradient = jax.grad(lambda x: network(1)(x).sum())(jnp.asarray(images()))
    for target, sign in ((0, -1), (1, 1)):
        at = found.attributions["gradient"]["input"][:, target]
        np.testing.assert_allclose(at, sign * gradient, atol=1e-5 * np.abs(gradient).max())


def test_the_sign_of_the_logit_predicts_and_the_other_class_comes_second(z):
    explain = xr.Explainer(network(1), "grad_cam", "last")
    e = explain(images())
    assert e.logits.shape == (2, 1)
    np.testing.assert_allclose(e.logits[:, 0], z, rtol=1e-5)
    assert e.targets.tolist() == [0, 1]
    assert explain(images(), top_k=2).targets.tolist() == [[0, 1], [1, 0]]
    assert jax.jit(explain)(jnp.asarray(images())).targets.tolist() == [0, 1]


def test_relevance_by_a_rule_that_divides_by_the_output_starts_at_the_targets_logit(z):
    rules = xr.composites.epsilon_plus(eps=1e-9, bias=False)
    found = xr.Explainer(network(1), ("lrp", "sglrp"), "last", composite=rules)(images(), BOTH).attributions
    relevance = np.asarray(found["lrp"]["last"])
    np.testing.assert_allclose(relevance.sum((2, 3, 4)), np.stack([-z, z], axis=1), rtol=1e-4)
    # Above the mark the network is linear but for its bias, so that relevance is what each value contributes to z.
    activation = xr.taps(network(1), rules, images(), seed=jnp.ones((2, 1))).activations["last"]
    speaks = activation * weights()[1][:, 0] / 256
    speaks *= (z / (z - BIAS))[:, None, None, None]
    for target, sign in ((0, -1), (1, 1)):
        np.testing.assert_allclose(relevance[:, target], sign * speaks, atol=1e-5 * np.abs(speaks).max())
    # Each class gets 1 against the other, and what speaks against one speaks for the other.
    wanted = 2 * speaks / np.abs(z)[:, None, None, None]
    np.testing.assert_allclose(found["sglrp"]["last"][:, 1], wanted, atol=1e-5 * np.abs(wanted).max())


def test_attention_is_rolled_out_for_both_classes():
    rng = np.random.default_rng(0)
    pictures, head = jnp.asarray(rng.standard_normal((2, 2, 2, 3)), jnp.float32), jnp.array([[1.0], [-2.0], [0.5]])

    def model(head):
        def attend(x):
            tokens = x.reshape(len(x), -1, 3)
            return (jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", tokens, tokens)) @ tokens).mean(1) @ head

        return attend

    one = xr.attribute(model(head), pictures, "chefer", BOTH).raw["chefer"]["input"]
    two = xr.attribute(model(jnp.concatenate([-head, head], axis=1)), pictures, "chefer", BOTH).raw["chefer"]["input"]
    np.testing.assert_allclose(one, two, rtol=1e-5)
    assert np.abs(one[:, 0] - one[:, 1]).max() > 0.01


def test_targets_and_shapes_of_others_are_refused():
    explain = xr.Explainer(network(1), "grad_cam", "last")
    with pytest.raises(ValueError, match="targets must be classes 0 to 1, found 2"):
        explain(images(), [0, 2])
    with pytest.raises(ValueError, match="top_k must be a whole number between 1 and the number of classes, 2; got 3"):
        explain(images(), top_k=3)
    with pytest.raises(ValueError, match=r"logits \(b, n\), and \(b, 1\) for a single one; got \(2,\)"):
        xr.attribute(lambda x: x.mean((1, 2, 3)), images(), "gradient")
