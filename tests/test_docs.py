"""The documentation is true: paths and names that it mentions exist, and its code runs."""

import ast
import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from tests.test_house import FILES, LAYERS, PACKAGE
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.cli import main
from xrcam_jax.data.cohort import SMALL, write_cohort
from xrcam_jax.models.specs import SPECS, SelectiveKernelSpec, Spec
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.pictures.write import save_picture

ROOT = PACKAGE.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(PACKAGE.rglob("*.md")),
]
TOPS = "xrcam_jax|experiments|weights_convert"


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request):
    return request.param


def code(text):
    """What stands between backticks, spans and blocks alike."""
    return re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", text, flags=re.DOTALL)


def find(name):
    """The module, class, function or attribute with this dotted name; raises where there is none."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


def test_paths_exist(page):
    text = page.read_text()
    found = re.findall(
        rf"(?<![\w/.])(?:{TOPS}|tests|docs|benchmarks|\.ci|\.github)/[\w./-]*", "\n".join(map("".join, code(text)))
    )
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    missing = [path for path in found if not (ROOT / path.rstrip(".")).exists()]
    missing += [link for link in linked if not (page.parent / link).exists()]
    assert not missing


def test_dotted_names_exist(page):
    if page.name == "CHANGELOG.md":
        pytest.skip("it names what is no longer there; the test below reads its table")
    for name in set(re.findall(rf"\b(?:{TOPS}|xr)(?:\.[A-Za-z]\w*)+", page.read_text())):
        if not name.endswith((".py", ".md", ".git")):
            find(re.sub(r"^xr\.", "xrcam_jax.", name))


def test_the_changelog_says_where_modules_have_moved():
    rows = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert rows
    for old, new in rows:
        assert importable(new), new
        assert not importable(old), old


def importable(name):
    """Whether there is a module of that name; a public name of the package's face is none."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_the_citation_is_of_this_version():
    assert f"\nversion: {xr.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_references_in_docstrings_resolve(path):
    text = path.read_text()
    module = ".".join(("xrcam_jax", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    classes = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    for name in set(re.findall(r":(?:func|mod|class|meth|attr|data):`~?([\w.]+)`", text)):
        places = [name, f"{module}.{name}", *(f"{module}.{owner}.{name}" for owner in classes)]
        assert any(map(exists, places)), name


def exists(name):
    try:
        find(name)
    except AttributeError:
        return False
    return True


def test_the_table_of_rooms_is_that_of_the_house():
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", page, flags=re.MULTILINE)
    assert [int(floor) for floor, _ in rows] == list(range(len(LAYERS), 0, -1))
    assert [tuple(re.findall(r"`(\w+)`", rooms)) for _, rooms in rows] == list(reversed(LAYERS))


def test_the_names_beside_paths_are_in_those_files():
    page = (ROOT / "docs" / "architecture.md").read_text()
    found = re.findall(r"`(xrcam_jax/[\w/]+)\.py`[,:] ((?:`\w+`(?: and )?)+)", page)
    assert len(found) > 2
    for path, names in found:
        module = importlib.import_module(path.replace("/", "."))
        assert all(hasattr(module, name) for name in re.findall(r"`(\w+)`", names)), names


def test_the_table_has_all_methods():
    page = (ROOT / "docs" / "methods.md").read_text()
    rows = re.findall(r"^\| (activation|propagation|perturbation) \| (.*) \|$", page, re.MULTILINE)
    listed = [
        (family, name) for family, names in rows for name in re.findall(r"`(\w+)`", names) if name != "perturbation"
    ]
    assert listed == [(method.family, name) for name, method in xr.METHODS.items()]


COUNTS = (
    ("README.md", r"JAX: (\d+) methods", len(xr.METHODS)),
    ("README.md", r"class activation maps \| (\d+) \|", sum(m.family == "activation" for m in xr.METHODS.values())),
    ("README.md", r"(\d+) metrics", len(xr.METRICS)),
    ("docs/index.md", r"all of (\d+) methods", len(xr.METHODS)),
    ("docs/howto/choosing.md", r"There are (\d+) methods", len(xr.METHODS)),
)


@pytest.mark.parametrize(("page", "said", "number"), COUNTS)
def test_pages_count_right(page, said, number):
    assert [int(found) for found in re.findall(said, (ROOT / page).read_text())] == [number]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with what the code reads; the network that it names is one that compiles in no time."""
    kernel = SelectiveKernelSpec(reduction=8, divisor=8, split_input=True)
    wants = Preprocessing(input_size=(32, 32))
    monkeypatch.setitem(
        SPECS, "skresnext50_32x4d", Spec((1, 1, 1, 1), False, None, wants, selective_kernel=kernel, planes=8)
    )
    monkeypatch.chdir(tmp_path)
    save_timm(xr.create_model("skresnext50_32x4d", rngs=nnx.Rngs(0)), "skresnext50.safetensors")
    save_picture("scan.png", np.random.default_rng(0).integers(0, 256, (50, 40, 3)).astype(np.uint8))


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """A folder with recordings that were drawn and prepared as the page says."""
    monkeypatch.chdir(tmp_path)
    write_cohort("synthetic", replace(SMALL, gbm=3, meningioma=3, videos=1, frames=6, side=48), progress=False)
    assert main(["prepare", "synthetic/recordings", "prepared"]) == 0


def run(path):
    """Runs all blocks of a page, one after another, as a reader would try them; returns what they name."""
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(), flags=re.DOTALL):
        exec(compile(block, path, "exec"), names)
    return names


def test_the_readmes_code_runs(small):
    names = run("README.md")
    assert names["e"].maps["grad_cam"]["layer4"].shape == (1, 32, 32)
    assert Path("maps.pdf").read_bytes().startswith(b"%PDF")
    assert {"maps", "overlays", "sheet.png"} <= {path.name for path in Path("explained").iterdir()}
    assert names["maps"].shape == names["images"].shape[:3]


def test_the_code_for_recordings_runs(recordings):
    assert run("docs/howto/recordings.md")["annotations"].report.outcomes["used"] > 0
