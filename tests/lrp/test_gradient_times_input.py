"""Relevance through what is linear, or linear but for frozen factors: for ε → 0 it is gradient × input.

There are no biases. What a rule takes for a constant is one for the gradient too, by ``stop_gradient``, and a product
of two explained factors gives each of them half.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import xrcam_jax as xr

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.long(one_in=5)]

RULES = xr.composites.attn_lrp(eps=0)
PLACES = np.array([2, 0, 2, 1])
rng = np.random.default_rng(0)
W, HEADS, KERNEL = (rng.normal(size=s) for s in ((6, 6), (6, 2, 3), (3, 3, 1, 2)))


def fixed(x):
    return lax.stop_gradient(x)


def half(product):
    """A product of two matrices or numbers of which each takes half."""
    return lambda a, b: (product(a, fixed(b)) + product(fixed(a), b)) / 2


def loop(x):
    return lax.fori_loop(0, 3, lambda i, x: x @ W + x, x)


def counted(x):
    return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] @ W + c[1]), (0, x))[1]


def scanned(x):
    return lax.scan(lambda carry, row: (carry @ W + row, carry[:2]), jnp.zeros_like(x[0]), x)


def message_passing(x):
    """A layer of a graph network: each node gets the sum of what its neighbours send, beside what it is."""
    senders, receivers = np.array([0, 1, 1, 3, 2]), np.array([1, 0, 2, 2, 2])
    return x @ W + jax.ops.segment_sum((x @ W.T)[senders], receivers, num_segments=4)


#: Functions of x (4, 6) that are linear where x is.
LINEAR = {
    "dense": lambda x: x @ W,
    "dense_from_the_left": lambda x: W[:, :4] @ x,
    "dense_into_heads": lambda x: jnp.einsum("tc,chd->htd", x, HEADS),
    "dense_from_heads": lambda x: jnp.einsum("thd,chd->tc", x.reshape(4, 2, 3), HEADS),
    "convolution": lambda x: lax.conv_general_dilated(
        x[None, ..., None], KERNEL, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ),
    "add": lambda x: x[:2] + x[2:],
    "subtract": lambda x: x[:2] - x[2:],
    "add_to_itself": lambda x: x + x,
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean((0, 1), keepdims=True),
    "average_pooling": lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 3), (1, 3), "VALID") / 6,
    "cumsum": lambda x: jnp.cumsum(x, 1),
    "cumsum_from_behind": lambda x: lax.cumsum(x, 0, reverse=True),
    "associative_scan": lambda x: lax.associative_scan(jnp.add, x, axis=0),
    "scatter_add": lambda x: jnp.zeros((3, 6)).at[PLACES].add(x),
    "scatter_add_to_explained": lambda x: x[:3].at[PLACES[:2]].add(x[:2]),
    "scatter_subtract": lambda x: x[:3].at[1].subtract(x[3]),
    "segment_sum": lambda x: jax.ops.segment_sum(x, PLACES, num_segments=3),
    "graph": message_passing,
    "sort": lambda x: jnp.sort(x, 1),
    "sort_along_with": lambda x: lax.sort((x[:, :3], x[:, 3:]), dimension=0, num_keys=1),
    "top_k": lambda x: lax.top_k(x, 2)[0],
    "median": lambda x: jnp.median(x, 0),
    "maximum": lambda x: jnp.maximum(x[:, :3], x[:, 3:]),
    "minimum_along": lambda x: x.min(1),
    "max_pooling": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (2, 2), "VALID"),
    "cummax": lambda x: lax.cummax(x, 1),
    "argsort_and_take": lambda x: jnp.take_along_axis(x, jnp.argsort(x, 1), 1),
    "gather": lambda x: x[jnp.array([0, 2, 2, 3])],
    "gather_windows": lambda x: jax.vmap(lambda i: lax.dynamic_slice(x, (i, 0), (2, 6)))(jnp.arange(3)),
    "slices": lambda x: lax.dynamic_slice(x, (1, 2), (2, 3)) + x[::2, 1::2],
    "dynamic_update": lambda x: lax.dynamic_update_slice(x, x[:2, :2] + x[2:, :2], (1, 3)),
    "set_at": lambda x: x.at[jnp.array([0, 3])].set(x[1:3]),
    "pad": lambda x: jnp.pad(x, ((1, 0), (2, 1))),
    "wrap": lambda x: jnp.pad(x, 1, mode="reflect"),
    "roll": lambda x: jnp.roll(x, (1, -2), (0, 1)) + jnp.flip(x),
    "concatenate": lambda x: jnp.concatenate([x[:, :2], x.T[:4, :3]], 1),
    "repeat": lambda x: jnp.repeat(x, 2, 0) + jnp.tile(x, (2, 1)),
    "triangle": lambda x: jnp.tril(x, 1),
    "diagonal": lambda x: jnp.trace(x[:, :4])[None] + jnp.diagonal(x),
    "resize": lambda x: jax.image.resize(x, (8, 9), "bilinear"),
    "loop": loop,
    "scan": scanned,
    "branch": lambda x: lax.cond(x.shape[0] > 2, lambda x: x @ W, lambda x: x, x),
    "remat": jax.checkpoint(lambda x: (x @ W) @ W),
    "relu": lambda x: jax.nn.relu(x @ W),
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.3),
    "absolute": jnp.abs,
}
#: Those that are linear while some factors are constants: the function, and the one with these factors frozen.
FROZEN = {
    # JAX has no gradient of a while loop.
    "counted_while": (counted, loop),
    "layer_norm": (
        lambda x: (x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + 1e-5),
        lambda x: (x - x.mean(1, keepdims=True)) / jnp.sqrt(fixed(x.var(1, keepdims=True)) + 1e-5),
    ),
    "rms_norm": (
        lambda x: x * lax.rsqrt(jnp.square(x).mean(1, keepdims=True)) * W[0],
        lambda x: x * lax.rsqrt(jnp.square(fixed(x)).mean(1, keepdims=True)) * W[0],
    ),
    "length": (
        lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True),
        lambda x: x / fixed(jnp.linalg.norm(x, axis=1, keepdims=True)),
    ),
    "sum_to_one": (lambda x: x / x.sum(1, keepdims=True), lambda x: x / fixed(x.sum(1, keepdims=True))),
    "matmul": (lambda x: x[:, :3] @ x[:3], lambda x: half(jnp.matmul)(x[:, :3], x[:3])),
    "matmul_with_itself": (lambda x: x @ x.T, lambda x: half(jnp.matmul)(x, x.T)),
    "batched_matmul": (
        lambda x: jnp.einsum("hqd,hkd->hqk", x.reshape(2, 4, 3), 2 * x.reshape(2, 4, 3)),
        lambda x: half(lambda a, b: jnp.einsum("hqd,hkd->hqk", a, b))(x.reshape(2, 4, 3), 2 * x.reshape(2, 4, 3)),
    ),
    "outer": (lambda x: jnp.outer(x[0], x[1]), lambda x: half(jnp.outer)(x[0], x[1])),
    "gate": (lambda x: x[:2] * x[2:], lambda x: half(jnp.multiply)(x[:2], x[2:])),
    "silu": (jax.nn.silu, lambda x: x * fixed(jax.nn.sigmoid(x))),
    "gelu": (lambda x: jax.nn.gelu(x, approximate=False), lambda x: x * fixed(jax.nn.gelu(x, approximate=False) / x)),
    "product": (
        lambda x: x[:2].prod(0),
        lambda x: half(jnp.multiply)(x[0], x[1]),
    ),
}
CASES = {name: (f, f) for name, f in LINEAR.items()} | FROZEN


@pytest.mark.parametrize("name", CASES)
def test_relevance_is_gradient_times_input(name):
    f, frozen = CASES[name]

    @jax.jit
    def both(x, key):
        out, pullback = jax.vjp(xr.lrp(f, RULES), x)
        # What is zero has no relevance.
        s = jax.tree.map(lambda z: jnp.where(z == 0, 0, jax.random.normal(key, z.shape, z.dtype)), out)
        return pullback(jax.tree.map(jnp.multiply, s, out))[0], x * jax.vjp(frozen, x)[1](s)[0]

    for seed in range(3):
        x = jax.random.normal(jax.random.key(seed), (4, 6), jnp.float64)
        found, wanted = both(x, jax.random.key(seed + 10))
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())
