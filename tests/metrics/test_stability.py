"""Relative stabilities are those of a loop in NumPy over the same noise; versions of another class do not count."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.metrics import quadratic
from xrcam_jax.metrics import stability

NOISE, SAMPLES = 0.4, 6


@pytest.fixture(scope="module")
def case():
    # A value of 0 is divided by as the smallest number.
    case = quadratic.case(seed=3)
    return replace(case, images=case.images.at[0, 0, 0, 0].set(0.0))


@pytest.fixture(scope="module")
def maps(case):
    return quadratic.maps_of(case)


@pytest.fixture(scope="module")
def found(case, maps):
    given = case, quadratic.explain, maps
    return stability.neighbours(*given, layer="squares", noise=NOISE, nr_samples=SAMPLES)


def relative(a, b):
    return np.sqrt((((a - b) / np.where(a == 0, 1e-6, a)) ** 2).reshape(len(a), -1).sum(-1))


def test_stabilities_are_those_of_a_loop(case, found):
    network, keys = quadratic.InNumPy(case), [jax.random.fold_in(jax.random.key(0), i) for i in range(SAMPLES)]
    drawn = [NOISE * np.array(jax.random.normal(key, quadratic.SHAPE[1:]), np.float64) for key in keys]
    left = 0
    for i, x, target in quadratic.each(case):
        best = {"input": np.full(2, np.nan), "output": np.full(2, np.nan), "layer": np.full(2, np.nan)}
        for e in drawn:
            y = x + e
            if network.logits(x).argmax() != network.logits(y).argmax():
                left += 1
                continue
            above = relative(network.maps(x, target), network.maps(y, target))
            below = {
                "input": relative(x[None], y[None]),
                "output": np.sqrt(((network.logits(x) - network.logits(y)) ** 2).sum()),
                "layer": relative(x[None] ** 2, y[None] ** 2),
            }
            best = {name: np.fmax(best[name], above / np.maximum(below[name], 1e-6)) for name in best}
        for name, figures in {
            "input": found.relative_input_stability(),
            "output": found.relative_output_stability(),
            "layer": found.relative_representation_stability(),
        }.items():
            np.testing.assert_allclose(figures[:, i], best[name], rtol=2e-4)
    assert 0 < left < SAMPLES * quadratic.BATCH


def test_the_metrics_are_what_their_shared_passes_say(case, maps, found):
    given, options = (case, quadratic.explain, maps), {"noise": NOISE, "nr_samples": SAMPLES}
    one = stability.relative_representation_stability(*given, layer="squares", **options)
    np.testing.assert_array_equal(one, found.relative_representation_stability())
    for name in ("relative_input_stability", "relative_output_stability"):
        figures = getattr(stability, name)(*given, **options)
        np.testing.assert_allclose(figures, getattr(found, name)(), rtol=1e-4)


def test_without_neighbours_of_the_class_there_is_no_figure(found):
    none = found._replace(same=found.same.at[:, 1].set(False))
    assert np.isnan(none.relative_input_stability()).all(0).tolist() == [False, True, False]


def test_chunks_batches_and_their_order_do_not_matter(case, maps, found):
    few, of_few = quadratic.some(case, maps, [2, 0])
    options = {"layer": "squares", "noise": NOISE, "nr_samples": SAMPLES}
    again = stability.neighbours(replace(few, chunk_size=4), quadratic.explain, of_few, **options)
    for one, other in zip(again, found, strict=True):
        np.testing.assert_allclose(one, other[..., jnp.array([2, 0])], rtol=1e-4)


def test_wrong_arguments(case, maps, found):
    with pytest.raises(ValueError, match=r"noise must be a positive number; got -1"):
        stability.relative_input_stability(case, quadratic.explain, maps, noise=-1)
    with pytest.raises(ValueError, match="needs passes with a layer; got none"):
        found._replace(layer=None).relative_representation_stability()
