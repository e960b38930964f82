"""Norms and attention are recognised however they are written, and get the same relevance."""

from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import xrcam_jax as xr
from tests.lrp import transformers
from tests.lrp.transformers import HEADS, dense, layer_norm, mlp, parameters, reference

pytestmark = [pytest.mark.usefixtures("float64", "mixed"), pytest.mark.long(one_in=3)]

COMPOSITES = {
    "attn_lrp": xr.composites.attn_lrp(eps=0),
    "attn_lrp_gamma": xr.composites.attn_lrp(eps=0, gamma=0.1),
    "cp_lrp": xr.composites.cp_lrp(eps=0),
    "relevance_cam": xr.composites.relevance_cam(eps=0),
}


def close(found, wanted, tolerance=1e-10):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def relevance(f, composite, x, seed):
    @jax.jit
    def run(x):
        out, pullback = jax.vjp(xr.lrp(f, composite), x)
        return out, pullback(jnp.asarray(seed))[0]

    return run(jnp.asarray(x))


def sites(f, x, composite=COMPOSITES["attn_lrp"]):
    return [site for site, _ in xr.conservation(f, composite, jnp.asarray(x), seed=jnp.ones_like).operations]


# Norms of 8 features of 5 tokens, which are centred in one of four ways, in four groups where there are groups.

WIDTH, GROUPS, EPS = 8, 4, 1e-3
X, SEED = (np.random.default_rng(i).normal(size=(2, 5, WIDTH)) for i in range(2))
SCALE, SHIFT = (np.random.default_rng(i).normal(size=WIDTH) for i in (2, 3))


def same(x):
    return x


def layer(x):
    return x - x.mean(-1, keepdims=True)


def instance(x):
    return x - x.mean(1, keepdims=True)


def group(x):
    g = x.reshape(2, 5, GROUPS, -1)
    return (g - g.mean((1, 3), keepdims=True)).reshape(x.shape)


def from_mean_of_squares(x):
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x).mean(-1, keepdims=True) - jnp.square(mean)
    return (x - mean) * lax.rsqrt(variance + EPS) * SCALE + SHIFT


def from_centred(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred * centred).mean(-1, keepdims=True) + EPS) * SCALE + SHIFT


def by_deviation(x):
    return (x - x.mean(-1, keepdims=True)) / (jnp.std(x, -1, keepdims=True) + EPS) * SCALE + SHIFT


def as_keras_does(x):
    mean = x.mean(-1, keepdims=True)
    inv = lax.rsqrt(x.var(-1, keepdims=True) + EPS) * SCALE
    return x * inv + (SHIFT - mean * inv)


def in_groups(x):
    g = x.reshape(2, 5, GROUPS, -1)
    normed = (g - g.mean((1, 3), keepdims=True)) / jnp.sqrt(g.var((1, 3), keepdims=True) + EPS)
    return normed.reshape(x.shape) * SCALE + SHIFT


#: By name: the norm, how it centres, and the shift β.
BY_HAND = {
    "mean_of_squares": (from_mean_of_squares, layer, SHIFT),
    "centred_once": (from_centred, layer, SHIFT),
    "deviation": (by_deviation, layer, SHIFT),
    "keras": (as_keras_does, layer, SHIFT),
    "in_groups": (in_groups, group, SHIFT),
    "standardize": (jax.nn.standardize, layer, 0),
    "over_tokens": (lambda x: jax.nn.standardize(x, axis=1) * SCALE + SHIFT, instance, SHIFT),
    "rms": (lambda x: x * lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + EPS) * SCALE, same, 0),
    "rms_as_gemma_does": (lambda x: x / jnp.sqrt((x**2).mean(-1, keepdims=True) + EPS) * (1 + SCALE), same, 0),
    "inner_product": (lambda x: x * lax.rsqrt(jnp.einsum("btc,btc->bt", x, x)[..., None]) * SCALE, same, 0),
    "length": (lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True), same, 0),
    "length_or_more": (lambda x: x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), EPS), same, 0),
    "sum_of_sizes": (lambda x: x / (jnp.abs(x).sum(-1, keepdims=True) + EPS), same, 0),
}


def of_flax():
    """Those of NNX and Linen, each with two ways to its variance."""
    kinds = {"LayerNorm": layer, "RMSNorm": same, "GroupNorm": group, "InstanceNorm": instance}
    for name, centre in kinds.items():
        for fast in (True, False):
            options = {"epsilon": EPS, "use_fast_variance": fast, "scale_init": lambda *_: jnp.asarray(SCALE)}
            if name != "RMSNorm":
                options["bias_init"] = lambda *_: jnp.asarray(SHIFT)
            if name == "GroupNorm":
                options["num_groups"] = GROUPS

            def by_nnx(x, name=name, options=options):
                dtypes = {"dtype": x.dtype, "param_dtype": x.dtype}
                return getattr(nnx, name)(WIDTH, rngs=nnx.Rngs(0), **dtypes, **options)(x)

            def by_linen(x, name=name, options=options):
                module = getattr(nn, name)(dtype=x.dtype, param_dtype=x.dtype, **options)
                return module.apply(module.init(jax.random.key(0), x), x)

            for library, f in (("nnx", by_nnx), ("linen", by_linen)):
                shift = 0 if name == "RMSNorm" else SHIFT
                yield f"{library}.{name}-{'fast' if fast else 'exact'}", (f, centre, shift)


NORMS = BY_HAND | dict(of_flax())


@pytest.mark.long(one_in=6)
@pytest.mark.parametrize("name", NORMS)
def test_a_norm_is_one_operation(name):
    """AttnLRP: what it divides by is a constant, its centring is linear, and β takes its share."""
    f, centre, shift = NORMS[name]
    found = sites(f, X)
    assert [site.kind for site in found if site.kind not in ("scale", "shift")] == ["norm"]
    out, r = relevance(f, COMPOSITES["attn_lrp"], X, SEED)
    factor = (out - shift) / centre(X)
    close(r, X * jax.vjp(centre, jnp.asarray(X))[1](factor * SEED / out)[0])
    # Relevance-CAM takes it for the identity.
    close(relevance(f, COMPOSITES["relevance_cam"], X, SEED)[1], SEED)


def test_what_gates_is_no_norm():
    w = np.random.default_rng(4).normal(size=(WIDTH, WIDTH))
    gates = {
        "squeeze_and_excite": lambda x: x * jax.nn.sigmoid(x.mean(1, keepdims=True) @ w),
        "mean": lambda x: x * x.mean(1, keepdims=True),
        "other": lambda x: x / jnp.linalg.norm(x @ w, axis=-1, keepdims=True),
    }
    for name, f in gates.items():
        kinds = [site.kind for site in sites(f, X)]
        assert "gate" in kinds, name
        assert "norm" not in kinds, name


def test_a_residual_connection_around_a_norm_is_an_operation_of_its_own():
    kinds = [site.kind for site in sites(lambda x: x + jax.nn.standardize(x), X)]
    assert kinds == ["add", "norm"]


def test_a_constant_taken_before_a_norm_is_no_part_of_it():
    kinds = [site.kind for site in sites(lambda x: from_centred(x - SHIFT), X)]
    assert kinds == ["norm", "shift"]


# The block of the references, written in six ways.

BLOCK = reference("attention_block")
INPUT, BLOCK_WEIGHTS = BLOCK["x"], {k.removeprefix("param/"): v for k, v in BLOCK.items() if k.startswith("param/")}
SIZE = INPUT.shape[-1] // HEADS


def of_heads(name):
    """The weights of queries, keys or values as (width, heads, size), and their bias as (heads, size)."""
    part = ("query", "key", "value").index(name)
    w, b = (np.split(BLOCK_WEIGHTS[f"attn.qkv.{key}"], 3)[part] for key in ("weight", "bias"))
    return w.T.reshape(-1, HEADS, SIZE), b.reshape(HEADS, SIZE)


def weights_for_flax():
    """The weights under Flax's names, NNX's and Linen's alike."""
    p = BLOCK_WEIGHTS
    attention = {name: dict(zip(("kernel", "bias"), of_heads(name), strict=True)) for name in ("query", "key", "value")}
    attention["out"] = {"kernel": p["attn.proj.weight"].T.reshape(HEADS, SIZE, -1), "bias": p["attn.proj.bias"]}
    found = {name: {"kernel": p[f"mlp.{name}.weight"].T, "bias": p[f"mlp.{name}.bias"]} for name in ("fc1", "fc2")}
    found |= {name: {"scale": p[f"{name}.weight"], "bias": p[f"{name}.bias"]} for name in ("norm1", "norm2")}
    return jax.tree.map(jnp.asarray, found | {"attn": attention})


class Linen(nn.Module):
    causal: bool

    @nn.compact
    def __call__(self, x):
        dtypes = {"dtype": x.dtype, "param_dtype": x.dtype}
        mask = nn.make_causal_mask(x[..., 0]) if self.causal else None
        y = nn.LayerNorm(epsilon=1e-6, name="norm1", **dtypes)(x)
        x = x + nn.MultiHeadDotProductAttention(HEADS, name="attn", **dtypes)(y, mask=mask)
        y = nn.LayerNorm(epsilon=1e-6, name="norm2", **dtypes)(x)
        y = nn.gelu(nn.Dense(2 * x.shape[-1], name="fc1", **dtypes)(y), approximate=False)
        return x + nn.Dense(x.shape[-1], name="fc2", **dtypes)(y)


class Nnx(nnx.Module):
    def __init__(self, width, **options):
        self.norm1, self.norm2 = (nnx.LayerNorm(width, epsilon=1e-6, **options) for _ in range(2))
        self.attn = nnx.MultiHeadAttention(HEADS, width, decode=False, **options)
        self.fc1, self.fc2 = nnx.Linear(width, 2 * width, **options), nnx.Linear(2 * width, width, **options)

    def __call__(self, x, mask):
        x = x + self.attn(self.norm1(x), mask=mask)
        return x + self.fc2(nnx.gelu(self.fc1(self.norm2(x)), approximate=False))


def linen(x, causal):
    return Linen(causal).apply({"params": weights_for_flax()}, x)


def nnx_module(x, causal):
    model = Nnx(x.shape[-1], rngs=nnx.Rngs(0), dtype=x.dtype, param_dtype=x.dtype)
    graph, state = nnx.split(model)
    nnx.replace_by_pure_dict(state, weights_for_flax())
    return nnx.merge(graph, state)(x, nnx.make_causal_mask(x[..., 0]) if causal else None)


def plain(x, causal):
    p = parameters(BLOCK)
    future = jnp.where(jnp.triu(jnp.ones((x.shape[1],) * 2, bool), 1), -jnp.inf, 0.0)
    x = x + transformers.attention(layer_norm(x, p, "norm1"), p, *([future] if causal else []))
    return x + mlp(layer_norm(x, p, "norm2"), p)


def around(attend):
    """The block around a function of queries, keys and values (b, tokens, heads, size)."""

    def f(x, causal):
        p, y = parameters(BLOCK), layer_norm(x, parameters(BLOCK), "norm1")
        q, k, v = (jnp.einsum("btc,chd->bthd", y, w) + b for w, b in map(of_heads, ("query", "key", "value")))
        x = x + dense(attend(q, k, v, causal).reshape(x.shape), p, "attn.proj")
        return x + mlp(layer_norm(x, p, "norm2"), p)

    return f


def einsum(q, k, v, causal):
    scores = jnp.einsum("bqhd,bkhd->bhqk", q / SIZE**0.5, k)
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, jnp.finfo(scores.dtype).min)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)


def fused(q, k, v, causal):
    return jax.nn.dot_product_attention(q, k, v, is_causal=causal)


def one_head_at_a_time(q, k, v, causal):
    def head(q, k, v):
        scores = q @ k.T * SIZE**-0.5
        weights = jax.nn.softmax(scores, where=jnp.tril(jnp.ones(scores.shape, bool)) if causal else None)
        return weights @ v

    return jax.vmap(jax.vmap(head, 1, 1))(q, k, v)


WRITTEN = {
    "plain": plain,
    "einsum": around(einsum),
    "vmap": around(one_head_at_a_time),
    "linen": linen,
    "fused": around(fused),
    "nnx": nnx_module,
}
#: JAX's own attention has its softmax in float32, and NNX uses it.
IN_FLOAT32 = ("fused", "nnx")


@cache
def of_block(name, composite, causal):
    return relevance(lambda x: WRITTEN[name](x, causal), COMPOSITES[composite], INPUT, BLOCK["seed"])


@pytest.mark.long(one_in=6)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "plain"])
def test_the_same_block_has_the_same_relevance(name, causal):
    tolerance = 1e-5 if name in IN_FLOAT32 else 1e-10
    for composite in ("attn_lrp_gamma", "cp_lrp", "relevance_cam"):
        wanted = of_block("plain", composite, causal)
        jax.tree.map(lambda a, b: close(a, b, tolerance), of_block(name, composite, causal), wanted)
        if name in IN_FLOAT32:
            jax.tree.map(close, of_block(name, composite, causal), of_block("fused", composite, causal))


def test_the_block_is_that_of_the_references():
    close(of_block("plain", "attn_lrp", False)[0], BLOCK["z"])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", WRITTEN)
def test_both_products_of_attention_have_its_role(name, causal):
    found = sites(lambda x: WRITTEN[name](x, causal), INPUT)
    assert [site.kind for site in found if site.role == "attention"] == ["matmul", "matmul"]
    counts = {kind: sum(site.kind == kind for site in found) for kind in ("matmul", "softmax", "norm", "activation")}
    assert counts == {"matmul": 2, "softmax": 1, "norm": 2, "activation": 1}
    assert not [site for site in found if site.kind in ("gate", "nonlinear")]


def test_heads_may_talk_before_and_after_the_softmax():
    """CaiT mixes the scores of all heads, and their weights, by a layer of its own each (Shazeer et al., 2020)."""
    draws = np.random.default_rng(7)
    before, after = (draws.normal(size=(2, 2)) for _ in range(2))

    def talking(q, k, v, causal):
        scores = jnp.einsum("bqhd,bkhd->bqkh", q, k) @ before + draws.normal(size=2)
        weights = jax.nn.softmax(scores, axis=2) @ after + draws.normal(size=2)
        return jnp.einsum("bqkh,bkhd->bqhd", weights, v)

    def as_layers(q, k, v, causal):
        scores = jnp.einsum("gh,bhqk->bgqk", before, jnp.einsum("bqhd,bkhd->bhqk", q, k))
        weights = jnp.einsum("gh,bhqk->bgqk", after, jax.nn.softmax(scores))
        return jnp.einsum("bhqk,bkhd->bqhd", weights, v)

    for attend in (talking, as_layers):
        found = sites(lambda x, attend=attend: around(attend)(x, False), INPUT)
        assert [site.kind for site in found if site.role == "attention"] == ["matmul", "matmul"]


def test_mixed_weights_of_attention_are_the_gate_and_values_the_signal():
    """All relevance goes through the values: v (Aᵀ R / z), whatever made the weights A of the softmax's."""
    draws = np.random.default_rng(9)
    mix = draws.normal(size=(2, 2))

    def weights(x):
        return jax.nn.softmax(jnp.einsum("bqhd,bkhd->bqkh", x, x), axis=2) @ mix + 0.5

    def attend(x, values):
        return jnp.einsum("bqkh,bkhd->bqhd", weights(x), values(x))

    x = jnp.asarray(draws.normal(size=(1, 3, 2, 2)))
    for values in (lambda x: x, lambda x: jnp.maximum(x, 0)):
        for rules in (xr.composites.relevance_cam(eps=0), xr.composites.epsilon_plus(eps=0)):
            seed = draws.normal(size=x.shape)
            z, found = relevance(lambda x, values=values: attend(x, values), rules, x, seed)
            close(found, values(x) * jnp.einsum("bqkh,bqhd->bkhd", weights(x), seed / z))


def test_a_layer_between_a_product_and_a_softmax_takes_the_role_away():
    weights = np.random.default_rng(8).normal(size=(5, 4))
    found = sites(lambda x: jax.nn.softmax((x @ x.swapaxes(1, 2)) @ weights[: x.shape[1]]), X)
    assert [site.role for site in found if site.kind == "matmul"] == [None]


def test_products_without_a_softmax_have_no_role():
    linear = sites(lambda x: (x @ x.swapaxes(1, 2)) @ x, X)
    assert [(site.kind, site.role) for site in linear] == [("matmul", None)] * 2
