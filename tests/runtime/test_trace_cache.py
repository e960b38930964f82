"""What was traced is found again by later processes, and only where it is still right."""

import ast
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from xrcam_jax.attribution.shapes import shapes
from xrcam_jax.explain import outline, passes
from xrcam_jax.explain.functional import as_function
from xrcam_jax.explain.inputs import views_of
from xrcam_jax.runtime import trace_cache as traced

METHODS = ("xrelevance_cam", "grad_cam", "eigen_cam", "gradient_x_input")
PROGRAM = """
import sys
import jax, numpy
import xrcam_jax as xr
from xrcam_jax.runtime import trace_cache as traced
from xrcam_jax.explain import outline, passes
from tests.runtime.test_trace_cache import Small

jax.config.update("jax_compilation_cache_dir", sys.argv[1])
traced._KNOWN.add("tests")
if sys.argv[2:]:
    passes.tap_program = outline.program_for = None
print(float(xr.Explainer(Small())(numpy.ones((1, 6, 6, 3), numpy.float32)).raw["xrelevance_cam"]["first"].sum()))
"""


class Small(nnx.Module):
    """A model whose code the fixture below declares to be known."""

    def __init__(self, classes=2, seed=0):
        keys = jax.random.split(jax.random.key(seed), 2)
        self.kernel = nnx.Param(jax.random.normal(keys[0], (3, 4)))
        self.head = nnx.Param(jax.random.normal(keys[1], (4, classes)))

    def __call__(self, x):
        x = xr.mark(nnx.relu(x @ self.kernel[...]), "first")
        return x.mean((1, 2)) @ self.head[...]


@pytest.fixture
def folder(tmp_path):
    """Gives a test a compilation cache of its own; what others have traced is forgotten before and after it."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    forget()
    yield tmp_path / "traced"
    jax.config.update("jax_compilation_cache_dir", before)
    forget()


def forget():
    """Forgets what was traced, as in a process that has just begun."""
    jax.clear_caches()
    outline._outline.cache_clear()


def programs(known):
    """Returns the files of what was traced, without the key."""
    return {path for path in known.iterdir() if path.name != ".key"}


def never(*args, **options):
    raise AssertionError("traced again")


@pytest.fixture
def known(folder, monkeypatch):
    """Returns the folder, and has the code of this file count as known."""
    monkeypatch.setattr(traced, "_KNOWN", {*traced._KNOWN, __name__.partition(".")[0]})
    return folder


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((2, 6, 6, 3)).astype(np.float32)


def explained(model, images, **options):
    return jax.device_get(xr.Explainer(model, **({"methods": METHODS} | options))(images))


def same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-5 * (1e-3 + np.abs(y).max())), a, b)


def test_what_was_kept_is_not_traced_again_and_says_the_same(known, images, monkeypatch):
    first = explained(Small(), images)
    # The program, and the outline of the model.
    assert len(programs(known)) == 2
    forget()
    monkeypatch.setattr(passes, "tap_program", never)
    monkeypatch.setattr(outline, "program_for", never)
    same(explained(Small(), images), first)
    jax.config.update("jax_compilation_cache_dir", None)
    forget()
    with pytest.raises(AssertionError, match="traced again"):
        explained(Small(), images)
    monkeypatch.undo()
    same(explained(Small(), images), first)


def test_a_target_is_part_of_the_name_and_one_from_elsewhere_is_not_kept(known, images):
    function, parameters = as_function(Small())

    def name(target):
        (view,) = views_of(function, parameters, images, None, target).values()
        return traced.name_of(print, {"function": view.function}, shapes((view.images, view.parameters)))

    mask = np.ones((1, 6, 6), np.float32)
    kinds = [None, *map(xr.targets.output, (0, 1)), xr.targets.contrast(0, 1), xr.targets.region(mask)]
    names = [name(target) for target in kinds]
    assert None not in names
    assert len(set(names)) == len(kinds)
    assert name(xr.targets.output(1)) == names[2]
    assert name(xr.targets.region(0 * mask)) == names[4]
    assert name(lambda out: out[:, 0]) is None
    assert name(jax.tree_util.Partial(lambda a, out: out[:, 0] * a, mask)) is None


@pytest.mark.long
def test_another_process_finds_it_again(tmp_path):
    def run(*argv, seed):
        environment = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), *argv]
        return float(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)

    assert run(seed=1) == pytest.approx(run("without tracing", seed=2), rel=1e-5)


@pytest.mark.long
def test_other_models_shapes_rules_and_settings_are_others(known, images):
    seen = set()

    def found():
        new = {path.name for path in programs(known)} - seen
        seen.update(new)
        return len(new)

    explained(Small(), images)
    assert found() == 2
    explained(Small(), images[:1])
    assert found() == 2
    explained(Small(classes=3), images)
    assert found() == 2
    explained(Small(), images, composite=xr.composites.epsilon_plus())
    assert found() == 1
    with jax.default_matmul_precision("float32"):
        explained(Small(), images)
    # The program alone, since nothing of the outline is a product.
    assert found() == 1
    explained(Small(seed=1), images)
    assert found() == 0


def read_code_anew():
    """Forgets the code of the package, as in a process that has just begun."""
    traced._code.cache_clear()
    traced._read.cache_clear()


def test_only_code_that_a_trace_can_run_is_part_of_the_name(tmp_path, monkeypatch):
    package = tmp_path / "xrcam_jax"
    imports = {
        "__init__.py": "from xrcam_jax import report\n",
        "passes.py": "from xrcam_jax.lrp import (\n    rules,\n)\nimport numpy as np\n",
        "lrp/__init__.py": "",
        "lrp/rules.py": "def f():\n    import xrcam_jax.ops as ops, sys\n",
        "ops/__init__.py": "from xrcam_jax.sums import (add,  # A comment\n subtract)\n",
        "sums.py": "",
        "report.py": "import xrcam_jax\n",
        "lrp/plans.py": "",
    }
    for name, text in imports.items():
        path = package / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    monkeypatch.setattr(traced, "_PACKAGE", package)

    def digest():
        read_code_anew()
        return traced._code(frozenset({"xrcam_jax.passes", "jax.numpy", "xrcam_jax"}))

    changed = set()
    for name, text in imports.items():
        before = digest()
        (package / name).write_text(f"{text}x = 1\n")
        if digest() != before:
            changed.add(name)
    assert changed == {"passes.py", "lrp/__init__.py", "lrp/rules.py", "ops/__init__.py", "sums.py"}
    read_code_anew()


def test_imports_are_found_as_python_finds_them():
    package = Path(xr.__file__).parent
    names = {path: ".".join(path.with_suffix("").relative_to(package.parent).parts) for path in package.rglob("*.py")}
    files = {name.removesuffix(".__init__"): path for path, name in names.items()}

    def imports(path):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} says not in full what it imports"
                yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))

    wanted, asked = set(), [files["xrcam_jax.explain.explainer"], files["xrcam_jax.models.resnet"]]
    while asked:
        path = asked.pop()
        if path not in wanted and path != package / "__init__.py":
            wanted.add(path)
            asked += [files[name] for name in imports(path) if name in files]
    found = set(traced.imported(["xrcam_jax.explain.explainer", "xrcam_jax.models.resnet"]))
    assert found == wanted
    rooms = {path.relative_to(package).parts[0] for path in found}
    assert {"lrp", "ops", "cam", "attribution", "models"} <= rooms
    assert not rooms & {"report", "commands", "studies", "data", "train", "benchmark", "view"}


def test_of_models_from_elsewhere_nothing_is_kept(folder, images):
    assert np.isfinite(explained(Small(), images).logits).all()
    explained(lambda x: x.mean((1, 2)), images, layers=("input",), methods=("gradient",))
    assert not folder.exists()


def test_the_networks_of_this_package_are_known(folder):
    function, parameters = as_function(nnx.eval_shape(lambda: xr.create_model("skresnet18_narrow")))
    structure, leaves = shapes(parameters)
    name = traced.name_of(as_function, {"function": function}, (structure, leaves))
    assert name == traced.name_of(as_function, {"function": function}, (structure, leaves))
    assert name != traced.name_of(as_function, {"function": function}, (structure, leaves[:-1]))


class Called(Small):
    """A program with a callback to the host, which cannot be kept."""

    def __call__(self, x):
        one = jax.pure_callback(lambda: np.float32(1), jax.ShapeDtypeStruct((), np.float32))
        return super().__call__(x) * one


def test_what_cannot_be_kept_is_traced_each_time(known, images):
    same(explained(Called(), images), explained(Small(), images))
    names = programs(known)
    # Two outlines and one program.
    assert len(names) == 3


def test_a_fault_of_the_model_is_told_as_ever(known, images):
    with pytest.raises(TypeError, match=r"dot_general|shapes"):
        explained(Small(), images[..., :2])


def test_a_damaged_file_is_written_anew(known, images, caplog):
    first = explained(Small(), images)
    contents = {path: path.read_bytes() for path in programs(known)}
    for damage in (lambda content: b"", lambda content: content[:-7], lambda content: content[:90] + b"x" * 200):
        caplog.clear()
        for path, content in contents.items():
            path.write_bytes(damage(content))
        forget()
        same(explained(Small(), images), first)
        assert all(path.read_bytes()[64:] == content[64:] for path, content in contents.items())
        lines = [record.getMessage() for record in caplog.records]
        told = [f"{path} is discarded and made anew: it is not what was written there" for path in contents]
        assert sorted(lines) == sorted(told)


def test_a_planted_program_is_not_run(known, images):
    """Whoever can write files, but does not know the key, can at best have them discarded."""
    first, other = explained(Small(), images), explained(Small(seed=1, classes=3), images)
    assert other.logits.shape == (2, 3)
    for path in programs(known):
        content = path.read_bytes()[64:]
        path.write_bytes(sha256(content[::-1]).hexdigest().encode() + content[::-1])
    forget()
    same(explained(Small(), images), first)
    # A file of another program that was written with the key is not that program either.
    one, *others = sorted(programs(known))
    for path in others:
        path.write_bytes(one.read_bytes())
    forget()
    same(explained(Small(), images), first)


def test_what_can_be_read_and_not_run_is_made_anew(known, images, monkeypatch, caplog):
    """Another version may have written it, or this one with a fault."""
    first = explained(Small(), images)
    key = (known / ".key").read_bytes()
    for path in programs(known):
        if b"first" not in path.read_bytes()[:200]:
            path.write_bytes(traced._seal(key, path.name, b"garbage") + b"garbage")
    forget()
    same(explained(Small(), images), first)
    assert [record.getMessage().count("is discarded and made anew") for record in caplog.records] == [1]


def test_a_folder_that_others_can_write_to_is_not_used(known, images, caplog):
    explained(Small(), images)
    before = {path: path.stat().st_mtime_ns for path in known.iterdir()}
    known.chmod(0o777)
    forget()
    assert np.isfinite(explained(Small(classes=4), images).logits).all()
    assert {path: path.stat().st_mtime_ns for path in known.iterdir()} == before
    assert f"{known}: not used, since others can write there" in caplog.text


def test_a_folder_that_cannot_be_written(known, images):
    known.touch()
    assert np.isfinite(explained(Small(), images).logits).all()


def test_across_devices_it_is_traced_as_ever(known, images):
    one = explained(Small(), images)
    before = set(known.iterdir())
    same(explained(Small(), images, devices=jax.local_devices()[:2]), one)
    assert set(known.iterdir()) == before


def test_what_can_be_kept(folder, images):
    assert traced.can_be_kept({"images": images, "parameters": [jax.numpy.zeros(2)], "targets": None})
    with jax.default_device(jax.local_devices()[1]):
        assert not traced.can_be_kept(images)
    assert traced.can_be_kept(jax.device_put(images, jax.local_devices()[1]))
    across = jax.sharding.NamedSharding(jax.make_mesh((2,), ("a",)), jax.P("a"))
    assert not traced.can_be_kept(jax.device_put(images, across))
    jax.config.update("jax_compilation_cache_dir", None)
    assert not traced.can_be_kept(images)
