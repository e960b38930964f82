"""What a training is judged by: a section of text and a TensorBoard log."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrcam_jax.runtime.files import naming
from xrcam_jax.runtime.names import markdown_cell
from xrcam_jax.train.predictions import Figures, Patient, Predictions, by_patient, confusion_matrix, figures


def markdown(title: str, predictions: Predictions, classes: Sequence[str], patients: Sequence[str]) -> str:
    """Writes a section of a report: overall figures, confusion matrix, tables by class and by patient.

    Args:
      title: heading of the section.
      predictions: predictions for a part, at least one.
      classes: names of the classes.
      patients: name of the patient for each of the predictions.

    Returns:
      The section as Markdown.

    Example:
      >>> import numpy as np
      >>> label = np.array([0, 1], np.int32)
      >>> found = Predictions(label, label, np.array([[1, 0], [0, 1]], np.float32))
      >>> text = markdown("Part: test", found, ["glioma", "meningioma"], ["a", "b"])
      >>> print("\\n".join(text.splitlines()[:3]))
      ## Part: test
      <BLANKLINE>
      2 pictures of 2 patients. Accuracy 1.0000, balanced accuracy 1.0000, mean accuracy over patients 1.0000; 2 of 2
      patients right by their mean probabilities.
    """
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
        _table_of_classes(overall, classes),
        _table_of_patients(people, classes),
    ]
    return "\n\n".join(sections) + "\n"


class Board:
    """Keeps a TensorBoard log that says what the history says, even after an interruption.

    Args:
      folder: folder of the log; the logs of earlier starts that lie there are replaced.
      history: rows of the epochs that are done, which it begins with.

    Raises:
      ImportError: tensorboardX is not installed.
      OSError: names the folder, which cannot be written to. So do the methods.
    """

    def __init__(self, folder: str | os.PathLike[str], history: Sequence[Mapping[str, float]] = ()):
        from tensorboardX import SummaryWriter

        self._folder = folder
        with naming(folder):
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
        with naming(self._folder):
            self._writer.flush()

    def close(self) -> None:
        """Closes the log."""
        with naming(self._folder):
            self._writer.close()


def _table_of_classes(overall: Figures, classes: Sequence[str]) -> str:
    columns = (classes, overall.examples.tolist(), map(_text, overall.precision), map(_text, overall.recall))
    return _table(["class", "pictures", "precision", "recall"], list(zip(*columns, strict=True)))


def _table_of_patients(people: Sequence[Patient], classes: Sequence[str]) -> str:
    return _table(
        ["patient", "class", "pictures", "accuracy", "predicted by mean probability"],
        [[p.name, classes[p.label], p.examples, _text(p.correct / p.examples), classes[p.predicted]] for p in people],
    )


def _text(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.4f}"


def _table(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(markdown_cell, line))} |" for line in lines)
