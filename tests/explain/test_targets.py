"""Target functions: closed forms on linear networks for each kind of question, and all that a call promises of them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.tree_util import Partial

import xrcam_jax as xr
from xrcam_jax.attribution.perturbations import RandomMasks

pytestmark = pytest.mark.long(one_in=3)

RNG = np.random.default_rng(0)
#: What is linear in the pixels has these for relevance: no bias, no stabiliser.
EXACT = xr.composites.epsilon_plus(eps=0, bias=False)
X = RNG.standard_normal((2, 3, 4, 3)).astype(np.float32)
KERNEL = RNG.standard_normal((3, 5)).astype(np.float32)
BOXES = RNG.standard_normal((12, 5, 4)).astype(np.float32)
MASKS = (RNG.random((2, 3, 4)) > 0.5).astype(np.float32)
OTHERS = RNG.standard_normal((2, 5)).astype(np.float32)
BEST = np.array([3, 1])


def linear(images):
    """A network that finds masks, logits, two ages and the corners of boxes, without biases."""
    mask = xr.mark(images @ KERNEL, "features")
    logits = mask.mean((1, 2))
    boxes = jnp.einsum("bp,pnc->bnc", mask[..., 0].reshape(len(mask), -1), BOXES)
    return {"mask": mask, "logits": logits, "age": (2 * logits[:, :2], logits[:, 4]), "boxes": boxes}


def height_of_box(best, out):
    """Returns the height of one box of each picture, whose number is data."""
    corners = jnp.take_along_axis(out["boxes"], best[:, None, None], axis=1)[:, 0]
    return corners[:, 2] - corners[:, 0]


def of_logits(weights):
    """The effective weights (b, h, w, c) of a weighted sum of the logits."""
    return np.broadcast_to(KERNEL @ np.asarray(weights, np.float32) / 12, X.shape)


HEIGHTS = (BOXES[:, BEST, 2] - BOXES[:, BEST, 0]).T.reshape(2, 3, 4, 1) * KERNEL[:, 0]
#: By the kind of question: what is asked, and by how much it grows with each pixel.
QUESTIONS = {
    "class": (xr.targets.output(2, key="logits"), of_logits([0, 0, 1, 0, 0])),
    "contrast": (xr.targets.contrast(2, 0, key="logits"), of_logits([-1, 0, 1, 0, 0])),
    "why not": (lambda out: -out["logits"][:, 3], of_logits([0, 0, 0, -1, 0])),
    "regression": (xr.targets.output(1, key=("age", 0)), of_logits([0, 2, 0, 0, 0])),
    "a vector": (xr.targets.output((), key=("age", 1)), of_logits([0, 0, 0, 0, 1])),
    "region": (xr.targets.region(MASKS, channel=1, key="mask"), MASKS[..., None] * KERNEL[:, 1]),
    "window": (
        lambda out: out["mask"][:, 1:3, :2, 3].mean((1, 2)),
        np.pad(np.ones((2, 2, 2, 1)), ((0, 0), (1, 0), (0, 2), (0, 0))) * KERNEL[:, 3] / 4,
    ),
    "box": (Partial(height_of_box, BEST), HEIGHTS),
}
LINEAR = ("lrp", "gradient_x_input", "gradient", "hires_cam")
AGAIN = ("integrated_gradients", "deep_lift", "occlusion")
FEW = {"integrated_gradients": {"steps": 2}, "occlusion": {"window": 1, "stride": 1}}


def near(found, wanted, tolerance=2e-5):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("kind", QUESTIONS)
def test_a_linear_network_is_explained_by_its_weights(kind):
    target, weights = QUESTIONS[kind]
    e = xr.Explainer(linear, LINEAR, composite=EXACT)(X, target=target)
    each = X * weights
    near(e.value, each.sum((1, 2, 3)))
    np.testing.assert_array_equal(e.targets, [1, 1])
    near(e.attributions["lrp"]["input"], each)
    near(e.attributions["gradient_x_input"]["input"], each)
    near(e.attributions["gradient"]["input"], weights)
    # At the layer above it is the same sum, since all layers are linear.
    near(e.raw["hires_cam"]["features"], each.sum(-1), 1e-4)


@pytest.mark.parametrize("kind", ["region", "box"])
def test_methods_that_run_a_linear_network_again_find_its_weights_too(kind):
    target, weights = QUESTIONS[kind]
    found = xr.Explainer(linear, AGAIN, options=FEW)(X, target=target)
    for name in AGAIN:
        near(found.raw[name]["input"], (X * weights).sum(-1))
    near(found.errors["deep_lift"]["input"] + 1, np.ones(2))


def test_cosine_similarity_gives_relevance_as_the_norm_rule_does():
    """The length is a factor to the rules, so that relevance sums to the cosine; to the derivative it is not."""
    target = xr.targets.similarity(OTHERS, key="logits")
    e = xr.Explainer(linear, ("lrp", "gradient"), composite=EXACT)(X, target=target)
    u = (X @ KERNEL).mean((1, 2))
    length = np.linalg.norm(u, axis=1, keepdims=True)
    v = OTHERS / np.linalg.norm(OTHERS, axis=1, keepdims=True)
    cosine = (u * v).sum(1, keepdims=True) / length
    near(e.value, cosine[:, 0])
    near(e.attributions["lrp"]["input"], X * (v / length @ KERNEL.T / 12)[:, None, None])
    slope = (v - cosine * u / length) / length @ KERNEL.T / 12
    near(e.attributions["gradient"]["input"], np.broadcast_to(slope[:, None, None], X.shape))


HEAD = RNG.standard_normal((5, 4)).astype(np.float32)
RELEVANCE = ("xrelevance_cam", "lrp", "clrp")


def network(images, head=HEAD):
    """A network with a ReLU: logits at each place and of the picture."""
    x = xr.mark(jax.nn.relu(images @ KERNEL), "last")
    return x @ head, x.mean((1, 2)) @ head


def logits(images):
    return network(images)[1]


def explained(model, target=None, targets=None, methods=RELEVANCE, **options):
    return xr.Explainer(model, methods, "last", **options)(X, targets, target=target)


@pytest.fixture(scope="module")
def against():
    """Relevance of the logit -z for z that of class 1, by a last layer of the opposite weights."""
    return explained(lambda images: network(images, -HEAD[:, 1:2])[1], targets=[1, 1])


@pytest.mark.parametrize(
    "target",
    [
        lambda out: -out[1][:, 1],
        lambda out: 0.0 - out[1][:, 1],
        lambda out: (out[1][:, 1:2] / -1.0).sum(1),
    ],
    ids=["-z", "c - z", "-c z"],
)
def test_what_speaks_against_a_logit_is_found_however_the_minus_is_written(target, against):
    found = explained(network, target)
    for name in RELEVANCE:
        near(found.raw[name]["last"], np.asarray(against.raw[name]["last"]))
    near(found.value, against.value)


def test_relevance_of_a_region_is_what_speaks_for_its_logits_also_where_they_are_negative():
    """By z+ each place gets the size of its logit, for what speaks for it; so no relevance is below zero."""
    activation = np.maximum(X @ KERNEL, 0)
    dense = activation @ HEAD[:, 0]
    mask = (dense < 0).astype(np.float32)
    target = xr.targets.region(mask, channel=0, key=0)
    e = explained(network, target, methods="lrp")
    assert mask.any((1, 2)).all()
    assert (np.asarray(e.value) < 0).all()
    speaks = activation * np.maximum(HEAD[:, 0], 0)
    total = speaks.sum(-1, keepdims=True)
    near(e.attributions["lrp"]["last"], speaks / np.where(total > 0, total, np.inf) * (mask * -dense)[..., None])


def pick(classes, out):
    return jnp.take_along_axis(out, classes[:, None], axis=1)[:, 0]


def difference(a, b, out):
    return pick(a, out) - pick(b, out)


def test_a_class_as_a_number_is_explained_as_the_class():
    classes = np.asarray(logits(X)).argmax(1)
    methods = ("lrp", "gradient", "grad_cam")
    wanted, found = (
        explained(logits, target, targets, methods)
        for target, targets in ((None, classes), (Partial(pick, classes), None))
    )
    for name in methods:
        near(found.raw[name]["last"], np.asarray(wanted.raw[name]["last"]))
    near(found.value, wanted.value)
    np.testing.assert_array_equal(wanted.value, np.asarray(wanted.logits).max(1))


@pytest.fixture(scope="module")
def contrasts():
    """Explains differences of logits, of which classes is data: one program for all of them."""
    explain = xr.Explainer(logits, ("gradient", "lrp"), "last")
    return lambda a, b: explain(X, target=Partial(difference, np.array(a), np.array(b)))


CLASSES = st.tuples(*[st.integers(0, 3)] * 2)


@given(CLASSES, CLASSES)
def test_a_contrast_is_the_difference_of_two_classes(contrasts, a, b):
    e = contrasts(a, b)
    slope = (HEAD.T[list(a)] - HEAD.T[list(b)]) / 12
    np.testing.assert_allclose(
        e.attributions["gradient"]["last"], np.broadcast_to(slope[:, None, None], (2, 3, 4, 5)), atol=1e-6
    )
    # By z+ each class gets a share by the size of its logit, the second with a minus.
    z = np.asarray(logits(X))
    for_a, for_b = z[[0, 1], list(a)], z[[0, 1], list(b)]
    share = (np.abs(for_a) - np.abs(for_b)) / (np.abs(for_a) + np.abs(for_b))
    sums = np.asarray(e.attributions["lrp"]["last"]).sum((1, 2, 3))
    np.testing.assert_allclose(sums, share * np.abs(for_a - for_b), atol=1e-4)


PERTURBING = ("rise", "score_cam", "ablation_cam", "lift_cam", "integrated_grad_cam", "guided_grad_cam")


def test_rows_that_a_target_holds_go_with_their_pictures_through_all_changed_versions():
    """Two pictures that are the same, asked for different regions: asked the other way round, maps change places."""
    options = {"integrated_grad_cam": {"steps": 2}, "rise": {"samples": 4, "grid": 2}}
    explain = xr.Explainer(network, PERTURBING, ["last"], options=options)
    twice = np.repeat(X[:1], 2, axis=0)
    found, swapped = (explain(twice, target=xr.targets.region(mask, channel=0, key=0)) for mask in (MASKS, MASKS[::-1]))
    for name in PERTURBING:
        (one,), (other,) = found.raw[name].values(), swapped.raw[name].values()
        near(one, np.asarray(other)[::-1], 1e-4)
        assert np.abs(one[0] - one[1]).max() > 1e-3 * np.abs(one).max(), name


def test_methods_of_probability_measure_the_value_itself():
    """RISE weighs masks by the value less its mean, and prediction difference analysis takes the mean over draws."""
    target = xr.targets.region(MASKS, channel=0, key=0)
    options = {
        "rise": {"samples": 6, "grid": 2},
        "prediction_difference": {"window": 1, "border": 1, "stride": 1, "samples": 2},
    }
    e = xr.Explainer(linear_masks, tuple(options), options=options)(X, target=target)
    masks = np.stack([RandomMasks(2, 0.5).mask(jax.random.key(0), i, (3, 4)) for i in range(6)])
    values = np.einsum("bhw,nhw,bhw->nb", X @ KERNEL[:, 0], masks, MASKS)
    wanted = np.einsum("nb,nhw->bhw", values - values.mean(0), masks) / (6 * 0.5)
    near(e.raw["rise"]["input"], wanted, 1e-4)
    # Outside of the region nothing changes the value.
    evidence = np.asarray(e.raw["prediction_difference"]["input"])
    assert np.abs(evidence[MASKS == 0]).max() < 1e-4
    assert np.abs(evidence[MASKS == 1]).min() > 1e-4


def linear_masks(images):
    return (images @ KERNEL,)


def test_a_target_is_traced_again_for_another_function_alone():
    traces = []

    def total(weights, out):
        traces.append(weights.shape)
        return out @ weights

    explain = xr.Explainer(logits, "gradient")
    explain(X, target=Partial(total, np.ones(4, np.float32)))
    before = len(traces)
    again = explain(X, target=Partial(total, np.arange(4, dtype=np.float32)))
    assert len(traces) == before
    np.testing.assert_allclose(again.value, np.asarray(logits(X)) @ np.arange(4), rtol=1e-5)
    assert xr.targets.contrast(1, 2) == xr.targets.contrast(1, 2)


def test_under_jit_and_across_devices_and_from_the_constructor():
    other = np.roll(X, 1, axis=0)
    explain = xr.Explainer(logits, ("lrp", "occlusion"), options={"occlusion": {"window": 2, "stride": 2}})
    wanted = explain(X, target=xr.targets.similarity(logits(other)))
    jitted = jax.jit(lambda x, other: explain(x, target=xr.targets.similarity(logits(other))))(X, other)
    three = np.concatenate([X, X[:1]])
    laid = xr.Explainer(
        logits,
        ("lrp", "occlusion"),
        options={"occlusion": {"window": 2, "stride": 2}},
        target=xr.targets.similarity(logits(np.concatenate([other, other[:1]]))),
        devices=jax.devices()[:2],
    )(three)
    for name, layers in wanted.raw.items():
        near(jitted.raw[name]["input"], np.asarray(layers["input"]))
        near(laid.raw[name]["input"][:2], np.asarray(layers["input"]))
    assert laid.value.shape == (3,)
    assert xr.Explainer(logits, "gradient", target=lambda out: out[:, 0])(X, [1, 2]).targets.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({}, ValueError, r"got \[0\]: float32 of shape \(2, 3, 4, 4\), .*: give target=, .*lambda out: out\[0\]\.sum"),
        (
            {"target": lambda out: out[0]},
            ValueError,
            r"shape \(2,\); got float32 of shape \(2, 3, 4, 4\) for the model",
        ),
        ({"target": lambda out: out[1].sum()}, ValueError, r"target must return one .* got float32 of shape \(\)"),
        ({"target": lambda out: out[1].argmax(1)}, ValueError, "got int32 of shape"),
        ({"target": lambda out: 3.0}, ValueError, "got float 3.0"),
        ({"target": 3.5}, TypeError, "target must be a function of the model's output, got 3.5"),
        ({"target": 3}, ValueError, r"got \[0\]: float32 of shape \(2, 3, 4, 4\), .*: give target="),
        ({"target": Partial(pick, "cat")}, TypeError, "target must hold arrays alone, .* got 'cat'"),
        ({"target": xr.targets.output(0, key=1), "targets": [0, 1]}, ValueError, "give a target function, or classes"),
        ({"target": xr.targets.output(0, key=1), "top_k": 2}, ValueError, "give a target function, or classes"),
        (
            {"target": xr.targets.output(0, key=1), "explain": "image"},
            ValueError,
            "chooses among several inputs, got float",
        ),
    ],
)
def test_what_is_no_number_for_each_picture_is_refused_before_anything_is_compiled(call, error, message):
    explain = xr.Explainer(network, "gradient", explain=call.pop("explain", None))
    with pytest.raises(error, match=message):
        explain(X, **call)


@pytest.mark.parametrize(
    "target",
    [
        lambda out: out.at[:, 1].get(),
        lambda out: out[jnp.arange(len(out)), jnp.array([1, 1])],
        Partial(lambda best, out: out[jnp.arange(len(out)), best], jnp.array([1, 1])),
        Partial(lambda best, out: jnp.take_along_axis(out, best[:, None], 1)[:, 0], jnp.array([1, 1])),
        lambda out: jax.lax.dynamic_index_in_dim(out, 1, 1, keepdims=False),
    ],
)
def test_a_target_may_index_in_any_way_that_jax_has(target):
    e = xr.attribute(lambda images: images.mean((1, 2)), jnp.ones((2, 2, 2, 3)), "gradient", target=target)
    np.testing.assert_allclose(e.raw["gradient"]["input"], 0.25)
    np.testing.assert_allclose(e.value, 1)


DENSE = {"mask": jnp.ones((2, 5, 6, 4)), "embedding": jnp.ones((2, 3))}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (xr.targets.output(4, key="embedding"), "index 4 is none of the 3 that there are"),
        (xr.targets.output(1, key="mask"), r"index 1 must have 3 numbers for an output \(2, 5, 6, 4\)"),
        (xr.targets.contrast(0, -4, key="embedding"), "class -4 is none of the 3 that there are"),
        (xr.targets.region(np.ones((1, 5, 6)), channel=9, key="mask"), "channel 9 is none of the 4 that there are"),
        (xr.targets.region(np.ones((1, 5, 1)), channel=1, key="mask"), r"mask \(1, 5, 1\) must be \(b or 1, 5, 6\)"),
        (xr.targets.region(np.ones((5, 6)), channel=1, key="mask"), r"mask \(5, 6\) must be \(b or 1, 5, 6\)"),
        (xr.targets.similarity(np.ones(4), key="embedding"), r"embedding \(1, 4\) is not of the model's \(2, 3\)"),
        (xr.targets.region(np.ones((3, 5, 6)), channel=1, key="mask"), r"mask \(3, 5, 6\) must be \(b or 1, 5, 6\)"),
        (xr.targets.similarity(np.ones((3, 3)), key="embedding"), r"embedding \(3, 3\) is not of the model's \(2, 3\)"),
        (xr.targets.output(0, key="mark"), "unknown key 'mark'; did you mean 'mask'"),
        (xr.targets.output(0), r"key \(\) leads to no array, but to dict"),
        (lambda out: float(out["embedding"][0, 0]), "target fails for the model's output .*ConcretizationTypeError"),
        (lambda out: out["embedding"][:, 3], "IndexError: index 3 is out of bounds for axis 1 with size 3"),
        (lambda out: out["embedding"][:, -4], "IndexError: index -4 is out of bounds"),
        (lambda out: out["mask"][:, 5].sum((1, 2)), "IndexError: index 5 is out of bounds for axis 1 with size 5"),
        (lambda out: None, "got NoneType None for the model's output"),
    ],
)
def test_what_the_output_does_not_have_is_refused_and_not_taken_for_what_is_near(target, message):
    def model(images):
        return jax.tree.map(lambda a: a * images.mean(), DENSE)

    with pytest.raises(ValueError, match=message) as raised:
        xr.attribute(model, jnp.ones((2, 5, 6, 3)), "gradient", target=target)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("nothing", [None, (), {}])
def test_a_model_that_returns_nothing_is_refused(nothing):
    with pytest.raises(
        ValueError, match=rf"the model must return logits \(b, n\), .*; got {re.escape(repr(nothing))}$"
    ):
        xr.attribute(lambda images: nothing, jnp.ones((2, 5, 6, 3)), "gradient")
