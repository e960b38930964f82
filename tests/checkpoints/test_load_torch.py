"""PyTorch's files are read, and no code in them is run."""

import numpy as np
import pytest

from tests import oracle
from xrcam_jax.checkpoints.convert import to_timm
from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.checkpoints.verify import digest

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def weights():
    return oracle.seeded_state("resnet18")


@pytest.fixture(scope="module")
def tensors(weights):
    return {key: torch.from_numpy(np.array(array)) for key, array in weights.items()}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".pth.tar"])
def test_files_of_tensors_are_read_bit_for_bit(tensors, weights, tmp_path, suffix):
    torch.save(tensors, tmp_path / f"weights{suffix}")
    assert digest(to_timm(load_model("resnet18", tmp_path / f"weights{suffix}"))) == digest(weights)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "state_dict_ema"])
def test_wrappers_of_training_scripts_are_taken_off(tensors, weights, tmp_path, wrapper):
    wrapped = {"epoch": 3, wrapper: {f"module.{key}": tensor for key, tensor in tensors.items()}}
    torch.save(wrapped, tmp_path / "w.pth")
    assert digest(to_timm(load_model("resnet18", tmp_path / "w.pth"))) == digest(weights)


def test_averaged_weights_come_first(tensors, weights, tmp_path):
    torch.save({"state_dict": {}, "state_dict_ema": tensors}, tmp_path / "w.pth")
    assert digest(to_timm(load_model("resnet18", tmp_path / "w.pth"))) == digest(weights)


def test_bfloat16_is_read(tensors, weights, tmp_path):
    torch.save({**tensors, "fc.bias": tensors["fc.bias"].bfloat16()}, tmp_path / "w.pth")
    bias = np.asarray(load_model("resnet18", tmp_path / "w.pth").fc.bias[...])
    np.testing.assert_array_equal(bias, tensors["fc.bias"].bfloat16().float().numpy())


class Trap:
    """A pickle that would run code on loading."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_pickle_is_not_run(tmp_path):
    torch.save({"state_dict": Trap(tmp_path / "sprung")}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w.pth: holds more than tensors"):
        load_model("resnet18", tmp_path / "w.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("length", [0, 100, -1000])
def test_truncated_file_is_named(tensors, tmp_path, length):
    torch.save(tensors, tmp_path / "whole.pth")
    (tmp_path / "part.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:length])
    with pytest.raises(ValueError, match=r"part.pth: "):
        load_model("resnet18", tmp_path / "part.pth")


@pytest.mark.parametrize("content", [[1, 2], {"lr": 0.1}, 3])
def test_other_content_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w.pth: not a dictionary of tensors"):
        load_model("resnet18", tmp_path / "w.pth")
