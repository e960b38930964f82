"""The first principal component against numpy's singular value decomposition."""

import jax.numpy as jnp
import numpy as np
import pytest

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


def test_tiny_values_keep_their_direction():
    a = np.zeros((1, 2, 2, 3), np.float32)
    a[0, 0, 0, 1] = 1e-25
    np.testing.assert_allclose(first_component(jnp.asarray(a))[0, 0, 0], [0, 1, 0], atol=1e-6)


def test_what_does_not_vary_has_no_component():
    np.testing.assert_array_equal(first_component(jnp.full((2, 3, 3, 4), 5.0)), 0)
    np.testing.assert_array_equal(centred(jnp.full((2, 3, 3, 4), 5.0)), 0)


def test_two_equal_components_give_one_that_is_finite():
    a = jnp.asarray(np.eye(4, dtype=np.float32).reshape(1, 2, 2, 4))
    found = first_component(a)
    assert bool(jnp.isfinite(found).all())
    np.testing.assert_allclose(jnp.linalg.norm(found), 1, rtol=1e-5)
