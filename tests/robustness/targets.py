"""Who reads what: each target has seeds, ways to change them, and a reader that is the package's own."""

import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import xrcam_jax as xr
from tests.robustness import mutate
from tests.robustness.judge import Fault, listing, sound_pictures, sound_weights
from tests.robustness.runs import TINY

Change = Callable[[bytes, bytes, mutate.Choices], bytes]


@dataclass(frozen=True)
class Target:
    """Files of one kind.

    Attributes:
      name: of the kind, and of the folder of its seeds.
      files: patterns of the files that are changed, each with how.
      read: given the folder and the changed file, reads it; raises a Fault if something unsound comes out.
      share: how often it is taken, beside the others.
      named: names of which an error has one, if not that of the changed file.
      argv: of ``xrcam``, where the reader is a command.
    """

    name: str
    files: dict[str, Change]
    read: Callable[[Path, Path], Any]
    share: int
    named: tuple[str, ...] = ()
    argv: Callable[[Path, Path], list[str]] | None = None


def _coco(folder: Path, file: Path) -> None:
    frames = _frames(folder.parent / "prepared")
    annotations = xr_coco().read_annotations(file, frames)
    for name in annotations.annotated:
        annotations.masks(name)


def xr_coco():
    """Returns the module that reads COCO files, which is not loaded before it is needed."""
    from xrcam_jax.data import coco

    return coco


@functools.cache
def _frames(folder: Path):
    from xrcam_jax.data.manifest import read_prepared

    return read_prepared(folder).frames


def _prepared(folder: Path, file: Path) -> None:
    from xrcam_jax.data.folds import of_fold
    from xrcam_jax.data.manifest import read_prepared

    prepared = read_prepared(folder)
    for frame in prepared.frames:
        if not (folder / frame.file).resolve().is_relative_to(folder.resolve()):
            raise Fault(f"a frame outside of the prepared folder was accepted: {frame.file!r:.80}")
    for one in (prepared, *(of_fold(prepared, number) for number in range(3))):
        if not (np.isfinite(one.statistics.mean) and np.isfinite(one.statistics.std)):
            raise Fault(f"statistics were accepted: {one.statistics}")
        if {one.parts[frame.patient] for frame in one.frames} - {"train", "validation", "test"}:
            raise Fault(f"parts were accepted: {one.parts}")


def _notes(folder: Path, file: Path) -> None:
    """Damaged notes are as good as none: all frames are there at the end, and no other."""
    from xrcam_jax.data.frames import extract_all
    from xrcam_jax.data.recordings import find_recordings

    extracted = extract_all(find_recordings(folder / "recordings").found, folder / "prepared", every=1)
    for entry in extracted:
        if entry.numbers != [0, 1] or not all((folder / "prepared" / entry.file(n)).is_file() for n in entry.numbers):
            raise Fault(f"changed notes were believed: {entry}"[:300])


def _weights(folder: Path, file: Path) -> None:
    from xrcam_jax.checkpoints.convert import to_timm

    sound_weights(to_timm(xr.load_model(TINY, file)))


def _orbax(folder: Path, file: Path) -> None:
    """What was written with a checksum comes back as it was, or is refused; ``config.json`` may say something else."""
    from xrcam_jax.checkpoints.convert import to_timm
    from xrcam_jax.checkpoints.verify import digest

    found = digest(to_timm(xr.load_model(TINY, folder)))
    if found != _digest(folder.parent / "weights" / "best.safetensors"):
        raise Fault("other weights than were written")


@functools.cache
def _digest(file: Path) -> str:
    from xrcam_jax.checkpoints.convert import to_timm
    from xrcam_jax.checkpoints.verify import digest

    return digest(to_timm(xr.load_model(TINY, file)))


def _training(folder: Path, file: Path) -> None:
    import jax

    from xrcam_jax.train.checkpoint import Checkpoints

    checkpoints = Checkpoints(folder)
    try:
        restored = checkpoints.restore("last", _state())
    finally:
        checkpoints.close()
    if restored is not None and not jax.tree.all(jax.tree.map(np.array_equal, restored[0], _state())):
        raise Fault("another state than was written")


@functools.cache
def _state():
    from tests.train.tiny import Tiny, learner

    return learner(Tiny())[1]


def _onnx(folder: Path, file: Path) -> None:
    """What is accepted has finite parameters, and was traced once with pictures of its size."""
    sound_weights({name: np.asarray(array) for name, array in xr.from_onnx(file).parameters.items()})


def _pictures(folder: Path, file: Path) -> None:
    sound_pictures(xr.load_images(file))


def _labels(folder: Path, file: Path) -> None:
    from xrcam_jax.arguments.checks import read_labels

    names = read_labels("--labels", file)
    if not all(isinstance(name, str) for name in names):
        raise Fault(f"names that are no text: {names!r:.200}")


def _ratings(folder: Path, file: Path) -> None:
    from xrcam_jax.report.ratings import read_ratings

    found = read_ratings(sorted(folder.glob("*.csv")))
    for rating in (each for of_reader in found.values() for each in of_reader.values()):
        if not (1 <= rating.rating <= 5 and 0 <= rating.seconds < np.inf and rating.left != rating.right):
            raise Fault(f"a rating that nobody can give: {rating!r:.200}")


def _nothing(folder: Path, file: Path) -> None:
    """The command does it."""


def _report(folder: Path, file: Path) -> list[str]:
    return ["report", str(folder), "--out", str(folder.parent / "page.html")]


TARGETS = (
    Target("coco", {"annotations.json": mutate.mutated_json}, _coco, 20),
    Target(
        "prepared",
        {
            "manifest.csv": mutate.mutated_table,
            "split.csv": mutate.mutated_table,
            "folds.csv": mutate.mutated_table,
            "recordings.csv": mutate.mutated_table,
            "statistics.json": mutate.mutated_json,
            "origin.txt": mutate.mutated_text,
        },
        _prepared,
        25,
        ("manifest.csv", "split.csv", "folds.csv", "recordings.csv", "statistics.json"),
    ),
    Target("notes", {"prepared/.progress/*.json": mutate.mutated_json}, _notes, 3),
    Target("weights", {"*.safetensors": mutate.mutated_safetensors, "*.pth": mutate.mutated_bytes}, _weights, 12),
    Target("orbax", {"config.json": mutate.mutated_json, "state/**/*": mutate.mutated_bytes}, _orbax, 4, ("orbax",)),
    Target("training", {"last/**/*": mutate.mutated_bytes}, _training, 2, ("training", "last")),
    Target("pictures", {"*": mutate.mutated_bytes}, _pictures, 40),
    Target("onnx", {"*.onnx": mutate.mutated_onnx}, _onnx, 12),
    Target("videos", {"*": mutate.mutated_bytes}, _pictures, 20),
    Target("labels", {"*.txt": mutate.mutated_text, "*.json": mutate.mutated_json}, _labels, 8),
    # What does not fit to another file is said of the second of the two.
    Target("ratings", {"*.csv": mutate.mutated_table}, _ratings, 4, ("ratings_Ada.csv", "ratings_Bo.csv")),
    Target(
        "results",
        {"**/*.json": mutate.mutated_json, "**/*.csv": mutate.mutated_table, "**/*.png": mutate.mutated_bytes},
        _nothing,
        4,
        ("results",),
        _report,
    ),
)
BY_NAME = {target.name: target for target in TARGETS}

#: Valid command lines; what they name lies in the working directory, or is missing so that an accepted line ends soon.
LINES: Sequence[Sequence[str]] = (
    ("models",),
    ("methods",),
    ("layers", "--model", TINY),
    *2
    * (("explain", "rgb.png", "--model", TINY, "--weights", "best.safetensors", "--method", "grad_cam", "--out", "o"),),
    (
        "explain",
        "gone.png",
        "rgb.png",
        "--model",
        TINY,
        "--weights",
        "gone.pth",
        "--labels",
        "lines.txt",
        "--out",
        "o.mp4",
    ),
    (
        "explain",
        "rgb.png",
        "--model",
        TINY,
        "--weights",
        "gone.pth",
        "--every",
        "2",
        "--target",
        "1",
        "--batch-size",
        "2",
    ),
    ("explain", "rgb.png", "--model", TINY, "--weights", "gone.pth,lines.txt", "--passes", "2"),
    ("prepare", "gone", "o", "--every", "2", "--split", "80/10/10", "--folds", "5", "--seed", "1"),
    (
        "train",
        "gone",
        "--model",
        TINY,
        "--size",
        "32",
        "--batch-size",
        "4",
        "--class-weights",
        "1,2",
        "--dropout",
        "0.1",
    ),
    ("train", "gone", "--model", TINY, "--learning-rate", "0.1", "--accumulate", "2", "--fold", "1", "--out", "o"),
    ("evaluate", "segmentation", "--data", "gone", "--weights", "best.safetensors", "--part", "all", "--out", "o"),
    (
        "evaluate",
        "dropout",
        "--data",
        "gone",
        "--annotations",
        "lines.txt",
        "--weights",
        "gone",
        "--methods",
        "grad_cam",
    ),
    ("convert", TINY, "best.safetensors", "copy.safetensors"),
    ("convert", TINY, "gone.safetensors", "o", "--num-classes", "2", "--to", "orbax"),
    ("report", "gone", "--out", "page.html"),
    # What makes it short is said three times, since a word or two may go.
    (
        "synth",
        "lines.txt",
        *3 * ("--patients", "2", "--frames", "2", "--side", "32"),
        "--suffix",
        ".avi",
        "--seed",
        "3",
    ),
)


def scratch_for_lines(seeds: Path, folder: Path) -> None:
    """Puts what the command lines name into a working directory."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in ("pictures/rgb.png", "weights/best.safetensors", "labels/lines.txt"):
        shutil.copy2(seeds / path, folder)


def changed_files(target: Target, folder: Path) -> list[tuple[Path, Change]]:
    """Lists the files of a target that may be changed, each with how."""
    found = [
        (path, change)
        for pattern, change in target.files.items()
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    ]
    if not found:
        raise RuntimeError(f"{target.name}: no seeds in {folder}: {sorted(listing(folder))[:5]}")
    return found
