"""Losses on explanations against loops and closed forms, and their gradients through the rules against differences."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.train.tiny import Tiny, examples, learner, prepare_eval
from xrcam_jax.marks import mark
from xrcam_jax.runtime.devices import place
from xrcam_jax.train import explanation_losses as losses
from xrcam_jax.train.explained import EXPLANATION_LOSSES, Explanation, explanation_values

RANDOM = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1])


def small(x, parameters):
    """Has two convolutions, a norm, pooling and a classifier."""
    first, second, scale, head = parameters
    same = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    x = jax.nn.relu(jax.lax.conv_general_dilated(x, first, **same) + 0.05)
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = mark(jax.nn.relu(jax.lax.conv_general_dilated(x, second, **same) * scale), "last")
    return x.mean((1, 2)) @ head


def parameters(classes=3):
    shapes = (3, 3, 2, 4), (3, 3, 4, 4), (4,), (4, classes)
    return [jnp.asarray(np.random.default_rng(i).normal(size=shape) / 2) for i, shape in enumerate(shapes)]


def batch():
    random = np.random.default_rng(1)
    outlines = np.zeros((5, 8, 8))
    outlines[0, :4], outlines[1, 2:5, 3:], outlines[3, 6:, :2] = 1, 1, 1
    return jnp.asarray(random.normal(size=(5, 8, 8, 2))), jnp.asarray(LABELS), jnp.asarray(outlines)


# A layer in the middle for each, and the picture itself for each kind of signal.
PLACES = [(name, "last", 3) for name in EXPLANATION_LOSSES]
PLACES += [("right_reasons", "input", 3), ("relevance_outside", "input", 3), ("relevance_outside", "last", 1)]


@pytest.mark.long(one_in=3)
@pytest.mark.parametrize(("name", "layer", "classes"), PLACES)
def test_gradients_through_the_rules_are_those_of_central_differences(name, layer, classes, float64):
    images, labels, outlines = batch()
    labels = labels % 2 if classes == 1 else labels
    flat, unravel = jax.flatten_util.ravel_pytree(parameters(classes))
    along = jnp.asarray(np.random.default_rng(2).normal(size=flat.shape))
    explanation, key = Explanation(name, layer), jax.random.key(3)
    weights = jnp.arange(1.0, 6.0)

    @jax.jit
    def value(at):
        values = explanation_values(explanation, small, unravel(flat + at * along), images, labels, outlines, key)
        return values @ weights

    h = 1e-4
    near, far = (value(each * h) - value(-each * h) for each in (1, 2))
    slope = (8 * near - far) / (12 * h)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(jax.jit(jax.grad(value))(0.0), slope, rtol=1e-6)


@pytest.mark.parametrize("name", EXPLANATION_LOSSES)
def test_order_changes_nothing_and_pictures_without_outlines_count_nothing(name, float64):
    images, labels, outlines = batch()
    order, explanation, key = np.array([3, 0, 4, 2, 1]), Explanation(name, "last"), jax.random.key(0)

    @jax.jit
    def values(images, labels, outlines):
        return explanation_values(explanation, small, parameters(), images, labels, outlines, key)

    found = np.asarray(values(images, labels, outlines))
    if not EXPLANATION_LOSSES[name].views:  # Which way a picture is turned goes by its place.
        np.testing.assert_allclose(values(images[order], labels[order], outlines[order]), found[order], rtol=1e-9)
    if EXPLANATION_LOSSES[name].outlines:
        assert (found[[2, 4]] == 0).all()
        assert (found[[0, 1, 3]] > 0).all()


def test_a_network_without_a_hidden_layer_has_the_gradient_that_ross_writes_down(float64):
    random = np.random.default_rng(4)
    x, w = random.normal(size=(3, 2, 2, 1)), random.normal(size=(4, 3))
    outlines = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 0]], [[1, 1], [0, 1]]], float)

    def model(x, w):
        return x.reshape(len(x), -1) @ w

    found = explanation_values(
        Explanation("right_reasons", "input"),
        model,
        jnp.asarray(w),
        jnp.asarray(x),
        jnp.asarray([0, 1, 2]),
        jnp.asarray(outlines),
        jax.random.key(0),
    )
    wanted = []
    for picture, outline in zip(x.reshape(3, 4), outlines.reshape(3, 4), strict=True):
        shares = np.exp(picture @ w) / np.exp(picture @ w).sum()
        # d/dx of the sum over k of log p_k is the sum of w_k less N times their mean by p.
        gradient = w.sum(1) - 3 * w @ shares
        wanted.append((gradient**2 * (1 - outline)).sum() if outline.any() else 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_contrastive_loss_is_that_of_a_loop(float64):
    features = RANDOM.normal(size=(5, 4))
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    wanted = []
    for i in range(5):
        others = [a for a in range(5) if a != i]
        whole = sum(np.exp(z[i] @ z[a] / 0.2) for a in others)
        alike = [a for a in others if LABELS[a] == LABELS[i]]
        wanted.append(-np.mean([np.log(np.exp(z[i] @ z[p] / 0.2) / whole) for p in alike]) if alike else 0)
    found = losses.supervised_contrastive(jnp.asarray(features), jnp.asarray(LABELS), temperature=0.2)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_features_and_maps_of_zero_have_finite_gradients(float64):
    zeros, labels = jnp.zeros((3, 2)), jnp.array([0, 0, 1])
    slopes = jax.grad(lambda x: losses.supervised_contrastive(x, labels).sum())(zeros)
    assert np.isfinite(slopes).all()
    maps = jnp.zeros((3, 2, 2, 1))
    assert losses.inconsistency(maps, maps + 1).tolist() == [1, 1, 1]
    assert losses.relevance_on(maps, maps[..., 0] + 0.5).tolist() == [1, 1, 1]
    assert losses.relevance_on(maps, maps[..., 0]).tolist() == [0, 0, 0]
    for loss in (losses.inconsistency, lambda a, b: losses.relevance_on(a, b[..., 0])):
        assert np.isfinite(jax.grad(lambda x, loss=loss: loss(x, maps + 1).sum())(maps)).all()


def test_each_picture_is_turned_its_own_way_and_back():
    x = RANDOM.normal(size=(8, 3, 3, 2))
    how = np.array([[i & 1, i & 2, i & 4] for i in range(8)], bool)
    found = np.asarray(losses.turned(jnp.asarray(x), jnp.asarray(how)))
    for each, before, (transposed, flipped, mirrored) in zip(found, x.astype(np.float32), how, strict=True):
        before = before.swapaxes(0, 1) if transposed else before
        before = before[::-1] if flipped else before
        np.testing.assert_array_equal(each, before[:, ::-1] if mirrored else before)
    np.testing.assert_array_equal(losses.turned(jnp.asarray(found), jnp.asarray(how), back=True), x.astype(np.float32))


def test_masks_of_layers_are_means_over_their_places(float64):
    """Also where places and pixels do not fit: then as of a mask that has each pixel as often as there are places."""
    mask = RANDOM.random((2, 8, 6))
    repeated = mask.repeat(3, 1).repeat(4, 2)
    found = losses.at_layer(jnp.asarray(mask), (3, 4))
    np.testing.assert_allclose(found, repeated.reshape(2, 3, 8, 4, 6).mean((2, 4)), rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "right_reason", "layer": "last"}, "did you mean 'right_reasons'"),
        ({"loss": "consistency", "layer": "last", "weight": 0.0}, "weight: 0.0 is not a positive number"),
    ],
)
def test_a_wrong_explanation_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Explanation(**options)


def test_missing_outlines_and_layers_are_refused():
    images, labels, outlines = batch()
    rest = (small, parameters(), images, labels)
    with pytest.raises(ValueError, match="the loss 'right_reasons' needs outlines"):
        explanation_values(Explanation("right_reasons", "last"), *rest, None, jax.random.key(0))
    with pytest.raises(ValueError, match="layer9"):
        explanation_values(Explanation("right_reasons", "layer9"), *rest, outlines, jax.random.key(0))
    with pytest.raises(ValueError, match="one is needed"):
        explanation_values(Explanation("right_reasons", "*t"), *rest, outlines, jax.random.key(0))


def test_a_step_adds_the_weighted_values_of_the_network_in_inference_mode():
    """Of microbatches too; and its gradient is that of the cross-entropy and the values together."""
    data = examples(8)
    data["outline"] = np.zeros((8, 16, 16, 1), np.uint8)
    data["outline"][:5, 4:12, 4:12] = 255
    model, explanation = Tiny(norm=False), Explanation("relevance_outside", "input", 2.0)
    weights = np.array([0.5, 1.0, 3.0])[data["label"]]

    def explained(kernel):
        network = nnx.clone(model)
        network.fc.kernel = nnx.Param(kernel)
        outlines = jnp.asarray(data["outline"][..., 0] / 255, jnp.float32)
        images, labels = prepare_eval(data["image"]), jnp.asarray(data["label"])
        key = jax.random.key(0)
        found = explanation_values(explanation, lambda x, _: network(x), (), images, labels, outlines, key)
        logs = jax.nn.log_softmax(network(images))[np.arange(8), data["label"]]
        return (weights * (-logs + 2 * found)).sum() / weights.sum(), found

    slope, values = jax.device_get(jax.grad(explained, has_aux=True)(model.fc.kernel[...]))
    assert (values[5:] == 0).all()
    for accumulate in (1, 2):
        mesh, state, step, _ = learner(
            model, class_weights=(0.5, 1.0, 3.0), explanation=explanation, accumulate=accumulate, rate=1e-2
        )
        before = state.params["fc"]["kernel"][...].copy()
        state, sums = step(state, place(mesh, data))
        assert float(sums.explanation) == pytest.approx(weights @ values, rel=1e-5)
        # The first moment of AdaMax is a tenth of the gradient.
        moment = state.optimiser[0].mu["fc"]["kernel"][...]
        np.testing.assert_allclose(moment, 0.1 * slope, atol=1e-6)
        assert not (state.params["fc"]["kernel"][...] == before).all()
