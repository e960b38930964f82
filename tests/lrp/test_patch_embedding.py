"""Patch embeddings are recognised however they are written, and get the same relevance."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import xrcam_jax as xr
from tests.lrp.test_recognised import close, relevance, sites

pytestmark = [pytest.mark.usefixtures("float64", "mixed"), pytest.mark.long(one_in=3)]

# Patch embeddings of pictures of 8x8, in patches of 4x4.

PICTURES = np.random.default_rng(5).normal(size=(2, 8, 8, 3))
FILTERS = np.random.default_rng(6).normal(size=(4, 4, 3, 6))


def convolved(x, stride=4):
    return lax.conv_general_dilated(
        x, jnp.asarray(FILTERS), (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def patches(x):
    return x.reshape(2, 2, 4, 2, 4, 3)


EMBEDDINGS = {
    "convolution": convolved,
    "after_preprocessing": lambda x: convolved((x - 0.5) / 0.25),
    "channels_first": lambda x: lax.conv_general_dilated(
        x.transpose(0, 3, 1, 2), FILTERS.transpose(3, 2, 0, 1), (4, 4), "VALID"
    ).transpose(0, 2, 3, 1),
    "nnx": lambda x: nnx.Conv(
        3, 6, (4, 4), 4, padding="VALID", kernel_init=lambda *_: jnp.asarray(FILTERS), dtype=x.dtype, rngs=nnx.Rngs(0)
    )(x),
    "cut": lambda x: patches(x).transpose(0, 1, 3, 2, 4, 5).reshape(2, 2, 2, 48) @ FILTERS.reshape(48, 6),
    "cut_after_preprocessing": lambda x: EMBEDDINGS["cut"]((x - 0.5) / 0.25),
    "einsum": lambda x: jnp.einsum("bhpwqc,pqcd->bhwd", patches(x), FILTERS),
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_a_patch_embedding_has_its_role(name):
    f = EMBEDDINGS[name]
    found = sites(f, PICTURES)
    assert [site.role for site in found if site.kind in ("convolution", "dense")] == ["patch_embedding"]
    scaled = name.endswith("preprocessing")
    close(f(PICTURES), convolved((PICTURES - 0.5) / 0.25 if scaled else PICTURES))
    # Convolutions and dense layers follow the same rule here, so that all are the same layer.
    rules, seed = xr.composites.attn_lrp(gamma=0.25, eps=0), np.random.default_rng(7).normal(size=(2, 2, 2, 6))
    wanted = EMBEDDINGS["after_preprocessing"] if scaled else convolved
    close(relevance(f, rules, PICTURES, seed)[1], relevance(wanted, rules, PICTURES, seed)[1])


def test_other_first_layers_have_no_role():
    others = {
        "overlapping": lambda x: convolved(x, 2),
        "of_pixels": lambda x: x @ FILTERS[0, 0],
        "of_the_whole": lambda x: x.reshape(2, -1) @ np.ones((192, 4)),
        "second": lambda x: convolved(x @ np.eye(3)),
    }
    for name, f in others.items():
        assert not any(site.role for site in sites(f, PICTURES)), name
