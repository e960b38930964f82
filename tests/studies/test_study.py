"""All studies go on where they stopped, and refuse what is wrong; the segmentation stands for them."""

import csv
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from xrcam_jax import studies
from xrcam_jax.arguments.outputs import alone_in
from xrcam_jax.cli import main
from xrcam_jax.runtime.files import write_whole

OPTIONS = ("--methods", "grad_cam", "--layers", "layer4", "--batch-size", 2)
LABEL = "tiny"


@pytest.fixture
def segmentation(evaluate):
    return lambda *options, **where: evaluate("segmentation", *OPTIONS, *options, **where)


@pytest.fixture(scope="module")
def whole(drawn, weights, tmp_path_factory):
    """Returns the results of a run that nothing came between."""
    out = tmp_path_factory.mktemp("whole")
    arguments = ["--data", drawn.folder, "--annotations", drawn.annotations, "--weights", weights("plain")]
    assert main(["evaluate", "segmentation", *map(str, (*arguments, "--part", "all", "--out", out, *OPTIONS))]) == 0
    return out


@pytest.fixture
def copied(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path / "segmentation"


def texts(folder):
    """Returns all that is written at the end, byte by byte."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".csv", ".md", ".json")}


def batches(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "batches").iterdir()}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def refused(capsys, status):
    """Returns the one line that says why; whatever goes wrong, there is no traceback."""
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("xrcam evaluate: error: ")
    assert err.count("\n") == 1, err
    return err.removeprefix("xrcam evaluate: error: ").rstrip("\n")


def test_going_on_after_files_are_lost(whole, copied, segmentation, weights):
    """The batches that are there are not computed again, and the tables come out the same to the byte."""
    for name in ("per_layer.csv", "images.csv", "contents.json", f"batches/{LABEL}_000002.npz"):
        (copied / name).unlink()
    before = batches(copied)
    assert len(before) == 2
    assert segmentation(runs=[weights("plain")]) == 0
    assert texts(copied) == texts(whole / "segmentation")
    after = batches(copied)
    assert {name: after[name] for name in before} == before
    assert set(after) == set(batches(whole / "segmentation"))


def test_what_is_there_is_read(copied, segmentation, weights, monkeypatch):
    """It is not computed, for which pictures would be read."""

    def never(*_):
        raise AssertionError("a picture is read")

    monkeypatch.setattr("xrcam_jax.studies.batches.read_batch", never)
    assert segmentation(runs=[weights("plain")]) == 0


def changed(path):
    """Changes a figure, and writes the file anew."""
    with np.load(path) as arrays:
        content = dict(arrays)
    content["both/grad_cam/layer4"] += 1
    np.savez(path, **content)


def flipped(path):
    """Flips a bit of a figure, and the checksum of the archive with it: only a digest of one's own notices."""
    with np.load(path) as arrays:
        content = dict(arrays)
    content["logits"].view(np.uint8).flat[5] ^= 1
    np.savez(path, **content)


def swapped(path):
    path.write_bytes(path.with_name(f"{LABEL}_000000.npz").read_bytes())


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def without_a_seal(path):
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays.files if name != "seal"}
    np.savez(path, **content)


@pytest.mark.parametrize("damage", [changed, flipped, swapped, cut, without_a_seal])
def test_a_batch_that_is_not_as_it_was_written_is_computed_again(whole, copied, segmentation, weights, capsys, damage):
    path = copied / "batches" / f"{LABEL}_000002.npz"
    damage(path)
    assert segmentation(runs=[weights("plain")]) == 0
    assert texts(copied) == texts(whole / "segmentation")
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("xrcam "))
    assert line.startswith(f"xrcam evaluate: {path}: damaged")
    assert line.endswith("; it is computed again")


def test_batches_of_other_settings_are_computed_again(whole, copied, segmentation, weights):
    """Somebody puts batches of another study in the place of these, with settings that are these."""
    assert segmentation("--seed", 3, runs=[weights("plain")], out=copied.parent / "other") == 0
    for path in (copied.parent / "other/segmentation/batches").iterdir():
        shutil.copy(path, copied / "batches")
    before = batches(copied)
    assert segmentation(runs=[weights("plain")]) == 0
    assert texts(copied) == texts(whole / "segmentation")
    assert all(batches(copied)[name] != time for name, time in before.items())


def test_a_second_run_on_the_folder_is_refused(copied, segmentation, weights, capsys):
    with alone_in("--out", copied):
        line = refused(capsys, segmentation(runs=[weights("plain")]))
    assert line.startswith(f"--out: {copied} is being written by process ")


@pytest.mark.parametrize("when", ["computing", "writing"])
def test_interrupted(whole, segmentation, weights, tmp_path, monkeypatch, capsys, when):
    """The interruption comes at the third batch, or with half of the tables written."""
    count = 0

    def interrupted(path, content):
        nonlocal count
        count += path.suffix == (".npz" if when == "computing" else ".csv")
        if count == 3:
            raise KeyboardInterrupt
        write_whole(path, content)

    module = "xrcam_jax.studies.batches" if when == "computing" else "xrcam_jax.studies.tables"
    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.write_whole", interrupted)
        assert segmentation(runs=[weights("plain")]) == 130
    assert capsys.readouterr().err.endswith("interrupted; what was written is whole and stays\n")
    folder = tmp_path / "segmentation"
    before = batches(folder)
    assert sorted(before) == [f"{LABEL}_{start:06d}.npz" for start in ((0, 2) if when == "computing" else (0, 2, 4))]
    assert not (folder / "contents.json").exists()
    assert segmentation(runs=[weights("plain")]) == 0
    assert texts(folder) == texts(whole / "segmentation")
    after = batches(folder)
    assert {name: after[name] for name in before} == before


@pytest.fixture
def elsewhere(drawn, tmp_path_factory):
    """Copies the prepared folder, so that it may be changed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(drawn.folder, folder, dirs_exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--seed", 1), "seed: 0, now 1"),
        (("--methods", "layer_cam"), "methods: ['grad_cam'], now ['layer_cam']"),
        (("--layers", "layer3,layer4"), "layers: ['layer4'], now ['layer3', 'layer4']"),
        (("--batch-size", 3), "batch_size: 2, now 3"),
        (("--limit", 4), "data: frames 5 (now 4)); give another folder"),
    ],
)
def test_other_settings_are_refused(copied, segmentation, weights, capsys, options, named):
    before = texts(copied)
    line = refused(capsys, segmentation(*options, runs=[weights("plain")]))
    assert line.startswith(f"--out: {copied} holds results of other settings ({named}")
    assert line.endswith("; give another folder")
    assert texts(copied) == before


def test_other_weights_are_refused(copied, segmentation, weights, capsys):
    line = refused(capsys, segmentation(runs=[weights("another", seed=5)]))
    assert f"{copied} holds results of other settings (networks: {LABEL} '" in line


@pytest.mark.parametrize("what", ["a pixel", "an outline", "a patient's name"])
def test_other_data_are_refused(drawn, copied, elsewhere, segmentation, weights, capsys, what):
    file, outlines = drawn.annotated[1], elsewhere / drawn.annotations.name
    if what == "a pixel":
        picture = drawn.pictures[file].copy()
        picture[0, 0] ^= 1
        cv2.imwrite(str(elsewhere / file), picture)
    elif what == "an outline":
        content = json.loads(outlines.read_text())
        content["annotations"][0]["segmentation"][0][0] += 1
        outlines.write_text(json.dumps(content))
    else:
        for name in ("manifest.csv", "split.csv"):
            path = elsewhere / name
            path.write_text(path.read_text().replace(",p1,", ",p9,").replace("p1,train", "p9,train"))
    line = refused(capsys, segmentation(runs=[weights("plain")], data=elsewhere, annotations=outlines))
    named = "annotations '" if what == "an outline" else "checksum '"
    assert f"{copied} holds results of other settings (data: {named}" in line


def test_the_same_data_elsewhere_go_on(whole, copied, elsewhere, segmentation, weights):
    """What counts is what is in the files, not where they lie."""
    outlines = elsewhere / "outlines.json"
    assert segmentation(runs=[weights("plain")], data=elsewhere, annotations=outlines) == 0
    assert texts(copied) == texts(whole / "segmentation")


def test_other_settings_are_fine_while_nothing_is_done(copied, segmentation, weights, tmp_path):
    shutil.rmtree(copied / "batches")
    assert segmentation("--seed", 3, runs=[weights("plain")]) == 0
    assert json.loads((copied / "settings.json").read_text())["seed"] == 3


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"seed": NaN}'])
def test_damaged_settings(copied, segmentation, weights, capsys, content):
    (copied / "settings.json").write_text(content)
    line = refused(capsys, segmentation(runs=[weights("plain")]))
    assert line.startswith("--out: ")


def test_batches_without_their_settings(copied, segmentation, weights, capsys):
    """Nothing says what they are of, so they are not taken for what is wanted now."""
    (copied / "settings.json").unlink()
    line = refused(capsys, segmentation("--seed", 3, runs=[weights("another", seed=5)]))
    assert line.startswith("--out: ")


WRONG = {
    "--methods grad_can": "--method: unknown name 'grad_can'; did you mean 'grad_cam'? known: ",
    "--methods grad_cam,grad_cam": "--method: a name is given twice in grad_cam,grad_cam",
    "--methods ,": "--method: no name is given",
    "--layers layer5": "--layers: unknown name 'layer5'; did you mean 'layer4'?",
    "--batch-size 0": "--batch-size: 0 is less than 1",
    "--limit 0": "--limit: 0 is less than 1",
    "--model tiny tiny": "--model: 2 names for 1 weights",
    "--model sktiny": "--weights: {}: a checkpoint of tiny, not of sktiny",
    "--model resnet": "--weights: unknown model 'resnet'",
    "--annotations gone.json": "gone.json: No such file or directory",
    "--data gone": "gone/manifest.csv: there is no such file; 'xrcam prepare' makes it",
}


@pytest.mark.parametrize("options", WRONG)
def test_wrong_arguments(segmentation, weights, capsys, monkeypatch, tmp_path, options):
    monkeypatch.chdir(tmp_path)
    run = weights("plain")
    line = refused(capsys, segmentation(*options.split(), runs=[run]))
    assert line.startswith(WRONG[options].format(run / "best.safetensors"))
    assert not list(tmp_path.rglob("*.npz"))


def test_wrong_weights(segmentation, weights, capsys, tmp_path):
    three = weights("three", classes=3)
    line = refused(capsys, segmentation(runs=[three]))
    assert line.startswith(f"--weights: {three / 'best.safetensors'} is for 3 classes, but ")
    assert line.endswith("has 2: ill, well")
    line = refused(capsys, segmentation(runs=[tmp_path / "gone.safetensors"]))
    assert line == f"--weights: {tmp_path / 'gone.safetensors'}: no such weights"
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes((weights("plain") / "best.safetensors").read_bytes()[:1000])
    assert str(damaged) in refused(capsys, segmentation(runs=[damaged]))
    same = weights("plain")
    line = refused(capsys, segmentation(runs=[same, same]))
    assert line.startswith("--weights: the same name twice, tiny-plain, tiny-plain; ")


def test_without_annotations(segmentation, weights, capsys):
    assert refused(capsys, segmentation(runs=[weights("plain")], annotations=None)) == (
        "--annotations: is missing; expected a JSON file (COCO) with outlines to compare with"
    )


@pytest.mark.parametrize("what", ["of other frames", "outside the crop", "without area", "none"])
def test_annotations_that_mark_nothing(drawn, segmentation, weights, capsys, tmp_path, what):
    content = json.loads(drawn.annotations.read_text())
    if what == "of other frames":
        for image in content["images"]:
            image["file_name"] = f"other_{image['file_name']}"
    elif what == "none":
        content["annotations"] = []
    else:
        for annotation in content["annotations"]:
            far = [60, 60, 80, 60, 80, 80] if what == "outside the crop" else [5, 5, 20, 20, 9, 9]
            annotation["segmentation"] = [far]
    outlines = tmp_path / "outlines.json"
    outlines.write_text(json.dumps(content))
    assert segmentation(runs=[weights("plain")], annotations=outlines) == 2
    out, err = capsys.readouterr()
    assert out == ""
    said = f"{outlines} has no usable annotation of a frame in the part 'all'."
    if what == "of other frames":
        name = drawn.annotated[0].rpartition("/")[2]
        said = f"{outlines}: no image has the name of a frame: expected names such as {name!r}, found 'other_{name}'."
    assert err.startswith(f"xrcam evaluate: error: --annotations: {said} What became of them:\n")
    # What became of each is a table.
    counts = {line[:24].strip(): int(line[24:]) for line in err.splitlines()[1:]}
    assert counts["annotations"] == (0 if what == "none" else 8)
    assert counts["used"] == 0
    reason = {"of other frames": "unknown image", "outside the crop": what, "without area": "empty", "none": "used"}
    assert counts[reason[what]] == counts["annotations"]


def test_a_part_without_frames(segmentation, weights, drawn, elsewhere, capsys):
    path = elsewhere / "split.csv"
    path.write_text(path.read_text().replace("test", "train"))
    line = refused(capsys, segmentation("--part", "test", runs=[weights("plain")], data=elsewhere))
    assert line == f"--part: {elsewhere} has no frames in 'test'"


@pytest.mark.parametrize("what", ["gone", "damaged"])
def test_a_frame_that_cannot_be_read(drawn, segmentation, weights, elsewhere, capsys, what):
    file = elsewhere / drawn.annotated[3]
    file.unlink()
    if what == "damaged":
        file.write_bytes(b"not a picture")
    status = segmentation(runs=[weights("plain")], data=elsewhere)
    err = capsys.readouterr().err
    assert status in (1, 2)
    assert err.count("\n") == 1
    assert str(file) in err


def test_a_class_that_is_never_predicted(segmentation, weights, tmp_path):
    """Then no frame counts: tables have dashes, and the figures of each picture are there all the same."""
    assert segmentation(runs=[weights("blind", bias=(-1000, 1000))]) == 0
    folder = tmp_path / "segmentation"
    (row, baseline) = rows(folder / "per_layer.csv")
    assert (row["method"], baseline["method"]) == ("grad_cam", "(centred disc)")
    assert {value for name, value in row.items() if name not in ("method", "network")} == {""}
    assert f"| grad_cam | {LABEL} | – | – |" in (folder / "per_layer.md").read_text()
    assert f"correctly count: {LABEL} 0." in json.loads((folder / "contents.json").read_text())["text"]
    figures = rows(folder / "images.csv")
    assert len(figures) == 2 * 5
    assert {row["predicted"] for row in figures} == {"well"}
    assert not rows(folder / "tests.csv")


@pytest.mark.parametrize("limit", [1, 3, 99])
def test_limit_is_spread(drawn, segmentation, weights, tmp_path, limit):
    """Frames are at equal distances, from the first one on; that the last batch repeats a picture shows nowhere."""
    assert segmentation("--limit", limit, runs=[weights("plain")]) == 0
    files = [row["file"] for row in rows(tmp_path / "segmentation" / "images.csv") if row["method"] == "grad_cam"]
    chosen = {1: [0], 3: [0, 2, 4], 99: range(5)}[limit]
    assert files == [drawn.annotated[i] for i in chosen]


def test_another_batch_size(whole, segmentation, weights, tmp_path):
    """The figures are the same to rounding, which may move a pixel or two across the threshold."""
    assert segmentation("--batch-size", 3, runs=[weights("plain")]) == 0
    ours, theirs = (rows(folder / "segmentation" / "images.csv") for folder in (tmp_path, whole))
    for row, other in zip(ours, theirs, strict=True):
        for name in ("file", "predicted", "method", "column", "truth"):
            assert row[name] == other[name]
        for name in ("both", "found"):
            assert abs(int(row[name]) - int(other[name])) <= 2
        assert float(row["iou"]) == pytest.approx(float(other["iou"]), abs=0.01)
    ours, theirs = (rows(folder / "segmentation" / "per_layer.csv") for folder in (tmp_path, whole))
    for row, other in zip(ours, theirs, strict=True):
        assert float(row["layer4"]) == pytest.approx(float(other["layer4"]), abs=0.5)


def test_layers_in_any_order(whole, segmentation, weights, tmp_path):
    """Tables are of the same maps, whatever order the layers are asked for in."""
    orders = ("layer4,layer3", "layer3,layer4")
    for order in orders:
        assert segmentation("--layers", order, runs=[weights("plain")], out=tmp_path / order) == 0
    one, other = (rows(tmp_path / order / "segmentation" / "images.csv") for order in orders)

    def by_place(found):
        return {(row["file"], row["method"], row["column"]): float(row["iou"]) for row in found}

    # To rounding, as above: their programs put the layers out in another order.
    assert by_place(one) == pytest.approx(by_place(other), abs=0.01)
    assert {row["column"] for row in one} == {"layer3", "layer4", "layer4+3"}


def test_a_method_that_a_layer_does_not_have(segmentation, weights, capsys):
    """CAM is defined at the last layer only: elsewhere it cannot be asked for."""
    line = refused(capsys, segmentation("--methods", "cam", "--layers", "layer3", runs=[weights("plain")]))
    assert "cam is defined for a layer that only global pooling and a linear layer follow" in line


def test_help_says_what_each_study_measures(capsys):
    assert main(["evaluate", "--help"]) == 0
    shown = capsys.readouterr().out
    named = {path.stem for path in Path(studies.__file__).parent.glob("*.py") if "\nNAME = " in path.read_text()}
    # The scan for concepts is a command of its own.
    assert set(re.findall(r"^  ([a-z]+)  ", shown, flags=re.MULTILINE)) == named - {"concepts"}
    for line in (
        "precision, recall and false positives",
        "maps of two classes",
        "Selective Kernel",
        "5.18",
        "Figures 5.1,",
    ):
        assert line in " ".join(shown.split())
