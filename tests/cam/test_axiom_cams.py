"""φ and Ψ: the constant that the first is where relevance is conserved, and loops over channels for the second."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests.explain import small
from xrcam_jax.attribution.case import Case
from xrcam_jax.cam import axiom_cams, weights
from xrcam_jax.cam.axiom_cams import conserving_weights, sensitive_weights
from xrcam_jax.cam.channel_cams import ablated_scores
from xrcam_jax.explain.functional import as_function
from xrcam_jax.metrics import axioms

pytestmark = pytest.mark.usefixtures("float64")
RELEVANCE_CAM = xr.composites.relevance_cam()
FLAT = xr.composites.relevance_cam(zero="flat")
#: Biases keep their shares, so that relevance is lost at the head and behind it.
LOSSY = xr.composites.epsilon_plus(eps=0)


def small_network(classes):
    """Something speaks for each class, so that no relevance is lost at the head."""
    one, two, head = small.weights(classes, dtype=np.float64)
    function, parameters = as_function(small.Network([one, two, jnp.abs(head)]))
    return function, (parameters,), jnp.asarray(small.images(dtype=np.float64))


def residual_network():
    """Biases, a scale as of batch norm, a residual add, a gate, and a head of five classes.

    More weights are positive than negative, so that something speaks for each unit without any one channel too.
    """
    rng = np.random.default_rng(0)
    shapes = {"one": (3, 6), "two": (6, 6), "bias": (6,), "scale": (6,), "gate": (6, 6), "head": (6, 5), "last": (5,)}
    parameters = {name: jnp.asarray(rng.standard_normal(shape) + 0.7) for name, shape in shapes.items()}
    return residual, (parameters,), jnp.asarray(rng.random((2, 3, 3, 3)))


def residual(x, p):
    x = xr.mark(jax.nn.relu(x @ p["one"] + p["bias"]), "first")
    x = jax.nn.relu(x + p["scale"] * (x @ p["two"]) + p["bias"])
    x = xr.mark(x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True) @ p["gate"]), "second")
    return x.mean((1, 2)) @ p["head"] + p["last"]


@pytest.mark.parametrize(
    ("network", "classes", "rules"),
    [
        (lambda: small_network(2), 2, RELEVANCE_CAM),
        (lambda: small_network(7), 7, FLAT),
        (residual_network, 5, RELEVANCE_CAM),
        (residual_network, 5, xr.composites.epsilon_plus(bias=False, eps=0, zero="flat")),
    ],
    ids=["two", "seven", "residual", "epsilon"],
)
def test_phi_is_the_number_of_classes_wherever_relevance_is_conserved(network, classes, rules):
    f, args, x = network()

    @jax.jit
    def tapped(x, *args):
        return xr.taps(f, rules, x, *args, seed=lambda y: xr.seeds.contrastive(y, jnp.array([1, 0]))).relevances

    for relevance in tapped(x, *args).values():
        np.testing.assert_allclose(weights.phi(relevance, (classes - 1) / classes), classes, rtol=1e-10)


def test_phi_where_relevance_is_lost():
    """With the seed of the thesis, L_t and -L_t / N, it is the same number, and not N."""
    f, args, x = residual_network()
    targets = jnp.array([1, 0])

    @jax.jit
    def tapped(x, *args):
        both = [
            xr.taps(f, LOSSY, x, *args, seed=lambda y, s=s: s(y, targets), marks=["second"])
            for s in (xr.seeds.contrastive, xr.seeds.clrp)
        ]
        return both[0].output, both[0].relevances["second"], both[1].relevances["second"]

    logits, relevance, scaled = (np.asarray(a) for a in tapped(x, *args))
    score, left = logits[[0, 1], targets], scaled.sum((1, 2, 3))
    found = weights.phi(jnp.asarray(relevance), 4 / 5)
    np.testing.assert_allclose(found, (4 * score / 5 + left) / left, rtol=1e-10)
    assert np.abs(np.asarray(found) - 5).min() > 0.05


def test_phi_of_nothing():
    assert weights.phi(jnp.zeros((1, 2, 2, 3)), 0.5).tolist() == [1.0]


def test_with_phi_the_claims_sum_to_what_is_left_of_the_logit_and_maps_stay():
    f, args, x = residual_network()
    options = {"composite": LOSSY, "targets": [1, 0], "layers": "second"}
    found, plain = (
        xr.attribute(lambda x: f(x, *args), x, "xrelevance_cam", axiom=axiom, **options)
        for axiom in ("conservation", None)
    )
    left = plain.raw["xrelevance_cam"]["second"].sum((1, 2))
    np.testing.assert_allclose(found.raw["xrelevance_cam"]["second"].sum((1, 2)), 4 / 5 + left, rtol=1e-8)
    np.testing.assert_allclose(found.maps["xrelevance_cam"]["second"], plain.maps["xrelevance_cam"]["second"])


@pytest.mark.long
def test_a_negative_phi_does_not_turn_the_map():
    """Of the target's relevance all but 1 % ends at its bias, and the contrast arrives whole: sum R = 0.01 - 1/2."""
    head, bias = jnp.array([[1.0, 2.0], [1.0, 0.0]]) / 2, jnp.array([99.0, 0.0])
    model = lambda x: xr.mark(x, "layer").sum((1, 2)) @ head + bias  # noqa: E731
    image = jnp.eye(2).reshape(1, 1, 2, 2)
    found, plain = (
        xr.attribute(model, image, "xrelevance_cam", [0], composite=LOSSY, axiom=axiom, relu=False)
        for axiom in ("conservation", None)
    )
    left = 0.01 - 1 / 2
    np.testing.assert_allclose(plain.raw["xrelevance_cam"]["layer"], [[[0.005 - 1 / 2, 0.005]]], rtol=1e-6)
    wanted = (1 / 2 + left) / -left * np.asarray(plain.raw["xrelevance_cam"]["layer"])
    np.testing.assert_allclose(found.raw["xrelevance_cam"]["layer"], wanted, rtol=1e-6)
    assert found.maps["xrelevance_cam"]["layer"].tolist() == [[[0.0, 1.0]]]


def head_of(dtype=np.float64):
    """A dense layer of five units at each place with a ReLU, a mean, and a head of three classes; with biases."""
    rng = np.random.default_rng(3)
    shapes = ((4, 5), (5,), (5, 3), (3,))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def places_to_classes(images, parameters):
    w, b, head, c = parameters
    return jax.nn.relu(xr.mark(images, "layer") @ w + b).mean((1, 2)) @ head + c


def numpy_score(a, parameters, target):
    """S of one image by ε with biases, written out: what is left of L_t after the layers behind ``a``."""
    w, b, head, c = parameters
    y = np.maximum(a @ w + b, 0)
    pooled = y.mean((0, 1))
    logits = pooled @ head + c
    seed = np.where(np.arange(3) == target, 1, -1 / 3)
    at_pooled = pooled * (head @ (seed / logits))
    total = np.where(pooled == 0, 1, pooled * y.shape[0] * y.shape[1])
    at_y = y / total * at_pooled
    z = a @ w + b
    relevance = a * np.einsum("yxj,kj->yxk", at_y / z, w)
    return logits[target] * (2 / 3 + relevance.sum())


@pytest.fixture
def loop_case():
    images = np.abs(np.random.default_rng(5).standard_normal((2, 3, 2, 4)))
    targets = np.array([[0, 2], [1, 0]])

    def make(**options):
        return Case(places_to_classes, head_of(), jnp.asarray(images), jnp.asarray(targets), **options)

    return make


EPSILON = xr.composites.epsilon_plus(eps=0)


@pytest.mark.parametrize("chunk_size", [None, 1, 3])
def test_psi_is_the_loop_over_channels(loop_case, chunk_size):
    of = loop_case(chunk_size=chunk_size)
    found = np.asarray(sensitive_weights(of, "layer", composite=EPSILON))
    assert found.shape == (2, 2, 1, 1, 4)
    images, parameters = np.asarray(of.images), head_of()
    for b, t, k in np.ndindex(2, 2, 4):
        target, without = int(of.targets[b, t]), images[b].copy()
        without[..., k] = 0
        drop = numpy_score(images[b], parameters, target) - numpy_score(without, parameters, target)
        np.testing.assert_allclose(found[b, t, 0, 0, k], drop / images[b, ..., k].sum(), rtol=1e-7)


@pytest.mark.long
def test_the_map_of_psi_satisfies_the_sensitivity_axiom():
    """Relevance is conserved here, so that the score is the logit, which forward passes tell."""
    (f, args, x), layer = residual_network(), "first"
    case = Case(f, *args, x, jnp.array([[1], [0]]))
    intact, without = ablated_scores(case, layer)
    drops, (activation, _) = (intact - without)[..., 0].T, case.at(layer)

    def error(w):
        return np.asarray(axioms.sensitivity_error(drops, axioms.contributions(activation, w[:, 0])))

    assert error(sensitive_weights(case, layer, composite=RELEVANCE_CAM)).max() < 1e-6
    assert error(intact[:, :, None, None, None] * conserving_weights(case, layer, composite=RELEVANCE_CAM)).min() > 0.01


def test_psi_runs_only_what_is_behind_the_layer():
    f, (parameters,), x = small_network(3)
    way = axiom_cams._Way(f, "last", RELEVANCE_CAM)
    activation, rest = axiom_cams._head(x, parameters, way=way)
    chunk = jax.make_jaxpr(lambda *given: axiom_cams._scores(*given, way=way))(
        x, parameters, jnp.array([[1], [0]]), activation, rest, jnp.arange(3)
    )
    assert "dot_general" in str(chunk)
    assert "conv_general_dilated" not in str(chunk)


def one_output(images, parameters):
    w, head = parameters
    return jax.nn.relu(xr.mark(images, "layer") @ w).mean((1, 2)) @ head


def test_of_one_output():
    """N is 2, of the logits -z and z. Rules that divide by the output get seeds of its sign, and no sign is lost."""
    rng = np.random.default_rng(3)
    w, head = rng.standard_normal((4, 5)), rng.standard_normal((5, 1))
    x = jnp.asarray(np.abs(rng.standard_normal((2, 3, 2, 4))))

    def raws(head, **options):
        model = lambda images: one_output(images, (w, head))  # noqa: E731
        e = xr.attribute(model, x, "xrelevance_cam", [[0, 1], [0, 1]], composite=LOSSY, **options)
        return np.asarray(e.raw["xrelevance_cam"]["layer"]), np.asarray(e.maps["xrelevance_cam"]["layer"])

    found, _ = raws(head, axiom="sensitivity")
    wanted, _ = raws(np.concatenate([-head, head], axis=1), axiom="sensitivity")
    np.testing.assert_allclose(found, wanted, atol=1e-8 * np.abs(wanted).max())
    found, maps = raws(head, axiom="conservation")
    np.testing.assert_allclose(np.abs(found.sum((-2, -1))), 1, rtol=1e-8)
    np.testing.assert_allclose(maps, raws(head)[1], atol=1e-8)


def test_of_a_target_function():
    """Its value z has the two sides -z and z, as the one output of a network has."""
    x = jnp.asarray(np.random.default_rng(3).random((2, 3, 2, 4)))
    # Something speaks for either side without any one channel, so that relevance is conserved.
    head = jnp.array([[0.0, 1.0], [0.0, 2.0], [0.0, -1.0], [0.0, -0.5]])
    model = lambda x: xr.mark(x, "layer").mean((1, 2)) @ head  # noqa: E731
    for axiom in ("conservation", "sensitivity"):
        e = xr.attribute(model, x, "xrelevance_cam", target=xr.targets.output(1), axiom=axiom)
        # The head is linear and without a bias, so that what the channels are worth sums to the value.
        wanted = 1 if axiom == "conservation" else e.value
        np.testing.assert_allclose(e.raw["xrelevance_cam"]["layer"].sum((1, 2)), wanted, rtol=1e-8)


def test_the_explainers_rules_are_taken_and_options_that_do_not_fit_refused():
    model, x = small.Network(small.weights(dtype=np.float64)), small.images(dtype=np.float64)
    options = {"xrelevance_cam": {"axiom": "sensitivity"}}
    given = xr.Explainer(model, "xrelevance_cam", "last", options=options, composite=LOSSY)(x)
    wanted = xr.attribute(model, x, "xrelevance_cam", layers="last", axiom="sensitivity", composite=LOSSY)
    np.testing.assert_array_equal(given.raw["xrelevance_cam"]["last"], wanted.raw["xrelevance_cam"]["last"])
    with pytest.raises(ValueError, match="axiom must be conservation, sensitivity or None; got 'both'"):
        xr.attribute(model, x, "xrelevance_cam", axiom="both")
    with pytest.raises(ValueError, match="seed cannot be chosen with axiom"):
        xr.attribute(model, x, "xrelevance_cam", axiom="conservation", seed=xr.seeds.one_hot)
