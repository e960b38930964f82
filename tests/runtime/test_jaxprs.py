"""What is read of calls, loops and branches, against what JAX itself computes with them, in whichever version."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from jax.extend.core import jaxpr_as_fun

import xrcam_jax as xr
from xrcam_jax.runtime import jaxprs

pytestmark = pytest.mark.long(one_in=5)

WEIGHTS = np.array([[1.0, -2.0, 0.5], [0.25, 1.0, -1.0], [-0.5, 2.0, 1.0]])
BIAS = np.array([0.5, -0.25, 1.0])
ROWS = np.arange(15.0).reshape(5, 3) / 4 - 1


def step(x, row, weights=WEIGHTS, bias=BIAS):
    return jax.nn.relu(x @ weights + bias) + row


def loop(body, carry, xs, length=None, reverse=False, unroll=1):
    """What ``lax.scan`` is documented to do, turn by turn, without its equation."""
    turns = range(len(jax.tree.leaves(xs)[0]) if length is None else length)
    ys = []
    for turn in reversed(turns) if reverse else turns:
        carry, y = body(carry, jax.tree.map(lambda a, turn=turn: a[turn], xs))
        ys.append(y)
    return carry, jax.tree.map(lambda *each: jnp.stack(each), *(ys[::-1] if reverse else ys))


# Each takes the loop to use and x of three numbers. What is carried depends on x from the first turn on, since one rule
# is for all turns of a scan, and the loop's first turn would get another.
def nothing_but_a_carry(scan, x):
    return scan(lambda c, _: (c + c, None), x, None, length=4)[0]


def constants(scan, x):
    return scan(lambda c, row: (step(c, row), None), x, ROWS)[0]


def constants_of_x(scan, x):
    """What is explained comes in as a constant of the loop too, beside others."""
    return scan(lambda c, row: (c + x @ WEIGHTS + BIAS * row, None), 2 * x, ROWS)[0]


def nothing_carried(scan, x):
    return scan(lambda c, row: (c, step(x, row)), (), ROWS)[1]


def scanned_over(scan, x):
    return scan(lambda c, row: (c, row @ WEIGHTS), None, ROWS * x)[1]


def pytrees(scan, x):
    def body(carry, each):
        a, b = step(carry["a"], each["rows"]), carry["b"][0] + each["more"][1]
        return {"a": a, "b": (b, carry["b"][1])}, {"y": a @ WEIGHTS, "z": (b, each["more"][0] + BIAS)}

    carry, ys = scan(body, {"a": x, "b": (BIAS, x)}, {"rows": ROWS * x, "more": (2 * ROWS, ROWS + 1)})
    return carry["a"] + carry["b"][0] + carry["b"][1] + ys["y"].sum(0) + ys["z"][0].sum(0) + ys["z"][1].sum(0)


def backwards(scan, x):
    carry, ys = scan(lambda c, row: (step(c, row), c), x, ROWS, reverse=True, unroll=2)
    return carry + ys @ WEIGHTS


def numbers_beside_rows(scan, x):
    """Carried and scanned values of unlike ranks: an integer, a number, a vector, a matrix."""

    def body(carry, row):
        i, total, c, kept = carry
        return (i + 1, total + row.sum(), step(c, row) + kept[0], kept), row[0]

    (_, total, c, _), ys = scan(body, (0, x.sum(), x, ROWS), ROWS * x)
    return c + total + ys.sum()


def as_long_as_it_is_wide(scan, x):
    """Every axis has three entries, so that only ranks tell what is scanned over from what is not."""
    carry, ys = scan(lambda c, row: (c @ WEIGHTS, row @ c), WEIGHTS * x, WEIGHTS)
    return carry + ys


def one_turn(scan, x):
    carry, ys = scan(lambda c, row: (step(c, row), c + row), x, ROWS[:1] + x)
    return carry + ys


SCANS = [
    nothing_but_a_carry, constants, constants_of_x, nothing_carried, scanned_over, pytrees, backwards,
    numbers_beside_rows, as_long_as_it_is_wide, one_turn,
]  # fmt: skip
#: Constants, carried values, and what is scanned over, written down by hand.
COUNTS = {
    "nothing_but_a_carry": (0, 1, 0), "constants": (2, 1, 1), "constants_of_x": (3, 1, 1), "nothing_carried": (3, 0, 1),
}  # fmt: skip
X = jnp.array([1.0, -0.5, 2.0])


def the_scan(f):
    (equation,) = [e for e in jax.make_jaxpr(lambda x: f(lax.scan, x))(X).eqns if e.primitive.name == "scan"]
    return equation


@pytest.mark.parametrize("f", SCANS, ids=lambda f: f.__name__)
def test_a_scan_runs_turn_by_turn_as_it_is_read(f):
    equation = the_scan(f)
    layout, body = jaxprs.scan(equation), jaxpr_as_fun(jaxprs.bodies(equation)[0])
    rng = np.random.default_rng(0)
    values = [jnp.asarray(rng.integers(-2, 3, v.aval.shape), v.aval.dtype) for v in equation.invars]
    constants, carry = values[: layout.consts], values[layout.consts : layout.consts + layout.carries]

    def turn(carry, xs):
        outputs = body(*constants, *carry, *xs)
        return list(outputs[: layout.carries]), list(outputs[layout.carries :])

    carry, ys = loop(turn, carry, values[layout.consts + layout.carries :], layout.length, layout.reverse)
    wanted = equation.primitive.bind(*values, **equation.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), [*carry, *ys], list(wanted))


@pytest.mark.parametrize("f", [f for f in SCANS if f.__name__ in COUNTS], ids=lambda f: f.__name__)
def test_a_scans_counts(f):
    equation = the_scan(f)
    layout = jaxprs.scan(equation)
    rest = len(equation.invars) - layout.consts - layout.carries
    assert (layout.consts, layout.carries, rest) == COUNTS[f.__name__]


def test_a_scans_options():
    assert jaxprs.scan(the_scan(backwards)) == jaxprs.Scan(2, 1, length=5, reverse=True, unroll=2)


@pytest.mark.long(but=["epsilon"])
@pytest.mark.parametrize("composite", [xr.composites.epsilon_plus(), xr.composites.gradient()], ids=["epsilon", "grad"])
@pytest.mark.parametrize("f", SCANS, ids=lambda f: f.__name__)
def test_relevance_through_a_scan_is_that_of_the_loop(f, composite, float64):
    x = X.astype(jnp.float64)
    out, pullback = jax.vjp(xr.lrp(lambda x: f(lax.scan, x), composite), x)
    wanted_out, wanted = jax.vjp(xr.lrp(lambda x: f(loop, x), composite), x)
    seed = jnp.arange(1.0, 1 + out.size, dtype=out.dtype).reshape(out.shape)
    np.testing.assert_allclose(out, wanted_out, rtol=1e-12)
    np.testing.assert_allclose(pullback(seed)[0], wanted(seed)[0], rtol=1e-10)
    if composite == xr.composites.gradient():
        np.testing.assert_allclose(pullback(seed)[0], jax.vjp(lambda x: f(loop, x), x)[1](seed)[0], rtol=1e-10)


@jax.custom_jvp
def own_jvp(x):
    return jnp.tanh(x)


own_jvp.defjvp(lambda primals, tangents: (own_jvp(*primals), 2 * tangents[0]))


@jax.custom_vjp
def own_vjp(x):
    return jnp.tanh(x)


own_vjp.defvjp(lambda x: (own_vjp(x), None), lambda _, r: (2 * r,))
CALLS = [jax.jit(jnp.tanh), own_jvp, own_vjp]


@pytest.mark.parametrize("f", CALLS, ids=["jit", "custom_jvp", "custom_vjp"])
def test_a_call_can_be_replaced_by_its_body(f):
    (equation,) = jax.make_jaxpr(f)(X).eqns
    np.testing.assert_allclose(jaxpr_as_fun(jaxprs.called(equation))(X)[0], np.tanh(X), rtol=1e-6)


def test_what_is_no_call_has_no_body():
    equations = [*jax.make_jaxpr(jnp.sin)(X).eqns, the_scan(constants)]
    assert [jaxprs.called(equation) for equation in equations] == [None, None]
    assert jaxprs.bodies(equations[0]) == ()
    assert jaxprs.all_bodies(equations[0]) == []


def test_a_function_that_was_traced_before_is_opened_too(float64):
    """From JAX 0.11 on such a call is an equation of its own."""
    x = X.astype(jnp.float64)
    traced = jax.jit(lambda x: jax.nn.relu(x @ WEIGHTS + BIAS)).trace(x)
    (found, wanted) = (
        jax.vjp(xr.lrp(f, xr.composites.epsilon_plus()), x)[1](jnp.ones(3))[0]
        for f in (lambda x: traced(x), lambda x: jax.nn.relu(x @ WEIGHTS + BIAS))
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_name_of_a_jitted_function():
    def user(x):
        return x + 1

    equations = jax.make_jaxpr(lambda x: jnp.sin(jax.jit(user)(x)))(X).eqns
    assert [jaxprs.jitted(equation) for equation in equations] == ["user", None]


def test_branches_stand_in_the_order_of_their_index():
    choices = [lambda x: x + 1, lambda x: x * 2, jnp.negative]
    equation = jax.make_jaxpr(lambda i, x: lax.switch(i, choices, x))(1, X).eqns[-1]
    assert jaxprs.default_branch(equation) is None
    for branch, choice in zip(jaxprs.bodies(equation), choices, strict=True):
        np.testing.assert_array_equal(jaxpr_as_fun(branch)(X)[0], choice(X))


def test_the_branch_for_all_other_platforms():
    f = lambda x: lax.platform_dependent(x, cpu=jnp.sin, default=jnp.negative, cuda=jnp.cos)  # noqa: E731
    equation = jax.make_jaxpr(f)(X).eqns[-1]
    default = jaxprs.bodies(equation)[jaxprs.default_branch(equation)]
    np.testing.assert_array_equal(jaxpr_as_fun(default)(X)[0], -X)


def test_remat_keeps_its_options():
    policy = jax.checkpoint_policies.dots_saveable
    weights = jnp.asarray(WEIGHTS, X.dtype)
    f = jax.checkpoint(lambda x: jnp.sin(x @ weights), prevent_cse=False, policy=policy)
    (equation,) = jax.make_jaxpr(f)(X).eqns
    assert equation.primitive.name == jaxprs.REMAT
    options = jaxprs.remat_options(equation)
    assert options == {"prevent_cse": False, "policy": policy}
    again = jax.checkpoint(jaxpr_as_fun(jaxprs.bodies(equation)[0]), **options)
    operands = [weights if v.aval.ndim == 2 else X for v in equation.invars]
    np.testing.assert_allclose(again(*operands)[0], jnp.sin(X @ weights), rtol=1e-6)


@pytest.mark.parametrize(
    ("f", "count"),
    [
        (lambda x: lax.while_loop(lambda c: c.sum() < 9, lambda c: 2 * c, x), 2),
        (lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), 2),
        (lambda x: lax.scan(lambda c, _: (c, c), x, None, 2)[1], 1),
        (jax.checkpoint(jnp.sin), 1),
        (jax.jit(jnp.sin), 1),
    ],
    ids=["while", "cond", "scan", "remat", "jit"],
)
def test_all_bodies_of_an_equation(f, count):
    bodies = jaxprs.all_bodies(jax.make_jaxpr(f)(X).eqns[-1])
    assert len(bodies) == count
    assert all(hasattr(body, "eqns") for body in bodies)


# Each takes a function to repeat and x, with what runs the loop: JAX, or Python.
def while_loop(condition, body, state):
    """What ``lax.while_loop`` is documented to do."""
    while condition(state):
        state = body(state)
    return state


def up(run, f, x):
    return run(lambda s: s[0] < 3, lambda s: (s[0] + 1, f(s[1])), (0, x))[1]


def down_by_two(run, f, x):
    return run(lambda s: s[1] > 0, lambda s: (f(s[0]), s[1] - 2), (x, 6))[0]


def until_equal(run, f, x):
    return run(lambda s: s[0] != 9, lambda s: (3 + s[0], f(s[1])), (0, x))[1]


def towards_each_other(run, f, x):
    return run(lambda s: s[0] <= s[2], lambda s: (s[0] + 1, f(s[1]) + 0 * s[2], s[2] - 1), (0, x, 5))[1]


def weights_of_a_turn(run, f, x):
    return run(lambda s: s[0] < 3, lambda s: (s[0] + 1, f(s[1]) + jnp.asarray(ROWS, x.dtype)[s[0]]), (0, x))[1]


WHILES = [up, down_by_two, until_equal, towards_each_other, weights_of_a_turn]


@pytest.mark.parametrize("f", WHILES, ids=lambda f: f.__name__)
def test_relevance_through_a_while_loop_of_fixed_length_is_that_of_the_loop_written_out(f, float64):
    x = X.astype(jnp.float64)

    def model(run, x):
        return f(run, lambda x: jax.nn.relu(x @ WEIGHTS), x)

    for composite in (xr.composites.epsilon_plus(), xr.composites.gradient()):
        out, pullback = jax.vjp(jax.jit(xr.lrp(lambda x: model(lax.while_loop, x), composite)), x)
        wanted_out, wanted = jax.vjp(xr.lrp(lambda x: model(while_loop, x), composite), x)
        np.testing.assert_allclose(out, wanted_out, rtol=1e-12)
        np.testing.assert_allclose(pullback(out)[0], wanted(out)[0], rtol=1e-10)
    gradient = jax.vjp(lambda x: model(while_loop, x), x)[1](out)[0]
    np.testing.assert_allclose(pullback(out)[0], gradient, rtol=1e-10)


def test_relevance_through_a_while_loop_conserves(float64):
    f = lambda x: up(lax.while_loop, lambda x: jax.nn.relu(x @ abs(WEIGHTS)), x)  # noqa: E731
    x = abs(X).astype(jnp.float64)
    report = xr.conservation(f, xr.composites.epsilon_plus(eps=0), x, seed=lambda out: out)
    np.testing.assert_allclose(report.reached, report.seed, rtol=1e-12)
    assert report.seed > 0


@given(
    start=st.integers(-5, 5),
    end=st.integers(-5, 5),
    step=st.integers(-3, 3),
    compare=st.sampled_from([operator.lt, operator.le, operator.gt, operator.ge, operator.ne]),
)
def test_a_while_loop_is_as_long_as_it_runs(start, end, step, compare):
    found = jax.make_jaxpr(
        lambda x: lax.while_loop(lambda s: compare(s[0], end), lambda s: (s[0] + step, s[1] * 2), (start, x))
    )(X)
    length, state = 0, start
    while compare(state, end) and length < 100:
        length, state = length + 1, state + step
    (loop,) = (eqn for eqn in found.eqns if eqn.primitive.name == "while")
    scan = jaxprs.called(loop)
    if length in (0, 100):  # Those that do not end soon end where whole numbers do, or never.
        assert scan is None
    else:
        assert [jaxprs.scan(eqn).length for eqn in scan.eqns] == [length]


@pytest.mark.parametrize(
    ("start", "condition", "body"),
    [
        (1, lambda s: s[1].sum() < 9, lambda s: (s[0] + 1, s[1] * 2)),
        (1, lambda s: (s[0] < 9) & (s[1].sum() < 9), lambda s: (s[0] + 1, s[1] * 2)),
        (1, lambda s: s[0] < 9, lambda s: (s[0] * 2, s[1] * 2)),
        (1, lambda s: s[0] < 9, lambda s: (s[0] + s[1].astype(int)[0], s[1] * 2)),
        (1, lambda s: s[0] < 9, lambda s: (9 - s[0], s[1] * 2)),
        (1.0, lambda s: s[0] < 9.5, lambda s: (s[0] + 1.0, s[1] * 2)),
    ],
)
def test_other_while_loops_are_refused_by_name(start, condition, body):
    f = lambda x: lax.while_loop(condition, body, (start, x))[1]  # noqa: E731
    with pytest.raises(NotImplementedError, match=r"no relevance rule for the primitive 'while' at .*test_jaxprs\.py"):
        jax.vjp(xr.lrp(f, xr.composites.epsilon_plus()), X)
