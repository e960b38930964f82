"""A config file repeats a run, gives way to the command line, and is refused by name where it is wrong."""

import tomllib
from pathlib import Path

import click
import pytest

from xrcam_jax import cli
from xrcam_jax.arguments import config
from xrcam_jax.arguments.parser import Argument
from xrcam_jax.commands import benchmark, evaluate
from xrcam_jax.errors import CommandError

#: Every command with options of its own, and values of all kinds for it.
GIVEN = {
    "explain": (
        "a.png b.png --model resnet50 --weights a.safetensors,b.safetensors --mean 0.5 --std 0.1,0.2,0.3 "
        "--input-size 32,64 --target Meningioma --method grad_cam,rise+samples=3 --layers layer4,layer3/* "
        "--field-of-view 1,2,30 --batch-size auto --noise 1e-05 --seed 7 --out out.mp4"
    ),
    "train": "prepared --model resnet18 --class-weights 1,2.5 --no-augmentation --bfloat16 --learning-rate 1e-4",
    "prepare": "recordings out --split 70/20/10 --folds 5 --every 3",
    "synth": "out --small --suffix .mp4 --seed 3",
    "convert": "resnet18 weights.pth out --num-classes 2",
    "demo": "--full --out here",
    "report": "results --out page.html",
    "read": "results --method lrp,grad_cam --layer layer4 --pairs 20 --seed 3 --question Which? --out page.html",
    "agreement": "a.csv b.csv --weighting linear --out found",
    "concepts": "prepared --weights run --layer layer2 --target GBM --method lrp+composite=epsilon_plus --references 4",
    "layers": "--model resnet18 --input-size 32,32",
    "methods": "--options",
    "view": "clip.mp4 --model resnet18 --weights w.pth --method grad_cam --no-browser --port 8000",
    "evaluate segmentation": "--data p --weights runs/a runs/b --folds --method grad_cam --aggregate maximum --limit 4",
    "evaluate planted": "--sets pattern,rival --pictures 2",
    "evaluate confidence": "--data p --weights a --score logit --steps 0 --floor 0.1",
    "benchmark memory": "--model resnet18 --batch-sizes 1,2 --sizes 32,64",
    "benchmark scaling": "--devices 1,2",
}


def command(name):
    first, *rest = name.split()
    return {"evaluate": evaluate.load, "benchmark": lambda suite: benchmark.load(suite, {})}.get(first, cli.load)(
        *(rest or [first])
    )


def options(name, words):
    """The options that a command is run with, given its words."""
    found = command(name)
    with found.make_context(name, list(words)) as context:
        return found.options(context)


@pytest.mark.parametrize("name", GIVEN)
def test_the_written_file_gives_the_same_options(name, tmp_path):
    first = options(name, GIVEN[name].split())
    path = tmp_path / config.SETTINGS
    config.write_settings(tmp_path, first.repeat)
    assert options(name, ["--config", str(path)]) == first
    table = tomllib.loads(path.read_text())
    for part in name.split():
        table = table[part]
    assert "config" not in table


def test_every_command_with_options_is_tried():
    named = {name.split()[0] for name in GIVEN}
    assert named == set(cli.COMMANDS) - {"models", "completion"}


def test_the_command_line_wins(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[train]\nprepared = "p"\nmodel = "resnet18"\nbatch-size = 4\nbfloat16 = true\nout = "a"\n')
    found = options("train", ["--config", str(path), "--out", "b", "--no-bfloat16", "--data", "q"])
    assert (found.prepared, found.out, found.batch_size, found.bfloat16) == (Path("q"), Path("b"), 4, False)
    assert found.model == "resnet18"


def test_names_of_options_may_be_any_of_theirs(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[explain]\ninputs = ["a.png"]\nmethods = ["grad_cam", "lrp"]\nbatch_size = 2\nlayers = "layer4"\n')
    found = options("explain", ["--config", str(path)])
    assert (found.inputs, found.method, found.batch_size) == ((Path("a.png"),), ["grad_cam", "lrp"], 2)
    assert found.layers == ["layer4"]


WRONG = {
    "[explain]\nmetod = 1": "unknown key 'metod'; did you mean 'method'?",
    "[explain]\nmethod = 'a'\nmethods = 'b'": "methods is another name of a key that is there too",
    "[train]\nmodel = 'a'": "expected a table [explain], found [train]",
    "model = 'a'": "expected a table [explain], found none",
    "[explain]\nevery = true": "every: expected a text, a number or a list of them, found True",
    "[explain]\nevery = {a = 1}": "every: expected a text, a number or a list of them, found {'a': 1}",
    "[explain]\nevery = 2.5": "--every: '2.5' is not a valid integer",
    "[explain]\ndistributed = 1": "distributed: expected true or false, found 1",
    '[explain]\nout = "a\\u0000"': "out: a text cannot have zero bytes in it",
    "[explain": "Expected ']' at the end of a table declaration",
}


@pytest.mark.parametrize("content", WRONG)
def test_what_is_wrong_is_named_in_one_line(content, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(content)
    assert cli.main(["explain", "a.png", "--model", "resnet18", "--config", "run.toml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("xrcam explain: error: --config: run.toml: ")
    assert WRONG[content] in error
    assert error.count("\n") == 1


def test_a_file_that_is_not_there(capsys):
    assert cli.main(["explain", "a.png", "--config", "nowhere.toml"]) == 2
    assert "--config: cannot read nowhere.toml (No such file or directory)" in capsys.readouterr().err


def test_a_name_that_is_no_text_is_left_out(tmp_path):
    """TOML cannot have it; what is written can be read all the same."""
    config.write_settings(tmp_path, options("synth", ["\udcff", "--small"]).repeat)
    assert tomllib.loads((tmp_path / config.SETTINGS).read_text())["synth"]["small"] is True


@pytest.mark.parametrize("name", GIVEN)
def test_pairs_of_names_work_alike(name):
    """A thing has one name in all commands, or both that it has in some."""
    pairs = [{"--method", "--methods"}, {"--model", "--models"}, {"--layer", "--layers"}]
    for param in command(name).params:
        for pair in pairs:
            if isinstance(param, click.Option) and pair & set(param.opts) and not param.hidden:
                assert pair <= set(param.opts), (name, param.opts)


def test_arguments_may_be_given_by_name():
    assert options("convert", ["--model", "resnet18", "--out", "o", "--weights", "w"]) == options(
        "convert", ["resnet18", "w", "o"]
    )
    with pytest.raises(click.UsageError, match="OUT is given, and --out too"):
        options("synth", ["a", "--out", "b"])
    with pytest.raises(click.UsageError):
        options("prepare", ["recordings"])


def test_all_arguments_without_a_name_have_one_too():
    for name in GIVEN:
        for param in command(name).params:
            assert not isinstance(param, Argument) or param.option or param.nargs == -1


def test_unknown_names_are_refused_before_anything_is_loaded():
    group = evaluate.group()
    with pytest.raises(CommandError, match="did you mean 'planted'"):
        group.resolve_command(click.Context(group), ["plantd"])


def test_the_longest_name_of_a_result_has_settings_beside_it(tmp_path):
    result = tmp_path / f"{'x' * 250}.html"
    result.write_bytes(b"")
    config.write_settings(result, "[report]\n")
    (left,) = tmp_path.glob("*.settings.toml")
    assert left.name.startswith("x" * 200)
    assert left.read_text() == "[report]\n"
