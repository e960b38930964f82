"""Relevance of ResNet50 and ResNeXt50 against the official Relevance-CAM code (PyTorch, float64)."""

from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from tests import oracle
from xrcam_jax.checkpoints.convert import from_timm
from xrcam_jax.explain.functional import as_function
from xrcam_jax.lrp.composites import Assign, Composite

LAYERS = ("layer1", "layer2", "layer3", "layer4")


@cache
def reference(name):
    with np.load(oracle.DATA / f"lrp_{name}.npz") as arrays:
        return dict(arrays)


def error(found, wanted):
    """Relative L2."""
    return np.linalg.norm(np.asarray(found, np.float64) - wanted) / np.linalg.norm(wanted)


class OfficialNorm(nnx.Module):
    """The batch norm ``norm``, arranged so that the official rule for it can be given by name.

    The official code takes the weight to be gamma / sqrt(var² + eps): here that factor stands alone, in a
    scope of its own, and what is missing to the true one follows.
    """

    def __init__(self, norm):
        var = norm.var[...]
        true = norm.scale[...] / jnp.sqrt(var + 1e-5)
        self.weight = nnx.Param(norm.scale[...] / jnp.sqrt(var**2 + 1e-5))
        self.missing = nnx.Param(true / self.weight[...])
        self.shift = nnx.Param(norm.bias[...] - norm.mean[...] * true)

    def __call__(self, x):
        with jax.named_scope("official_norm"):
            x = x * self.weight[...]
        return x * self.missing[...] + self.shift[...]


@dataclass(frozen=True)
class OfficialNormRule:
    """R_in = X w R / (X w + 1e-9), whatever the sign of X w."""

    def relevance(self, op, r):
        z = op.x[0] * op.w
        return (z * r / (z + 1e-9),), xr.rules.no_loss(r)


OFFICIAL = Composite(
    (
        Assign(OfficialNormRule(), kinds=("scale",), name="*official_norm"),
        *xr.composites.relevance_cam(eps=0).assignments,
    )
)


def relevances(model, composite, x, targets, *, at_input=False):
    f, parameters = as_function(model)

    def seed(logits):
        return xr.seeds.contrastive(logits, jnp.asarray(targets))

    # Convolutions in double precision are plain loops: here it is running that takes the time, not compilation.
    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 2})
    def run(x, parameters):
        g = (lambda x, parameters: f(xr.mark(x, "input"), parameters)) if at_input else f
        return xr.taps(g, composite, x, parameters, seed=seed).relevances

    return jax.device_get(run(x, parameters))


@pytest.mark.long(but=["resnet50"])
@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d"])
def test_official_rules_in_float64(name, float64):
    """With the official rule for batch norm, to what float32 storage leaves; and at the pixels too."""
    model = from_timm(name, oracle.seeded_state(name), dtype=jnp.float64)
    for path, norm in list(nnx.iter_modules(model)):
        if isinstance(norm, nnx.BatchNorm):
            parent = model
            for step in path[:-1]:
                parent = parent[step] if isinstance(step, int) else getattr(parent, step)
            setattr(parent, path[-1], OfficialNorm(norm))
    wanted = reference(name)
    images = jnp.asarray(oracle.images(), jnp.float64)
    found = relevances(model, OFFICIAL, images, wanted["argmax"], at_input=True)
    for layer in (*LAYERS, "input"):
        r = wanted[f"R_{layer}_argmax"] if f"R_{layer}_argmax" in wanted else wanted[f"R_{layer}_argmax_c4"]
        assert error(found[layer][..., :: found[layer].shape[-1] // r.shape[1]], np.moveaxis(r, 1, -1)) < 1e-6


@pytest.mark.long
def test_relevance_cam_composite_in_float64(float64):
    """Batch norm as the identity, the default: against the official code with that one change."""
    name = "resnext50_32x4d"
    model = from_timm(name, oracle.seeded_state(name), dtype=jnp.float64)
    wanted = reference(name)
    found = relevances(model, xr.composites.relevance_cam(), jnp.asarray(oracle.images(), jnp.float64), wanted["other"])
    for layer in LAYERS:
        assert error(found[layer].mean((1, 2)), wanted[f"w_pass_{layer}_other"]) < 1e-6
        np.testing.assert_allclose(
            found[layer].sum((1, 2, 3)), wanted[f"Rsum_pass_{layer}_other_f64"], rtol=1e-6, err_msg=layer
        )


def test_relevance_cam_composite_in_float32():
    name = "resnet50"
    model = from_timm(name, oracle.seeded_state(name))
    wanted = reference(name)
    found = relevances(model, xr.composites.relevance_cam(), jnp.asarray(oracle.images()), wanted["argmax"])
    for layer in LAYERS:
        r = wanted[f"R_{layer}_argmax"] if f"R_{layer}_argmax" in wanted else wanted[f"R_{layer}_argmax_c4"]
        assert error(found[layer][..., :: found[layer].shape[-1] // r.shape[1]], np.moveaxis(r, 1, -1)) < 1e-3
