import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import oracle
from xrcam_jax import cli
from xrcam_jax.arguments.outputs import alone_at
from xrcam_jax.checkpoints.convert import to_timm
from xrcam_jax.checkpoints.load import load_model
from xrcam_jax.checkpoints.verify import digest
from xrcam_jax.commands.convert import main


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("command") / "resnet18.safetensors"
    save_file(oracle.seeded_state("resnet18"), path)
    return path


def test_there_and_back_is_bit_exact(file, tmp_path, capsys):
    expected = oracle.digests()["resnet18_nc1000.json"]["sha256_seed0"]
    assert main(["resnet18", str(file), str(tmp_path / "orbax")]) == 0
    assert main(["resnet18", str(tmp_path / "orbax"), str(tmp_path / "back.safetensors")]) == 0
    out, err = capsys.readouterr()
    assert out.count(expected) == 2
    assert not err
    assert (tmp_path / "orbax" / "config.json").is_file()
    assert digest(to_timm(load_model("resnet18", tmp_path / "back.safetensors"))) == expected


def test_kind_can_be_chosen_and_head_replaced(file, tmp_path, capsys):
    arguments = ["resnet18", str(file), str(tmp_path / "two.safetensors"), "--num-classes", "2"]
    with pytest.warns(UserWarning, match="head is fresh"):
        assert main(arguments) == 0
    assert "2 classes" in capsys.readouterr().out
    assert main(["resnet18", str(tmp_path / "two.safetensors"), str(tmp_path / "two"), "--to", "orbax"]) == 0
    assert load_model("resnet18", tmp_path / "two").num_classes == 2
    assert cli.main(["convert", "resnet18", str(file), str(tmp_path / "three"), "--to", "safetensors"]) == 2
    assert "three has to end in .safetensors" in capsys.readouterr().err


@pytest.fixture(scope="module")
def reference(file):
    images = oracle.seeded_images(0, 1, 32)
    return {"images": images, "logits": np.asarray(load_model("resnet18", file)(images))}


@pytest.mark.parametrize(("off", "status"), [(0.0, 0), (0.01, 1)])
def test_reference_decides(file, reference, tmp_path, capsys, off, status):
    logits = reference["logits"] * (1 + off)
    np.savez(tmp_path / "reference.npz", images=reference["images"], logits=logits)
    arguments = ["resnet18", str(file), str(tmp_path / "out"), "--reference", str(tmp_path / "reference.npz")]
    assert main(arguments) == status
    assert ("not the same network" in capsys.readouterr().err) == bool(status)
    assert (tmp_path / "out").exists() != bool(status)


@pytest.mark.parametrize("content", [None, b"no archive", {"images": np.zeros((1, 32, 32, 3))}])
def test_nothing_is_written_without_a_reference_that_can_be_read(file, tmp_path, capsys, content):
    path = tmp_path / "reference.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(path, **content)
    assert cli.main(["convert", "resnet18", str(file), str(tmp_path / "out"), "--reference", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("xrcam convert: error: --reference: ")
    assert str(path) in line
    assert not (tmp_path / "out").exists()


def test_errors_are_short_and_without_traceback(file, tmp_path, capsys):
    assert cli.main(["convert", "resnet18", str(tmp_path / "nowhere.safetensors"), str(tmp_path / "out")]) == 2
    expected = f"xrcam convert: error: WEIGHTS: {tmp_path}/nowhere.safetensors: no such weights\n"
    assert capsys.readouterr().err == expected
    assert cli.main(["convert", "skresnet18", str(file), str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "not the weights of skresnet18" in lines[0]
    assert len(lines) == 11
    assert lines[-1].endswith("more")
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_status_1_and_no_classes_status_2(file, tmp_path, capsys):
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:5000])
    assert cli.main(["convert", "resnet18", str(tmp_path / "cut.safetensors"), str(tmp_path / "out")]) == 1
    assert "cut.safetensors: not a whole safetensors file" in capsys.readouterr().err
    assert cli.main(["convert", "resnet18", str(file), str(tmp_path / "out"), "--num-classes", "0"]) == 2
    assert "num_classes has to be at least 1, got 0" in capsys.readouterr().err


def test_bad_usage_is_status_2(capsys):
    assert cli.main(["convert", "resnet18"]) == 2
    expected = "xrcam convert: error: WEIGHTS: is missing (see xrcam convert --help)\n"
    assert capsys.readouterr().err == expected


def test_an_unknown_network_is_status_2(file, tmp_path, capsys):
    assert cli.main(["convert", "resnet81", str(file), str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert line.startswith("xrcam convert: error: NAME: unknown name 'resnet81'; did you mean 'resnet18'?")


def test_a_second_run_that_writes_the_same_is_refused(file, tmp_path, capsys):
    with alone_at("OUT", tmp_path / "out"):
        assert cli.main(["convert", "resnet18", str(file), str(tmp_path / "out")]) == 2
    assert f"OUT: {tmp_path / 'out'} is being written by process " in capsys.readouterr().err
    assert list(tmp_path.glob("out*")) == []


def test_help_has_an_example(capsys):
    assert main(["--help"]) == 0
    assert "xrcam convert skresnext50_32x4d" in capsys.readouterr().out
