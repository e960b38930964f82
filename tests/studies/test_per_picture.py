"""A row of figures for each picture, in a table that any program may open."""

import csv
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np

from xrcam_jax.studies.per_picture import IMAGES, write_figures
from xrcam_jax.studies.study import Study


def test_names_are_harmless_to_spreadsheets_and_terminals(tmp_path):
    frame = SimpleNamespace(file="frames/\x1b[2J.png", patient="@SUM(1)", label="=1+1")
    study = Mock(
        spec=Study, folder=tmp_path, frames=[frame], methods=(), prepared=SimpleNamespace(classes=["=1+1", "well"])
    )
    write_figures(study, {"-run": {"logits": np.array([[2.0, 1.0]]), "iou/grad_cam/layer1": np.array([-0.5])}})
    with (tmp_path / IMAGES).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["patient"], row["class"]) == ("frames/\\x1b[2J.png", "'@SUM(1)", "'=1+1")
    assert (row["network"], row["predicted"], row["iou"]) == ("'-run", "'=1+1", "-0.5")


def test_figures_methods_and_layers_may_have_slashes_in_their_names(tmp_path):
    frame = SimpleNamespace(file="a.png", patient="p", label="ill")
    methods, classes = ("grad_cam", "mean+at=layer4/0"), SimpleNamespace(classes=["ill", "well"])
    study = Mock(spec=Study, folder=tmp_path, frames=[frame], methods=methods, prepared=classes)
    names = [f"{figure}/{method}/layer4/1" for figure in ("mprt+parts=layer4/0:fc", "iou") for method in methods]
    values = {name: np.array([float(i)]) for i, name in enumerate(names)}
    write_figures(study, {"run": {"logits": np.array([[2.0, 1.0]]), **values}})
    with (tmp_path / IMAGES).open(newline="") as file:
        first, second = csv.DictReader(file)
    assert [(row["method"], row["column"]) for row in (first, second)] == [(method, "layer4/1") for method in methods]
    assert [row["mprt+parts=layer4/0:fc"] for row in (first, second)] == ["0", "1"]
    assert [row["iou"] for row in (first, second)] == ["2", "3"]
