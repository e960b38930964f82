"""A row of figures for each picture, in a table that any program may open."""

import csv
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np

from xrcam_jax.studies.per_picture import IMAGES, write_figures
from xrcam_jax.studies.study import Study


def test_names_are_harmless_to_spreadsheets_and_terminals(tmp_path):
    frame = SimpleNamespace(file="frames/\x1b[2J.png", patient="@SUM(1)", label="=1+1")
    study = Mock(spec=Study, folder=tmp_path, frames=[frame], prepared=SimpleNamespace(classes=["=1+1", "well"]))
    write_figures(study, {"-run": {"logits": np.array([[2.0, 1.0]]), "iou/grad_cam/layer1": np.array([-0.5])}})
    with (tmp_path / IMAGES).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["patient"], row["class"]) == ("frames/\\x1b[2J.png", "'@SUM(1)", "'=1+1")
    assert (row["network"], row["predicted"], row["iou"]) == ("'-run", "'=1+1", "-0.5")
