"""What a network gets right: figures of a whole part, by class and by patient, and how they came about.

Everything here works on the host, in NumPy.
"""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from xrcam_jax.runtime.files import write_whole

EXTRA = "pip install 'xrcam-jax[train]'"


@dataclass(frozen=True)
class Predictions:
    """What a network says of the examples of a part, in the part's order.

    Attributes:
      index: places in the part, ascending.
      label: class numbers.
      logits: one row an example, one column a class.
    """

    index: Int32[np.ndarray, " m"]
    label: Int32[np.ndarray, " m"]
    logits: Float32[np.ndarray, "m n"]

    @property
    def predicted(self) -> Int[np.ndarray, " m"]:
        """The class number of the largest logit."""
        return self.logits.argmax(axis=1)

    @property
    def log_probabilities(self) -> Float[np.ndarray, "m n"]:
        """Natural logarithms of the softmax, float64."""
        shifted = self.logits.astype(np.float64) - self.logits.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    @property
    def probabilities(self) -> Float[np.ndarray, "m n"]:
        return np.exp(self.log_probabilities)


def confusion_matrix(
    label: Int[np.ndarray, " m"], predicted: Int[np.ndarray, " m"], classes: int
) -> Int[np.ndarray, "n n"]:
    """How many examples of the class of the row were taken for the class of the column."""
    return np.bincount(label * classes + predicted, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class Figures:
    """Figures of a confusion matrix, in [0, 1]; NaN where there is nothing to divide by.

    Attributes:
      examples: by class.
      accuracy: share of the examples that were classified correctly.
      balanced_accuracy: mean recall of the classes that have examples.
      precision: by class, share of the examples taken for the class that are of it.
      recall: by class, share of its examples that were found.
    """

    examples: Int[np.ndarray, " n"]
    accuracy: float
    balanced_accuracy: float
    precision: Float[np.ndarray, " n"]
    recall: Float[np.ndarray, " n"]


def figures(confusion: Int[np.ndarray, "n n"]) -> Figures:
    """Figures of a matrix from :func:`confusion_matrix`."""
    correct, examples = np.diagonal(confusion), confusion.sum(axis=1)
    recall, precision = _share(correct, examples), _share(correct, confusion.sum(axis=0))
    balanced = recall[examples > 0].mean() if examples.any() else np.nan
    return Figures(examples, float(_share(correct.sum(), examples.sum())), float(balanced), precision, recall)


def mean_loss(predictions: Predictions, class_weights: Sequence[float] | None = None) -> float:
    """The (weighted) mean cross-entropy, as the training step's."""
    labels = predictions.label
    losses = -np.take_along_axis(predictions.log_probabilities, labels[:, None], axis=1)[:, 0]
    return float(np.average(losses, weights=None if class_weights is None else np.asarray(class_weights)[labels]))


@dataclass(frozen=True)
class Patient:
    """Figures of one patient's examples of one class.

    Attributes:
      name: the patient's.
      label: class number.
      examples: how many there are.
      correct: how many of them were classified correctly.
      predicted: the class number of the largest mean probability.
    """

    name: str
    label: int
    examples: int
    correct: int
    predicted: int


def by_patient(predictions: Predictions, patients: Sequence[str]) -> list[Patient]:
    """Figures for each patient, sorted; a patient with examples of two classes counts once for each.

    Args:
      predictions: of a part.
      patients: name of the patient for each of the predictions.
    """
    found, probabilities = predictions.predicted, predictions.probabilities
    rows = []
    for name, label in sorted(set(zip(patients, predictions.label.tolist(), strict=True))):
        mine = (np.asarray(patients) == name) & (predictions.label == label)
        correct = int((found[mine] == label).sum())
        rows.append(Patient(name, label, int(mine.sum()), correct, int(probabilities[mine].mean(axis=0).argmax())))
    return rows


def markdown(title: str, predictions: Predictions, classes: Sequence[str], patients: Sequence[str]) -> str:
    """A section of a report: overall figures, confusion matrix, tables by class and by patient."""
    confusion = confusion_matrix(predictions.label, predictions.predicted, len(classes))
    overall, people = figures(confusion), by_patient(predictions, patients)
    right = sum(patient.predicted == patient.label for patient in people)
    mean = float(np.mean([patient.correct / patient.examples for patient in people]))
    sections = [
        f"## {title}",
        f"{len(predictions.label)} pictures of {len(set(patients))} patients. Accuracy {overall.accuracy:.4f}, "
        f"balanced accuracy {overall.balanced_accuracy:.4f}, mean accuracy over patients {mean:.4f}; "
        f"{right} of {len(people)} patients right by their mean probabilities.",
        "Rows are the true classes, columns the predicted ones:",
        _table(["", *classes], [[name, *counts] for name, counts in zip(classes, confusion.tolist(), strict=True)]),
        _table(
            ["class", "pictures", "precision", "recall"],
            [
                [name, int(overall.examples[i]), _text(overall.precision[i]), _text(overall.recall[i])]
                for i, name in enumerate(classes)
            ],
        ),
        _table(
            ["patient", "class", "pictures", "accuracy", "predicted by mean probability"],
            [
                [p.name, classes[p.label], p.examples, _text(p.correct / p.examples), classes[p.predicted]]
                for p in people
            ],
        ),
    ]
    return "\n\n".join(sections) + "\n"


def plot_curves(path: str | os.PathLike[str], history: Sequence[Mapping[str, float]], best_epoch: int | None) -> None:
    """Loss and accuracy by epoch, training and validation, as a PNG picture.

    Raises:
      ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    # No pyplot: it would look for a display and keep the figure.
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part in ("train", "validation"):
            axes.plot(epochs, [row[f"{part}_{name}"] for row in history], marker=".", label=part)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="grey", linestyle=":", label="best")
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_whole(path, content.getvalue())


class Board:
    """A TensorBoard log that says what the history says, even after an interruption.

    Args:
      folder: of the log; the logs of earlier starts that lie there are replaced.

    Raises:
      ImportError: tensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], history: Sequence[Mapping[str, float]] = ()):
        from tensorboardX import SummaryWriter

        for old in Path(folder).glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(folder))
        for row in history:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> None:
        """Logs a row of the history at its step."""
        for name, value in row.items():
            if name not in ("epoch", "step"):
                part, _, rest = name.partition("_")
                tag = f"{rest}/{part}" if part in ("train", "validation") else name
                self._writer.add_scalar(tag, value, int(row["step"]))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _share(part: Any, whole: Any) -> np.ndarray:
    """The quotient, NaN where ``whole`` is 0."""
    whole = np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _text(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.4f}"


def _table(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
