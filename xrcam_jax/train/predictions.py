"""What a network predicts for the examples of a part, and figures of how much of it is right.

Everything here works on the host, in NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from xrcam_jax.classes import class_logits, softmax_logits


@dataclass(frozen=True)
class Predictions:
    """Holds what a network says of the examples of a part, in the part's order.

    Attributes:
      index: places in the part, ascending.
      label: class numbers.
      logits: one row an example, one column a class; or one column of a network of one output, for two classes.
    """

    index: Int32[np.ndarray, " m"]
    label: Int32[np.ndarray, " m"]
    logits: Float32[np.ndarray, "m n"]

    @property
    def predicted(self) -> Int[np.ndarray, " m"]:
        """Returns the class numbers of the largest logits."""
        return class_logits(self.logits).argmax(axis=1)

    @property
    def log_probabilities(self) -> Float[np.ndarray, "m c"]:
        """Returns the natural logarithms of the classes' probabilities, float64."""
        logits = softmax_logits(self.logits)
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    @property
    def probabilities(self) -> Float[np.ndarray, "m c"]:
        """Returns the softmax, or the sigmoid of one output for class 1 and what it leaves for class 0, float64."""
        return np.exp(self.log_probabilities)


def confusion_matrix(
    label: Int[np.ndarray, " m"], predicted: Int[np.ndarray, " m"], classes: int
) -> Int[np.ndarray, "n n"]:
    """Counts how many examples of the class of the row were taken for the class of the column.

    Args:
      label: class numbers, from 0.
      predicted: class numbers, from 0.
      classes: number of classes, ``n``.

    Returns:
      The counts.

    Example:
      >>> import numpy as np
      >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), classes=2).tolist()
      [[1, 1], [0, 1]]
    """
    return np.bincount(label * classes + predicted, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class Figures:
    """Holds figures of a confusion matrix, in [0, 1]; NaN where there is nothing to divide by.

    Attributes:
      examples: number of examples of each class.
      accuracy: share of the examples that were classified correctly.
      balanced_accuracy: mean recall of the classes that have examples.
      precision: for each class, share of the examples taken for it that are of it.
      recall: for each class, share of its examples that were found.
    """

    examples: Int[np.ndarray, " n"]
    accuracy: float
    balanced_accuracy: float
    precision: Float[np.ndarray, " n"]
    recall: Float[np.ndarray, " n"]


def figures(confusion: Int[np.ndarray, "n n"]) -> Figures:
    """Computes accuracies, precision and recall.

    Args:
      confusion: from :func:`confusion_matrix`.

    Returns:
      The figures.

    Example:
      >>> import numpy as np
      >>> found = figures(np.array([[3, 1], [0, 4]]))
      >>> found.accuracy, found.recall.tolist(), found.precision.tolist()
      (0.875, [0.75, 1.0], [1.0, 0.8])
    """
    correct, examples = np.diagonal(confusion), confusion.sum(axis=1)
    recall, precision = _share(correct, examples), _share(correct, confusion.sum(axis=0))
    balanced = recall[examples > 0].mean() if examples.any() else np.nan
    return Figures(examples, float(_share(correct.sum(), examples.sum())), float(balanced), precision, recall)


def mean_loss(predictions: Predictions, class_weights: Sequence[float] | None = None) -> float:
    """Computes the (weighted) mean cross-entropy, as the training step does.

    Args:
      predictions: at least one.
      class_weights: weight of the examples of each class; all 1 by default.

    Returns:
      The mean loss.

    Example:
      >>> import numpy as np
      >>> one = np.zeros(1, np.int32)
      >>> round(mean_loss(Predictions(one, one, np.zeros((1, 2), np.float32))), 4)
      0.6931
    """
    labels = predictions.label
    losses = -np.take_along_axis(predictions.log_probabilities, labels[:, None], axis=1)[:, 0]
    return float(np.average(losses, weights=None if class_weights is None else np.asarray(class_weights)[labels]))


@dataclass(frozen=True)
class Patient:
    """Holds figures of one patient's examples of one class.

    Attributes:
      name: name of the patient.
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
    """Computes figures for each patient; one with examples of two classes counts once for each.

    Args:
      predictions: predictions for a part.
      patients: name of the patient for each of the predictions.

    Returns:
      The figures, sorted by name and class.

    Example:
      >>> import numpy as np
      >>> index, label = np.arange(3, dtype=np.int32), np.zeros(3, np.int32)
      >>> logits = np.array([[4, 0], [0, 1], [0, 1]], np.float32)
      >>> [(p.name, p.correct, p.predicted) for p in by_patient(Predictions(index, label, logits), ["a", "a", "b"])]
      [('a', 1, 0), ('b', 0, 1)]
    """
    found, probabilities = predictions.predicted, predictions.probabilities
    rows = []
    for name, label in sorted(set(zip(patients, predictions.label.tolist(), strict=True))):
        mine = (np.asarray(patients) == name) & (predictions.label == label)
        correct = int((found[mine] == label).sum())
        rows.append(Patient(name, label, int(mine.sum()), correct, int(probabilities[mine].mean(axis=0).argmax())))
    return rows


def _share(part: Any, whole: Any) -> np.ndarray:
    """Returns the quotient, NaN where ``whole`` is 0."""
    whole = np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
