"""The command line has help and lists, and refuses commands that it does not know."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

import xrcam_jax as xr
from xrcam_jax.cli import main


def test_unknown_command(capsys):
    assert main(["explian"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("xrcam explian: error: argument COMMAND: invalid choice: 'explian'")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "module"), [("convert", "xrcam_jax.commands.convert"), ("benchmark", "xrcam_jax.commands.benchmark")]
)
def test_forwarded(monkeypatch, command, module):
    given = []
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(main=lambda argv: given.extend(argv) or 7))
    assert main([command, "--one", "two", "--help"]) == 7
    assert given == ["--one", "two", "--help"]


@pytest.mark.parametrize("command", ["explain", "demo", "synth", "prepare", "train", "models", "layers", "methods"])
def test_help_has_an_example(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"example:\n  xrcam {command}" in capsys.readouterr().out


def test_help_from_outside():
    shown = subprocess.run([sys.executable, "-m", "xrcam_jax.cli", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    for command in ("explain", "demo", "synth", "prepare", "train", "models", "methods", "convert", "benchmark"):
        assert command in shown.stdout


def test_methods(capsys, monkeypatch):
    method = SimpleNamespace(title="A title", summary="a summary", source="a source", family="activation")
    monkeypatch.setattr(xr, "METHODS", {"xrelevance_cam": method, "grad_cam": method}, raising=False)
    assert main(["methods"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "activation-driven",
        "  xrelevance_cam         A title: a summary [a source]",
        "  grad_cam               A title: a summary [a source]",
    ]


def test_layers(capsys):
    assert main(["layers", "--model", "resnet18_narrow"]) == 0
    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["conv1", "(1,", "112,", "112,", "16)", "float32"]
    assert ["layer4", "(1,", "7,", "7,", "128)", "float32", "mark"] in rows
    assert ["1", "(1,", "7,", "7,", "128)", "float32"] in rows
    assert main(["layers", "--model", "resnet81"]) == 2
    assert "--model: unknown name 'resnet81'; did you mean 'resnet18'?" in capsys.readouterr().err


def test_models(capsys, monkeypatch):
    monkeypatch.setattr(xr, "list_models", lambda: ["resnet18"])
    assert main(["models"]) == 0
    assert capsys.readouterr().out == "resnet18                11,689,512   timm/resnet18.a1_in1k\n"
