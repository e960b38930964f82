"""The mean of several networks' maps is NumPy's, and so is how they vary."""

import csv
from copy import copy
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.cli import main
from xrcam_jax.errors import CommandError
from xrcam_jax.studies.ensemble import as_wanted, check_places, mean_probability

RUNS = {"plain": 1, "second": 5, "third": 6}
LAYERS = ("layer3", "layer4")
OPTIONS = ("--methods", "grad_cam", "--layers", ",".join(LAYERS), "--batch-size", 2)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def runs(weights):
    return [weights(run, seed=seed) for run, seed in RUNS.items()]


@pytest.fixture(scope="module")
def results(drawn, runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    arguments = ["--data", drawn.folder, "--annotations", drawn.annotations, "--weights", *runs]
    arguments += ["--part", "all", "--out", out, *OPTIONS]
    assert main(["evaluate", "ensemble", *map(str, arguments)]) == 0
    return out / "ensemble"


@pytest.fixture(scope="module")
def explained(drawn, runs):
    """Returns what each network says of each annotated frame: the probabilities, and the map at layer 4."""
    images, found = drawn.images(drawn.annotated), []
    for run in runs:
        explain = xr.Explainer(xr.load_model("tiny", run / "best.safetensors"), "grad_cam", "layer4")
        e = explain(images, targets=np.zeros(len(images), np.int32))
        logits = np.asarray(e.logits, np.float64)
        shares = np.exp(logits - logits.max(1, keepdims=True))
        found.append((shares / shares.sum(1, keepdims=True), np.asarray(e.maps["grad_cam"]["layer4"], np.float64)))
    return found


def test_the_mean_map_is_measured_and_so_is_each(drawn, results, explained):
    found = {(row["file"], row["column"]): row for row in rows(results / "images.csv")}
    maps = np.stack([each for _, each in explained])
    columns = {"layer4": maps.mean(0)} | {f"layer4 of network {i + 1}": each for i, each in enumerate(maps)}
    for column, each in columns.items():
        for file, one in zip(drawn.annotated, each, strict=True):
            mask, truth = one > one.mean() + one.std(), drawn.masks[file]
            counts = [int(found[file, column][name]) for name in ("both", "found", "truth")]
            # But for a pixel or two at the threshold.
            np.testing.assert_allclose(counts, [(mask & truth).sum(), mask.sum(), truth.sum()], atol=2)


def test_maps_vary_by_deviation_over_mean_where_their_mean_stands_out(drawn, results, explained):
    found = {row["file"]: float(row["variation"]) for row in rows(results / "images.csv") if row["column"] == "layer4"}
    maps = np.stack([each for _, each in explained])
    mean, deviation = maps.mean(0), maps.std(0, ddof=1)
    for file, m, s in zip(drawn.annotated, mean, deviation, strict=True):
        region = m > m.mean() + m.std()
        assert found[file] == pytest.approx((s[region] / m[region]).mean(), rel=2e-2)


def test_networks_decide_by_the_mean_of_their_probabilities(drawn, results, explained):
    shares = np.mean([share for share, _ in explained], axis=0)
    expected = {file: ("ill", "well")[i] for file, i in zip(drawn.annotated, shares.argmax(1), strict=True)}
    assert {row["file"]: row["predicted"] for row in rows(results / "images.csv")} == expected


def test_halves(results):
    """In each column, no frame of the half that varies less varies more than one of the other half."""
    for column in (*LAYERS, "layer4+3"):
        of = [row for row in rows(results / "images.csv") if row["column"] == column]
        right = [row for row in of if row["predicted"] == "ill"]
        less, more = ([float(row["variation"]) for row in right if row["half"] == half] for half in "12")
        assert len(right) > 1
        assert len(less) == len(right) // 2
        assert len(more) == len(right) - len(less)
        assert max(less) <= min(more)
        assert all(row["half"] == "0" for row in of if row["predicted"] != "ill")


def test_tables(results):
    def pooled(some):
        both, found, truth = (sum(int(row[name]) for row in some) for name in ("both", "found", "truth"))
        return 100 * both / (found + truth - both)

    right = [row for row in rows(results / "images.csv") if row["predicted"] == "ill"]
    columns = {name: [row for row in right if row["column"] == name] for name in {row["column"] for row in right}}
    (together,) = rows(results / "together.csv")
    assert float(together["layer4"]) == pytest.approx(pooled(columns["layer4"]))
    (alone,) = rows(results / "alone.csv")
    each = [pooled(columns[f"layer4 of network {i}"]) for i in (1, 2, 3)]
    figures = [float(alone[f"layer4{end}"]) for end in ("", " low", " high")]
    assert figures == pytest.approx([np.mean(each), min(each), max(each)])
    # Each half has the rows of the mean map that are in it.
    of_mean = columns["layer3"]
    for row, half in zip(rows(results / "halves.csv"), "12", strict=True):
        assert float(row["layer3"]) == pytest.approx(pooled([each for each in of_mean if each["half"] == half]))


def test_networks_are_shown_pictures_as_they_want_them(drawn, weights):
    """Networks of a cross-validation have a mean and a deviation each."""
    first = xr.load_model("tiny", weights("plain") / "best.safetensors")
    second = copy(first)
    second.preprocessing = replace(first.preprocessing, mean=(0.25,) * 3, std=(0.5,) * 3)
    images = jnp.asarray(drawn.images(drawn.annotated[:1]))
    wanted = (images * np.float32(0.25) + np.float32(0.5) - np.float32(0.25)) / np.float32(0.5)
    np.testing.assert_allclose(as_wanted(images, first, second), wanted, atol=1e-6)
    assert as_wanted(images, first, first) is images


def test_wrong_networks(evaluate, weights, capsys):
    assert evaluate("ensemble", *OPTIONS, runs=[weights("plain", seed=1)]) == 2
    assert "two networks or more; found 1" in capsys.readouterr().err
    assert evaluate("ensemble", "--folds", *OPTIONS, runs=[weights("plain", seed=1)]) == 2
    assert "--folds: each network" in capsys.readouterr().err


def test_one_output_for_both_classes_counts_as_much_as_one_for_each():
    """Of one output z, the probabilities are 1 - s and s, with the sigmoid s of z."""
    one, two = np.array([[1.0], [-2.0]], np.float32), np.array([[0.5, 0.25], [1.0, 3.0]], np.float32)
    s, shares = 1 / (1 + np.exp(-one)), np.exp(two) / np.exp(two).sum(1, keepdims=True)
    found = mean_probability([jnp.asarray(one), jnp.asarray(two)])
    np.testing.assert_allclose(np.exp(found), (np.concatenate([1 - s, s], 1) + shares) / 2, rtol=1e-5)


def test_maps_that_one_network_alone_has_are_refused_by_name():
    places = {"first": ["grad_cam/layer3", "grad_cam/layer4"], "second": ["grad_cam/layer3"]}
    with pytest.raises(CommandError, match="second has no maps grad_cam/layer4, and another network has"):
        check_places(places)
