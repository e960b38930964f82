"""EfficientNet, MobileNetV3, DenseNet and VGG against what timm computes with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests import oracle
from xrcam_jax.checkpoints.convert import from_timm, to_timm
from xrcam_jax.checkpoints.verify import digest

# Unoptimised code is compiled three times faster, and is as exact.
FAST = {"xla_backend_optimization_level": 0}
NAMES = ("efficientnet_b0", "mobilenetv3_large_100", "mobilenetv3_small_100", "densenet121", "vgg16", "vgg16_bn")
#: Gates of drawn weights open within a thousandth of their inputs, and rounding grows tenfold: PyTorch's is 7e-6 there.
TOLERANCES = {"mobilenetv3_large_100": 5e-5}


def relative(found, expected):
    return np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max()


def logits(model, images):
    graph, state = nnx.split(model)
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x), compiler_options=FAST)(state, images)


@pytest.mark.parametrize("name", NAMES)
def test_float32_equals_timm_and_the_tensors_come_back(name):
    weights = oracle.model_state(name, 1000)
    # VGG makes 7 x 7 places of the 2 x 2 that such pictures leave.
    expected = oracle.reference(name)["logits64_f64" if name.startswith("vgg") else "logits_f64"]
    model = from_timm(name, weights)
    assert relative(logits(model, oracle.images()), expected) < TOLERANCES.get(name, 1e-5)
    assert digest(to_timm(model)) == oracle.digests()[f"{name}_nc1000.json"]["sha256_seed0"]


@pytest.mark.parametrize("name", ["mobilenetv3_large_100", "densenet121"])
def test_float64_equals_timm(name):
    with jax.enable_x64(True):
        model = from_timm(name, oracle.model_state(name, 1000), dtype=jnp.float64)
        found = logits(model, oracle.images())
    assert relative(found, oracle.reference(name)["logits_f64"]) < 1e-10
