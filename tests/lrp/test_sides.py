"""Both sides of networks of one output, against networks of two outputs whose last layers are written down by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.lrp.composites import Assign, Composite
from xrcam_jax.lrp.protocol import no_loss
from xrcam_jax.lrp.sides import divides_by_output, seed_of_sides, two_sided

pytestmark = pytest.mark.long(one_in=3)

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.standard_normal((2, 4, 4, 3)), jnp.float32)
BODY, HEAD, OTHER = (jnp.asarray(RNG.standard_normal(shape), jnp.float32) for shape in ((3, 5), (5, 1), (5, 1)))
FLAT, BIAS = jnp.asarray(RNG.standard_normal((80, 1)), jnp.float32), jnp.array([0.7])
RELEVANCE_CAM = xr.composites.relevance_cam(zero="bias")
EPSILON_PLUS = xr.composites.epsilon_plus()
GRADIENT = xr.composites.gradient()
BOTH = np.array([[0, 1], [0, 1]])
GAMMA = xr.composites.epsilon_gamma_box(low=-3.0, high=3.0)


def by_hand(end):
    def sides(x):
        a = body(x)
        return jnp.concatenate([end(a, -1), end(a, 1)], axis=1)

    return sides


def body(x):
    return xr.mark(jax.nn.relu(x @ BODY), "features")


def convolved(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel[None, None], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


#: The last layers, as functions of the features and the sign of their weights and biases.
ENDS = {
    "dense": lambda a, s: a.mean((1, 2)) @ (s * HEAD) + s * BIAS,
    "weights first": lambda a, s: jnp.einsum("kn,bk->bn", s * HEAD, a.mean((1, 2))),
    "flattened": lambda a, s: a.reshape(len(a), -1) @ (s * FLAT) + s * BIAS,
    "convolution": lambda a, s: (convolved(a, s * HEAD) + s * BIAS).mean((1, 2)),
    "difference": lambda a, s: a.mean((1, 2)) @ (s * HEAD) - (a**2).mean((1, 2)) @ (s * OTHER),
    "scaled": lambda a, s: 3 * (a.mean((1, 2)) @ (s * HEAD)).reshape(-1, 1, 1).squeeze(2),
    "squashed": lambda a, s: 5 * jnp.tanh(a.mean((1, 2)) @ (s * HEAD)),
    "weights apart": lambda a, s: jax.jit(lambda a, w: (w.T @ a.mean((1, 2)).T).T)(a, s * HEAD),
}


@pytest.mark.parametrize(("composite", "ends"), [(RELEVANCE_CAM, ENDS), (GAMMA, ["dense"])], ids=["z+", "gamma"])
def test_each_side_is_computed_by_its_own_last_layer(composite, ends):
    seed = jnp.asarray(RNG.standard_normal((2, 2)), jnp.float32)

    @jax.jit
    def both(x):
        def of(model):
            found = xr.taps(model, composite, x, seed=seed)
            return found.output, found.relevances["features"]

        one = {name: lambda x, name=name: ENDS[name](body(x), 1) for name in ends}
        return {name: (of(two_sided(model)), of(by_hand(ENDS[name]))) for name, model in one.items()}

    for name, ((output, relevance), (wanted_output, wanted)) in jax.device_get(both(X)).items():
        np.testing.assert_allclose(output, wanted_output, rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(relevance, wanted, atol=1e-5 * np.abs(wanted).max(), err_msg=name)


def test_what_is_not_odd_and_what_is_marked_is_not_done_twice():
    """Behind a mark or an activation z is negated, which hands on all relevance of -z."""
    models = {
        "marked": lambda x: xr.mark(body(x).mean((1, 2)) @ HEAD, "z"),
        "clipped": lambda x: jnp.clip(body(x).mean((1, 2)) @ HEAD, -0.5, 1.0),
    }

    @jax.jit
    def both(x):
        seeds = jnp.array([[1.0, 10.0]] * 2), jnp.full((2, 1), 11.0)
        taps = {name: (two_sided(model), model) for name, model in models.items()}
        return {
            name: [xr.taps(f, EPSILON_PLUS, x, seed=seed) for f, seed in zip(pair, seeds, strict=True)]
            for name, pair in taps.items()
        }

    for name, (found, one) in both(X).items():
        z = one.output
        np.testing.assert_allclose(found.output, jnp.concatenate([-z, z], axis=1), rtol=1e-6)
        assert found.relevances.keys() == one.relevances.keys()
        for layer, relevance in one.relevances.items():
            np.testing.assert_allclose(found.relevances[layer], relevance, rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_gradient_of_each_side_is_that_of_the_logit():
    model = lambda x: ENDS["dense"](body(x), 1)  # noqa: E731
    gradients = jax.jit(jax.jacrev(lambda x: two_sided(model)(x).sum(0)))(X)
    wanted = jax.jit(jax.grad(lambda x: model(x).sum()))(X)
    np.testing.assert_allclose(gradients, jnp.stack([-wanted, wanted]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(2,), (2, 2), (2, 1, 1)])
def test_there_is_one_output(shape):
    with pytest.raises(ValueError, match=r"one output z of shape \(b, 1\), got \("):
        two_sided(lambda x: jnp.ones(shape) * x)(jnp.ones(shape))


@pytest.mark.parametrize(
    ("seed", "by_support", "by_quotient", "by_gradient"),
    [
        # Of the targets 1 and 0 of z = 3, then of z = -3.
        (xr.seeds.unit, [[0, 1], [1, 0], [0, 1], [1, 0]], [[0, 1], [-1, 0], [0, -1], [1, 0]], None),
        (xr.seeds.one_hot, [[0, 3], [3, 0], [0, 3], [3, 0]], [[0, 3], [-3, 0], [0, -3], [3, 0]], None),
        (
            xr.seeds.clrp,
            [[-1.5, 3], [3, -1.5], [-1.5, 3], [3, -1.5]],
            [[1.5, 3], [-3, -1.5], [-1.5, -3], [3, 1.5]],
            [[-1.5, 3], [-3, 1.5], [1.5, -3], [3, -1.5]],
        ),
    ],
)
def test_seeds_of_sides(seed, by_support, by_quotient, by_gradient):
    z, targets = jnp.array([[3.0], [3.0], [-3.0], [-3.0]]), jnp.array([1, 0, 1, 0])
    for composite, wanted in ((RELEVANCE_CAM, by_support), (GAMMA, by_quotient), (GRADIENT, by_gradient)):
        if wanted is not None:
            np.testing.assert_array_equal(seed_of_sides(seed, composite, z, targets), wanted)


class OwnPlus:
    """A rule of a user's own that does what z+ does where nothing is negative, and says nothing of itself."""

    def relevance(self, op, r):
        w = jax.tree.map(lambda w: jnp.maximum(w, 0), op.w)
        z, transpose = jax.vjp(lambda x: op.apply(x, w), op.x)
        return jax.tree.map(jnp.multiply, op.x, transpose(r / (z + 1e-9))[0]), no_loss(r)


class OwnEpsilon:
    """Likewise one that divides by the output."""

    def relevance(self, op, r):
        z, transpose = jax.vjp(lambda x: op.apply(x, op.w), op.x)
        return jax.tree.map(jnp.multiply, op.x, transpose(r / z)[0]), no_loss(r)


class ForConvolutions:
    """A rule that cannot do with a dense layer."""

    def relevance(self, op, r):
        raise IndexError("it wants four axes")


RULES = xr.rules


def test_what_a_rule_does_is_tried():
    for rule in (RULES.ZPlus(), RULES.AlphaBeta(2, 1), RULES.Flat(), RULES.WSquare(), RULES.ZBox(), OwnPlus()):
        assert divides_by_output(rule) is False
    for rule in (RULES.Epsilon(), RULES.Gamma(0.1), RULES.Gamma(100.0), OwnEpsilon()):
        assert divides_by_output(rule) is True
    for rule in (RULES.Gradient(), RULES.Pass(), RULES.Gate(), ForConvolutions(), None):
        assert divides_by_output(rule) is None


@pytest.mark.parametrize(
    ("own", "rule"), [(OwnPlus(), RULES.ZPlus()), (OwnEpsilon(), RULES.Epsilon(0.0))], ids=["z+", "e"]
)
def test_a_rule_of_ones_own_on_the_last_layer_starts_as_the_librarys_does(own, rule):
    def model(x):
        return body(x).mean((1, 2)) @ HEAD

    def found(last):
        assigned = Assign(last, kinds=("dense",), last=True)
        rules = Composite((assigned, *RELEVANCE_CAM.assignments))
        return xr.Explainer(model, ("lrp", "xrelevance_cam"), "features", composite=rules)(X, BOTH).raw

    for a, b in zip(*map(jax.tree.leaves, map(found, (own, rule))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_head_of_convolutions_starts_as_its_own_rule_wants():
    """The ε of dense layers, of which there is none, has no say: z+ shares |z| among what speaks for either class."""

    def model(x):
        return -jnp.abs(convolved(body(x), HEAD)).mean((1, 2))

    assert (np.asarray(model(X)) < 0).all()
    e = xr.Explainer(
        lambda x: convolved(body(x), -jnp.abs(HEAD)).mean((1, 2)), "lrp", "features", composite=EPSILON_PLUS
    )(X, BOTH)
    sums = np.asarray(e.attributions["lrp"]["features"]).sum((2, 3, 4))
    np.testing.assert_allclose(sums[:, 0], -np.asarray(e.logits)[:, 0], rtol=1e-3)


def test_the_seed_of_sglrp_is_the_derivative_of_the_sigmoid():
    z = jnp.array([[2.0], [-1.0]])
    found = seed_of_sides(xr.seeds.sglrp, RELEVANCE_CAM, z, jnp.array([1, 0]))
    slope = jax.vmap(jax.grad(jax.nn.sigmoid))(z[:, 0])
    np.testing.assert_allclose(found, slope[:, None] * jnp.array([[-1.0, 1.0], [1.0, -1.0]]), rtol=1e-5)


def test_a_last_layer_inside_remat_is_refused_for_relevance_and_does_for_gradients():
    end = jax.checkpoint(lambda x: body(x).mean((1, 2)) @ HEAD)
    with pytest.raises(NotImplementedError, match="needs its last layer outside of remat, scan and cond"):
        xr.attribute(end, X, "lrp", [0, 0], "input")
    gradient = jax.grad(lambda x: end(x).sum())(X)
    found = xr.attribute(end, X, "gradient", [0, 1]).attributions["gradient"]["input"]
    np.testing.assert_allclose(found, gradient * jnp.array([-1.0, 1.0])[:, None, None, None], rtol=1e-5, atol=1e-7)


def test_marks_that_nobody_looks_at_are_passed_over():
    model = lambda x: xr.mark(body(x).mean((1, 2)) @ HEAD, "logits")  # noqa: E731
    plain = lambda x: body(x).mean((1, 2)) @ HEAD  # noqa: E731
    found, wanted = (
        xr.attribute(f, X, "relevance_cam", [0, 1], "features").raw["relevance_cam"] for f in (model, plain)
    )
    np.testing.assert_allclose(found["features"], wanted["features"], rtol=1e-6)
