"""Selective Kernels against the paper's equations, written out in NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xrcam_jax.models import create_model
from xrcam_jax.models.selective_kernel import (
    Attention,
    SelectiveKernel,
    attention_width,
    passed,
    path_shares,
    selective_units,
)
from xrcam_jax.models.specs import SelectiveKernelSpec, find_spec


def normal(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


BOTTLENECK = find_spec("skresnext50_32x4d").selective_kernel
BASIC = find_spec("skresnet18").selective_kernel


@pytest.mark.parametrize(
    ("channels", "spec", "width"),
    [
        # These widths are those of timm's checkpoints.
        (128, BOTTLENECK, 32),
        (512, BOTTLENECK, 32),
        (1024, BOTTLENECK, 64),
        (64, BASIC, 16),
        (256, BASIC, 32),
        (512, BASIC, 64),
        # 760 / 16 = 47.5 is nearer to 32 than to 64, but 32 would take away more than a tenth.
        (760, BOTTLENECK, 64),
        (768, BOTTLENECK, 64),
    ],
)
def test_attention_width(channels, spec, width):
    assert attention_width(channels, spec) == width


def test_attention_over_the_paths_sums_to_one():
    attention = Attention(8, BASIC, dtype=jnp.float32, rngs=nnx.Rngs(0))
    attention.eval()
    weights = attention(normal(3, 5, 4, 2, 8))
    assert weights.shape == (3, 1, 1, 2, 8)
    np.testing.assert_allclose(weights.sum(axis=-2), 1, rtol=1e-6)
    assert 0 < weights.min() < 0.49


@pytest.mark.parametrize("split_input", [True, False])
def test_selective_kernel_is_the_papers_equation(split_input):
    spec = SelectiveKernelSpec(reduction=4, divisor=8, split_input=split_input)
    layer = SelectiveKernel(8, 16, spec, stride=2, dtype=jnp.float32, rngs=nnx.Rngs(0))
    layer.eval()
    x = normal(2, 9, 9, 8)
    halves = (x[..., :4], x[..., 4:]) if split_input else (x, x)
    # Of axes p b h w c.
    paths = np.stack([layer.paths[0](halves[0]), layer.paths[1](halves[1])])

    pooled = paths.sum(axis=0).mean(axis=(1, 2))
    reduce, select = (np.asarray(conv.kernel[...])[0, 0] for conv in (layer.attn.fc_reduce, layer.attn.fc_select))
    hidden = np.maximum(pooled @ reduce / np.sqrt(1 + 1e-5), 0)
    # In timm (b, 2 c) becomes (b, 2, c): the first c outputs belong to the first path.
    first, second = np.split(hidden @ select, 2, axis=-1)
    gate = (1 / (1 + np.exp(second - first)))[:, None, None]
    np.testing.assert_allclose(layer(x), gate * paths[0] + (1 - gate) * paths[1], atol=1e-5)


def test_second_path_reaches_as_far_as_5x5():
    layer = SelectiveKernel(4, 4, BOTTLENECK, dtype=jnp.float32, rngs=nnx.Rngs(0))
    layer.eval()
    pixel = jnp.zeros((1, 9, 9, 4)).at[0, 4, 4].set(1.0)
    reached = [np.abs(path.conv(pixel)).sum(axis=(0, 3)) > 0 for path in layer.paths]
    assert [np.flatnonzero(seen.any(axis=0)).tolist() for seen in reached] == [[3, 4, 5], [2, 4, 6]]


def test_units_are_found_by_the_names_of_their_scopes():
    model = nnx.eval_shape(lambda: create_model("skresnet18", num_classes=2))
    assert selective_units(model) == tuple(f"layer{i}/{n}/conv1" for i in (1, 2, 3, 4) for n in (0, 1))
    assert selective_units(model.layer3) == ("0/conv1", "1/conv1")


def test_what_passes_each_path():
    """A single pixel under kernels of ones is passed by each path where that path reaches it, and by both at itself."""
    layer = SelectiveKernel(4, 4, BOTTLENECK, dtype=jnp.float32, rngs=nnx.Rngs(0))
    layer.eval()
    pixel = jnp.zeros((1, 9, 9, 4)).at[0, 4, 4].set(1.0)
    for path in layer.paths:
        path.conv.kernel[...] = jnp.ones_like(path.conv.kernel[...])
    signal = jnp.stack([path(pixel) for path in layer.paths], axis=-2)
    gate = jnp.array([0.25, 0.75]).reshape(1, 1, 1, 2, 1)
    share = np.asarray(path_shares(passed(signal, gate * jnp.ones((1, 1, 1, 2, 4)))))[0, ..., 1]
    expected = np.full((9, 9), 0.5)
    expected[3:6, 3:6] = 0
    expected[2:7:2, 2:7:2] = 1
    expected[4, 4] = 0.75
    np.testing.assert_allclose(share, expected, atol=1e-6)
    # Without a ReLU values may be negative, and pass all the same.
    np.testing.assert_allclose(path_shares(passed(-signal, gate * jnp.ones((1, 1, 1, 2, 4))))[0, ..., 1], share)
