"""Models and maps as Quantus takes them: alone, and under Quantus's metrics beside the same network of PyTorch.

The second part is run by ``pip install -e ".[quantus]"``, and skipped without it. Its references are the scores of
``tests/references/quantus.npz``, for which Quantus asked PyTorch.
"""

import json
import sys
from itertools import cycle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests import oracle
from xrcam_jax.evaluation.quantus import QuantusModel

LAYERS = ("conv1", "conv2", "fc")
with np.load(oracle.DATA / "quantus.npz") as stored:
    STORED = dict(stored)
SETTINGS = json.loads(bytes(STORED["settings"]))
IMAGES = STORED["images"].transpose(0, 2, 3, 1)


def weights(prefix=""):
    """The network's parameters, nested by name as those of modules are."""
    kernels = {name: STORED[f"{prefix}{name}_w"].transpose(2, 3, 1, 0) for name in ("conv1", "conv2")}
    kernels["fc"] = STORED[f"{prefix}fc_w"].T
    return {name: {"kernel": jnp.asarray(k), "bias": STORED[f"{prefix}{name}_b"]} for name, k in kernels.items()}


def convolved(x, layer):
    return jax.lax.conv_general_dilated(
        x, layer["kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ) + jnp.asarray(layer["bias"])


def network(images, parameters):
    x = jax.nn.relu(convolved(images, parameters["conv1"]))
    x = x.reshape(len(x), 5, 2, 5, 2, 6).mean((2, 4))
    x = jax.nn.relu(xr.mark(convolved(x, parameters["conv2"]), "conv2"))
    return jnp.moveaxis(x, -1, 1).reshape(len(x), -1) @ parameters["fc"]["kernel"] + parameters["fc"]["bias"]


@pytest.fixture(scope="module")
def explainer():
    return xr.Explainer(xr.adapters.Adapted(network, weights()), ["gradient_x_input", "gradient", "grad_cam"])


@pytest.fixture(scope="module")
def model(explainer):
    return QuantusModel(explainer, explainer.parameters, shape=IMAGES.shape)


def test_it_predicts_what_the_network_does(model):
    x = model.shape_input(STORED["images"], STORED["images"].shape, channel_first=True, batched=True)
    logits, probabilities = (
        QuantusModel(model.explainer, model.parameters, softmax=s).predict(x) for s in (False, True)
    )
    np.testing.assert_allclose(logits, network(IMAGES, weights()), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rtol=1e-5)
    one = model.shape_input(STORED["images"][1], STORED["images"].shape[1:])
    np.testing.assert_allclose(model.predict(one.astype(np.float64)), logits[1:2], rtol=1e-4, atol=1e-5)


def test_a_network_of_one_output_decides_between_two_classes():
    explainer = xr.Explainer(lambda images: images.sum((1, 2))[:, :1], ())
    x = np.full((1, 1, 1, 1), 2.0)
    assert QuantusModel(explainer, ()).predict(x).tolist() == [[-2.0, 2.0]]
    share = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(QuantusModel(explainer, (), softmax=True).predict(x), [[1 - share, share]], rtol=1e-6)


def test_maps_are_those_of_the_explainer_and_may_be_written_to(model, explainer):
    e = explainer(IMAGES, STORED["labels"])
    for kind, wanted in (("maps", e.maps), ("raw", e.raw)):
        found = xr.quantus.explain_func(model, STORED["images"], STORED["labels"], method="gradient", kind=kind)
        np.testing.assert_array_equal(found, wanted["gradient"]["input"])
        found *= 2
    channels = xr.quantus.explain_func(
        model, STORED["images"], STORED["labels"], method="gradient_x_input", kind="attributions"
    )
    np.testing.assert_allclose(channels.sum(1), STORED["maps"][0], rtol=1e-4, atol=1e-5)
    raw = {"method": "grad_cam", "layer": "conv2", "kind": "raw"}
    assert xr.quantus.explain_func(model, STORED["images"], STORED["labels"], **raw).shape == (4, 12, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "method: expected one of gradient_x_input, gradient, grad_cam"),
        ({"method": "lrp"}, "unknown method 'lrp'"),
        ({"method": "grad_cam", "layer": "conv1"}, "unknown layer 'conv1'"),
        ({"method": "grad_cam", "kind": "attributions"}, "kind: expected maps or raw of grad_cam"),
        ({"method": "gradient", "kind": "heat"}, "unknown kind 'heat'"),
    ],
)
def test_what_cannot_be_explained_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        xr.quantus.explain_func(model, STORED["images"], STORED["labels"], **options)


def test_layers_are_drawn_anew_in_order(model):
    orders = {"top_down": LAYERS[::-1], "bottom_up": LAYERS, "independent": LAYERS}
    last = {}
    for order, layers in orders.items():
        found = list(model.get_random_layer_generator(order, seed=3))
        assert tuple(name for name, _ in found) == layers
        assert model.random_layer_generator_length == len(found)
        for i, (_, drawn) in enumerate(found):
            changed = {n for n in LAYERS if (drawn.parameters[n]["kernel"] != model.parameters[n]["kernel"]).any()}
            assert changed == ({layers[i]} if order == "independent" else set(layers[: i + 1]))
        last[order] = found[-1][1].state_dict()
    # All drawn anew, the order no longer matters.
    assert all((last["top_down"][name] == value).all() for name, value in last["bottom_up"].items())
    again = list(model.get_random_layer_generator("bottom_up", seed=4))[-1][1].state_dict()
    assert (again["fc/kernel"] != last["bottom_up"]["fc/kernel"]).any()


def test_layers_are_found_by_the_shape_of_pictures(explainer):
    with pytest.raises(ValueError, match=r"give xr.quantus.model\(explain, images\)"):
        _ = QuantusModel(explainer, explainer.parameters).random_layer_generator_length


def test_a_shifted_model_says_the_same_of_shifted_pictures(model):
    shifted = model.add_mean_shift_to_first_layer(-1, (1, 3, 12, 12))
    np.testing.assert_allclose(
        shifted.predict(STORED["images"] - 1), model.predict(STORED["images"]), rtol=1e-4, atol=1e-5
    )
    ask = {"targets": STORED["labels"], "method": "gradient", "kind": "raw"}
    found = xr.quantus.explain_func(shifted, STORED["images"] - 1, **ask)
    np.testing.assert_allclose(found, xr.quantus.explain_func(model, STORED["images"], **ask), rtol=1e-3, atol=1e-5)


def test_hidden_values_are_those_of_the_layers(model):
    x = jax.nn.relu(convolved(IMAGES, weights()["conv1"])).reshape(4, 5, 2, 5, 2, 6).mean((2, 4))
    wanted = np.asarray(convolved(x, weights()["conv2"])).reshape(4, -1)
    for options in ({}, {"layer_names": ["conv2"]}, {"layer_indices": [-1]}):
        np.testing.assert_allclose(model.get_hidden_representations(STORED["images"], **options), wanted, atol=1e-5)
    plain = QuantusModel(xr.Explainer(lambda images: images.mean((1, 2)), ()), ())
    with pytest.raises(ValueError, match="layer_names: expected at least one"):
        plain.get_hidden_representations(STORED["images"])


def test_without_quantus_there_is_one_line(monkeypatch, explainer):
    monkeypatch.setitem(sys.modules, "quantus", None)
    with pytest.raises(ImportError, match=r"xr.quantus.model needs Quantus: pip install 'xrcam-jax\[quantus\]'"):
        xr.quantus.model(explainer)


def test_a_target_function_is_no_class():
    explainer = xr.Explainer(lambda images: images.mean((1, 2)), "gradient", target=lambda logits: logits.sum(-1))
    with pytest.raises(ValueError, match="expected an Explainer of classes"):
        xr.quantus.model(explainer)


# What Quantus draws for itself differs from run to run, or is drawn by PyTorch.
DRAWN = {"mprt_top_down", "mprt_bottom_up", "mprt_independent", "smooth_mprt", "efficient_mprt"}
OF_OWN_CHANGES = {
    name for name, made in SETTINGS.items() if made.get("init", {}).get("perturb_func", "noisy") != "noisy"
}
#: Their baseline or segments are given by hand.
ELSEWHERE = {"faithfulness_correlation", "completeness", "input_invariance", "input_invariance_gradient"}
ASKED = [
    name
    for name, made in SETTINGS.items()
    if "class" in made and name not in DRAWN | OF_OWN_CHANGES | ELSEWHERE | {"random_logit_spearman"}
]


def noisy():
    place = cycle(range(9))
    return lambda arr, indices, **_: arr + STORED["noise"][next(place)].reshape(1, -1)


@pytest.fixture(scope="module")
def adapted(explainer):
    pytest.importorskip("quantus", reason="Quantus is not installed")
    return xr.quantus.model(explainer, IMAGES)


def asked(model, name, maps=None, **call):
    """The scores of one map, or of those that the metric makes itself."""
    import quantus

    made = SETTINGS[name]
    init = {"normalise": False, "disable_warnings": True, "return_aggregate": False} | made["init"]
    init |= {"perturb_func": noisy()} if "perturb_func" in made["init"] else {}
    scores = getattr(quantus, made["class"])(**init)(
        model=model,
        x_batch=STORED["images"].copy(),
        y_batch=STORED["labels"].copy(),
        a_batch=None if maps is None else maps.copy(),
        s_batch=STORED["masks"][:, None].copy(),
        channel_first=True,
        explain_func=xr.quantus.explain_func,
        **{"explain_func_kwargs": {"method": "gradient_x_input", "kind": "raw"}} | made["call"] | call,
    )
    return np.array(list(scores.values()) if isinstance(scores, dict) else scores, float)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ASKED)
def test_quantus_says_the_same_of_a_model_in_jax(adapted, name):
    wanted = STORED[name]
    call = {"custom_batch": STORED["mosaics"]} if name == "focus" else {}
    again = {"random_logit_ssim": STORED["maps"][0]}
    if wanted.shape == (4,):
        found = asked(adapted, name, again.get(name), **call)
    else:
        found = np.stack([asked(adapted, name, maps, **call) for maps in STORED["maps"]])
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-4)


@pytest.mark.filterwarnings("ignore")
def test_an_invariant_explanation_is_found_to_be_one(adapted):
    gradient = {"explain_func_kwargs": {"method": "gradient", "kind": "raw"}}
    assert (
        asked(adapted, "input_invariance_gradient", **gradient).tolist() == STORED["input_invariance_gradient"].tolist()
    )
    assert not asked(adapted, "input_invariance", STORED["maps"][0]).any()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(DRAWN))
def test_randomisation_begins_at_the_maps_themselves_and_leaves_them(adapted, name):
    np.random.seed(0)  # noqa: NPY002 -- Quantus draws from it.
    found = asked(adapted, name)
    if name == "efficient_mprt":
        assert found.shape == (4,)
    else:
        assert found.shape == (4, 4)
        # Of smooth MPRT, noise is drawn anew for each network.
        assert (found[0] > (0.5 if name == "smooth_mprt" else 1 - 1e-6)).all()
        assert (found[-1] < 0.5).all()


def test_models_of_pytorch_go_the_way_they_went(adapted):
    import quantus
    from quantus.helpers import utils

    with pytest.raises(ValueError, match=r"tf.keras.Model or torch.nn.Module"):
        utils.get_wrapped_model(object(), True, False)
    # A second model does not wrap the functions once more.
    before = utils.get_wrapped_model, quantus.explain
    xr.quantus.model(adapted.explainer)
    assert before == (utils.get_wrapped_model, quantus.explain)
