"""A batch laid across eight devices is explained as on one, and stays where it is."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import xrcam_jax as xr
from tests.explain import small
from xrcam_jax.models.resnet import Block
from xrcam_jax.models.specs import SelectiveKernelSpec, Spec
from xrcam_jax.pictures.preprocessing import Preprocessing
from xrcam_jax.runtime.devices import data_mesh, lay, replicate

# A single pass, versions of the image, and versions of the layer.
METHODS = ("xrelevance_cam", "occlusion", "ablation_cam")
# Noise, paths.
MORE = ("smooth_grad", "integrated_gradients", "smooth_grad_cam_pp")
GATHERED = re.compile(r"= (\S+) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)[\w-]*\(")


@pytest.fixture(autouse=True, scope="module")
def compiled_in_haste():
    """Compiles with few optimisations: where things lie is settled before."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def explainer(methods, **options):
    model = small.Network(small.weights())
    chosen = {method: small.FEW[method] for method in methods if method in small.FEW}
    return xr.Explainer(model, methods, ["last"], options=chosen, chunk_size=2, **options)


@pytest.fixture(scope="module")
def on_one():
    """What one device finds."""
    return explainer(METHODS)(small.images(8))


def assert_same(found, expected):
    """To rounding: programs for one device and for eight sum in other orders."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * (1 + np.abs(b).max()))


def test_eight_devices_find_what_one_does(on_one):
    e = explainer(METHODS, devices=jax.devices())(small.images(8))
    assert_same(e, on_one)
    for method in METHODS:
        for maps in e.maps[method].values():
            assert {shard.data.shape[0] for shard in maps.addressable_shards} == {1}


def test_each_device_finds_what_one_finds_in_its_share():
    images, explain = small.images(8), explainer(["xrelevance_cam"])
    shares = [explain(share) for share in np.split(images, 8)]
    expected = jax.tree.map(lambda *parts: np.concatenate(parts), *shares)
    assert_same(explainer(["xrelevance_cam"], devices=jax.devices())(images), expected)


def test_a_batch_that_does_not_go_up_is_padded_and_cut():
    """Five images on four devices, each with a class of its own."""
    images, targets = small.images(8)[:5], np.array([0, 1, 2, 0, 1])
    expected = explainer(["occlusion"])(images, targets)
    explain = explainer(["occlusion"], devices=jax.devices()[:4])
    assert_same(explain(images, targets), expected)
    assert_same(explain(jnp.asarray(images), targets), expected)
    np.testing.assert_array_equal(lay(data_mesh(jax.devices()[:4]), targets), [0, 1, 2, 0, 1, 1, 1, 1])


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_images_that_lie_across_devices_are_explained_where_they_are(kind, on_one):
    mesh = jax.make_mesh((8,), ("pictures",), axis_types=(kind,))
    images = jax.device_put(small.images(8), NamedSharding(mesh, PartitionSpec("pictures")))
    maps = explainer(["ablation_cam"])(images).maps["ablation_cam"]["last"]
    np.testing.assert_allclose(maps, on_one.maps["ablation_cam"]["last"], atol=1e-5)
    assert len({shard.device for shard in maps.addressable_shards if shard.data.shape[0] == 1}) == 8


def program(explain, images):
    """What XLA makes of an explanation on eight devices."""
    mesh = data_mesh(jax.devices())
    parameters, laid = replicate(mesh, explain.parameters), lay(mesh, images)
    text = jax.jit(explain.explain).lower(parameters, laid).compile().as_text()
    assert "num_partitions=8" in text
    return text


class Grouped(nnx.Module):
    """A block of a Selective Kernel ResNeXt between a convolution and a head."""

    def __init__(self):
        rngs, kernel = nnx.Rngs(0), SelectiveKernelSpec(reduction=4, divisor=4, split_input=False)
        spec = Spec((1, 1, 1, 1), True, None, Preprocessing(), groups=4, base_width=64, selective_kernel=kernel)
        self.stem = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.block = Block(8, 4, spec, stride=2, dilations=(1, 1), act="relu", dtype=jnp.float32, rngs=rngs)
        self.fc = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x):
        x = xr.mark(nnx.relu(self.stem(x)), "first")
        return self.fc(self.block(x).mean((1, 2)))


def test_nothing_is_gathered_in_a_single_pass():
    """Through grouped convolutions and selective kernels; XLA's own grouped convolutions would be gathered."""
    text = program(xr.Explainer(Grouped(), ("xrelevance_cam", "grad_cam")), small.images(16))
    assert not GATHERED.findall(text)
    # Each device has two of the sixteen pictures, and nowhere more.
    assert re.search(r"f32\[2,8,8,\d+\]", text)
    assert not re.search(r"f32\[16,\d+,\d+,\d+\]", text)


def test_xlas_own_grouped_convolution_would_be_gathered():
    """So the test above can fail."""
    conv = nnx.Conv(8, 8, (3, 3), feature_group_count=4, rngs=nnx.Rngs(0))
    head = jnp.ones((8, 3))
    explain = xr.Explainer(lambda x: conv(xr.mark(jnp.tile(x, 3)[..., :8], "first")).mean((1, 2)) @ head, "grad_cam")
    assert GATHERED.findall(program(explain, small.images(8)))


def test_nothing_is_gathered_where_versions_are_run():
    assert not GATHERED.findall(program(explainer((*METHODS, *MORE)), small.images(8)))
