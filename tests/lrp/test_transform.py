"""The transformation: its value, its pullback against independent forms, and what it composes with."""

from functools import partial

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

import xrcam_jax as xr
from tests.lrp import networks
from xrcam_jax.lrp.composites import Assign, Composite
from xrcam_jax.lrp.rules import Epsilon, Gradient, Pass, ZPlus

pytestmark = pytest.mark.long(one_in=5)

COMPOSITES = {
    "relevance_cam": xr.composites.relevance_cam(),
    "published": xr.composites.relevance_cam(gate="published"),
    "half": xr.composites.relevance_cam(gate="half"),
    "alpha2_beta1": xr.composites.relevance_cam(alpha=2, beta=1),
    "batch_norm_as_layer": xr.composites.relevance_cam(batch_norm="alpha_beta"),
    "folded": xr.composites.relevance_cam(batch_norm="fold"),
    "epsilon_plus": xr.composites.epsilon_plus(),
    "epsilon_plus_flat": xr.composites.epsilon_plus_flat(),
    "epsilon_alpha2_beta1": xr.composites.epsilon_alpha2_beta1(),
    "epsilon_gamma_box": xr.composites.epsilon_gamma_box(-4, 4),
    "gradient": xr.composites.gradient(),
}
NETWORKS = ("nnx", "linen", "plain")


def seed_of(out):
    return xr.seeds.one_hot(out, jnp.argmax(out, -1))


def uncompiled_relevance(f, composite, x, *args):
    out, pullback = jax.vjp(lambda x: xr.lrp(f, composite)(x, *args), x)
    return out, pullback(seed_of(out))[0]


# Without jit each operation is compiled on its own, which takes ten times as long.
relevance = jax.jit(uncompiled_relevance, static_argnums=(0, 1))


@partial(jax.jit, static_argnums=(0, 1), static_argnames="marks")
def tapped(f, composite, x, *args, marks=None):
    taps = xr.taps(f, composite, x, *args, seed=seed_of, marks=marks)
    return taps.output, taps.activations, taps.relevances


def close(a, b, tolerance):
    scale = jnp.abs(b).max()
    np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "network"),
    [("relevance_cam", "linen"), ("published", "linen"), ("epsilon_alpha2_beta1", "plain"), ("gradient", "plain")],
)
def test_value_is_unchanged_and_jit_changes_nothing(name, network, float64):
    f, args, x = networks.functions(jnp.float64)[network]
    out, r = uncompiled_relevance(f, COMPOSITES[name], x, *args)
    close(out, f(x, *args), 1e-13)
    compiled_out, compiled = relevance(f, COMPOSITES[name], x, *args)
    close(compiled_out, out, 1e-13)
    close(compiled, r, 1e-11)
    assert r.shape == x.shape
    assert jnp.isfinite(r).all()
    assert jnp.abs(r).max() > 0


@pytest.mark.parametrize("network", NETWORKS)
def test_gradient_composite_is_the_gradient(network):
    f, args, x = networks.functions()[network]
    out, r = relevance(f, xr.composites.gradient(), x, *args)
    (wanted,) = jax.jit(lambda x, r: jax.vjp(lambda x: f(x, *args), x)[1](r))(x, seed_of(out))
    close(r, wanted, 3e-7)


def test_gradient_composite_keeps_derivatives_that_functions_define():
    r = jax.grad(lambda x: xr.lrp(jax.nn.relu, xr.composites.gradient())(x).sum())(jnp.zeros(3))
    np.testing.assert_array_equal(r, 0)  # max(x, 0) alone would give 0.5


@given(seed=st.integers(0, 10**6))
def test_epsilon_to_zero_without_biases_is_gradient_times_input(seed):
    with jax.enable_x64(True):
        weights = networks.plain_weights(seed, jnp.float64)
        x = jax.random.normal(jax.random.key(seed + 1), (4, 6), jnp.float64)
        own = Composite((Assign(Epsilon(0), kinds=("dense",)), Assign(Pass(), kinds=("activation",))))
        out, r = relevance(networks.plain, own, x, weights)
        (gradient,) = jax.vjp(lambda x: networks.plain(x, weights), x)[1](xr.seeds.unit(out, jnp.argmax(out, -1)))
        close(r, gradient * x, 1e-12)


@pytest.mark.parametrize("name", ["relevance_cam", "folded"])
@given(seed=st.integers(0, 10**6))
def test_relevance_is_conserved(name, seed):
    with jax.enable_x64(True):
        f, args, _ = networks.functions(jnp.float64)["nnx"]
        out, r = relevance(f, COMPOSITES[name], networks.images(seed, dtype=jnp.float64), *args)
        np.testing.assert_allclose(r.sum((1, 2, 3)), seed_of(out).sum(1), rtol=1e-9)


@pytest.mark.long(but=["nnx-relevance_cam", "linen-gradient"])
@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("network", ["nnx", "linen"])
def test_tapped_relevance_is_that_of_the_rest_of_the_network(name, network, float64):
    """Cut the network at a mark: what arrives there is the relevance of the rest's input."""
    f, args, x = networks.functions(jnp.float64)[network]
    if "first" in name or "gamma" in name or "flat" in name:
        pytest.skip("the rest's first layer has a rule of its own")
    output, activations, relevances = tapped(f, COMPOSITES[name], x, *args)
    close(output, f(x, *args), 1e-13)

    def head(a):
        if network == "nnx":
            return nnx.merge(nnx.split(networks.Nnx(dtype=jnp.float64))[0], args[0]).head(a.reshape(len(a), -1))
        dense = args[0]["params"]["Dense_1"]
        return a.mean((1, 2)) @ dense["kernel"] + dense["bias"]

    out, wanted = relevance(head, COMPOSITES[name], activations["second"])
    close(out, output, 1e-13)
    close(relevances["second"], wanted, 1e-9)
    _, whole = relevance(f, COMPOSITES[name], x, *args)
    if name in ("relevance_cam", "folded"):
        np.testing.assert_allclose(relevances["first"].sum(), whole.sum(), rtol=1e-9)


def test_some_marks_only():
    f, args, x = networks.functions()["nnx"]
    *_, every = tapped(f, COMPOSITES["relevance_cam"], x, *args)
    _, activations, one = tapped(f, COMPOSITES["relevance_cam"], x, *args, marks=("second",))
    assert list(every) == ["first", "second"]
    assert list(one) == list(activations) == ["second"]
    close(one["second"], every["second"], 1e-6)
    with pytest.raises(ValueError, match="unknown mark 'secnd'; did you mean 'second'"):
        xr.taps(f, COMPOSITES["relevance_cam"], x, *args, seed=seed_of, marks=["secnd"])
    with pytest.raises(ValueError, match="seed must have the output's shape"):
        xr.taps(f, COMPOSITES["relevance_cam"], x, *args, seed=jnp.ones(3))
    with pytest.raises(ValueError, match="mark 'twice' is set twice"):
        xr.taps(lambda x: xr.mark(xr.mark(x, "twice"), "twice"), COMPOSITES["relevance_cam"], x, seed=x)


@pytest.mark.parametrize("name", ["relevance_cam", "epsilon_gamma_box", "gradient"])
def test_vmap_is_a_loop(name, float64):
    f, args, x = networks.functions(jnp.float64)["nnx"]
    mapped = jax.jit(jax.vmap(lambda image: uncompiled_relevance(f, COMPOSITES[name], image[None], *args)[1][0]))(x)
    looped = jnp.stack([relevance(f, COMPOSITES[name], image[None], *args)[1][0] for image in x])
    batched = relevance(f, COMPOSITES[name], x, *args)[1]
    close(mapped, looped, 1e-11)
    close(mapped, batched, 1e-11)


def model_sharded_over(mesh, x):
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))


@pytest.mark.parametrize("axis", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_a_sharded_batch_gives_the_same(axis, float64):
    f, args, _ = networks.functions(jnp.float64)["nnx"]
    x = networks.images(3, batch=8, dtype=jnp.float64)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis,))
    with jax.set_mesh(mesh):
        run = jax.jit(lambda x, *args: xr.taps(f, COMPOSITES["relevance_cam"], x, *args, seed=seed_of).relevances)
        sharded = run(model_sharded_over(mesh, x), *args)
    assert sharded["first"].sharding.spec[0] == "batch"
    *_, whole = tapped(f, COMPOSITES["relevance_cam"], x, *args)
    for mark in whole:
        close(jax.device_get(sharded[mark]), jax.device_get(whole[mark]), 1e-11)


def test_inside_shard_map(float64):
    f, args, _ = networks.functions(jnp.float64)["nnx"]
    x = networks.images(3, batch=8, dtype=jnp.float64)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec("batch")

    def both(x, *args):
        taps = xr.taps(f, COMPOSITES["relevance_cam"], x, *args, seed=seed_of)
        return taps.relevances, uncompiled_relevance(f, COMPOSITES["relevance_cam"], x, *args)[1]

    in_specs = (spec, *(PartitionSpec() for _ in args))
    mapped = jax.jit(jax.shard_map(both, mesh=mesh, in_specs=in_specs, out_specs=spec))(x, *args)
    close_trees(mapped, jax.jit(both)(x, *args))


def close_trees(found, wanted):
    jax.tree.map(lambda a, b: close(jax.device_get(a), jax.device_get(b), 1e-11), found, wanted)


@pytest.mark.parametrize("name", ["epsilon_plus", "relevance_cam", "published"])
def test_relevance_can_be_differentiated(name, float64):
    """With respect to parameters, those of the gate too, against central differences."""
    f, (state,), x = networks.functions(jnp.float64)["nnx"]
    # Flax keeps statistics in float32 beside parameters in float64.
    with jax.numpy_dtype_promotion("standard"):
        flat, unravel = jax.flatten_util.ravel_pytree(state)
    weights = jax.random.normal(jax.random.key(5), x.shape, jnp.float64)

    @jax.jit
    def score(flat):
        return (relevance(f, COMPOSITES[name], x, unravel(flat))[1] * weights).sum()

    direction = jax.random.normal(jax.random.key(6), flat.shape, jnp.float64)
    slope = (score(flat + 1e-5 * direction) - score(flat - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(jax.jit(jax.grad(score))(flat) @ direction, slope, rtol=5e-4)


def deep(block):
    def f(x, w):
        return xr.mark(block(x, w), "after").sum(-1, keepdims=True) * jnp.array([1.0, -2.0])

    return f


def unrolled(x, w):
    for each in w:
        x = jax.nn.relu(x @ each) + x
    return x


def scanned(x, w):
    return lax.scan(lambda x, each: (jax.nn.relu(x @ each) + x, None), x, w)[0]


def rematerialised(x, w):
    return jax.checkpoint(unrolled)(x, w)


def branched(x, w):
    return lax.cond(w.sum() > -jnp.inf, unrolled, lambda x, w: x, x, w)


def jitted(x, w):
    return jax.jit(unrolled)(x, w)


@pytest.mark.long(but=["relevance_cam-scanned", "gradient-branched"])
@pytest.mark.parametrize("form", [scanned, rematerialised, branched, jitted], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", ["relevance_cam", "epsilon_plus", "epsilon_alpha2_beta1", "gradient"])
def test_control_flow_inside_the_model(form, name, float64):
    keys = jax.random.split(jax.random.key(7), 2)
    x = jax.random.normal(keys[0], (3, 4), jnp.float64)
    w = jax.random.normal(keys[1], (3, 4, 4), jnp.float64)
    out, r = relevance(deep(form), COMPOSITES[name], x, w)
    wanted_out, wanted = relevance(deep(unrolled), COMPOSITES[name], x, w)
    close(out, wanted_out, 1e-13)
    close(r, wanted, 1e-11)


def test_marks_inside_remat_are_tapped(float64):
    f, args, x = networks.functions(jnp.float64)["nnx"]
    *_, plain = tapped(f, COMPOSITES["relevance_cam"], x, *args)
    *_, remat = tapped(jax.checkpoint(f), COMPOSITES["relevance_cam"], x, *args)
    close_trees(remat, plain)


def test_pytrees_in_and_out(float64):
    def f(x, w):
        return {"sum": x["a"] @ w + x["b"] @ w}

    x = {"a": jnp.array([[1.0, 2.0]]), "b": jnp.array([[3.0, 1.0]])}
    out, pullback = jax.vjp(lambda x: xr.lrp(f, COMPOSITES["relevance_cam"])(x, jnp.ones((2, 1))), x)
    (r,) = pullback(out)
    close_trees(r, x)


def test_integers_and_comparisons_carry_no_relevance(float64):
    def f(x):
        return jnp.where(x > 0, x, 0.1 * x)[:, jnp.array([2, 0])].sum(-1)

    r = jax.vjp(xr.lrp(f, COMPOSITES["relevance_cam"]), jnp.array([[1.0, 5.0, -2.0]]))[1](jnp.array([0.8]))[0]
    np.testing.assert_allclose(r, [[1, 0, -0.2]])


@pytest.mark.parametrize(
    ("f", "primitive"),
    [
        (lambda x: lax.cumprod(x), "cumprod"),
        (lambda x: jnp.fft.rfft(x).real, "real"),
        (lambda x: jnp.arctan2(x, jnp.flip(x)), "atan2"),
        (lambda x: x * jnp.flip(x), "mul"),
        (lambda x: jnp.outer(x, x) @ jnp.outer(x, x), "dot_general"),
        (lambda x: lax.while_loop(lambda a: a.sum() < 9, lambda a: 2 * a, x), "while"),
    ],
)
def test_a_primitive_without_a_rule_is_named_with_its_line(f, primitive):
    with pytest.raises(NotImplementedError, match=rf"primitive '{primitive}' at .*test_transform\.py:\d+"):
        xr.lrp(f, COMPOSITES["relevance_cam"])(jnp.arange(4.0))


def test_a_primitive_without_a_rule_below_the_marks_does_no_harm():
    def f(x):
        return xr.mark(jnp.sin(x), "here") @ jnp.ones((3, 2))

    x = jnp.ones((1, 3))
    taps = xr.taps(f, COMPOSITES["relevance_cam"], x, seed=jnp.ones((1, 2)))
    np.testing.assert_allclose(taps.relevances["here"], np.full((1, 3), 2 / 3), rtol=1e-6)


def test_what_computes_a_gate_without_a_share_is_not_walked_back():
    """Its derivative is infinite here: times a relevance of zero, that would not be a number."""

    def f(x):
        return x * jax.nn.softmax(jnp.sqrt(jnp.zeros_like(x) * x))

    x, seed = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 5.0]])
    assert np.isnan(jax.vjp(f, x)[1](seed)[0]).all()
    (relevance,) = jax.vjp(xr.lrp(f, xr.composites.relevance_cam()), x)[1](seed)
    np.testing.assert_array_equal(relevance, seed)


def test_gates_share_as_told(float64):
    def f(x):
        return x * jax.nn.softmax(x @ jnp.array([[0.0, 1.0], [0.5, 0.0]]))

    x, r = jnp.array([[2.0, 3.0]]), jnp.array([[6.0, 10.0]])
    for gate, own_share, gate_share in (("signal", 1, 0), ("published", 1, 1), ("half", 0.5, 0.5)):
        rules = xr.composites.relevance_cam(gate=gate, eps=0)
        found = jax.jit(lambda x, r, rules=rules: jax.vjp(xr.lrp(f, rules), x)[1](r)[0])(x, r)
        y = x @ jnp.array([[0.0, 1.0], [0.5, 0.0]])
        a = jax.nn.softmax(y)[0]
        jacobian = jnp.diag(a) - jnp.outer(a, a)
        r_y = y[0] * (jacobian @ (gate_share * r[0] / a))
        wanted = own_share * r[0] + jnp.array([r_y[1], r_y[0]])
        np.testing.assert_allclose(found[0], wanted, rtol=1e-12)


def test_layer_norm_and_attention_go_through(float64):
    keys = jax.random.split(jax.random.key(8), 4)
    x = jax.random.normal(keys[0], (2, 5, 8), jnp.float64)
    q, k, v = (jax.random.normal(key, (8, 8), jnp.float64) for key in keys[1:])

    def block(x):
        mean = x.mean(-1, keepdims=True)
        x = (x - mean) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)
        attention = jax.nn.softmax((x @ q) @ jnp.swapaxes(x @ k, 1, 2) / 8**0.5)
        return jax.nn.gelu(attention @ (x @ v)).sum((1, 2))

    @jax.jit
    def run(x):
        out, pullback = jax.vjp(xr.lrp(block, COMPOSITES["relevance_cam"]), x)
        return out, pullback(out)[0]

    out, r = run(x)
    np.testing.assert_allclose(r.sum((1, 2)), out, rtol=1e-6)


def test_a_default_takes_what_no_assignment_fits():
    own = Composite((Assign(ZPlus(), kinds=("dense",)),), default=Gradient())
    x = jnp.array([[0.5, 1.0]])
    out, pullback = jax.vjp(xr.lrp(lambda x: jnp.sin(x @ jnp.eye(2)), own), x)
    np.testing.assert_allclose(pullback(jnp.ones_like(out))[0], jnp.cos(x), rtol=1e-6)


@pytest.mark.parametrize("f", [lambda x: -x, lambda x: 1 - x, lambda x: x - 1, lambda x: 2 * (1 - 3 * x)])
def test_what_turns_its_input_round_passes_relevance_on(f):
    x, r = jnp.array([0.5, 3.0]), jnp.array([2.0, -5.0])
    np.testing.assert_array_equal(jax.vjp(xr.lrp(f, COMPOSITES["relevance_cam"]), x)[1](r)[0], r)
    np.testing.assert_array_equal(f(x), xr.lrp(f, COMPOSITES["relevance_cam"])(x))


def test_a_difference_from_a_constant_under_rules_that_look_at_it(float64):
    """ε with and without the bias, by hand: z = 3 - 2 = 1, of which -2 are the input's."""
    x, r = jnp.array([2.0]), jnp.array([4.0])
    for bias, wanted in ((True, -8), (False, 4)):
        own = Composite(default=Epsilon(0, bias))
        np.testing.assert_allclose(jax.vjp(xr.lrp(lambda x: 3 - x, own), x)[1](r)[0], [wanted])
        report = xr.conservation(lambda x: 3 - x.sum(keepdims=True), own, x, seed=r)
        assert [site.kind for site, _ in report.operations] == ["scale", "sum"]


@pytest.mark.parametrize("gate", ["signal", "half", "published"])
def test_a_value_times_itself_is_a_function_of_one_value(gate):
    x, r = jnp.array([0.5, -3.0]), jnp.array([2.0, -5.0])
    found = jax.vjp(xr.lrp(lambda x: x * x, xr.composites.relevance_cam(gate=gate)), x)[1](r)[0]
    np.testing.assert_array_equal(found, r)


def test_deep_lift_of_a_square_is_the_slope_of_its_chord():
    x = jnp.array([[0.5, -3.0], [1.0, 2.0]])
    found = jax.vjp(xr.lrp(lambda x: x * x, xr.composites.deep_lift()), x)[1](jnp.ones((2, 2)))[0]
    np.testing.assert_array_equal(found, [[1.5, -1.0], [0, 0]])
