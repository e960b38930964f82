"""Which path of a Selective Kernel counted for how much is what its units say when they are asked themselves."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from xrcam_jax.models.selective_kernel import Attention
from xrcam_jax.studies.scales import stage_maps

UNITS, PATHS = tuple(f"layer{i}.0.conv1" for i in (1, 2, 3, 4)), ("3x3", "dilated")


@pytest.fixture
def run(weights):
    return weights("scales", name="sktiny", seed=2)


@pytest.fixture
def by_hand(drawn, run, monkeypatch):
    """Returns the outputs of both paths and their attention for all frames, of each unit in turn."""
    model, seen = xr.load_model("sktiny", run / "best.safetensors"), []
    attend = Attention.__call__

    def recorded(self, paths):
        seen.append((paths, attend(self, paths)))
        return seen[-1][1]

    @jax.jit
    def forward(images):
        seen.clear()
        model(images)
        return list(seen)

    monkeypatch.setattr(Attention, "__call__", recorded)
    found = forward(drawn.images(list(drawn.frames)))
    monkeypatch.undo()
    return [[np.asarray(each, np.float64) for each in pair] for pair in found]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_figure(evaluate, drawn, run, by_hand, tmp_path):
    assert evaluate("scales", "--batch-size", 1, "--shown", 1, runs=[run]) == 0
    folder = tmp_path / "scales"
    found = {(row["file"], row["unit"], row["path"]): row for row in rows(folder / "images.csv")}
    assert len(found) == len(drawn.frames) * len(UNITS) * len(PATHS)
    labels = np.array([frame.label for frame in drawn.frames.values()])
    assert len(by_hand) == len(UNITS)
    for unit, (paths, gate) in zip(UNITS, by_hand, strict=True):
        assert gate.shape[1:4] == (1, 1, 2)
        output = (paths * gate).sum((1, 2, 4))
        for i, path in enumerate(PATHS):
            expected = {"attention": gate[:, 0, 0, i].mean(-1), "output": output[:, i] / output.sum(-1)}
            for figure, values in expected.items():
                of_frames = [float(found[file, unit, path][figure]) for file in drawn.frames]
                np.testing.assert_allclose(of_frames, values, rtol=1e-4)
                (row,) = (r for r in rows(folder / f"{figure}.csv") if (r["unit"], r["path"]) == (unit, path))
                for name, chosen in (
                    ("ill", labels == "ill"),
                    ("well", labels == "well"),
                    ("all frames", labels != ""),
                ):
                    assert float(row[name]) == pytest.approx(100 * values[chosen].mean(), rel=1e-4)
                    assert float(row[f"{name} low"]) <= float(row[name]) <= float(row[f"{name} high"])
    contents = json.loads((folder / "contents.json").read_text())
    (picture,) = contents["pictures"]
    with Image.open(folder / picture["file"]) as sheet:
        assert np.ptp(np.asarray(sheet)) == 255


def test_maps_of_a_stage_are_the_mean_of_its_units():
    shares = {"layer1/0/conv1": jnp.zeros((1, 1, 2)), "layer1/1/conv1": jnp.array([[[0.0, 1.0]]])}
    maps = stage_maps({**shares, "layer2/0/conv1": jnp.full((1, 1, 1), 0.75)}, (1, 4))
    assert {stage: each.ravel().tolist() for stage, each in maps.items()} == {
        "layer1": [0, 0.125, 0.375, 0.5],
        "layer2": [0.75] * 4,
    }


def test_a_network_without_selective_kernels(evaluate, weights, capsys):
    run = weights("unsure", seed=3, scale=0.1)
    assert evaluate("scales", runs=[run]) == 2
    expected = "which has no Selective Kernel; expected a network such as skresnext50_32x4d\n"
    assert capsys.readouterr().err == f"xrcam evaluate: error: --weights: {run}/best.safetensors is of tiny, {expected}"


def test_no_methods_can_be_chosen(evaluate, run, capsys):
    assert evaluate("scales", "--methods", "grad_cam", runs=[run]) == 2
    assert "--methods" in capsys.readouterr().err
