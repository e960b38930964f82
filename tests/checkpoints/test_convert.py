"""Tensors become models and models tensors, bit for bit; what does not fit is refused and listed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from tests import oracle
from xrcam_jax.checkpoints.convert import differences, from_timm, timm_tensors, to_timm
from xrcam_jax.checkpoints.verify import digest


@pytest.fixture(scope="module")
def weights():
    return oracle.seeded_state("resnet18")


@pytest.mark.long(one_in=2)
@pytest.mark.parametrize("name", ["resnet18", "skresnet18", "resnext50_32x4d", "skresnext50_32x4d"])
def test_round_trip_is_bit_exact(name):
    back = to_timm(from_timm(name, oracle.seeded_state(name)))
    expected = oracle.seeded_state(name)
    assert {key: (array.dtype, array.shape) for key, array in back.items()} == {
        key: (array.dtype, array.shape) for key, array in expected.items()
    }
    assert digest(back) == oracle.digests()[f"{name}_nc1000.json"]["sha256_seed0"]


def test_counters_are_optional_and_forgotten(weights):
    counted = {key: array + 7 if "num_batches" in key else array for key, array in weights.items()}
    bare = {key: array for key, array in weights.items() if "num_batches" not in key}
    assert digest(to_timm(from_timm("resnet18", counted))) == digest(weights)
    assert digest(to_timm(from_timm("resnet18", bare))) == digest(weights)


def test_layout_is_transposed_not_reshaped():
    kernel = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    (converted,) = timm_tensors("resnet18", {("conv1", "conv", "kernel"): kernel}).values()
    assert converted.shape == (7, 5, 2, 3)
    assert converted[6, 4, 1, 2] == kernel[1, 2, 4, 6]


def test_model_does_not_share_memory_with_the_tensors(weights):
    tensors = {key: array.copy() for key, array in weights.items()}
    model = from_timm("resnet18", tensors)
    for array in tensors.values():
        array[...] = 0
    assert digest(to_timm(model)) == digest(weights)


def test_every_wrong_tensor_is_listed(weights):
    tensors = dict(weights)
    del tensors["layer2.0.bn1.bias"]
    tensors["layer9.extra"] = np.zeros(3, np.float32)
    tensors["layer9.num_batches_tracked"] = np.zeros((), np.int64)
    tensors["conv1.weight"] = np.zeros((64, 1, 7, 7), np.float32)
    tensors["fc.bias"] = np.zeros(1000, np.int32)
    with pytest.raises(ValueError, match="not the weights of resnet18") as caught:
        from_timm("resnet18", tensors)
    first, *lines = str(caught.value).split("\n  ")
    assert "5 of them differ" in first
    assert sorted(lines) == [
        "left over: layer9.extra (3,)",
        "left over: layer9.num_batches_tracked ()",
        "missing: layer2.0.bn1.bias (128,)",
        "not of floating point: fc.bias int32",
        "wrong shape: conv1.weight (64, 1, 7, 7), expected (64, 3, 7, 7)",
    ]


def test_weights_of_another_model_are_refused(weights):
    with pytest.raises(ValueError, match="not the weights of skresnet18"):
        from_timm("skresnet18", weights)


SHAPES = st.lists(st.integers(1, 3), max_size=2).map(tuple)
SHAPED = st.dictionaries(st.sampled_from("abcdef"), SHAPES)


@given(expected=SHAPED, found=SHAPED)
def test_differences_are_exactly_those(expected, found):
    lines = differences(expected, {key: np.zeros(shape) for key, shape in found.items()})
    missing, extra, both = expected.keys() - found, found.keys() - expected, expected.keys() & found
    assert {line.split()[1] for line in lines if line.startswith("missing")} == missing
    assert {line.split()[2] for line in lines if line.startswith("left over")} == extra
    wrong = {key for key in both if expected[key] != found[key]}
    assert {line.split()[2] for line in lines if line.startswith("wrong shape")} == wrong
    assert len(lines) == len(missing) + len(extra) + len(wrong)


def test_number_of_classes_is_the_tensors_by_default():
    tensors = dict(oracle.seeded_state("resnet18"))
    tensors["fc.weight"], tensors["fc.bias"] = tensors["fc.weight"][:3], tensors["fc.bias"][:3]
    model = from_timm("resnet18", tensors)
    assert model.num_classes == 3
    np.testing.assert_array_equal(model.fc.bias[...], tensors["fc.bias"])


def test_another_number_of_classes_replaces_only_the_head_and_says_so(weights):
    with pytest.warns(UserWarning, match="1000 classes, 2 wanted: the head is fresh"):
        model = from_timm("resnet18", weights, num_classes=2)
    assert model.num_classes == 2
    back = to_timm(model)
    assert back["fc.weight"].shape == (2, 512)
    assert 0.5 < back["fc.weight"].std() * np.sqrt(512) < 1.5
    assert {key for key in weights if not np.array_equal(back[key], weights[key])} == {"fc.weight", "fc.bias"}


def test_fresh_head_follows_the_seed(weights):
    heads = []
    for seed in (1, 1, 2):
        with pytest.warns(UserWarning, match="head is fresh"):
            model = from_timm("resnet18", weights, num_classes=2, rngs=nnx.Rngs(seed))
        heads.append(np.asarray(model.fc.kernel[...]))
    np.testing.assert_array_equal(heads[0], heads[1])
    assert not np.allclose(heads[0], heads[2])


def test_a_head_that_contradicts_itself_is_refused(weights):
    with pytest.raises(ValueError, match=r"wrong shape: fc.bias \(1000,\), expected \(3,\)"):
        from_timm("resnet18", {**weights, "fc.weight": weights["fc.weight"][:3]})


def test_loaded_model_is_in_inference_mode_with_dropout_ready(weights):
    model = from_timm("resnet18", weights, dropout_rate=0.1)
    assert model.conv1.bn.use_running_average
    assert model.dropout.deterministic
    assert model.dropout.rate == 0.1
    assert jax.tree.leaves(nnx.state(model, nnx.RngState))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floating_point_becomes_float32(weights, dtype):
    model = from_timm("resnet18", {**weights, "conv1.weight": weights["conv1.weight"].astype(dtype)})
    kernel = model.conv1.conv.kernel[...]
    assert kernel.dtype == jnp.float32
    expected = weights["conv1.weight"].astype(dtype).astype(np.float32).transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)
