"""Every formulation against loops over places and taps, also for shapes for which another one would be chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xrcam_jax.ops import conv_formulations as formulations
from xrcam_jax.ops.conv_geometry import Axis, Geometry

PLAIN = Axis(stride=1, dilation=1, before=1, after=1)
OBLONG = (Axis(stride=2, dilation=1, before=1, after=0), Axis(stride=1, dilation=2, before=2, after=1))
SPREAD = (Axis(stride=1, dilation=1, before=1, after=2, spread=2), PLAIN)
BATCH, SIZE, TAPS = 2, (5, 6), (3, 2)
INPUTS, OUTPUTS = 3, 2


def meetings(geometry):
    """Yields each output place and tap that meet a pixel, and that pixel."""
    for place in np.ndindex(*geometry.outputs(SIZE, TAPS)):
        for tap in np.ndindex(*TAPS):
            at = [i * a.stride + m * a.dilation - a.before for i, m, a in zip(place, tap, geometry.axes, strict=True)]
            pixel = [n // a.spread for n, a in zip(at, geometry.axes, strict=True)]
            if all(
                n % a.spread == 0 and 0 <= p < size
                for n, p, a, size in zip(at, pixel, geometry.axes, SIZE, strict=True)
            ):
                yield place, tap, tuple(pixel)


def arrays(geometry):
    rng, groups = np.random.default_rng(0), geometry.groups
    x, kernel, g = (
        rng.normal(size=shape)
        for shape in (
            (BATCH, *SIZE, groups * INPUTS),
            (*TAPS, INPUTS, groups * OUTPUTS),
            (BATCH, *geometry.outputs(SIZE, TAPS), groups * OUTPUTS),
        )
    )
    return x, kernel, g


def channels(groups):
    """Returns the inputs and the outputs of each group."""
    return [(slice(i * INPUTS, (i + 1) * INPUTS), slice(i * OUTPUTS, (i + 1) * OUTPUTS)) for i in range(groups)]


def loops(geometry, x, kernel, g):
    """Computes the sums, and the cotangents of inputs and filters."""
    z, of_x, of_kernel = np.zeros_like(g), np.zeros_like(x), np.zeros_like(kernel)
    for place, tap, pixel in meetings(geometry):
        for i, o in channels(geometry.groups):
            weights, seen, arriving = kernel[*tap, :, o], x[:, *pixel, i], g[:, *place, o]
            z[:, *place, o] += seen @ weights
            of_x[:, *pixel, i] += arriving @ weights.T
            of_kernel[*tap, :, o] += seen.T @ arriving
    return z, of_x, of_kernel


geometries = pytest.mark.parametrize(
    "geometry",
    [Geometry((PLAIN, PLAIN), 4), Geometry(OBLONG, 2), Geometry(OBLONG, 1), Geometry(SPREAD, 2)],
    ids=["plain", "oblong", "one group", "spread"],
)


@geometries
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["native", "correlate_on_cpu", "_shifted_products", "_dense_blocks"])
def test_sums(name, geometry):
    x, kernel, g = arrays(geometry)
    found = getattr(formulations, name)(geometry, jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(found, loops(geometry, x, kernel, g)[0], atol=1e-13)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["native", "_shifted_products", "_dense_blocks"])
def test_sums_by_phase(name):
    geometry = Geometry(SPREAD, 2)
    x, kernel, g = arrays(geometry)
    found = formulations._by_phase(getattr(formulations, name), geometry, jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(found, loops(geometry, x, kernel, g)[0], atol=1e-13)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("other", [PLAIN, SPREAD[0], Axis(stride=2, dilation=1, before=1, after=0)])
def test_sums_of_all_phases_at_once(other):
    geometry = Geometry((SPREAD[0], other), 1)
    x, kernel, g = arrays(geometry)
    found = formulations._phases_beside(geometry, jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(found, loops(geometry, x, kernel, g)[0], atol=1e-13)
    # They have few outputs, and are chosen.
    chosen = jax.jit(formulations.correlate_on_cpu, static_argnums=0).lower(geometry, x, kernel).as_text()
    assert "lhs_dilate = [2" not in chosen
    assert chosen.count("stablehlo.convolution") == 1


@geometries
@pytest.mark.usefixtures("float64")
def test_cotangents(geometry):
    x, kernel, g = arrays(geometry)
    _, of_x, of_kernel = loops(geometry, x, kernel, g)
    x, kernel, g = map(jnp.asarray, (x, kernel, g))
    np.testing.assert_allclose(formulations.native_input_gradient(geometry, x, kernel, g), of_x, atol=1e-13)
    np.testing.assert_allclose(formulations.native_weight_gradient(geometry, TAPS, x, g), of_kernel, atol=1e-13)
    if geometry.axes[0].spread == 1:
        np.testing.assert_allclose(formulations.weight_products(geometry, TAPS, x, g), of_kernel, atol=1e-13)


@pytest.mark.parametrize(
    ("groups", "inputs", "joined"), [(32, 4, 8), (32, 8, 4), (6, 10, 3), (5, 10, 1), (4, 64, 1), (1, 3, 1)]
)
def test_blocks_are_whole_groups_of_up_to_32_channels(groups, inputs, joined):
    assert formulations._joined(groups, inputs) == joined


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs", "axes", "sign"),
    [
        (1, 128, 128, (PLAIN, PLAIN), "_fewer_products"),
        (1, 128, 64, (PLAIN, PLAIN), "feature_group_count = 1 "),
        (4, 8, 8, (PLAIN, PLAIN), "_shifted_products"),
        (4, 9, 9, (PLAIN, PLAIN), "_dense_blocks"),
    ],
)
def test_the_formulation_follows_from_the_shapes(groups, inputs, outputs, axes, sign):
    x = jnp.zeros((1, 14, 14, groups * inputs))
    kernel = jnp.zeros((3, 3, inputs, groups * outputs))
    f = jax.jit(formulations.correlate_on_cpu, static_argnums=0)
    assert sign in f.lower(Geometry(axes, groups), x, kernel).as_text()
