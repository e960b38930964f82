"""The first principal component against numpy's singular value decomposition."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.cam.components import centred, first_component


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("shape", [(3, 5, 6, 4), (3, 2, 3, 20), (2, 4, 4, 16)])
def test_it_is_the_first_right_singular_vector_and_rises_with_the_activation(shape):
    a = np.abs(np.random.default_rng(0).standard_normal(shape))
    found = np.asarray(first_component(jnp.asarray(a)))[:, 0, 0]
    for one, v in zip(a.reshape(shape[0], -1, shape[-1]), found, strict=True):
        m = one - one.mean(0)
        wanted = np.linalg.svd(m, full_matrices=False)[2][0]
        np.testing.assert_allclose(np.abs(v @ wanted), 1, rtol=1e-9)
        assert (m @ v) @ one.sum(1) >= 0


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_values_whose_squares_are_no_numbers_keep_their_direction(size):
    a = np.zeros((1, 2, 2, 3), np.float32)
    a[0, 0, 0, 1] = size
    np.testing.assert_allclose(first_component(jnp.asarray(a))[0, 0, 0], [0, 1, 0], atol=1e-6)


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_no_direction_explains_more_however_close_the_second_comes(seed, ratio):
    """Where the first two singular values all but agree, the direction is not settled, what it explains is."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((n, 4)))[0] for n in (12, 7))
    m = left @ np.diag([1, ratio, ratio / 2, 0.1]) @ right.T
    a = jnp.asarray(m.reshape(1, 3, 4, 7), jnp.float32)
    v = np.asarray(first_component(a), np.float64)[0, 0, 0]
    m = m - m.mean(0)
    np.testing.assert_allclose(np.linalg.norm(v), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(m @ v), np.linalg.svd(m)[1][0], rtol=1e-3)


def test_what_does_not_vary_has_no_component():
    np.testing.assert_array_equal(first_component(jnp.full((2, 3, 3, 4), 5.0)), 0)
    np.testing.assert_array_equal(centred(jnp.full((2, 3, 3, 4), 5.0)), 0)


def test_two_equal_components_give_one_that_is_finite():
    a = jnp.asarray(np.eye(4, dtype=np.float32).reshape(1, 2, 2, 4))
    found = first_component(a)
    assert bool(jnp.isfinite(found).all())
    np.testing.assert_allclose(jnp.linalg.norm(found), 1, rtol=1e-5)
