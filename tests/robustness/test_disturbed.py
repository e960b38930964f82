"""The short form of kills, signals and disturbances: a few, in a process that has not started JAX."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.robustness.scenarios import contents, differences

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and audit hooks as Linux has them")
def test_commands_survive_kills_signals_and_full_disks(tmp_path):
    few = ["--commands", "synth,prepare", "--kills", "8", "--signals", "3", "--disturbances", "1", "--out"]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.robustness", *few, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert "nothing failed" in ended.stdout


def test_changes_are_counted(tmp_path):
    code = """
import os, sys, pathlib
from tests.robustness.runs import count_changes
count_changes(pathlib.Path(sys.argv[1]), lambda number: print(number))
path = pathlib.Path(sys.argv[1], "a")
path.write_text("1")
path.read_text()
path.rename(path.with_name("b"))
pathlib.Path(sys.argv[1], "b").unlink()
"""
    shown = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["0", "1", "2"]


def test_differences_are_found(tmp_path):
    for name, files in (("one", {"a": b"1", "b": b"2"}), ("two", {"a": b"1", "b": b"3", ".b.123": b"2"})):
        for file, content in files.items():
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / file).write_bytes(content)
    one, two = (contents(tmp_path / name) for name in ("one", "two"))
    assert differences(one, one) == []
    assert differences(two, one) == ["left over: .b.123", "another: b"]
    assert differences({}, one) == ["missing: a", "missing: b"]
