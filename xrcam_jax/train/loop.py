"""The loop around the step: epochs, validation, early stopping, checkpoints, and going on after an interruption."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh

from xrcam_jax.classes import class_count
from xrcam_jax.runtime.devices import place
from xrcam_jax.train.checkpoint import BEST, LAST, Checkpoints
from xrcam_jax.train.predictions import Predictions, confusion_matrix, figures, mean_loss
from xrcam_jax.train.step import Sums, TrainState

SCORES = ("accuracy", "balanced_accuracy", "loss")


class Diverged(ArithmeticError):
    """Says that the loss or its gradient is no longer a number; the checkpoints are those of before."""


@runtime_checkable
class Batches(Protocol):
    """Iterates over batches without end, from a place that can be noted and returned to."""

    def __next__(self) -> Mapping[str, Any]:
        """Returns the next batch: arrays by name."""

    def get_state(self) -> dict[str, Any]:
        """Returns the place, as JSON can hold it."""

    def set_state(self, state: dict[str, Any], /) -> None:
        """Returns to a place."""


@dataclass(frozen=True)
class Schedule:
    """Says when a run has a validation or a checkpoint, and when it ends.

    Attributes:
      steps_per_epoch: number of steps between validations.
      epochs: largest number of epochs.
      patience: number of epochs in a row without a better score after which training ends.
      score: what the best epoch is chosen by, one of ``SCORES``: accuracy, balanced accuracy or (the less the better)
        loss of the validation part.
      checkpoint_every: number of steps between checkpoints within an epoch; 0 for none but at its end.

    Raises:
      ValueError: names the attribute that is out of range.
    """

    steps_per_epoch: int
    epochs: int = 100
    patience: int = 10
    score: str = "accuracy"
    checkpoint_every: int = 0

    def __post_init__(self) -> None:
        for name in ("steps_per_epoch", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        if self.checkpoint_every < 0:
            raise ValueError(f"checkpoint_every: expected 0 or more, got {self.checkpoint_every}")
        if self.score not in SCORES:
            raise ValueError(f"score: {self.score!r} is none of {', '.join(SCORES)}")


@dataclass(frozen=True)
class Totals:
    """Holds what the steps of an unfinished epoch add up to.

    Attributes:
      loss: sum of the weighted losses, without those on explanations.
      weight: sum of the weights; the mean loss is ``loss / weight``.
      correct: number of pictures that were classified correctly.
      images: number of pictures.
      seconds: time that the steps took, without compilation.
      explanation: sum of the weighted losses on explanations, None if there are none.
    """

    loss: float = 0.0
    weight: float = 0.0
    correct: int = 0
    images: int = 0
    seconds: float = 0.0
    explanation: float | None = None


@dataclass(frozen=True)
class Progress:
    """Says how far a run is; with the arrays of its state, that is all that is needed to go on.

    Attributes:
      step: number of steps taken.
      history: for each finished epoch a row of figures, by name.
      totals: totals of the epoch under way.
      best_epoch: number, from 1, of the epoch with the best score; None before the first has ended.
      best_score: its score.
      batches: place of the iterator over batches.
    """

    step: int = 0
    history: tuple[dict[str, float], ...] = ()
    totals: Totals = field(default_factory=Totals)
    best_epoch: int | None = None
    best_score: float | None = None
    batches: dict[str, Any] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Returns the number of finished epochs."""
        return len(self.history)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Progress":
        """Reads back what ``dataclasses.asdict`` made of a progress."""
        totals, history = Totals(**content["totals"]), tuple(content["history"])
        return Progress(**{**content, "totals": totals, "history": history})


class Observer:
    """Is told how training goes, and does nothing with it; subclasses do."""

    def started(self, progress: Progress) -> None:
        """Is called when training starts, or goes on, from here."""

    def stepped(self, progress: Progress) -> None:
        """Is called when a step is done; ``progress.totals`` has it."""

    def saved(self, progress: Progress) -> None:
        """Is called when an epoch has ended: its row is the history's last, and on the disk."""


def finished(progress: Progress, schedule: Schedule) -> str | None:
    """Tells why training is over.

    Args:
      progress: how far the run is.
      schedule: when it ends.

    Returns:
      The reason, None if training is not over.

    Example:
      >>> finished(Progress(), Schedule(steps_per_epoch=5, epochs=1)) is None
      True
      >>> finished(Progress(step=5, history=({},)), Schedule(steps_per_epoch=5, epochs=1))
      '1 epochs are done'
    """
    if progress.best_epoch is not None and progress.epoch - progress.best_epoch >= schedule.patience:
        return f"no better {schedule.score} in {schedule.patience} epochs"
    return f"{schedule.epochs} epochs are done" if progress.epoch >= schedule.epochs else None


@dataclass(frozen=True)
class Run:
    """Holds all that a training run is made of, besides its state.

    Attributes:
      train_step: from :func:`xrcam_jax.train.step.make_train_step`.
      evaluate: from a state to what it predicts for the validation part.
      batches: this process's share of each batch.
      mesh: the mesh that the step was made for.
      schedule: when there is a validation or a checkpoint, and when it ends.
      checkpoints: the checkpoints of this run and no other.
      class_weights: weights of the step, for the loss of the validation part.
      observer: is told how training goes.
    """

    train_step: Callable[[TrainState, Any], tuple[TrainState, Sums]]
    evaluate: Callable[[TrainState], Predictions]
    batches: Batches
    mesh: Mesh
    schedule: Schedule
    checkpoints: Checkpoints
    class_weights: Sequence[float] | None = None
    observer: Observer = field(default_factory=Observer)


def fit(state: TrainState, run: Run) -> tuple[TrainState, Progress]:
    """Trains until :func:`finished`, from the last checkpoint if there is one.

    Stopped at any moment and started again with the same arguments, it ends with the same state.

    Args:
      state: a fresh state, from :func:`xrcam_jax.train.step.initial_state`; its buffers are taken over.
      run: what to do.

    Returns:
      The last state (the best is in ``run.checkpoints``) and how it went.

    Raises:
      Diverged: the loss or the gradient is not finite. The last checkpoint is from before.
      ValueError: a checkpoint is of another model or of other batches.

    Example:
      >>> state, progress = fit(state, run)  # doctest: +SKIP
    """
    state, progress = _resumed(state, run.checkpoints)
    if progress.batches:
        run.batches.set_state(progress.batches)
    _save_best(state, progress, run.checkpoints)
    run.observer.started(progress)
    start = progress.step
    while finished(progress, run.schedule) is None:
        state, progress = _steps(run, state, progress, compiled=progress.step > start)
        progress = _with_epoch(progress, run.evaluate(state), run)
        progress = replace(progress, batches=run.batches.get_state())
        run.checkpoints.save(LAST, state, asdict(progress))
        _save_best(state, progress, run.checkpoints)
        run.observer.saved(progress)
    return state, progress


def predict(
    eval_step: Callable[[TrainState, Any], tuple[jax.Array, dict[str, jax.Array]]],
    state: TrainState,
    batches: Iterable[Mapping[str, Any]],
    mesh: Mesh,
) -> Predictions:
    """Predicts every example of a part.

    Args:
      eval_step: from :func:`xrcam_jax.train.step.make_eval_step`.
      state: the network's state.
      batches: this process's share of each batch: ``"image"``, ``"label"``, ``"index"`` and ``"weight"``, which is 0
        for padding.
      mesh: the mesh that the step was made for.

    Returns:
      The predictions, in the order of the indices.

    Example:
      A stand-in for the step, which says class 1 of everything:

      >>> import jax, jax.numpy as jnp, numpy as np
      >>> from xrcam_jax.runtime.devices import data_mesh
      >>> def eval_step(state, batch):
      ...     return jnp.array([[0.0, 1.0]] * 3), batch
      >>> batch = {"label": np.int32([1, 0, 0]), "index": np.int32([1, 0, -1]), "weight": np.float32([1, 1, 0])}
      >>> state = TrainState(jnp.int32(0), params={}, stats={}, optimiser={})
      >>> found = predict(eval_step, state, [batch], data_mesh(jax.devices()[:1]))
      >>> found.label.tolist(), found.predicted.tolist()
      ([0, 1], [1, 1])
    """
    parts = []
    for batch in batches:
        logits, rest = jax.device_get(eval_step(state, place(mesh, batch)))
        real = rest["weight"] > 0
        parts.append((rest["index"][real], rest["label"][real], logits[real]))
    index, label, logits = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(index)
    return Predictions(index[order], label[order], logits[order])


def _resumed(state: TrainState, checkpoints: Checkpoints) -> tuple[TrainState, Progress]:
    restored = checkpoints.restore(LAST, state)
    return (state, Progress()) if restored is None else (restored[0], Progress.from_json(restored[1]))


def _save_best(state: TrainState, progress: Progress, checkpoints: Checkpoints) -> None:
    """Keeps the state as the best if it ends the best epoch.

    The last checkpoint is always written first. A run killed between the two makes up for it when it goes on.
    """
    if progress.best_epoch == progress.epoch and progress.step == progress.history[-1]["step"]:
        checkpoints.save(BEST, state, asdict(progress))


def _steps(run: Run, state: TrainState, progress: Progress, *, compiled: bool) -> tuple[TrainState, Progress]:
    """Takes the rest of an epoch's steps."""
    end = (progress.epoch + 1) * run.schedule.steps_per_epoch
    every = run.schedule.checkpoint_every
    pending: Sums | None = None
    clock = _Clock()
    for step in range(progress.step + 1, end + 1):
        batch = next(run.batches)
        images = len(batch["label"]) * jax.process_count()
        state, sums = run.train_step(state, place(run.mesh, batch))
        if not compiled:
            compiled = clock.lap() > 0
        # Here are the sums of the step before, since waiting for this one's would leave the device idle.
        if pending is not None:
            progress = _with_step(run, progress, pending, images, clock)
        pending = sums
        if step == end or (every and step % every == 0):
            progress, pending = _with_step(run, progress, pending, images, clock), None
            if step < end:
                progress = replace(progress, batches=run.batches.get_state())
                run.checkpoints.save(LAST, state, asdict(progress))
                clock.lap()
    return state, progress


def _with_step(run: Run, progress: Progress, sums: Sums, images: int, clock: "_Clock") -> Progress:
    seen = jax.device_get(sums)
    # Asked for when the step is done: before, an epoch of one step would have taken no time.
    seconds = clock.lap()
    step = progress.step + 1
    if not (math.isfinite(seen.loss) and math.isfinite(seen.gradient)):
        raise Diverged(f"step {step}: loss {seen.loss / seen.weight}, norm of its gradient {seen.gradient}")
    old = progress.totals
    totals = Totals(
        loss=old.loss + float(seen.loss),
        weight=old.weight + float(seen.weight),
        correct=old.correct + int(seen.correct),
        images=old.images + images,
        seconds=old.seconds + seconds,
        explanation=None if seen.explanation is None else (old.explanation or 0.0) + float(seen.explanation),
    )
    progress = replace(progress, step=step, totals=totals)
    run.observer.stepped(progress)
    return progress


def _with_epoch(progress: Progress, predictions: Predictions, run: Run) -> Progress:
    """Closes an epoch: adds its row, and notes whether its score is the best."""
    totals, classes = progress.totals, class_count(predictions.logits.shape[1])
    validation = figures(confusion_matrix(predictions.label, predictions.predicted, classes))
    row: dict[str, float] = {
        "epoch": progress.epoch + 1,
        "step": progress.step,
        "train_loss": totals.loss / totals.weight,
        "train_accuracy": totals.correct / totals.images,
        "validation_loss": mean_loss(predictions, run.class_weights),
        "validation_accuracy": validation.accuracy,
        "validation_balanced_accuracy": validation.balanced_accuracy,
        "seconds": round(totals.seconds, 3),
        "images_per_second": round(totals.images / totals.seconds, 2),
    }
    if totals.explanation is not None:
        row["train_explanation_loss"] = totals.explanation / totals.weight
    if not math.isfinite(row["validation_loss"]):
        raise Diverged(f"epoch {progress.epoch + 1}: the loss of the validation part is {row['validation_loss']}")
    score = row[f"validation_{run.schedule.score}"]
    sign = -1 if run.schedule.score == "loss" else 1
    better = progress.best_score is None or sign * score > sign * progress.best_score
    best: dict[str, Any] = {"best_epoch": progress.epoch + 1, "best_score": score} if better else {}
    return replace(progress, history=(*progress.history, row), totals=Totals(), **best)


class _Clock:
    """Tells how many seconds have passed since it was last asked."""

    def __init__(self) -> None:
        self._then = time.perf_counter()

    def lap(self) -> float:
        then, self._then = self._then, time.perf_counter()
        return self._then - then
