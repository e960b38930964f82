"""Relevance through concepts: against loops over hand-cut halves, closed forms and channels planted in a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import xrcam_jax as xr
from tests.lrp.transformers import parameters, reference
from xrcam_jax.cam import weights
from xrcam_jax.concepts import way
from xrcam_jax.concepts.conditions import amounts, checked_concepts, through
from xrcam_jax.lrp import rules
from xrcam_jax.lrp.assignments import Assign, Composite

DRAWN = np.random.default_rng(0)
KERNELS = [DRAWN.standard_normal((3, 3, i, o)) / 3 for i, o in ((2, 4), (4, 5))]
HEAD = DRAWN.standard_normal((5, 3))
IMAGES = DRAWN.standard_normal((2, 6, 6, 2))
TARGETS = np.array([2, 0])
COMPOSITE = xr.composites.epsilon_plus()
OPTIONS = {"composite": COMPOSITE, "seed": xr.seeds.one_hot}


def layer(x, number):
    z = lax.conv_general_dilated(
        x, jnp.asarray(KERNELS[number]), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jax.nn.relu(z)


def head(high):
    return high.mean((1, 2)) @ jnp.asarray(HEAD)


def model(x):
    return head(xr.mark(layer(xr.mark(layer(x, 0), "low"), 1), "high"))


def only(r, channel):
    return jnp.where(np.arange(5) == channel, r, jnp.zeros_like(r))


def pulled(f, x):
    """The value of a part of the network, and the pullback of relevance."""
    return jax.vjp(xr.lrp(f, COMPOSITE), x)


@pytest.fixture(scope="module")
def halves():
    """Activations and relevances of the network cut by hand, and its pullbacks: high to low, low to the input."""
    with jax.enable_x64(True):
        low, to_input = pulled(lambda x: layer(x, 0), jnp.asarray(IMAGES))
        high, to_low = pulled(lambda x: layer(x, 1), low)
        logits, to_high = pulled(head, high)
        (at_high,) = to_high(logits * jax.nn.one_hot(TARGETS, 3))
        yield low, high, at_high, to_low, to_input


@pytest.fixture(scope="module")
def found():
    """All channels of the upper layer, one by one."""
    with jax.enable_x64(True):
        yield xr.concepts.attribute(model, IMAGES, "high", targets=TARGETS, **OPTIONS)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


pytestmark = pytest.mark.usefixtures("float64")


def test_a_batch_of_concepts_is_a_loop_over_halves_cut_by_hand(found, halves):
    _, _, at_high, to_low, to_input = halves
    for channel, (one, relevance) in enumerate(zip(found.maps, found.relevance, strict=True)):
        kept = only(at_high, channel)
        close(one, to_input(to_low(kept)[0])[0].sum(-1))
        np.testing.assert_allclose(relevance, kept.sum((1, 2, 3)), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("rules", ["epsilon_plus", "relevance_cam"])
def test_all_concepts_sum_to_the_unconditioned_relevance(rules, found):
    options = {"composite": getattr(xr.composites, rules)()}
    if rules != "epsilon_plus":
        found = xr.concepts.attribute(model, IMAGES, "high", targets=TARGETS, **options)
    whole = xr.attribute(model, IMAGES, "lrp", TARGETS, ["input", "high"], **options).attributions["lrp"]
    close(found.maps.sum(0), whole["input"].sum(-1))
    close(found.relevance.sum(0), whole["high"].sum((1, 2, 3)))


def test_concepts_at_several_layers_are_conditions_of_all(halves):
    low, _, at_high, to_low, to_input = halves
    direction = np.array([1.0, -2.0, 0.5, 1.0])
    given = {"low": direction[None], "high": [3, 1]}
    found = xr.concepts.attribute(model, IMAGES, given, targets=TARGETS, **OPTIONS)
    v = direction / np.linalg.norm(direction)
    for i, channel in enumerate([3, 1]):
        r = np.asarray(to_low(only(at_high, channel))[0])
        a = np.asarray(low)
        context = np.divide(r, a, out=np.zeros_like(r), where=a != 0)
        kept = a * v * (context @ v)[..., None]
        close(found.maps[i], to_input(jnp.asarray(kept))[0].sum(-1))
        close(found.relevance[i], kept.sum((1, 2, 3)))


def test_maps_depend_neither_on_chunks_nor_on_the_rest_of_the_batch(found):
    alone = xr.concepts.attribute(model, IMAGES[1:], "high", [4, 0, 1], targets=TARGETS[1:], chunk_size=2, **OPTIONS)
    np.testing.assert_allclose(alone.maps[:, 0], found.maps[np.array([4, 0, 1]), 1], rtol=1e-10, atol=1e-14)
    of_each = np.array([[4, 2], [0, 1]])
    several = xr.concepts.attribute(model, IMAGES, "high", of_each, targets=TARGETS, chunk_size=1, **OPTIONS)
    wanted = [[found.maps[channel, i] for i, channel in enumerate(row)] for row in of_each]
    np.testing.assert_allclose(several.maps, np.array(wanted), rtol=1e-10, atol=1e-14)


def test_unit_vectors_are_channels_and_a_basis_shares_all(found):
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))[0]
    both = np.concatenate([3 * np.eye(5), basis])
    turned = xr.concepts.attribute(model, IMAGES, "high", both, targets=TARGETS, **OPTIONS)
    close(turned.maps[:5], found.maps)
    close(turned.relevance[:5], found.relevance)
    close(turned.maps[5:].sum(0), found.maps.sum(0))


def test_a_set_of_channels_is_the_sum_of_its_channels(found):
    sets = np.array([[True, False, True, True, False]])
    together = xr.concepts.attribute(model, IMAGES, "high", sets, targets=TARGETS, **OPTIONS)
    close(together.maps[0], found.maps[np.array([0, 2, 3])].sum(0))


def test_a_direction_is_a_projection_whose_sum_is_a_product(halves):
    _, high, at_high, _, _ = halves
    v = jnp.asarray(checked_concepts(np.array([[1.0, 2.0, -1.0, 0.0, 0.5]]), "high", high))
    once = through(v[0], high, at_high)
    close(amounts(v, high, at_high)[0], once.sum((1, 2, 3)))
    # Where a channel is 0 its part of v gets nothing, so that only elsewhere the second time changes nothing.
    positive = high + 1
    once = through(v[0], positive, at_high)
    close(through(v[0], positive, once), once)


def test_the_graph_has_what_goes_through_both(halves):
    _, _, at_high, to_low, _ = halves
    graph = xr.concepts.graph(model, IMAGES, {"low": None, "high": [3, 1]}, targets=TARGETS, **OPTIONS)
    assert (graph.upper, graph.lower) == ("high", "low")
    for i, channel in enumerate([3, 1]):
        kept = only(at_high, channel)
        close(graph.edges[i], to_low(kept)[0].sum((1, 2)).T)
        close(graph.relevance[i], kept.sum((1, 2, 3)))


def test_cams_of_concepts(halves):
    low, _, _, _, _ = halves
    sets = np.concatenate([np.eye(5, dtype=bool), np.ones((1, 5), bool)])
    found = xr.concepts.cam(model, IMAGES, "high", sets, at="low", targets=TARGETS)
    # That of all channels together is XRelevance-CAM itself, whose weights are linear in the relevance.
    whole = xr.xrelevance_cam(model, IMAGES, TARGETS, "low").raw["xrelevance_cam"]["low"]
    np.testing.assert_allclose(found.maps[5], whole, rtol=0, atol=1e-6 * np.abs(whole).max())
    close(found.maps[:5].sum(0), found.maps[5])

    grad = xr.concepts.cam(model, IMAGES, "high", [2], at="low", method="grad_cam", targets=TARGETS)
    _, pullback = jax.vjp(lambda a: layer(a, 1), low)
    of_channel = jnp.broadcast_to(jnp.asarray(HEAD)[:, TARGETS].T[:, None, None] / 36, (2, 6, 6, 5))
    (g,) = pullback(only(of_channel, 2))
    close(grad.maps[0], (low * weights.grad_cam(low, g)).sum(-1))


def test_the_most_relevant_come_first(found):
    ranked = xr.concepts.most_relevant(model, IMAGES, "high", 3, targets=TARGETS, absolute=True, **OPTIONS)
    relevance = np.asarray(found.relevance)
    order = np.argsort(-np.abs(relevance), axis=0)[:3]
    assert ranked.concepts.tolist() == order.tolist()
    close(ranked.relevance, np.take_along_axis(relevance, order, 0))
    close(ranked.share, np.take_along_axis(relevance / np.abs(relevance).sum(0), order, 0))


def test_what_goes_past_a_layer_is_of_none_of_its_concepts():
    def residual(x):
        return (xr.mark(2 * x, "branch") + x).sum((1, 2))

    x = np.arange(1.0, 5.0).reshape(1, 2, 2, 1)
    found = xr.concepts.attribute(residual, x, "branch", [0], composite=xr.composites.gradient(), seed=xr.seeds.unit)
    np.testing.assert_array_equal(found.maps, np.full((1, 1, 2, 2), 2.0))


def test_a_network_of_one_output_has_two_classes():
    def one(x):
        return head(layer(layer(x, 0), 1))[:, :1]

    def marked(x):
        return head(xr.mark(layer(layer(x, 0), 1), "high"))[:, :1]

    whole = xr.attribute(one, IMAGES, "lrp", 0).attributions["lrp"]["input"].sum(-1)
    close(xr.concepts.attribute(marked, IMAGES, "high", targets=0).maps.sum(0), whole)


#: zennit's z+ and ε rules, with its stabilisers.
CRP = Composite(
    (
        Assign(rules.ZPlus(1e-6, bias=True), kinds=("convolution",)),
        Assign(rules.Epsilon(1e-6, bias=True), kinds=("dense",)),
        Assign(rules.Pass(), kinds=("activation",)),
    ),
    default=rules.Gradient(),
)


def of_crp(x, p):
    """The network of the stored references: two convolutions with biases and ReLUs, a mean, a dense layer."""
    for name in ("conv1", "conv2"):
        kernel, bias = p[f"{name}.weight"].transpose(2, 3, 1, 0), p[f"{name}.bias"]
        z = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = xr.mark(jax.nn.relu(z + bias), name)
    return x.mean((1, 2)) @ p["fc.weight"].T + p["fc.bias"]


def test_maps_are_those_of_zennit_crp():
    stored = reference("zennit_crp")
    p, x = parameters(stored), stored["x"].transpose(0, 2, 3, 1)
    options = {"composite": CRP, "seed": xr.seeds.unit, "targets": stored["target"]}
    for name, channels in (("conv1", 3), ("conv2", 4)):
        found = xr.concepts.attribute(lambda x: of_crp(x, p), x, name, **options)
        close(found.logits, stored["logits_f64"])
        for channel in range(channels):
            np.testing.assert_allclose(found.maps[channel], stored[f"heatmap/{name}/{channel}"], rtol=0, atol=1e-9)
    lower, upper = [0, 2, 1], [1, 3, 0]
    both = xr.concepts.attribute(lambda x: of_crp(x, p), x, {"conv1": lower, "conv2": upper}, **options)
    edges = xr.concepts.graph(lambda x: of_crp(x, p), x, {"conv1": None, "conv2": upper}, **options).edges
    for i, (one, other) in enumerate(zip(lower, upper, strict=True)):
        np.testing.assert_allclose(both.maps[i], stored[f"heatmap/both/{one}_{other}"], rtol=0, atol=1e-9)
        wanted = stored[f"relevance/conv1/given_{other}"].sum((2, 3)).T
        np.testing.assert_allclose(edges[i], wanted, rtol=0, atol=1e-9)


@pytest.fixture
def never_run(monkeypatch):
    """Lets models be traced, and fails where one would run."""
    find_way = way.find_way

    def traced(images, *arguments, **options):
        assert isinstance(images, jax.core.Tracer), "the model runs before it is checked what is asked of it"
        return find_way(images, *arguments, **options)

    monkeypatch.setattr(way, "find_way", traced)


@pytest.mark.parametrize(
    ("layer", "concepts", "options", "message"),
    [
        ("high", [5], {}, "expected channels 0 to 4, found 5"),
        ("high", [], {}, "at least one"),
        ("high", np.ones((2, 3)), {}, r"found float64 of shape \(2, 3\)"),
        ("high", np.zeros((1, 5)), {}, "found zeros alone in direction 0"),
        ("high", np.stack([np.ones(5), np.full(5, np.nan)]), {}, "found values that are not finite in direction 1"),
        ("high", np.full((1, 5), -np.inf), {}, "found values that are not finite in direction 0"),
        ("nowhere", [0], {}, "nowhere"),
        ("low", [0], {"at": "high"}, "expected a layer below"),
        ({"low": [0, 1], "high": [0, 1, 2]}, None, {}, "2 at low, 3 at high"),
        ({"low": [0]}, [0], {}, "found both"),
        ({}, None, {}, "found none"),
        ("high", [0], {"targets": [[0, 1], [0, 1]]}, "one class for each picture, found 2"),
        ("high", [0], {"chunk_size": 0}, "chunk_size must be at least 1"),
    ],
)
def test_bad_input_gets_one_clear_error_before_the_model_runs(never_run, layer, concepts, options, message):
    with pytest.raises(ValueError, match=message):
        xr.concepts.attribute(model, IMAGES, layer, concepts, **options)


def test_bad_input_of_the_others(never_run):
    with pytest.raises(ValueError, match="expected two with concepts, found low"):
        xr.concepts.graph(model, IMAGES, {"low": [0]})
    with pytest.raises(ValueError, match="expected channels 0 to 3, found 4"):
        xr.concepts.graph(model, IMAGES, {"low": [4], "high": [0]})
    with pytest.raises(ValueError, match="expected channels 0 to 4, found -1"):
        xr.concepts.cam(model, IMAGES, "high", [-1], at="low")
    with pytest.raises(ValueError, match="class activation map of one pass"):
        xr.concepts.cam(model, IMAGES, "high", [0], at="low", method="score_cam")
    with pytest.raises(ValueError, match="k: expected a number between 1 and that of the concepts, 5, found 6"):
        xr.concepts.most_relevant(model, IMAGES, "high", 6)


ASKED = {
    "attribute": lambda **asked: xr.concepts.attribute(model, IMAGES, "high", [0], **asked),
    "most_relevant": lambda **asked: xr.concepts.most_relevant(model, IMAGES, "high", 1, **asked),
    "cam": lambda **asked: xr.concepts.cam(model, IMAGES, "high", [0], at="low", **asked),
    "graph": lambda **asked: xr.concepts.graph(model, IMAGES, {"high": [0], "low": [0]}, **asked),
}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("asked", [{"targets": lambda out: out[:, 0]}, {"target": lambda out: out[:, 0]}, {"top_k": 2}])
def test_more_than_a_class_is_refused_with_the_line_that_cures_it(never_run, name, asked):
    with pytest.raises(
        ValueError, match=r"concepts explain a class for each picture; .* f\(model\(images\)\)"
    ) as raised:
        ASKED[name](**asked)
    assert str(raised.value).startswith(f"{next(iter(asked))}: expected ")
    assert "\n" not in str(raised.value)


def test_a_model_without_classes_is_refused_likewise():
    with pytest.raises(ValueError, match=r"must return logits \(b, n\).*concepts explain a class") as raised:
        xr.concepts.attribute(lambda images: xr.mark(images, "layer"), IMAGES, "layer", [0])
    assert "target=" not in str(raised.value)


def test_models_of_several_inputs_are_refused():
    with pytest.raises(ValueError, match="images: expected one batch of pictures, found several inputs"):
        xr.concepts.attribute(lambda left, right: model(left + right), (IMAGES, IMAGES), "high", [0])


def test_a_function_of_the_output_is_the_class_of_a_model_that_ends_with_it():
    def second(images):
        return model(images)[:, 1, None]

    wanted = xr.concepts.attribute(model, IMAGES, "high", None, targets=1)
    found = xr.concepts.attribute(second, IMAGES, "high", None, targets=1)
    np.testing.assert_allclose(found.maps, wanted.maps, rtol=1e-5, atol=1e-6)


def test_layers_beside_one_another_are_refused():
    def branches(x):
        return (xr.mark(2 * x, "left") + xr.mark(3 * x, "right")).sum((1, 2))

    with pytest.raises(ValueError, match="'right' does not depend on 'left'"):
        xr.concepts.attribute(branches, IMAGES, {"left": [0], "right": [0]})
