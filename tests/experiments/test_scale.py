"""The simulation of a large data set knows which process was how fast."""

import numpy as np
import pytest

from experiments import scale
from xrcam_jax.data.manifest import read_prepared


def test_pace_of_each_process_and_part():
    """Two processes take batches of 4 in turn: one takes a second for each, the other two, and then four."""
    first = 100.0 + np.arange(9)
    second = 100.0 + np.cumsum([0, 2, 2, 2, 2, 4, 4, 4, 4])
    finished = np.stack([first, second], 1).ravel()
    one, two = scale.paces(finished, 2, 4)
    assert (one["process"], one["batches"], one["frames_per_s"]) == (0, 9, pytest.approx(4))
    assert one["parts"] == pytest.approx([4] * 4)
    assert two["parts"] == pytest.approx([2, 2, 1, 1])


def test_a_pause_between_two_starts_does_not_count():
    finished = np.array([0.0, 1, 2, 3, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008])
    (one,) = scale.paces(finished, 1, 2)
    assert one["frames_per_s"] == pytest.approx(2)
    assert one["parts"] == pytest.approx([2] * 4)


def test_drawn_frames_are_a_prepared_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "DRAWN", 4)
    scale.draw(tmp_path, 10, 32)
    prepared = read_prepared(tmp_path)
    assert len(prepared.frames) == len(set(prepared.frames)) == 10
    assert len(prepared.classes) == 2
    contents = {(tmp_path / frame.file).read_bytes() for frame in prepared.frames}
    assert len(contents) == 10
