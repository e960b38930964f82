"""The short form of the mutations: Hypothesis chooses the changes, and the package's readers run in this process."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import config as checks

from tests.robustness import mutate, seeds
from tests.robustness.judge import Fault, judged, judged_command, sound_pictures
from tests.robustness.targets import BY_NAME, LINES, changed_files
from xrcam_jax.checkpoints.packaged import WEIGHTS
from xrcam_jax.cli import main

EXAMPLES = 25


class Drawn:
    """Chooses as Hypothesis draws, so that it can look for the smallest change that fails."""

    def __init__(self, data):
        self._data = data

    def integers(self, low, high):
        return self._data.draw(st.integers(low, high - 1))


@pytest.fixture(scope="module", autouse=True)
def unchecked():
    """Lifts the checks of annotations, which would refuse what the package's own checks are to refuse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "jaxtyping_disable", True)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Writes the seeds that need no network: prepared frames, outlines, pictures, videos, labels, weights."""
    folder = tmp_path_factory.mktemp("seeds")
    seeds.make_small(folder)
    (folder / "weights").mkdir()
    shutil.copy(WEIGHTS, folder / "weights" / "best.safetensors")
    return folder


@pytest.mark.parametrize("name", ["coco", "prepared", "notes", "pictures", "videos", "labels", "ratings"])
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_changed_files_are_read_or_refused_by_name(folder, name, data):
    target, choices = BY_NAME[name], Drawn(data)
    files = changed_files(target, folder / name)
    file, change = mutate.pick(choices, files)
    pristine = file.read_bytes()
    try:
        file.write_bytes(change(pristine, mutate.pick(choices, files)[0].read_bytes(), choices))
        verdict = judged(lambda: target.read(folder / name, file), target.named or (file.name,))
    finally:
        file.write_bytes(pristine)
    assert verdict.kind in ("accepted", "refused"), verdict


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_changed_safetensors_are_read_or_refused_by_name(folder, data):
    from xrcam_jax.checkpoints.load import read_checkpoint

    file = folder / "weights" / "changed.safetensors"
    pristine = (folder / "weights" / "best.safetensors").read_bytes()
    file.write_bytes(mutate.mutated_safetensors(pristine, b"", Drawn(data)))
    verdict = judged(lambda: read_checkpoint(file), (file.name,))
    assert verdict.kind in ("accepted", "refused"), verdict


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_changed_onnx_files_are_read_or_refused_by_name(tmp_path_factory, data):
    pytest.importorskip("onnx")
    from tests.onnx.test_command import network

    file = tmp_path_factory.getbasetemp() / "changed.onnx"
    pristine = network().SerializeToString()
    file.write_bytes(mutate.mutated_onnx(pristine, pristine, Drawn(data)))
    verdict = judged(lambda: BY_NAME["onnx"].read(file.parent, file), (file.name,))
    assert verdict.kind in ("accepted", "refused"), verdict


#: Lines that end before anything is compiled, changed or not.
SHORT = [line for line in LINES if line[0] not in ("explain", "convert", "layers", "models")]


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_changed_command_lines_run_or_are_refused_in_one_line(folder, data):
    choices = Drawn(data)
    words = mutate.mutated_arguments(mutate.pick(choices, SHORT), choices)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "labels")
        status, err = _ended(words)
    verdict = judged_command(status, err, ())
    assert verdict.kind in ("accepted", "refused"), (words, verdict)


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_changed_config_files_are_read_or_refused_by_name(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "changed.toml"
    pristine = b'[report]\nresults = "gone"\nout = "page.html"\n'
    file.write_bytes(mutate.mutated_text(pristine, pristine, Drawn(data)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(file.parent)
        status, err = _ended(["report", "gone", "--config", file.name])
    verdict = judged_command(status, err, ())
    assert verdict.kind in ("accepted", "refused"), verdict


def _ended(words):
    import contextlib
    import io

    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(words)
        except SystemExit as stop:
            status = stop.code or 0
    return status, err.getvalue()


def test_the_judge_finds_faults():
    def read(error):
        raise error

    for error, named in (
        (KeyError("file.json"), "file.json"),
        (RecursionError("file.json"), "file.json"),
        (MemoryError(), "file.json"),
        (ValueError("something is wrong"), "file.json"),
        (Fault("file.json"), "file.json"),
        (ValueError("file.json" * 1000), "file.json"),
    ):
        assert judged(lambda error=error: read(error), (named,)).kind == "fault"
    assert judged(lambda: read(ValueError("file.json: wrong")), ("file.json",)).kind == "refused"
    assert judged(lambda: None, ("file.json",)).kind == "accepted"
    assert judged_command(2, "xrcam x: error: a\n", ()).kind == "refused"
    for status, err in (
        (2, "usage: x\nerror: y\n"),
        (1, ""),
        (1, "Traceback (most recent call last)\n"),
        (-11, ""),
        (3, "a"),
    ):
        assert judged_command(status, err, ()).kind == "fault"
    with pytest.raises(Fault, match="float32"):
        sound_pictures([np.zeros((2, 2, 3), np.float32)])


def test_the_same_seed_gives_the_same_mutations():
    content = Path(WEIGHTS).read_bytes()
    for change in (mutate.mutated_bytes, mutate.mutated_safetensors):
        first, again, other = (change(content, content, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert first == again
        assert len({first, other, content}) == 3
