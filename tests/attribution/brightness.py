"""A linear model of the mean colour, which counts how often it is traced, and pictures that are made brighter."""

import jax.numpy as jnp
import numpy as np

import xrcam_jax as xr
from xrcam_jax.attribution.case import Case

TRACES = []


def model(images, parameters):
    TRACES.append(images.shape)
    return images.mean((1, 2)) @ parameters


def brighter(images, index, state):
    return images * state + index.astype(images.dtype)


def case(**options):
    rng = np.random.default_rng(0)
    images, parameters = rng.standard_normal((2, 4, 4, 3)), rng.standard_normal((3, 5))
    return Case(model, jnp.asarray(parameters), jnp.asarray(images), jnp.array([[0, 3], [4, 1]]), **options)


def marked(images, parameters):
    return jnp.tanh(xr.mark(jnp.sin(images), "layer") @ parameters).sum((1, 2))
