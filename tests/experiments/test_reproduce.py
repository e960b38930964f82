"""The steps of a reproduction are commands that can be read, and their results are made into a page."""

from importlib import import_module

import pytest

from experiments import reproduce
from experiments.reproduce import FULL, SMALL, main, steps
from tests.experiments.made_results import make_results
from xrcam_jax import cli
from xrcam_jax.models.specs import SPECS

SIZES = pytest.mark.parametrize("size", [SMALL, FULL], ids=["small", "full"])


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


@SIZES
def test_every_command_can_be_read(size, tmp_path, monkeypatch):
    """Each is given to the parser that will read it."""
    read = []
    for step in steps(size, tmp_path):
        if step[0] == "evaluate":
            module = import_module(f"xrcam_jax.studies.{step[1]}")
            with monkeypatch.context() as patch:
                patch.setattr(module, "open_study", lambda name, options, **_: read.append(name) or stop())
                with pytest.raises(KeyboardInterrupt):
                    module.main(step[2:])
        else:
            parsed = cli._parser().parse_args(step)
            read.append(step[0])
            assert parsed.run
    experiments = ["segmentation", "dropout", "confidence", "axioms", "sanity", "architectures", "gallery"]
    trainings = ["train"] * len(size.trainings)
    assert read == ["synth", "prepare", *trainings, *experiments, "report"]


def stop():
    raise KeyboardInterrupt


@SIZES
def test_every_experiment_has_networks_that_were_trained(size, tmp_path):
    trained, evaluated = {}, {}
    for step in steps(size, tmp_path):
        given = options(step)
        if step[0] == "train":
            trained[given["--out"][0]] = given["--model"][0]
            assert given["--model"][0] in SPECS
        elif step[0] == "evaluate":
            evaluated[step[1]] = [trained[path] for path in given["--weights"]]
            assert given["--part"] == ["test"]
    assert evaluated["segmentation"] == [size.other, size.plain, size.sk]
    assert evaluated["architectures"] == [size.plain, size.sk]
    assert evaluated["sanity"] == [size.other]
    assert {evaluated[name][0] for name in ("dropout", "confidence", "axioms", "gallery")} == {size.sk}
    own = options(next(step for step in steps(size, tmp_path) if step[:2] == ["evaluate", "dropout"]))["--weights"]
    assert own == [str(tmp_path / "runs" / ("sk_dropout" if size.own_dropout else "sk"))]


def test_what_is_there_is_not_made_again(tmp_path):
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "synthetic" / "annotations.json").touch()
    (tmp_path / "runs" / "plain").mkdir(parents=True)
    (tmp_path / "runs" / "plain" / "best.safetensors").touch()
    commands = steps(FULL, tmp_path)
    assert [step[0] for step in commands[:4]] == ["prepare", "train", "train", "evaluate"]
    models = [options(step)["--model"][0] for step in commands if step[0] == "train"]
    assert models == [FULL.other, FULL.sk]


def test_the_page_is_written_when_all_is_done(tmp_path, monkeypatch, capsys):
    """The commands are stood in for: the last one leaves results made by hand."""
    ran = []

    def xrcam(step):
        ran.append(step)
        if step[0] == "report":
            results = tmp_path / "results"
            results.mkdir()
            make_results(results, SMALL.plain, SMALL.sk, SMALL.other)
            for name in ("gallery/layers_1.jpg", "gallery/layers_2.jpg", "sanity/randomised.jpg"):
                (results / name).parent.mkdir(exist_ok=True)
                (results / name).write_bytes(name.encode())
        return 0

    monkeypatch.setattr(reproduce, "xrcam", xrcam)
    assert main([str(tmp_path), "--small"]) == 0
    assert ran == steps(SMALL, tmp_path)
    text = (tmp_path / "reproduction.md").read_text()
    assert f"no ImageNet weights): {SMALL.plain}, {SMALL.sk}, {SMALL.other}." in text
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "reproduction").iterdir()}
    assert pictures == {
        "gallery_layers_1.jpg": b"gallery/layers_1.jpg",
        "sanity_randomised.jpg": b"sanity/randomised.jpg",
    }
    assert all(f"](reproduction/{name})" in text for name in pictures)
    assert f"See {tmp_path / 'reproduction.md'}" in capsys.readouterr().out


def test_a_command_that_fails_ends_it(tmp_path, monkeypatch):
    ran = []

    def xrcam(step):
        ran.append(step[0])
        return 2 if step[0] == "prepare" else 0

    monkeypatch.setattr(reproduce, "xrcam", xrcam)
    assert main([str(tmp_path)]) == 2
    assert ran == ["synth", "prepare"]
    assert not (tmp_path / "reproduction.md").exists()
