"""``xrcam explain`` with several passes: what is written is compared with one network at a time and with arithmetic."""

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from tests.commands.stand_ins import CONFIG
from tests.commands.test_overlay_video import decoded, panel
from tests.tiny_networks import PLAIN, tiny  # noqa: F401, a fixture
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.cli import main
from xrcam_jax.commands import risk
from xrcam_jax.commands.overlay_video import OverlayVideo
from xrcam_jax.commands.results import Result
from xrcam_jax.commands.risk import Risk
from xrcam_jax.figures.overlay import overlay
from xrcam_jax.figures.style import VARIATION, Style
from xrcam_jax.pictures.preprocessing import Box, Preprocessing, preprocess
from xrcam_jax.pictures.read import load_images, stream


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):  # noqa: F811
    """Two networks of one kind, a third of other classes and one that wants another cut; and a picture."""
    folder = tmp_path_factory.mktemp("passes")
    one, three = (xr.create_model(PLAIN, num_classes=classes) for classes in (2, 3))
    one.preprocessing = three.preprocessing = CONFIG
    save_timm(three, folder / "three.safetensors")
    save_timm(one, folder / "one.safetensors")
    kernel = one.conv1.conv.kernel[...]
    one.conv1.conv.kernel[...], one.fc.kernel[...] = kernel[::-1], one.fc.kernel[...] + 0.1
    one.preprocessing = replace(CONFIG, mean=(0.4, 0.5, 0.6), std=(0.3, 0.2, 0.1))
    save_timm(one, folder / "two.safetensors")
    one.preprocessing = replace(CONFIG, crop_pct=1.0)
    save_timm(one, folder / "other.safetensors")
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(cv2.GaussianBlur(noise, (0, 0), 4)).save(folder / "a.png")
    return folder


def explain(*arguments, weights="one.safetensors"):
    return main(["explain", "a.png", "--model", PLAIN, "--weights", weights, *map(str, arguments)])


def salient(mean):
    return mean > mean.mean() + mean.std()


@pytest.mark.long
def test_an_ensemble_is_its_networks_one_by_one(folder, monkeypatch, capsys):
    """Each is shown the pictures with its own mean and deviation, as the runs of a cross-validation want them."""
    monkeypatch.chdir(folder)
    layers, both = ("layer3", "layer4"), "one.safetensors,two.safetensors"
    assert explain("--method", "grad_cam", "--layers", ",".join(layers), "--out", "out", weights=both) == 0
    printed = capsys.readouterr().out
    models = [xr.load_model(PLAIN, f"{name}.safetensors") for name in ("one", "two")]
    images = [preprocess(load_images(["a.png"]), model.preprocessing) for model in models]
    assert np.abs(images[0] - images[1]).max() > 0.1
    first = xr.Explainer(models[0], "grad_cam", layers)(images[0])
    each = [first, xr.Explainer(models[1], "grad_cam", layers)(images[1], first.targets)]
    target = int(first.targets[0])
    with np.load("out/maps/a.npz") as found:
        for layer in (*layers, "aggregate"):
            maps = np.stack(
                [
                    np.asarray(e.aggregate("grad_cam") if layer == "aggregate" else e.maps["grad_cam"][layer])[0]
                    for e in each
                ]
            ).astype(np.float64)
            name = f"grad_cam/{layer}"
            mean, deviation = maps.mean(0), maps.std(0, ddof=1)
            np.testing.assert_allclose(found[name], mean, atol=1e-5)
            variation = np.divide(deviation, mean, out=np.zeros_like(mean), where=mean > 0)
            np.testing.assert_allclose(found[f"{name}/variation"], variation, atol=2e-3)
            np.testing.assert_allclose(found[f"{name}/low"], maps.min(0), atol=1e-5)
            np.testing.assert_allclose(found[f"{name}/high"], maps.max(0), atol=1e-5)
        inside = found["grad_cam/aggregate/variation"][salient(found["grad_cam/aggregate"])].mean()
        assert found["passes"] == 2
        np.testing.assert_allclose(found["logits"], first.logits[0], rtol=1e-4)
    logits = np.stack([np.asarray(e.logits[0], np.float64) for e in each])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    mean, deviation = shares.mean(0), shares.std(0, ddof=1)
    with open("out/summary.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["passes"] == "2"
    assert float(row["probability"]) == pytest.approx(mean[target], abs=1e-5)
    assert float(row["deviation"]) == pytest.approx(deviation[target], abs=1e-5)
    assert float(row["variation grad_cam"]) == pytest.approx(inside, abs=1e-5)
    likelier = "" if mean.argmax() == target else f", class {mean.argmax()} being likelier"
    assert f"over 2 passes {mean[target]:.3f} ± {deviation[target]:.3f}{likelier}\n" in printed
    drawn = [f"{name}/a.png" for name in ("risk", *(f"risk/grad_cam/{layer}" for layer in (*layers, "aggregate")))]
    assert all((folder / "out" / name).is_file() for name in drawn)


def test_dropout_is_switched_on_in_any_network(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert explain("--method", "gradient", "--passes", 2, "--dropout", 0.5, "--out", "thinned") == 0
    with np.load("thinned/maps/a.npz") as found:
        assert found["gradient/input/variation"].max() > 0.1
        assert found["deviation"].min() > 1e-4


VARIED = Style(colormap=VARIATION)
MEAN = np.zeros((8, 8))
MEAN[2:4, 2:6] = 1
HALF = np.full((8, 8), 0.5)


def risky():
    """A result whose mean stands out in a rectangle, and whose variation is a half everywhere."""
    maps = {"grad_cam": {"aggregate": HALF}}
    sure = Risk(10, maps, maps, maps, np.array([0.25, 0.75]), np.array([0.1, 0.2]))
    return Result(np.array([1.0, 0.0]), 0, {"grad_cam": {"aggregate": MEAN}}, sure)


def test_what_is_said_of_passes():
    result = risky()
    line = "predicted class 0, score 0.731; over 10 passes 0.250 ± 0.100, class 1 being likelier"
    assert result.describe(None) == line
    assert risk.columns(["grad_cam"]) == ["passes", "probability", "deviation", "variation grad_cam"]
    assert result.risk.cells(0, result.maps) == ["10", "0.250000", "0.100000", "0.500000"]


def test_the_variation_has_fixed_colours_and_the_region_an_outline():
    picture, box = np.full((40, 60, 3), 100, np.uint8), Box(-8, 10, 40, 58)
    drawn = risk.overlay(picture, MEAN, HALF, box)
    half = VARIED.colours(np.array([0.5]))[0]
    expected = np.full((40, 60, 3), 100.0)
    # As opaque as the variation is large, up to the style's opacity.
    share = 0.5 * VARIED.alpha
    expected[:, 10:58] = (1 - share) * 100 + share * half.astype(float)
    # Six pixels of the picture to one of the map, of which the first 8 rows lie above the picture.
    inside = np.zeros((40, 60), bool)
    inside[12 - 8 : 24 - 8, 22:46] = True
    deep = np.zeros_like(inside)
    deep[5:15, 23:45] = True
    expected[inside & ~deep] = (255, 214, 0)
    np.testing.assert_allclose(drawn, expected, atol=1)
    np.testing.assert_array_equal(drawn, risk.overlay(picture, MEAN, HALF, box))
    beyond = risk.overlay(picture, MEAN, 3 * HALF, box)
    np.testing.assert_array_equal(beyond[0, 59], picture[0, 59])
    last = VARIED.colours(np.ones(1))[0].astype(float)
    np.testing.assert_allclose(beyond[0, 10], (1 - VARIED.alpha) * 100 + VARIED.alpha * last, atol=1)


def test_the_video_shows_the_variation_beside_the_mean(tmp_path):
    source = tmp_path / "a.png"
    Image.fromarray(np.full((260, 300, 3), 100, np.uint8)).save(source)
    config, (picture,) = Preprocessing(input_size=(8, 8)), stream([source])
    with OverlayVideo(tmp_path / "out.mp4", config, None, 1) as video:
        assert video.write([(picture, risky())]) == 1
    (frame,), _ = decoded(tmp_path / "out.mp4")
    box, result = picture.seen(config), risky()
    drawn = (
        picture.pixels,
        overlay(picture.pixels, MEAN, box=box),
        risk.overlay(picture.pixels, MEAN, HALF, box),
    )
    for index, expected in enumerate(drawn):
        assert np.abs(panel(frame, index) - expected[4:-4, 4:-4]).mean() < 6, index
    assert result.risk is not None


WRONG = {
    "--passes 5": "--passes: say what passes differ by: --dropout 0.1, --noise 0.1, or several networks, "
    "--weights A,B,C",
    "--passes 1 --noise 0.1": "--passes: 1 is not in 2 to 100000",
    "--dropout 0.1 --noise 0.1": "--dropout, --noise: passes differ by one of these at a time",
    "--dropout 1": "--dropout: 1.0 is not between 0 and 1",
    "--noise nan": "--noise: nan is not in 0 to 1",
    "--noise 0.1 --weights one.safetensors,two.safetensors": "--noise, --weights: passes differ by one of these at a "
    "time",
    "--weights one.safetensors,one.safetensors": "--weights: a file is named twice in one.safetensors,one.safetensors",
    "--passes 3 --weights one.safetensors,two.safetensors": "--passes: 3, but --weights names 2 networks, a pass each",
    "--weights one.safetensors,gone.safetensors": "--weights: gone.safetensors: no such weights",
    "--weights one.safetensors,three.safetensors": "--weights: three.safetensors has not the layers and classes "
    "of one.safetensors, or wants pictures of another size or cut",
    "--weights one.safetensors,other.safetensors": "--weights: other.safetensors has not the layers and classes "
    "of one.safetensors, or wants pictures of another size or cut",
    "--dropout 0.1 --model net.onnx": "--dropout: an ONNX file has no dropout to switch on; give --noise",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_arguments(folder, monkeypatch, capsys, arguments):
    monkeypatch.chdir(folder)
    weights = () if "onnx" in arguments else ("--weights", "one.safetensors")
    assert main(["explain", "a.png", "--model", PLAIN, *weights, "--out", "wrong", *arguments.split()]) == 2
    assert capsys.readouterr().err == f"xrcam explain: error: {WRONG[arguments]}\n"
