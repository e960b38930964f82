"""Scores with salient pixels hidden, alone or in order are those of pictures that are changed one by one."""

import csv
import json

import jax
import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from tests.studies.conftest import MEAN, SIDE, STD
from xrcam_jax.explain.functional import as_function
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.studies.confidence import with_hidden

OPTIONS = ("--methods", "grad_cam", "--layers", "layer4", "--batch-size", 2, "--limit", 4)
STEPS = 2


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def probabilities(weights):
    """Returns two functions of pictures and labels: softmax scores, two pictures at a time, and the maps at layer 4."""
    # A head that does not saturate: hidden pixels have to show in the probability.
    model = xr.load_model("tiny", weights("unsure", seed=3, scale=0.1) / "best.safetensors")
    function, parameters = as_function(model)
    forward = jax.jit(function)
    explain = xr.Explainer(model, "grad_cam", "layer4")

    def score(images, labels):
        pairs = zip(images[::2], images[1::2], strict=True)
        logits = np.concatenate([np.asarray(forward(np.stack(pair).astype(np.float32), parameters)) for pair in pairs])
        shares = np.exp(logits.astype(np.float64))
        return (shares / shares.sum(1, keepdims=True))[np.arange(len(labels)), labels]

    def maps(images, labels):
        parts = [explain(images[i : i + 2], targets=labels[i : i + 2]) for i in (0, 2)]
        return np.concatenate([np.asarray(e.maps["grad_cam"]["layer4"]) for e in parts]).astype(np.float64)

    return score, maps


def test_every_figure(drawn, evaluate, weights, probabilities, tmp_path):
    run, (score, maps_of) = weights("unsure", seed=3, scale=0.1), probabilities
    assert evaluate("confidence", *OPTIONS, "--steps", STEPS, runs=[run]) == 0
    found = rows(tmp_path / "confidence" / "images.csv")
    files = [row["file"] for row in found]
    assert files == [list(drawn.frames)[i] for i in (0, 2, 5, 8)]
    images = drawn.images(files).astype(np.float64)
    labels = np.array([("ill", "well").index(row["class"]) for row in found])
    assert set(labels) == {0, 1}
    maps = maps_of(images.astype(np.float32), labels)
    intact = score(images, labels)
    expected = {"score": intact}
    for suffix, shown in (("", maps), ("_mask", np.stack([one > one.mean() + one.std() for one in maps]))):
        # The mean intensity is 0 in a normalised picture.
        hidden, kept = score(images * (1 - shown[..., None]), labels), score(images * shown[..., None], labels)
        expected[f"drop{suffix}"] = (intact - hidden) / intact
        expected[f"absolute_drop{suffix}"] = intact - hidden
        expected[f"average_drop{suffix}"] = np.maximum(0, intact - kept) / intact
        expected[f"increase{suffix}"] = kept > intact
    half = images.copy()
    for picture, one in zip(half, maps, strict=True):
        order = sorted(np.ndindex(one.shape), key=lambda place, one=one: (-one[place], place))
        for place in order[: one.size // 2]:
            picture[place] = 0
    deleted, empty = score(half, labels), score(np.zeros_like(images), labels)
    expected["deletion"] = (intact + 2 * deleted + empty) / 4
    expected["insertion"] = (empty + 2 * score(images - half, labels) + intact) / 4
    assert set(found[0]) - set(expected) == {"file", "patient", "class", "network", "predicted", "method", "column"}
    for name, values in expected.items():
        np.testing.assert_allclose([float(row[name]) for row in found], values, rtol=1e-3, atol=1e-4, err_msg=name)
        if name == "score":
            continue
        (row,) = rows(tmp_path / "confidence" / f"{name}.csv")
        assert float(row["layer4"]) == pytest.approx(100 * np.mean(values), rel=1e-3, abs=0.01)
    (picture,) = json.loads((tmp_path / "confidence" / "contents.json").read_text())["pictures"]
    assert "Grad-CAM at layer 4" in picture["caption"]
    with Image.open(tmp_path / "confidence" / picture["file"]) as sheet:
        assert np.ptp(np.asarray(sheet)) == 255
    # Else much of this would hold of any map.
    assert np.ptp(expected["drop"]) > 0.01
    assert np.ptp(expected["deletion"] - expected["insertion"]) > 0.01


def test_what_is_left_of_a_frame(drawn):
    """A share of each pixel is replaced by the mean intensity, which is that of the normalisation."""
    (file,) = drawn.annotated[:1]
    random = np.random.default_rng(0)
    for saliency in (random.random((1, SIDE, SIDE)).astype(np.float32), random.random((1, SIDE, SIDE)) > 0.5):
        config = Preprocessing((MEAN,) * 3, (STD,) * 3, (SIDE, SIDE), 1.0, "area")
        found = with_hidden(drawn.images([file]), saliency, config)
        left = drawn.pictures[file] * (1.0 - saliency) + 255 * MEAN * saliency
        np.testing.assert_allclose(found, left, atol=0.51)


def test_without_curves(evaluate, weights, tmp_path):
    assert evaluate("confidence", *OPTIONS, "--steps", 0, runs=[weights("unsure", seed=3, scale=0.1)]) == 0
    assert not list((tmp_path / "confidence").glob("deletion*"))
    assert "insertion" not in rows(tmp_path / "confidence" / "images.csv")[0]
    assert (tmp_path / "confidence" / "increase_mask.csv").exists()


def test_scores_near_zero_have_no_relative_drop(evaluate, weights, tmp_path):
    """The floor lies between the scores of the frames, so that some count and some do not."""
    run = weights("unsure", seed=3, scale=0.1)
    assert evaluate("confidence", *OPTIONS, "--steps", 0, "--out", tmp_path / "all", "--floor", 0, runs=[run]) == 0
    found = rows(tmp_path / "all" / "confidence" / "images.csv")
    scores = sorted(float(row["score"]) for row in found)
    floor = (scores[1] + scores[2]) / 2
    assert evaluate("confidence", *OPTIONS, "--steps", 0, "--floor", floor, runs=[run]) == 0
    counted = [row for row in found if float(row["score"]) >= floor]
    assert len(counted) == 2
    for name, some in (("drop", counted), ("drop_mask", counted), ("absolute_drop", found), ("increase", found)):
        (row,) = rows(tmp_path / "confidence" / f"{name}.csv")
        assert float(row["layer4"]) == pytest.approx(100 * np.mean([float(each[name]) for each in some]), rel=1e-5)
    text = json.loads((tmp_path / "confidence" / "contents.json").read_text())["text"]
    assert f"score is {floor:g} or more; below it and left out of them: tiny 2." in text


@pytest.mark.parametrize("floor", ["-0.1", "nan", "inf"])
def test_a_floor_that_is_no_score(evaluate, weights, capsys, floor):
    assert evaluate("confidence", "--floor", floor, runs=[weights("unsure", seed=3, scale=0.1)]) == 2
    expected = f"--floor: expected a score of 0 or more, got {float(floor)}"
    assert capsys.readouterr().err == f"xrcam evaluate: error: {expected}\n"


def test_steps_below_zero(evaluate, weights, capsys):
    assert evaluate("confidence", "--steps", -1, runs=[weights("unsure", seed=3, scale=0.1)]) == 2
    assert capsys.readouterr().err == "xrcam evaluate: error: --steps: -1 is less than 0\n"
