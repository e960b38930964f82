"""Of two processes that want one place, one gets it, and a killed one holds nothing."""

import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from xrcam_jax.arguments.outputs import LOCK, alone_at, alone_in
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.locks import Taken, locked

HOLDER = """
import sys, time
from xrcam_jax.runtime.locks import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_has_it_until_it_is_killed(tmp_path):
    path = tmp_path / "lock"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Taken, match=rf"process {holder.pid} on \S+"), locked(path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    # The file is still there, and no longer locked.
    assert path.exists()
    with locked(path):
        pass
    assert not path.exists()


def test_whoever_comes_second_does_nothing(tmp_path):
    with alone_in("--out", tmp_path), pytest.raises(CommandError) as refused, alone_in("--out", tmp_path):
        pass
    assert str(refused.value).startswith(f"--out: {tmp_path} is being written by process ")
    assert list(tmp_path.iterdir()) == []


def test_two_files_of_one_folder_are_two_places(tmp_path):
    with alone_at("OUT", tmp_path / "a.mp4"), alone_at("OUT", tmp_path / f"{'b' * 250}.mp4"):
        with pytest.raises(CommandError, match="is being written"), alone_at("OUT", tmp_path / "a.mp4"):
            pass
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


def test_what_killed_runs_left_is_cleared(tmp_path):
    (tmp_path / "maps").mkdir()
    # No process has such a number: it is above the system's limit.
    stale, running = tmp_path / "maps" / ".a.npz.4194305.part", tmp_path / "maps" / ".a.npz.1.part"
    others = [tmp_path / ".hidden.4194305", tmp_path / "a.npz.4194305.part"]
    for path in (stale, running, *others):
        path.touch()
    with alone_in("--out", tmp_path):
        assert not stale.exists()
    assert all(path.exists() for path in (running, *others))


def test_without_locks_the_run_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    def unsupported(handle, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with alone_in("--out", tmp_path):
        assert not (tmp_path / LOCK).exists()
    assert capsys.readouterr().err == (
        f"xrcam: --out: {tmp_path} cannot be locked on its file system; see to it that no other run writes there\n"
    )
