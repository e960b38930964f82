"""The house: which room may know which, what the library shows of itself, and what its files have in common."""

import ast
import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

import xrcam_jax as xr

PACKAGE = Path(xr.__file__).parent
#: Each room may import from those before it, never from those beside or behind it.
LAYERS = (
    ("errors", "marks", "classes", "titles"),
    ("runtime",),
    ("ops", "lrp", "pictures"),
    ("figures",),
    ("models", "attribution", "data", "train"),
    ("checkpoints", "cam", "metrics"),
    ("explain",),
    ("onnx", "report", "evaluation", "concepts"),
    ("__init__",),
    ("arguments",),
    ("studies", "view"),
    ("benchmark",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
LEVELS = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def room_of(module):
    """The room of a module of the package: the first part of its name, or the face of the package."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LEVELS else "__init__"


def imports(path):
    """The modules that a file imports; names that it takes from the package itself count as its face."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "xrcam_jax":
            yield from (f"xrcam_jax.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_arrow_points_down(path):
    module = ".".join(("xrcam_jax", *path.relative_to(PACKAGE).with_suffix("").parts))
    here = room_of(module)
    for found in imports(path):
        assert found.partition(".")[0] not in ("experiments", "weights_convert", "tests"), found
        if found.partition(".")[0] == "xrcam_jax" and room_of(found) != here:
            # The face shows what the rooms have, and is read from outside.
            assert here == "__init__" or LEVELS[room_of(found)] < LEVELS[here], f"{here} imports {found}"


def test_no_file_imports_itself_in_a_circle():
    modules = {".".join(("xrcam_jax", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in FILES}
    known = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    arrows = {
        name: {found for found in imports(path) if found in known and found != name} for name, path in known.items()
    }
    arrows.pop("xrcam_jax")
    while arrows:
        ends = {name for name, to in arrows.items() if not to & arrows.keys()}
        assert ends, f"these import one another in a circle: {sorted(arrows)}"
        arrows = {name: to for name, to in arrows.items() if name not in ends}


def test_every_room_has_its_place():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"} - {"__pycache__"}
    assert rooms == set(LEVELS)


def test_the_face_shows_the_public_names_alone():
    assert dir(xr) == sorted(xr.__all__)
    assert all(getattr(xr, name) is not None for name in xr.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'explainer'"):
        _ = xr.explainer


def test_type_checkers_see_the_names_that_are_loaded_later():
    tree = ast.parse(Path(xr.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    # The functions lrp and cam have the names of folders, and properties of the face load them.
    assert set(seen) == {*xr._LATER, "lrp", "cam"}
    for name, place in xr._LATER.items():
        assert f"xrcam_jax.{place}" in (seen[name], f"{seen[name]}.{name}")


def test_the_import_brings_no_other_library():
    late = {"jax", "flax", "cv2", "PIL", "av", "optax"}
    code = f"import sys, xrcam_jax; assert not {late} & set(sys.modules); print(xrcam_jax.lrp, xrcam_jax.cam)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert re.fullmatch(r"<function lrp .*> <function cam .*>\n", shown)


ROOT = PACKAGE.parent
BIBLIOGRAPHY = ROOT / "docs" / "references.bib"


def docstrings(path):
    """All docstrings of a file: of the module, its classes and its functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
            yield text


def cited(docstring):
    """The keys in the section ``References:``, which ends at the first line that is not indented."""
    _, _, section = f"\n{docstring}\n".partition("\nReferences:\n")
    lines = takewhile(lambda line: not line or line.startswith(" "), section.splitlines())
    return re.findall(r"\b[a-z]+\d{4}\b", "\n".join(lines))


def test_the_bibliography_has_what_is_cited_and_nothing_else():
    entries = re.findall(r"^@\w+\{(\w+),$", BIBLIOGRAPHY.read_text(), flags=re.MULTILINE)
    assert len(entries) == len(set(entries))
    keys: dict[str, str] = {}
    for path in FILES:
        for text in docstrings(path):
            assert cited(text) or "References:" not in text, f"{path.name} has references that name no key"
            keys.update(dict.fromkeys(cited(text), path.name))
    assert not {key: name for key, name in keys.items() if key not in entries}, "cited, but not in docs/references.bib"
    assert not set(entries) - set(keys), "in docs/references.bib, but never cited"


def test_every_entry_says_who_wrote_what_and_when():
    entries = re.findall(r"^@\w+\{(\w+),\n(.*?)^\}$", BIBLIOGRAPHY.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert entries
    for key, fields in entries:
        names = re.findall(r"^  (\w+) +=", fields, flags=re.MULTILINE)
        assert {"author", "title", "year"} <= set(names), key
        assert re.search(r"year += \{(\d+)\}", fields)[1] == key[-4:]


#: Rooms whose functions others build on; those of commands and studies are for the command line.
LIBRARY = ("lrp", "cam", "attribution", "explain", "metrics", "models", "ops", "checkpoints", "data", "train", "report")
LIBRARY += ("onnx", "pictures", "figures", "runtime", "evaluation", "concepts")


def public_functions(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def missing_sections(function):
    """The sections that the docstring of a public function ought to have and has not."""
    text = ast.get_docstring(function) or ""
    if (function.args.args or function.args.kwonlyargs) and "Args:" not in text:
        yield "Args"
    gives_nothing = isinstance(function.returns, ast.Constant) and function.returns.value is None
    if not gives_nothing and not re.search(r"^Returns|^Yields", text, flags=re.MULTILINE):
        yield "Returns"
    if ">>>" not in text:
        yield "Example"


@pytest.mark.parametrize("room", LIBRARY)
def test_public_functions_say_what_they_take_and_return_and_show_it(room):
    missing = {
        f"{path.name}: {function.name}": found
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for function in public_functions(path)
        if (found := list(missing_sections(function)))
    }
    assert not missing


def test_files_and_functions_are_short():
    scripts = [path for folder in ("experiments", "weights_convert") for path in (ROOT / folder).rglob("*.py")]
    viewer = list(PACKAGE.rglob("*.js"))
    assert {path.name: lines for path in [*FILES, *scripts, *viewer] if (lines := len(text(path))) > 400} == {}
    assert {name: lines for path in [*FILES, *scripts] for name, lines in lengths(path) if lines > 40} == {}


def text(path):
    return path.read_text().splitlines()


def lengths(path):
    """The functions of a file and how many lines they have, without their docstrings."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) is not None else 0
            yield f"{path.name}: {node.name}", node.end_lineno - node.lineno + 1 - docstring


@pytest.mark.parametrize("room", LIBRARY)
def test_library_rooms_log_and_do_not_print(room):
    # Commands speak to who runs them; what a library has to say, its caller decides about.
    for path in sorted((PACKAGE / room).rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"], path
