"""``xrcam evaluate metrics`` gives the figures of ``xr.evaluate``, picture by picture, and counts what is undefined."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.cli import main
from xrcam_jax.evaluation.metrics import USUAL
from xrcam_jax.report.read import read_experiments
from xrcam_jax.studies.metrics import usual

METRICS = ("deletion+steps=2", "pointing_game", "mass_accuracy")
OPTIONS = ("--methods", "grad_cam,layer_cam", "--layers", "layer3,layer4", "--batch-size", 2, "--limit", 4)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_figure(drawn, evaluate, weights, tmp_path):
    run = weights("unsure", seed=3, scale=0.1)
    assert evaluate("metrics", *OPTIONS, "--metrics", ",".join(METRICS), runs=[run]) == 0
    found = rows(tmp_path / "metrics" / "images.csv")
    files = [list(drawn.frames)[i] for i in (0, 2, 5, 8)]
    assert [row["file"] for row in found[: len(files)]] == files
    masks = np.stack([drawn.masks[file] for file in files])
    assert masks.any((1, 2)).tolist() == [True, True, True, False]
    labels = [("ill", "well").index(drawn.frames[file].label) for file in files]
    explainer = xr.Explainer(
        xr.load_model("tiny", run / "best.safetensors"), ["grad_cam", "layer_cam"], ["layer3", "layer4"]
    )
    wanted = xr.evaluate(
        explainer(drawn.images(files), targets=labels), METRICS, masks=masks, explainer=explainer, aggregate="mean"
    )
    assert len(found) == 2 * 3 * len(files)
    for row in found:
        layer = "aggregate" if row["column"] == "layer4+3" else row["column"]
        for name in METRICS:
            value = wanted[name, row["method"], layer][files.index(row["file"])]
            np.testing.assert_allclose(float(row[name]), value, rtol=1e-3, atol=1e-4, err_msg=name)
    folder = tmp_path / "metrics"
    for name in METRICS:
        table = {row["method"]: row for row in rows(folder / f"{name}.csv")}
        for method in ("grad_cam", "layer_cam"):
            values = wanted[name, method, "layer4"]
            assert float(table[method]["layer4"]) == pytest.approx(np.nanmean(values), rel=1e-3, abs=1e-4)
    contents = json.loads((folder / "contents.json").read_text())
    assert "left out of it: Pointing game 1, Relevance mass accuracy 1." in contents["text"]
    assert [table["best"] for table in contents["tables"]] == [None, "min", "max", "max", "max"]
    with Image.open(folder / contents["pictures"][0]["file"]) as plot:
        assert np.ptp(np.asarray(plot)) == 255
    (experiment,) = read_experiments(tmp_path)
    overview = experiment.tables[0]
    assert overview.columns == ("Deletion, steps=2", "Pointing game", "Relevance mass accuracy")
    figure = {row.labels[0]: row.figures[0].value for row in overview.rows}["grad_cam"]
    assert figure == pytest.approx(wanted[METRICS[0], "grad_cam", "aggregate"].mean(), rel=1e-3)


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
    families = [line for line in shown.splitlines() if not line.startswith(" ")]
    assert families == list(dict.fromkeys(metric.family for metric in xr.METRICS.values()))
    assert "  +steps=N\n" in shown
