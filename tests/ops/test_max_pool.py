"""max_pool against loops in numpy and against XLA's own windowed maximum."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from xrcam_jax.ops.max_pool import max_pool

# The pooling of the models.
POOL = {"window": 3, "stride": 2, "padding": 1}


def loops(x, g, window, stride, padding):
    """Computes the maxima, and each window's cotangent at the first pixel in reading order that is its maximum."""
    height, width = ((size + 2 * padding - window) // stride + 1 for size in x.shape[1:3])
    y, arriving = np.empty((len(x), height, width, x.shape[3])), np.zeros(x.shape)
    for b, i, j, c in np.ndindex(y.shape):
        rows = range(max(0, i * stride - padding), min(x.shape[1], i * stride - padding + window))
        columns = range(max(0, j * stride - padding), min(x.shape[2], j * stride - padding + window))
        first = max(((r, k) for r in rows for k in columns), key=lambda place: (x[b, *place, c], -place[0], -place[1]))
        y[b, i, j, c] = x[b, *first, c]
        if g is not None:
            arriving[b, *first, c] += g[b, i, j, c]
    return y, arriving


def native(x, window, stride, padding):
    edges = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, window, window, 1), (1, stride, stride, 1), edges)


def value_and_derivative(pool):
    def compute(x, g):
        y, pullback = jax.vjp(pool, x)
        return y, pullback(g)[0]

    return compute


@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    window=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
    seed=st.integers(0, 9),
)
def test_value_and_derivative_are_those_of_loops(size, window, stride, padding, seed):
    assume(2 * padding <= window <= min(size) + 2 * padding)
    rng = np.random.default_rng(seed)
    # Of whole numbers many are equal, and all sums are exact.
    x = rng.integers(-2, 3, (2, *size, 3)).astype(np.float32)
    wanted, _ = loops(x, None, window, stride, padding)
    g = rng.integers(-9, 10, wanted.shape).astype(np.float32)
    pool = partial(max_pool, window=window, stride=stride, padding=padding)
    found = value_and_derivative(pool)(x, g)
    for ours, theirs in zip(found, loops(x, g, window, stride, padding), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def operands():
    """Values, and whole numbers for what arrives: their sums are exact in any order."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((8, 9, 10, 4)), rng.integers(-9, 10, (8, 5, 5, 4)).astype(float)


@pytest.mark.usefixtures("float64")
def test_second_derivatives_are_those_of_xla(operands):
    x, g = map(jnp.asarray, operands)

    def second(pool):
        def first(x, g):
            y, pullback = jax.vjp(pool, x)
            return (pullback(g * y)[0] ** 3).sum()

        return jax.jit(jax.grad(first, (0, 1)))(x, g)

    for ours, theirs in zip(second(partial(max_pool, **POOL)), second(partial(native, **POOL)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_jit_and_vmap_change_nothing(operands, dtype):
    x, g = (jnp.asarray(a, dtype) for a in operands)
    compute = value_and_derivative(partial(max_pool, **POOL))
    wanted = compute(x, g)
    mapped = jax.vmap(lambda x, g: [a[0] for a in compute(x[None], g[None])])
    for found in (jax.jit(compute)(x, g), mapped(x, g)):
        for ours, theirs in zip(found, wanted, strict=True):
            assert ours.dtype == dtype
            np.testing.assert_array_equal(ours.astype(jnp.float32), theirs.astype(jnp.float32))


def test_is_one_equation_in_a_jaxpr(operands):
    (equation,) = jax.make_jaxpr(partial(max_pool, **POOL))(operands[0]).eqns
    assert equation.primitive.name == "jit"
    assert equation.params["name"] == "xrcam_jax.max_pool"


@pytest.mark.parametrize(("platform", "own"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_formulation_is_chosen_by_platform_at_lowering(operands, platform, own):
    compute = jax.jit(value_and_derivative(partial(max_pool, **POOL)))
    text = compute.trace(*operands).lower(lowering_platforms=(platform,)).as_text()
    assert ("reduce_window" in text) == ("select_and_scatter" in text) == own


@pytest.mark.parametrize(
    ("kind", "mapped"),
    [(AxisType.Auto, False), (AxisType.Explicit, False), (AxisType.Explicit, True)],
    ids=["jit-auto", "jit-explicit", "shard_map"],
)
def test_batch_sharded_over_devices_is_not_gathered(operands, kind, mapped):
    compute = jax.jit(value_and_derivative(partial(max_pool, **POOL)))
    expected = compute(*operands)
    mesh = jax.make_mesh((8,), ("b",), axis_types=(kind,))
    if mapped:
        compute = jax.jit(jax.shard_map(compute, mesh=mesh, in_specs=P("b"), out_specs=P("b")))
    with jax.set_mesh(mesh):
        placed = jax.device_put(operands, NamedSharding(mesh, P("b")))
        compiled = compute.lower(*placed).compile()
        found = compiled(*placed)
    assert "all-gather" not in compiled.as_text()
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.sharding.spec[0] == "b"
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("window", "padding", "message"),
    [(3, 2, "padding must be .* window=3, got 2"), (3, -1, "got -1"), (6, 0, r"window=6 .* \(1, 5, 7, 2\)")],
)
def test_what_does_not_fit_is_named(window, padding, message):
    with pytest.raises(ValueError, match=message):
        max_pool(jnp.zeros((1, 5, 7, 2)), window=window, stride=1, padding=padding)
