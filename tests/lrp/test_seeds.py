"""Seeds against numbers worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

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


def test_clrp_zero_sum_needs_two_classes():
    with pytest.raises(ValueError, match="at least 2"):
        seeds.clrp_zero_sum(jnp.ones((1, 1)), jnp.array([0]))
