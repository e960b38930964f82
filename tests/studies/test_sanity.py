"""Where a method cannot see weights that are drawn anew, its maps stay as they are."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from xrcam_jax.cli import main
from xrcam_jax.studies.sanity import alike, variants

CASCADING = ("fc", "layer4 down from fc", "layer3 down from fc", "layer2 down from fc", "layer1 down from fc")
ALONE = ("layer4 alone", "layer3 alone", "layer2 alone", "layer1 alone")
OPTIONS = ("--methods", "eigen_cam,grad_cam", "--batch-size", 2, "--limit", 2)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_variants():
    found = variants()
    assert tuple(found) == (*CASCADING, *ALONE)
    assert found["layer3 down from fc"] == ("fc", "layer4", "layer3")
    assert found["fc"] == ("fc",)
    assert found["layer2 alone"] == ("layer2",)


def randomised(parameters, parts, key, *, draw):
    """Stands in for the real one, which is tested elsewhere, and whose draws compile for longer than all else."""
    assert draw == "normal"

    def drawn(path, value):
        names = [str(getattr(entry, "key", getattr(entry, "name", entry))) for entry in path]
        if names[0] not in parts or "kernel" not in names:
            return value
        return np.random.default_rng(value.size).standard_normal(value.shape).astype(value.dtype)

    return jax.tree_util.tree_map_with_path(drawn, parameters)


@pytest.fixture(scope="module")
def results(drawn, weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    arguments = ("--data", drawn.folder, "--weights", weights("plain"), "--out", out, "--part", "all", *OPTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xrcam_jax.studies.sanity.randomised", randomised)
        assert main(["evaluate", "sanity", *map(str, arguments)]) == 0
    # Double precision is for this experiment only.
    assert jnp.zeros(()).dtype == np.float32
    return out / "sanity"


def test_maps_depend_on_what_is_below_only(results):
    """Eigen-CAM at layer 3 is made of its activations: of the layers above it shows nothing, of the others much."""
    found = rows(results / "images.csv")
    assert {row["column"] for row in found} == {f"layer3 {name}" for name in (*CASCADING, *ALONE)}
    assert len({row["file"] for row in found}) == 2
    above = {f"layer3 {name}" for name in ("fc", "layer4 down from fc", "layer4 alone")}
    for row in found:
        values = [float(row[name]) for name in ("ssim", "rank", "rank_abs", "hog")]
        assert np.isfinite(values).all()
        assert max(np.abs(values)) <= 1 + 1e-6
        if row["method"] == "eigen_cam" and row["column"] in above:
            assert values == pytest.approx([1] * 4, abs=1e-5)
        else:
            assert values[0] < 0.999


def test_tables_are_means(results):
    found = rows(results / "images.csv")
    for name in ("ssim", "rank", "rank_abs", "hog"):
        for row in rows(results / f"{name}.csv"):
            assert row["layer"] == "layer3"
            for column in (*CASCADING, *ALONE):
                each = [
                    float(one[name])
                    for one in found
                    if (one["method"], one["column"]) == (row["method"], f"layer3 {column}")
                ]
                assert float(row[column]) == pytest.approx(np.mean(each), abs=1e-6)
    assert "**" not in (results / "ssim.md").read_text().split("\n", 2)[2]


def test_the_sheet(results):
    """It has a row for each class, with the frame, the trained network's map and those of all variants."""
    with Image.open(results / "randomised_tiny.jpg") as sheet:
        width, height = sheet.size
    assert width > 11 * 150
    assert 2 * 150 < height < width / 2


def test_alike_compares_with_the_trained_network():
    """Absolute ranks are of what is signed, the other similarities of the maps."""
    random = np.random.default_rng(0)
    found = {
        f"{kind}/m/l {name}": random.random((2, 40, 40)) - (0.5 if kind == "signed" else 0)
        for kind in ("map", "signed")
        for name in ("trained", *variants())
    }
    result = alike(found, ("m",), ("l",))
    assert len(result) == 4 * 9
    for i, name in enumerate(variants()):
        for b in range(2):
            maps = [found[f"map/m/l {column}"][b].ravel() for column in ("trained", name)]
            signed = [np.abs(found[f"signed/m/l {column}"][b]).ravel() for column in ("trained", name)]
            assert result[f"rank/m/l {name}"][b] == pytest.approx(spearmanr(*maps).statistic, abs=1e-6), i
            assert result[f"rank_abs/m/l {name}"][b] == pytest.approx(spearmanr(*signed).statistic, abs=1e-6)
