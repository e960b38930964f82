"""The viewer's file is decoded and compared with the frames and with an Explainer's maps; and there are sheets."""

import base64
import io
import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import xrcam_jax as xr
from xrcam_jax.cli import main
from xrcam_jax.explain.spread import Spread
from xrcam_jax.studies import gallery
from xrcam_jax.studies.compare import pictured

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


def test_outlines_of_other_frames_are_refused_though_none_are_needed(evaluate, drawn, run, tmp_path, capsys):
    content = json.loads(drawn.annotations.read_text())
    for image in content["images"]:
        image["file_name"] = f"scan_{image['file_name']}"
    outlines = tmp_path / "scans.json"
    outlines.write_text(json.dumps(content))
    assert evaluate("gallery", *OPTIONS, runs=[run], annotations=outlines) == 2
    assert f"--annotations: {outlines}: no image has the name of a frame: expected" in capsys.readouterr().err


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


class Pretended:
    """Explains nothing, and finds the variations that are drawn here, each a plane across the picture."""

    def __init__(self, explain, by, passes, *, how):
        assert (by, passes, how) == (xr.Dropout(0.5), 3, "product")

    @staticmethod
    def variation(layer):
        """Goes from 0 to 2 in one of three directions."""
        y, x = np.mgrid[:40, :40] / 39
        return {"layer3": 2 * y, "layer4": 2 * x, "aggregate": x + y}[layer].astype(np.float32)

    def __call__(self, images, targets):
        def spread(shape, deviation):
            ones = jnp.ones((len(images), *shape))
            return Spread(ones, jnp.asarray(deviation) * ones, ones, ones, {})

        raw = {m: {x: spread({"layer3": (3, 3), "layer4": (2, 2)}[x], 1.0) for x in AT[m]} for m in METHODS}
        maps = {m: {x: spread((40, 40), self.variation(x)) for x in COLUMNS[m]} for m in METHODS}
        return xr.RepeatedExplanation(
            jnp.zeros((len(images), 2)), jnp.asarray(targets), maps, raw, raw[METHODS[1]]["layer4"], None, 3
        )


@pytest.mark.long
def test_the_variation_of_passes(drawn, run, tmp_path, results, monkeypatch):
    """It goes to 255 where the deviation is the mean, at the layer's size, and the finest one's for the aggregate."""
    monkeypatch.setattr(xr, "Repeated", Pretended)
    arguments = [
        "--data",
        drawn.folder,
        "--annotations",
        drawn.annotations,
        "--weights",
        run,
        "--part",
        "all",
        *OPTIONS,
    ]
    arguments += ["--limit", 2, "--passes", 3, "--rate", 0.5, "--aggregate", "product", "--out", tmp_path]
    assert main(["evaluate", "gallery", *map(str, arguments)]) == 0
    content = json.loads((tmp_path / "gallery" / "viewer.json").read_text())
    frames = content["frames"]
    assert len(frames) == 2
    assert content["aggregate"] == "product"
    for frame in frames:
        assert {method: list(by) for method, by in frame["variation"].items()} == COLUMNS
        for layer, rows in (("layer3", 3), ("layer4", 2), ("aggregate", 3)):
            packed = frame["variation"]["grad_cam"][layer]
            assert (packed["rows"], packed["columns"]) == (rows, rows)
            found = np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(rows, rows)
            variation = Image.fromarray(np.minimum(Pretended.variation(layer), 1))
            small = np.asarray(variation.resize((rows, rows), Image.Resampling.BILINEAR))
            np.testing.assert_allclose(found, 255 * small, atol=1)
    said = (tmp_path / "gallery" / "contents.json").read_text()
    assert "Several layers together are the geometric mean" in said
    assert "3 passes with dropout of 0.5" in said
    without = json.loads((results / "viewer.json").read_text())
    assert "variation" not in without["frames"][0]
    assert without["aggregate"] == "mean"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--passes", 1), "--passes: 1 is not in 2 to 100000"),
        (("--passes", 3, "--rate", 1), "--rate: 1.0 is not between 0 and 1"),
        (("--rate", 0.5), "--rate: is of dropout in --passes, which are not asked for"),
    ],
)
def test_wrong_passes(evaluate, run, capsys, options, line):
    assert evaluate("gallery", *options, runs=[run]) == 2
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
        "segmentations.jpg",
        "aggregation.jpg",
        "aggregated.jpg",
        "masks_aggregated.png",
    ]
    assert contents["viewer"] == "viewer.json"
    for file in files:
        with Image.open(results / file) as sheet:
            assert np.ptp(np.asarray(sheet)) == 255


def test_what_masks_cut_out():
    """Of a frame of other values in all its pixels: what is outlined, and what is above mean + deviation."""
    picture = np.arange(1, 49, dtype=np.uint8).reshape(4, 4, 3)
    truth = np.zeros((4, 4), bool)
    truth[1:3, 2] = True
    saliency = np.zeros((4, 4), np.float32)
    saliency[3, 3] = 1
    frame = gallery._Shown("ill p1", picture, picture, truth, {"grad_cam/layer4": saliency})
    white = [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)]
    cut = [each.copy() for each in white]
    for y, x, i in ((1, 2, 0), (2, 2, 0), (3, 3, 1)):
        white[i][y, x], cut[i][y, x] = 255, picture[y, x]
    for found, expected in zip(
        frame.segmentations("grad_cam/layer4"), (white[0], cut[0], white[1], cut[1]), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


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


@pytest.mark.parametrize(
    ("methods", "shown"),
    [
        (["xrelevance_cam", "grad_cam"], "xrelevance_cam"),
        (["grad_cam", "xrelevance_cam"], "xrelevance_cam"),
        (["grad_cam", "layer_cam"], "layer_cam"),
    ],
)
def test_sheets_with_room_for_one_method_show_xrelevance_cam(methods, shown):
    assert pictured(methods) == shown
