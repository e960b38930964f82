"""What methods that follow other paths are compared on: the network of ``references/paths.npz``, and one by hand."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import xrcam_jax as xr
from tests import oracle
from xrcam_jax.attribution.case import Case


def reference():
    """The arrays of other libraries."""
    with np.load(oracle.DATA / "paths.npz") as arrays:
        return dict(arrays)


def network(images, p):
    """Two convolutions with tanh, a mean and three classes."""
    for name in ("conv1", "conv2"):
        dimensions = ("NHWC", "HWIO", "NHWC")
        images = jnp.tanh(lax.conv_general_dilated(images, p[name], (1, 1), "SAME", dimension_numbers=dimensions))
    return images.mean((1, 2)) @ p["head"]


def referred(wanted, picture, target=1, **options):
    """The case of one picture of the references."""
    p = {name: jnp.asarray(wanted[name]) for name in ("conv1", "conv2", "head")}
    return Case(network, p, jnp.asarray(wanted[picture])[None], jnp.array([[target]]), **options)


def bent(images, p):
    """Logits Σ_k v tanh(w x): any number of places, with a layer of as many elements."""
    scaled = xr.mark(images * p["scale"], "scaled")
    return jnp.tanh(scaled.reshape(len(images), -1) @ p["w"]) @ p["v"]


def bent_parameters(shape, seed=0):
    rng, size = np.random.default_rng(seed), int(np.prod(shape))
    drawn = {"scale": rng.uniform(0.5, 2, shape), "w": rng.standard_normal((size, 4)) / size**0.5}
    return drawn | {"v": rng.standard_normal((4, 3))}


def bent_gradient(x, p, target):
    """Of one input, in NumPy."""
    bend = 1 - np.tanh((x * p["scale"]).ravel() @ p["w"]) ** 2
    return (p["w"] @ (bend * p["v"][:, target])).reshape(x.shape) * p["scale"]


def bent_logits(x, p):
    return np.tanh((x * p["scale"]).ravel() @ p["w"]) @ p["v"]


def bent_case(p, images, targets, **options):
    p = jax.tree.map(jnp.asarray, p)
    return Case(bent, p, jnp.asarray(images), jnp.asarray(targets), **options)
