"""A network is verified against what timm once computed, and against timm itself where it is installed."""

import sys
from contextlib import nullcontext
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import oracle
from weights_convert import verify

NAME, CLASSES = "resnet50", 2


class Tensor:
    """Stands in for a tensor of PyTorch."""

    def __init__(self, array):
        self.array = array

    def numpy(self):
        return self.array


class Network:
    """Stands in for timm's network: it accepts the right weights and pictures alone, and gives the stored logits."""

    def __init__(self, logits):
        self.logits = logits

    def eval(self):
        return self

    def load_state_dict(self, state, strict):
        wanted = oracle.seeded_state(NAME, CLASSES)
        for key in state.keys() & wanted.keys():
            np.testing.assert_array_equal(state[key].array, wanted[key])
        return SimpleNamespace(
            missing_keys=sorted(wanted.keys() - state.keys()), unexpected_keys=sorted(state.keys() - wanted.keys())
        )

    def __call__(self, images):
        np.testing.assert_array_equal(images.array, oracle.images().transpose(0, 3, 1, 2))
        assert images.array.flags.c_contiguous
        return Tensor(self.logits)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("verify") / "resnet50.safetensors"
    save_file(oracle.seeded_state(NAME, CLASSES), path)
    return path


@pytest.fixture
def timm(monkeypatch):
    """Puts stand-ins in the places of PyTorch and timm; ``logits`` may be changed."""
    stand_in = SimpleNamespace(logits=oracle.reference(NAME, CLASSES)["logits_f32"], list_models=lambda: [NAME])

    def create_model(name, num_classes, in_chans):
        assert in_chans == 3
        assert (name, num_classes) == (NAME, CLASSES)
        return Network(stand_in.logits)

    stand_in.create_model = create_model
    torch = SimpleNamespace(from_numpy=Tensor, no_grad=nullcontext)
    monkeypatch.setitem(sys.modules, "timm", stand_in)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(verify, "random_images", lambda shape, seed: oracle.images())
    return stand_in


def test_the_same_network(timm, weights, capsys):
    assert verify.main([NAME, str(weights)]) == 0
    line = capsys.readouterr().out
    error = float(line.partition("differ by ")[2].split()[0])
    assert 0 < error < 1e-5
    assert line.endswith("of the largest, the same network\n")


@pytest.mark.long(one_in=2)
@pytest.mark.parametrize("off", [3e-4, float("nan")])
def test_another_network(timm, weights, capsys, off):
    timm.logits = timm.logits.copy()
    timm.logits[1, 0] += off * np.abs(timm.logits).max()
    assert verify.main([NAME, str(weights)]) == 1
    assert "more than 1e-04: not the same network" in capsys.readouterr().out


def test_other_tensors_than_timms(timm):
    tensors = dict(oracle.seeded_state(NAME, CLASSES))
    counters = [key for key in tensors if key.endswith("num_batches_tracked")]
    for key in counters:
        del tensors[key]
    assert verify.timm_logits(NAME, tensors, oracle.images()).shape == (2, CLASSES)
    tensors["bn0.weight"] = tensors.pop("bn1.weight")
    with pytest.raises(ValueError, match=r"^timm's resnet50 has other tensors:\n  bn1\.weight\n  bn0\.weight$"):
        verify.timm_logits(NAME, tensors, oracle.images())


def test_what_cannot_be_compared_is_said_in_a_line(timm, weights, tmp_path, capsys, monkeypatch):
    def refused(*arguments):
        assert verify.main([*map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert not out
        return err

    assert refused(NAME, tmp_path / "nowhere") == f"error: {tmp_path}/nowhere: no such weights\n"
    assert refused(NAME, weights, "--pictures", 0) == "error: --pictures: 0 is less than 1\n"
    timm.list_models = lambda: []
    assert refused(NAME, weights) == "error: timm has no model resnet50\n"
    monkeypatch.setitem(sys.modules, "torch", None)
    assert refused(NAME, weights).startswith("error: to verify needs PyTorch and timm: pip install torch timm (")


def test_pictures_are_seeded():
    images = verify.random_images((2, 32, 32, 3), 5)
    np.testing.assert_array_equal(images, verify.random_images((2, 32, 32, 3), 5))
    assert images.dtype == np.float32
    assert not np.array_equal(images, verify.random_images((2, 32, 32, 3), 6))
    np.testing.assert_allclose([images.mean(), images.std()], [0, 1], atol=0.05)


@pytest.mark.skipif(not (find_spec("torch") and find_spec("timm")), reason="needs PyTorch and timm")
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_timm_itself(name, tmp_path, capsys):
    save_file(oracle.seeded_state(name), tmp_path / "weights.safetensors")
    assert verify.main([name, str(tmp_path / "weights.safetensors"), "--pictures", "1"]) == 0
    assert "the same network" in capsys.readouterr().out
