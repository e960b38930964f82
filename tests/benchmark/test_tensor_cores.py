"""TF32 is computed by rounding: operands lose their last bits, and nothing else changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import xrcam_jax as xr
from xrcam_jax.benchmark.tensor_cores import with_rounded_operands
from xrcam_jax.ops.grouped_conv import grouped_conv

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def tf32(a):
    """Rounds float32 to the nearest number with 10 bits after the leading one, ties to even, by integer arithmetic."""
    bits = np.asarray(a, np.float32).view(np.uint32)
    kept = bits >> 13
    up = (bits & 0x1FFF) + (kept & 1) > 0x1000
    return ((kept + up) << 13).astype(np.uint32).view(np.float32).astype(np.float64)


@pytest.fixture
def operands():
    a, b = (jax.random.normal(jax.random.key(i), (64, 64)) for i in range(2))
    return a, b


def test_matrix_products(operands):
    a, b = operands
    wanted = tf32(a) @ tf32(b)
    found = jax.jit(with_rounded_operands(jnp.matmul))(a, b)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)
    assert np.abs(wanted - np.asarray(a, np.float64) @ np.asarray(b, np.float64)).max() > 1e-3


def test_what_asks_for_the_highest_precision_has_it(operands):
    def f(a, b):
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)

    np.testing.assert_allclose(with_rounded_operands(f)(*operands), f(*operands), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("f", "primitive"),
    [
        (lambda a, b: lax.map(lambda row: row @ b, a), "scan"),
        (lambda a, b: lax.fori_loop(0, a[0, 0].astype(int), lambda i, c: c @ b, a), "while"),
        (lambda a, b: lax.cond(a[0, 0] > 0, jnp.matmul, jnp.add, a, b), "cond"),
    ],
)
def test_what_would_not_be_rounded_is_refused(f, primitive, operands):
    with pytest.raises(NotImplementedError, match=f"inside {primitive} is not rounded: .*test_tensor_cores"):
        with_rounded_operands(f)(*operands)


def test_convolutions_and_their_input_gradients():
    x = jax.random.normal(jax.random.key(0), (2, 9, 9, 8))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 4, 8))

    def f(x, kernel):
        def convolve(x):
            padding = ((1, 1), (1, 1))
            return grouped_conv(x, kernel, strides=(2, 2), padding=padding, dilation=(1, 1), groups=2)

        z, pullback = jax.vjp(convolve, x)
        return {"z": z, "gradient": pullback(jnp.ones_like(z))[0]}

    def native(x):
        return lax.conv_general_dilated(
            x, tf32(kernel), (2, 2), ((1, 1), (1, 1)), dimension_numbers=DIMENSIONS, feature_group_count=2
        )

    found = with_rounded_operands(f)(x, kernel)
    with jax.enable_x64():
        z, pullback = jax.vjp(native, jnp.asarray(tf32(x)))
        gradient = pullback(jnp.ones_like(z))[0]
    np.testing.assert_allclose(found["z"], z, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["gradient"], gradient, rtol=0, atol=1e-5)
    assert np.abs(np.asarray(f(x, kernel)["z"]) - np.asarray(z)).max() > 1e-4


@pytest.mark.long
def test_all_bits_kept_is_the_program_itself():
    model = xr.create_model("skresnet18_narrow", num_classes=2)
    explain = xr.Explainer(model, ("xrelevance_cam", "grad_cam"), ("layer2", "layer4"))
    images = jax.random.normal(jax.random.key(2), (2, 64, 64, 3))
    whole = jax.jit(with_rounded_operands(explain.explain, mantissa_bits=23))(explain.parameters, images)
    e = explain(images)
    np.testing.assert_allclose(whole.logits, e.logits, rtol=1e-4, atol=1e-5)
    for method, layer in (("xrelevance_cam", "layer2"), ("grad_cam", "layer4")):
        np.testing.assert_allclose(whole.maps[method][layer], e.maps[method][layer], atol=1e-3)
