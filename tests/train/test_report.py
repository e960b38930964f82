"""Figures against plain loops, and the files that they end up in."""

import math

import numpy as np
import pytest
from PIL import Image

from xrcam_jax.train.report import (
    Board,
    Predictions,
    by_patient,
    confusion_matrix,
    figures,
    markdown,
    mean_loss,
    plot_curves,
)

HISTORY = [
    {
        "epoch": epoch,
        "step": 5 * epoch,
        "train_loss": 1 / epoch,
        "validation_loss": 1.1 / epoch,
        "train_accuracy": 0.5,
        "validation_accuracy": 0.4,
        "images_per_second": 9.0,
    }
    for epoch in (1, 2, 3)
]


def some(count=50, classes=4, seed=0):
    random = np.random.default_rng(seed)
    label = random.integers(0, classes - 1, count).astype(np.int32)  # the last class has no examples
    return Predictions(np.arange(count, dtype=np.int32), label, random.normal(size=(count, classes)).astype(np.float32))


def test_figures_against_loops():
    found = some()
    pairs = [(int(label), int(np.argmax(row))) for label, row in zip(found.label, found.logits, strict=True)]
    confusion = confusion_matrix(found.label, found.predicted, 4)
    for true in range(4):
        for taken in range(4):
            assert confusion[true, taken] == pairs.count((true, taken))

    result = figures(confusion)
    assert result.accuracy == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    recalls = []
    for name in range(4):
        of, taken, both = (
            sum(a == name for a, _ in pairs),
            sum(b == name for _, b in pairs),
            pairs.count((name, name)),
        )
        assert result.examples[name] == of
        assert result.precision[name] == pytest.approx(both / taken)
        if of:
            recalls.append(both / of)
            assert result.recall[name] == pytest.approx(both / of)
        else:
            assert math.isnan(result.recall[name])
    assert result.balanced_accuracy == pytest.approx(sum(recalls) / len(recalls))


def test_figures_of_nothing_are_nan():
    result = figures(np.zeros((2, 2), int))
    assert math.isnan(result.accuracy)
    assert math.isnan(result.balanced_accuracy)


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5, 9.0)])
def test_the_loss_against_a_loop(weights):
    found = some()
    total = weight = 0.0
    for label, row in zip(found.label, found.logits.astype(float), strict=True):
        w = weights[label] if weights else 1.0
        total += w * (math.log(sum(math.exp(value) for value in row)) - row[label])
        weight += w
    assert mean_loss(found, weights) == pytest.approx(total / weight, rel=1e-9)


def test_a_loss_is_finite_however_sure_the_network_is():
    sure = Predictions(np.zeros(1, np.int32), np.zeros(1, np.int32), np.float32([[-3e4, 3e4]]))
    assert mean_loss(sure) == pytest.approx(6e4)


def test_patients_against_a_loop():
    found = some()
    patients = [f"p{i % 5}" for i in range(50)]
    rows = {(row.name, row.label): row for row in by_patient(found, patients)}
    assert set(rows) == set(zip(patients, found.label.tolist(), strict=True))
    for (name, label), row in rows.items():
        mine = [i for i in range(50) if patients[i] == name and found.label[i] == label]
        assert row.examples == len(mine)
        assert row.correct == sum(int(np.argmax(found.logits[i])) == label for i in mine)
        assert row.predicted == int(np.argmax(sum(found.probabilities[i] for i in mine)))


def test_the_report_names_classes_and_patients():
    text = markdown("Part: test", some(), ["a|b", "b", "c", "d"], ["anna", "bert"] * 25)
    assert "50 pictures of 2 patients" in text
    assert "| anna | a\\|b |" in text
    assert "| d | 0 | 0.0000 | - |" in text


def test_curves_are_a_picture_and_the_log_starts_afresh(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("tensorboardX")
    plot_curves(tmp_path / "curves.png", HISTORY, best_epoch=2)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1200, 480)

    for rows in (HISTORY[:1], HISTORY[:2]):
        board = Board(tmp_path / "board", rows)
        board.add(HISTORY[2])
        board.close()
    (log,) = (tmp_path / "board").iterdir()
    content = log.read_bytes()
    assert content.count(b"loss/validation") == content.count(b"images_per_second") == 3
