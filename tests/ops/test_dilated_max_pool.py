"""dilated_max_pool against loops in numpy, and where nothing is dilated against XLA's own windowed maximum."""

from dataclasses import dataclass
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jax import lax

import xrcam_jax as xr
from xrcam_jax.lrp.composites import Assign, Composite
from xrcam_jax.lrp.protocol import no_loss
from xrcam_jax.ops.dilated_max_pool import dilated_max_pool

POOL = {"window": (2, 3), "strides": (1, 2), "dilation": (2, 3), "padding": ((1, 0), (2, 2))}


def loops(x, g, window, strides, dilation, padding):
    """Computes the maxima, and each window's cotangent at the first place in reading order that is its maximum."""
    reach = [d * (n - 1) + 1 for n, d in zip(window, dilation, strict=True)]
    edges = list(zip(x.shape[1:-1], reach, strides, padding, strict=True))
    counts = [(n + before + after - span) // step + 1 for n, span, step, (before, after) in edges]
    y, arriving = np.full((len(x), *counts, x.shape[-1]), -np.inf), np.zeros(x.shape)
    for b, *where, c in np.ndindex(y.shape):
        begins = [i * step - before for i, step, (before, _) in zip(where, strides, padding, strict=True)]
        along = [
            [begin + d * k for k in range(size) if 0 <= begin + d * k < n]
            for begin, d, size, n in zip(begins, dilation, window, x.shape[1:-1], strict=True)
        ]
        places = list(product(*along))
        if places:
            first = max(places, key=lambda place: (x[b, *place, c], [-k for k in place]))
            y[b, *where, c] = x[b, *first, c]
            arriving[b, *first, c] += 0 if g is None else g[b, *where, c]
    return y, arriving


def value_and_derivative(x, g, **options):
    y, pullback = jax.vjp(partial(dilated_max_pool, **options), x)
    return y, pullback(g)[0]


@given(
    axes=st.lists(
        st.tuples(
            st.integers(1, 9),
            st.integers(1, 3),
            st.integers(1, 4),
            st.integers(1, 4),
            st.tuples(st.integers(0, 2), st.integers(0, 3)),
        ),
        min_size=1,
        max_size=3,
    ),
    seed=st.integers(0, 9),
)
def test_value_and_derivative_are_those_of_loops(axes, seed):
    assume(all(d * (size - 1) + 1 <= n + sum(edges) for n, size, _, d, edges in axes))
    assume(np.prod([n for n, *_ in axes]) <= 200)
    lengths, window, strides, dilation, padding = zip(*axes, strict=True)
    rng = np.random.default_rng(seed)
    # Of whole numbers many are equal, and all sums are exact.
    x = rng.integers(-2, 3, (2, *lengths, 2)).astype(np.float32)
    options = {"window": window, "strides": strides, "dilation": dilation, "padding": padding}
    wanted, _ = loops(x, None, **options)
    g = rng.integers(-9, 10, wanted.shape).astype(np.float32)
    for ours, theirs in zip(value_and_derivative(x, g, **options), loops(x, g, **options), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def operands():
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, (3, 7, 11, 2)).astype(np.float32)
    return x, rng.integers(-9, 10, dilated_max_pool(x, **POOL).shape).astype(np.float32)


@pytest.mark.usefixtures("float64")
def test_without_gaps_it_is_xlas_to_second_derivatives():
    x, _ = (jnp.asarray(a, float) for a in operands())
    edges = ((0, 0), (1, 0), (2, 2), (0, 0))

    def second(pool):
        return jax.grad(lambda x: (jax.grad(lambda x: (pool(x) ** 2).sum())(x) ** 3).sum())(x)

    ours = second(partial(dilated_max_pool, **{**POOL, "dilation": (1, 1)}))
    theirs = second(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 3, 1), (1, 1, 2, 1), edges))
    np.testing.assert_array_equal(ours, theirs)


def test_jit_and_vmap_change_nothing():
    x, g = operands()
    compute = partial(value_and_derivative, **POOL)
    wanted = compute(x, g)
    mapped = jax.vmap(lambda x, g: [a[0] for a in compute(x[None], g[None])])
    for found in (jax.jit(compute)(x, g), mapped(x, g)):
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_whole_numbers_are_pooled_too(dtype):
    x = np.random.default_rng(0).integers(0, 9, (1, 7, 9, 2)).astype(dtype)
    found = dilated_max_pool(x, **POOL)
    assert found.dtype == dtype
    wanted, _ = loops(x, None, **POOL)
    np.testing.assert_array_equal(found, np.maximum(wanted, np.iinfo(dtype).min))


@dataclass(frozen=True)
class Twice:
    """Gives twice the relevance to the winners."""

    def relevance(self, op, r):
        return jax.vjp(lambda x: op.apply(x, op.w), op.x)[1](2 * r)[0], no_loss(r)


def test_is_one_operation_that_takes_maxima():
    """All of the relevance of a window goes to its maximum, the first of equal ones, unless a rule says otherwise."""
    x, r = operands()
    pool, (_, arriving) = partial(dilated_max_pool, **POOL), loops(x, r, **POOL)
    (equation,) = jax.make_jaxpr(pool)(x).eqns
    assert equation.params["name"] == "xrcam_jax.dilated_max_pool"
    own = Composite((Assign(Twice(), kinds=("max_pool",)),))
    for composite, factor in ((xr.composites.relevance_cam(), 1), (xr.composites.attn_lrp(), 1), (own, 2)):
        found = jax.vjp(xr.lrp(pool, composite), jnp.asarray(x))[1](jnp.asarray(r))[0]
        np.testing.assert_array_equal(found, factor * arriving)


def test_windows_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"windows that reach over \(4,\) exceed x of shape \(1, 3, 2\)"):
        dilated_max_pool(jnp.zeros((1, 3, 2)), window=(2,), strides=(1,), dilation=(3,), padding=((0, 0),))
