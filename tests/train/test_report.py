"""What a training is judged by ends up in text, in a picture and in a log."""

import errno
import os

import numpy as np
import pytest

from xrcam_jax.train.predictions import Predictions
from xrcam_jax.train.report import Board, markdown

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


def test_the_report_says_what_is_right_by_class_and_by_patient():
    label, predicted = np.int32([0, 0, 0, 1]), [0, 0, 1, 1]
    found = Predictions(np.arange(4, dtype=np.int32), label, np.eye(3, dtype=np.float32)[predicted])
    lines = markdown("Part: test", found, ["a|b", "b", "<c>"], ["anna", "anna", "anna", "\x1b\nbert"]).splitlines()
    assert lines[0] == "## Part: test"
    assert lines[2] == (
        "4 pictures of 2 patients. Accuracy 0.7500, balanced accuracy 0.8333, mean accuracy over patients 0.8333; "
        "2 of 2 patients right by their mean probabilities."
    )
    for row in (
        "| a\\|b | 2 | 1 | 0 |",
        "| b | 0 | 1 | 0 |",
        "| a\\|b | 3 | 1.0000 | 0.6667 |",
        "| b | 1 | 0.5000 | 1.0000 |",
        "| &lt;c> | 0 | - | - |",
        "| anna | a\\|b | 3 | 0.6667 | a\\|b |",
        "| \\x1b\\nbert | b | 1 | 1.0000 | b |",
    ):
        assert row in lines


def test_the_log_starts_afresh(tmp_path):
    pytest.importorskip("tensorboardX")
    for rows in (HISTORY[:1], HISTORY[:2]):
        board = Board(tmp_path / "board", rows)
        board.add(HISTORY[2])
        board.close()
    (log,) = (tmp_path / "board").iterdir()
    content = log.read_bytes()
    assert content.count(b"loss/validation") == content.count(b"images_per_second") == 3


def test_a_full_disk_is_told_with_the_log_s_folder(tmp_path, monkeypatch):
    board = Board(tmp_path / "board", HISTORY[:1])

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(board._writer.file_writer.event_writer._ev_writer, "flush", full)
    for write in (lambda: board.add(HISTORY[1]), board.close):
        with pytest.raises(OSError, match=r"No space left on device: '.*board'"):
            write()
