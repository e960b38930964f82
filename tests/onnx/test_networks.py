"""Networks that PyTorch's exporters have written: onnxruntime's outputs, relevance that conserves, maps."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("onnx")

import xrcam_jax as xr
from tests import oracle

pytestmark = pytest.mark.long(one_in=3)

STORED = np.load(oracle.DATA / "onnx_networks.npz")
NAMES = sorted(key.removesuffix("_file") for key in STORED if key.endswith("_file"))
PICTURES = np.random.default_rng(24).normal(size=(2, 3, 32, 32)).astype(np.float32).transpose(0, 2, 3, 1)


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")

    @cache
    def load(name):
        path = folder / f"{name}.onnx"
        path.write_bytes(STORED[f"{name}_file"].tobytes())
        return xr.from_onnx(path)

    return load


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_onnxruntimes(name, load):
    model, expected = load(name), STORED[f"{name}_out"]
    assert model.batch is None
    found = jax.jit(model.function)(PICTURES, model.parameters)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_relevance_is_conserved(load):
    model = load("vit_dynamo")
    account = xr.conservation(
        model.function,
        xr.composites.attn_lrp(),
        jnp.asarray(PICTURES),
        model.parameters,
        seed=lambda logits: xr.seeds.one_hot(logits, logits.argmax(-1)),
    )
    lost = sum(b.bias + b.stabiliser + b.zero for _, b in account.operations)
    scale = max(abs(account.seed), max(b.arrived_absolute for _, b in account.operations))
    assert abs(account.seed - account.reached - lost) < 1e-4 * scale


@pytest.mark.parametrize(("name", "layer"), [("resnet_ts", "layer3"), ("swin_one", "features/1"), ("unet_ts", "down")])
def test_modules_are_layers(name, layer, load):
    model = load(name)
    found = xr.layers(model.function, PICTURES, model.parameters)
    assert len(found[layer].shape) == 4


def test_both_exporters_give_the_same_maps(load):
    e, other = (
        xr.Explainer(load(name), ("xrelevance_cam", "grad_cam"), ("layer2", "layer3"))(PICTURES, [1, 2])
        for name in ("resnet_ts", "resnet_dynamo")
    )
    for method, layers in e.maps.items():
        for layer, drawn in layers.items():
            assert drawn.shape == (2, 32, 32)
            np.testing.assert_allclose(drawn, other.maps[method][layer], atol=1e-4)
