"""Winograd's filtering against the plain sum: the same numbers by fewer products, and where it is used."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax

from xrcam_jax.ops.grouped_conv import grouped_conv
from xrcam_jax.ops.winograd import winograd, winograd_pays

SAME = ((1, 1), (1, 1))


def plain_sum(x, kernel, padding):
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def normal(seed, shape, dtype):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def dot_generals(f, *arrays):
    return [e for e in jax.make_jaxpr(f)(*arrays).eqns if e.primitive.name == "dot_general"]


@pytest.mark.long
@settings(max_examples=20)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    padding=st.tuples(*[st.tuples(st.integers(-1, 3), st.integers(-1, 3))] * 2),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_any_small_shape_in_float64(size, padding, channels):
    for n, added in zip(size, padding, strict=True):
        assume(n + sum(added) >= 3)
        assume(n + min(added) >= 1)
    with jax.enable_x64(True):
        x, kernel = normal(0, (2, *size, channels[0]), jnp.float64), normal(1, (3, 3, *channels), jnp.float64)
        found, expected = jax.jit(winograd, static_argnums=2)(x, kernel, padding), plain_sum(x, kernel, padding)
        assert found.shape == expected.shape
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * 9 * channels[0])


def test_four_products_for_each_output_and_channel():
    x, kernel = jnp.ones((2, 8, 6, 5)), jnp.ones((3, 3, 5, 7))
    _, *products = dot_generals(lambda x, kernel: winograd(x, kernel, SAME), x, kernel)
    assert sum(math.prod(e.outvars[0].aval.shape) * 5 for e in products) == 4 * (2 * 8 * 6 * 7) * 5


@pytest.mark.parametrize("positive", [False, True], ids=["both signs", "as in the z+ rule"])
def test_rounds_about_as_the_plain_sum_does(positive):
    """The errors of float32 against float64 are compared, each relative to the largest output."""
    x, kernel = normal(0, (2, 14, 14, 128), jnp.float32), normal(1, (3, 3, 128, 128), jnp.float32)
    if positive:
        x, kernel = jnp.abs(x), jnp.abs(kernel)
    with jax.enable_x64(True):
        exact = np.asarray(plain_sum(x.astype(jnp.float64), kernel.astype(jnp.float64), SAME))

    def error(f):
        return np.abs(np.asarray(f(x, kernel, SAME), np.float64) - exact).max()

    assert error(winograd) < 1.5 * error(plain_sum)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("place", [4, 5, 6, 7])
def test_an_output_knows_only_the_pixels_that_it_sees(axis, place):
    """This holds to the bit, or a rule would divide by rounding errors where nothing is seen."""
    x, kernel = normal(0, (1, 12, 12, 4), jnp.float32), normal(1, (3, 3, 4, 4), jnp.float32)
    line = (slice(None),) * axis + (place,)
    z, z_of_a_large_line, z_of_that_alone = (
        np.moveaxis(np.asarray(winograd(a, kernel, SAME)), axis, 0)
        for a in (x, x.at[line].set(1e20), jnp.zeros_like(x).at[line].set(1e20))
    )
    others = [i for i in range(12) if abs(i - place) > 1]
    np.testing.assert_array_equal(z_of_a_large_line[others], z[others])
    assert (z_of_that_alone[others] == 0).all()
    assert (np.abs(z_of_that_alone[place - 1 : place + 2]) > 1e10).all()


@pytest.mark.parametrize(
    ("kernel", "size", "pays"),
    [
        ((3, 3, 128, 128), (28, 28), True),
        ((3, 3, 256, 512), (13, 14), True),
        ((3, 3, 512, 512), (7, 7), False),
        ((3, 3, 64, 128), (28, 28), False),
        ((3, 3, 128, 64), (28, 28), False),
        ((1, 3, 128, 128), (28, 28), False),
        ((5, 5, 128, 128), (28, 28), False),
    ],
)
def test_pays_with_many_channels_and_tiles(kernel, size, pays):
    assert winograd_pays(kernel, size) == pays


@pytest.mark.parametrize(
    ("options", "dtype", "used"),
    [
        ({}, jnp.float32, True),
        ({"strides": (1, 2), "padding": ((1, 1), (8, 7))}, jnp.float32, False),
        ({"dilation": (1, 2), "padding": ((1, 1), (2, 2))}, jnp.float32, False),
        ({}, jnp.bfloat16, False),
        ({}, jnp.float16, False),
    ],
)
def test_convolutions_use_it_at_stride_1_in_float32(options, dtype, used):
    options = {"strides": (1, 1), "padding": SAME, "dilation": (1, 1), "groups": 1} | options
    x, kernel = jnp.zeros((1, 14, 14, 128), dtype), jnp.zeros((3, 3, 128, 128), dtype)
    text = jax.jit(lambda x, kernel: grouped_conv(x, kernel, **options)).lower(x, kernel).as_text()
    assert ("dot_general" in text) == used
