"""The correlations of two classes' maps are SciPy's, of maps that are made for one class at a time."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats

import xrcam_jax as xr
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.metrics.uncertainty import Estimate
from xrcam_jax.runtime.devices import data_mesh, lay
from xrcam_jax.studies.classes import correlations, warning

METHODS, LAYERS, BATCH = ("grad_cam",), ("layer3", "layer4"), 1
COLUMNS = (*LAYERS, "layer4+3")
OPTIONS = ("--methods", ",".join(METHODS), "--layers", ",".join(LAYERS), "--batch-size", BATCH)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def correlation(measure, a, b):
    """Returns SciPy's correlation; NaN where a map is constant."""
    return np.nan if np.ptp(a) == 0 or np.ptp(b) == 0 else measure(a.ravel(), b.ravel()).statistic


@pytest.fixture
def by_hand(drawn, weights):
    """Returns the maps and the signed sums of both classes of all frames, by method and column."""
    explain = xr.Explainer(
        xr.load_model("tiny", weights("empty", seed=16, scale=0.1) / "best.safetensors"), METHODS, LAYERS
    )
    # Laid on the device as the study does it, so that nothing is compiled again.
    mesh = data_mesh(jax.local_devices()[:1])
    found = [explain(lay(mesh, drawn.images([file])), top_k=2) for file in drawn.frames]

    def together(values):
        return np.concatenate([np.asarray(v, np.float64) for v in values])

    maps = {(m, x): together(e.maps[m][x] for e in found) for m in METHODS for x in LAYERS}
    maps |= {(m, COLUMNS[-1]): together(e.aggregate(m) for e in found) for m in METHODS}
    return maps, {(m, x): together(e.raw[m][x] for e in found) for m in METHODS for x in LAYERS}


@pytest.mark.long
def test_every_correlation(evaluate, drawn, weights, by_hand, tmp_path, capsys):
    assert evaluate("classes", *OPTIONS, "--warn", 0.4, runs=[weights("empty", seed=16, scale=0.1)]) == 0
    shown, folder = capsys.readouterr().out, tmp_path / "classes"
    found = {(row["file"], row["method"], row["column"]): row for row in rows(folder / "images.csv")}
    assert len(found) == len(drawn.frames) * len(METHODS) * len(COLUMNS)
    maps, signed = by_hand
    levels = {place: np.rint(255 * values) for place, values in maps.items()}
    expected = {}
    for name, measure, shown_as in (
        ("pearson", stats.pearsonr, maps),
        ("spearman", stats.spearmanr, levels),
        ("signed_pearson", stats.pearsonr, signed),
        ("signed_spearman", stats.spearmanr, signed),
    ):
        for place, pairs in shown_as.items():
            expected[name, place] = np.array([correlation(measure, a, b) for a, b in pairs])
    for (name, place), values in expected.items():
        of_frames = [float(found[file, *place][name]) for file in drawn.frames]
        np.testing.assert_allclose(of_frames, values, atol=1e-3, err_msg=f"{name} {place}")
        (row,) = [row for row in rows(folder / f"{name}.csv") if row["method"] == place[0]]
        assert float(row[place[1]]) == pytest.approx(np.nanmean(values), abs=1e-3)
    # Else it would not show what is made of maps without a correlation, and of those on either side of the threshold.
    whole = {place: expected["pearson", place] for place in maps}
    assert any(0 < np.isnan(values).mean() < 1 for values in whole.values())
    for place, values in whole.items():
        (above, constant) = (
            next(float(row[place[1]]) for row in rows(folder / f"{name}.csv") if row["method"] == place[0])
            for name in ("above", "constant")
        )
        assert above == pytest.approx(100 * np.mean(values[~np.isnan(values)] > 0.4), abs=1e-9)
        assert constant == pytest.approx(100 * np.isnan(values).mean(), abs=1e-9)
        warned = f"{place[1]} ({np.nanmean(values):.2f})" in shown
        assert warned == (np.nanmean(values) > 0.4)
    assert 0 < sum(np.nanmean(values) > 0.4 for values in whole.values()) < len(whole)
    contents = json.loads((folder / "contents.json").read_text())
    assert "\n\nWarning: the maps of the two classes are nearly the same" in contents["text"]
    (picture,) = contents["pictures"]
    with Image.open(folder / picture["file"]) as sheet:
        assert np.ptp(np.asarray(sheet)) == 255
    # What is measured does not depend on the threshold: the same results are read again.
    assert evaluate("classes", *OPTIONS, "--warn", 1, runs=[weights("empty", seed=16, scale=0.1)]) == 0
    assert "Warning" not in capsys.readouterr().out


def test_opposite_equal_and_empty_maps():
    """Of signed sums x and -x, x and x, and x and something below zero, whose map is empty."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 4, 4)), jnp.float32)
    raw = jnp.stack([x, jnp.stack([-x[0], x[1], -jnp.exp(x[2])])], axis=1)
    maps = {"grad_cam": {"layer4": jnp.zeros((3, 2, 8, 8))}}
    e = Explanation(jnp.zeros((3, 2)), jnp.zeros((3, 2), int), maps, {"grad_cam": {"layer4": raw}})
    found = correlations(e)
    for name in ("signed_pearson", "signed_spearman"):
        np.testing.assert_allclose(found[f"{name}/grad_cam/layer4"][:2], [-1, 1], atol=1e-6)
        assert -1 <= found[f"{name}/grad_cam/layer4"][2] < 0
    for name in ("pearson", "spearman"):
        opposite, equal, empty = found[f"{name}/grad_cam/layer4"]
        assert opposite < 0
        assert equal == pytest.approx(1, abs=1e-6)
        assert np.isnan(empty)


def test_what_is_warned_of():
    means = {("a", "net"): [Estimate(0.9), Estimate(0.8)], ("b", "net"): [Estimate(float("nan")), Estimate(0.95)]}
    text = warning(means, ["layer3", "layer4"], 0.8)
    assert text.endswith("above 0.8 for a of net at layer3 (0.90); b of net at layer4 (0.95).")
    assert warning(means, ["layer3", "layer4"], 0.95) == ""


@pytest.mark.parametrize("warn", [-0.1, 1.5])
def test_a_threshold_that_is_no_correlation(evaluate, weights, capsys, warn):
    assert evaluate("classes", "--warn", warn, runs=[weights("empty", seed=16, scale=0.1)]) == 2
    assert capsys.readouterr().err == f"xrcam evaluate: error: --warn: {warn} is not between 0 and 1\n"
