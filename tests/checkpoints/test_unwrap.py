"""A network's tensors are found under whatever training scripts put them, and what was done is said."""

import numpy as np
import pytest

from tests import oracle
from xrcam_jax.checkpoints.unwrap import DEEPEST, flattened, unwrapped

NETWORK = {
    "conv1.weight": 0,
    "bn1.bias": 1,
    "layer1.0.conv1.weight": 2,
    "layer1.0.downsample.0.weight": 3,
    "fc.bias": 4,
}


def prefixed(prefix, tensors=NETWORK):
    return {prefix + key: value for key, value in tensors.items()}


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.",
        "net.",
        "backbone.",
        "model.backbone.",
        "state_dict.model._orig_mod.",
        "timm_model.",
        "ema.ema_model.module.",
    ],
)
def test_prefixes_are_taken_off_and_said(prefix):
    found, notes = unwrapped(prefixed(prefix))
    assert found == NETWORK
    for part in prefix.rstrip(".").split("."):
        assert any(part in note for note in notes)


def test_a_network_as_it_is_needs_no_word():
    assert unwrapped(NETWORK) == (NETWORK, [])
    for name in ("resnet18", "skresnet18", "efficientnet_lite0"):
        shapes = oracle.manifest(name)
        assert unwrapped(shapes) == (shapes, [])


def test_wrapped_parts_are_found_too():
    inside = {key.replace("layer1.", "layer1._orig_mod."): value for key, value in NETWORK.items()}
    assert unwrapped(inside)[0] == NETWORK


@pytest.mark.parametrize("averaged", ["ema", "model_ema", "state_dict_ema", "ema_state_dict", "swa_model", "averaged"])
def test_averaged_weights_are_taken_and_the_others_named(averaged):
    plain = {key: -value for key, value in NETWORK.items()}
    found, notes = unwrapped({**prefixed("state_dict.", plain), **prefixed(f"{averaged}.module.")})
    assert found == NETWORK
    assert "averaged weights are taken, not those under 'state_dict.'" in notes


def test_what_belongs_to_no_network_is_named():
    found, notes = unwrapped(
        {**prefixed("m.net."), "m.loss.weight": 1, "optimizer.state.0.exp_avg": 1, "n_averaged": 3}
    )
    assert found == NETWORK
    assert "left out: m.loss, n_averaged, optimizer" in notes


@pytest.mark.parametrize("names", [("student.", "teacher."), ("ema_1.", "ema_2."), ("", "best.")])
def test_one_of_several_is_not_guessed(names):
    with pytest.raises(ValueError, match="there are several networks in it"):
        unwrapped({**prefixed(names[0]), **prefixed(names[1])})


def test_two_tensors_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"two tensors are called fc.bias"):
        unwrapped({**NETWORK, "_orig_mod.fc.bias": 7})


def test_other_networks_lose_only_what_all_names_share():
    assert unwrapped({"a.b.x": 1, "a.b.c.y": 2})[0] == {"x": 1, "c.y": 2}
    assert unwrapped({"only": 1})[0] == {"only": 1}


def test_dictionaries_are_opened_as_deep_as_is_sensible():
    content = {"state": {0: np.zeros(1), "epoch": 3}, 7: {"x": np.zeros(2)}}
    content["state"]["self"] = content["state"]
    found = flattened(content, np.ndarray)
    assert {"state.0", "7.x", "state.self.0"} <= found.keys()
    assert max(key.count(".") for key in found) == DEEPEST
