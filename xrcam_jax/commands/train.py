"""``xrcam train``: trains a network on a prepared folder."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xrcam_jax.arguments import processes
from xrcam_jax.arguments.checks import check_at_least_one, check_names, check_seed, prepare_folder
from xrcam_jax.arguments.config import write_settings
from xrcam_jax.arguments.outputs import alone_in
from xrcam_jax.arguments.parser import PATH, Argument, Options, Text, flag, names
from xrcam_jax.checkpoints.labels import best_of
from xrcam_jax.commands.labels import no_model, run_model
from xrcam_jax.errors import CommandError
from xrcam_jax.runtime.names import printable
from xrcam_jax.runtime.texts import read_json

if TYPE_CHECKING:
    from xrcam_jax.commands.training import TrainingTask
    from xrcam_jax.data.coco import Annotations
    from xrcam_jax.data.manifest import Prepared
    from xrcam_jax.train.explained import Explanation

NAME = "train"
EXAMPLE = """Example:
  xrcam train prepared/ --model skresnext50_32x4d --weights timm/skresnext50_32x4d.ra_in1k --dropout 0.1 --out run
Started again with the same arguments it goes on where it was stopped.

Cross-validation takes a run for each fold of xrcam prepare --folds K:
  for i in 0 1 2 3 4; do xrcam train prepared/ --model skresnext50_32x4d --fold $i --out runs/fold$i; done
  xrcam evaluate confidence --data prepared/ --weights runs/fold* --folds"""

SETTINGS = "settings.json"
RECORDED = (
    *("model", "weights", "dropout", "bfloat16", "batch_size", "accumulate", "learning_rate"),
    *("epochs", "patience", "score", "seed", "one_logit", "fold"),
    *("explanation_loss", "explanation_weight", "explanation_layer"),
)
# What held before an option was there, and so in runs whose settings do not name it.
FORMERLY = {
    **{"one_logit": False, "fold": None},
    **{"explanation_loss": None, "explanation_weight": 1.0, "explanation_layer": None, "annotations": None},
}
# Settings that may be larger when a run is started again.
EXTENDABLE = ("epochs",)
SCORES = ("accuracy", "balanced_accuracy", "loss")
NEEDED = {"grain": "grain", "dm_pix": "dm-pix", "tensorboardX": "tensorboardX"}


def _class_weights(text: str) -> str | tuple[float, ...]:
    if text == "balanced":
        return text
    try:
        weights = tuple(float(weight) for weight in text.split(","))
    except ValueError:
        weights = ()
    if not weights or not all(0 < weight < float("inf") for weight in weights):
        raise ValueError(f"{text!r} is neither 'balanced' nor positive numbers, W,W,...")
    return weights


PARAMETERS = (
    Argument("prepared", option="--data", help="folder made by xrcam prepare"),
    click.Option(["--model", "--models"], help="network, see xrcam models; that of --weights if they are a run"),
    click.Option(["--weights"], metavar="PATH", help="to start from, as for xrcam explain; from scratch without"),
    click.Option(["--out"], type=PATH, default=Path("xrcam_run"), metavar="DIR", help="folder of the run"),
    click.Option(["--fold"], type=int, metavar="I", help="leave this fold out, for testing; from 0, see below"),
    click.Option(
        ["--size", "--img-size"], type=int, metavar="N", help="side of the pictures; that of most frames by default"
    ),
    click.Option(["--batch-size"], type=int, default=32, metavar="N", help="over all devices"),
    click.Option(["--accumulate"], type=int, default=1, metavar="N", help="split batches in N, to save memory"),
    flag("--bfloat16", help="compute in bfloat16; parameters stay float32"),
    click.Option(["--learning-rate"], type=float, default=1e-3, metavar="R", help="of AdaMax"),
    click.Option(["--dropout"], type=float, default=0.0, metavar="P", help="rate after each block"),
    flag("--one-logit", help="of two classes, learn one logit, of the second: its sigmoid, by binary cross-entropy"),
    click.Option(
        ["--class-weights"],
        type=Text(_class_weights),
        metavar="W",
        help="of the loss: 'balanced', or a number for each class, W,W,...; all 1 by default",
    ),
    click.Option(
        ["--explanation-loss"],
        multiple=True,
        metavar="NAME",
        help="learn from explanations as well, by one loss: right_reasons, right_relevance or relevance_outside, which "
        "need --annotations, or consistency, contrastive, consistent_contrastive",
    ),
    click.Option(["--explanation-weight"], type=float, default=1.0, metavar="R", help="of that loss, beside 1"),
    click.Option(
        ["--explanation-layer"],
        metavar="NAME",
        help="where the network is explained, which that loss needs to know; 'input' at the picture",
    ),
    click.Option(["--annotations"], type=PATH, metavar="FILE", help="outlines of what counts, as COCO has them"),
    flag("--augmentation", default=True, help="show the frames changed at random; without, as they are"),
    click.Option(["--epochs"], type=int, default=100, metavar="N", help="at most"),
    click.Option(["--patience"], type=int, default=10, metavar="N", help="epochs without a better score"),
    click.Option(["--score"], type=click.Choice(SCORES), default="accuracy", help="of the validation part"),
    click.Option(["--checkpoint-every"], type=int, default=200, metavar="N", help="steps, and at each epoch's end"),
    click.Option(["--seed"], type=int, default=0, metavar="N", help="of weights, order and noise"),
    *processes.PARAMETERS,
)


def run(options: Options) -> int:
    """Trains, or goes on with a training; returns the exit status."""
    _check(options)
    processes.join(options)

    from xrcam_jax.commands.training import starting_model, train
    from xrcam_jax.runtime.compiling import keep_compiled
    from xrcam_jax.runtime.devices import is_first
    from xrcam_jax.runtime.files import write_whole
    from xrcam_jax.train.loop import Diverged

    keep_compiled()

    task = _task(options)
    with alone_in("--out", options.out, shared=True):
        _check_settings(options.out, task.settings)
        model = starting_model(task, resumes=_resumes(options.out))
        if is_first():
            write_settings(options.out, options.repeat)
            write_whole(options.out / SETTINGS, (json.dumps(task.settings, indent=1) + "\n").encode())
        try:
            train(task, model)
            return 0
        except (Diverged, ValueError) as error:
            if is_first():
                before = f"; {options.out / 'last'} is as it was before" if _resumes(options.out) else ""
                print(printable(f"xrcam train: error: {error}{before}"), file=sys.stderr)
            return 1


def _check(options: Options) -> None:
    """Refuses what can be refused before the data and the devices are looked at."""
    for name in ("batch_size", "accumulate", "epochs", "patience"):
        check_at_least_one(f"--{name.replace('_', '-')}", getattr(options, name))
    if options.size is not None:
        check_at_least_one("--size", options.size)
    if not 0 <= options.dropout < 1:
        raise CommandError(f"--dropout: {options.dropout} is not in [0, 1)")
    if not 0 < options.learning_rate < float("inf"):
        raise CommandError(f"--learning-rate: {options.learning_rate} is not a positive number")
    if options.checkpoint_every < 0:
        raise CommandError(f"--checkpoint-every: {options.checkpoint_every} is less than 0")
    check_seed("--seed", options.seed)
    _check_explanation(options)
    processes.check(options)
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise CommandError(f"training needs {', '.join(missing)}: pip install 'xrcam-jax[train]'")

    from xrcam_jax.models import list_models

    if options.weights is not None:
        options.weights = best_of(options.weights)
        options.model = options.model or run_model(options.weights)
    if options.model is None:
        raise no_model(options.weights)
    check_names("--model", [options.model], list_models())
    prepare_folder("--out", options.out)


def _check_explanation(options: Options) -> None:
    losses = [name for given in options.explanation_loss for name in names(given)]
    options.explanation_loss = losses[0] if losses else None
    if options.explanation_loss is None:
        for name in ("explanation_layer", "annotations"):
            if getattr(options, name) is not None:
                raise CommandError(f"--{name.replace('_', '-')}: is for --explanation-loss, which is not given")
        return

    from xrcam_jax.train.explained import EXPLANATION_LOSSES

    check_names("--explanation-loss", losses, EXPLANATION_LOSSES)
    if len(losses) > 1:
        raise CommandError(f"--explanation-loss: one can be added, found {' and '.join(losses)}")
    if not 0 < options.explanation_weight < float("inf"):
        raise CommandError(f"--explanation-weight: {options.explanation_weight} is not a positive number")
    if options.explanation_layer is None:
        raise CommandError("--explanation-layer: needed; xrcam layers lists those of a network, 'input' is the picture")
    needed = EXPLANATION_LOSSES[options.explanation_loss].outlines
    if needed and options.annotations is None:
        raise CommandError(f"--annotations: needed, {options.explanation_loss} asks for relevance within outlines")
    if not needed and options.annotations is not None:
        raise CommandError(f"--annotations: {options.explanation_loss} makes no use of outlines")


def _task(options: Options) -> "TrainingTask":
    """Reads and checks the data, and whether the devices can share it."""
    import jax

    from xrcam_jax.commands.training import TrainingTask, check_explanation
    from xrcam_jax.data.folds import of_fold
    from xrcam_jax.data.manifest import read_prepared
    from xrcam_jax.data.pipeline import common_size

    shares = jax.device_count() * options.accumulate
    if options.batch_size % shares:
        raise CommandError(
            f"--batch-size: {options.batch_size} is not a multiple of {shares}, "
            f"{jax.device_count()} devices times --accumulate {options.accumulate}"
        )
    try:
        prepared = read_prepared(options.prepared)
        prepared = prepared if options.fold is None else of_fold(prepared, options.fold)
    except ValueError as error:
        # What is wrong is in a file, which the error names, or the argument of that name.
        raise CommandError(f"--{error}" if str(error).startswith("fold: ") else str(error)) from error
    size = options.size or common_size(prepared)
    for part in ("train", "validation"):
        if not prepared.part(part):
            raise CommandError(f"{options.prepared}: no frames are in the part {part!r}")
    if len(prepared.classes) < 2:
        raise CommandError(f"{options.prepared}: the only class is {', '.join(prepared.classes)}; there is no choice")
    if options.one_logit and len(prepared.classes) != 2:
        raise CommandError(
            f"--one-logit: it decides between 2 classes, but {options.prepared} has {len(prepared.classes)}: "
            f"{', '.join(prepared.classes)}"
        )
    weights = _weights_of_classes(options.class_weights, prepared)
    try:
        settings = _settings(options, prepared, size, weights)
    except ValueError as error:
        raise CommandError(str(error)) from error
    task = TrainingTask(options, prepared, size, weights, settings, *_explanation(options, prepared))
    check_explanation(task)
    return task


def _explanation(options: Options, prepared: "Prepared") -> "tuple[Explanation | None, Annotations | None]":
    """Returns the loss on explanations, and the outlines that it needs."""
    if options.explanation_loss is None:
        return None, None

    from xrcam_jax.data.coco import read_annotations
    from xrcam_jax.runtime.devices import is_first
    from xrcam_jax.train.explained import Explanation

    explanation = Explanation(options.explanation_loss, options.explanation_layer, options.explanation_weight)
    if options.annotations is None:
        return explanation, None
    try:
        annotations = read_annotations(options.annotations, prepared.frames)
    except ValueError as error:
        raise CommandError(f"--annotations: {error}") from error
    frames = {frame.file for frame in prepared.part("train")}
    outlined = frames & set(annotations.annotated)
    if not outlined:
        why = annotations.mismatch and f"{options.annotations}: {annotations.mismatch}"
        nothing = f"{options.annotations} outlines nothing in a frame of the part 'train'"
        raise CommandError(f"--annotations: {why or nothing}. What became of them:", str(annotations.report))
    if is_first():
        print(f"outlines in {len(outlined)} of {len(frames)} frames of the part 'train'", flush=True)
    return explanation, annotations


def _weights_of_classes(given: str | tuple[float, ...] | None, prepared: "Prepared") -> tuple[float, ...] | None:
    classes = prepared.classes
    if given == "balanced":
        labels = [frame.label for frame in prepared.part("train")]
        counts = {name: labels.count(name) for name in classes}
        absent = [name for name in classes if not counts[name]]
        if absent:
            raise CommandError(f"--class-weights: balanced, but the training part has no {', '.join(absent)}")
        return tuple(len(labels) / (len(classes) * counts[name]) for name in classes)
    if given is not None and len(given) != len(classes):
        raise CommandError(f"--class-weights: {len(given)} for {len(classes)} classes, {', '.join(classes)}")
    return given  # type: ignore[return-value]


def _settings(options: Options, prepared: "Prepared", size: int, weights: tuple[float, ...] | None) -> dict[str, Any]:
    from xrcam_jax.data.checksums import checksum_of_frames, summary_of_parts
    from xrcam_jax.studies.settings import checksum

    return {
        **{name: getattr(options, name) for name in RECORDED},
        "augmentation": options.augmentation,
        "size": size,
        "classes": prepared.classes,
        "class_weights": None if weights is None else list(weights),
        "statistics": asdict(prepared.statistics),
        "annotations": None if options.annotations is None else checksum(options.annotations),
        # The data's place is not recorded, since it may change.
        "data": summary_of_parts(prepared),
        "pictures": checksum_of_frames(prepared.folder, prepared.frames),
    }


def _resumes(out: Path) -> bool:
    """Returns whether there is a whole checkpoint, named by its step, from which the run goes on."""
    return any(path.name.isdigit() for path in (out / "last").glob("[0-9]*"))


def _check_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuses to go on with a run of other settings."""
    from xrcam_jax.studies.settings import differences

    path = out / SETTINGS
    if not path.is_file() or not _resumes(out):
        return
    try:
        # Runs of earlier versions did not note what is in the pictures.
        old = {"pictures": settings["pictures"], **FORMERLY, **read_json(path)}
        differ = [name for name in settings if old.get(name) != settings[name] and name not in EXTENDABLE]
    except (ValueError, TypeError) as error:
        raise CommandError(f"--out: {path} is not as a run writes it ({error})") from error
    if differ:
        found = differences(old, settings, differ)
        raise CommandError(f"--out: {out} holds a run of other settings ({found}); give another folder")
