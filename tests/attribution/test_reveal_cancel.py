"""RevealCancel by the examples of its paper, by Shapley values, and by loops over the units of a network."""

from itertools import pairwise, permutations
from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import xrcam_jax as xr
from tests.explain import small
from xrcam_jax.attribution.reveal_cancel import reveal_cancel
from xrcam_jax.attribution.reveal_rules import parts_of
from xrcam_jax.ops.max_pool import max_pool

pytestmark = pytest.mark.usefixtures("float64")


def contributions(f, x, x0):
    """Returns what each element contributes to f, which takes one example, and what it misses."""

    @jax.jit
    def run(x, x0):
        found = reveal_cancel(lambda x, rest: f(x), x, x0)
        m, parts = found.pullback(jnp.ones(())), parts_of(x - x0)
        return m.plus * parts.plus + m.minus * parts.minus, found.output - found.baseline

    values, difference = map(np.asarray, run(jnp.asarray(x, float), jnp.asarray(x0, float)))
    return values, difference - values.sum()


def minimum(x):
    return x[..., 0] - jax.nn.relu(x[..., 0] - x[..., 1])


def network(images):
    """The minimum of two places as a network of signals with one output."""
    return minimum(images[..., 0])[:, None]


@pytest.mark.parametrize(("a", "b"), [(6.0, 2.0), (2.0, 6.0)])
def test_the_minimum_is_due_to_both(a, b):
    """Figure 3 of the paper: by the rescale rule as by the gradient it is all due to the smaller one."""
    np.testing.assert_allclose(contributions(minimum, [a, b], [0, 0])[0], [1, 1])
    images = jnp.array([a, b]).reshape(1, 2, 1)
    e = xr.attribute(network, images, "deep_lift", [1], rule="reveal_cancel")
    np.testing.assert_allclose(e.attributions["deep_lift"]["input"].ravel(), [1, 1])
    np.testing.assert_allclose(e.errors["deep_lift"]["input"], 0, atol=1e-12)
    rescale = xr.attribute(network, images, "deep_lift", [1]).attributions["deep_lift"]["input"].ravel()
    np.testing.assert_allclose(rescale, [2, 0] if a < b else [0, 2])


def test_an_and_that_is_silent_shows_what_speaks_for_it_and_what_keeps_it_so():
    """relu(a - 2b) is 0 at (2, 3) as at the baseline; a alone would make it 2."""
    found, missing = contributions(lambda x: jax.nn.relu(x[0] - 2 * x[1]), [2, 3], [0, 0])
    np.testing.assert_allclose(found, [1, -1])
    assert missing == 0


def shapley(f, x, x0):
    """Returns the mean of each element's marginal difference over all orders."""
    found, n = np.zeros(len(x)), len(x)
    for order in permutations(range(n)):
        now = np.array(x0, float)
        for i in order:
            before = float(f(jnp.asarray(now)))
            now[i] = x[i]
            found[i] += (float(f(jnp.asarray(now))) - before) / factorial(n)
    return found


@pytest.mark.parametrize("activation", [jax.nn.relu, jax.nn.gelu, jnp.tanh])
def test_of_one_layer_whose_units_weigh_two_inputs_against_each_other_it_is_the_shapley_value(activation):
    rng = np.random.default_rng(0)
    w, v, b = np.abs(rng.standard_normal((2, 6))), rng.standard_normal(6), rng.standard_normal(6)
    w[1] *= -1
    f = lambda x: activation(x @ w + b) @ v  # noqa: E731
    x, x0 = np.array([1.3, 0.8]), np.array([0.2, -0.4])
    np.testing.assert_allclose(contributions(f, x, x0)[0], shapley(f, x, x0), rtol=1e-9)


def multipliers_by_hand(weights, f, x, x0):
    """Returns the multipliers of (x - x0)+ and (x - x0)- to the last unit, unit by unit (sections 3.5.1 and 3.5.3)."""
    h, h0, forward = x, x0, []
    parts = np.stack([np.maximum(x - x0, 0), np.minimum(x - x0, 0)])
    for layer, (w, b) in enumerate(weights):
        through = np.zeros((2, len(h), 2, w.shape[1]))  # from (part, input) to (part, output)
        for i, j in np.ndindex(*w.shape):
            size = w[i, j] * (h[i] - h0[i])
            shares = (0.5, 0.5) if size == 0 else (float(size > 0), float(size < 0))
            for part, share in enumerate(shares):
                through[:, i, part, j] = share * w[i, j]
        forward.append(through)
        parts = np.einsum("pi,piqj->qj", parts, through)
        z, z0 = h @ w + b, h0 @ w + b
        if layer == len(weights) - 1:
            break
        scale = np.zeros((2, len(z), 2, len(z)))
        for j in range(len(z)):
            plus, minus = parts[:, j]
            changes = (
                (f(z0[j] + plus) - f(z0[j]) + f(z[j]) - f(z0[j] + minus)) / 2,
                (f(z0[j] + minus) - f(z0[j]) + f(z[j]) - f(z0[j] + plus)) / 2,
            )
            for part, change in enumerate(changes):
                scale[part, j, part, j] = change / parts[part, j] if parts[part, j] else 0
        forward.append(scale)
        parts = np.einsum("pi,piqj->qj", parts, scale)
        h, h0 = f(z), f(z0)
    m = np.ones((2, 1))
    for through in reversed(forward):
        m = np.einsum("piqj,qj->pi", through, m)
    return m


def test_multipliers_of_a_deep_network_are_those_of_loops_over_its_units():
    """One input does not change, which counts half for either part."""
    rng = np.random.default_rng(1)
    sizes = (5, 6, 7, 1)
    weights = [(rng.standard_normal(s), rng.standard_normal(s[1])) for s in pairwise(sizes)]
    x, x0 = rng.standard_normal((2, 5))
    x[2] = x0[2]

    def f(x, rest):
        for w, b in weights[:-1]:
            x = jnp.tanh(x @ w + b)
        return (x @ weights[-1][0] + weights[-1][1])[0]

    found = reveal_cancel(f, jnp.asarray(x), jnp.asarray(x0)).pullback(jnp.ones(()))
    wanted = multipliers_by_hand(weights, np.tanh, x, x0)
    np.testing.assert_allclose(found.plus, wanted[0], rtol=1e-9)
    np.testing.assert_allclose(found.minus, wanted[1], rtol=1e-9)


def test_where_nothing_cancels_it_is_the_rescale_rule():
    """All weights and all changes are positive, so that every change has one part only."""
    w, v = np.abs(np.random.default_rng(2).standard_normal((2, 4, 4)))
    f = lambda x: (jax.nn.relu(x @ w - 1) @ v).sum()  # noqa: E731
    x = np.array([1.0, 0.5, 2.0, 0.1])
    rescaled = np.maximum(x @ w - 1, 0) / (x @ w)
    np.testing.assert_allclose(contributions(f, x, 0 * x)[0], x * (w @ (rescaled * v.sum(1))), rtol=1e-9)


def residual(x):
    """Convolutions with batch norm of either sign, a residual add, maxima of both kinds, padding, means, a head."""
    rng = np.random.default_rng(4)
    one, two = rng.standard_normal((3, 3, 2, 4)) / 3, rng.standard_normal((3, 3, 4, 4)) / 4
    x = lax.conv_general_dilated(x[None], one, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    x = max_pool(jax.nn.relu((x - 0.1) * rng.standard_normal(4) + 0.3), window=2, stride=2, padding=0)
    y = lax.conv_general_dilated(x, two, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    x = jnp.pad(jax.nn.silu(y / rng.standard_normal(4) - x), ((0, 0), (1, 0), (0, 0), (0, 0)))
    least, largest = jnp.min(x, (1, 2)), jnp.maximum(x.mean((1, 2)), x[:, 1, 1])
    return (jnp.concatenate([largest, least, x.mean((1, 2))], -1) @ rng.standard_normal(12) - 0.5).sum()


@pytest.mark.parametrize("seed", [0, 1])
def test_contributions_sum_to_the_difference_through_everything_that_is_known(seed):
    rng = np.random.default_rng(seed)
    x, x0 = rng.standard_normal((2, 4, 4, 2))
    found, missing = contributions(residual, x, x0)
    assert np.abs(missing) < 1e-10 * np.abs(found).sum()
    assert np.abs(found).max() > 1e-3


def test_at_marks_for_several_targets_in_a_batch():
    model, images = small.Network(small.weights(dtype=np.float64)), small.images(dtype=np.float64)
    given = {"rule": "reveal_cancel", "baseline": small.images(seed=7, dtype=np.float64)}
    e = xr.attribute(model, images, "deep_lift", [[0, 2], [1, 0]], ["first"], **given)
    np.testing.assert_allclose(e.errors["deep_lift"]["first"], 0, atol=1e-12)
    alone = xr.attribute(model, images[1:], "deep_lift", [0], ["first"], **given | {"baseline": given["baseline"][1:]})
    found = e.attributions["deep_lift"]["first"][1, 1]
    np.testing.assert_allclose(found, alone.attributions["deep_lift"]["first"][0], rtol=1e-8, atol=1e-12)


REFUSED = {
    "gate": lambda x: (x * jax.nn.sigmoid(x.sum())).sum(),
    "softmax": lambda x: jax.nn.softmax(x)[0],
    "domain": lambda x: jnp.log(x).sum(),
    "sorted": lambda x: jnp.sort(x)[0],
    "chosen": lambda x: jnp.where(x.sum() > 0, x, 2 * x).sum(),
    "loop": lambda x: lax.scan(lambda c, _: (jnp.tanh(c), None), x, None, 2)[0].sum(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_parts_is_refused_by_name_and_line(name):
    with pytest.raises(NotImplementedError, match=r"no rule for the primitive .*test_reveal_cancel\.py"):
        contributions(REFUSED[name], [1.0, 2.0], [0.5, 0.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "reveal"}, "rule must be rescale or reveal_cancel; got 'reveal'"),
        ({"rule": "reveal_cancel", "max_pool": "gradient"}, "max_pool='gradient' is for rule='rescale'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        xr.attribute(lambda x: x.sum((1, 2)), jnp.ones((1, 2, 2, 2)), "deep_lift", **options)
