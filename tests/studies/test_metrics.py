"""``xrcam evaluate metrics`` gives the figures of ``xr.evaluate``, picture by picture, and counts what is undefined."""

import csv
import json
from itertools import product

import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.cli import main
from xrcam_jax.evaluation.metrics import USUAL
from xrcam_jax.report.read import read_experiments
from xrcam_jax.studies.metrics import usual

METRICS = ("deletion+steps=1", "pointing_game", "relevance_mass_accuracy")
METHODS, LAYERS = ("grad_cam", "layer_cam"), ("layer3", "layer4")
OPTIONS = ("--methods", ",".join(METHODS), "--layers", ",".join(LAYERS), "--batch-size", 2, "--limit", 4)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def expected(drawn, weights):
    """The figures of four frames, by metric, method and column: NaN where nothing is outlined."""
    files = [list(drawn.frames)[i] for i in (0, 2, 5, 8)]
    labels = np.array([("ill", "well").index(drawn.frames[file].label) for file in files])
    model = xr.load_model("tiny", weights("unsure", seed=3, scale=0.1) / "best.safetensors")
    explain = xr.Explainer(model, METHODS, LAYERS)
    e, empty = (explain(images, targets=labels) for images in (drawn.images(files), 0 * drawn.images(files)))
    shares = [np.exp(np.asarray(each.logits, np.float64)) for each in (e, empty)]
    whole, nothing = ((each / each.sum(1, keepdims=True))[range(4), labels] for each in shares)
    found = {}
    for method in METHODS:
        for column, maps in {**e[method], "layer4+3": e.aggregate(method)}.items():
            # All pixels go at the only step, whatever the map.
            found[METRICS[0], method, column] = (whole + nothing) / 2
            for name in METRICS[1:]:
                found[name, method, column] = np.full(4, np.nan)
            for i, one in enumerate(np.asarray(maps, np.float64)):
                mask = drawn.masks[files[i]]
                if mask.any():
                    found["pointing_game", method, column][i] = mask.flat[one.argmax()]
                    found["relevance_mass_accuracy", method, column][i] = one[mask].sum() / one.sum()
    return files, found


def test_every_figure(evaluate, weights, expected, tmp_path):
    files, wanted = expected
    run = weights("unsure", seed=3, scale=0.1)
    assert evaluate("metrics", *OPTIONS, "--metrics", ",".join(METRICS), runs=[run]) == 0
    folder = tmp_path / "metrics"
    found = rows(folder / "images.csv")
    assert len(found) == 2 * 3 * len(files)
    for row in found:
        for name in METRICS:
            value = wanted[name, row["method"], row["column"]][files.index(row["file"])]
            np.testing.assert_allclose(float(row[name]), value, rtol=1e-3, atol=1e-4, err_msg=name)
    for name, method in product(METRICS, METHODS):
        (row,) = (row for row in rows(folder / f"{name}.csv") if row["method"] == method)
        for column in (*LAYERS, "layer4+3"):
            assert float(row[column]) == pytest.approx(np.nanmean(wanted[name, method, column]), rel=1e-3, abs=1e-4)
    contents = json.loads((folder / "contents.json").read_text())
    assert "left out of it: Pointing game 2, Relevance mass accuracy 2." in contents["text"]
    assert [table["best"] for table in contents["tables"]] == [None, "min", "max", "max", "max"]
    with Image.open(folder / contents["pictures"][0]["file"]) as plot:
        assert np.ptp(np.asarray(plot)) == 255
    (experiment,) = read_experiments(tmp_path)
    overview = experiment.tables[0]
    assert overview.columns == ("Deletion, steps=1", "Pointing game", "Relevance mass accuracy")
    figure = {row.labels[0]: row.figures[2].value for row in overview.rows}["layer_cam"]
    assert figure == pytest.approx(np.nanmean(wanted["relevance_mass_accuracy", "layer_cam", "layer4+3"]), rel=1e-3)


def test_without_outlines_the_usual_metrics_are_those_that_need_none(drawn):
    without, with_outlines = (usual(Options(annotations=given)) for given in (None, drawn.annotations))
    assert "deletion" in without
    assert not {"iou", "joint_faithfulness"} & set(without)
    assert {*without, "iou", "joint_faithfulness"} <= set(with_outlines) == set(USUAL)


@pytest.mark.parametrize(
    ("metrics", "line"),
    [
        ("deletoin", "--metrics: unknown metric 'deletoin'; did you mean 'deletion'?"),
        ("iou,deletion,iou", "--metrics: the same name twice in iou, deletion, iou"),
        ("deletion,iou", "--metrics: iou needs outlines; give --annotations"),
        ("sufficiency", "--metrics: sufficiency is of all pictures at once, not of batches; see xr.evaluate"),
        ("deletion+steps=x", "--metrics: value of steps of deletion must be a whole number; got 'x'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_read(evaluate, weights, capsys, metrics, line):
    assert evaluate("metrics", "--metrics", metrics, runs=["gone"], annotations=None) == 2
    assert capsys.readouterr().err.startswith(f"xrcam evaluate: error: {line}")


def test_the_list_has_all_metrics(capsys):
    assert main(["evaluate", "metrics", "--list"]) == 0
    shown = capsys.readouterr().out
    for name, metric in xr.METRICS.items():
        (line,) = (line for line in shown.splitlines() if line.startswith(f"  {name} "))
        assert line.split(maxsplit=1)[1] == f"{metric.title}: {metric.summary}"
    *families, signs = (line for line in shown.splitlines() if not line.startswith(" "))
    assert signs.startswith("N is a whole number, X a number")
    assert families == list(dict.fromkeys(metric.family for metric in xr.METRICS.values()))
    assert "  +steps=N\n" in shown
