"""Relevances of token models and convolutional networks against autoLRP and LXT, in float64.

Shallow networks of each class are compared with one peer in every run, with all peers and as whole networks by
``XRCAM_TEST_WHOLE=1``.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrcam_jax as xr
from tests import oracle
from tests.lrp.autolrp_rules import AsGradient, BiasBySize, Quotient, SumBySize, autolrp
from tests.models.shallow import CHANGES, shallow
from xrcam_jax.checkpoints.convert import from_timm
from xrcam_jax.lrp.assignments import Assign, Composite
from xrcam_jax.lrp.rules import Epsilon, Gamma, Pass

LXT = {"lxt_attn": xr.composites.attn_lrp(eps=0), "lxt_cp": xr.composites.cp_lrp(eps=0)}
AUTOLRP = {
    "autolrp_default": autolrp(),
    "autolrp_attnlrp": autolrp(softmax=Epsilon(0), activation=Quotient(), convolution=Gamma(0.25, 0)),
}
#: PyTorch's pooling modules hand relevance on as their gradient does, and its batch norm as it is, with the shift. The
#: means of gates are made by other functions, which share it by size.
POOLING = Assign(AsGradient(), kinds=("sum",))
NORMS = Assign(Pass(), kinds=("shift",))
OWN = {
    "convnext_atto": (POOLING,),
    # Where it has too few places for the head it is pooled by a product with a matrix.
    "vgg16": (
        POOLING,
        Assign(BiasBySize(Epsilon(0)), kinds=("dense",), name="fc"),
        Assign(AsGradient(), kinds=("dense",)),
    ),
    "densenet121": (POOLING, NORMS),
    "mobilenetv3_small_100": (Assign(SumBySize(), kinds=("sum",), name="blocks/*"), POOLING, NORMS),
}


def composite(name, peer):
    if peer in LXT:
        return LXT[peer]
    return Composite((*OWN.get(name, ()), *AUTOLRP[peer].assignments))


def compare(name, model, images, wanted, peers):
    def relevances(x):
        """The relevance of the largest logits, by peer."""
        found = {}
        for peer in peers:
            logits, pullback = jax.vjp(xr.lrp(model, composite(name, peer)), x)
            seed = jnp.where(logits == logits.max(1, keepdims=True), logits, 0)
            found[peer] = pullback(seed)[0].sum(-1)
        return found

    for peer, found in jax.jit(relevances)(jnp.asarray(images, jnp.float64)).items():
        expected = wanted[f"R/{peer}"]
        # The references are stored in float32.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max(), err_msg=peer)


WHOLE = "XRCAM_TEST_WHOLE" in os.environ


def peers_of(arrays):
    return [key.removeprefix("R/") for key in arrays if key.startswith("R/")]


@pytest.mark.long(but=["vgg16", "vit_tiny", "mobilenetv3"])
@pytest.mark.usefixtures("float64", "mixed")
@pytest.mark.parametrize("name", CHANGES if WHOLE else [name for name in CHANGES if name != "convnext_atto"])
def test_relevances_of_shallow_networks_are_those_of_the_peers(name):
    with shallow(name) as model, np.load(oracle.DATA / f"shallow_{name}.npz") as wanted:
        peers = peers_of(wanted)
        compare(name, model, oracle.images(), wanted, peers if WHOLE else peers[-1:])


@pytest.mark.skipif(not WHOLE, reason="whole networks take minutes: XRCAM_TEST_WHOLE=1")
@pytest.mark.usefixtures("float64", "mixed")
@pytest.mark.parametrize("name", CHANGES)
def test_relevances_of_whole_networks_are_those_of_the_peers(name):
    images = oracle.model_images(name) if name.startswith(("vit", "swin")) else oracle.images()
    model = from_timm(name, oracle.seeded_state(name), dtype=jnp.float64)
    with np.load(oracle.DATA / f"relevance_{name}.npz") as wanted:
        compare(name, model, images[:1], wanted, peers_of(wanted))
