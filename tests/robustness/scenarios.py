"""The commands that are killed and disturbed: what they read and write, and what may differ in the end.

Outputs are compared byte by byte with those of an undisturbed run, but for what :data:`VIEWS` lists.
"""

import csv
import fnmatch
import functools
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import xrcam_jax as xr
from tests.robustness.runs import TINY, Ended, apart, count_changes, fresh, run

#: The folder, in the working directory, into which every command writes.
OUT = "out"


@dataclass(frozen=True)
class Scenario:
    """A command with its inputs.

    Attributes:
      name: of the scenario.
      arguments: of ``xrcam``; the command writes into ``OUT`` alone.
      inputs: what is in the working directory before: files of earlier scenarios, as ``NAME/PATH``.
      growing: patterns of files that change while the command runs; all others have one content, or are not there.
      share: how often it is taken, beside the others.
    """

    name: str
    arguments: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    growing: tuple[str, ...] = ()
    share: int = 1

    def named(self) -> list[str]:
        """Returns names of which a message about a folder or file of this command has one."""
        return [OUT, *(path.rpartition("/")[2] for path in self.inputs)]


_NETWORK = ("--model", TINY)
_WEIGHTS = ("--weights", "best.safetensors")
_FEW = ("--method", "xrelevance_cam,grad_cam", "--layers", "layer1,layer4")
_STUDY = ("--part", "all", "--batch-size", "4", "--methods", "xrelevance_cam,grad_cam")

SCENARIOS = (
    Scenario("synth", ("synth", OUT, "--patients", "6", "--frames", "72", "--side", "32"), share=2),
    Scenario(
        "prepare",
        ("prepare", "recordings", f"{OUT}/prepared", "--split", "1/1/1", "--folds", "3"),
        ("synth/out/recordings",),
        growing=("*/.progress/*",),
        share=4,
    ),
    Scenario(
        "train",
        ("train", "prepared", *_NETWORK, "--size", "32", "--batch-size", "4", "--epochs", "2", "--out", f"{OUT}/run"),
        ("prepare/out/prepared",),
        growing=("*/metrics.csv", "*/curves.png", "*/tensorboard/*", "*/last/*", "*/best/*"),
        share=1,
    ),
    Scenario(
        "explain_folder",
        ("explain", "P01", *_NETWORK, *_WEIGHTS, *_FEW, "--batch-size", "4", "--out", f"{OUT}/explained"),
        ("prepare/out/prepared/frames/GBM/P01", "train/out/run/best.safetensors"),
        growing=("*/summary.csv",),
        share=3,
    ),
    Scenario(
        "explain_video",
        ("explain", "scan1.avi", *_NETWORK, *_WEIGHTS, *_FEW, "--batch-size", "4", "--out", f"{OUT}/overlay.mp4"),
        ("synth/out/recordings/GBM/P01/scan1.avi", "train/out/run/best.safetensors"),
        # Frames that were explained before an interruption are kept under a name that says so.
        growing=("*unfinished*",),
        share=2,
    ),
    Scenario(
        "evaluate",
        (
            *("evaluate", "segmentation", "--data", "prepared", "--annotations", "annotations.json"),
            *(*_WEIGHTS, *_STUDY, "--out", f"{OUT}/results"),
        ),
        ("prepare/out/prepared", "synth/out/annotations.json", "train/out/run/best.safetensors"),
        share=2,
    ),
    Scenario(
        "concepts",
        (
            *("concepts", "prepared", *_WEIGHTS, "--part", "all", "--batch-size", "4", "--layer", "layer3"),
            *("--out", f"{OUT}/results"),
        ),
        ("prepare/out/prepared", "train/out/run/best.safetensors"),
        # What is done so far is in a file for each process, which grows with every batch.
        growing=("*/batches/*",),
        share=2,
    ),
    Scenario(
        "convert_orbax",
        ("convert", TINY, "best.safetensors", f"{OUT}/orbax"),
        ("train/out/run/best.safetensors",),
        share=2,
    ),
    Scenario("convert_back", ("convert", TINY, "orbax", f"{OUT}/back.safetensors"), ("convert_orbax/out/orbax",)),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


#: Columns of a training's curves that say how long something took.
TIMES = ("seconds", "images_per_second")


def _without_times(content: bytes) -> bytes:
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    return json.dumps([{k: v for k, v in row.items() if k not in TIMES} for row in rows]).encode()


def _nothing(_: bytes) -> bytes:
    return b""


#: What may differ: times in the curves of a training, and TensorBoard's logs, whose names have time and host in them.
VIEWS: dict[str, Callable[[bytes], bytes]] = {"*/metrics.csv": _without_times, "*/tensorboard/*": _nothing}
#: Orbax writes times and random names. Of its folders the tensors are compared, and of the progress all but times.
ORBAX = ("*/orbax", "*/run/last/*", "*/run/best/*")


def contents(folder: Path) -> dict[str, bytes]:
    """Returns what is compared of a folder: a digest or content by relative path."""
    checkpoints = [p for p in folder.rglob("*") if p.is_dir() and any(fnmatch.fnmatch(str(p), o) for o in ORBAX)]
    checkpoints = [path for path in checkpoints if not any(other in path.parents for other in checkpoints)]
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or any(checkpoint in path.parents for checkpoint in checkpoints):
            continue
        view = next((view for pattern, view in VIEWS.items() if fnmatch.fnmatch(str(path), pattern)), None)
        if view is _nothing:
            continue
        content = path.read_bytes()
        found[name] = hashlib.sha256(view(content) if view else content).digest()
    for path in checkpoints:
        try:
            found[path.relative_to(folder).as_posix()] = apart(lambda path=path: tensors(path))
        except RuntimeError:
            found[path.relative_to(folder).as_posix()] = b"damaged"
    return found


def tensors(folder: Path) -> bytes:
    """Returns a digest of all that an Orbax checkpoint holds, but for times."""
    import jax
    import orbax.checkpoint as ocp

    described = folder / "config.json"
    config = json.loads(described.read_text()) if described.is_file() else {}
    # A converted network says where its arrays lie; the folders take turns. Its files' digest is of times, too.
    state = folder / config.get("state", {}).get("folder", "state")
    state = state if state.is_dir() else folder
    arrays = ocp.PyTreeCheckpointer().restore(state.absolute())
    config = {name: value for name, value in config.items() if name not in ("state", "digest")}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        digest.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
    progress = folder / "progress" / "metadata"
    if progress.is_file():
        digest.update(json.dumps(_timeless(json.loads(progress.read_text())), sort_keys=True).encode())
    return digest.digest()


def _timeless(content: Any) -> Any:
    """Returns JSON without the values that are times, are sums with times in them, or checksums of such."""
    if isinstance(content, dict):
        return {k: _timeless(value) for k, value in content.items() if k not in (*TIMES, "totals", "digest")}
    return [_timeless(value) for value in content] if isinstance(content, list) else content


def differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """Lists the files that are missing, left over or another than wanted."""
    return [
        *(f"missing: {name}" for name in sorted(wanted.keys() - found.keys())),
        *(f"left over: {name}" for name in sorted(found.keys() - wanted.keys())),
        *(f"another: {name}" for name in sorted(found.keys() & wanted.keys()) if found[name] != wanted[name]),
    ]


@dataclass(frozen=True)
class Reference:
    """An undisturbed run.

    Attributes:
      scenario: the command.
      inputs: its inputs.
      made: its folder of outputs.
      wanted: what it wrote, see :func:`contents`.
      seconds: how long it took, with all programs compiled before.
      changes: how many changes of files Python made.
    """

    scenario: Scenario
    inputs: tuple[Path, ...]
    made: Path
    wanted: dict[str, bytes]
    seconds: float
    changes: int


def references(folder: Path, names: tuple[str, ...]) -> dict[str, Reference]:
    """Runs the scenarios undisturbed, and those whose outputs they read.

    Args:
      folder: gets a folder for each scenario.
      names: of the scenarios.

    Returns:
      The references, by the scenarios' names.
    """
    needed: list[str] = []
    for scenario in reversed(SCENARIOS):
        if scenario.name in names or any(
            path.startswith(f"{scenario.name}/") for n in needed for path in BY_NAME[n].inputs
        ):
            needed.append(scenario.name)
    return {name: _reference(folder, BY_NAME[name]) for name in reversed(needed)}


def _reference(folder: Path, scenario: Scenario) -> Reference:
    """Runs a scenario undisturbed, or reads what was found about that with the same code."""
    inputs = tuple(folder / path for path in scenario.inputs)
    place, note = folder / scenario.name, folder / f"{scenario.name}.json"
    known = json.loads(note.read_text()) if note.exists() else {}
    if known.get("code") != _code():
        known = {"code": _code(), **_found(folder, scenario, inputs)}
        note.write_text(json.dumps(known))
    wanted = {name: bytes.fromhex(digest) for name, digest in known["wanted"].items()}
    return Reference(scenario, inputs, place / OUT, wanted, known["seconds"], known["changes"])


def _found(folder: Path, scenario: Scenario, inputs: tuple[Path, ...]) -> dict:
    # The first run compiles; the second one is timed and counted, and has to write the same.
    place, again = folder / scenario.name, folder / "again" / scenario.name
    first = _undisturbed(scenario, place, inputs)
    wanted = contents(place / OUT)
    counter = folder / f"{scenario.name}.changes"
    counter.write_text("0")
    ended = _undisturbed(
        scenario, again, inputs, lambda: count_changes(Path(OUT), lambda n: counter.write_text(str(n + 1)))
    )
    differ = differences(contents(again / OUT), wanted)
    if differ:
        print(f"  {scenario.name}: two undisturbed runs differ: {'; '.join(differ[:4])}", flush=True)
    changes = int(counter.read_text())
    print(
        f"  {scenario.name}: {ended.seconds:.1f} s ({first.seconds:.1f} s at first), {changes} changes of files",
        flush=True,
    )
    return {"wanted": {n: digest.hex() for n, digest in wanted.items()}, "seconds": ended.seconds, "changes": changes}


def _undisturbed(scenario: Scenario, place: Path, inputs: tuple[Path, ...], before: Callable | None = None) -> Ended:
    ended = run(scenario.arguments, fresh(place, inputs), before)
    if ended.status != 0:
        raise RuntimeError(f"{scenario.name}, undisturbed, ended with {ended.status}: {ended.err[-1000:]}")
    return ended


@functools.cache
def _code() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(xr.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
