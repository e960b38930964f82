"""The command line has help and lists, and refuses commands that it does not know."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click import shell_completion

import xrcam_jax as xr
from xrcam_jax import cli
from xrcam_jax.arguments.completion import VARIABLE
from xrcam_jax.cli import COMMANDS, main
from xrcam_jax.commands import benchmark, evaluate, methods
from xrcam_jax.runtime import compiling


def test_unknown_command(capsys):
    assert main(["explian"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("xrcam explian: error: unknown command 'explian'; did you mean 'explain'?")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(capsys, name):
    assert main([name, "--help"]) == 0
    assert f"\nExample:\n  xrcam {name}" in capsys.readouterr().out


def test_help_from_outside():
    shown = subprocess.run([sys.executable, "-m", "xrcam_jax.cli", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines() if re.match(r"  [a-z]+ +[A-Z]", line)] == list(
        COMMANDS
    )


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


def test_models(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == xr.list_models()
    assert ["resnet18", "11,689,512", "timm/resnet18.a1_in1k"] in [line.split() for line in lines]


@pytest.mark.parametrize(
    ("number", "status", "how"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
)
def test_a_signal_is_one_line_and_its_status(monkeypatch, capsys, number, status, how):
    monkeypatch.setattr(methods, "run", lambda options: os.kill(os.getpid(), number) or time.sleep(9))
    # A shell has SIGINT ignored in what it runs in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["methods"]) == status
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == f"xrcam methods: {how}; what was written is whole and stays\n"


def test_a_signal_while_an_extension_module_is_imported(monkeypatch, capsys):
    """Such modules turn any exception into an ImportError of their own."""

    def imported(options):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(9)
        except KeyboardInterrupt as error:
            raise ImportError("Encountered an error while initializing the extension.") from error

    monkeypatch.setattr(methods, "run", imported)
    assert main(["methods"]) == 143
    assert capsys.readouterr().err == "xrcam methods: ended by SIGTERM; what was written is whole and stays\n"


@pytest.mark.parametrize(("module", "name"), [(cli, "keep_freed_memory"), (compiling, "keep_compiled")])
def test_a_signal_before_the_command_begins(monkeypatch, capsys, module, name):
    monkeypatch.setattr(module, name, lambda: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(9))
    assert main(["layers", "--model", "resnet18"]) == 143
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("number", "how"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "ended by SIGTERM")])
def test_a_signal_while_the_libraries_are_imported(tmp_path, number, how):
    (tmp_path / "xrcam_jax").mkdir()
    told = f"import os, time; os.kill(os.getpid(), {int(number)}); time.sleep(9)"
    (tmp_path / "xrcam_jax" / "__init__.py").touch()
    (tmp_path / "xrcam_jax" / "cli.py").write_text(told)
    (tmp_path / "xrcam_jax" / "__main__.py").write_text(Path(cli.__file__).with_name("__main__.py").read_text())
    command = [sys.executable, "-m", "xrcam_jax"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)})
    assert (ended.returncode, ended.stderr) == (128 + number, f"xrcam: {how}\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "a/b.png"), "a/b.png: No space left on device"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (ConnectionError("another process has failed"), "another process has failed"),
        (MemoryError(), "there is not enough memory (the system gives no more)"),
        (OSError(2, "No such file", "\x1b[2J\udce9"), "\\x1b[2J\\udce9: No such file"),
    ],
)
def test_what_the_system_refuses_is_one_line_and_status_1(monkeypatch, capsys, error, line):
    def run(options):
        raise error

    monkeypatch.setattr(methods, "run", run)
    assert main(["methods"]) == 1
    assert capsys.readouterr().err == f"xrcam methods: error: {line}\n"


def test_nobody_reads_what_is_printed():
    command = f"{sys.executable} -m xrcam_jax.cli methods | true; echo ${{PIPESTATUS[0]}} >&2"
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert shown.stderr == "141\n"


STRANGE = ("", "--", "9" * 5000, "\udcff", "a\nb")


@pytest.mark.parametrize("value", STRANGE)
def test_strange_values_are_refused_in_one_line(capsys, tmp_path, monkeypatch, value):
    """No value of any option gives a traceback; the rest of the command line is such that nothing is done."""
    monkeypatch.chdir(tmp_path)
    commands = {
        "explain": ["gone.png", "--model", "resnet18"],
        "prepare": ["gone", "out"],
        "train": ["gone", "--model", "resnet18", "--out", "/dev/null/out"],
        "layers": ["--model", "gone"],
        "report": ["gone"],
    }
    for name, rest in commands.items():
        options = [param.opts[0] for param in cli.load(name).params if isinstance(param, click.Option)]
        assert options
        for option in options:
            assert main([name, *rest, f"{option}={value}"]) in (1, 2), (name, option)
            error = capsys.readouterr().err
            assert error.startswith(f"xrcam {name}: error: "), (name, option)
            assert error.count("\n") == 1 or value == "a\nb", (name, option, error)


def examples(text):
    """The lines of a help that begin with the program's name, without what is beside them; backslashes join lines."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip().partition("  #")[0] for line in lines if re.match(r" +xrcam [a-z]", line)]


NAMES = [
    *((name,) for name in COMMANDS),
    *(("evaluate", name) for name in evaluate.STUDIES),
    *(("benchmark", name) for name in benchmark.SUITES),
]


@pytest.mark.parametrize("names", NAMES, ids=" ".join)
def test_the_examples_of_every_help_can_be_read(names, capsys, tmp_path, monkeypatch):
    """Each is given to the command that would run it."""
    monkeypatch.chdir(tmp_path)
    Path("xrcam_out").mkdir()
    Path("xrcam_out/settings.toml").write_text('[explain]\ninputs = ["a.png"]\n')
    assert main([*names, "--help"]) == 0
    found = examples(capsys.readouterr().out)
    assert [line for line in found if line.startswith(f"xrcam {' '.join(names)}")]
    for line in found:
        read(line)


def read(line):
    """Gives a line to the command that would run it, which raises where it cannot be read."""
    words = shlex.split(re.split(r" [>|]", line)[0])[1:]
    if words[0] == "benchmark" and words[1].startswith("-"):
        words.insert(1, "explain")
    inside = {"evaluate": evaluate.load, "benchmark": lambda name: benchmark.load(name, {})}.get(words[0])
    command = inside(words[1]) if inside else cli.load(words[0])
    with command.make_context(line, words[2 if inside else 1 :]) as context:
        assert command.options(context).repeat


def told():
    """The command lines of the pages, each with its page; what a reader has to fill in stands as dots."""
    root = Path(__file__).parents[2]
    for page in (root / "README.md", *sorted((root / "docs").rglob("*.md"))):
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if re.match(r"xrcam [a-z]", line) and "..." not in line and "--help" not in line:
                    yield pytest.param(line.partition("  #")[0], id=f"{page.name}-{line[:40].strip()}")


@pytest.mark.parametrize("line", [*told()])
def test_the_command_lines_of_the_pages_can_be_read(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in {"run", "results", "xrcam_out", *re.findall(r"--config (\S+)/settings.toml", line)}:
        Path(name).mkdir()
        Path(name, "settings.toml").write_text('[explain]\ninputs = ["a.png"]\n')
    read(line)


def test_light_commands_load_no_large_library():
    """Each would take seconds before anything is seen; networks are listed with OpenCV, and without JAX."""
    code = """
import sys
from xrcam_jax.cli import main
for words in [line.split() for line in sys.argv[1].splitlines()]:
    assert main(words) == 0
    large = {"jax", "flax", "optax", "av", "matplotlib"} | (set() if words == ["models"] else {"cv2", "numpy"})
    assert not large & set(sys.modules), (words, large & set(sys.modules))
"""
    lines = ["--help", "--version", *(f"{' '.join(names)} --help" for names in NAMES), "models"]
    shown = subprocess.run([sys.executable, "-c", code, "\n".join(lines)], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr


def test_explain_begins_without_what_it_needs_last_or_not_at_all():
    """Sheets are drawn at the end, and matplotlib is imported meanwhile; few networks are ONNX files."""
    code = "import sys, xrcam_jax.commands.explaining; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "xrcam_jax.explain.explainer" in shown
    assert not {"matplotlib.figure", "xrcam_jax.onnx.load", "av", "scipy", "sklearn", "skimage"} & set(shown)


def test_a_home_that_cannot_be_written_is_no_matter():
    """As in a container that is run for another user."""
    code = "from xrcam_jax.cli import exit_status; exit_status('report', lambda: __import__('matplotlib') and 0)"
    home = {key: value for key, value in os.environ.items() if not key.startswith(("MPL", "XDG"))}
    nowhere = home | {"HOME": "/dev/null/nobody"}
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=nowhere)
    assert shown.stderr == ""


def test_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"xrcam {xr.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_names(shell):
    complete = {"COMP_WORDS": "xrcam expl", "COMP_CWORD": "expl" if shell == "fish" else "1"}
    assert main(["completion", shell]) == 0
    environment = {**os.environ, **complete, "_XRCAM_COMPLETE": f"{shell}_complete"}
    shown = subprocess.run([sys.executable, "-m", "xrcam_jax"], env=environment, capture_output=True, text=True)
    assert "explain" in shown.stdout
    assert "evaluate" not in shown.stdout


def test_options_are_completed_without_a_file_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "xrcam train --conf")
    monkeypatch.setenv("COMP_CWORD", "2")
    shell = shell_completion.get_completion_class("bash")(cli.program(), {}, "xrcam", VARIABLE)
    assert "plain,--config" in shell.complete()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["explain", "--methd", "x"], "unknown option '--methd'; did you mean '--method'?"),
        (["evaluate", "segmentatoin"], "unknown name 'segmentatoin'; did you mean 'segmentation'?"),
        (["benchmark", "explian"], "unknown suite 'explian'; did you mean 'explain'?"),
        (["synth"], "OUT: is missing"),
        (["evaluate"], "NAME: is missing; known: frames, segmentation, "),
        (["explain", "a.png", "--every"], "Option '--every' requires an argument"),
        (["completion", "tcsh"], "SHELL: 'tcsh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_is_near(words, line, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"xrcam {words[0]}: error: {line}")
    assert error.endswith("--help)\n")
    assert error.count("\n") == 1
