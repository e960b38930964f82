"""Figures against plain loops."""

import math

import numpy as np
import pytest

from xrcam_jax.train.predictions import Predictions, by_patient, confusion_matrix, figures, mean_loss


def some(count=50, classes=4, seed=0):
    random = np.random.default_rng(seed)
    # The last class has no examples.
    label = random.integers(0, classes - 1, count).astype(np.int32)
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


def test_one_output_predicts_two_classes():
    z = [3.0, -0.5, -600.0, 0.25]
    label = np.array([1, 1, 0, 0], np.int32)
    found = Predictions(np.arange(4, dtype=np.int32), label, np.array(z, np.float32)[:, None])
    assert found.predicted.tolist() == [1, 0, 0, 1]
    p = np.array([1 / (1 + math.exp(-each)) for each in z])
    np.testing.assert_allclose(found.probabilities, np.stack([1 - p, p], axis=1), atol=1e-12)
    losses = [math.log1p(math.exp(-3)), math.log1p(math.exp(0.5)), 0, math.log1p(math.exp(0.25))]
    assert mean_loss(found) == pytest.approx(sum(losses) / 4)
    assert mean_loss(found, (1.0, 3.0)) == pytest.approx((3 * losses[0] + 3 * losses[1] + losses[3]) / 8)
    patients = [(p.name, p.label, p.correct, p.predicted) for p in by_patient(found, ["a", "a", "b", "b"])]
    assert patients == [("a", 1, 1, 1), ("b", 0, 1, 0)]


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
