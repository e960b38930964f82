"""Does the work of ``xrcam train`` once its arguments are in order: it trains and writes the results."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from tqdm import tqdm

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.checkpoints.save import save_timm
from xrcam_jax.data.augment import Augmentation, augment, normalise, sheet
from xrcam_jax.data.coco import Annotations
from xrcam_jax.data.manifest import Prepared
from xrcam_jax.data.pipeline import evaluation_batches, read_picture, steps_per_epoch, training_batches
from xrcam_jax.errors import CommandError, weights_error
from xrcam_jax.explain.functional import as_function
from xrcam_jax.figures.curves import training_curves
from xrcam_jax.figures.save import save
from xrcam_jax.models import Classifier
from xrcam_jax.models.specs import find_spec
from xrcam_jax.pictures.preprocessing import AREA, Preprocessing
from xrcam_jax.runtime.devices import data_mesh, first_alone, is_first
from xrcam_jax.runtime.files import write_rows, write_whole
from xrcam_jax.train.checkpoint import BEST, Checkpoints
from xrcam_jax.train.explained import Explanation, explanation_values
from xrcam_jax.train.loop import Observer, Progress, Run, Schedule, finished, fit, predict
from xrcam_jax.train.predictions import Predictions
from xrcam_jax.train.report import Board, markdown
from xrcam_jax.train.step import (
    Static,
    TrainState,
    assemble,
    initial_state,
    make_eval_step,
    make_train_step,
)


@dataclass(frozen=True)
class TrainingTask:
    """Says what is to be learnt, from what and how.

    Attributes:
      options: of the command.
      prepared: the data.
      size: side of the pictures in pixels.
      class_weights: of the loss, by class; None if all are 1.
      settings: all that determines the outcome, as JSON has it.
      explanation: the loss on explanations, if there is one.
      annotations: the outlines that it needs, if it does.
    """

    options: Options
    prepared: Prepared
    size: int
    class_weights: tuple[float, ...] | None
    settings: Mapping[str, Any]
    explanation: Explanation | None = None
    annotations: Annotations | None = None

    @property
    def out(self) -> Path:
        """The folder of the run."""
        return self.options.out

    @property
    def share(self) -> dict[str, Any]:
        """This process's share of the data, as the batches take it."""
        processes = jax.process_count()
        batch_size = self.options.batch_size // processes
        return {"batch_size": batch_size, "size": self.size, "process": jax.process_index(), "processes": processes}

    @property
    def schedule(self) -> Schedule:
        """How long to train, and when to look at the validation part and save."""
        options, share = self.options, self.share
        steps = steps_per_epoch(self.prepared, batch_size=share["batch_size"], processes=share["processes"])
        return Schedule(steps, options.epochs, options.patience, options.score, options.checkpoint_every)


@dataclass(frozen=True)
class Network:
    """Holds a network ready to be trained, and its compiled steps."""

    model: Classifier
    mesh: Mesh
    static: Static
    state: TrainState
    train_step: Callable
    eval_step: Callable


def train(task: TrainingTask, model: Classifier) -> None:
    """Trains to the end, from the start or from the last checkpoint, and writes the results.

    Args:
      task: what is trained on what.
      model: from :func:`starting_model`.

    Raises:
      Diverged, ValueError: as :func:`xrcam_jax.train.loop.fit` does.
    """
    checkpoints = Checkpoints(task.out)
    network = _network(task, model)

    def evaluate(state: TrainState, part: str = "validation") -> Predictions:
        batches = evaluation_batches(task.prepared, part, **task.share)
        return predict(network.eval_step, state, batches, network.mesh)

    outlines = None if task.annotations is None else task.annotations.masks
    batches = training_batches(task.prepared, seed=task.options.seed, outlines=outlines, **task.share)
    _show_augmentation(task)
    with _screen(task) as screen, closing(batches):
        run = Run(
            train_step=network.train_step,
            evaluate=evaluate,
            batches=batches,
            mesh=network.mesh,
            schedule=task.schedule,
            checkpoints=checkpoints,
            class_weights=task.class_weights,
            observer=screen,
        )
        state, progress = fit(network.state, run)
    best = checkpoints.restore(BEST, state)
    checkpoints.close()
    if best is None:
        raise ValueError(f"{task.out / BEST}: there is no checkpoint")
    parts = [part for part in ("validation", "test") if task.prepared.part(part)]
    predictions = {part: evaluate(best[0], part) for part in parts}
    first_alone(lambda: _write_results(task, progress, predictions, assemble(network.static, best[0])))


def _show_augmentation(task: TrainingTask) -> None:
    """Saves ``augmentation.jpg``: a few frames for training, as they are and as the network gets to see them."""
    path = task.out / "augmentation.jpg"
    if not task.options.augmentation or path.exists() or not is_first():
        return
    frames, size = task.prepared.part("train"), task.size
    some = frames[:: max(1, len(frames) // 6)][:6]
    images = jnp.stack([read_picture(task.prepared.folder, frame, size) for frame in some])[..., None]
    save(sheet(jax.random.key(task.options.seed), images, Augmentation()), path)


def _network(task: TrainingTask, model: Classifier) -> Network:
    options, statistics = task.options, task.prepared.statistics
    mesh, optimiser = data_mesh(), optax.adamax(options.learning_rate)
    static, state = initial_state(model, optimiser, mesh)

    def prepare(key: jax.Array, images: jax.Array) -> jax.Array:
        return normalise(augment(key, images, Augmentation()) if options.augmentation else images, statistics)

    def prepare_outlines(key: jax.Array, outlines: jax.Array) -> jax.Array:
        # The same key turns them as it turns the pictures; their contrast stays.
        only_turned = replace(Augmentation(), contrast=(1.0, 1.0))
        unit = outlines.astype(jnp.float32) / 255
        return augment(key, unit, only_turned) if options.augmentation else unit

    train_step = make_train_step(
        static,
        optimiser,
        prepare,
        mesh,
        seed=options.seed,
        class_weights=task.class_weights,
        accumulate=options.accumulate,
        explanation=task.explanation,
        prepare_outlines=prepare_outlines,
    )
    eval_step = make_eval_step(static, lambda images: normalise(images, statistics), mesh)
    return Network(model, mesh, static, state, train_step, eval_step)


def _fresh(task: TrainingTask) -> dict[str, Any]:
    """Returns what the network is made with, besides its name."""
    options = task.options
    wants: dict[str, Any] = {
        "num_classes": 1 if options.one_logit else len(task.prepared.classes),
        "dropout_rate": options.dropout,
        "dtype": jnp.bfloat16 if options.bfloat16 else jnp.float32,
        "rngs": nnx.Rngs(options.seed),
    }
    if "img_size" in find_spec(options.model).variants:
        wants["img_size"] = task.size
    return wants


def check_explanation(task: TrainingTask) -> None:
    """Refuses a layer that the network has not, or of which the loss on explanations can make nothing.

    Only shapes are computed.

    Raises:
      CommandError: names the layer.
    """
    if task.explanation is None:
        return
    model = nnx.eval_shape(lambda: xr.create_model(task.options.model, **_fresh(task)))
    function, parameters = as_function(model)
    images = jax.ShapeDtypeStruct((task.options.batch_size, task.size, task.size, 3), jnp.float32)
    labels, key = jax.ShapeDtypeStruct(images.shape[:1], jnp.int32), jax.eval_shape(jax.random.key, 0)
    outlines = None if task.annotations is None else jax.ShapeDtypeStruct(images.shape[:3], jnp.float32)
    loss = partial(explanation_values, task.explanation, function)
    try:
        jax.eval_shape(loss, parameters, images, labels, outlines, key)
    except (ValueError, NotImplementedError) as error:
        raise CommandError(f"--explanation-layer: {error}") from error


def starting_model(task: TrainingTask, *, resumes: bool) -> Classifier:
    """Returns a fresh network, or one with the weights to start from, which a run that goes on needs no more.

    Args:
      task: says which.
      resumes: whether the run goes on.

    Raises:
      CommandError, DamagedError: the weights to start from cannot be used.
    """
    options, wants = task.options, _fresh(task)
    if options.weights is None or resumes:
        model = xr.create_model(options.model, **wants)
    else:
        try:
            with warnings.catch_warnings():
                # The warning that the head is fresh is expected here: training is what the head needs.
                warnings.simplefilter("ignore", UserWarning)
                model = xr.load_model(options.model, options.weights, **wants)
        except (OSError, ValueError, ImportError) as error:
            raise weights_error(error) from error
        if model.variant.in_channels != 3:
            raise CommandError(f"--weights: {options.weights} is for one channel, and training feeds three")
    mean, std = task.prepared.statistics.mean, task.prepared.statistics.std
    model.preprocessing = Preprocessing(
        mean=(mean, mean, mean),
        std=(std, std, std),
        input_size=(task.size, task.size),
        crop_pct=1.0,
        interpolation=AREA,
        field_of_view="auto",
        grey=True,
    )
    return model


def _write_results(
    task: TrainingTask, progress: Progress, predictions: Mapping[str, Predictions], model: Classifier
) -> None:
    classes, rows, sections = task.prepared.classes, [], []
    for part, found in predictions.items():
        frames = task.prepared.part(part)
        sections.append(markdown(f"Part: {part}", found, classes, [frames[i].patient for i in found.index]))
        for i, label, predicted, shares in zip(
            found.index, found.label, found.predicted, found.probabilities, strict=True
        ):
            row = {"part": part, "file": frames[i].file, "patient": frames[i].patient}
            row |= {"label": classes[label], "predicted": classes[predicted]}
            rows.append(row | {f"p({name})": f"{share:.6f}" for name, share in zip(classes, shares, strict=True)})
    best = progress.history[(progress.best_epoch or 1) - 1]
    fold = "" if task.options.fold is None else f", fold {task.options.fold}"
    title = f"# {task.options.model}{fold}, epoch {progress.best_epoch} of {progress.epoch}"
    summary = ", ".join(f"{name} {value:.4f}" for name, value in best.items() if name.startswith(("train", "valid")))
    write_rows(task.out / "predictions.csv", rows)
    write_whole(task.out / "report.md", "\n\n".join([title, f"In training: {summary}.", *sections]).encode())
    # The weights come last, so that whoever finds them finds the report too.
    save_timm(model, task.out / "best.safetensors")
    print(f"{finished(progress, task.schedule)}; the best is epoch {progress.best_epoch}. See {task.out}/report.md")


def _screen(task: TrainingTask) -> "Screen | Quiet":
    return Screen(task) if is_first() else Quiet()


class Quiet(Observer):
    """Says and writes nothing: of several processes, only the first one does."""

    def __enter__(self) -> "Quiet":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Screen(Observer):
    """Shows a progress bar for each epoch and a line at its end; writes the curves as CSV, picture and log."""

    def __init__(self, task: TrainingTask):
        self._out, self._batch_size, self._schedule = task.out, task.options.batch_size, task.schedule
        self._bar: tqdm | None = None
        self._board: Board | None = None

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._board is not None:
            self._board.close()

    def started(self, progress: Progress) -> None:
        if progress.step:
            print(f"going on after step {progress.step}, {progress.epoch} epochs are done", flush=True)
        self._board = Board(self._out / "tensorboard", progress.history)
        if progress.history:
            self._write(progress)

    def stepped(self, progress: Progress) -> None:
        totals = progress.totals
        if self._bar is None:
            total = self._schedule.steps_per_epoch * self._batch_size
            start = totals.images - self._batch_size
            title = f"epoch {progress.epoch + 1}"
            self._bar = tqdm(total=total, initial=start, desc=title, unit="image", leave=False, disable=None)
        loss, accuracy = totals.loss / totals.weight, totals.correct / totals.images
        self._bar.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.4f}", refresh=False)
        self._bar.update(self._batch_size)

    def saved(self, progress: Progress) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, row = None, progress.history[-1]
        explained = row.get("train_explanation_loss")
        print(
            f"epoch {progress.epoch}: loss {row['train_loss']:.4f}"
            f"{'' if explained is None else f', of explanations {explained:.4f}'}, "
            f"accuracy {row['train_accuracy']:.4f}; validation "
            f"loss {row['validation_loss']:.4f}, accuracy {row['validation_accuracy']:.4f}, balanced "
            f"{row['validation_balanced_accuracy']:.4f}; {row['images_per_second']:.1f} images/s"
            f"{' (best)' if progress.best_epoch == progress.epoch else ''}",
            flush=True,
        )
        if self._board is not None:
            self._board.add(row)
        self._write(progress)

    def _write(self, progress: Progress) -> None:
        write_rows(self._out / "metrics.csv", progress.history)
        save(training_curves(progress.history, progress.best_epoch), self._out / "curves.png", synced=True)
