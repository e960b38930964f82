"""The viewer's file is decoded and compared with the frames and with an Explainer's maps; and there are sheets."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from xrcam_jax.cli import main

METHODS, LAYERS, BATCH = ("grad_cam", "cam"), ("layer3", "layer4"), 2
#: CAM has no maps below the last layer, and so no aggregate.
AT = {"grad_cam": ["layer3", "layer4"], "cam": ["layer4"]}
COLUMNS = {"grad_cam": ["layer3", "layer4", "aggregate"], "cam": ["layer4"]}
OPTIONS = ("--methods", ",".join(METHODS), "--layers", ",".join(LAYERS), "--batch-size", BATCH, "--shown", 1)


@pytest.fixture(scope="module")
def run(weights):
    """Writes a network whose probabilities are not all 0 and 1."""
    return weights("unsure", seed=3, scale=0.1)


@pytest.fixture(scope="module")
def results(drawn, run, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    arguments = ["--data", drawn.folder, "--annotations", drawn.annotations, "--weights", run]
    assert main(["evaluate", "gallery", *map(str, (*arguments, "--out", out, "--part", "all", *OPTIONS))]) == 0
    return out / "gallery"


@pytest.fixture(scope="module")
def viewer(results):
    return json.loads((results / "viewer.json").read_text())


@pytest.fixture(scope="module")
def explained(drawn, run):
    """Returns by file the logits, the signed maps of each method and layer, and the saliency maps with aggregates."""
    explain = xr.Explainer(xr.load_model("tiny", run / "best.safetensors"), METHODS, LAYERS)
    files, found = list(drawn.frames), {}
    labels = {file: ("ill", "well").index(frame.label) for file, frame in drawn.frames.items()}
    for start in range(0, len(files), BATCH):
        some = (files[start : start + BATCH] * BATCH)[:BATCH]
        e = explain(drawn.images(some), targets=np.array([labels[file] for file in some]))
        together = {m: np.asarray(e.aggregate(m)) for m in METHODS}
        for i, file in enumerate(some):
            raws = {m: {x: np.asarray(e.raw[m][x][i]) for x in AT[m]} for m in METHODS}
            maps = {m: {x: np.asarray(e.maps[m][x][i]) for x in AT[m]} | {"aggregate": together[m][i]} for m in METHODS}
            found[file] = np.asarray(e.logits[i], np.float64), raws, maps
    return found


def test_the_variation_of_passes(drawn, run, tmp_path, results):
    """It is that of the maps in each pass, at the layer's size, and of the aggregate at that of the finest layer."""
    rate, passes = 0.5, 2
    arguments = ["--data", drawn.folder, "--weights", run, "--part", "all", "--limit", 2, "--batch-size", 2]
    arguments += ["--methods", "grad_cam", "--layers", ",".join(LAYERS), "--shown", 1, "--rate", rate]
    assert main(["evaluate", "gallery", *map(str, (*arguments, "--passes", passes, "--out", tmp_path))]) == 0
    frames = json.loads((tmp_path / "gallery" / "viewer.json").read_text())["frames"]
    explain = xr.Explainer(xr.load_model("tiny", run / "best.safetensors"), "grad_cam", LAYERS)
    by_name = {file.rpartition("/")[2]: file for file in drawn.frames}
    files = [by_name[frame["name"]] for frame in frames]
    labels = np.array([frame["label"] for frame in frames])
    repeat = xr.Repeated(explain, xr.Dropout(rate), passes)(drawn.images(files), labels)
    for i, frame in enumerate(frames):
        for layer, rows in (("layer3", 3), ("layer4", 2), ("aggregate", 3)):
            packed = frame["variation"]["grad_cam"][layer]
            assert (packed["rows"], packed["columns"]) == (rows, rows)
            found = np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(rows, rows)
            spread = repeat.maps["grad_cam"][layer]
            mean, deviation = (np.asarray(a[i], np.float64) for a in (spread.mean, spread.deviation))
            variation = np.divide(deviation, mean, out=np.zeros_like(mean), where=mean > 0)
            small = Image.fromarray(np.minimum(variation, 1).astype(np.float32)).resize((rows, rows), Image.BILINEAR)
            np.testing.assert_allclose(found, 255 * np.asarray(small), atol=1.5)
    assert "2 passes with dropout of 0.5" in (tmp_path / "gallery" / "contents.json").read_text()
    assert "variation" not in json.loads((results / "viewer.json").read_text())["frames"][0]


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [("--passes", 1, "--passes: 1 is less than 2"), ("--rate", 1, "--rate: 1.0 is not between 0 and 1")],
)
def test_wrong_passes(evaluate, run, capsys, option, value, line):
    assert evaluate("gallery", option, value, runs=[run]) == 2
    assert capsys.readouterr().err == f"xrcam evaluate: error: {line}\n"


def picture(text):
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image)


def test_the_frames_of_the_viewer(drawn, viewer, explained):
    assert viewer["classes"] == ["ill", "well"]
    assert (viewer["size"], viewer["methods"], viewer["layers"]) == ([40, 40], list(METHODS), list(LAYERS))
    for frame, (file, made) in zip(viewer["frames"], drawn.frames.items(), strict=True):
        assert (frame["name"], frame["patient"]) == (file.rpartition("/")[2], made.patient)
        assert frame["label"] == ("ill", "well").index(made.label)
        logits = explained[file][0]
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        np.testing.assert_allclose(frame["scores"], shares, atol=1e-4)
        assert max(shares) < 0.999
        assert frame["predicted"] == logits.argmax()
        np.testing.assert_array_equal(picture(frame["picture"]), drawn.pictures[file])
        if file in drawn.annotated:
            np.testing.assert_array_equal(picture(frame["annotation"]), 255 * drawn.masks[file])
        else:
            assert frame["annotation"] is None


def test_the_maps_of_the_viewer(viewer, explained, drawn):
    """They go row by row, have the layer's own size, and are from 0 to 255."""
    for frame, file in zip(viewer["frames"], drawn.frames, strict=True):
        for method in METHODS:
            assert list(frame["maps"][method]) == AT[method]
            for layer in AT[method]:
                raw, packed = np.maximum(explained[file][1][method][layer], 0), frame["maps"][method][layer]
                found = np.frombuffer(base64.b64decode(packed["data"]), np.uint8)
                assert (packed["rows"], packed["columns"]) == raw.shape
                expected = 255 * (raw - raw.min()) / (np.ptp(raw) or 1)
                np.testing.assert_allclose(found.reshape(raw.shape), expected, atol=0.51)
    # Some are empty, but not all.
    assert len({frame["maps"]["grad_cam"]["layer3"]["data"] for frame in viewer["frames"]}) > 5


def test_the_overlaps_of_the_viewer(viewer, explained, drawn):
    for frame, file in zip(viewer["frames"], drawn.frames, strict=True):
        if file not in drawn.annotated:
            assert frame["iou"] is None
            continue
        for method in METHODS:
            assert list(frame["iou"][method]) == COLUMNS[method]
            for column, found in frame["iou"][method].items():
                one, truth = explained[file][2][method][column].astype(np.float64), drawn.masks[file]
                # Rounding may move the threshold: the programs are not the same.
                masks = [one > one.mean() + one.std() + rounding for rounding in (0, -1e-5, 1e-5)]
                expected = [(mask & truth).sum() / (mask | truth).sum() for mask in masks]
                assert any(found == pytest.approx(iou, abs=1e-4) for iou in expected)


def test_sheets(results):
    """There is one of the layers for a frame of each class, and for all frames the masks and aggregates."""
    contents = json.loads((results / "contents.json").read_text())
    files = [each["file"] for each in contents["pictures"]]
    assert files == [
        "layers_1.jpg",
        "layers_2.jpg",
        "masks_layer3.png",
        "masks_layer4.png",
        "aggregation.jpg",
        "aggregated.jpg",
        "masks_aggregated.png",
    ]
    assert contents["viewer"] == "viewer.json"
    for file in files:
        with Image.open(results / file) as sheet:
            assert np.ptp(np.asarray(sheet)) == 255


def test_one_layer_is_its_own_aggregate(evaluate, run, tmp_path):
    options = ("--methods", "grad_cam", "--layers", "layer4", "--batch-size", BATCH, "--shown", 1)
    assert evaluate("gallery", *options, "--limit", 2, runs=[run]) == 0
    frames = json.loads((tmp_path / "gallery" / "viewer.json").read_text())["frames"]
    ious = [frame["iou"]["grad_cam"] for frame in frames if frame["iou"]]
    assert ious
    assert all(list(by) == ["layer4", "aggregate"] and by["layer4"] == by["aggregate"] for by in ious)


@pytest.mark.parametrize("shown", [0, -1])
def test_no_frames_to_be_shown(evaluate, run, capsys, shown):
    assert evaluate("gallery", *OPTIONS, "--limit", 2, "--shown", shown, runs=[run]) == 2
    assert capsys.readouterr().err == f"xrcam evaluate: error: --shown: {shown} is less than 1\n"
