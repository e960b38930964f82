"""KPCA-CAM against a decomposition into all components by numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from xrcam_jax.attribution import chunks
from xrcam_jax.attribution.case import Case
from xrcam_jax.cam import kpca_cam as module
from xrcam_jax.cam.kpca_cam import kpca_cam


def model(x, p):
    return xr.mark(x, "here").sum((1, 2))


def case(a):
    return Case(model, (), jnp.asarray(a), jnp.zeros((len(a), 2), jnp.int32))


def kernel_of(x, kernel, gamma):
    products, squares = x @ x.T, (x**2).sum(1)
    return {
        "sigmoid": np.tanh(gamma * products + 1),
        "rbf": np.exp(-gamma * (squares[:, None] + squares - 2 * products)),
        "polynomial": (gamma * products + 1) ** 3,
    }[kernel]


def by_numpy(a, kernel, gamma):
    """The projection of one picture's places, centred kernel and all."""
    x = a.reshape(-1, a.shape[-1])
    x = x - x.mean(0)
    k, n = kernel_of(x, kernel, gamma), len(x)
    centre = np.eye(n) - np.ones((n, n)) / n
    values, vectors = np.linalg.eigh(centre @ k @ centre)
    found = np.sqrt(values[-1]) * vectors[:, -1]
    return (found * np.sign(found @ x.sum(1))).reshape(a.shape[:-1])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("kernel", "gamma", "space"),
    [("sigmoid", None, (12, 11)), ("rbf", 0.05, (3, 4)), ("polynomial", None, (7,)), ("sigmoid", 4.0, (2, 3, 4))],
)
def test_it_is_the_first_component_of_the_centred_kernel(kernel, gamma, space):
    # Of the last, with a large γ, the largest negative eigenvalue is no longer small.
    a = np.abs(np.random.default_rng(0).standard_normal((3, *space, 5)))
    found = kpca_cam(case(a), "here", kernel=kernel, gamma=gamma)
    assert found.shape == (3, 2, *space)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    for one, wanted in zip(found[:, 0], a, strict=True):
        wanted = by_numpy(wanted, kernel, 1 / 5 if gamma is None else gamma)
        np.testing.assert_allclose(one, wanted, atol=1e-9 * np.abs(wanted).max())


def test_what_does_not_vary_has_no_component():
    np.testing.assert_array_equal(kpca_cam(case(np.full((2, 3, 4, 5), 7, np.float32)), "here"), 0)


def test_pictures_are_taken_one_after_the_other_where_memory_is_short(monkeypatch):
    a = np.random.default_rng(1).standard_normal((3, 4, 3, 5)).astype(np.float32)
    wanted = kpca_cam(case(a), "here", gamma=0.3)
    monkeypatch.setattr(chunks, "MEMORY", 1)
    # Another γ than before, so that the program is not the one that is there.
    found = kpca_cam(case(a), "here", gamma=0.3 + 1e-7)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_too_many_places_are_refused_by_name(monkeypatch):
    monkeypatch.setattr(module, "_MOST_PLACES", 11)
    with pytest.raises(ValueError, match=r"kpca_cam needs a layer of at most 11 places, .*; here has 12"):
        kpca_cam(case(np.ones((1, 4, 3, 2), np.float32)), "here")
