"""Tables and maps are the same on one device, on several, and by two processes."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import xrcam_jax as xr
from tests.rounding import assert_same_but_for_rounding
from xrcam_jax.cli import main

JOINED = Path(__file__).with_name("joined.py")
TABLES = ("per_layer.csv", "per_layer.md", "tests.csv", "contents.json")


@pytest.fixture(scope="module")
def commands(drawn, weights):
    """Returns two commands that write into a folder, a study and an explanation, which run the same program."""

    def of(out):
        run, data = weights("plain"), ("--data", drawn.folder, "--annotations", drawn.annotations, "--part", "all")
        pictures = [drawn.folder / file for file in [*drawn.frames][:3]]
        model = ("--model", "tiny", "--weights", run / "best.safetensors")
        segmentation = ["evaluate", "segmentation", *data, "--methods", "grad_cam", "--weights", run, "--out", out]
        explain = ["explain", *pictures, *model, "--method", "grad_cam", "--target", 0, "--out", out / "explained"]
        rest = ("--layers", "layer4", "--batch-size", 1)
        return [list(map(str, (*command, *rest))) for command in (segmentation, explain)]

    return of


@pytest.fixture(scope="module")
def one(commands, tmp_path_factory):
    """Runs the commands on one device."""
    out = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
        assert [main(command) for command in commands(out)] == [0, 0]
    return out


def assert_same_tables(found, expected):
    """Checks that tables agree to rounding, which may move a pixel or two across the threshold.

    Other devices, or other processes, run programs that are compiled in another way.
    """
    for name in TABLES:
        texts = [(folder / "segmentation" / name).read_text() for folder in (found, expected)]
        assert_same_but_for_rounding(*texts, rtol=0.02, atol=0.02)
    assert_same_but_for_rounding(figures(found), figures(expected), rtol=0.02, atol=0.02)


def figures(folder):
    """Returns the figures of each picture, but for where a map points at.

    A maximum in a corner of the layer fills a whole corner of the picture, and rounding decides among its pixels.
    """
    with (folder / "segmentation" / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return "\n".join(",".join(text for name, text in row.items() if name != "pointing") for row in rows)


@pytest.mark.long
def test_several_devices_make_the_table_of_one(commands, one, tmp_path):
    """They agree to rounding where each device has as many pictures as the one: five at a time on five devices."""
    assert main([*commands(tmp_path)[0], "--batch-size", "5"]) == 0
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    assert_same_tables(tmp_path, one)


@pytest.mark.long
def test_two_processes_do_what_one_does(commands, one, tmp_path):
    """Each process does a part, and the first one writes what comes of all."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    # This package, whichever one is installed.
    environment = {**os.environ, "PYTHONPATH": str(Path(xr.__file__).parents[1])}
    both = [
        subprocess.Popen(
            [sys.executable, str(JOINED), port, process, json.dumps(commands(tmp_path))],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in "01"
    ]
    outputs = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert_same_tables(tmp_path, one)
    there, here = ({path.relative_to(out) for path in out.rglob("*") if path.is_file()} for out in (one, tmp_path))
    assert here == there
    maps = [path for path in there if path.parts[:2] == ("explained", "maps")]
    assert len(maps) == 3
    for path in maps:
        with np.load(one / path) as expected, np.load(tmp_path / path) as found:
            assert set(found) == set(expected)
            for name in expected:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4, err_msg=name)
    summaries = [(out / "explained" / "summary.csv").read_text() for out in (tmp_path, one)]
    assert_same_but_for_rounding(*summaries, rtol=1e-4, atol=1e-5)
    assert summaries[0].count("\n") == 1 + 3
    # Each picture is explained once, and only the first process says what came of all.
    assert outputs[0][0].count(": predicted class") == 2
    assert outputs[1][0].count(": predicted class") == 1
    assert "3 explained, 0 could not be read" in outputs[0][0]
    assert "explained" not in outputs[1][0]
    assert "Pooled IoU" not in outputs[1][0]
