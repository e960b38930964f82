"""timm's keys against its own lists of them, both ways."""

import pytest
from flax import nnx

from tests import oracle
from xrcam_jax.checkpoints.timm_keys import nnx_path, timm_key
from xrcam_jax.models import create_model

RESNETS = [stem for stem in oracle.MANIFESTS if "resn" in stem]


def tensors(stem):
    name, _, num_classes = stem.rpartition("_nc")
    return [key for key in oracle.manifest(name, int(num_classes)) if "num_batches_tracked" not in key]


@pytest.mark.parametrize("stem", RESNETS)
def test_every_key_of_timm_has_a_place_of_its_own(stem):
    keys = tensors(stem)
    places = [nnx_path(key) for key in keys]
    assert len(set(places)) == len(keys)
    assert [timm_key(place, selective=stem.startswith("sk")) for place in places] == keys


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "skresnet18", "skresnext50_32x4d"])
def test_the_places_are_those_of_the_model(name):
    state = nnx.state(nnx.eval_shape(lambda: create_model(name)))
    assert {path for path, _ in nnx.to_flat_state(state)} == set(map(nnx_path, tensors(f"{name}_nc1000")))


@pytest.mark.parametrize(
    ("key", "path", "selective"),
    [
        ("bn1.running_var", ("conv1", "bn", "var"), True),
        ("conv1.weight", ("conv1", "conv", "kernel"), False),
        ("layer2.0.downsample.0.weight", ("layer2", 0, "downsample", "conv", "kernel"), False),
        ("layer2.0.downsample.1.weight", ("layer2", 0, "downsample", "bn", "scale"), True),
        ("layer3.10.bn2.bias", ("layer3", 10, "conv2", "bn", "bias"), False),
        ("layer1.0.conv3.bn.bias", ("layer1", 0, "conv3", "bn", "bias"), True),
        ("layer1.0.conv2.paths.1.conv.weight", ("layer1", 0, "conv2", "paths", 1, "conv", "kernel"), True),
        ("layer1.0.conv2.attn.bn.running_mean", ("layer1", 0, "conv2", "attn", "bn", "mean"), True),
        ("layer1.0.conv2.attn.fc_select.weight", ("layer1", 0, "conv2", "attn", "fc_select", "kernel"), True),
        ("fc.weight", ("fc", "kernel"), False),
    ],
)
def test_examples(key, path, selective):
    assert nnx_path(key) == path
    assert timm_key(path, selective=selective) == key


@pytest.mark.parametrize("key", ["", "weight", "bn1.num_batches_tracked", "fc.running_mean", "bn1.kernel"])
def test_what_is_no_tensor_is_refused(key):
    with pytest.raises(ValueError, match="is not the key of a tensor"):
        nnx_path(key)
