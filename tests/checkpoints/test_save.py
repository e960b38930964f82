"""What is written is read back bit for bit, by us and by timm, and is whole or not there."""

import json
import shutil

import numpy as np
import pytest
from safetensors import safe_open

from tests import oracle
from xrcam_jax.checkpoints.convert import from_timm, to_timm
from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.checkpoints.save import save_orbax, save_timm
from xrcam_jax.checkpoints.verify import digest
from xrcam_jax.pictures.preprocessing import Preprocessing

WANTS = Preprocessing((0.2, 0.2, 0.2), (0.1, 0.1, 0.1), (230, 230), 1.0, "area", field_of_view="auto", grey=True)


@pytest.fixture(scope="module")
def model():
    model = from_timm("resnet18", oracle.seeded_state("resnet18"), dropout_rate=0.1)
    model.preprocessing = WANTS
    return model


@pytest.fixture(scope="module")
def orbax(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("orbax") / "deep" / "checkpoint"
    save_orbax(model, directory)
    return directory


def assert_same(found, model):
    assert digest(to_timm(found)) == digest(to_timm(model))
    assert found.preprocessing == model.preprocessing


def test_safetensors_round_trip(model, tmp_path):
    path = tmp_path / "new" / "model.safetensors"
    save_timm(model, path)
    assert_same(load_model("resnet18", path), model)
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_safetensors_are_timms(model, tmp_path):
    save_timm(model, tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="numpy") as file:
        written = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        config = json.loads(file.metadata()["config"])
    assert {key: array.shape for key, array in written.items()} == oracle.manifest("resnet18")
    assert digest(written) == digest(oracle.seeded_state("resnet18"))
    assert config["architecture"] == "resnet18"
    assert config["pretrained_cfg"]["input_size"] == [3, 230, 230]


def test_an_interrupted_save_leaves_the_old_file(model, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_timm(model, path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_orbax_round_trip(model, orbax):
    assert_same(load_model("resnet18", orbax), model)
    assert [file.name for file in orbax.parent.iterdir()] == ["checkpoint"]


def test_orbax_keeps_selective_kernels_and_heads(tmp_path):
    tensors = dict(oracle.seeded_state("skresnet18"))
    tensors["fc.weight"], tensors["fc.bias"] = tensors["fc.weight"][:2], tensors["fc.bias"][:2]
    save_orbax(from_timm("skresnet18", tensors), tmp_path / "checkpoint")
    found = load_model("skresnet18", tmp_path / "checkpoint")
    assert found.num_classes == 2
    assert digest(to_timm(found)) == digest(tensors)


def test_orbax_of_another_model_is_one_line(orbax):
    with pytest.raises(ValueError, match=r"checkpoint: a checkpoint of resnet18, not of resnet50$"):
        load_model("resnet50", orbax)


def test_a_checkpoint_is_replaced_as_a_whole(model, tmp_path):
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    # A run was killed while it wrote the description, and the next one when it had removed the first one's arrays.
    (directory / ".config.json.4194305.part").touch()
    save_orbax(model, directory)
    (directory / "state.orbax-checkpoint-tmp-7").mkdir()  # what an interrupted run has left
    tensors = {**oracle.seeded_state("resnet18"), "fc.bias": np.ones(1000, np.float32)}
    save_orbax(from_timm("resnet18", tensors), directory)
    assert (np.asarray(load_model("resnet18", directory).fc.bias[...]) == 1).all()
    assert sorted(file.name for file in directory.iterdir()) == ["config.json", "state2"]
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint"]


def test_what_is_no_checkpoint_is_not_replaced(model, tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match="not a checkpoint; not replaced"):
        save_orbax(model, tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_directory_without_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path.name}: no checkpoint in it"):
        load_model("resnet18", tmp_path)


def test_directory_with_half_a_checkpoint_is_named(model, tmp_path):
    save_orbax(model, tmp_path / "checkpoint")
    for file in (tmp_path / "checkpoint" / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.raises(ValueError, match="checkpoint: the Orbax checkpoint in it cannot be read"):
        load_model("resnet18", tmp_path / "checkpoint")


def test_checkpoint_of_nobody_knows_what_is_named(orbax, tmp_path):
    shutil.copytree(orbax, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"checkpoint: .* cannot be read .unknown model 'None'"):
        load_model("resnet18", tmp_path / "checkpoint")
