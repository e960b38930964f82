"""Rules of a user's own: any object with ``relevance(op, r)``, on every kind of operation."""

import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

import xrcam_jax as xr
from tests.explain import small
from xrcam_jax.lrp import gradient_rules, rules
from xrcam_jax.lrp.composites import Assign, Composite
from xrcam_jax.lrp.protocol import KINDS
from xrcam_jax.lrp.rules import Gradient, Pass

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.long(one_in=5)]


class Share:
    """The ε rule for ε = 0 as a user may write it: a plain class that says nothing of itself."""

    def relevance(self, op, r):
        z, transpose = jax.vjp(lambda x: op.apply(x, op.w), op.x)
        z = z if op.b is None else z + op.b
        s = jnp.where(z == 0, 0, r / jnp.where(z == 0, 1, z))
        return jax.tree.map(jnp.multiply, op.x, transpose(s)[0]), rules.no_loss(r)


class ShareWithBias(Share):
    bias = True


W, B = np.random.default_rng(0).normal(size=(6, 4)), np.array([0.5, -1.0, 0.25, 2.0])
KERNEL = np.random.default_rng(1).normal(size=(3, 1, 2))


def convolution(x):
    z = lax.conv_general_dilated(x[..., None], KERNEL, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))
    return z + B[:2]


#: Of each kind one operation, by itself or with what only rearranges values.
FUNCTIONS = {
    "convolution": convolution,
    "dense": lambda x: x @ W + B,
    "add": lambda x: x[:, :3] - x[:, 3:],
    "sum": lambda x: x.mean(1),
    "max_pool": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 2), "VALID"),
    "activation": jnp.tanh,
    "scale": lambda x: x * W[:, 0],
    "shift": lambda x: x + W[:, 0],
    "matmul": lambda x: x[:, None, :3] @ x[:, 3:, None],
    "product": lambda x: x.prod(1),
    "gate": lambda x: x[:, :3] * x[:, 3:],
    "norm": lambda x: x / jnp.sqrt((x * x).sum(1, keepdims=True)),
    "join": lambda x: jnp.concatenate([x[:, :2], jnp.ones((2, 1)), x[:, 2:]], 1),
    "softmax": lambda x: jax.nn.softmax(x, axis=1),
    "nonlinear": jnp.exp,
}


def drawn(seed, shape=(2, 6)):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def relevance(f, composite, x, r):
    return jax.vjp(xr.lrp(f, composite), x)[1](r)[0]


def test_there_is_a_function_of_every_kind():
    for kind, f in FUNCTIONS.items():
        report = xr.conservation(
            f, Composite((Assign(ShareWithBias(), kinds=(kind,)),), Gradient()), drawn(0), seed=jnp.ones_like
        )
        assert [site.kind for site, _ in report.operations] == [kind]
    assert set(FUNCTIONS) == set(KINDS)


@pytest.mark.long(but=["softmax", "convolution", "matmul", "add", "gate"])
@pytest.mark.parametrize("kind", FUNCTIONS)
@given(seed=st.integers(0, 10**6))
def test_a_plain_class_is_a_rule_for_every_kind(kind, seed):
    """R_in = x · Jᵀ (R / f(x)), by the Jacobian of the function that JAX knows."""
    f, x = FUNCTIONS[kind], drawn(seed)
    # A norm is shown with its factor fixed, so that its Jacobian is that of a scale.
    linear = (lambda x: x / jnp.linalg.norm(drawn(seed), axis=1, keepdims=True)) if kind == "norm" else f
    z, jacobian = np.asarray(f(x)), np.asarray(jax.jacobian(linear)(x))
    r = drawn(seed + 1, z.shape)
    wanted = x * np.tensordot(r / z, jacobian, axes=z.ndim)
    found = relevance(f, Composite((Assign(ShareWithBias(), kinds=(kind,)),), Gradient()), x, r)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    if kind not in ("convolution", "dense", "join", "norm"):
        np.testing.assert_array_equal(relevance(f, Composite(default=Share()), x, r), found)


@pytest.mark.parametrize("kind", ["convolution", "dense"])
def test_a_rule_that_does_not_ask_for_the_bias_does_not_see_it(kind):
    """Then the bias takes nothing: z is what the layer computes without it."""
    f, x, r = FUNCTIONS[kind], drawn(3), drawn(4, FUNCTIONS[kind](drawn(3)).shape)
    bias = B[:2] if kind == "convolution" else B
    own = Composite((Assign(Share(), kinds=(kind,)), Assign(Pass(), kinds=("shift",))))
    wanted = x * np.tensordot(r / (f(x) - bias), jax.jacobian(f)(x), axes=r.ndim)
    np.testing.assert_allclose(relevance(f, own, x, r), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["lrp", "xrelevance_cam"])
def test_the_explainer_takes_a_rule_of_a_users_own(method):
    """Compared with the rule of the library that it imitates."""
    model, images = small.Network(small.weights(dtype=np.float32)), small.images(dtype=np.float32)
    maps = []
    for rule in (rules.Epsilon(0, bias=True), ShareWithBias()):
        own = Composite((Assign(rule, kinds=("convolution", "dense", "sum")),), default=Gradient())
        maps.append(xr.attribute(model, images, method, composite=own, targets=np.array([0, 1])).raw[method])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), *maps)


def test_a_rule_need_not_be_hashable():
    @dataclass
    class Scaled:
        factor: float

        def relevance(self, op, r):
            return jax.tree.map(lambda x: self.factor * x, Share().relevance(op, r)[0]), rules.no_loss(r)

    x = drawn(5)
    found = relevance(FUNCTIONS["dense"], Composite(default=Scaled(2.0)), x, jnp.ones((2, 4)))
    shared = relevance(FUNCTIONS["dense"], Composite(default=Share()), x, jnp.ones((2, 4)))
    # The bias is an operation of its own, and takes the factor once more.
    np.testing.assert_allclose(found, 4 * shared, rtol=1e-12)


def test_the_account_of_an_own_rule():
    """x and w by their sizes: shares that are worked out by hand."""

    class Sizes:
        fits, bias = frozenset({"dense"}), True

        def relevance(self, op, r):
            x, w, b = (jax.tree.map(jnp.abs, a) for a in (op.x, op.w, op.b))
            z, transpose = jax.vjp(lambda x: op.apply(x, w), x)
            s = r / (z + b)
            return jax.tree.map(jnp.multiply, x, transpose(s)[0]), rules.Loss(s * b, 0 * s, 0 * s)

    def f(x):
        return x @ jnp.array([[1.0], [-2.0]]) + jnp.array([-3.0])

    x, r = jnp.array([[-2.0, 1.0]]), jnp.array([[14.0]])
    own = Composite((Assign(Sizes()),))
    np.testing.assert_allclose(relevance(f, own, x, r), [[4, 4]])
    ((_, balance),) = xr.conservation(f, own, x, seed=r).operations
    assert (balance.arrived, balance.passed_on, balance.bias, balance.rest) == (14, 8, 6, 0)


FITS = {
    rules.Epsilon(): set(KINDS) - {"gate", "matmul", "product", "join"},
    rules.AlphaBeta(): {"convolution", "dense", "add", "sum", "scale", "shift"},
    rules.ZPlus(): {"convolution", "dense", "add", "sum", "scale", "shift"},
    rules.Gamma(): {"convolution", "dense", "add", "sum", "scale", "shift"},
    rules.Flat(): {"convolution", "dense", "add", "sum", "scale", "shift"},
    rules.WSquare(): {"convolution", "dense", "add", "sum", "scale", "shift"},
    rules.ZBox(): {"convolution", "dense", "add", "sum", "scale", "shift"},
    rules.Pass(): {"activation", "nonlinear", "norm", "scale", "shift"},
    rules.Matmul(): {"matmul"},
    rules.EqualShares(): {"product"},
    rules.Join(): {"join"},
    rules.Gate(0.5, 0.5): {"gate"},
    rules.Gradient(): set(KINDS),
    gradient_rules.Guided(): {"activation", "nonlinear"},
    gradient_rules.Deconvnet(): {"activation", "nonlinear"},
    gradient_rules.Rescale(): {"activation", "nonlinear"},
    gradient_rules.RescaledMaximum(): {"max_pool"},
    gradient_rules.MeanGradient(points=2): set(KINDS),
}


@pytest.mark.parametrize("rule", FITS, ids=lambda rule: type(rule).__name__)
def test_a_rule_runs_where_it_fits_and_is_refused_elsewhere(rule):
    for kind, f in FUNCTIONS.items():
        own = Composite((Assign(rule, kinds=(kind,)),), Gradient())
        x = drawn(6)
        if kind in FITS[rule]:
            r = relevance(f, own, x, jnp.ones_like(f(x)))
            assert r.shape == x.shape
            assert jnp.isfinite(r).all()
        else:
            with pytest.raises(ValueError, match=rf"{type(rule).__name__}.* cannot be used for kind '{kind}'"):
                xr.lrp(f, own)(x)


def test_a_misfit_is_named_with_its_operation_and_the_users_line():
    class Dense(Share):
        fits = frozenset({"dense"})

        def __repr__(self):
            return "Dense()"

    where = r"kind 'nonlinear' \(exp at .*test_own_rules\.py:\d.*softplus\)\)"

    def softplus(x):
        return jnp.log1p(jnp.exp(x) @ W)

    with pytest.raises(ValueError, match=rf"the rule Dense\(\) cannot be used for {where}"):
        xr.lrp(softplus, Composite((Assign(Dense(), primitives=("exp",)),), Gradient()))(drawn(7))


class ToTheSignal:
    fits = frozenset({"gate"})
    receives = True, False

    def relevance(self, op, r):
        assert len(op.x) == 2
        return (r, None), rules.no_loss(r)


def test_what_computes_an_input_that_receives_nothing_is_not_walked_back():
    """There is no rule for the sine, whose derivative of infinity would not be a number."""
    own = Composite((Assign(ToTheSignal(), kinds=("gate",)), Assign(Pass(), kinds=("activation",))))
    x = jnp.array([[1.0, jnp.inf]])
    r = relevance(lambda x: x * jax.nn.sigmoid(jnp.sin(x)), own, x, jnp.array([[3.0, 5.0]]))
    np.testing.assert_array_equal(r, [[3, 5]])
    with pytest.raises(NotImplementedError, match="no relevance rule for the primitive 'mul'"):
        relevance(lambda x: x * jnp.flip(x), own, x, jnp.ones((1, 2)))


def test_a_rule_that_counts_other_inputs_is_refused():
    class OfThree(ToTheSignal):
        receives = True, False, True

    own = Composite((Assign(OfThree()),))
    with pytest.raises(ValueError, match=r"says which of 3 inputs receive relevance, of 2 of kind 'gate' \(mul at "):
        xr.lrp(lambda x: x * jax.nn.sigmoid(jnp.flip(x)), own)(jnp.ones(3))


def test_a_rule_may_leave_an_operation_its_derivative():
    class Bent:
        def keeps_derivative(self, kind):
            return kind in ("activation", None)

        def relevance(self, op, r):
            return jax.tree.map(lambda x: 7 * r, op.x), rules.no_loss(r)

    x = jnp.array([0.5, -1.0, 2.0])
    found = relevance(jnp.tanh, Composite(default=Bent()), x, jnp.ones(3))
    np.testing.assert_allclose(found, 1 / np.cosh(x) ** 2, rtol=1e-6)
    np.testing.assert_array_equal(relevance(jnp.exp, Composite(default=Bent()), x, jnp.ones(3)), [7, 7, 7])
    # Nothing is known of a product of all that came before.
    cumprod = relevance(lax.cumprod, Composite(default=Bent()), x, jnp.array([1.0, 2, 3]))
    np.testing.assert_allclose(cumprod, [1 - 2 - 6, 1 + 3, 3 * -0.5])
    with pytest.raises(NotImplementedError, match="no relevance rule for the primitive 'cumprod'"):
        xr.lrp(lax.cumprod, Composite(default=Share()))(x)


def test_a_layer_without_a_rule_is_named_though_its_bias_has_one():
    own = Composite((Assign(Pass(), kinds=("shift",)),))
    with pytest.raises(NotImplementedError, match=r"primitive 'dot_general' at .*test_own_rules\.py:\d+"):
        xr.lrp(lambda x: x @ W + B, own)(drawn(8))


@pytest.mark.parametrize("make", [Assign, lambda rule: Composite(default=rule)], ids=["assign", "default"])
def test_what_is_no_rule_is_refused_when_the_composite_is_made(make):
    with pytest.raises(TypeError, match=r"rule must be an object with a method relevance\(op, r\), got 'epsilon'"):
        make("epsilon")
    with pytest.raises(TypeError, match=r"got the class Share itself"):
        make(Share)

    class Misspelt(Share):
        fits = frozenset({"convolutions"})

    with pytest.raises(ValueError, match=r"fits must be among convolution, dense, .*; got 'convolutions'"):
        make(Misspelt())


@pytest.mark.parametrize(
    ("returned", "got"),
    [
        (lambda op, r: r, r"\(2, 4\)"),
        (lambda op, r: (op.x[0], rules.no_loss(r)), r"\(\(2, 6\), Loss"),
        (lambda op, r: ((r,), rules.no_loss(r)), r"\(\(\(2, 4\),\), Loss"),
        (lambda op, r: (op.x, None), r"\(\(\(2, 6\),\), None\)"),
        (lambda op, r: ((*op.x, None), rules.no_loss(r)), r"\(\(\(2, 6\), None\), Loss"),
    ],
    ids=["no_pair", "no_tuple", "wrong_shape", "no_loss", "too_many"],
)
def test_what_a_rule_returns_has_to_be_relevances_and_a_loss(returned, got):
    class Wrong:
        def __repr__(self):
            return "Wrong()"

        def relevance(self, op, r):
            return returned(op, r)

    wanted = r"the rule Wrong\(\) must return relevances of the shapes \(\(2, 6\),\) and a Loss, got "
    with pytest.raises(ValueError, match=wanted + got):
        relevance(lambda x: x @ W, Composite(default=Wrong()), drawn(9), jnp.ones((2, 4)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_relevances_of_another_dtype_are_refused(dtype):
    class Narrow(Share):
        def relevance(self, op, r):
            return jax.tree.map(lambda x: x.astype(dtype), op.x), rules.no_loss(r)

    with pytest.raises(ValueError, match=f"must return relevances of the dtype of its inputs, float64, got {dtype}"):
        relevance(lambda x: x @ W, Composite(default=Narrow()), drawn(9), jnp.ones((2, 4)))


def test_what_is_named_like_a_method_and_is_none_is_refused():
    class Number:
        relevance = 3

    class Always(Share):
        keeps_derivative = True

    with pytest.raises(TypeError, match=r"rule must be an object with a method relevance\(op, r\), got <"):
        Assign(Number())
    with pytest.raises(TypeError, match=r"keeps_derivative must be a method of the rule <.*>, got True"):
        Assign(Always())


def test_a_rule_in_the_place_of_a_composite_is_refused():
    x = drawn(9)
    message = "composite must be a Composite, which says which operation gets which rule; got Pass()"
    with pytest.raises(TypeError, match=re.escape(message)):
        xr.lrp(lambda x: x @ W, Pass())(x)
    with pytest.raises(TypeError, match=re.escape(message)):
        xr.conservation(lambda x: x @ W, Pass(), x, seed=jnp.ones((2, 4)))
    for given_as in ({"composite": Pass()}, {"options": {"lrp": {"composite": Pass()}}}):
        with pytest.raises(TypeError, match=re.escape(message)):
            xr.Explainer(small.Network(small.weights()), ("lrp",), **given_as)


def test_the_explainer_refuses_a_rule_that_it_cannot_keep_programs_by():
    @dataclass
    class Unhashable(Share):
        factor: float = 1.0

    with pytest.raises(TypeError, match=r"the rule .*Unhashable\(factor=1.0\) must be hashable"):
        xr.Explainer(small.Network(small.weights()), ("lrp",), composite=Composite(default=Unhashable()))
