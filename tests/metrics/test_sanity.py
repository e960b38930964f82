"""The right weights are drawn anew, and similarities of maps are those of scikit-image and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from skimage.feature import hog
from skimage.metrics import structural_similarity

from xrcam_jax.checkpoints.convert import to_timm
from xrcam_jax.metrics.sanity import SIMILARITIES, randomised, similarity
from xrcam_jax.models import create_model

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def network():
    """Returns the narrow network with weights of 7, which no draw gives."""
    model = nnx.eval_shape(lambda: create_model("skresnet18_narrow", num_classes=2))
    definition, state = nnx.split(model)
    return definition, jax.tree.map(lambda leaf: jnp.full(leaf.shape, 7, leaf.dtype), state)


def by_timms_name(network, parameters):
    return to_timm(nnx.merge(network[0], parameters))


@pytest.mark.parametrize("parts", [("fc",), ("layer1", "fc")])
def test_only_kernels_of_the_named_parts_change(network, parts):
    """In timm's names, all tensors of two axes or four below a part change, and no others."""
    drawn = by_timms_name(network, randomised(network[1], parts, KEY))
    expected = {name for name, tensor in drawn.items() if name.partition(".")[0] in parts and tensor.ndim in (2, 4)}
    # layer1 has two blocks, each of two paths, two layers of attention and one more convolution.
    assert len(expected) == sum({"fc": 1, "layer1": 10}[part] for part in parts)
    assert {name for name, tensor in drawn.items() if (tensor != 7).any() and "tracked" not in name} == expected
    for name in expected:
        assert (drawn[name] != 7).all()


@pytest.fixture(scope="module")
def parameters():
    """Returns those of a small model with large kernels, so that draws have the moments that they should."""
    return {
        "conv1": {"conv": {"kernel": jnp.zeros((3, 3, 8, 50))}, "bn": {"scale": jnp.ones(50), "bias": jnp.ones(50)}},
        "layer1": [{"conv": {"kernel": jnp.zeros((3, 3, 8, 50))}}],
        "fc": {"kernel": jnp.zeros((50, 80)), "bias": jnp.ones(80)},
    }


@pytest.mark.parametrize(("draw", "spread"), [("normal", (1.0, 1.0)), ("own", ((2 / 9 / 50) ** 0.5, 50**-0.5))])
def test_draws_have_the_right_spread(parameters, draw, spread):
    drawn = randomised(parameters, ("conv1", "fc"), KEY, draw=draw)
    for kernel, expected in zip((drawn["conv1"]["conv"]["kernel"], drawn["fc"]["kernel"]), spread, strict=True):
        values = np.asarray(kernel, np.float64).ravel()
        # Both are within four standard errors.
        assert abs(values.mean()) < 4 * expected / values.size**0.5
        assert values.std() == pytest.approx(expected, rel=4 / (2 * values.size) ** 0.5)
    np.testing.assert_array_equal(drawn["conv1"]["bn"]["bias"], parameters["conv1"]["bn"]["bias"])
    np.testing.assert_array_equal(drawn["fc"]["bias"], parameters["fc"]["bias"])


def test_a_part_is_drawn_alike_alone_and_with_others(parameters):
    alone = randomised(parameters, ("fc",), KEY)
    together = randomised(parameters, ("layer1", "fc"), KEY)
    np.testing.assert_array_equal(alone["fc"]["kernel"], together["fc"]["kernel"])
    np.testing.assert_array_equal(alone["layer1"][0]["conv"]["kernel"], 0)
    again = randomised(parameters, ("fc",), jax.random.key(3))
    np.testing.assert_array_equal(alone["fc"]["kernel"], again["fc"]["kernel"])
    other = randomised(parameters, ("fc",), jax.random.key(4))
    assert (other["fc"]["kernel"] != alone["fc"]["kernel"]).all()


def test_kernels_of_equal_shape_are_drawn_apart(parameters):
    drawn = randomised(parameters, ("conv1", "layer1"), KEY)
    kernels = [np.ravel(part["conv"]["kernel"]) for part in (drawn["conv1"], drawn["layer1"][0])]
    assert abs(np.corrcoef(kernels)[0, 1]) < 4 / kernels[0].size ** 0.5


def test_wrong_arguments(parameters):
    with pytest.raises(ValueError, match=r"unknown part of the model 'layer2'; .*known: conv1, fc, layer1"):
        randomised(parameters, ("fc", "layer2"), KEY)
    with pytest.raises(ValueError, match="draw must be normal or own; got 'uniform'"):
        randomised(parameters, ("fc",), KEY, draw="uniform")
    with pytest.raises(ValueError, match="unknown similarity 'psnr'"):
        similarity("psnr")


def noise(seed, shape=(40, 36)):
    """Returns a map in which many pixels are equal, so that there are ties."""
    random = np.random.default_rng(seed)
    values = random.random(shape, np.float32)
    return np.where(random.random(shape) < 0.3, np.float32(0), values)


def reference(name, a, b):
    if name == "ssim":
        return structural_similarity(a.astype(float), b.astype(float), win_size=7, data_range=1)
    if name == "hog":
        features = [hog(m.astype(float), 9, pixels_per_cell=(16, 16), cells_per_block=(1, 1)) for m in (a, b)]
        return np.corrcoef(features)[0, 1]
    return spearmanr(*((np.abs(m) if name == "rank_abs" else m).ravel() for m in (a, b))).statistic


@pytest.mark.parametrize("name", SIMILARITIES)
@given(st.integers(0, 999), st.floats(0, 1))
def test_similarities_are_those_of_the_libraries(name, seed, share):
    a, other = noise(seed), noise(seed + 1000)
    b = ((1 - share) * a + share * other).astype(np.float32)
    if name == "rank_abs":
        a, b = a - np.float32(0.5), b - np.float32(0.5)
    assert similarity(name)(a, b) == pytest.approx(reference(name, a, b), abs=1e-6)
    assert similarity(name)(b, a) == pytest.approx(similarity(name)(a, b), abs=1e-9)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_identical_maps_and_unrelated_ones(name):
    a = noise(0)
    assert similarity(name)(a, a.copy()) == pytest.approx(1)
    assert abs(similarity(name)(a, noise(1))) < 0.35


def test_what_each_similarity_looks_at():
    """Ranks know nothing of scale, absolute ranks nothing of signs, and gradients nothing of a constant."""
    a = noise(2)
    assert similarity("rank")(a, a**3) == pytest.approx(1)
    assert similarity("rank")(a, 1 - a) == pytest.approx(-1)
    signed = a - np.float32(0.3)
    assert similarity("rank")(signed, -signed) == pytest.approx(-1)
    assert similarity("rank_abs")(signed, -signed) == pytest.approx(1)
    assert similarity("hog")(a / 2, a / 2 + np.float32(0.25)) == pytest.approx(1, abs=1e-6)
    assert similarity("ssim")(a, a / 2) < 0.9


@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize("level", [0.0, 0.1, 1.0])
def test_constant_maps(name, level):
    """Only SSIM can say that they are alike; the others say nothing, without NaN or a warning."""
    flat = np.full((40, 36), level, np.float32)
    assert similarity(name)(flat, flat) == pytest.approx(1 if name == "ssim" else 0, abs=1e-9)
    for pair in ((flat, noise(0)), (noise(0), flat)):
        found = similarity(name)(*pair)
        assert isinstance(found, float)
        assert found == pytest.approx(0, abs=0.1) if name == "ssim" else found == 0


@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize("shape", [(7, 7), (8, 30), (64, 33)])
def test_maps_of_any_size(name, shape):
    found = similarity(name)(noise(4, shape), noise(5, shape))
    assert -1 <= found < 0.9
