"""A model cut at a mark: its halves make the whole again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.lrp import networks
from xrcam_jax.lrp.cut import cut, cut_relevance

pytestmark = pytest.mark.long(one_in=3)


@pytest.fixture(scope="module")
def functions():
    return networks.functions()


@pytest.mark.parametrize("mark", ["first", "second"])
@pytest.mark.parametrize("name", ["nnx", "linen"])
def test_the_halves_make_the_whole(name, mark, functions):
    f, args, x = functions[name]
    halves = cut(f, mark, x, *args)
    activation, rest = jax.jit(halves.head)(x, *args)

    @jax.jit
    def tapped(x, *args):
        return xr.taps(f, xr.composites.gradient(), x, *args, seed=jnp.ones_like)

    @jax.jit
    def tail(activation, rest):
        output, pullback = jax.vjp(lambda a: halves.tail(a, rest), activation)
        return output, pullback(jnp.ones_like(output))[0]

    taps = tapped(x, *args)
    np.testing.assert_allclose(activation, taps.activations[mark], rtol=1e-5, atol=1e-6)
    output, gradient = tail(activation, rest)
    np.testing.assert_allclose(output, f(x, *args), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, taps.relevances[mark], rtol=1e-4, atol=1e-6)


def around(x):
    """The mark is on one of two branches."""
    return xr.mark(jnp.sin(x), "branch") * 2 + jnp.cos(x)


def test_what_goes_around_the_mark_is_kept():
    x = jnp.arange(6.0).reshape(2, 3)
    halves = cut(around, "branch", jax.ShapeDtypeStruct((2, 3), x.dtype))
    activation, rest = jax.jit(halves.head)(x)
    np.testing.assert_allclose(jax.jit(halves.tail)(activation, rest), around(x), rtol=1e-6)
    changed = jax.vmap(lambda a: halves.tail(a, rest))(jnp.stack([activation, jnp.zeros_like(activation)]))
    np.testing.assert_allclose(changed[1], jnp.cos(x), rtol=1e-6)


def test_an_unknown_mark_is_named():
    with pytest.raises(ValueError, match="unknown mark 'brunch'; did you mean 'branch'"):
        cut(around, "brunch", jnp.ones(3))


def skipping(x, w):
    """Two outputs, of which one does not read what is marked; the other adds what comes from before the mark."""
    before = jnp.tanh(x @ w)
    after = jax.jit(lambda a: jax.nn.relu(xr.mark(a @ w, "inner")) + before)(before)
    return {"both": after + x, "neither": jnp.sin(x), "itself": after}


def test_outputs_are_given_back_as_they_were_whether_they_read_the_mark_or_not():
    x, w = jax.random.normal(jax.random.key(0), (2, 4, 4))
    halves = cut(skipping, "inner", x, w)
    activation, rest = halves.head(x, w)
    found, wanted = halves.tail(activation, rest), skipping(x, w)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, wanted)
    changed = halves.tail(activation + 1, rest)
    np.testing.assert_allclose(changed["neither"], jnp.sin(x), rtol=1e-6)
    np.testing.assert_allclose(changed["itself"], jax.nn.relu(activation + 1) + jnp.tanh(x @ w), rtol=1e-6)


def test_the_tail_runs_only_what_reads_the_mark():
    """A head that is run once is what makes ablations cheap, even of what comes after the mark but beside it."""
    x = jnp.ones(3)
    halves = cut(around, "branch", x)
    tail = jax.make_jaxpr(halves.tail)(*halves.head(x))
    assert {e.primitive.name for e in tail.eqns} == {"mul", "add"}


def test_head_and_tail_inside_one_jit_are_the_function(functions):
    f, args, x = functions["nnx"]

    @jax.jit
    def whole(x, *args):
        halves = cut(f, "first", x, *args)
        return halves.tail(*halves.head(x, *args))

    np.testing.assert_allclose(whole(x, *args), f(x, *args), rtol=1e-5, atol=1e-6)


def scanned(f):
    return lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, 2)[0]


def branched(f):
    return lambda x: jax.lax.cond(x.sum() > 0, f, jnp.sin, x)


@pytest.mark.parametrize("wrap", [jax.checkpoint, scanned, branched, lambda f: jax.checkpoint(scanned(f))])
def test_inside_a_loop_or_remat_it_cannot_be_cut(wrap):
    with pytest.raises(NotImplementedError, match="mark 'branch' is inside remat, scan or cond"):
        cut(wrap(around), "branch", jnp.ones(3))


def relevance_by_halves(f, rules, mark, seed, *args, **sides):
    """Returns the relevance at a mark by the pullback of the second half, and the output."""
    halves, _ = cut_relevance(f, rules, mark, *args, **sides)

    @jax.jit
    def tail(activation, rest):
        output, pullback = jax.vjp(lambda a: halves.tail(a, rest), activation)
        return output, pullback(seed(output))[0]

    return tail(*jax.jit(halves.head)(*args))


RULES = [
    xr.composites.relevance_cam(),
    xr.composites.relevance_cam(gate="half", batch_norm="fold", zero="bias"),
    xr.composites.epsilon_plus_flat(),
]


@pytest.mark.parametrize("rules", RULES, ids=["relevance_cam", "folded", "epsilon"])
@pytest.mark.parametrize("mark", ["first", "second"])
def test_relevance_behind_the_cut_is_that_of_the_whole(mark, rules, functions):
    f, args, x = functions["nnx"]

    @jax.jit
    def tapped(x, *args):
        return xr.taps(f, rules, x, *args, seed=jnp.sin, marks=[mark])

    output, relevance = relevance_by_halves(f, rules, mark, jnp.sin, x, *args)
    taps = tapped(x, *args)
    np.testing.assert_allclose(output, taps.output, rtol=1e-5, atol=1e-6)
    wanted = np.asarray(taps.relevances[mark])
    np.testing.assert_allclose(relevance, wanted, atol=1e-5 * np.abs(wanted).max())


def test_what_goes_around_the_mark_takes_its_share_of_relevance():
    """Behind the cut the other branch is given, and it is as much a part of what is explained as before."""
    x = jnp.arange(1.0, 7.0).reshape(2, 3)
    _, relevance = relevance_by_halves(around, xr.composites.relevance_cam(), "branch", jnp.ones_like, x)
    share = 2 * np.sin(x) / (2 * np.sin(x) + np.cos(x))
    np.testing.assert_allclose(relevance, share, rtol=1e-5)


def test_the_two_sides_of_one_output_behind_the_cut():
    def model(x, w):
        return xr.mark(2 * x, "here") @ w

    x, w = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[2.0], [-1.0], [-1.0]])
    output, relevance = relevance_by_halves(
        model, xr.composites.relevance_cam(), "here", lambda y: jnp.array([[10.0, 0.0]]), x, w, sides=True
    )
    assert output.tolist() == [[6.0, -6.0]]
    np.testing.assert_allclose(relevance, [[0, 4, 6]], rtol=1e-6)
