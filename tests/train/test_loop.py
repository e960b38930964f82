"""Training stops when it should, goes on from where it was, and tells of it on the way."""

import math
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.train import tiny
from tests.train.tiny import Endless, Tiny, examples, make_run
from xrcam_jax.train import loop
from xrcam_jax.train.checkpoint import Checkpoints
from xrcam_jax.train.loop import Diverged, Observer, Schedule, fit
from xrcam_jax.train.predictions import Predictions

HASTE = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


class Stop(Exception):
    """Stands for a power cut."""


class Notes(Observer):
    """Writes down what it is told, and may pull the plug."""

    def __init__(self, stop_after=None):
        self.steps, self.rows, self.stop_after = [], [], stop_after

    def stepped(self, progress):
        self.steps.append(progress.step)
        if progress.step == self.stop_after:
            raise Stop

    def saved(self, progress):
        self.rows.append(progress.history[-1])


def scores(*shares):
    """Makes an evaluation whose accuracy is the next of the shares each time, in percent."""
    remaining = iter(shares)

    def evaluate(_):
        right = np.arange(100) < next(remaining)
        logits = np.stack([right, ~right, np.zeros(100)], axis=1).astype(np.float32)
        return Predictions(np.arange(100, dtype=np.int32), np.zeros(100, np.int32), logits)

    return evaluate


def kept(checkpoints):
    return {name: checkpoints.step(name) for name in ("last", "best")}


def timeless(history):
    return [{name: row[name] for name in row if name not in ("seconds", "images_per_second")} for row in history]


def test_it_learns_and_tells(tmp_path):
    notes = Notes()
    state, run = make_run(tmp_path, observer=notes, epochs=6)
    state, progress = fit(state, run)
    assert notes.steps == list(range(1, 31))
    assert tuple(notes.rows) == progress.history
    assert [row["step"] for row in notes.rows] == [5, 10, 15, 20, 25, 30]
    assert notes.rows[-1]["train_loss"] < notes.rows[0]["train_loss"]
    assert int(state.step) == 30
    assert kept(run.checkpoints)["last"] == 30
    assert kept(run.checkpoints)["best"] == progress.history[progress.best_epoch - 1]["step"]
    run.checkpoints.close()


def test_it_stops_early_and_keeps_the_best_and_the_last(tmp_path):
    state, run = make_run(
        tmp_path, evaluate=scores(50, 70, 70, 60, 69, 99), steps_per_epoch=1, patience=3, epochs=9, checkpoint_every=0
    )
    _, progress = fit(state, run)
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (5, 2, 0.7)
    assert kept(run.checkpoints) == {"last": 5, "best": 2}

    # Started again it has nothing to do.
    state, run = make_run(tmp_path, evaluate=scores(), steps_per_epoch=1, patience=3, epochs=9, checkpoint_every=0)
    _, again = fit(state, run)
    assert again == progress
    run.checkpoints.close()


def test_of_losses_the_least_is_the_best(tmp_path):
    state, run = make_run(tmp_path, evaluate=scores(50, 70, 40), steps_per_epoch=1, epochs=3, score="loss")
    assert fit(state, run)[1].best_epoch == 2
    run.checkpoints.close()


@pytest.mark.parametrize("stop_after", [1, 7, 10])
def test_stopped_anywhere_it_ends_as_if_undisturbed(tmp_path, stop_after):
    state, run = make_run(tmp_path / "undisturbed", epochs=3)
    end, progress = fit(state, run)
    run.checkpoints.close()

    state, run = make_run(tmp_path / "stopped", epochs=3, observer=Notes(stop_after))
    with pytest.raises(Stop):
        fit(state, run)
    run.checkpoints.close()
    state, run = make_run(tmp_path / "stopped", epochs=3)
    end_again, progress_again = fit(state, run)
    best, _ = run.checkpoints.restore("best", end_again)
    run.checkpoints.close()

    jax.tree.map(np.testing.assert_array_equal, end_again, end)
    assert timeless(progress_again.history) == timeless(progress.history)
    assert progress_again.batches == progress.batches
    assert int(best.step) == progress.history[progress.best_epoch - 1]["step"]


def test_a_best_that_was_not_written_in_time_is_made_up_for(tmp_path):
    state, run = make_run(tmp_path, evaluate=scores(50), steps_per_epoch=1, epochs=1)
    fit(state, run)
    run.checkpoints.close()
    for path in (tmp_path / "best").iterdir():
        path.rename(tmp_path / "away")
    state, run = make_run(tmp_path, evaluate=scores(), steps_per_epoch=1, epochs=1)
    fit(state, run)
    assert kept(run.checkpoints) == {"last": 1, "best": 1}
    run.checkpoints.close()


def test_a_loss_that_is_no_number_stops_it_with_the_last_good_state_kept(tmp_path):
    class Poisoned(Endless):
        def __next__(self):
            batch = super().__next__()
            return {**batch, "label": np.full_like(batch["label"], 2**20)} if self.seen == 9 else batch

    state, run = make_run(tmp_path, batches=Poisoned(examples(64), 16))
    with pytest.raises(Diverged, match="step 9: loss nan"):
        fit(state, run)
    last, content = run.checkpoints.restore("last", make_run(tmp_path / "other")[0])
    run.checkpoints.close()
    assert content["step"] == 8
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(last))


def test_a_gradient_that_is_no_number_stops_it_though_the_loss_is_one(tmp_path):
    class Cliff(Tiny):
        def __call__(self, x, *, rngs=None):
            # The derivative is the square root's slope at 0, which is infinite, times 0.
            return super().__call__(x, rngs=rngs) + jnp.sqrt(0.0 * self.fc.bias[...])

    state, run = make_run(tmp_path, Cliff())
    with pytest.raises(Diverged, match=r"step 1: loss 1.*gradient nan"):
        fit(state, run)
    assert kept(run.checkpoints) == {"last": None, "best": None}
    run.checkpoints.close()


@pytest.mark.long
def test_two_processes_learn_what_one_does(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, tiny.__file__, "join", str(tmp_path / "two"), port]
    both = [subprocess.Popen([*command, process], env=HASTE, stderr=subprocess.PIPE, text=True) for process in "01"]
    for process in both:
        _, error = process.communicate(timeout=240)
        assert process.returncode == 0, error

    state, run = make_run(tmp_path / "one", epochs=2)
    state, progress = fit(state, run)
    run.checkpoints.close()
    together, content = Checkpoints(tmp_path / "two").restore("last", state)
    for row, same in zip(timeless(progress.history), timeless(content["history"]), strict=True):
        assert same == pytest.approx(row, abs=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), together.stats, state.stats)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs: expected 1 or more, got 0"),
        ({"patience": 0}, "patience"),
        ({"checkpoint_every": -1}, "checkpoint_every"),
        ({"score": "f1"}, "score: 'f1' is none of accuracy"),
    ],
)
def test_an_impossible_schedule_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**{"steps_per_epoch": 1, **wrong})


def test_the_time_of_a_step_ends_when_its_result_is_there(tmp_path, monkeypatch):
    """An epoch of one step took no time else, and its rate was a thousand times too high."""
    happened = []
    get, lap = jax.device_get, loop._Clock.lap
    monkeypatch.setattr(jax, "device_get", lambda a: (happened.append("result"), get(a))[1])
    monkeypatch.setattr(loop._Clock, "lap", lambda clock: (happened.append("time"), lap(clock))[1])
    state, run = make_run(tmp_path, evaluate=scores(50), steps_per_epoch=1, epochs=1)
    fit(state, run)
    run.checkpoints.close()
    # The first time is that of the compilation.
    assert happened[:3] == ["time", "result", "time"]


def test_rates_are_numbers(tmp_path):
    state, run = make_run(tmp_path, evaluate=scores(50, 60), steps_per_epoch=2, epochs=2)
    for row in fit(state, run)[1].history:
        assert row["images_per_second"] > 0
        assert all(math.isfinite(value) for value in row.values())
    run.checkpoints.close()
