"""PyTorch's files are read, and no code in them is run."""

import argparse
import collections
import datetime
import os
import pathlib
import types
import zipfile

import numpy as np
import pytest

from tests import oracle
from xrcam_jax.checkpoints.convert import to_timm
from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.checkpoints.torch_files import read_torch
from xrcam_jax.checkpoints.verify import digest
from xrcam_jax.errors import DamagedError

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


@pytest.fixture
def small():
    """Three tensors in the place of a network, which ``read_torch`` gives as they are."""
    weight = torch.arange(6.0).reshape(2, 3)
    return {"conv1.weight": weight, "layer1.0.bn1.bias": torch.zeros(2), "fc.bias": torch.ones(2)}


def assert_read(content, small, path):
    torch.save(content, path)
    found, notes = read_torch(path)
    assert digest(found) == digest({key: tensor.numpy() for key, tensor in small.items()})
    return notes


@pytest.mark.parametrize(
    "extra",
    [
        argparse.Namespace(lr=0.1, out=pathlib.Path("runs")),
        types.SimpleNamespace(a=1),
        np.float64(0.9),
        np.int64(3),
        np.bool_(True),
        np.arange(3),
        np.array(["a", "b"]),
        np.dtype("float32"),
        pathlib.PurePosixPath("a/b"),
        pathlib.Path("a"),
        collections.OrderedDict(a=1),
        collections.Counter("abc"),
        torch.float16,
        torch.Size([1, 2]),
        datetime.datetime(2026, 1, 2),
        datetime.timedelta(seconds=3),
        {1, 2},
        (None, 3 + 4j, b"bytes"),
    ],
    ids=lambda extra: type(extra).__name__,
)
def test_harmless_things_beside_the_tensors_are_passed_over(small, tmp_path, extra):
    notes = assert_read({"state_dict": small, "extra": extra, "epoch": 3}, small, tmp_path / "w.pth")
    assert notes == ["'state_dict.' was taken off the names"]


def test_old_and_new_names_of_numpy_and_pathlib_are_known(small, tmp_path):
    """Files of other versions of NumPy and Python ask for the same things by other names."""
    torch.save({"best": np.float64(0.5), "out": pathlib.PurePosixPath("a"), **small}, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = (name for name in entries if name.endswith("data.pkl"))
    old = entries[pickled].replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    old = old.replace(b"cpathlib\nPurePosixPath\n", b"cpathlib\nWindowsPath\n")
    assert old != entries[pickled]
    with zipfile.ZipFile(tmp_path / "old.pth", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, old if name == pickled else content)
    assert read_torch(tmp_path / "old.pth")[0].keys() == small.keys()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
def test_attacks_do_not_run(small, tmp_path, protocol, zipped):
    sprung = tmp_path / "sprung"
    for trap in (
        Trap(sprung),
        By(os.system, f"touch {sprung}"),
        By(eval, f"open({str(sprung)!r}, 'w')"),
        Sneaky(sprung),
    ):
        options = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": zipped}
        torch.save({"state_dict": small, "extra": trap}, tmp_path / "w.pth", **options)
        with pytest.raises(ValueError, match=r"w.pth: ") as caught:
            read_torch(tmp_path / "w.pth")
        assert not sprung.exists()
    assert "torch.save(content" in str(caught.value)


class By:
    """A pickle that would call a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Sneaky(argparse.Namespace):
    """A subclass of what is harmless."""

    def __init__(self, path):
        super().__init__(path=path)

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_whole_model_is_told_how_to_save_its_tensors(tmp_path):
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "w.pth")
    with pytest.raises(
        ValueError, match=r"w.pth: holds more than tensors \(torch.nn.modules.linear.Linear\)"
    ) as caught:
        read_torch(tmp_path / "w.pth")
    _, way = str(caught.value).splitlines()
    assert way.strip().startswith(f"content = torch.load({str(tmp_path / 'w.pth')!r}, weights_only=False); torch.save(")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.zeros(2, 3).to_sparse(), "conv1.weight is sparse"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "conv1.weight is quantised"),
        (lambda: torch.zeros(2, device="meta"), "conv1.weight is a meta tensor"),
    ],
    ids=["sparse", "quantised", "meta"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_without_plain_values_are_refused_by_name(small, tmp_path, make, message):
    torch.save({**small, "conv1.weight": make()}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=rf"w.pth: {message}"):
        read_torch(tmp_path / "w.pth")


def test_parameters_float8_and_whole_numbers_as_keys_are_read(small, tmp_path):
    eighths = torch.tensor([0.5, -1.75]).to(torch.float8_e4m3fn)
    content = {**small, "fc.bias": torch.nn.Parameter(small["fc.bias"]), "layer1.0.bn1.bias": eighths}
    torch.save({"model": content, "optimizer": {"state": {0: {"exp_avg": torch.zeros(1)}}}}, tmp_path / "w.pth")
    found, notes = read_torch(tmp_path / "w.pth")
    np.testing.assert_array_equal(found["layer1.0.bn1.bias"], np.float32([0.5, -1.75]))
    np.testing.assert_array_equal(found["fc.bias"], np.float32([1, 1]))
    assert notes == ["'model.' was taken off the names", "left out: optimizer"]


@pytest.mark.parametrize("content", [b"plain text", b"\x80\x02", b"\x80\x04\x95\xff", b"PK\x03\x04" + bytes(40)])
@pytest.mark.parametrize("suffix", [".pth", ".ckpt"])
def test_files_of_something_else_are_one_line(tmp_path, content, suffix):
    (tmp_path / f"w{suffix}").write_bytes(content)
    with pytest.raises(ValueError, match=rf"w{suffix}: ") as caught:
        read_torch(tmp_path / f"w{suffix}")
    assert len(str(caught.value).splitlines()) <= 2


def test_mutated_files_are_read_or_refused(small, tmp_path):
    torch.save({"state_dict": small, "args": argparse.Namespace(lr=0.1)}, tmp_path / "w.pth")
    whole, rng = (tmp_path / "w.pth").read_bytes(), np.random.default_rng(0)
    named, refused = 0, 0
    for _ in range(100):
        changed = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        (tmp_path / "w.pth").write_bytes(bytes(changed))
        try:
            read_torch(tmp_path / "w.pth")
        except ValueError as error:
            named += str(error).startswith(str(tmp_path / "w.pth"))
            refused += 1
    assert named == refused > 10


def test_a_flipped_bit_is_noticed(small, tmp_path):
    """PyTorch writes checksums, and does not look at them."""
    torch.save(small, tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    content[content.index(small["conv1.weight"].numpy().tobytes()) + 3] ^= 0x40
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(DamagedError, match=r"w\.pth: damaged, the checksum of \S+ in it is another"):
        read_torch(tmp_path / "w.pth")
