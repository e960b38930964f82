"""Curves have whole epochs as ticks, and show figures with their intervals."""

import math

import pytest

from xrcam_jax.figures.curves import lines, training_curves
from xrcam_jax.figures.save import save


@pytest.mark.parametrize("epochs", [1, 2, 5, 40])
def test_ticks_are_whole_epochs(epochs, tmp_path):
    row = {"train_loss": 1.0, "validation_loss": 2.0, "train_accuracy": 0.5, "validation_accuracy": 0.4}
    figure = training_curves([{"epoch": n, **row} for n in range(1, epochs + 1)], best_epoch=1)
    save(figure, tmp_path / "curves.png")
    for axes in figure.axes:
        low, high = axes.get_xlim()
        seen = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert seen
        assert all(tick == round(tick) for tick in seen)
        assert [line.get_label() for line in axes.lines] == ["train", "validation", "best"]


def test_lines_have_their_intervals():
    figure = lines({"Grad-CAM": [(40.0, 30.0, 55.0), (20.0, math.nan, math.nan)]}, ["layer 3", "layer 4"], "IoU (%)")
    (axes,) = figure.axes
    (container,) = axes.containers
    assert container[0].get_ydata().tolist() == [40, 20]
    (segments,) = (each.get_segments() for each in container[2])
    assert [sorted(y for _, y in segment) for segment in segments] == [[30, 55], [20, 20]]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["layer 3", "layer 4"]
