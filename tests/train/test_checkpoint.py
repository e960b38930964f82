"""Checkpoints are whole, whatever happens, and come back bit for bit."""

import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.train import tiny
from tests.train.tiny import Tiny, learner, make_run
from xrcam_jax.train.checkpoint import Checkpoints


@pytest.fixture
def checkpoints(tmp_path):
    kept = Checkpoints(tmp_path)
    yield kept
    kept.close()


def changed(state, step):
    return jax.tree.map(lambda leaf: leaf + 1, state)._replace(step=state.step + step)


def test_there_is_none_at_first(checkpoints):
    assert checkpoints.step("last") is None
    assert checkpoints.restore("last", learner(Tiny())[1]) is None


def test_one_of_each_is_kept_and_comes_back(checkpoints, tmp_path):
    _, state, _, _ = learner(Tiny(), devices=8)
    progress = {"score": 0.1 + 0.2, "history": [{"epoch": 1}], "batches": {"seen": 3}, "none": None}
    checkpoints.save("last", changed(state, 3), {})
    checkpoints.save("last", changed(state, 5), progress)
    checkpoints.save("best", changed(state, 3), {})

    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["3", "5"]
    again = Checkpoints(tmp_path)
    restored, content = again.restore("last", state)
    again.close()
    jax.tree.map(np.testing.assert_array_equal, restored, changed(state, 5))
    assert jax.tree.map(lambda leaf: leaf.sharding, restored) == jax.tree.map(lambda leaf: leaf.sharding, state)
    assert content == progress


def test_one_that_a_killed_run_has_left_goes_at_the_next_start(checkpoints, tmp_path):
    _, state, *_ = learner(Tiny())
    checkpoints.save("last", changed(state, 3), {})
    shutil.copytree(tmp_path / "last" / "3", tmp_path / "kept")
    checkpoints.save("last", changed(state, 6), {})
    shutil.copytree(tmp_path / "kept", tmp_path / "last" / "3")
    again = Checkpoints(tmp_path)
    restored, _ = again.restore("last", state)
    again.close()
    assert int(restored.step) == 6
    assert [path.name for path in (tmp_path / "last").iterdir() if path.name.isdigit()] == ["6"]


def test_a_state_of_one_device_goes_on_eight(checkpoints):
    checkpoints.save("last", learner(Tiny())[1], {})
    restored, _ = checkpoints.restore("last", learner(Tiny(), devices=8)[1])
    assert len(restored.step.sharding.device_set) == 8


def test_another_model_is_refused_by_name(checkpoints, tmp_path):
    checkpoints.save("last", learner(Tiny())[1], {})
    with pytest.raises(ValueError, match=rf"{tmp_path}/last/0: cannot be read"):
        checkpoints.restore("last", learner(Tiny(norm=False))[1])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Writes a checkpoint."""
    folder, state = tmp_path_factory.mktemp("written"), learner(Tiny())[1]
    kept = Checkpoints(folder)
    kept.save("last", state, {"score": 0.5, "history": [{"epoch": 1}]})
    kept.close()
    return folder, state


FILES = ("state/ocdbt.process_0/d/*", "state/d/*", "progress/metadata", "state/_METADATA")


@pytest.mark.long(one_in=3)
@pytest.mark.parametrize("pattern", FILES)
def test_a_flipped_bit_is_noticed_or_does_no_harm(written, tmp_path, capfd, pattern):
    folder, state = written
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "last/0").glob(pattern):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    kept = Checkpoints(tmp_path)
    problem = ""
    try:
        restored, progress = kept.restore("last", state)
    except ValueError as error:
        problem = str(error)
    if problem:
        assert problem.startswith(f"{tmp_path}/last/0: ")
        assert "\n" not in problem
    else:
        jax.tree.map(np.testing.assert_array_equal, restored, state)
        assert progress == {"score": 0.5, "history": [{"epoch": 1}]}
    kept.close()
    assert "Traceback" not in capfd.readouterr().err


def test_other_arrays_are_refused(written, tmp_path):
    """Whole files of another state, of the same shapes: no checksum of a file would tell."""
    folder, state = written
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    other = Checkpoints(tmp_path / "other")
    other.save("last", changed(state, 0), {"score": 0.5, "history": [{"epoch": 1}]})
    other.close()
    shutil.rmtree(tmp_path / "last/0/state")
    shutil.copytree(tmp_path / "other/last/0/state", tmp_path / "last/0/state")
    kept = Checkpoints(tmp_path)
    with pytest.raises(ValueError, match=rf"{tmp_path}/last/0: damaged, it is not what was written there"):
        kept.restore("last", state)
    kept.close()


FULL = """
import resource, signal, sys
from tests.train.tiny import Tiny, learner
from xrcam_jax.train.checkpoint import Checkpoints
kept = Checkpoints(sys.argv[1])
state = learner(Tiny())[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
try:
    kept.save("last", state, {})
except OSError as error:
    print(error)
"""


def test_a_disk_that_is_full_is_one_line(tmp_path):
    """A limit on the size of files stands in for the disk."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], cwd=root, capture_output=True, text=True)
    assert done.stdout == f"{tmp_path}/last: cannot be written (File too large)\n"
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_killed_at_any_moment_it_ends_with_the_same_weights(tmp_path):
    script, cache = str(Path(tiny.__file__)), str(tmp_path / "cache")
    ends = []
    for name, events in (("undisturbed", []), ("killed", ["3", "60", "140"])):
        done = subprocess.run(
            [sys.executable, script, "kill", str(tmp_path / name), cache, *events],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.count("status -9") == len(events), done.stdout
        state, run = make_run(tmp_path / name, Tiny(dropout=0.1))
        ends.append([run.checkpoints.restore(which, state) for which in ("last", "best")])
        run.checkpoints.close()
        assert len(list((tmp_path / name).glob("*/*"))) == 2

    for (state, progress), (other, other_progress) in zip(*ends, strict=True):
        jax.tree.map(np.testing.assert_array_equal, state, other)
        for row in (*progress["history"], *other_progress["history"]):
            del row["seconds"], row["images_per_second"]
        assert {**progress, "totals": None} == {**other_progress, "totals": None}
