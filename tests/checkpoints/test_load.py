"""Checkpoints are read from files and from the hub, and faulty ones are named."""

import json
import os
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import oracle
from xrcam_jax.checkpoints.convert import to_timm
from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.checkpoints.verify import digest
from xrcam_jax.models.specs import find_spec
from xrcam_jax.pictures.preprocessing import Preprocessing

CONFIG = {
    "architecture": "resnet18",
    "num_classes": 1000,
    "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "crop_pct": 1.0, "interpolation": "bilinear"},
}
WANTS = Preprocessing(mean=(0.5, 0.5, 0.5), crop_pct=1.0, interpolation="bilinear")


@pytest.fixture(scope="module")
def weights():
    return oracle.seeded_state("resnet18")


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("bare") / "resnet18.safetensors"
    save_file(weights, path)
    return path


def test_safetensors_are_read_bit_for_bit(file, weights):
    model = load_model("resnet18", file)
    assert digest(to_timm(model)) == digest(weights)
    assert model.preprocessing == find_spec("resnet18").preprocessing


def test_a_path_may_be_text(file):
    assert load_model("resnet18", str(file), dtype=jnp.bfloat16).dtype == jnp.bfloat16


def test_bfloat16_files_are_read(weights, tmp_path):
    coarse = {
        key: array if array.dtype == np.int64 else array.astype(ml_dtypes.bfloat16) for key, array in weights.items()
    }
    save_file(coarse, tmp_path / "coarse.safetensors")
    model = load_model("resnet18", tmp_path / "coarse.safetensors")
    expected = {key: array.astype(weights[key].dtype) for key, array in coarse.items()}
    assert digest(to_timm(model)) == digest(expected)


def test_config_beside_the_weights_travels(weights, tmp_path):
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert load_model("resnet18", tmp_path / "model.safetensors").preprocessing == WANTS


def test_config_in_the_file_counts_more_than_the_one_beside(weights, tmp_path):
    save_file(weights, tmp_path / "model.safetensors", metadata={"config": json.dumps(CONFIG)})
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet50"}))
    assert load_model("resnet18", tmp_path / "model.safetensors").preprocessing == WANTS


def test_config_of_another_architecture_is_refused(weights, tmp_path):
    save_file(weights, tmp_path / "model.safetensors", metadata={"config": json.dumps(CONFIG)})
    with pytest.raises(ValueError, match=r"model.safetensors: a checkpoint of resnet18, not of resnet50"):
        load_model("resnet50", tmp_path / "model.safetensors")


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_broken_config_is_named(weights, tmp_path, text):
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config.json: (expected JSON|its config is not)"):
        load_model("resnet18", tmp_path / "model.safetensors")


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_truncated_file_is_named(file, tmp_path, length):
    part = tmp_path / "part.safetensors"
    part.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"part.safetensors: not a whole safetensors file"):
        load_model("resnet18", part)


def test_errors_of_shape_name_the_file(file):
    with pytest.raises(ValueError, match=r"resnet18.safetensors: not the weights of resnet34.*\n.*missing: layer"):
        load_model("resnet34", file)


@pytest.mark.parametrize("name", ["nowhere.safetensors", "nowhere/at/all.pth", "timmy/resnet18"])
def test_missing_file_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"{name}: no such weights"):
        load_model("resnet18", tmp_path / name)


def test_unknown_kind_of_file_is_refused(tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"weights.h5: neither .safetensors nor .pth"):
        load_model("resnet18", tmp_path / "weights.h5")


def test_unknown_model_is_said_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        load_model("resnet-18", tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("name", ["timm/resnet18.a1_in1k", "hf-hub:timm/resnet18.a1_in1k@v1"])
def test_hub_names_are_downloaded_with_their_config(weights, tmp_path, monkeypatch, name):
    asked = []

    def download(repo_id, filename, *, revision):
        asked.append((repo_id, filename, revision))
        return str(tmp_path / filename)

    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))
    model = load_model("resnet18", name)
    assert digest(to_timm(model)) == digest(weights)
    assert model.preprocessing == WANTS
    revision = "v1" if "@" in name else None
    assert set(asked) == {
        ("timm/resnet18.a1_in1k", "config.json", revision),
        ("timm/resnet18.a1_in1k", "model.safetensors", revision),
    }


def test_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"timm/resnet18.a1_in1k: .* needs .*pip install 'xrcam-jax\[hub\]'"):
        load_model("resnet18", "timm/resnet18.a1_in1k")


def test_a_package_without_its_weights_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"imagenet: needs .*pip install 'xrcam-jax\[imagenet\]'"):
        load_model("tf_efficientnet_lite0", "imagenet")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.txt"])
def test_a_pipe_is_named_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name}: not a file"):
        load_model("resnet18", tmp_path / name)
