"""Seeds against numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from xrcam_jax import seeds

LOGITS = jnp.array([[2.0, 4.0, -1.0, 0.0], [1.0, -8.0, 3.0, 2.0]])
TARGETS = jnp.array([1, 1])


@pytest.mark.parametrize(
    ("seed", "wanted"),
    [
        (seeds.unit, [[0, 1, 0, 0], [0, 1, 0, 0]]),
        (seeds.contrastive, [[-0.25, 1, -0.25, -0.25], [-0.25, 1, -0.25, -0.25]]),
        (seeds.one_hot, [[0, 4, 0, 0], [0, -8, 0, 0]]),
        (seeds.clrp, [[-1, 4, -1, -1], [2, -8, 2, 2]]),
        (seeds.clrp_zero_sum, [[-4 / 3, 4, -4 / 3, -4 / 3], [8 / 3, -8, 8 / 3, 8 / 3]]),
    ],
)
def test_seed(seed, wanted):
    np.testing.assert_allclose(seed(LOGITS, TARGETS), wanted, rtol=1e-6)


def test_sglrp_is_the_gradient_of_the_softmax():
    p = np.exp(np.asarray(LOGITS, np.float64))
    p /= p.sum(1, keepdims=True)
    wanted = -p[:, 1:2] * p
    wanted[:, 1] = p[:, 1] * (1 - p[:, 1])
    np.testing.assert_allclose(seeds.sglrp(LOGITS, TARGETS), wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("target", [0, 1, 3])
@pytest.mark.parametrize("gap", [5.0, 20.0, 80.0, 1e4])
def test_sglrp_in_units_of_the_target_never_ends(gap, target):
    """In float32, for the class of which the network is sure and for others; in float64 by its definition."""
    logits = np.array([[gap, 0.0, -1.0, 0.5]], np.float32)
    others = np.delete(logits[0].astype(np.float64), target)
    wanted = np.insert(-softmax(others), target, 1)
    found = np.asarray(seeds.sglrp_unit(logits, np.array([target])))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted[None], rtol=1e-5)
    published = np.asarray(seeds.sglrp(logits, np.array([target])))
    if gap < 10:
        np.testing.assert_allclose(found * published[0, target], published, rtol=1e-2)
    if target == 0:
        assert (published[0, 0] == 0) == (gap > 17), "of the surest class nothing is left of the published seed"


def above_similar(y, target, alpha, similar):
    """What Finer-CAM explains: how far a logit is above those of similar classes, weighted by their probabilities."""
    p = jax.nn.softmax(y)
    return sum(p[d] * (y[target] - alpha * y[d]) for d in similar) / sum(p[d] for d in similar)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("comparison", "similar"),
    [(1, [(0,), (0,)]), (2, [(0, 3), (0, 3)]), (9, [(0, 2, 3), (0, 2, 3)]), ((2, 1), [(2,), (2,)])],
)
def test_finer_is_the_gradient_of_what_it_explains(comparison, similar):
    # In steps of the first row, whose target 1 is at 4, classes 0, 3 and 2 are 2, 4 and 5 away; and 9, 10, 11.
    logits, alpha = jnp.asarray(np.asarray(LOGITS, np.float64)), 0.7
    found = seeds.finer(logits, TARGETS, alpha=alpha, comparison=comparison)
    for row, y, each in zip(found, logits, similar, strict=True):
        np.testing.assert_allclose(row, jax.grad(above_similar)(y, 1, alpha, each), rtol=1e-12, atol=1e-12)


def test_finer_compares_all_that_are_equally_near_and_never_the_target_with_itself():
    logits = jnp.array([[1.0, 3.0, 5.0, 9.0]])
    np.testing.assert_allclose(seeds.finer(logits, jnp.array([1]), comparison=1)[0, 3], 0)
    assert (np.asarray(seeds.finer(logits, jnp.array([1]), comparison=1)) != 0).tolist() == [[True, True, True, False]]
    np.testing.assert_array_equal(seeds.finer(logits, jnp.array([1]), comparison=(1,)), [[0, 1, 0, 0]])
    np.testing.assert_array_equal(seeds.finer(logits, jnp.array([1]), alpha=0.0), [[0, 1, 0, 0]])


@pytest.mark.parametrize("seed", [seeds.clrp_zero_sum, seeds.sglrp_unit, seeds.finer])
def test_contrasts_need_two_classes(seed):
    with pytest.raises(ValueError, match="at least 2"):
        seed(jnp.ones((1, 1)), jnp.array([0]))
