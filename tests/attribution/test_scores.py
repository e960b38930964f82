"""Scores of targets on many changed versions of a batch, and what the scores are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.attribution.brightness import TRACES, brighter, case, model
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.scores import changed_scores
from xrcam_jax.attribution.targets import target_scores


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


def test_one_output_has_a_score_for_either_class():
    z = jnp.array([[2.0], [-30.0]])
    p = jax.nn.sigmoid(jnp.concatenate([-z, z], axis=1))
    both = jnp.array([[0, 1], [0, 1]])
    np.testing.assert_array_equal(target_scores(z, both, "logit"), [[-2, 2], [30, -30]])
    np.testing.assert_allclose(target_scores(z, both, "probability"), p, rtol=1e-5)
    # The odds of p are exp(z), whose logarithm keeps its digits where p rounds to 1.
    np.testing.assert_allclose(target_scores(z, both, "log_odds"), [[-2, 2], [30, -30]], rtol=1e-6)


def test_programs_do_not_depend_on_how_many_chunks_there_are():
    def fresh(images, parameters):
        return model(images, parameters)

    of = case(chunk_size=2)
    before = len(TRACES)
    # 14 versions in 7 chunks
    changed_scores(Case(fresh, of.parameters, of.images, of.targets, 2), brighter, 14, 2.0, score="logit")
    versions = [shape[0] for shape in TRACES[before:] if shape[0] != 2]
    assert versions == [4]
