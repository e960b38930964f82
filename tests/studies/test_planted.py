"""The study of planted sets: the truth scores 1 and blind maps chance, and what is written is what the maps say."""

import csv
import json

import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.cli import main
from xrcam_jax.report.read import read_experiments
from xrcam_jax.studies.planted import explained, figures

SETS, METHODS, PICTURES, SEED = ("pattern", "shortcut"), ("grad_cam", "eigen_cam", "gradient"), 3, 5


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    arguments = ["--sets", ",".join(SETS), "--methods", ",".join(METHODS), "--pictures", PICTURES, "--seed", SEED]
    assert main(["evaluate", "planted", *map(str, (*arguments, "--out", out))]) == 0
    return out


@pytest.fixture(scope="module")
def shortcut():
    return xr.datasets.planted("shortcut", PICTURES, seed=SEED)


@pytest.fixture(scope="module")
def e(shortcut):
    return xr.Explainer(shortcut.network, METHODS)(shortcut.images, targets=shortcut.labels)


def rows(results, name, labels):
    with (results / "planted" / f"{name}.csv").open(newline="") as file:
        return {tuple(row[label] for label in labels): row for row in csv.DictReader(file)}


def table(results, figure):
    return {method: row for (method,), row in rows(results, figure, ["method"]).items()}


def test_the_truth_scores_one_and_maps_that_see_nothing_chance(results):
    for figure in ("outshines", "mass", "rank", "precision", "recall"):
        assert [float(table(results, figure)["(the truth itself)"][name]) for name in SETS] == [100, 100]
    for name in SETS:
        share = 100 * xr.datasets.planted(name, PICTURES, seed=SEED).truth.mean()
        assert float(table(results, "outshines")["(uniform)"][name]) == 50
        for figure in ("mass", "rank"):
            assert float(table(results, figure)["(uniform)"][name]) == pytest.approx(share, rel=1e-5)
            assert float(table(results, figure)["(noise)"][name]) < share + 3
        assert float(table(results, "precision")["(noise)"][name]) < share + 3


def test_figures_are_those_of_the_maps(results, shortcut, e):
    for method, maps in (("gradient", e.maps["gradient"]["input"]), ("grad_cam", e.aggregate("grad_cam"))):
        maps = np.asarray(maps, np.float64)
        inside, other = maps * shortcut.truth, maps * shortcut.decoy
        wanted = {
            "mass": inside.sum((1, 2)) / maps.sum((1, 2)),
            "outshines": inside.max((1, 2)) > other.max((1, 2)),
        }
        for figure, values in wanted.items():
            found = float(table(results, figure)[method]["shortcut"])
            assert found == pytest.approx(100 * values.mean(), rel=1e-4)


def test_layers_have_their_own_figures(results, shortcut, e):
    found = rows(results, "mass_layers", ["set", "method"])
    assert {method for _, method in found} == {"grad_cam", "eigen_cam", "(the truth itself)"}
    for layer, each in e.maps["grad_cam"].items():
        each = np.asarray(each, np.float64)
        share = ((each * shortcut.truth).sum((1, 2)) / each.sum((1, 2))).mean()
        assert float(found["shortcut", "grad_cam"][layer]) == pytest.approx(100 * share, rel=1e-4)
    # What a layer could show at best is less than all, the more so the coarser it is.
    best = [float(found["shortcut", "(the truth itself)"][layer]) for layer in ("layer1", "layer2", "layer3")]
    assert 100 > best[0] > best[1] > best[2] > 20


def test_the_text_says_who_found_the_logo(results):
    text = json.loads((results / "planted" / "contents.json").read_text())["text"]
    (line,) = (line for line in text.splitlines() if line.startswith("shortcut"))
    assert line.endswith("found by 2 of 3 methods, not by eigen_cam (0 %).")
    assert "For clinicians: " in text


def test_the_report_takes_it(results):
    (experiment,) = read_experiments(results)
    assert experiment.synthetic is True
    assert len(experiment.tables) == 10
    assert len(experiment.pictures) == 2
    pictures = rows(results, "images", ["set", "picture", "method", "map"])
    # Two class activation maps at three layers and together, a gradient, and the seven baselines.
    assert len(pictures) == len(SETS) * PICTURES * (2 * 4 + 1 + 5 + 3)


def test_the_size_of_the_batch_does_not_matter(results, shortcut):
    some = slice(1, 2)
    arrays = (shortcut.images, shortcut.labels, shortcut.truth, shortcut.decoy)
    drawn = xr.datasets.Planted(*(each[some] for each in arrays), shortcut.network)
    together = rows(results, "images", ["set", "picture", "method", "map"])
    for (method, column), values in figures(drawn, explained(drawn, ("grad_cam", "gradient"), SEED)).items():
        for figure, (alone,) in values.items():
            assert float(together["shortcut", "1", method, column][figure]) == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sets", "logo"), "--sets: unknown name 'logo'"),
        (("--methods", "chefer"), "--method: unknown name 'chefer'"),
        (("--pictures", "0"), "--pictures: 0 is less than 1"),
        (("--seed", "-1"), "--seed: -1 is not in 0 to 4294967295"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path, capsys):
    assert main(["evaluate", "planted", *arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
