"""Every command that writes results leaves a file beside them that repeats it, whatever the results are.

What takes long in a command stands aside: what it was given, and what it leaves, are the same without.
"""

import functools
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import xrcam_jax as xr
import xrcam_jax.benchmark.explain
from tests.commands.stand_ins import PretendExplainer
from tests.commands.test_agreement import exported
from tests.commands.test_config import options
from tests.report.results import write_results
from xrcam_jax import cli
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
from xrcam_jax.commands import demo, evaluate, training
from xrcam_jax.data import datasets
from xrcam_jax.runtime.texts import read_text
from xrcam_jax.studies import structures, study

#: What these print is their result, or stays on the page.
PRINTING = {"view", "models", "layers", "methods", "completion"}
#: A command, or one of each kind of a group's, and the file that it leaves.
WRITING = {
    "synth": ("drawn --small --patients 2 --frames 8 --side 32 --seed 3", "drawn/settings.toml"),
    "prepare": ("synthetic/recordings again --split 1/0/0 --every 2", "again/settings.toml"),
    "train": (f"prepared --model {MODEL} --epochs 3 --learning-rate 1e-4 --out run", "run/settings.toml"),
    "explain": (
        f"a.png --model {MODEL} --weights w.safetensors --field-of-view none --method grad_cam --out out",
        "out/settings.toml",
    ),
    "demo": ("--out shown", "shown/settings.toml"),
    "concepts": ("prepared --weights w.safetensors --layer layer1 --top 3 --out o", "o/concepts/settings.toml"),
    "convert": (f"{MODEL} w.safetensors made/two.safetensors", "made/two.settings.toml"),
    "convert --to": (f"{MODEL} w.safetensors folder --to orbax", "folder/settings.toml"),
    "report": ("results", "results/report.settings.toml"),
    "report --out": ("results --out pages/one.html", "pages/one.settings.toml"),
    "read": ("results --pairs 4 --seed 2", "results/reader.settings.toml"),
    "agreement": ("ratings_Ada.csv ratings_Bo.csv --weighting linear --out found", "found/settings.toml"),
    "benchmark explain": (f"--models {MODEL} --repeats 2 --out figures/one.json", "figures/one.settings.toml"),
    **{
        f"evaluate {name}": (
            f"--data prepared --part all --out o --weights w.safetensors {more}",
            f"o/{name}/settings.toml",
        )
        for name, more in {
            **dict.fromkeys(evaluate.STUDIES, ""),
            **dict.fromkeys(("transfer", "architectures"), "other/w.safetensors"),
            **dict.fromkeys(("segmentation", "dropout"), "--annotations synthetic/annotations.json"),
            "ensemble": "other/w.safetensors --annotations synthetic/annotations.json",
        }.items()
    },
    "evaluate frames": ("--data prepared --out o", "o/frames/settings.toml"),
    "evaluate planted": ("--sets pattern --pictures 1 --out o", "o/planted/settings.toml"),
}


class EnoughError(Exception):
    """Says that a study has come as far as it has to."""


#: Reading a checkpoint takes half a second.
LOAD = functools.cache(xr.load_model)


def pretend_structures(model, frames, methods):
    """Is instead of :func:`xrcam_jax.studies.structures.find_structures`."""
    images = np.zeros((len(frames.labels), 8, 8, 3), np.float32)
    found = SimpleNamespace(accuracy=1.0, frames=len(images), table=lambda: "| a |\n|---|\n| 1 |")
    return found, [PretendExplainer(model, methods=methods, layers=None)(images)]


def enough(*_, **__):
    raise EnoughError


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Makes what the commands read."""
    folder = tmp_path_factory.mktemp("inputs")
    drawn = ["--small", "--patients", "6", "--frames", "24", "--side", "32"]
    assert cli.main(["synth", str(folder / "synthetic"), *drawn]) == 0
    assert cli.main(["prepare", str(folder / "synthetic" / "recordings"), str(folder / "prepared")]) == 0
    write_results(folder / "results")
    shutil.copy(next((folder / "prepared").rglob("*.png")), folder / "a.png")
    for reader in ("Ada", "Bo"):
        exported(folder, reader)
    (folder / "other").mkdir()
    for name in ("w", "other/w"):
        shutil.copy(WEIGHTS, folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Has the long parts of the commands stand aside."""
    monkeypatch.setattr(xr, "Explainer", PretendExplainer, raising=False)
    monkeypatch.setattr(xr, "load_model", LOAD, raising=False)
    monkeypatch.setattr(training, "train", lambda task, model: None)
    monkeypatch.setattr(demo, "METHODS", ("xrelevance_cam",))
    monkeypatch.setattr(demo, "_one_of_each_patient", lambda names: [0])
    monkeypatch.setattr(structures, "find_structures", pretend_structures)
    monkeypatch.setattr(xrcam_jax.benchmark.explain, "measure", lambda *_: iter([{"run": "forward", "ms": 1.0}]))
    monkeypatch.setattr(study.Study, "__init__", enough)
    monkeypatch.setattr(datasets, "planted", enough)


@pytest.mark.long(one_in=3)
@pytest.mark.parametrize("name", WRITING)
def test_the_file_beside_the_results_repeats_the_command(name, inputs, quick, tmp_path, monkeypatch):
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    words, left = WRITING[name]
    command = name.partition(" --")[0]
    try:
        assert cli.main([*command.split(), *words.split()]) == 0
    except EnoughError:
        assert command.startswith(("concepts", "evaluate"))
    found = options(command, ["--config", left])
    assert found == options(command, words.split())
    assert read_text(tmp_path / left).startswith(f"# Repeats this run: xrcam {command} --config settings.toml\n")
    assert found.repeat.strip() in read_text(tmp_path / left)


def test_all_commands_are_tried():
    assert {name.split()[0] for name in WRITING} == set(cli.COMMANDS) - PRINTING
