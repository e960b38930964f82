"""The benchmark of training says what it measured."""

import time

import pytest

from experiments import training_speed


def test_images_per_second_and_the_ratio_are_printed(capsys, monkeypatch):
    monkeypatch.setattr(training_speed, "training", lambda *_: lambda: time.sleep(0.02))
    monkeypatch.setattr(training_speed, "torch_training", lambda *_: lambda: time.sleep(0.01))
    assert training_speed.main(["--model", "resnet18", "--batch-size", "2", "--repeats", "3", "--torch"]) == 0
    ours = capsys.readouterr().out.splitlines()[0]
    assert ours.startswith("resnet18 xrcam_jax: ")
    assert float(ours.split(": ")[1].split()[0]) < 100.1
    assert float(ours.split(", ")[1].split()[0]) == pytest.approx(0.5, abs=0.3)
