"""FullGrad: its terms sum to the logit, each is what it is said to be, and the map is a loop over them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy import ndimage

import xrcam_jax as xr
from tests.explain import small
from xrcam_jax.attribution.case import Case
from xrcam_jax.cam.full_grad import full_grad, full_gradients

pytestmark = pytest.mark.usefixtures("float64")
TARGETS = jnp.array([[0, 1], [2, 0]])


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape))


def convolved(x, kernel, order="NHWC"):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=(order, "HWIO", order))


def parameters():
    shapes = {"conv": (3, 3, 2, 3), "other": (3, 3, 3, 4), "head": (4, 3)}
    return {
        **{name: drawn(*shape) / np.sqrt(np.prod(shape[:-1])) for name, shape in shapes.items()},
        **{f"{name} bias": drawn(shape[-1], seed=1) for name, shape in shapes.items()},
        **{name: drawn(3, seed=seed) for seed, name in enumerate(("mean", "scale", "offset"), start=2)},
        "var": drawn(3, seed=5) ** 2 + 0.5,
    }


def channels(a, order):
    return a if order == "NHWC" else a[:, None, None]


def relu_network(x, p, order="NHWC"):
    """conv, batch norm, ReLU, max pool, conv, ReLU, mean, dense: all of it with biases, in either order of axes."""
    x = x if order == "NHWC" else x.transpose(0, 3, 1, 2)
    x = convolved(x, p["conv"], order) + channels(p["conv bias"], order)
    mean, offset, factor = p["mean"], p["offset"], p["scale"] / jnp.sqrt(p["var"] + 1e-5)
    x = (x - channels(mean, order)) * channels(factor, order) + channels(offset, order)
    x = jax.nn.relu(x)
    window = (1, 2, 2, 1) if order == "NHWC" else (1, 1, 2, 2)
    x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
    x = jax.nn.relu(convolved(x, p["other"], order) + channels(p["other bias"], order))
    return x.mean((1, 2) if order == "NHWC" else (2, 3)) @ p["head"] + p["head bias"]


def other_network(x, p):
    """What has implicit biases: GELU, gates, layer norm, constants beside values, attention, a loop and remat."""
    h = jax.nn.gelu(convolved(x, p["conv"]) + p["conv bias"])
    h = h * jax.nn.sigmoid(h.mean((1, 2), keepdims=True))
    h = (h - h.mean(-1, keepdims=True)) / jnp.sqrt(h.var(-1, keepdims=True) + 1e-5) * p["scale"] + p["offset"]
    h = jax.nn.hard_swish(h) + jnp.where(h > 1, h, 2.0) + jnp.maximum(h, -0.5)
    tokens = jnp.concatenate([jnp.ones((len(h), 1, 3)), h.reshape(len(h), -1, 3)], 1)
    tokens = jax.nn.softmax(tokens @ tokens.transpose(0, 2, 1)) @ tokens
    tokens, _ = lax.scan(lambda t, _: (jnp.tanh(t) + 1, None), tokens, length=2)
    tokens = jax.checkpoint(lambda t: jnp.log(1 + t**2) + 1)(tokens)
    return tokens.mean(1) @ p["head"][:3] + p["head bias"]


@pytest.fixture(scope="module")
def case():
    with jax.enable_x64(True):
        return Case(relu_network, parameters(), drawn(2, 8, 8, 2), TARGETS)


@pytest.fixture(scope="module")
def terms(case):
    with jax.enable_x64(True):
        return full_gradients(case)


def total(terms):
    return sum(np.asarray(a).sum(tuple(range(2, a.ndim))) for a in (*terms.inputs, *terms.biases))


def test_the_terms_of_a_relu_network_sum_to_the_logit(case, terms):
    logits = np.take_along_axis(np.asarray(relu_network(case.images, case.parameters)), np.asarray(TARGETS), 1)
    np.testing.assert_allclose(total(terms), logits, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(terms.error, 0, atol=1e-12)


def test_biases_are_those_of_convolutions_batch_norm_and_the_head(case, terms):
    """Summed over places they are a parameter times its derivative: of batch norm the offset and the mean together."""
    assert [a.shape[2:] for a in terms.biases] == [(8, 8, 3), (8, 8, 3), (4, 4, 4), (3,)]
    p = case.parameters
    for i, t in np.ndindex(2, 2):

        def logit(p, image=case.images[i : i + 1], target=int(TARGETS[i, t])):
            return relu_network(image, p)[0, target]

        slope = {name: p[name] * d for name, d in jax.grad(logit)(p).items()}
        wanted = [slope["conv bias"], slope["offset"] + slope["mean"], slope["other bias"], slope["head bias"]]
        for found, each in zip(terms.biases, wanted, strict=True):
            np.testing.assert_allclose(found[i, t].reshape(-1, len(each)).sum(0), each, rtol=1e-10, atol=1e-13)


def test_the_terms_of_any_network_sum_to_the_logit():
    x, p = drawn(2, 8, 8, 2, seed=3), parameters()
    found = full_gradients(Case(other_network, p, x, TARGETS))
    logits = np.take_along_axis(np.asarray(other_network(x, p)), np.asarray(TARGETS), 1)
    np.testing.assert_allclose(total(found), logits, rtol=1e-10)
    np.testing.assert_allclose(found.error, 0, atol=1e-10)
    assert len(found.biases) > 10


@pytest.mark.parametrize("rescale", ["channel", "layer"])
def test_the_map_is_the_loop_over_what_has_places(rescale, case, terms):
    def shown(term):
        scaled = np.zeros((8, 8))
        size = np.abs(np.asarray(term))
        for k in range(size.shape[-1]):
            of = size[..., k] if rescale == "channel" else size
            strength = (size[..., k] - of.min()) / (of.max() - of.min())
            # OpenCV's enlargement by 2: linear between the centres of pixels, constant beyond the outermost.
            centres = (np.arange(8) + 0.5) * strength.shape[0] / 8 - 0.5
            at = np.meshgrid(centres, centres, indexing="ij")
            scaled += ndimage.map_coordinates(strength, at, order=1, mode="nearest")
        return scaled

    found = full_grad(case, rescale=rescale)
    np.testing.assert_array_equal(found.error, terms.error)
    for i, t in np.ndindex(2, 2):
        wanted = sum(shown(a[i, t]) for a in (terms.inputs[0], *terms.biases[:3]))
        np.testing.assert_allclose(found.maps[i, t], wanted, rtol=1e-10)


def test_the_order_of_axes_within_the_network_does_not_matter(case):
    found = full_grad(Case(lambda x, p: relu_network(x, p, "NCHW"), case.parameters, case.images, TARGETS))
    np.testing.assert_allclose(found.maps, full_grad(case).maps, rtol=1e-10)


@pytest.mark.parametrize("space", [(9,), (3, 4, 5)])
def test_signals_and_volumes_and_one_output(space):
    """Without convolutions between them, places are those of the input."""
    x, bias = drawn(2, *space, 2), drawn(2, seed=7)
    model = lambda x, p: jax.nn.relu(x + p).sum(range(1, x.ndim))[:, None]  # noqa: E731
    found = full_gradients(Case(model, bias, x, jnp.array([[0, 1], [1, 0]])))
    z = np.asarray(model(x, bias))[:, 0]
    np.testing.assert_allclose(total(found), [[-z[0], z[0]], [z[1], -z[1]]], rtol=1e-12)
    e = xr.attribute(lambda x: model(x, bias), x, "full_grad", [1, 1])
    assert e.maps["full_grad"]["input"].shape == (2, *space)
    assert float(e.maps["full_grad"]["input"].max()) == pytest.approx(1)
    np.testing.assert_allclose(e.errors["full_grad"]["input"], 0, atol=1e-12)


def test_without_biases_it_is_gradient_times_input_by_size():
    model, x = small.Network(small.weights(dtype=np.float64)), small.images(dtype=np.float64)
    e = xr.Explainer(model, ("full_grad", "gradient_x_input"))(x)
    size = np.abs(np.asarray(e.attributions["gradient_x_input"]["input"]))
    low, high = (f(size, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    np.testing.assert_allclose(e.raw["full_grad"]["input"], ((size - low) / (high - low)).sum(-1), rtol=1e-10)
