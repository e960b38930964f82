"""Running a model on many changed versions of a batch: chunks, memory, progress."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xrcam_jax import case as case_module
from xrcam_jax.case import Case, changed_scores, chunk_size, peak_bytes, stacked, summed, target_scores

TRACES = []


def model(images, parameters):
    TRACES.append(images.shape)
    return images.mean((1, 2)) @ parameters


def brighter(images, index, state):
    return images * state + index


def case(**options):
    rng = np.random.default_rng(0)
    images, parameters = rng.standard_normal((2, 4, 4, 3)), rng.standard_normal((3, 5))
    return Case(model, jnp.asarray(parameters), jnp.asarray(images), jnp.array([[0, 3], [4, 1]]), **options)


def brightened(of, count, state):
    logits = np.stack([model(np.asarray(of.images) * state + i, np.asarray(of.parameters)) for i in range(count)])
    return np.stack([logits[:, b, np.asarray(of.targets)[b]] for b in range(2)], axis=1)


@pytest.mark.parametrize("size", [None, 1, 2, 3, 7, 20])
def test_scores_are_those_of_a_loop_for_every_chunk_size(size):
    of = case(chunk_size=size)
    found = changed_scores(of, brighter, 7, 2.0, score="logit")
    np.testing.assert_allclose(found, brightened(of, 7, 2.0), rtol=2e-5)


def test_one_program_serves_all_chunks_and_batches():
    changed_scores(case(chunk_size=2), brighter, 5, 2.0, score="logit")
    before = len(TRACES)
    changed_scores(case(chunk_size=2), brighter, 5, 3.0, score="logit")
    assert len(TRACES) == before


@pytest.mark.parametrize("size", [1, 3, 5])
def test_sums_leave_out_what_fills_the_last_chunk(size):
    found = summed(lambda i, real: jnp.sum(i * real), 5, case(chunk_size=size), 1)
    assert int(found) == 10
    np.testing.assert_array_equal(stacked(lambda i: i**2, 5, case(chunk_size=size), 1), np.arange(5) ** 2)


def test_chunks_are_of_equal_size_and_fit_into_memory(monkeypatch):
    monkeypatch.setattr(case_module, "MEMORY", 1000)
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


def test_it_works_inside_jit():
    of = case(chunk_size=2)

    @jax.jit
    def scores(images):
        return changed_scores(Case(model, of.parameters, images, of.targets, 2), brighter, 5, 2.0, score="probability")

    found = scores(of.images)
    wanted = changed_scores(of, brighter, 5, 2.0, score="probability")
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_scores_are_logits_or_probabilities():
    logits, targets = jnp.array([[0.0, 1.0, 2.0]]), jnp.array([[2, 0]])
    np.testing.assert_array_equal(target_scores(logits, targets, "logit"), [[2, 0]])
    np.testing.assert_allclose(target_scores(logits, targets, "probability"), [[0.665241, 0.090031]], rtol=1e-5)
    p = np.array([0.665241, 0.090031])
    np.testing.assert_allclose(target_scores(logits, targets, "log_odds"), [np.log(p / (1 - p))], rtol=1e-4)
    with pytest.raises(ValueError, match="score must be logit, probability or log_odds; got 'odds'"):
        target_scores(logits, targets, "odds")


def test_peak_of_a_chain_is_two_values_and_of_a_fan_all():
    x = jax.ShapeDtypeStruct((10,), jnp.float32)
    assert peak_bytes(jax.make_jaxpr(lambda x: jnp.cos(jnp.sin(jnp.exp(x))))(x)) == 80
    assert peak_bytes(jax.make_jaxpr(lambda x: (jnp.cos(x), jnp.sin(x), jnp.exp(x)))(x)) == 120
