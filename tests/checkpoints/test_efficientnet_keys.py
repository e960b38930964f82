"""The names of an EfficientNet's tensors: timm's against its own list, and those of the package on PyPI."""

import json
import re

import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open

from tests import oracle
from xrcam_jax.checkpoints.convert import flat_state, from_timm, to_timm
from xrcam_jax.checkpoints.efficientnet_keys import PACKAGED, from_package, timm_key
from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.checkpoints.save import save_orbax, save_timm
from xrcam_jax.checkpoints.verify import digest
from xrcam_jax.models import create_model
from xrcam_jax.models.specs import find_spec

EITHER = pytest.mark.parametrize("name", oracle.MOBILE)


@pytest.fixture(scope="module")
def weights():
    return oracle.seeded_state("efficientnet_lite0")


@EITHER
def test_every_tensor_of_timm_has_a_place_of_its_own(name):
    paths = flat_state(nnx.eval_shape(lambda: create_model(name)))
    keys = [key for key in oracle.manifest("efficientnet_lite0") if "num_batches_tracked" not in key]
    assert sorted(timm_key(path, spec=find_spec(name)) for path in paths) == sorted(keys)


@EITHER
def test_round_trip_is_bit_exact(name, weights):
    expected = oracle.digests()["efficientnet_lite0_nc1000.json"]["sha256_seed0"]
    assert digest(weights) == expected
    assert digest(to_timm(from_timm(name, weights))) == expected


@pytest.mark.parametrize("suffix", [".safetensors", ""])
def test_files_are_read_back(suffix, weights, tmp_path):
    model = from_timm(PACKAGED, weights)
    (save_timm if suffix else save_orbax)(model, tmp_path / f"model{suffix}")
    found = load_model(PACKAGED, tmp_path / f"model{suffix}")
    assert digest(to_timm(found)) == digest(weights)
    assert found.preprocessing == model.preprocessing == find_spec(PACKAGED).preprocessing
    with pytest.raises(ValueError, match="a checkpoint of tf_efficientnet_lite0, not of efficientnet_lite0"):
        load_model("efficientnet_lite0", tmp_path / f"model{suffix}")


def test_the_description_has_timms_names(weights, tmp_path):
    save_timm(from_timm(PACKAGED, weights), tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="numpy") as file:
        config = json.loads(file.metadata()["config"])
    assert config["architecture"] == PACKAGED
    assert (config["pretrained_cfg"]["first_conv"], config["pretrained_cfg"]["classifier"]) == (
        "conv_stem",
        "classifier",
    )


def test_another_number_of_classes_replaces_only_the_head(weights):
    with pytest.warns(UserWarning, match="1000 classes, 2 wanted: the head is fresh"):
        back = to_timm(from_timm(PACKAGED, weights, num_classes=2))
    assert {key for key in weights if not np.array_equal(back[key], weights[key])} == {
        "classifier.weight",
        "classifier.bias",
    }


def test_weights_of_another_family_are_refused(weights):
    with pytest.raises(ValueError, match="not the weights of resnet18"):
        from_timm("resnet18", weights)
    with pytest.raises(ValueError, match="not the weights of efficientnet_lite0"):
        from_timm("efficientnet_lite0", oracle.seeded_state("resnet18"))


def packaged(key):
    """The package's name of timm's key, by its rules: blocks are counted on, and norms from the first that there is."""
    top = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    if not key.startswith("blocks."):
        module, leaf = key.split(".")
        return f"{top[module]}.{leaf}"
    _, stage, block, module, leaf = key.split(".")
    number = sum((1, 2, 2, 3, 3, 4, 1)[: int(stage)]) + int(block)
    convolutions = {"conv_pw": "_expand_conv", "conv_dw": "_depthwise_conv", "conv_pwl": "_project_conv"}
    first_norm = 0
    if stage == "0":
        convolutions, first_norm = {"conv_dw": "_depthwise_conv", "conv_pw": "_project_conv"}, 1
    norm = re.fullmatch(r"bn(\d)", module)
    return f"_blocks.{number}.{f'_bn{int(norm[1]) - 1 + first_norm}' if norm else convolutions[module]}.{leaf}"


def test_the_packages_names_become_timms(weights):
    renamed = {packaged(key): tensor for key, tensor in weights.items()}
    assert {"_blocks.0._bn1.bias", "_blocks.1._bn0.bias", "_blocks.15._project_conv.weight"} <= renamed.keys()
    assert list(from_package(renamed)) == list(weights)
    assert digest(from_package(renamed)) == digest(weights)


def test_tensors_that_the_package_does_not_have_are_listed(weights):
    renamed = {packaged(key): tensor for key, tensor in weights.items()}
    renamed["_blocks.16._bn0.bias"] = renamed.pop("_blocks.1._bn0.bias")
    with pytest.raises(ValueError, match=r"2 of them differ") as caught:
        from_timm(PACKAGED, from_package(renamed))
    assert "missing: blocks.1.0.bn1.bias (96,)" in str(caught.value)
    assert "left over: _blocks.16._bn0.bias (96,)" in str(caught.value)


def test_the_packages_files_are_read_as_what_they_are(weights, tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {packaged(key): torch.from_numpy(tensor.copy()) for key, tensor in weights.items()}
    torch.save(tensors, tmp_path / "lite0.pth", _use_new_zipfile_serialization=False)
    assert digest(to_timm(load_model(PACKAGED, tmp_path / "lite0.pth"))) == digest(weights)
    with pytest.raises(ValueError, match="a checkpoint of tf_efficientnet_lite0, not of efficientnet_lite0"):
        load_model("efficientnet_lite0", tmp_path / "lite0.pth")
