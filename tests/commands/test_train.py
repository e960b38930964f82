"""``xrcam train`` is run with a network that is shallow but real."""

import csv
import dataclasses
import json

import cv2
import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

import xrcam_jax as xr
from xrcam_jax.arguments.outputs import alone_in
from xrcam_jax.checkpoints.packaged import WEIGHTS
from xrcam_jax.cli import main
from xrcam_jax.data.counts import Counts, write_counts
from xrcam_jax.data.folds import write_folds
from xrcam_jax.data.manifest import Frame, Statistics, read_prepared, write_manifest, write_split, write_statistics
from xrcam_jax.models.specs import SPECS
from xrcam_jax.pictures.crop import Crop

for package in ("grain", "dm_pix", "tensorboardX"):
    pytest.importorskip(package)

SIDE = 32
PARTS = {"anna": "train", "bert": "train", "carl": "validation", "dora": "test"}
WANTED = (
    "augmentation.jpg",
    "best.safetensors",
    "curves.png",
    "metrics.csv",
    "predictions.csv",
    "report.md",
    "settings.json",
)


@pytest.fixture
def prepared(tmp_path):
    """Writes frames of four patients, four dark and four bright ones of each."""
    random, frames = np.random.default_rng(0), []
    for patient in PARTS:
        for label, level in (("dark", 50), ("light", 180)):
            for number in range(4):
                file = f"frames/{patient}_{label}_{number}.png"
                path = tmp_path / "prepared" / file
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), (level + random.integers(0, 50, (SIDE, SIDE))).astype(np.uint8))
                frames.append(
                    Frame(file, label, patient, f"{label}/{patient}.avi", number, Crop(0, 0, SIDE, SIDE, SIDE))
                )
    write_manifest(tmp_path / "prepared", frames)
    write_split(tmp_path / "prepared", PARTS)
    write_statistics(tmp_path / "prepared", Statistics(0.5, 0.25))
    return tmp_path / "prepared"


@pytest.fixture
def shallow(monkeypatch):
    monkeypatch.setitem(SPECS, "shallow", dataclasses.replace(SPECS["resnet18"], depths=(1, 1, 1, 1), planes=8))


@pytest.fixture
def cache(tmp_path):
    """Keeps what is compiled, so that two runs of the same network compile it once."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in zip(names, (str(tmp_path / "cache"), 0.1), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def train(prepared, *arguments, out="run"):
    options = ["--model", "shallow", "--batch-size", "8", "--epochs", "2", "--learning-rate", "1e-3"]
    return main(["train", str(prepared), "--out", str(prepared.parent / out), *options, *map(str, arguments)])


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_trains_on_all_devices_goes_on_and_leaves_a_model_to_explain(prepared, shallow, cache, capsys):
    run, options = prepared.parent / "run", ["--dropout", "0.1", "--class-weights", "balanced"]
    assert train(prepared, *options) == 0
    assert all((run / name).is_file() for name in WANTED)
    assert [row["epoch"] for row in rows(run / "metrics.csv")] == ["1", "2"]
    assert "epoch 2: loss" in capsys.readouterr().out

    predictions = rows(run / "predictions.csv")
    assert [row["part"] for row in predictions] == ["validation"] * 8 + ["test"] * 8
    model = xr.load_model("shallow", run / "best.safetensors")
    assert model.preprocessing == xr.Preprocessing(
        (0.5,) * 3, (0.25,) * 3, (SIDE, SIDE), 1.0, "area", field_of_view="auto", grey=True
    )
    pictures = [cv2.imread(str(prepared / row["file"])) for row in predictions]
    shares = jax.nn.softmax(model(xr.preprocess(pictures, model.preprocessing)))
    np.testing.assert_allclose(shares[:, 0], [float(row["p(dark)"]) for row in predictions], atol=1e-4)
    report = (run / "report.md").read_text()
    assert "## Part: test" in report
    assert "| dora | light | 4 |" in report

    # Again, with an epoch more: only that one is run; with other settings: not at all.
    assert train(prepared, *options, "--epochs", 3) == 0
    output = capsys.readouterr().out
    assert "going on after step 4, 2 epochs are done" in output
    assert "epoch 3: loss" in output
    assert "epoch 2: loss" not in output
    assert train(prepared, *options, "--seed", 5) == 2
    assert "holds a run of other settings (seed: 0, now 5)" in capsys.readouterr().err
    assert json.loads((run / "settings.json").read_text())["class_weights"] == [1.0, 1.0]

    # A picture that was replaced by another one of its size is noticed, and so is a second run beside this one.
    picture, other = prepared / predictions[0]["file"], prepared / predictions[-1]["file"]
    content = picture.read_bytes()
    picture.write_bytes(other.read_bytes())
    assert train(prepared, *options, "--epochs", 4) == 2
    assert "holds a run of other settings (pictures: '" in capsys.readouterr().err
    picture.write_bytes(content)
    with alone_in("--out", run):
        assert train(prepared, *options, "--epochs", 4) == 2
    assert f"--out: {run} is being written by process " in capsys.readouterr().err
    # One flipped bit in what it would go on from is one line.
    (note,) = run.glob("last/*/progress/metadata")
    note.write_text(json.dumps({**json.loads(note.read_text()), "digest": "0"}))
    assert train(prepared, *options, "--epochs", 4) == 1
    error = capsys.readouterr().err
    assert f"{note.parents[1]}: damaged, it is not what was written there; {run / 'last'} is as it was before" in error
    assert error.count("\n") == 1


def test_a_missing_picture_is_named_before_anything_is_done(prepared, shallow, capsys):
    gone = prepared / "frames/anna_dark_0.png"
    gone.unlink()
    assert train(prepared) == 2
    assert capsys.readouterr().err == f"xrcam train: error: {gone}: no such file; manifest.csv lists it\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "resnet81"], "--model: unknown name 'resnet81'; did you mean"),
        (["--batch-size", "12"], "--batch-size: 12 is not a multiple of 8, 8 devices times --accumulate 1"),
        (["--batch-size", "0"], "--batch-size: 0 is less than 1"),
        (["--dropout", "1"], "--dropout: 1.0 is not in"),
        (["--learning-rate", "nan"], "--learning-rate: nan is not a positive number"),
        (["--class-weights", "1,2,3"], "--class-weights: 3 for 2 classes, dark, light"),
        (["--class-weights", "1,-2"], "'1,-2' is neither 'balanced' nor positive numbers"),
        (["--score", "f1"], "--score"),
        (["--checkpoint-every", "-1"], "--checkpoint-every: -1 is less than 0"),
        (["--processes", "2"], "give all three or none"),
        (["--weights", "nowhere.safetensors"], "--weights: nowhere.safetensors: no such weights"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(prepared, shallow, capsys, arguments, message):
    assert train(prepared, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_damaged_weights_are_refused_before_anything_is_written(prepared, shallow, capsys):
    weights = prepared.parent / "weights.safetensors"
    weights.write_bytes(WEIGHTS.read_bytes()[:-9])
    assert train(prepared, "--weights", weights) == 1
    assert f"--weights: {weights}: not a whole safetensors file" in capsys.readouterr().err
    assert not list((prepared.parent / "run").iterdir())


def test_data_that_cannot_be_learnt_from_is_refused(prepared, shallow, capsys):
    assert train(prepared.parent / "nowhere") == 2
    assert "manifest.csv: there is no such file" in capsys.readouterr().err
    write_split(prepared, PARTS | {"carl": "train"})
    assert train(prepared) == 2
    assert "no frames are in the part 'validation'" in capsys.readouterr().err
    assert not (prepared.parent / "run" / "settings.json").exists()


@pytest.fixture
def tasks(monkeypatch):
    """Returns the tasks that would be trained; each leaves an empty checkpoint."""
    found = []

    def note(task, model):
        found.append(task)
        (task.out / "last" / "0").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr("xrcam_jax.commands.training.train", note)
    return found


@pytest.fixture
def folds(prepared):
    """Puts the patients into three folds, and counts the pixels of their frames."""
    write_folds(prepared, {"anna": 0, "bert": 1, "carl": 2, "dora": 1})
    counts = []
    for frame in read_prepared(prepared).frames[::4]:
        pixels = np.stack([cv2.imread(str(path), 0) for path in prepared.glob(f"{frame.file[:-5]}*")]).astype(int)
        sums = pixels.size, int(pixels.sum()), int((pixels**2).sum())
        counts.append(Counts(frame.video, frame.label, frame.patient, 4, 4, 4, *sums))
    write_counts(prepared, counts)
    return prepared


def test_a_fold_is_trained_on_the_patients_of_the_others(folds, shallow, tasks, capsys):
    """Those of the next fold choose the epoch; the statistics are of those that are trained on, and no others."""
    parts = (("anna", "bert dora", "carl"), ("bert dora", "carl", "anna"), ("carl", "anna", "bert dora"))
    for number, part in enumerate(parts):
        assert train(folds, "--fold", number, out=f"run{number}") == 0
        task, trained = tasks[-1], part[2].split()
        wanted = dict(zip(("test", "validation", "train"), (each.split() for each in part), strict=True))
        assert {name: sorted({frame.patient for frame in task.prepared.part(name)}) for name in wanted} == wanted
        pixels = np.stack([cv2.imread(str(path), 0) for name in trained for path in folds.glob(f"frames/{name}_*")])
        assert task.prepared.statistics.mean == pytest.approx(pixels.mean() / 255, abs=1e-12)
        assert task.prepared.statistics.std == pytest.approx(pixels.std() / 255, abs=1e-12)
        assert json.loads((task.out / "settings.json").read_text())["fold"] == number
    assert train(folds, "--fold", 0, out="run0") == 0
    assert train(folds, "--fold", 1, out="run0") == 2
    assert "run0 holds a run of other settings (fold: 0, now 1; " in capsys.readouterr().err
    assert train(folds, out="run0") == 2
    assert "run0 holds a run of other settings (fold: 0, now none; " in capsys.readouterr().err
    assert len(tasks) == 4


def test_a_fold_that_is_not_there_is_refused(folds, shallow, tasks, capsys):
    for number in (-1, 3):
        assert train(folds, "--fold", number) == 2
        error = capsys.readouterr().err
        assert error == f"xrcam train: error: --fold: expected 0 to 2, as in {folds / 'folds.csv'}; found {number}\n"
    (folds / "folds.csv").unlink()
    assert train(folds, "--fold", 0) == 2
    error = capsys.readouterr().err
    assert f"{folds / 'folds.csv'}: there is no such file; 'xrcam prepare --folds K' makes it" in error
    assert not tasks


def test_a_missing_package_is_named(prepared, shallow, capsys, monkeypatch):
    from xrcam_jax.commands import train as command

    monkeypatch.setitem(command.NEEDED, "surely_not_installed", "some-package")
    assert train(prepared) == 2
    assert "training needs some-package: pip install 'xrcam-jax[train]'" in capsys.readouterr().err


@pytest.fixture
def annotations(prepared):
    """Outlines a square in half of the frames."""
    frames = read_prepared(prepared).frames[::2]
    names = [frame.file.rpartition("/")[2] for frame in frames]
    content = {
        "images": [{"id": i, "width": SIDE, "height": SIDE, "file_name": name} for i, name in enumerate(names)],
        "categories": [{"id": 1, "name": "structure"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "segmentation": [[8, 8, 24, 8, 24, 24, 8, 24]]}
            for i in range(len(names))
        ],
    }
    path = prepared.parent / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def test_it_learns_from_explanations_and_goes_on(prepared, annotations, shallow, cache, capsys):
    options = ["--explanation-loss", "relevance_outside", "--explanation-layer", "layer3", "--annotations", annotations]
    run = prepared.parent / "run"
    assert train(prepared, *options, "--explanation-weight", 0.5, "--epochs", 1) == 0
    frames, (first,) = read_prepared(prepared), rows(run / "metrics.csv")
    outlined = set(frames.frames[::2]) & set(frames.part("train"))
    out = capsys.readouterr().out
    assert f"outlines in {len(outlined)} of {len(frames.part('train'))} frames of the part 'train'\n" in out
    assert f", of explanations {float(first['train_explanation_loss']):.4f}, accuracy" in out
    # The file of settings is enough to go on; two steps were done, and two more follow.
    assert main(["train", "--config", str(run / "settings.toml"), "--epochs", "2"]) == 0
    assert "going on after step 2, 1 epochs are done" in capsys.readouterr().out
    found = rows(run / "metrics.csv")
    assert [row["step"] for row in found] == ["2", "4"]
    # It is a share: half of the frames have one, of which three quarters are outside.
    assert all(0.05 < float(row["train_explanation_loss"]) < 0.5 for row in found)
    settings = json.loads((run / "settings.json").read_text())
    assert (settings["explanation_loss"], settings["explanation_weight"]) == ("relevance_outside", 0.5)
    assert train(prepared, "--epochs", 3) == 2
    assert "explanation_loss: 'relevance_outside', now none" in capsys.readouterr().err
    # Another outline is another run, and another layer too, which the network has to have.
    annotations.write_text(annotations.read_text().replace("24", "25"))
    assert train(prepared, *options, "--explanation-weight", 0.5, "--epochs", 3) == 2
    assert "holds a run of other settings (annotations" in capsys.readouterr().err
    options[3] = "layer9"
    for out in ("other", "run"):
        assert train(prepared, *options, out=out) == 2
        error = capsys.readouterr().err
        assert "--explanation-layer: unknown mark 'layer9'; did you mean" in error
        assert error.count("\n") == 1
    assert not list((prepared.parent / "other").iterdir())


def test_outlines_that_are_of_no_frame_are_told_from_none(prepared, annotations, shallow, capsys):
    options = ["--explanation-loss", "right_reasons", "--explanation-layer", "input", "--annotations", annotations]
    content = json.loads(annotations.read_text())
    name = content["images"][0]["file_name"]
    annotations.write_text(json.dumps({**content, "annotations": []}))
    assert train(prepared, *options) == 2
    line = f"xrcam train: error: --annotations: {annotations} outlines nothing in a frame of the part 'train'. What"
    assert capsys.readouterr().err.startswith(line)
    for image in content["images"]:
        image["file_name"] = f"scan_{image['file_name']}"
    annotations.write_text(json.dumps(content))
    assert train(prepared, *options) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"xrcam train: error: --annotations: {annotations}: no image has the name of a frame: expected names such as "
        f"{name!r}, found 'scan_{name}'. What became of them:\n"
    )
    assert f"unknown image{len(content['annotations']):17}\n" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--explanation-loss", "right_reason"], "--explanation-loss: unknown name 'right_reason'; did you mean"),
        (["--explanation-loss", "consistency"], "--explanation-layer: needed"),
        (["--explanation-loss", "consistency,contrastive"], "one can be added, found consistency and contrastive"),
        (
            ["--explanation-loss", "consistency", "--explanation-loss", "contrastive"],
            "--explanation-loss: one can be added, found consistency and contrastive",
        ),
        (
            ["--explanation-loss", "consistency", "--explanation-layer", "fc"],
            "--explanation-layer: 'consistency' compares places, and needs a layer of 4 axes; 'fc' has shape (8, 2)",
        ),
        (["--explanation-layer", "layer3"], "--explanation-layer: is for --explanation-loss, which is not given"),
        (["--explanation-loss", "right_reasons", "--explanation-layer", "input"], "--annotations: needed"),
        (
            ["--explanation-loss", "consistency", "--explanation-layer", "layer3", "--explanation-weight", "0"],
            "--explanation-weight: 0.0 is not a positive number",
        ),
        (
            ["--explanation-loss", "right_reasons", "--explanation-layer", "input", "--annotations", "nowhere.json"],
            "nowhere.json",
        ),
    ],
)
def test_a_wrong_explanation_is_refused_in_one_line(prepared, shallow, capsys, arguments, message):
    assert train(prepared, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.long
def test_one_logit_is_trained_explained_and_evaluated(prepared, shallow, capsys, tmp_path):
    run = prepared.parent / "run"
    assert train(prepared, "--one-logit", "--epochs", 1, "--class-weights", "1,3", "--no-augmentation") == 0
    model = xr.load_model("shallow", run / "best.safetensors")
    assert model.num_classes == 1

    # Its sigmoid is the probability of the second class, and the loss is the binary cross-entropy.
    predictions = rows(run / "predictions.csv")
    pictures = [cv2.imread(str(prepared / row["file"])) for row in predictions]
    z = np.asarray(model(xr.preprocess(pictures, model.preprocessing)), np.float64)[:, 0]
    p = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose([float(row["p(light)"]) for row in predictions], p, atol=1e-4)
    np.testing.assert_allclose([float(row["p(dark)"]) for row in predictions], 1 - p, atol=1e-4)
    assert [row["predicted"] for row in predictions] == ["light" if each > 0 else "dark" for each in z]
    light = np.array([row["label"] == "light" for row in predictions])[:8]
    losses, weights = -np.log(np.where(light, p[:8], 1 - p[:8])), np.where(light, 3, 1)
    (row,) = rows(run / "metrics.csv")
    assert float(row["validation_loss"]) == pytest.approx(np.average(losses, weights=weights), rel=1e-3)
    right = (z[:8] > 0) == light
    balanced = (right[light].mean() + right[~light].mean()) / 2
    assert float(row["validation_balanced_accuracy"]) == pytest.approx(balanced)

    # Without the option it would be another run.
    assert train(prepared, "--epochs", 1, "--class-weights", "1,3", "--no-augmentation") == 2
    assert "one_logit: True, now False" in capsys.readouterr().err

    labels, picture = tmp_path / "labels.txt", str(prepared / predictions[0]["file"])
    labels.write_text("dark\nlight\n")
    options = ["--model", "shallow", "--weights", str(run / "best.safetensors"), "--labels", str(labels)]
    options += ["--method", "grad_cam", "--layers", "layer4", "--batch-size", "1"]
    for target in (0, 1):
        out = tmp_path / f"explained{target}"
        assert main(["explain", picture, *options, "--target", str(target), "--out", str(out)]) == 0
        (row,) = rows(out / "summary.csv")
        assert (row["predicted"], row["label"]) == (("1", "light") if z[0] > 0 else ("0", "dark"))
        assert (float(row["score"]), row["target"]) == (pytest.approx(p[0], abs=1e-4), str(target))
        assert float(row["target_score"]) == pytest.approx([1 - p[0], p[0]][target], abs=1e-4)
    assert main(["explain", picture, *options, "--target", "2"]) == 2
    assert "--target: 2 is not a class; there are 0 to 1" in capsys.readouterr().err

    options = ["--data", str(prepared), "--weights", str(run), "--model", "shallow", "--out", str(tmp_path / "results")]
    options += ["--methods", "grad_cam", "--layers", "layer4", "--steps", "0"]
    assert main(["evaluate", "confidence", *options]) == 0
    found = rows(tmp_path / "results" / "confidence" / "images.csv")
    assert [row["predicted"] for row in found] == [row["predicted"] for row in predictions if row["part"] == "test"]


def test_one_logit_is_for_two_classes(prepared, shallow, capsys):
    frames = [
        Frame(f"{label}_{patient}.png", label, patient, f"{label}/{patient}.avi", 0, Crop(0, 0, SIDE, SIDE, SIDE))
        for label in ("dark", "grey", "light")
        for patient in PARTS
    ]
    write_manifest(prepared, frames)
    assert train(prepared, "--one-logit") == 2
    assert "--one-logit: it decides between 2 classes, but" in capsys.readouterr().err
