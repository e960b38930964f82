"""Transformers of any shape: their relevance as a gradient, its account, and what it composes with."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

import xrcam_jax as xr
from tests.lrp import transformers
from tests.lrp.transformers import dense, join_heads, split_heads

pytestmark = pytest.mark.usefixtures("float64")

Mask = Literal["none", "min", "inf", "added", "added_inf", "softmax"]
RULES = {"attn": xr.composites.attn_lrp(eps=0), "cp": xr.composites.cp_lrp(eps=0)}


@dataclass(frozen=True)
class Case:
    """A block of a transformer, and what it is given."""

    seed: int
    batch: int
    tokens: int
    heads: int
    size: int
    hidden: int
    pre_norm: bool
    biases: bool
    class_token: bool
    causal: bool
    mask: Mask = "none"

    @property
    def width(self):
        return self.heads * self.size

    def normal(self, number, *shape):
        return jnp.asarray(np.random.default_rng([self.seed, number]).standard_normal(shape))

    def weights(self):
        shapes = {"attn.qkv": (3 * self.width, self.width), "attn.proj": (self.width, self.width)}
        shapes |= {"mlp.fc1": (self.hidden, self.width), "mlp.fc2": (self.width, self.hidden)}
        p = {f"{name}.weight": self.normal(i, *s) / s[1] ** 0.5 for i, (name, s) in enumerate(shapes.items())}
        p |= {f"norm{i}.weight": 1 + self.normal(10 + i, self.width) / 4 for i in (1, 2)}
        p |= {
            f"{name}.bias": self.normal(20 + i, s[0]) / 4 for i, (name, s) in enumerate(shapes.items()) if self.biases
        }
        p |= {f"norm{i}.bias": self.normal(30 + i, self.width) * (self.biases / 4) for i in (1, 2)}
        return p | {"token": self.normal(40, 1, 1, self.width)}

    def allowed(self):
        """Which token may look at which: at least at itself."""
        n = self.tokens + self.class_token
        past = np.tril(np.ones((n, n), bool)) if self.causal else np.ones((n, n), bool)
        drawn = np.random.default_rng([self.seed, 50]).random((n, n)) < 0.6
        return jnp.asarray(past & (drawn | np.eye(n, dtype=bool)))


cases = st.builds(
    Case,
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 2),
    tokens=st.integers(1, 5),
    heads=st.integers(1, 3),
    size=st.integers(2, 4),
    hidden=st.integers(1, 9),
    pre_norm=st.booleans(),
    biases=st.booleans(),
    class_token=st.booleans(),
    causal=st.booleans(),
)


def softmax(scores, case):
    allowed = case.allowed()
    match case.mask:
        case "min":
            scores = jnp.where(allowed, scores, jnp.finfo(scores.dtype).min)
        case "inf":
            scores = jnp.where(allowed, scores, -jnp.inf)
        case "added":
            scores = scores + jnp.where(allowed, 0.0, -1e9)
        case "added_inf":
            scores = scores + jnp.where(allowed, 0.0, -jnp.inf)
        case "softmax":
            return jax.nn.softmax(scores, -1, where=allowed)
    return jax.nn.softmax(scores, -1)


def network(x, p, case, of):
    """The block, its operations taken from ``of``, with the class token's or the mean features at the end."""
    if case.class_token:
        # At the end, where it sees all others under a causal mask too.
        x = jnp.concatenate([x, jnp.zeros_like(x[:, :1]) + p["token"]], 1)

    def attention(x):
        q, k, v = (split_heads(part, case.heads) for part in jnp.split(dense(x, p, "attn.qkv"), 3, -1))
        weights = softmax(of.matmul(q, k.swapaxes(-1, -2)) * case.size**-0.5, case)
        return dense(join_heads(of.attend(weights, v)), p, "attn.proj")

    def mlp(x):
        return dense(of.activation(dense(x, p, "mlp.fc1")), p, "mlp.fc2")

    if case.pre_norm:
        x = x + attention(of.norm(x, p, "norm1"))
        x = x + mlp(of.norm(x, p, "norm2"))
    else:
        x = of.norm(x + attention(x), p, "norm1")
        x = of.norm(x + mlp(x), p, "norm2")
    return x[:, -1] if case.class_token else x.mean(1)


def gelu(x):
    return jax.nn.gelu(x, approximate=False)


def halves(a, b):
    """A product whose derivative with respect to each operand is half of what it is."""
    return (lax.stop_gradient(a) @ b + a @ lax.stop_gradient(b)) / 2


def norm_by_a_constant(x, p, name):
    variance = lax.stop_gradient(jnp.var(x, -1, keepdims=True))
    return (x - x.mean(-1, keepdims=True)) * lax.rsqrt(variance + 1e-6) * p[f"{name}.weight"] + p[f"{name}.bias"]


PLAIN = SimpleNamespace(norm=transformers.layer_norm, matmul=jnp.matmul, attend=jnp.matmul, activation=gelu)
#: Operations of which gradient × input is AttnLRP, and CP-LRP.
FROZEN = {
    "attn": SimpleNamespace(
        norm=norm_by_a_constant,
        matmul=halves,
        attend=halves,
        activation=lambda x: x * lax.stop_gradient(gelu(x) / x),
    )
}
FROZEN["cp"] = SimpleNamespace(**vars(FROZEN["attn"]) | {"attend": lambda a, v: lax.stop_gradient(a) @ v})


@pytest.mark.parametrize("mask", get_args(Mask))
@pytest.mark.parametrize("kind", RULES)
# A smaller case would say little more, and each takes seconds to compile.
@pytest.mark.long(but=["-added]"])
@settings(max_examples=3, phases=(Phase.explicit, Phase.generate))
@given(case=cases)
def test_relevance_is_a_gradient_and_all_of_it_is_accounted_for(kind, mask, case):
    with jax.enable_x64(True):
        case = replace(case, mask=mask)
        p, x = case.weights(), case.normal(60, case.batch, case.tokens, case.width)
        report = xr.conservation(lambda x: network(x, p, case, PLAIN), RULES[kind], x, seed=lambda out: out)
        whole = max(balance.arrived_absolute for _, balance in report.operations)
        for site, balance in report.operations:
            assert abs(balance.rest) <= 1e-10 * whole, (site, balance)
        ended = sum(balance.bias + balance.stabiliser + balance.zero for _, balance in report.operations)
        assert abs(report.seed - report.reached - ended) <= 1e-10 * whole

        @jax.jit
        def both(x):
            out, pullback = jax.vjp(xr.lrp(lambda x: network(x, p, case, PLAIN), RULES[kind]), x)
            gradient = jax.vjp(lambda x: network(x, p, case, FROZEN[kind]), x)[1](jnp.ones_like(out))[0]
            return pullback(out)[0], x * gradient

        found, wanted = both(x)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10 * whole)


@pytest.mark.long(but=["cp"])
@pytest.mark.parametrize("kind", RULES)
def test_what_is_added_to_scores_may_come_before_a_mask_or_after_it(kind):
    rng = np.random.default_rng(0)
    x, positions = jnp.asarray(rng.normal(size=(3, 4))), jnp.asarray(rng.normal(size=(3, 3)))
    allowed = np.tril(np.ones((3, 3), bool))
    masks = (
        lambda scores: jnp.where(allowed, scores + positions, -jnp.inf),
        lambda scores: jnp.where(allowed, scores, -jnp.inf) + positions,
        lambda scores: scores + jnp.where(allowed, 0.0, -jnp.inf) + positions,
    )
    found = []
    for mask in masks:

        def attend(x, mask=mask):
            return jax.nn.softmax(mask(x @ x.T)) @ x

        found.append(jax.vjp(xr.lrp(attend, RULES[kind]), x)[1](jnp.ones_like(x))[0])
        report = xr.conservation(attend, RULES[kind], x, seed=jnp.ones_like)
        lost = sum(balance.bias for _, balance in report.operations)
        np.testing.assert_allclose(report.seed, report.reached + lost, rtol=1e-12)
    np.testing.assert_allclose(found[1:], found[:1] * 2, rtol=1e-12)


# What it composes with.


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11 * np.abs(wanted).max())


@pytest.fixture
def block():
    """A causal block and eight examples, its function of (x, weights) and what it gives uncompiled."""
    case = Case(3, 8, 4, 2, 3, 8, pre_norm=True, biases=True, class_token=True, causal=True, mask="min")
    return lambda x, p: network(x, p, case, PLAIN), case.normal(60, 8, 4, case.width), case.weights()


def relevance(f, kind, x, p):
    out, pullback = jax.vjp(xr.lrp(lambda x: f(x, p), RULES[kind]), x)
    return pullback(out)[0]


@pytest.mark.long(but=["cp"])
@pytest.mark.parametrize("kind", RULES)
def test_jit_changes_nothing_and_vmap_is_a_loop(kind, block):
    f, x, p = block
    wanted = relevance(f, kind, x, p)
    assert np.isfinite(wanted).all()
    assert np.abs(wanted).max() > 0
    one = jax.jit(lambda example: relevance(f, kind, example[None], p)[0])
    close(jax.jit(lambda x: relevance(f, kind, x, p))(x), wanted)
    close(jax.vmap(one)(x), wanted)
    close(np.stack([one(example) for example in x]), wanted)


@pytest.mark.long(but=["cp-AxisType.Auto"])
@pytest.mark.parametrize("axis", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
@pytest.mark.parametrize("kind", RULES)
def test_a_sharded_batch_gives_the_same(kind, axis, block):
    f, x, p = block
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis,))
    with jax.set_mesh(mesh):
        laid = jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))
        found = jax.jit(lambda x, p: relevance(f, kind, x, p))(laid, p)
    assert found.sharding.spec[0] == "batch"
    close(jax.device_get(found), jax.jit(lambda x, p: relevance(f, kind, x, p))(x, p))


@pytest.mark.long(but=["cp"])
@pytest.mark.parametrize("kind", RULES)
def test_sharded_weights_give_the_same(kind, block):
    """Two groups of examples, and heads and hidden features over four devices each."""
    f, x, p = block
    mesh = jax.make_mesh((2, 4), ("batch", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    split = {"mlp.fc1.weight": ("model", None), "mlp.fc1.bias": ("model",), "mlp.fc2.weight": (None, "model")}
    with jax.set_mesh(mesh):
        laid = jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))
        weights = {k: jax.device_put(v, NamedSharding(mesh, PartitionSpec(*split.get(k, ())))) for k, v in p.items()}
        found = jax.jit(lambda x, p: relevance(f, kind, x, p))(laid, weights)
    close(jax.device_get(found), jax.jit(lambda x, p: relevance(f, kind, x, p))(x, p))


@pytest.mark.parametrize("kind", RULES)
def test_a_constant_keeps_its_share_however_the_difference_is_written(kind):
    """Of R at each entry of c - x, the entry -x has R (-x) / (c - x), and the constant the rest."""
    c, weights, x = jnp.array([1.0, 2.0]), jnp.array([[1.0], [2.0]]), jnp.array([[0.9, 1.5]])
    for way in (lambda x: c - x, lambda x: c + (-x), lambda x: -(x - c)):
        (r,) = jax.vjp(xr.lrp(lambda x, way=way: way(x) @ weights, RULES[kind]), x)[1](way(x) @ weights)
        np.testing.assert_allclose(r, -x * weights[:, 0], rtol=1e-12)
    (r,) = jax.vjp(xr.lrp(lambda x: (x + (c - x)) @ weights, RULES[kind]), x)[1](c[None] @ weights)
    np.testing.assert_allclose(r, 0, atol=1e-12)
