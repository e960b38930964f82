"""Layers against PyTorch's definitions, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.models.layers import Conv, ConvNorm, batch_norm, scoped


def slow_convolution(x, kernel, *, stride, dilation, groups):
    """Computes PyTorch's convolution with ``padding=dilation * (size // 2)``, place by place."""
    size, features_out = kernel.shape[0], kernel.shape[-1]
    pad = dilation * (size // 2)
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    out_h, out_w = ((side + 2 * pad - dilation * (size - 1) - 1) // stride + 1 for side in x.shape[1:3])
    out = np.zeros((len(x), out_h, out_w, features_out))
    inputs, outputs = x.shape[-1] // groups, features_out // groups
    for group in range(groups):
        to, of = slice(group * outputs, (group + 1) * outputs), slice(group * inputs, (group + 1) * inputs)
        for row in range(out_h):
            for column in range(out_w):
                top, left = row * stride, column * stride
                reach = dilation * (size - 1) + 1
                patch = padded[:, top : top + reach : dilation, left : left + reach : dilation, of]
                out[:, row, column, to] = np.einsum("bhwi,hwio->bo", patch, kernel[..., to])
    return out


@given(
    height=st.integers(5, 9),
    width=st.integers(5, 9),
    size=st.sampled_from([1, 3, 7]),
    stride=st.sampled_from([1, 2]),
    dilation=st.sampled_from([1, 2]),
    groups=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_conv_pads_and_strides_as_pytorch(height, width, size, stride, dilation, groups, seed):
    layer = nnx.eval_shape(
        lambda: Conv(4, 6, size, stride=stride, dilation=dilation, groups=groups, dtype=jnp.float32, rngs=nnx.Rngs(0))
    )
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal(layer.kernel.get_value().shape).astype(np.float32)
    x = rng.standard_normal((2, height, width, 4)).astype(np.float32)
    layer.kernel.set_value(jnp.asarray(kernel))
    expected = slow_convolution(x, kernel, stride=stride, dilation=dilation, groups=groups)
    np.testing.assert_allclose(layer(jnp.asarray(x)), expected, atol=1e-6 * np.abs(expected).max())


def test_conv_is_initialised_as_timms():
    layer = Conv(64, 128, 3, groups=2, dtype=jnp.float32, rngs=nnx.Rngs(0))
    kernel = np.asarray(layer.kernel[...])
    assert kernel.shape == (3, 3, 32, 128)
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (3 * 3 * 128)), rtol=0.02)
    np.testing.assert_allclose(kernel.mean(), 0, atol=1e-3)


def filled_norm(dtype=jnp.float32):
    norm = batch_norm(3, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0))
    norm.scale[...] = jnp.array([1.0, -2.0, 0.5], dtype)
    norm.bias[...] = jnp.array([0.0, 1.0, -1.0], dtype)
    norm.mean[...] = jnp.array([0.5, 0.0, -1.0], dtype)
    norm.var[...] = jnp.array([1.0, 4.0, 0.25], dtype)
    return norm


def test_batch_norm_at_inference_is_pytorchs_affine_map():
    norm = filled_norm()
    norm.eval()
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).astype(np.float32)
    expected = (x - [0.5, 0, -1]) / np.sqrt(np.array([1, 4, 0.25]) + 1e-5) * [1, -2, 0.5] + [0, 1, -1]
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected, atol=1e-6)


def test_batch_norm_in_training_moves_the_statistics_by_a_tenth():
    norm = filled_norm()
    norm.train()
    x = np.random.default_rng(0).standard_normal((8, 4, 5, 3)).astype(np.float32)
    norm(jnp.asarray(x))
    np.testing.assert_allclose(norm.mean[...], 0.9 * np.array([0.5, 0, -1]) + 0.1 * x.mean((0, 1, 2)), rtol=1e-5)


def test_statistics_have_the_parameters_dtype():
    with jax.enable_x64(True):
        norm = filled_norm(jnp.float64)
        assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(norm))} == {jnp.dtype(jnp.float64)}


@pytest.mark.parametrize("relu", [True, False])
def test_conv_norm_ends_in_a_relu_only_if_asked(relu):
    layer = ConvNorm(3, 8, 3, act="relu" if relu else None, dtype=jnp.float32, rngs=nnx.Rngs(0))
    layer.eval()
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 6, 6, 3)), jnp.float32)
    linear = layer.bn(layer.conv(x))
    assert (linear < 0).any()
    np.testing.assert_allclose(layer(x), jnp.maximum(linear, 0) if relu else linear, rtol=1e-5, atol=1e-6)


def test_scoped_names_what_it_runs():
    lowered = jax.jit(lambda x: scoped("outer/3", lambda y: scoped("inner", jnp.sin, y), x)).lower(1.0)
    assert "outer/3/inner/sin" in lowered.as_text(debug_info=True)
