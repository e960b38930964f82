"""The suite for accelerators runs on any device, and what it reports hangs together."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import xrcam_jax as xr
from tests.benchmark.four_layers import TINY
from xrcam_jax.arguments.parser import Options
from xrcam_jax.benchmark import accelerator, precision
from xrcam_jax.benchmark.compiled_calls import CompiledCall


@pytest.mark.long
@pytest.mark.usefixtures("four_layers")
def test_all_of_an_accelerator(measure, monkeypatch):
    monkeypatch.setattr(precision, "measure", lambda options, peers: iter([{"model": "tiny", "precision": "float32"}]))
    small = ("--batch-sizes", "1,2", "--repeats", "1", "--concepts", "3", "--rate", "20", "--seconds", "0.2")
    rows = measure("accelerator", *TINY, *small)
    paces = [row for row in rows if row["part"] == "pace"]
    kinds = accelerator.precisions()
    runs = ("forward", "gradient", "xrelevance_cam", accelerator.PEAK)
    found = [(row["precision"], row["batch"], row["run"]) for row in paces]
    assert found == [(kind, batch, run) for kind in kinds for batch in (1, 2) for run in runs]
    assert "TF32" in kinds or jax.default_backend() != "gpu"
    for row in paces:
        if row["run"] != accelerator.PEAK:
            assert row["images_per_s"] == pytest.approx(1000 * row["batch"] / row["ms"])
            assert row["per_gradient"] == pytest.approx(row["counted"] * row["per_counted"])
    (live,) = (row for row in rows if row["part"] == "live")
    assert live["frames"] == 4
    assert 1 <= live["drawn"] <= 4
    assert 0 < live["ms"] <= live["ms_95_percent"]
    (concepts,) = (row for row in rows if row["part"] == "concepts")
    assert concepts["concepts"] == 3
    assert [row["part"] for row in rows][-1] == "error"


@pytest.mark.usefixtures("four_layers")
def test_batches_grow_until_memory_is_full(monkeypatch):
    calls = {size: CompiledCall(lambda: None, (), 0.0, 1.0, size * 2**20) for size in (1, 2, 4)}
    monkeypatch.setattr(
        accelerator, "compiled", lambda name, batch, *_: dict.fromkeys(("gradient", accelerator.PEAK), calls[batch])
    )
    monkeypatch.setattr(accelerator, "free_bytes", lambda: 3 * 2**19)
    options = Options(batch_sizes=(1, 2, 4), size=32, repeats=1)
    rows = list(accelerator.pace("tiny", "float32", options, {}))
    assert [(row["batch"], row.get("fits")) for row in rows] == [(1, None), (1, None), (2, "no")]


def test_live_frames_that_come_meanwhile_are_left_out(monkeypatch):
    """A map takes 2.5 frames' time, so that the third one after each is the next."""
    now = [0.0]

    def slow(*_):
        now[0] += 0.25
        return type("Found", (), {"maps": {"xrelevance_cam": {"layer4": np.zeros((1, 4, 4), np.float32)}}})

    monkeypatch.setattr(accelerator.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(accelerator.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(accelerator, "network", lambda *_: SimpleNamespace(preprocessing=xr.Preprocessing()))
    monkeypatch.setattr(xr, "Explainer", lambda *_: slow)
    row = accelerator.live("tiny", 32, 10, 1.0)
    # Frames 0, 2, 5 and 7 are drawn: done at 0.25, 0.5, 0.75 and 1.0.
    assert (row["frames"], row["drawn"]) == (10, 4)
    assert row["ms"] == pytest.approx(np.median([250, 300, 250, 300]))
