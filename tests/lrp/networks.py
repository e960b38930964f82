"""Small networks of every kind that the transformation has to take unchanged."""

from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

import xrcam_jax as xr


class Nnx(nnx.Module):
    """Biases, batch norm, residual add, concatenation, both poolings, reshape, a softmax gate, a dense head."""

    def __init__(self, rngs=None, dtype=jnp.float32):
        rngs = rngs or nnx.Rngs(0)
        options = {"rngs": rngs, "dtype": dtype, "param_dtype": dtype}
        random = nnx.initializers.normal(0.3)
        self.conv1 = nnx.Conv(3, 8, (3, 3), bias_init=random, **options)
        self.norm = nnx.BatchNorm(8, use_running_average=True, scale_init=random, bias_init=random, **options)
        self.conv2 = nnx.Conv(8, 8, (3, 3), bias_init=random, **options)
        self.conv3 = nnx.Conv(8, 4, (1, 1), use_bias=False, **options)
        self.attention = nnx.Linear(8, 8, **options)
        self.head = nnx.Linear(2 * 2 * 12, 5, bias_init=random, **options)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv1(x)))
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        x = xr.mark(nnx.relu(x + self.conv2(x)), "first")
        gate = jax.nn.softmax(self.attention(x.mean((1, 2))), axis=-1)
        x = x * gate[:, None, None, :]
        x = jnp.concatenate([x, nnx.silu(self.conv3(x))], axis=-1)
        with jax.numpy_dtype_promotion("standard"):  # Flax divides by a whole number here.
            x = nnx.avg_pool(x, (2, 2), strides=(2, 2))
        x = xr.mark(x, "second")
        return self.head(x.reshape(x.shape[0], -1))


class Linen(nn.Module):
    """Much the same in Linen, smaller, its scopes named by Linen."""

    @nn.compact
    def __call__(self, x):
        with jax.numpy_dtype_promotion("standard"):  # Flax initialises parameters of float64 in float32.
            return self.net(x)

    def net(self, x):
        x = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Conv(6, (3, 3), bias_init=nn.initializers.ones)(x)))
        x = xr.mark(nn.max_pool(x, (2, 2), strides=(2, 2)), "first")
        x = nn.relu(x + nn.Conv(6, (3, 3))(x))
        x = x * nn.sigmoid(nn.Dense(6)(x.mean((1, 2), keepdims=True)))
        return nn.Dense(5)(xr.mark(x, "second").mean((1, 2)))


def plain(x, weights):
    """jax.numpy alone, without biases: of ReLU nets of this kind, ε → 0 gives gradient times input."""
    for w in weights[:-1]:
        x = jax.nn.relu(x @ w)
    return x @ weights[-1]


def plain_weights(seed, dtype=jnp.float32):
    sizes = [(6, 8), (8, 8), (8, 8), (8, 3)]
    keys = jax.random.split(jax.random.key(seed), len(sizes))
    return [jax.random.normal(k, s, dtype) / s[0] ** 0.5 for k, s in zip(keys, sizes, strict=True)]


def images(seed, batch=2, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), (batch, 8, 8, 3), dtype)


@cache
def functions(dtype=jnp.float32):
    """Name to (f, its further arguments, x)."""
    linen, x = Linen(), images(1, dtype=dtype)
    variables = jax.tree.map(lambda a: a.astype(dtype), linen.init(jax.random.key(0), x))
    definition, state = nnx.split(Nnx(dtype=dtype))
    return {
        "nnx": (lambda x, state: nnx.merge(definition, state)(x), (state,), x),
        "linen": (lambda x, variables: linen.apply(variables, x), (variables,), x),
        "plain": (plain, (plain_weights(2, dtype),), x.reshape(-1, 6)[:4]),
    }
