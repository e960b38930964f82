"""Models of several inputs, and of token ids: what is explained, what is passed on, and by which names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import xrcam_jax as xr

RNG = np.random.default_rng(3)
EXACT = xr.composites.epsilon_plus(eps=0, bias=False)
KERNEL, OF_AGE, OF_DEPTH = (RNG.standard_normal((n, 3)).astype(np.float32) for n in (2, 4, 1))
INPUTS = {
    "image": RNG.standard_normal((2, 2, 4, 2)).astype(np.float32),
    "depth": RNG.standard_normal((2, 3, 3, 1)).astype(np.float32),
    "history": RNG.standard_normal((2, 4)).astype(np.float32),
    "site": np.array([0, 1]),
    "temperature": np.float32(0.5),
}
FEW = {"integrated_gradients": {"steps": 2}, "occlusion": {"window": 1, "stride": 1}, "smooth_grad": {"samples": 2}}
SUMMING = ("lrp", "gradient_x_input", "integrated_gradients", "deep_lift")


def model(inputs):
    """A network that is linear in what is explained, of logits that the site shifts and the temperature scales."""
    logits = inputs["image"].mean((1, 2)) @ KERNEL + inputs["depth"].mean((1, 2)) @ OF_DEPTH
    shift = jnp.eye(3)[2 * inputs["site"]]
    return (logits + inputs["history"] @ OF_AGE) * inputs["temperature"] + shift


def near(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


def weights(name, classes):
    """By how much the logit of a class grows with each element of an input."""
    kernel, places = {"image": (KERNEL, 8), "depth": (OF_DEPTH, 9), "history": (OF_AGE, 1)}[name]
    slope = 0.5 * kernel.T[classes] / places
    return slope.reshape(2, *(1,) * (INPUTS[name].ndim - 2), -1)


def explainer(network, methods, layers=None, **made):
    options = {name: FEW[name] for name in methods if name in FEW}
    return xr.Explainer(network, methods, layers, options=options, composite=EXACT, **made)


@pytest.fixture(scope="module")
def found():
    names = ("depth", "image", "history")
    return explainer(model, (*SUMMING, "smooth_grad"), explain=names)(INPUTS, [2, 1])


@pytest.mark.parametrize("name", ["depth", "image", "history"])
def test_each_explained_input_is_a_layer_with_what_it_contributes(found, name):
    wanted = INPUTS[name] * weights(name, [2, 1])
    for method in SUMMING:
        assert list(found.raw[method]) == ["input.depth", "input.image", "input.history"]
        near(found.attributions[method][f"input.{name}"], wanted)
        places = INPUTS[name].shape[1:-1] or (4,)
        assert found.maps[method][f"input.{name}"].shape == (2, *places)
    near(found.logits, np.asarray(model(INPUTS)))
    near(found.attributions["smooth_grad"][f"input.{name}"], np.broadcast_to(weights(name, [2, 1]), wanted.shape))


def test_pictures_alone_are_changed_and_explained_by_default():
    e = explainer(model, ("occlusion", "gradient"))(INPUTS, [2, 1])
    assert sorted(e.raw["occlusion"]) == sorted(e.raw["gradient"]) == ["input.depth", "input.image"]
    for name in ("image", "depth"):
        near(e.raw["occlusion"][f"input.{name}"], (INPUTS[name] * weights(name, [2, 1])).sum(-1))


def test_layers_and_tuples_and_targets():
    def two(inputs):
        image, (history, sites) = inputs
        return {
            "out": (
                xr.mark(image @ KERNEL, "features").mean((1, 2)),
                history @ OF_AGE * sites[:, None].astype(jnp.float32),
            )
        }

    given = INPUTS["image"], (INPUTS["history"], INPUTS["site"])
    explain = explainer(two, ("lrp", "hires_cam", "ablation_cam"), explain=["0", "1.0"])
    sites = np.array([2, 0])
    e = explain(given, target=Partial(lambda k, out: jnp.take_along_axis(sum(out["out"]), k[:, None], 1)[:, 0], sites))
    assert list(e.raw["lrp"]) == ["input.0", "input.1.0"]
    assert list(e.raw["ablation_cam"]) == list(e.raw["hires_cam"]) == ["features"]
    near(e.attributions["lrp"]["input.0"], given[0] * KERNEL.T[sites][:, None, None] / 8)
    near(e.attributions["lrp"]["input.1.0"], given[1][0] * OF_AGE.T[sites] * INPUTS["site"][:, None])
    features = (given[0] @ KERNEL)[np.arange(2), ..., sites] / 8
    near(e.raw["hires_cam"]["features"], features)
    assert e.maps["hires_cam"]["features"].shape == (2, 2, 4)
    jitted = jax.jit(lambda given: xr.attribute(two, given, "gradient", target=lambda out: out["out"][0][:, 1]))(given)
    near(jitted.attributions["gradient"]["input.0"], np.broadcast_to(KERNEL[:, 1] / 8, given[0].shape))


TABLE = RNG.standard_normal((6, 3)).astype(np.float32)
IDS = np.array([[5, 0, 2, 2], [1, 3, 0, 4]])


def reader(ids):
    """A linear network on the mean of its tokens' embeddings."""
    return xr.mark(jnp.asarray(TABLE)[ids], "embedding").mean(1) @ KERNEL.repeat(2, 0)[:3]


def test_token_ids_are_explained_at_their_embedding():
    e = explainer(reader, (*SUMMING, "hires_cam"), "embedding")(IDS, [0, 2])
    slope = KERNEL.repeat(2, 0)[:3].T[[0, 2]][:, None] / 4
    for name in ("lrp", "gradient_x_input"):
        near(e.attributions[name]["embedding"], TABLE[IDS] * slope)
    # A path begins at the embedding of token 0, which therefore contributes nothing.
    for name in ("integrated_gradients", "deep_lift"):
        near(e.attributions[name]["embedding"], (TABLE[IDS] - TABLE[0]) * slope)
    near(e.raw["hires_cam"]["embedding"], (TABLE[IDS] * slope).sum(-1))
    assert e.maps["lrp"]["embedding"].shape == (2, 4)


def test_a_picture_and_a_question_are_explained_together():
    def answers(inputs):
        return reader(inputs["ids"]) + inputs["image"].mean((1, 2)) @ KERNEL

    layers = ["input.image", "embedding"]
    given = {"image": INPUTS["image"], "ids": IDS}
    e = explainer(answers, ("lrp",), layers, explain=("image", "ids"))(given, [0, 2])
    assert {layer: maps.shape for layer, maps in e.maps["lrp"].items()} == {layers[0]: (2, 2, 4), layers[1]: (2, 4)}
    total = sum(np.asarray(a).reshape(2, -1).sum(1) for a in e.attributions["lrp"].values())
    near(total, np.asarray(e.value))


@pytest.mark.parametrize(
    ("given", "made", "message"),
    [
        ({**INPUTS, "site": np.zeros(3, int)}, {}, "a row for each picture, as input.depth has 2; input.site has 3"),
        ({**INPUTS, "image": np.full((2, 2, 4, 2), np.nan)}, {}, r"input.image must be finite; found .* \[0, 1\]"),
        ({**INPUTS, "site": np.array(["a", "b"])}, {}, "input.site must hold numbers, got <U1"),
        (INPUTS, {"explain": "imag"}, "unknown input in explain 'imag'; did you mean 'image'"),
        ({"a": np.ones((2, 3)), "b": np.ones((2, 3))}, {}, "explain must name inputs to be explained, of a, b"),
        (
            INPUTS,
            {"methods": "occlusion", "explain": "history"},
            "occlusion changes parts of pictures; input.history is",
        ),
        (INPUTS, {"methods": "grad_cam", "layers": "input"}, "grad_cam needs a layer of activations, not the input"),
        (IDS, {"methods": "gradient"}, "gradient needs the layer of an embedding in layers=: token ids, 'input'"),
        (IDS, {"methods": "occlusion"}, "occlusion changes parts of pictures; input is int"),
        (
            IDS,
            {"methods": "smooth_grad", "layers": "embedding"},
            "smooth_grad changes pictures, and .* token ids, int",
        ),
    ],
)
def test_inputs_that_cannot_be_explained_are_named(given, made, message):
    network = reader if given is IDS else model
    with pytest.raises(ValueError, match=message):
        xr.Explainer(network, **{"methods": "gradient", **made})(given)


@pytest.mark.parametrize("baseline", [0.5, -3])
def test_a_baseline_of_token_ids_is_an_id(baseline):
    options = {"integrated_gradients": {"baseline": baseline}}
    with pytest.raises(ValueError, match=f"baseline must be a token id or ids, .*; got {baseline}"):
        xr.Explainer(reader, "integrated_gradients", "embedding", options=options)(IDS)


def test_an_explained_input_has_a_row_for_each_picture():
    with pytest.raises(ValueError, match=r"inputs must have a row for each picture, as input\.a has 2; input\.b has 1"):
        explainer(lambda inputs: inputs[0], ("gradient",))({"a": jnp.ones((2, 4, 4, 3)), "b": jnp.ones((1, 4, 3))})


def unmarked(ids):
    """The same network, of code that nobody can edit: its layers are the scopes that its modules run under."""
    embedded = jax.named_scope("embed")(lambda ids: jnp.asarray(TABLE)[ids])(ids)
    return jax.named_scope("double")(lambda x: x * 2)(embedded).mean(1) @ KERNEL.repeat(2, 0)[:3]


def test_an_embedding_that_nobody_has_marked_is_a_layer_by_its_name():
    assert xr.layers(unmarked, IDS)["embed"].shape == (2, 4, 3)
    slope = 2 * KERNEL.repeat(2, 0)[:3].T[[0, 2]][:, None] / 4
    e = explainer(unmarked, (*SUMMING, "hires_cam"), "embed")(IDS, [0, 2])
    for name in ("lrp", "gradient_x_input"):
        near(e.attributions[name]["embed"], TABLE[IDS] * slope)
    for name in ("integrated_gradients", "deep_lift"):
        near(e.attributions[name]["embed"], (TABLE[IDS] - TABLE[0]) * slope)
    near(e.raw["hires_cam"]["embed"], (TABLE[IDS] * slope).sum(-1))


def test_the_last_layer_of_tokens_is_chosen_where_there_are_no_marks():
    with pytest.warns(UserWarning, match=r"the last one of each size is taken: 'double' \(2, 4, 3\)"):
        e = xr.Explainer(unmarked, "hires_cam")(IDS, [0, 2])
    near(e.raw["hires_cam"]["double"], (TABLE[IDS] * 2 * KERNEL.repeat(2, 0)[:3].T[[0, 2]][:, None] / 4).sum(-1))


def test_an_embedding_beside_a_picture_is_a_layer_where_explain_names_its_ids():
    def answers(inputs):
        return jax.named_scope("picture")(lambda x: x.mean((1, 2)))(inputs["image"]) @ KERNEL + unmarked(inputs["ids"])

    given = {"image": INPUTS["image"], "ids": IDS}
    with pytest.raises(ValueError, match=r"layer 'embed' lies behind token ids .* explain=\('image', 'ids'\)"):
        xr.Explainer(answers, "gradient", ["embed"])(given)
    with pytest.raises(ValueError, match=r"unknown layer 'embd'; known: input\.image, input, picture"):
        xr.Explainer(answers, "gradient", ["embd"])(given)
    e = explainer(answers, ("lrp",), ["input.image", "embed"], explain=("image", "ids"))(given, [0, 2])
    total = sum(np.asarray(a).reshape(2, -1).sum(1) for a in e.attributions["lrp"].values())
    near(total, np.asarray(e.value))
