"""Rules of guided backprop, DeconvNet and DeepLIFT: closed forms on small arrays, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax import lax

import xrcam_jax as xr
from tests.lrp import networks
from xrcam_jax.lrp.gradient_rules import Deconvnet, Guided, MeanGradient, Rescale, RescaledMaximum
from xrcam_jax.lrp.rules import Bilinear

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.long(one_in=5)]

SIGNED = arrays(np.float64, 8, elements=st.floats(-3, 3, width=16))
SEEDS = st.integers(0, 10**6)


def drawn(seed, *shapes):
    """Random arrays, an example in the first row and its baseline in the second: nowhere equal, no ties."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def propagated(rule, f, r, *x):
    """What ``rule`` hands to each input of z = f(*x)."""
    op = Bilinear(lambda inputs, w: f(*inputs), tuple(jnp.asarray(a, jnp.float64) for a in x), ())
    found, loss = rule.relevance(op, jnp.asarray(r, jnp.float64))
    np.testing.assert_array_equal(loss, 0)
    return [np.asarray(a) for a in found]


def multipliers(rule, f, m, *pairs):
    """The multipliers of the examples, the first row of each pair; the baselines, the second, must get none."""
    r = np.stack([m, np.full_like(m, 17.0)])
    found = propagated(rule, f, r, *pairs)
    for each in found:
        np.testing.assert_array_equal(each[1], 0)
    return [each[0] for each in found]


@given(SIGNED, SIGNED)
def test_guided_backprop_passes_what_is_positive_where_the_relu_was_on(x, r):
    (found,) = propagated(Guided(), jax.nn.relu, r, x)
    np.testing.assert_array_equal(found, np.where((x > 0) & (r > 0), r, 0))


@given(SIGNED, SIGNED)
def test_deconvnet_passes_what_is_positive_whatever_went_in(x, r):
    (found,) = propagated(Deconvnet(), jax.nn.relu, r, x)
    np.testing.assert_array_equal(found, np.maximum(r, 0))


FUNCTIONS = {
    "relu": (jax.nn.relu, lambda x: np.maximum(x, 0)),
    "exp": (jnp.exp, np.exp),
    "tanh": (jnp.tanh, np.tanh),
    "square": (jnp.square, np.square),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(SEEDS)
def test_rescale_is_the_slope_of_the_chord(name, seed):
    x, m = drawn(seed, (2, 6), 6)
    f, same = FUNCTIONS[name]
    (found,) = multipliers(Rescale(), f, m, x)
    slopes = [(same(a) - same(b)) / (a - b) for a, b in x.T]
    np.testing.assert_allclose(found, m * slopes, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(("name", "slope"), [("relu", [1.0, 0.0]), ("tanh", 1 / np.cosh([2.0, -1.0]) ** 2)])
def test_rescale_of_equal_inputs_is_the_derivative(name, slope):
    x = np.array([2.0, -1.0])
    (found,) = multipliers(Rescale(), FUNCTIONS[name][0], np.array([3.0, 5.0]), np.stack([x, x]))
    np.testing.assert_allclose(found, slope * np.array([3.0, 5.0]), rtol=1e-12)


def test_rescale_prefers_the_derivative_to_a_quotient_of_rounding_errors():
    x = np.stack([np.ones(50), 1 + np.arange(1, 51) * 1e-15])
    (found,) = multipliers(Rescale(), jnp.tanh, np.ones(50), x)
    np.testing.assert_allclose(found, 1 / np.cosh(1) ** 2, rtol=1e-6)


def strided_maximum(x):
    """Windows of three at every second place: neighbours share one."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3), (1, 2), "VALID")


def strided_minimum(x):
    return lax.reduce_window(x, jnp.inf, lax.min, (1, 3), (1, 2), "VALID")


def routed(x, m, windows, *, minimum):
    """Contributions of a maximum's windows, by the definition: the halves of y - y⁰ go to the places of y and y⁰."""
    contribution = np.zeros(x.shape[1])
    best = np.argmin if minimum else np.argmax
    for window, each in zip(windows, m, strict=True):
        now, then = (window[best(row[window])] for row in x)
        y, y0 = x[0, now], x[1, then]
        between = min(y, y0) if minimum else max(y, y0)
        contribution[now] += each * (between - y0)
        contribution[then] += each * (y - between)
    return contribution


@pytest.mark.parametrize("minimum", [False, True])
@given(SEEDS)
def test_rescaled_extremes_of_windows_that_overlap(minimum, seed):
    x, m = drawn(seed, (2, 7), 3)
    windows = [np.arange(3), np.arange(2, 5), np.arange(4, 7)]
    f, extreme = (strided_minimum, np.min) if minimum else (strided_maximum, np.max)
    (found,) = multipliers(RescaledMaximum(minimum=minimum), f, m, x)
    contributions = found * (x[0] - x[1])
    np.testing.assert_allclose(contributions, routed(x, m, windows, minimum=minimum), atol=1e-12)
    differences = [extreme(x[0, window]) - extreme(x[1, window]) for window in windows]
    np.testing.assert_allclose(contributions.sum(), m @ differences, atol=1e-12)
    # Of a maximum no part is larger than the change of the place that it goes to.
    assert np.abs(found).max() <= np.abs(m).sum() + 1e-9


@given(SEEDS)
def test_rescaled_maximum_of_two_values(seed):
    a, b, m = drawn(seed, (2, 6), (2, 6), 6)
    of_a, of_b = multipliers(RescaledMaximum(), jnp.maximum, m, a, b)
    for i in range(6):
        wanted = routed(np.array([[a[0, i], b[0, i]], [a[1, i], b[1, i]]]), m[i : i + 1], [[0, 1]], minimum=False)
        found = [of_a[i] * (a[0, i] - a[1, i]), of_b[i] * (b[0, i] - b[1, i])]
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_the_rescaled_maximum_of_equal_inputs_contributes_nothing():
    x = np.tile(np.arange(7.0), (2, 1))
    np.testing.assert_array_equal(multipliers(RescaledMaximum(), strided_maximum, np.ones(3), x)[0], 0)


@given(SEEDS)
def test_one_point_gives_a_product_the_mean_of_the_other_factor(seed):
    a, b, m = drawn(seed, (2, 6), (2, 6), 6)
    of_a, of_b = multipliers(MeanGradient(points=1), jnp.multiply, m, a, b)
    np.testing.assert_allclose(of_a, m * (b[0] + b[1]) / 2, atol=1e-12)
    np.testing.assert_allclose(of_b, m * (a[0] + a[1]) / 2, atol=1e-12)
    contributions = of_a * (a[0] - a[1]) + of_b * (b[0] - b[1])
    np.testing.assert_allclose(contributions, m * (a[0] * b[0] - a[1] * b[1]), atol=1e-10)


def test_the_mean_derivative_of_a_quotient():
    a, b = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([[2.0, 1.0], [1.0, 2.5]])
    of_a, of_b = multipliers(MeanGradient(), jnp.divide, np.array([1.0, 2.0]), a, b)
    m, slope = np.array([1.0, 2.0]), b[0] - b[1]
    mean_of_inverse = np.log(b[0] / b[1]) / slope
    np.testing.assert_allclose(of_a, m * mean_of_inverse, rtol=1e-9)
    # of b: what is left of the difference
    left = m * (a[0] / b[0] - a[1] / b[1]) - of_a * (a[0] - a[1])
    np.testing.assert_allclose(of_b, left / slope, rtol=1e-9)


def test_the_mean_derivative_of_a_softmax():
    """Of two classes it is a logistic function of their difference, whose mean slope is that of its chord."""
    x, x0, m = np.array([2.0, -0.5]), np.array([-1.0, 0.25]), np.array([0.7, -1.1])
    (found,) = multipliers(MeanGradient(), lambda x: jax.nn.softmax(x, axis=-1), m, np.stack([x, x0]))

    def logistic(d):
        return 1 / (1 + np.exp(-d))

    d, d0 = x[0] - x[1], x0[0] - x0[1]
    slope = (logistic(d) - logistic(d0)) / (d - d0)
    np.testing.assert_allclose(found, (m[0] - m[1]) * slope * np.array([1, -1]), rtol=1e-9)


def pulled_back(f, composite, x, seed):
    return jax.vjp(xr.lrp(f, composite), jnp.asarray(x))[1](jnp.asarray(seed))[0]


X = np.array([[0.5, -1.0, 2.0, -0.25]])
SEED = np.array([[1.0, 2.0, -3.0, -4.0]])


@pytest.mark.parametrize(
    ("activation", "is_relu"),
    [
        (jax.nn.relu, True),
        (lambda x: jnp.maximum(x, 0), True),
        (lambda x: jnp.maximum(0.0, x), True),
        (jax.nn.tanh, False),
        (jax.nn.softplus, False),
        (lambda x: jax.nn.leaky_relu(x, 0.1), False),
        (lambda x: jnp.minimum(x, 0), False),
    ],
    ids=["relu", "maximum", "zero_first", "tanh", "softplus", "leaky_relu", "minimum"],
)
def test_only_relus_are_bent(activation, is_relu):
    derivative = jax.vjp(activation, jnp.asarray(X))[1](jnp.asarray(SEED))[0]
    guided, deconv = np.where((X > 0) & (SEED > 0), SEED, 0), np.maximum(SEED, 0)
    found = pulled_back(activation, xr.composites.guided_backprop(), X, SEED)
    np.testing.assert_allclose(found, guided if is_relu else derivative, rtol=1e-12)
    found = pulled_back(activation, xr.composites.deconvnet(), X, SEED)
    np.testing.assert_allclose(found, deconv if is_relu else derivative, rtol=1e-12)


def contributions(f, pair, target=0, **options):
    """Of the first half of ``pair`` against the second, and the difference that they should sum to."""
    half = len(pair) // 2

    @jax.jit
    def run(pair):
        out, pullback = jax.vjp(xr.lrp(f, xr.composites.deep_lift(**options)), pair)
        return out, pullback(jnp.zeros_like(out).at[:half, target].set(1))[0]

    out, multiplier = run(pair)
    found = multiplier[:half] * (pair[:half] - pair[half:])
    return found.reshape(half, -1).sum(1), out[:half, target] - out[half:, target]


@pytest.mark.parametrize("name", ["nnx", "linen", "plain"])
def test_contributions_sum_to_the_difference_of_the_outputs(name):
    f, args, x = networks.functions(jnp.float64)[name]
    found, wanted = contributions(lambda x: f(x, *args), x)
    assert np.abs(wanted).max() > 1e-4
    np.testing.assert_allclose(found, wanted, atol=1e-10)


def test_the_gradient_of_max_pooling_does_not_sum():
    """So the test above would see it if pooling had no rule."""
    f, args, x = networks.functions(jnp.float64)["nnx"]
    found, wanted = contributions(lambda x: f(x, *args), x, max_pool="gradient")
    assert np.abs(found - wanted).max() > 1e-3


def minimum_and_maximum(x):
    return jnp.stack([x.max(1) - jnp.minimum(x[:, 0], 2 * x[:, 1]), x.min(1)], axis=1)


@pytest.mark.parametrize("target", [0, 1])
def test_extremes_of_all_kinds_sum_too(target):
    (x,) = drawn(target, (40, 6))
    found, wanted = contributions(minimum_and_maximum, jnp.asarray(x), target)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("f", "minimum"),
    [
        (lambda x: x.max(1), False),
        (lambda x: x.min(1), True),
        (lambda x: jnp.maximum(x[:, 0], x[:, 1]), False),
        (lambda x: jnp.minimum(x[:, 0], x[:, 1]), True),
    ],
    ids=["reduce_max", "reduce_min", "max", "min"],
)
def test_the_composite_tells_minima_from_maxima(f, minimum):
    (x,) = drawn(0, (40, 2))
    pullback = jax.vjp(xr.lrp(f, xr.composites.deep_lift()), jnp.asarray(x))[1]
    found = pullback(jnp.ones(40))[0]
    for i in range(20):
        pair = x[[i, i + 20]]
        wanted = routed(pair, [1.0], [np.arange(2)], minimum=minimum)
        np.testing.assert_allclose(found[i] * (pair[0] - pair[1]), wanted, atol=1e-12)


def test_a_softmax_of_large_logits_is_finite():
    def f(x):
        return jax.nn.softmax(x @ jnp.eye(3), axis=-1)

    pair = jnp.array([[1e4, 0.0, -1e4], [-1e4, 1e4, 0.0]])
    found, wanted = contributions(f, pair)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(wanted, 1)
