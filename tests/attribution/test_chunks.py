"""Chunks: how many versions run at a time, what fills the last chunk, memory, progress."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.attribution.brightness import TRACES, brighter, case, marked, model
from xrcam_jax.attribution import chunks
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.chunks import bytes_of_forward, bytes_of_gradient, chunk_size, stacked, summed
from xrcam_jax.attribution.scores import changed_scores
from xrcam_jax.runtime.devices import data_mesh, lay


@pytest.mark.parametrize("size", [1, 3, 5])
def test_sums_leave_out_what_fills_the_last_chunk(size):
    found = summed(lambda i, real: jnp.sum(i.astype(real.dtype) * real), 5, case(chunk_size=size), 1)
    assert int(found) == 10
    np.testing.assert_array_equal(stacked(lambda i: i**2, 5, case(chunk_size=size), 1), np.arange(5) ** 2)


def test_chunks_are_of_equal_size_and_fit_into_memory(monkeypatch):
    monkeypatch.setattr(chunks, "MEMORY", 1000)
    assert chunk_size(100, case(), 10) == 100
    assert chunk_size(100, case(), 15) == 50
    assert chunk_size(100, case(), 5000) == 1
    assert chunk_size(100, case(chunk_size=30), 5000) == 25
    with pytest.raises(ValueError, match="chunk_size must be at least 1; got 0"):
        chunk_size(100, case(chunk_size=0), 1)


def test_progress_is_told_of_every_chunk():
    seen = []

    def progress(items, total, name):
        for item in items:
            seen.append((total, name))
            yield item

    changed_scores(case(chunk_size=2, progress=progress), brighter, 5, 2.0, score="logit", name="test")
    assert seen == [(3, "test")] * 3


def test_the_chunk_is_what_the_memory_holds(monkeypatch):
    def fresh(images, parameters):
        return model(images, parameters)

    of = case()
    each = bytes_of_forward(fresh, "input", of.images, of.parameters)
    monkeypatch.setattr(chunks, "MEMORY", int(3.5 * each))
    before = len(TRACES)
    changed_scores(Case(fresh, of.parameters, of.images, of.targets), brighter, 9, 2.0, score="logit")
    assert max(shape[0] for shape in TRACES[before:]) == 3 * 2


def test_of_a_batch_across_devices_each_holds_a_share(monkeypatch):
    monkeypatch.setattr(chunks, "MEMORY", 1000)
    one = case()
    images = lay(data_mesh(jax.devices()[:2]), one.images)
    assert chunk_size(100, one, 100) == 10
    assert chunk_size(100, replace(one, images=images), 100) == 20


def test_a_gradient_keeps_what_the_way_back_needs():
    of = case()
    forward, back = (
        estimate(marked, "input", of.images, of.parameters) for estimate in (bytes_of_forward, bytes_of_gradient)
    )
    # sin (2, 4, 4, 3), its product with the weights and tanh of that (2, 4, 4, 5), in float32
    assert forward >= 2 * 2 * 4 * 4 * 5 * 4
    assert back >= forward + 2 * 4 * 4 * 3 * 4
    assert bytes_of_forward(marked, "layer", of.images, of.parameters) <= forward


def test_progress_may_be_a_bar_that_ends_early_or_an_error():
    def interrupted(items, total, name):
        yield from list(items)[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        changed_scores(case(chunk_size=1, progress=interrupted), brighter, 5, 2.0, score="logit")
