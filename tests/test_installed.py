"""The installed package stands alone: it is built as a wheel, installed in a fresh environment, run outside the clone.

The user has folders that are called ``experiments`` and ``weights_convert``, as those of the clone are. Neither side
may get in the other's way: the wheel brings no such packages, and the commands import none.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import xrcam_jax as xr

CLONE = Path(xr.__file__).parents[1]
#: What setuptools sees of the clone: the scripts too, so that a wheel which took them along would fail the test.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "xrcam_jax", "experiments", "weights_convert")
OWN = ("experiments", "weights_convert")
NETWORK = "skresnet18_narrow"


def run(*command, cwd, **environment):
    """Returns what a command prints; its complaints, if it fails, are in the assertion."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Builds the wheel from a copy of the sources, with the setuptools of this environment: nothing is downloaded."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (CLONE / name).is_dir():
            shutil.copytree(CLONE / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CLONE / name, source)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    run(sys.executable, "-c", build, out, cwd=source, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    (path,) = out.glob("*.whl")
    return path


@dataclass(frozen=True)
class Installed:
    """Holds a fresh environment with the wheel in it, and a folder of the user's."""

    programs: Path
    packages: Path
    folder: Path

    def xrcam(self, *arguments):
        """Runs the installed command in the user's folder, which is where Python looks first."""
        return run(self.programs / "xrcam", *arguments, cwd=self.folder, PYTHONPATH=str(self.folder))

    def python(self, code):
        return run(self.programs / "python", "-c", code, cwd=self.folder)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Installs the wheel; its dependencies are those of this environment."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=True)
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    run(programs / "python", "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=home)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(programs / "python", "-c", where, cwd=home).strip())
    # Not its editable installs: a folder that a .pth file names is searched, but .pth files inside of it are not read.
    paths = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (packages / "dependencies.pth").write_text("\n".join(paths))
    folder = tmp_path_factory.mktemp("user")
    for name in OWN:
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
    return Installed(programs, packages, folder)


def test_the_wheel_holds_the_package_and_all_of_it(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if not name.endswith("/")}
    metadata = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    sources = {path.relative_to(CLONE).as_posix() for path in (CLONE / "xrcam_jax").rglob("*") if path.is_file()}
    assert names - metadata == {name for name in sources if "__pycache__" not in name}
    data = {Path(name).suffix for name in names - metadata}
    assert data == {".py", ".typed", ".html", ".css", ".js", ".md", ".safetensors", ".txt"}


@pytest.mark.parametrize("package", [True, False], ids=["with __init__.py", "without"])
def test_folders_of_ones_own_are_what_python_imports(installed, tmp_path, package):
    for name in OWN:
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(f"NAME = {name!r}")
        if package:
            (tmp_path / name / "__init__.py").touch()
    code = "import xrcam_jax, experiments.mine, weights_convert.mine\nprint(xrcam_jax.__file__)\n" + "\n".join(
        f"print({name}.mine.NAME)" for name in OWN
    )
    where, *names = run(installed.programs / "python", "-c", code, cwd=tmp_path).splitlines()
    assert Path(where) == installed.packages / "xrcam_jax" / "__init__.py"
    assert tuple(names) == OWN


def test_convert(installed):
    weights = installed.packages / "xrcam_jax" / "checkpoints" / "packaged" / f"{NETWORK}.safetensors"
    assert "2 classes, sha256" in installed.xrcam("convert", NETWORK, weights, "converted")
    assert (installed.folder / "converted" / "config.json").is_file()


def test_demo(installed):
    out = installed.xrcam("demo", "--out", "demo")
    assert "| xrelevance_cam |" in out
    assert (installed.folder / "demo" / "structures.jpg").is_file()


def test_evaluate(installed):
    """The way leads from drawn recordings to a table, with the network that comes with the package."""
    installed.xrcam("synth", "drawn", "--patients", "6", "--frames", "12", "--side", "32")
    installed.xrcam("prepare", "drawn/recordings", "prepared")
    weights = installed.packages / "xrcam_jax" / "checkpoints" / "packaged" / f"{NETWORK}.safetensors"
    data = ("--data", "prepared", "--annotations", "drawn/annotations.json", "--part", "all", "--limit", "2")
    network = ("--weights", weights, "--methods", "grad_cam", "--layers", "layer4", "--batch-size", "1")
    assert "Pooled IoU" in installed.xrcam("evaluate", "segmentation", *data, *network, "--out", "results")
    assert "(centred disc)" in (installed.folder / "results" / "segmentation" / "per_layer.csv").read_text()


@pytest.mark.long
def test_benchmark(installed):
    """This suite starts processes of its own, which have to find the package too."""
    options = ("--models", NETWORK, "--batch-sizes", "1", "--sizes", "32", "--out", "memory.json")
    assert f"| {NETWORK} |" in installed.xrcam("benchmark", "memory", *options)
    (row,) = json.loads((installed.folder / "memory.json").read_text())["rows"]
    assert row["gradient_compiled_mb"] > 0
