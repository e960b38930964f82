"""Layers by name: what is found there is what a mark at the same place finds, whatever is around it."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

import xrcam_jax as xr
from tests.lrp import networks
from xrcam_jax.lrp.composites import Assign, Composite
from xrcam_jax.lrp.cut import cut
from xrcam_jax.lrp.globs import fits, fits_around
from xrcam_jax.lrp.layers import last_of_each_size
from xrcam_jax.lrp.rules import Epsilon, Gradient, ZPlus

pytestmark = pytest.mark.long(one_in=5)

SIZE, DEPTH = 5, 3
COMPOSITES = {"epsilon_plus": xr.composites.epsilon_plus(), "gradient": xr.composites.gradient()}


def one_hot(out):
    return xr.seeds.one_hot(out, jnp.argmax(out, -1))


def drawn(seed):
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = (2, SIZE), (DEPTH, SIZE, SIZE), (DEPTH, SIZE)
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def by_scope(f, name):
    return jax.named_scope(name)(f)


def by_mark(f, name):
    return lambda *args: xr.mark(f(*args), name)


def block(x, w, b):
    return jax.nn.relu(x @ w + b) + 0.5 * x


def head(x):
    return x.sum(-1, keepdims=True) * jnp.arange(1.0, 3.0)


def in_turn(wrap, named, x, w, b):
    for i in range(DEPTH):
        x = wrap(named(block, f"block/{i}"))(x, w[i], b[i])
    return head(x)


def scanned(wrap, named, x, w, b):
    turn = wrap(named(block, "block"))
    return head(lax.scan(lambda x, each: (turn(x, *each), None), x, (w, b))[0])


def scanned_backwards(wrap, named, x, w, b):
    turn = wrap(named(block, "block"))
    return head(lax.scan(lambda x, each: (turn(x, *each), None), x, (w[::-1], b[::-1]), reverse=True)[0])


def counted(wrap, named, x, w, b):
    turn = wrap(named(block, "block"))
    state = lax.while_loop(lambda s: s[0] < DEPTH, lambda s: (s[0] + 1, turn(s[1], w[s[0]], b[s[0]])), (0, x))
    return head(state[1])


def mapped(wrap, named, x, w, b):
    return jax.vmap(lambda row: in_turn(wrap, named, row, w, b))(x)


MODELS = {
    "plain": partial(in_turn, lambda f: f),
    "jit": partial(in_turn, jax.jit),
    "remat": partial(in_turn, jax.checkpoint),
    "jit in remat in jit": partial(in_turn, lambda f: jax.jit(jax.checkpoint(jax.jit(f)))),
    "vmap": partial(mapped, lambda f: f),
    "scan": partial(scanned, lambda f: f),
    "remat in scan": partial(scanned, jax.checkpoint),
    "jit in scan backwards": partial(scanned_backwards, jax.jit),
    "while": partial(counted, lambda f: f),
}

LOOPS = {"scan", "remat in scan", "jit in scan backwards", "while"}


def taps(f, composite, x, *args, marks):
    """Names in their order, and what was found."""
    names = []

    @jax.jit
    def run(x, *args):
        found = xr.taps(f, composite, x, *args, seed=one_hot, marks=marks)
        names.extend(found.relevances)
        return found

    found = run(x, *args)
    return names, found


def close(a, b, tolerance=1e-12):
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * float(jnp.abs(b).max()))


@pytest.mark.long(but=["remat in scan-epsilon_plus", "while-epsilon_plus"])
@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", MODELS)
def test_the_end_of_a_scope_is_what_a_mark_there_finds_in_a_loop_written_out(name, composite, float64):
    """The reference is the plain model, with a mark set by hand after each block."""
    x, w, b = drawn(1)
    f, wanted = partial(MODELS[name], by_scope), partial(MODELS["plain"], by_mark)
    if name == "while":
        # As in any scan the weights are looked up by a counter.
        wanted = partial(in_turn, lambda f: f, by_mark)
    names, found = taps(f, COMPOSITES[composite], x, w, b, marks=["block/*"])
    marks, reference = taps(wanted, COMPOSITES[composite], x, w, b, marks=None)
    order = sorted(names) if "backwards" in name else names
    assert order == marks == ["block/0", "block/1", "block/2"]
    close(found.output, reference.output)
    for layer in names:
        turn = f"block/{DEPTH - 1 - int(layer[-1])}" if "backwards" in name else layer
        close(found.activations[layer], reference.activations[turn])
        close(found.relevances[layer], reference.relevances[turn])


@pytest.mark.long(but=["remat in scan"])
@pytest.mark.parametrize("name", MODELS)
def test_marks_inside_are_found_as_scopes_are(name, float64):
    x, w, b = drawn(2)
    by_name = taps(partial(MODELS[name], by_scope), COMPOSITES["epsilon_plus"], x, w, b, marks=["block/*"])
    marked = partial(MODELS[name], by_mark)
    for wanted in (None, ["block"], ["block/*"]) if name in LOOPS else (None, ["block/*"]):
        names, found = taps(marked, COMPOSITES["epsilon_plus"], x, w, b, marks=wanted)
        assert names == by_name[0]
        jax.tree.map(close, found.relevances, by_name[1].relevances)


@pytest.mark.parametrize("name", MODELS)
def test_cut_at_a_named_layer_the_halves_are_the_function(name, float64):
    x, w, b = drawn(6)
    f = partial(MODELS[name], by_scope)
    halves = cut(f, "block/1", x, w, b)
    _, found = taps(f, COMPOSITES["gradient"], x, w, b, marks=["block/1"])

    @jax.jit
    def composed(x, w, b):
        activation, rest = halves.head(x, w, b)
        output, pullback = jax.vjp(lambda a: halves.tail(a, rest), activation)
        return activation, output, pullback(one_hot(output))[0]

    activation, output, gradient = composed(x, w, b)
    close(activation, found.activations["block/1"])
    close(output, f(x, w, b))
    close(gradient, found.relevances["block/1"], 1e-11)


WRAPPERS = {
    "jit": lambda f: lambda x: jax.jit(f)(x),
    "remat": lambda f: lambda x: jax.checkpoint(f)(x),
    "vmap": lambda f: lambda x: jax.vmap(lambda row: f(row[None])[0])(x),
    "scope": lambda f: jax.named_scope("around")(f),
    "scan of one": lambda f: lambda x: lax.scan(lambda x, _: (f(x), None), x, None, 1)[0],
}


@pytest.mark.long
@given(
    around=st.lists(st.lists(st.sampled_from(sorted(WRAPPERS)), max_size=3), min_size=1, max_size=3),
    picked=st.integers(0, 2),
)
def test_it_does_not_matter_what_is_around_a_scope(around, picked):
    """The reference is cut by hand: relevance at the input of what comes after the block."""
    x, w, b = drawn(7)
    picked = min(picked, len(around) - 1)

    def some(blocks):
        def model(x):
            for i in blocks:
                f = jax.named_scope(f"block_{i}")(lambda x, i=i: block(x, w[i], b[i]))
                for wrapper in around[i]:
                    f = WRAPPERS[wrapper](f)
                x = f(x)
            return x

        return model

    def rest(x):
        for i in range(picked + 1, len(around)):
            x = block(x, w[i], b[i])
        return head(x)

    turns = "/0" * around[picked].count("scan of one")
    found = xr.taps(
        lambda x: head(some(range(len(around)))(x)), COMPOSITES["gradient"], x, seed=one_hot, marks=[f"block_{picked}"]
    )
    activation = some(range(picked + 1))(x)
    (layer,) = found.activations
    assert layer == f"block_{picked}{turns}"
    output, pullback = jax.vjp(rest, activation)
    # Inside vmap there is another axis.
    close(found.activations[layer].reshape(x.shape), activation, 1e-5)
    close(found.relevances[layer].reshape(x.shape), pullback(one_hot(output))[0], 1e-5)


@pytest.mark.parametrize("name", ["plain", "remat", "vmap"])
def test_to_look_at_a_layer_changes_no_relevance(name, float64):
    """Rules are chosen by the model's own marks and scopes."""
    x, w, b = drawn(3)
    rules = Composite(
        (Assign(ZPlus(), kinds=("dense",), name="block/2"), Assign(Epsilon(1e-2), kinds=("dense", "sum", "add"))),
        default=Gradient(),
    )
    f = partial(MODELS[name], by_scope)
    names, alone = taps(f, rules, x, w, b, marks=["block/0"])
    _, together = taps(f, rules, x, w, b, marks=["block/0", "block/2", "block/2/max"])
    close(alone.relevances[names[0]], together.relevances[names[0]])
    _, other = taps(f, Composite(rules.assignments[1:], rules.default), x, w, b, marks=["block/0"])
    assert not np.allclose(other.relevances["block/0"], alone.relevances["block/0"])


def test_a_program_in_which_nothing_is_asked_for_keeps_its_scan(float64):
    x, w, b = drawn(4)
    for marks, loops in (([], 1), (["mul:2"], 1), (["block/1"], 0)):
        f = partial(MODELS["scan"], by_mark)
        traced = jax.make_jaxpr(partial(xr.taps, f, COMPOSITES["epsilon_plus"], seed=one_hot, marks=marks))(x, w, b)
        assert sum(eqn.primitive.name == "scan" for eqn in traced.eqns) == loops
    kept = jax.make_jaxpr(xr.lrp(partial(MODELS["scan"], by_mark), COMPOSITES["epsilon_plus"]))(x, w, b)
    assert "scan" in {eqn.primitive.name for eqn in kept.eqns}


def test_two_turns_of_two_loops():
    def model(x):
        def inner(x, _):
            return xr.mark(jnp.sin(x), "a"), xr.mark(jnp.cos(x), "b")

        def outer(x, _):
            x, ys = lax.scan(inner, x, None, 2)
            return xr.mark(x + ys.sum(0), "c"), None

        return lax.scan(outer, x, None, 2)[0]

    found = xr.taps(model, COMPOSITES["gradient"], jnp.ones(3), seed=jnp.ones(3))
    turns = [(f"{name}/{i}/{j}") for i in range(2) for j in range(2) for name in "ab"]
    assert list(found.activations) == [*turns[:4], "c/0", *turns[4:], "c/1"]
    x = jnp.ones(3)
    for i in range(2):
        y = 0.0
        for j in range(2):
            close(found.activations[f"b/{i}/{j}"], jnp.cos(x), 1e-6)
            y, x = y + jnp.cos(x), jnp.sin(x)
            close(found.activations[f"a/{i}/{j}"], x, 1e-6)
        x = x + y
        close(found.activations[f"c/{i}"], x, 1e-6)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(SIZE)(x)) + nn.Dense(SIZE)(x)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        shared = Block(name="shared")
        x = nn.remat(Block)(name="first")(shared(shared(x)))
        return nn.Dense(2)(jnp.einsum("bi,ij->bj", x, jnp.eye(SIZE)))


def linen(x):
    module = Linen()
    return partial(module.apply, module.init(jax.random.key(0), x))


def test_modules_that_are_called_again_are_numbered():
    x = jnp.ones((2, SIZE))
    f = linen(x)
    found = xr.layers(f, x)
    scopes = [name for name, layer in found.items() if layer.kind == "scope"]
    blocks = [f"Linen/{name}" for name in ("shared", "shared:2", "first")]
    inside = [each for name in blocks for each in (name, f"{name}/Dense_0", f"{name}/Dense_1")]
    assert scopes == ["Linen", *inside, "Linen/Dense_0"]
    taps = xr.taps(f, COMPOSITES["gradient"], x, seed=one_hot, marks=["shared", "shared:2", "first", "Linen"])
    params = f.args[0]["params"]
    once = Block().apply({"params": params["shared"]}, x)
    twice = Block().apply({"params": params["shared"]}, once)
    close(taps.activations["shared"], once, 1e-6)
    close(taps.activations["shared:2"], twice, 1e-6)
    close(taps.activations["first"], Block().apply({"params": params["first"]}, twice), 1e-6)
    close(taps.activations["Linen"], f(x), 1e-6)
    # Remat puts out what its block does, so that the model can be cut there.
    halves = cut(f, "first", x)
    close(halves.tail(*halves.head(x)), f(x), 1e-6)


def test_the_output_of_a_scope_is_the_last_value_that_depends_on_x_and_is_read_outside():
    def model(x, p):
        with jax.named_scope("unread"):
            y = jnp.sin(x)
            jnp.cos(y).sum()
        with jax.named_scope("constant last"):
            y = y * 2
            scale = jnp.exp(p)
        with jax.named_scope("whole numbers last"):
            y = y + 1
            places = jnp.argmax(y, axis=-1)
        with jax.named_scope("parameters alone"):
            bias = jnp.cos(p)
        return (y * scale + bias)[jnp.arange(2), places]

    x, p = jax.random.normal(jax.random.key(0), (2, 3)), jnp.ones(3)
    found = xr.layers(model, x, p)
    assert [name for name, layer in found.items() if layer.kind == "scope"] == [
        "unread", "constant last", "whole numbers last",
    ]  # fmt: skip
    taps = xr.taps(model, COMPOSITES["gradient"], x, p, seed=jnp.ones(2), marks=["unread", "* last"])
    close(taps.activations["unread"], jnp.sin(x), 1e-6)
    close(taps.activations["constant last"], 2 * jnp.sin(x), 1e-6)
    close(taps.activations["whole numbers last"], 2 * jnp.sin(x) + 1, 1e-6)


def test_a_scope_goes_on_when_a_function_that_is_traced_once_is_called_in_it_again():
    """As means and activations are, in a module that has two of them."""
    inner = jax.jit(jax.named_scope("inner")(jnp.sin))
    found = xr.layers(jax.named_scope("block")(lambda x: inner(2 * inner(x))), jnp.ones(2))
    scopes = [layer.name for layer in found.values() if layer.kind == "scope"]
    assert scopes == ["block", "block/inner", "block/inner:2"]
    assert found["block"].primitives == ("sin", "mul")


def test_a_function_that_is_traced_once_and_called_twice_is_two_layers():
    inner = jax.jit(jax.named_scope("inner")(jnp.sin))
    found = xr.layers(lambda x: inner(inner(x)), jnp.ones(3))
    assert [name for name, layer in found.items() if layer.kind == "scope"] == ["inner", "inner:2"]
    taps = xr.taps(lambda x: inner(inner(x)), COMPOSITES["gradient"], jnp.ones(3), seed=jnp.ones(3), marks=["inner*"])
    close(taps.activations["inner"], jnp.sin(jnp.ones(3)), 1e-6)
    close(taps.activations["inner:2"], jnp.sin(jnp.sin(jnp.ones(3))), 1e-6)


class Nnx(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.blocks = nnx.List([nnx.Sequential(nnx.Linear(SIZE, SIZE, rngs=rngs), nnx.relu) for _ in range(2)])
        self.norm = nnx.BatchNorm(SIZE, rngs=rngs)
        self.head = nnx.Linear(SIZE, 2, rngs=rngs)

    def __call__(self, x):
        for each in self.blocks:
            x = nnx.remat(lambda module, x: module(x))(each, x)
        with jax.numpy_dtype_promotion("standard"):
            return self.head(self.norm(x))


def test_modules_of_nnx_have_the_names_of_their_attributes():
    model, x = Nnx(), jax.random.normal(jax.random.key(0), (2, SIZE))
    model.eval()
    types = [type(module) for _, module in nnx.iter_modules(model)]
    names = [name for name, layer in xr.layers(model, x).items() if layer.kind == "scope"]
    assert names == [
        "blocks", "blocks/0", "blocks/0/layers", "blocks/0/layers/0", "blocks/1", "blocks/1/layers",
        "blocks/1/layers/0", "norm", "head",
    ]  # fmt: skip
    taps = xr.taps(model, COMPOSITES["gradient"], x, seed=one_hot, marks=["blocks/*", "norm"])
    assert list(taps.activations) == ["blocks/0", "blocks/1", "norm"]
    close(taps.activations["blocks/0"], model.blocks[0](x), 1e-6)
    close(taps.activations["norm"] @ model.head.kernel[...] + model.head.bias[...], model(x), 1e-6)
    # It was a copy whose modules were named.
    assert [type(module) for _, module in nnx.iter_modules(model)] == types


def test_values_are_called_by_their_primitive_and_number():
    x, w = jnp.ones((2, 3)), jnp.ones((3, 3))
    found = xr.layers(lambda x: jnp.tanh(jax.nn.relu(x @ w) @ w) @ w, x)
    assert list(found) == ["dot_general", "max", "dot_general:2", "tanh", "dot_general:3"]
    assert [layer.shape for layer in found.values()] == [(2, 3)] * 5
    # What does not depend on x is no layer, and what only moves values is none worth listing.
    shown = str(xr.layers(lambda x: (jnp.sin(w) @ x.T).reshape(-1), x))
    assert shown.split() == ["dot_general", "(3,", "2)", "float32"]


def test_names_are_the_same_whatever_functions_a_composite_opens():
    """GELU is written with a function that keeps its derivative for a gradient, and is opened for rules."""
    f = linen_like_gelu
    x = jax.random.normal(jax.random.key(0), (2, SIZE))
    rules = Composite(default=Gradient())
    for name in ("custom_jvp_call", "act", "tanh"):
        _, one = taps(f, COMPOSITES["gradient"], x, marks=[name])
        _, other = taps(f, rules, x, marks=[name])
        close(one.activations[name], other.activations[name], 1e-6)
        close(one.relevances[name], other.relevances[name], 1e-6)


@jax.custom_jvp
def doubled_tanh(x):
    return 2 * jnp.tanh(x).sum(-1, keepdims=True) * x


@doubled_tanh.defjvp
def _(primals, tangents):
    f = lambda x: 2 * jnp.tanh(x).sum(-1, keepdims=True) * x  # noqa: E731
    return jax.jvp(f, primals, tangents)


def linen_like_gelu(x):
    with jax.named_scope("act"):
        x = doubled_tanh(x)
    return head(jnp.tanh(x))


def test_a_name_may_be_shortened_if_it_fits_one_layer():
    x = jnp.ones((2, SIZE))
    f = linen(x)
    found = xr.layers(f, x)
    assert list(found.select("shared/Dense_1")) == ["shared/Dense_1"]
    with pytest.raises(ValueError, match=r"layer 'Dense_1' could be one of Linen/shared/Dense_1, .*; write more of it"):
        found.select("Dense_1")
    assert list(found.select("shared*/Dense_1")) == ["Linen/shared/Dense_1", "Linen/shared:2/Dense_1"]
    with pytest.raises(ValueError, match="unknown layer 'frist'; did you mean 'Linen/first'"):
        found.select("frist")
    with pytest.raises(ValueError, match="unknown mark 'Linen/frist'; did you mean 'Linen/first'"):
        xr.taps(f, COMPOSITES["gradient"], x, seed=one_hot, marks=["Linen/frist"])
    # A glob that fits nothing tells which layers there are, the outermost first; dots are PyTorch's slashes.
    with pytest.raises(ValueError, match=r"unknown layer 'none\*'; known: Linen, Linen/shared, Linen/shared:2, "):
        found.select("none*")
    with pytest.raises(ValueError, match=r"unknown layer 'shared\.Dense_2'; did you mean 'Linen/shared.*/Dense_\d"):
        found.select("shared.Dense_2")


def test_of_many_layers_a_few_are_shown_beside_an_unknown_one():
    def f(x):
        for i in range(30):
            with jax.named_scope(f"outer/{i}"):
                x = jnp.tanh(x)
        return xr.mark(x, "end")

    with pytest.raises(ValueError, match="unknown layer 'nothing'; known: end, ") as caught:
        xr.layers(f, jnp.ones((1, 2))).select("nothing")
    assert str(caught.value).count("outer/") == 10
    assert str(caught.value).endswith("and 20 more")


@pytest.mark.parametrize(
    ("glob", "name", "does"),
    [
        ("block_*", "encoder/block_1", True),
        ("encoder/block_*", "net/encoder/block_1", True),
        ("block_*", "encoder/block_1/conv", False),
        ("block_?/conv", "encoder/block_1/conv", True),
        ("encoder/**", "net/encoder/block_1/conv", True),
        ("encoder/**/conv", "encoder/conv", True),
        ("block", "encoder/my_block", False),
        ("a/b/c", "b/c", False),
    ],
)
def test_globs_go_element_by_element_from_the_right(glob, name, does):
    assert fits(glob, name) is does
    assert fits_around(glob, f"{name}/x/y") is (does or glob == "block_*")


def conditional(f):
    return lambda x: lax.cond(x.sum() > 0, f, jnp.sin, x)


def endless(f):
    return lambda x: lax.while_loop(lambda x: x.sum() < 3, f, x)


@pytest.mark.parametrize(("wrap", "construct"), [(conditional, "cond"), (endless, "while")])
@pytest.mark.parametrize("named", [by_mark, by_scope])
def test_what_may_run_or_not_is_refused_with_its_name_and_place(wrap, construct, named):
    f = jax.jit(wrap(named(lambda x: jnp.cos(x) + 1, "inside")))
    with pytest.raises(NotImplementedError, match=f"mark 'inside' is inside {construct}"):
        xr.taps(f, COMPOSITES["gradient"], jnp.ones(3), seed=jnp.ones(3), marks=["inside"])
    assert "inside" not in xr.layers(f, jnp.ones(3))


def test_layers_as_stages_of_the_account(float64):
    x, w, b = drawn(5)
    f = partial(MODELS["scan"], by_scope)
    report = xr.conservation(f, COMPOSITES["epsilon_plus"], x, w, b, seed=one_hot, marks=["block"])
    assert list(report.stages) == ["output", "block/2", "block/1", "block/0"]
    _, found = taps(f, COMPOSITES["epsilon_plus"], x, w, b, marks=["block"])
    for name, stage in list(report.stages.items())[1:]:
        np.testing.assert_allclose(stage.arrived, found.relevances[name].sum(), rtol=1e-12)
        assert stage.relative_rest < 1e-12
        assert stage.bias != 0
    written_out = partial(MODELS["plain"], by_mark)
    wanted = xr.conservation(written_out, COMPOSITES["epsilon_plus"], x, w, b, seed=one_hot)
    assert list(wanted.stages) == list(report.stages)
    for name, stage in wanted.stages.items():
        np.testing.assert_allclose(report.stages[name].bias, stage.bias, rtol=1e-12)


def channels_first(x, w):
    """Pictures (b, c, h, w), one at a time; group norm and an average in between."""

    def one(x):
        with jax.named_scope("stem"):
            x = lax.conv(x[None], w, (1, 1), "SAME")[0]
        with jax.named_scope("norm"):
            groups = x.reshape(2, -1)
            x = (groups / jnp.abs(groups).sum(-1, keepdims=True)).reshape(x.shape)
        with jax.named_scope("pool"):
            return lax.reduce_window(jax.nn.relu(x), 0.0, lax.add, (1, 2, 2), (1, 2, 2), "VALID")

    return jax.vmap(one)(x).mean((2, 3))


def test_what_convolutions_with_channels_first_make_is_shown_with_channels_last(float64):
    x, w = jax.random.normal(jax.random.key(0), (2, 3, 6, 8)), jax.random.normal(jax.random.key(1), (4, 3, 3, 3))
    found = xr.layers(channels_first, x, w)
    assert [found[name].shape for name in ("stem", "norm", "pool")] == [(2, 6, 8, 4), (2, 6, 8, 4), (2, 3, 4, 4)]
    _, tapped = taps(channels_first, COMPOSITES["gradient"], x, w, marks=["stem", "norm", "pool"])
    rows = lax.conv(x, w, (1, 1), "SAME").transpose(0, 2, 3, 1)
    close(tapped.activations["stem"], rows)
    close(tapped.relevances["pool"], jnp.broadcast_to(one_hot(tapped.output)[:, None, None] / 12, (2, 3, 4, 4)))
    halves = cut(channels_first, "pool", x, w)
    activation, rest = halves.head(x, w)
    close(activation.mean((1, 2)), channels_first(x, w))
    close(halves.tail(activation, rest), channels_first(x, w))


def test_axes_of_length_1_of_pictures_that_are_mapped_one_by_one_are_no_axes_of_a_layer(float64):
    x, w = jax.random.normal(jax.random.key(0), (2, 3, 6, 8)), jax.random.normal(jax.random.key(1), (4, 3, 3, 3))

    def mapped(x, w):
        return jax.vmap(lambda x: jnp.tanh(lax.conv(x[None], w, (1, 1), "SAME")).sum((0, 2, 3)))(x)

    closed = jax.make_jaxpr(mapped)(x, w)
    assert (2, 1, 4, 6, 8) in [eqn.outvars[0].aval.shape for eqn in closed.eqns]
    _, tapped = taps(mapped, COMPOSITES["gradient"], x, w, marks=["tanh"])
    close(tapped.activations["tanh"], jnp.tanh(lax.conv(x, w, (1, 1), "SAME")).transpose(0, 2, 3, 1))


def test_what_has_an_axis_more_than_a_picture_is_none(float64):
    x, w = jnp.ones((2, 3, 6, 8)), jnp.ones((4, 3, 3, 3))
    found = xr.layers(lambda x, w: jnp.einsum("bchw,n->bchwn", lax.conv(x, w, (1, 1), "SAME"), jnp.ones(5)), x, w)
    assert found["dot_general"].shape == (2, 4, 6, 8, 5)


def test_the_last_of_each_size_leaves_attention_and_vectors_out():
    def model(x, w):
        x = jax.nn.relu(lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
        with jax.named_scope("stage"):
            x = jax.nn.relu(lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"))
        tokens = x.reshape(x.shape[0], 1, -1, x.shape[-1])
        weights = jax.nn.softmax(jnp.einsum("bhqc,bhkc->bhqk", tokens, tokens))
        return (weights @ tokens).mean((1, 2))

    found = last_of_each_size(xr.layers(model, jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))))
    assert {name: turn.layer.shape for name, turn in found.items()} == {"max": (2, 8, 8, 4), "stage": (2, 4, 4, 4)}


def test_the_tree_of_a_network_with_marks():
    f, args, x = networks.functions()["linen"]
    rows = str(xr.layers(f, x, *args)).splitlines()
    assert rows[0].split() == ["Linen", "(2,", "5)", "float32"]
    assert rows[1].split() == ["Linen.net/Conv_0", "(2,", "8,", "8,", "6)", "float32", "conv_general_dilated,", "add"]
    (marked,) = (row for row in rows if "first" in row)
    assert marked.startswith("  first ")
    assert marked.split() == ["first", *["(2,", "4,", "4,", "6)"], "float32", "mark"]
