"""Signals, images and volumes: equal where one axis has length 1, and against numpy, scipy and closed forms."""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy import ndimage

import xrcam_jax as xr
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.lime import lime
from xrcam_jax.attribution.perturbations import RandomMasks, occlusion, rise
from xrcam_jax.attribution.prediction_difference import prediction_difference
from xrcam_jax.cam import saliency, weights
from xrcam_jax.cam.channel_cams import from_corner_to_corner

pytestmark = pytest.mark.long(one_in=3)

#: A signal and a volume.
SHAPES = [(9,), (4, 6, 5)]


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convolved(x, kernel):
    letters = "DHW"[-(x.ndim - 2) :]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return lax.conv_general_dilated(x, jnp.asarray(kernel), (1,) * len(letters), "SAME", dimension_numbers=numbers)


def pooled(x, kind, start, sides):
    window = (1, *sides, 1)
    return lax.reduce_window(x, start, kind, window, window, "SAME")


@cache
def network(*sides):
    """conv, relu, max pool, conv, relu, mean, dense; kernels have these sides, and windows of the pool up to 2."""
    first, second, head = normal(1, *sides, 2, 4) / 3, normal(2, *sides, 4, 5) / 4, normal(3, 5, 3)

    def model(x):
        x = xr.mark(jax.nn.relu(convolved(x, first)), "first")
        x = pooled(x, lax.max, -jnp.inf, [min(side, 2) for side in sides])
        x = xr.mark(jax.nn.relu(convolved(x, second)), "last")
        return x.mean(range(1, x.ndim - 1)) @ head

    return model


SINGLE = ("xrelevance_cam", "eigen_grad_cam", "gradient")
MULTI = ("score_cam", "integrated_gradients")


@pytest.mark.long(but=["signal"])
@pytest.mark.parametrize(("shape", "methods"), [((6, 9), SINGLE + MULTI), ((9,), SINGLE)], ids=["image", "signal"])
def test_an_axis_of_length_one_changes_nothing(shape, methods):
    sides, x = (3,) * len(shape), normal(4, 2, *shape, 2)
    options = {name: value for name, value in {"integrated_gradients": {"steps": 2}}.items() if name in methods}
    wanted = xr.Explainer(network(*sides), methods, options=options)(x)
    found = xr.Explainer(network(1, *sides), methods, options=options)(x[:, None])
    for kind in ("maps", "raw"):
        for method, layer in product(methods, ("first", "last", "input")):
            expected = getattr(wanted, kind)[method].get(layer)
            if expected is not None:
                each = np.asarray(getattr(found, kind)[method][layer])
                assert each.shape[1] == 1
                np.testing.assert_allclose(each[:, 0], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(
        found.aggregate("xrelevance_cam")[:, 0], wanted.aggregate("xrelevance_cam"), rtol=1e-4, atol=1e-5
    )
    assert found.aggregate("xrelevance_cam").shape == (2, 1, *shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_upsampling_is_scipys(shape):
    size = tuple(2 * side + 1 for side in shape)
    x = normal(0, 2, *shape)
    found, corners = saliency.upsample(jnp.asarray(x), size), from_corner_to_corner(jnp.asarray(x), size)
    zoom = [large / side for large, side in zip(size, shape, strict=True)]
    for one, corner, each in zip(found, corners, x, strict=True):
        np.testing.assert_allclose(one, ndimage.zoom(each, zoom, order=1, mode="nearest", grid_mode=True), atol=1e-5)
        np.testing.assert_allclose(corner, ndimage.zoom(each, zoom, order=1, mode="nearest"), atol=1e-5)
    scaled = np.asarray(saliency.min_max(found, len(shape)))
    np.testing.assert_allclose([scaled[0].min(), scaled[1].min(), scaled[0].max(), scaled[1].max()], [0, 0, 1, 1])


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_are_those_of_the_equations(shape):
    a, s = normal(0, 2, *shape, 3), normal(1, 2, *shape, 3)
    space = tuple(range(1, a.ndim - 1))
    mean, total = s.mean(space, keepdims=True), a.sum(space, keepdims=True)
    positive = np.maximum(s, 0)
    alpha = np.where(s == 0, 0, s**2 / (2 * s**2 + total * s**3 + 1e-6))
    expected = {
        "grad_cam": mean,
        "layer_cam": positive,
        "xrelevance_cam": s.sum(space, keepdims=True) / (1e-9 + total),
        "grad_cam_pp": (alpha * positive).sum(space, keepdims=True),
    }
    for name, wanted in expected.items():
        found = getattr(weights, name)(jnp.asarray(a), jnp.asarray(s))
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5)
        maps = saliency.weighted_sum(jnp.asarray(a), found)
        np.testing.assert_allclose(maps, (a * wanted).sum(-1), rtol=1e-3, atol=1e-4 * np.abs(maps).max())
    rows = a[0].reshape(-1, 3) - a[0].reshape(-1, 3).mean(0)
    direction = np.asarray(weights.eigen_cam(jnp.asarray(a), jnp.asarray(a)))
    assert direction.shape == (2, *(1,) * len(shape), 3)
    np.testing.assert_allclose(abs(np.linalg.svd(rows)[2][0] @ direction[0].ravel()), 1, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_relevance_is_gradient_times_input_of_a_network_without_biases(shape):
    """Where nothing is negative, z+ is the rule of which gradient times input comes out, and conserves the output."""
    dims = len(shape)
    kernel, head = np.abs(normal(1, *(2,) * dims, 2, 3)), normal(2, 3, 2)

    def model(x):
        x = pooled(jax.nn.relu(convolved(x, kernel)), lax.max, -jnp.inf, (2,) * dims)
        x = pooled(x, lax.add, 0.0, (2,) * dims)
        return x.sum(range(1, dims + 1)) @ head

    x = jnp.asarray(np.abs(normal(3, 2, *shape, 2)))
    e = xr.attribute(model, x, "lrp", [1, 0], composite=xr.composites.epsilon_plus(eps=0))
    found, scores = e.attributions["lrp"]["input"], e.logits[jnp.array([0, 1]), jnp.array([1, 0])]
    np.testing.assert_allclose(found.sum(range(1, dims + 2)), scores, rtol=1e-4)
    gradient = jax.grad(lambda x: (model(x) * np.array([[0, 1], [1, 0]], np.float32)).sum())(x)
    np.testing.assert_allclose(found, gradient * x, rtol=1e-3, atol=1e-5 * np.abs(found).max())


@pytest.mark.parametrize(("shape", "window", "stride"), [((9,), (4,), (3,)), ((4, 6, 5), (2, 3, 2), (1, 3, 2))])
def test_occlusion_is_the_mean_over_the_windows_that_cover_a_place(shape, window, stride):
    kernel = normal(1, int(np.prod(shape)) * 2, 3)
    x = normal(2, 2, *shape, 2)

    def score(x):
        return np.tanh(x.reshape(len(x), -1) @ kernel / 4)[:, 1]

    totals, counts = np.zeros((2, *shape)), np.zeros(shape)
    starts = [range(0, side - size + step, step) for side, size, step in zip(shape, window, stride, strict=True)]
    for corner in product(*starts):
        place = tuple(slice(at, at + size) for at, size in zip(corner, window, strict=True))
        hidden = x.copy()
        hidden[:, *place] = 0.5
        totals[:, *place] += (score(x) - score(hidden)).reshape(2, *(1,) * len(shape))
        counts[place] += 1
    case = Case(
        lambda x, p: jnp.tanh(x.reshape(len(x), -1) @ p / 4), jnp.asarray(kernel), jnp.asarray(x), jnp.ones((2, 1), int)
    )
    found = occlusion(case, window=window, stride=stride, baseline=0.5)
    np.testing.assert_allclose(found[:, 0], totals / counts, atol=1e-5)


def brightness(corner):
    """A model that looks at one corner alone, with or against brightness there."""

    def model(images, parameters):
        inside = images[(slice(None), *(slice(side) for side in corner))]
        return inside.sum(range(1, images.ndim - 1)) * jnp.array([1.0, -1.0])

    return model


@pytest.mark.parametrize("shape", SHAPES)
def test_rise_is_the_loop_over_its_masks(shape):
    case = Case(brightness((2,) * len(shape)), (), jnp.asarray(normal(0, 1, *shape, 1)), jnp.zeros((1, 1), int))
    masks = RandomMasks(3, 0.5)
    total = 0.0
    for number in range(4):
        mask = np.asarray(masks.mask(jax.random.key(0), number, shape))
        score = (np.asarray(case.images)[0, ..., 0] * mask)[tuple(slice(2) for _ in shape)].sum()
        total = total + score * mask / (4 * 0.5)
    np.testing.assert_allclose(rise(case, samples=4, grid=3, score="logit")[0, 0], total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(8,), (3, 4, 4)])
def test_prediction_difference_is_in_the_patch_that_counts(shape):
    # A single bright place in the corner, that nothing around it foretells.
    image, corner = np.zeros((1, *shape, 1), np.float32), (1,) * len(shape)
    image[(0, *(slice(side) for side in corner))] = 1
    case = Case(brightness(corner), (), jnp.asarray(image), jnp.array([[0]]))
    found = np.asarray(prediction_difference(case, window=1, border=1, stride=1, samples=3))[0, 0]
    inside = np.zeros(shape, bool)
    inside[tuple(slice(side) for side in corner)] = True
    assert found[inside].sum() > 1, found
    np.testing.assert_allclose(found[~inside], 0, atol=1e-3)


def test_superpixels_of_signals_and_flat_volumes_are_those_of_images():
    x = jnp.asarray(normal(0, 1, 1, 24, 1))
    target = jnp.array([[0]])

    def coefficients(images):
        return lime(Case(brightness((24,) * (images.ndim - 2)), (), images, target), samples=20, segments=4)[0, 0]

    wanted = coefficients(x)
    assert len(np.unique(wanted)) > 1
    np.testing.assert_allclose(coefficients(x[:, 0]), wanted[0], atol=1e-6)
    np.testing.assert_allclose(coefficients(x[:, None])[0], wanted, atol=1e-6)
    with pytest.raises(ValueError, match=r"lime finds superpixels of signals, images and volumes; got images of"):
        coefficients(x[None, None])


def test_windows_by_default_and_what_does_not_fit():
    volume = jnp.asarray(normal(0, 1, 1, 20, 40, 1))
    case = Case(brightness((1, 2, 2)), (), volume, jnp.array([[0]]))
    np.testing.assert_array_equal(occlusion(case), occlusion(case, window=(1, 16, 16), stride=(1, 8, 8)))
    with pytest.raises(
        ValueError, match=r"window must be a number, or one for each of depth, height, width; got \(3, 3\)"
    ):
        occlusion(case, window=(3, 3))
    with pytest.raises(ValueError, match="window must have a depth of 1 to the image's 1; got 3"):
        occlusion(case, window=3)
    with pytest.raises(ValueError, match="grid must be a number, or one for each of depth, height, width"):
        rise(case, grid=(7, 7))


def test_layers_that_do_not_lie_in_the_space_of_the_images_are_refused():
    flat = lambda x: xr.mark(x.mean(1), "flat").mean((1, 2)) @ jnp.ones((2, 2))  # noqa: E731
    volume = normal(0, 1, 2, 4, 4, 2)
    for method, what in (("grad_cam", "a class activation map"), ("lrp", "a map")):
        with pytest.raises(
            ValueError, match=rf"layer 'flat' must be \(b, d, h, w, k\) for {what}, has shape \(1, 4, 4"
        ):
            xr.attribute(flat, volume, method, layers=["flat"])
    with pytest.raises(ValueError, match=r"none of shape \(b, w, k\) that could be chosen"):
        xr.attribute(lambda x: x.mean(1), normal(0, 1, 4, 2), "grad_cam")
