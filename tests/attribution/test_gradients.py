"""Integrated gradients and DeepLIFT: closed forms, loops in numpy, and completeness."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from scipy.special import roots_legendre

import xrcam_jax as xr
from tests.lrp import networks
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.gradients import deep_lift, deep_lift_from_zero, integrated_gradients
from xrcam_jax.explain.functional import as_function

pytestmark = pytest.mark.long(one_in=5)

TARGETS = np.array([[0, 2], [1, 0]])


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def case(function, parameters, images, targets=TARGETS, **options):
    return Case(function, jax.tree.map(jnp.asarray, parameters), jnp.asarray(images), jnp.asarray(targets), **options)


def quadratic(images, p):
    h = xr.mark(images * p["scale"] + 1, "scaled").reshape(len(images), -1)
    return jnp.einsum("bi,nij,bj->bn", h, p["q"], h) + h @ p["linear"]


def quadratic_parameters():
    return {"scale": normal(1, 1, 2, 2, 3), "q": normal(2, 3, 12, 12), "linear": normal(3, 12, 3)}


def contributions_to_quadratic(p, x, x0, layer):
    """x - x⁰ times the mean of the gradients at both ends, which is that of a quadratic on all the way."""
    h, h0 = (a * p["scale"] + 1 for a in (x, x0))
    found = np.zeros((2, 2, 2, 2, 3))
    for b, t in np.ndindex(2, 2):
        q = p["q"][TARGETS[b, t]]
        gradient = (q + q.T) @ (h[b] + h0[b]).ravel() / 2 + p["linear"][:, TARGETS[b, t]]
        found[b, t] = gradient.reshape(2, 2, 3) * (h[b] - h0[b])
    return found


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("layer", ["input", "scaled"])
@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 3), (2, 2, 3), (2, 1, 1, 1), (2, 2, 2, 3)])
def test_integrated_gradients_of_a_quadratic_function_are_exact(layer, shape):
    p, x, baseline = quadratic_parameters(), normal(4, 2, 2, 2, 3), normal(5, *shape)
    found = integrated_gradients(case(quadratic, p, x), layer, baseline=baseline, steps=2)
    x0 = np.broadcast_to(baseline, x.shape)
    np.testing.assert_allclose(found.values, contributions_to_quadratic(p, x, x0, layer), atol=1e-12)
    np.testing.assert_allclose(found.error, 0, atol=1e-11)


def smooth(images, p):
    h = xr.mark(jnp.tanh(images.reshape(len(images), -1) @ p[0]), "hidden")
    return jnp.tanh(h @ p[1]) @ p[2]


def smooth_parameters():
    return [normal(6, 12, 4), normal(7, 4, 5), normal(8, 5, 3)]


def smooth_from(p, layer, a):
    """The logits of one example, and their gradients by the activation ``a``."""
    h, jacobian = a, np.eye(len(a))
    if layer == "input":
        h = np.tanh(a @ p[0])
        jacobian = p[0] * (1 - h**2)
    last = np.tanh(h @ p[1])
    return last @ p[2], jacobian @ (p[1] * (1 - last**2)) @ p[2]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("layer", ["input", "hidden"])
@pytest.mark.parametrize("quadrature", ["gauss_legendre", "trapezoid"])
@pytest.mark.parametrize("steps", [2, 5])
def test_integrated_gradients_are_the_loop_over_the_path(layer, quadrature, steps):
    p, x, x0 = smooth_parameters(), normal(9, 2, 2, 2, 3), normal(10, 2, 2, 2, 3)
    found = integrated_gradients(
        case(smooth, p, x, chunk_size=2), layer, baseline=x0, steps=steps, quadrature=quadrature
    )
    for b, t in np.ndindex(2, 2):
        ends = [a[b].ravel() if layer == "input" else np.tanh(a[b].ravel() @ p[0]) for a in (x, x0)]
        between, target = ends[0] - ends[1], TARGETS[b, t]
        if quadrature == "trapezoid":
            alphas = np.linspace(0, 1, steps)
            gradients = [smooth_from(p, layer, ends[1] + a * between)[1][:, target] for a in alphas]
            mean = np.trapezoid(gradients, alphas, axis=0)
        else:
            nodes, weights = roots_legendre(steps)
            gradients = [smooth_from(p, layer, ends[1] + (n + 1) / 2 * between)[1][:, target] for n in nodes]
            mean = np.tensordot(weights / 2, gradients, axes=1)
        np.testing.assert_allclose(found.values[b, t].ravel(), mean * between, atol=1e-12)
        difference = smooth_from(p, layer, ends[0])[0][target] - smooth_from(p, layer, ends[1])[0][target]
        np.testing.assert_allclose(found.error[b, t], difference - (mean * between).sum(), atol=1e-12)
    assert np.abs(found.error).max() > 1e-4, "too exact to show that the error is that of the quadrature"


@pytest.mark.usefixtures("float64")
def test_more_steps_bring_completeness():
    x, p = normal(9, 2, 2, 2, 3), smooth_parameters()
    found = [np.abs(integrated_gradients(case(smooth, p, x), "input", steps=n).error).max() for n in (4, 16, 64)]
    assert found[0] > 10 * found[1] > 100 * found[2]
    assert found[2] < 1e-8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1}, "steps must be at least 2; got 1"),
        ({"quadrature": "simpson"}, "quadrature must be gauss_legendre or trapezoid; got 'simpson'"),
        ({"baseline": np.zeros((3, 2, 2, 3))}, r"baseline must be .*shape \(3, 2, 2, 3\) does not fit.*\(2, 2, 2, 3\)"),
        ({"baseline": np.zeros(2)}, r"baseline must be a number or an array like the images"),
    ],
)
def test_bad_options_of_integrated_gradients_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        integrated_gradients(case(smooth, smooth_parameters(), np.zeros((2, 2, 2, 3))), "input", **options)


def test_bad_options_of_deep_lift_are_refused():
    zeros = case(smooth, smooth_parameters(), np.zeros((2, 2, 2, 3)))
    with pytest.raises(ValueError, match="max_pool must be rescale or gradient; got 'max'"):
        deep_lift(zeros, "input", max_pool="max")
    with pytest.raises(ValueError, match="baseline must be a number or an array like the images"):
        deep_lift(zeros, "input", baseline=np.zeros(2))
    with pytest.raises(ValueError, match="hidden"):
        deep_lift(zeros, "hiden")


def mlp(images, p):
    h = jax.nn.relu(images.reshape(len(images), -1) @ p["w"][0] + p["b"][0])
    h = jax.nn.relu(xr.mark(h, "hidden") @ p["w"][1] + p["b"][1])
    return h @ p["w"][2] + p["b"][2]


def mlp_parameters():
    shapes = [(12, 6), (6, 5), (5, 3)]
    return {
        "w": [normal(20 + i, *s) for i, s in enumerate(shapes)],
        "b": [normal(30 + i, s[1]) for i, s in enumerate(shapes)],
    }


def rescaled(p, x, x0, target, layer):
    """DeepLIFT's rescale rule, one example at a time."""
    before, hidden = [], []
    for h in (x.ravel(), x0.ravel()):
        z1 = h @ p["w"][0] + p["b"][0]
        z2 = np.maximum(z1, 0) @ p["w"][1] + p["b"][1]
        before.append((z1, z2))
        hidden.append(np.maximum(z1, 0))
    m = p["w"][2][:, target]
    for i in (1, 0):
        z, z0 = before[0][i], before[1][i]
        m = p["w"][i] @ (m * (np.maximum(z, 0) - np.maximum(z0, 0)) / (z - z0))
        if i == 1 and layer == "hidden":
            return m * (hidden[0] - hidden[1])
    return m * (x - x0).ravel()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("layer", ["input", "hidden"])
def test_deep_lift_is_the_loop_of_the_rescale_rule(layer):
    p, x, x0 = mlp_parameters(), normal(11, 2, 2, 2, 3), normal(12, 2, 2, 2, 3)
    found = deep_lift(case(mlp, p, x), layer, baseline=x0)
    for b, t in np.ndindex(2, 2):
        wanted = rescaled(p, x[b], x0[b], TARGETS[b, t], layer)
        np.testing.assert_allclose(found.values[b, t].ravel(), wanted, atol=1e-12)
    np.testing.assert_allclose(found.error, 0, atol=1e-12)


def linear(images, p):
    return (xr.mark(images @ p[0], "mixed") + p[1]).mean((1, 2)) @ p[2] + 1


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", [deep_lift, partial(integrated_gradients, steps=2)])
def test_of_a_linear_model_contributions_are_gradient_times_difference(method):
    p, x, x0 = [normal(13, 3, 4), normal(14, 4), normal(15, 4, 3)], normal(16, 2, 2, 2, 3), normal(17, 3)
    found = method(case(linear, p, x), "input", baseline=x0)
    gradients = (p[0] @ p[2] / 4).T[TARGETS]
    np.testing.assert_allclose(found.values, gradients[:, :, None, None] * (x - x0)[:, None], atol=1e-13)
    at_mark = method(case(linear, p, x), "mixed", baseline=x0)
    wanted = (p[2] / 4).T[TARGETS][:, :, None, None] * ((x - x0) @ p[0])[:, None]
    np.testing.assert_allclose(at_mark.values, wanted, atol=1e-13)


@pytest.mark.usefixtures("float64")
def test_deep_lift_from_zero_puts_the_baseline_at_the_layer():
    p, x = mlp_parameters(), normal(11, 2, 2, 2, 3)
    found = deep_lift_from_zero(case(mlp, p, x), "hidden")
    hidden = np.maximum(x.reshape(2, 12) @ p["w"][0] + p["b"][0], 0)
    logits = [np.maximum(h @ p["w"][1] + p["b"][1], 0) @ p["w"][2] for h in (hidden, 0 * hidden)]
    assert found.values.shape == (2, 2, 6)
    np.testing.assert_allclose(found.values.sum(-1), np.take_along_axis(logits[0] - logits[1], TARGETS, 1), atol=1e-12)
    np.testing.assert_array_equal(np.asarray(found.values) * (hidden == 0)[:, None], 0)


def pooled(images, p):
    return lax.reduce_window(images, -jnp.inf, lax.max, (1, 1, 2, 1), (1, 1, 2, 1), "VALID").reshape(len(images), -1)


@pytest.mark.parametrize(
    ("x", "x0", "rescale", "gradient"),
    [
        ([1, 5], [4, 2], [0, 1], [0, 3]),  # rises by 1, all of it where the maximum now is
        ([1, 2], [4, 0], [-2, 0], [0, 2]),  # falls by 2, all of it where the maximum was
        ([3, 2], [1, 2], [1, 0], [2, 0]),
        ([7, 7], [7, 7], [0, 0], [0, 0]),
    ],
)
def test_a_change_of_the_maximum_belongs_to_the_place_that_made_it(x, x0, rescale, gradient):
    example = case(pooled, (), np.float32(x).reshape(1, 1, 2, 1), np.array([[1]]))
    baseline = np.float32(x0).reshape(1, 1, 2, 1)
    for max_pool, wanted in (("rescale", rescale), ("gradient", gradient)):
        found = deep_lift(example, "input", baseline=baseline, max_pool=max_pool)
        np.testing.assert_allclose(found.values.ravel(), wanted)
        np.testing.assert_allclose(found.error, max(x) - max(x0) - sum(wanted))


def lowest(images, p):
    return -pooled(-images, p)


def lowest_of_both(images, p):
    return jnp.minimum(images[:, 0, 0], images[:, 0, 1])


def lowest_of_all(images, p):
    return images.min((1, 2))


@pytest.mark.parametrize("function", [lowest, lowest_of_both, lowest_of_all])
@pytest.mark.parametrize(
    ("x", "x0", "wanted"),
    [
        ([5, 7], [5, 1], [0, 4]),  # rises by 4, all of it where the minimum was
        ([1, 7], [4, 5], [-3, 0]),  # falls by 3, all of it where the minimum now is
        ([6, 9], [4, 2], [0, 4]),
    ],
)
def test_a_change_of_the_minimum_likewise(function, x, x0, wanted):
    example = case(function, (), np.float32(x).reshape(1, 1, 2, 1), np.array([[1]]))
    found = deep_lift(example, "input", baseline=np.float32(x0).reshape(1, 1, 2, 1))
    np.testing.assert_allclose(found.values.ravel(), wanted)
    np.testing.assert_allclose(found.error, 0, atol=1e-5)


def attended(images, p):
    flat = images.reshape(len(images), -1)
    return flat * jax.nn.softmax(flat, axis=-1)


@pytest.mark.parametrize("level", [-300.0, 300.0])
def test_softmax_does_not_overflow_on_the_way_to_the_baseline(level):
    # all logits at one end are far below those at the other
    x = np.float32(level) + np.float32(normal(61, 2, 2, 2, 3))
    found = deep_lift(case(attended, (), x), "input")
    assert np.isfinite(found.values).all()
    np.testing.assert_allclose(found.error, 0, atol=1e-4 * np.abs(found.values).sum((2, 3, 4)).max())


def homogeneous(images, p):
    """No biases: of c x it is c times that of x."""
    return pooled(jax.nn.relu(images @ p[0]), p) @ p[1]


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6])
def test_the_scale_of_the_activations_does_not_matter(scale):
    p, (x, x0) = [normal(62, 3, 4), normal(63, 8, 3)], np.float32(normal(64, 2, 2, 2, 2, 3))
    p = jax.tree.map(np.float32, p)
    wanted = deep_lift(case(homogeneous, p, x), "input", baseline=x0)
    found = deep_lift(case(homogeneous, p, np.float32(scale) * x), "input", baseline=np.float32(scale) * x0)
    np.testing.assert_allclose(found.values / scale, wanted.values, atol=1e-4)
    np.testing.assert_allclose(found.error / scale, 0, atol=1e-4)
    assert np.abs(wanted.values).max() > 1


def gated(images, p):
    """Gates of both kinds, and extremes over windows, over axes and of two values."""
    x = jax.nn.relu(
        lax.conv_general_dilated(images, p["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )
    x = xr.mark(lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"), "pooled")
    x = x * jax.nn.softmax(x.mean((1, 2)) @ p["softmax"])[:, None, None]
    x = xr.mark(x * jax.nn.sigmoid(x.mean((1, 2)) @ p["sigmoid"])[:, None, None], "gated")
    left, right = x[:, :2].mean((1, 2)), x[:, 2:].mean((1, 2))
    parts = [x.max((1, 2)), x.min((1, 2)), jnp.maximum(left, right), jnp.minimum(left, right)]
    return jnp.concatenate(parts, -1) @ p["head"]


@pytest.fixture(scope="module")
def complete():
    """Functions of which contributions must sum to the difference, their parameters, their layers."""
    with jax.enable_x64(True):
        function, parameters = as_function(networks.Nnx(dtype=jnp.float64))
        gates = {"kernel": normal(40, 3, 3, 3, 4), "softmax": normal(41, 4, 4) / 40, "sigmoid": normal(42, 4, 4)}
        return {
            "nnx": (function, parameters, ("input", "first", "second")),
            "gated": (gated, gates | {"head": normal(43, 16, 5)}, ("input", "pooled", "gated")),
        }


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", ["nnx", "gated"])
def test_deep_lift_is_complete_for_any_baseline(name, layer, complete):
    function, parameters, layers = complete[name]

    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 3.0]))
    def holds(seed, spread):
        with jax.enable_x64(True):
            x, x0 = spread * normal(seed, 2, 2, 8, 8, 3)
            found = deep_lift(case(function, parameters, x), layers[layer], baseline=x0)
            logits = [np.asarray(function(jnp.asarray(a), jax.tree.map(jnp.asarray, parameters))) for a in (x, x0)]
        difference = np.take_along_axis(logits[0] - logits[1], TARGETS, 1)
        total = np.asarray(found.values).sum(tuple(range(2, found.values.ndim)))
        np.testing.assert_allclose(total, difference, atol=1e-8 * (1 + np.abs(difference).max()))
        np.testing.assert_allclose(found.error, difference - total, atol=1e-10)

    holds()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["nnx", "gated"])
def test_deep_lift_is_complete_between_constant_images(name, complete):
    function, parameters, _ = complete[name]
    for value, baseline in ((0.5, 0.0), (-2.0, 1.0), (1.0, 1.0)):
        found = deep_lift(case(function, parameters, np.full((2, 8, 8, 3), value)), "input", baseline=baseline)
        np.testing.assert_allclose(found.error, 0, atol=1e-9)
        if value == baseline:
            np.testing.assert_array_equal(found.values, 0)


def around(images, p):
    """A model of which something passes by the mark."""
    flat = images.reshape(len(images), -1)
    return jnp.tanh(xr.mark(flat @ p[0], "hidden")) @ p[1] + flat @ p[2]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", [deep_lift, partial(integrated_gradients, steps=40)])
def test_the_error_is_what_passes_by_the_mark(method):
    p, x, x0 = [normal(50, 12, 4), normal(51, 4, 3), normal(52, 12, 3)], *normal(53, 2, 2, 2, 2, 3)
    found = method(case(around, p, x), "hidden", baseline=x0)
    np.testing.assert_allclose(found.error, np.take_along_axis((x - x0).reshape(2, 12) @ p[2], TARGETS, 1), atol=1e-8)


def extremes():
    """Black, one grey, saturated, and saturated in part."""
    some = np.where(normal(60, 8, 8, 3) > 0, 1e4, 0)
    return np.stack([np.full((8, 8, 3), v) for v in (0, 0.3, 1e4)] + [some]).astype(np.float32)


@pytest.mark.parametrize("method", [deep_lift, integrated_gradients])
@pytest.mark.parametrize("name", ["nnx", "gated"])
def test_extreme_images_have_finite_contributions(method, name, complete):
    function, parameters, _ = complete[name]
    if name == "nnx":
        function, parameters = as_function(networks.Nnx())
    else:
        parameters = jax.tree.map(jnp.float32, parameters)
    x, targets = extremes(), np.tile([0, 1], (4, 1))
    for baseline in (0.0, x[::-1]):
        found = method(case(function, parameters, x, targets), "input", baseline=baseline)
        assert found.values.dtype == np.float32
        assert np.isfinite(found.values).all()
        assert np.isfinite(found.error).all()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("layer", ["input", "hidden"])
@pytest.mark.parametrize("method", [deep_lift, partial(integrated_gradients, steps=5), deep_lift_from_zero])
def test_inside_jit_it_is_the_same(method, layer):
    p, x = mlp_parameters(), normal(11, 2, 2, 2, 3)
    inside = jax.jit(lambda p, x, t: method(Case(mlp, p, x, t), layer))(p, x, TARGETS)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-12), inside, method(case(mlp, p, x), layer))
