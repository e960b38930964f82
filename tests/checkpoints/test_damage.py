"""What was changed after it was written is noticed, in one line; and writing is never half done."""

import json
import os
import signal

import numpy as np
import orbax.checkpoint as ocp
import pytest
from safetensors.numpy import load_file, save_file

import xrcam_jax as xr
from tests.tiny_networks import PLAIN, tiny  # noqa: F401
from xrcam_jax import cli
from xrcam_jax.checkpoints import save as saving
from xrcam_jax.checkpoints.convert import to_timm, unusable
from xrcam_jax.checkpoints.load import load_model, read_checkpoint
from xrcam_jax.checkpoints.orbax import read_state, write_state
from xrcam_jax.checkpoints.save import save_orbax, save_timm
from xrcam_jax.checkpoints.verify import content_digest, digest
from xrcam_jax.errors import DamagedError
from xrcam_jax.pictures.write import save_picture
from xrcam_jax.runtime.signals import Stopped, stopping


@pytest.fixture(scope="module")
def model():
    return xr.create_model(PLAIN, num_classes=3)


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "w.safetensors"
    save_timm(model, path)
    return path


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("directory") / "w"
    save_orbax(model, path)
    return path


def flipped(content, place, bit):
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


def test_a_flipped_bit_of_a_file_is_noticed(file, tmp_path):
    content, rng = file.read_bytes(), np.random.default_rng(0)
    header = int.from_bytes(content[:8], "little")
    places = [*rng.integers(0, 8 + header, 40), *rng.integers(8 + header, len(content), 20)]
    refused = []
    for place in places:
        (tmp_path / "w.safetensors").write_bytes(flipped(content, place, rng.integers(8)))
        try:
            found = load_model(PLAIN, tmp_path / "w.safetensors")
        except ValueError as error:
            refused.append(str(error))
            continue
        # Blanks of the header may change without a change of what it says, and "format" is nobody's business.
        assert digest(to_timm(found)) == digest(load_file(file)), place
        assert read_checkpoint(tmp_path / "w.safetensors").config == read_checkpoint(file).config, place
    assert len(refused) >= 20
    assert all("w.safetensors" in message for message in refused)


def test_a_flipped_bit_of_a_directory_is_noticed(directory, model, tmp_path, capfd):
    rng = np.random.default_rng(0)
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.stat().st_size)
    refused = []
    for path in files:
        whole = path.read_bytes()
        for place in rng.integers(0, len(whole), 3):
            path.write_bytes(flipped(whole, place, rng.integers(8)))
            try:
                found = load_model(PLAIN, directory)
                assert path.name == "config.json"
                assert (found.variant, found.preprocessing) == (model.variant, model.preprocessing)
            except ValueError as error:
                refused.append(str(error))
        path.write_bytes(whole)
    assert all(len(message.splitlines()) == 1 and str(directory) in message for message in refused)
    assert len(refused) >= 3 * (len(files) - 1)
    assert load_model(PLAIN, directory).num_classes == 3
    assert capfd.readouterr() == ("", "")


def test_directories_without_digests_are_read_and_damage_is_one_line(model, tmp_path, caplog, capfd):
    save_orbax(model, tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    (tmp_path / "old" / "config.json").write_text(
        json.dumps({key: value for key, value in config.items() if key not in ("digest", "state")})
    )
    assert digest(to_timm(load_model(PLAIN, tmp_path / "old"))) == digest(to_timm(model))
    assert "written without digests" in caplog.text
    (tmp_path / "old" / "state" / "_METADATA").write_text('{"tree_metadata": 3}')
    with pytest.raises(DamagedError, match=r"old: the Orbax checkpoint in it cannot be read") as caught:
        load_model(PLAIN, tmp_path / "old")
    assert len(str(caught.value).splitlines()) == 1
    assert "Traceback" not in "".join(capfd.readouterr())


def test_the_same_weights_give_the_same_bytes_and_content(model, file, directory, tmp_path):
    for _ in range(3):
        save_timm(load_model(PLAIN, file), tmp_path / "again.safetensors")
        assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()
    contents = [read_checkpoint(path) for path in (file, directory)]
    assert len({content_digest(found.config, found.tensors) for found in contents}) == 1
    sealed = contents[1].config["digest"]["tensors"]
    assert sealed == digest(to_timm(model))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_tensor(file, tmp_path, value, capsys):
    tensors = {key: tensor.copy() for key, tensor in load_file(file).items()}
    tensors["layer3.0.conv2.weight"].flat[0] = value
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(DamagedError, match=r"w.safetensors: .*\n  not finite: layer3.0.conv2.weight, 1 of 9216 values"):
        load_model(PLAIN, tmp_path / "w.safetensors")
    save_picture(tmp_path / "a.png", np.full((40, 40, 3), 90, np.uint8))
    options = ["--model", PLAIN, "--weights", str(tmp_path / "w.safetensors"), "--out", str(tmp_path / "out")]
    assert cli.main(["explain", str(tmp_path / "a.png"), *options]) == 1
    assert "not finite: layer3.0.conv2.weight" in capsys.readouterr().err


def test_negative_variances_and_values_too_large_are_refused(file, tmp_path):
    tensors = {key: tensor.copy() for key, tensor in load_file(file).items()}
    tensors["bn1.running_var"][2] = -1e-9
    tensors["fc.bias"] = tensors["fc.bias"].astype(np.float64) + 1e300
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(DamagedError) as caught:
        load_model(PLAIN, tmp_path / "w.safetensors")
    assert set(str(caught.value).split("\n  ")[1:]) == {
        "a negative variance: bn1.running_var, 1 of 8 values",
        "not finite: fc.bias, 3 of 3 values",
    }


def test_finite_values_whose_sum_is_not_are_fine():
    assert unusable({"a": np.full(2, 3e38, np.float32), "b": np.full(9, 6e4, np.float16)}) == []
    opposed = {"a": np.array([np.inf, -np.inf, 1.0], np.float32)}
    assert unusable(opposed) == ["not finite: a, 2 of 3 values"]


def test_zeros_and_tiny_variances_are_fine():
    assert unusable({"bn1.running_var": np.zeros(2), "fc.bias": np.array([-1.0, 0.0])}) == []


@pytest.mark.parametrize("when", ["write_state", "files_digest", "write_whole"])
@pytest.mark.parametrize("there", [False, True])
def test_an_interrupted_save_leaves_what_was_there(model, directory, tmp_path, monkeypatch, when, there):
    path = tmp_path / "w"
    if there:
        save_orbax(model, path)
    before = sorted(tmp_path.rglob("*"))

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, when, interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_orbax(model, path)
    assert sorted(tmp_path.rglob("*")) == before
    if there:
        load_model(PLAIN, path)


@pytest.mark.parametrize("work", ["save", "restore"])
def test_a_signal_waits_for_the_threads_of_orbax(model, directory, tmp_path, monkeypatch, capfd, work):
    """They would go on to write into a folder that is being removed, and print tracebacks while the program ends."""
    arrays = read_state(directory / "state")
    original, ended = getattr(ocp.StandardCheckpointer, work), []

    def told_to_stop(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        found = original(*arguments)
        ended.append(work)
        return found

    monkeypatch.setattr(ocp.StandardCheckpointer, work, told_to_stop)
    with pytest.raises(Stopped), stopping():
        write_state(tmp_path / "state", arrays) if work == "save" else read_state(directory / "state")
    assert ended == [work]
    assert capfd.readouterr().err == ""
    monkeypatch.undo()
    if work == "save":
        assert set(read_state(tmp_path / "state")) == set(arrays)


def test_what_a_killed_save_leaves_goes_with_the_next(model, directory, tmp_path):
    path = tmp_path / "w"
    for name in ("state", "state.orbax-checkpoint-tmp"):
        (path / name).mkdir(parents=True)
    with pytest.raises(ValueError, match="no checkpoint in it"):
        load_model(PLAIN, path)
    save_orbax(model, path)
    assert sorted(found.name for found in path.iterdir()) == ["config.json", "state"]
    # Killed after the new state was whole, but before config.json names it.
    (path / "state2").mkdir()
    assert load_model(PLAIN, path).num_classes == 3
    save_orbax(model, path)
    assert sorted(found.name for found in path.iterdir()) == ["config.json", "state2"]
    assert load_model(PLAIN, path).num_classes == 3
    # Whatever took the arrays away, what is left of a checkpoint may be replaced.
    (path / "state2").rename(tmp_path / "elsewhere")
    save_orbax(model, path)
    assert load_model(PLAIN, path).num_classes == 3


def test_a_folder_that_only_looks_like_one_is_not_touched(model, tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "statement.txt").touch()
    with pytest.raises(FileExistsError, match="not a checkpoint"):
        save_orbax(model, tmp_path / "w")
    with pytest.raises(FileExistsError, match="a file, and not a folder"):
        save_orbax(model, tmp_path / "w" / "statement.txt")
    assert (tmp_path / "w" / "statement.txt").exists()


@pytest.fixture
def full_disk():
    """No file may grow beyond 20 kB, which has the same effect on those that write as a full disk."""
    resource = pytest.importorskip("resource")
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_one_line_with_the_path(file, tmp_path, full_disk, capfd):
    assert cli.main(["convert", PLAIN, str(file), str(tmp_path / "new" / "out")]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert "error: " in line
    assert str(tmp_path / "new" / "out") in line
    assert not (tmp_path / "new" / "out").exists()
