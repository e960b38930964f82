"""In a cross-validation each frame is judged by the one network that has not seen its patient."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from tests.tiny_networks import PLAIN, SELECTIVE
from xrcam_jax.cli import main
from xrcam_jax.data.folds import write_folds
from xrcam_jax.data.manifest import read_prepared
from xrcam_jax.explain.functional import as_function
from xrcam_jax.models import create_model
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.studies.batches import each_batch
from xrcam_jax.studies.folds import CrossValidated
from xrcam_jax.studies.networks import Network
from xrcam_jax.studies.study import Study

for package in ("grain", "dm_pix", "tensorboardX"):
    pytest.importorskip(package)

FOLDS = {"p1": 0, "p2": 1, "p3": 2, "q1": 1, "q2": 0}
OPTIONS = ("--methods", "grad_cam", "--layers", "layer4", "--batch-size", 2, "--part", "test", "--folds")


@pytest.fixture(scope="module")
def prepared(drawn, tmp_path_factory):
    """Copies the drawn frames and puts their patients into three folds."""
    folder = tmp_path_factory.mktemp("folds")
    shutil.copytree(drawn.folder, folder, dirs_exist_ok=True)
    write_folds(folder, FOLDS)
    return folder


@pytest.fixture(scope="module")
def runs(prepared, weights):
    """Returns a run of each fold, with all that training writes of itself but random weights, no two alike."""
    folders = [weights(f"fold{fold}", seed=20 + fold) for fold in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xrcam_jax.commands.training.train", lambda task, model: None)
        for fold, folder in enumerate(folders):
            options = ["--model", PLAIN, "--batch-size", "8", "--fold", str(fold), "--out", str(folder)]
            assert main(["train", str(prepared), *options]) == 0
    return folders


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("limit", [9, 4])
def test_frames_are_judged_by_who_has_not_seen_their_patients(drawn, prepared, tmp_path, limit):
    """The figures come back in the order of the frames, whoever found them, and when they are read again."""
    frames = read_prepared(prepared).frames[:limit]
    model = nnx.eval_shape(lambda: create_model(PLAIN, num_classes=2))
    kinds = [Preprocessing((mean,) * 3, (0.25,) * 3, (40, 40), 1.0, "area") for mean in (0.1, 0.2, 0.3)]
    judges = []
    for fold, kind in enumerate(kinds):
        judges.append(Network(f"fold {fold}", nnx.clone(model), Path(), ""))
        judges[fold].model.preprocessing = kind
    network = CrossValidated("all", tuple(judges), FOLDS)
    study = Study("name", tmp_path, (network,), read_prepared(prepared), frames, None, (), (), 2, 0, {})
    asked = []

    def figures(judge):
        asked.append(judge)
        mean = judge.model.preprocessing.mean[0]

        def compute(batch):
            shown = batch.images[..., 0] * 0.25 + mean
            np.testing.assert_allclose(shown, np.asarray(batch.pictures) / 255, atol=1e-6)
            return {"fold": np.full(2, judges.index(judge)), "sum": np.asarray(batch.pictures).sum((1, 2))}

        return compute

    for _ in range(2):
        found = each_batch(study, network, figures)
        assert found["fold"].tolist() == [FOLDS[frame.patient] for frame in frames]
        assert found["sum"].tolist() == [drawn.pictures[frame.file].sum() for frame in frames]
    # Each is asked once, and nobody when all is done.
    assert sorted(asked, key=judges.index) == [judges[fold] for fold in sorted({FOLDS[f.patient] for f in frames})]


def test_all_frames_count_together(drawn, prepared, runs, evaluate, tmp_path):
    """What is written of each frame is what the network of its fold says of it."""
    assert evaluate("segmentation", *OPTIONS, runs=runs[::-1], data=prepared) == 0
    folder = tmp_path / "segmentation"
    found = [row for row in rows(folder / "images.csv") if row["method"] == "grad_cam"]
    assert [row["file"] for row in found] == drawn.annotated
    assert {row["network"] for row in found} == {PLAIN}
    networks = [as_function(xr.load_model(PLAIN, run / "best.safetensors")) for run in runs]
    predict = jax.jit(networks[0][0])
    for fold, (_, parameters) in enumerate(networks):
        logits = np.asarray(predict(drawn.images(drawn.annotated), parameters))
        predicted = ["ill" if a > b else "well" for a, b in logits]
        ours = [place for place, row in enumerate(found) if FOLDS[row["patient"]] == fold]
        assert [found[place]["predicted"] for place in ours] == [predicted[place] for place in ours]
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["data"]["part"].startswith("test, of all folds: each frame is judged by")
    assert len(settings["networks"][PLAIN].split(", ")) == 3
    right = sum(row["predicted"] == row["class"] for row in found)
    assert f"correctly count: {PLAIN} {right}." in json.loads((folder / "contents.json").read_text())["text"]


@pytest.fixture
def changed(prepared, runs, tmp_path):
    """Copies data and runs, so that they may be changed."""
    data, copies = tmp_path / "data", [tmp_path / run.name for run in runs]
    shutil.copytree(prepared, data)
    for run, copy in zip(runs, copies, strict=True):
        shutil.copytree(run, copy)
    return data, copies


def other_folds(data, runs):
    write_folds(data, FOLDS | {"q1": 2})
    return runs


def other_picture(data, runs):
    (file, *_) = data.glob("well/*.png")
    cv2.imwrite(str(file), cv2.imread(str(file), 0) ^ 1)
    return runs


def without(name):
    def unlink(data, runs):
        (runs[1] / name).unlink()
        return runs

    return unlink


def settings(**changes):
    def write(data, runs):
        path = runs[1] / "settings.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return runs

    return write


REFUSED = {
    "one is missing": (lambda data, runs: runs[:2], "expected one run for each of the folds 0 to 2 of {data}, for"),
    "one twice": (lambda data, runs: [runs[0], *runs[:2]], "found {0} (fold 0), {0} (fold 0), {1} (fold 1)"),
    "one too many": (lambda data, runs: [*runs, runs[0]], "for one network after another; found {0} (fold 0)"),
    "says another fold": (settings(fold=2), "{1} is of fold 2 of other data than {data}, or of other folds of these"),
    "says a fold that is not there": (settings(fold=7), "{1} is of fold 7 of other data than {data}"),
    "other folds": (other_folds, "{0} is of fold 0 of other data than {data}, or of other folds of these"),
    "other pictures": (other_picture, "{0} is of fold 0 of other data than {data}, or of other folds of these"),
    "no fold": (settings(fold=None), "{1} was not trained with --fold, so it has seen patients of every fold"),
    "a fold that is no number": (settings(fold=True), "{1} was not trained with --fold"),
    "not finished": (without("best.safetensors"), "{1} has no best.safetensors; its training is not finished"),
    "no run": (without("settings.json"), "{1} is no run of xrcam train: there is no {1}/settings.json"),
    "no folds": (lambda data, runs: (data / "folds.csv").unlink() or runs, "folds.csv: there is no such file; "),
}


@pytest.mark.parametrize("what", REFUSED)
def test_runs_that_would_leak_or_leave_out_are_refused(changed, evaluate, capsys, monkeypatch, what):
    """They are refused before any weights are read."""
    monkeypatch.setattr(xr, "load_model", None)
    change, message = REFUSED[what]
    data, runs = changed
    assert evaluate("segmentation", *OPTIONS, runs=change(data, runs), data=data) == 2
    line = capsys.readouterr().err
    assert message.format(*runs, data=data) in line
    assert line.startswith("xrcam evaluate: error: ")
    assert line.count("\n") == 1


def test_folds_of_two_architectures_are_refused(changed, weights, evaluate, capsys):
    data, runs = changed
    shutil.copy(weights("selective", name=SELECTIVE) / "best.safetensors", runs[2])
    assert evaluate("segmentation", *OPTIONS, runs=runs, data=data) == 2
    line = capsys.readouterr().err
    assert "--weights: the runs of all folds need one architecture and one size of pictures; " in line
    assert f"{runs[2] / 'best.safetensors'}: {SELECTIVE}, 40 x 40" in line


def test_a_part_is_not_for_folds(prepared, runs, evaluate, capsys):
    assert evaluate("segmentation", *OPTIONS, "--part", "all", runs=runs, data=prepared) == 2
    line = "--part: with --folds all frames are judged, each as one of the test part of its fold, so leave it out"
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(("name", "message"), [("gallery", "one network at a time"), ("transfer", "at least two are")])
def test_the_runs_of_all_folds_are_one_network(prepared, runs, evaluate, capsys, name, message):
    given = runs if name == "transfer" else [*runs, *runs]
    assert evaluate(name, *OPTIONS, runs=given, data=prepared) == 2
    assert f"--weights: {message}" in capsys.readouterr().err
