"""pointwise_conv against its definition in numpy and against lax's own convolution."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from xrcam_jax.ops.pointwise_conv import pointwise_conv


def native(x, kernel, stride):
    return lax.conv_general_dilated(x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def value_and_derivatives(convolve, stride):
    @jax.jit
    def compute(x, kernel, g):
        z, pullback = jax.vjp(lambda x, kernel: convolve(x, kernel, stride=stride), x, kernel)
        return z, *pullback(g)

    return compute


def operands(stride, size=(7, 6), batch=8, dtype=np.float32):
    rng = np.random.default_rng(0)
    outputs = (-(-n // stride) for n in size)
    return [rng.standard_normal(s).astype(dtype) for s in ((batch, *size, 5), (1, 1, 5, 3), (batch, *outputs, 3))]


def assert_close(found, expected, tolerance):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=10 * tolerance)


@given(size=st.tuples(st.integers(1, 7), st.integers(1, 7)), stride=st.integers(1, 4), batch=st.integers(1, 3))
def test_value_and_derivatives_are_those_of_the_definition(size, stride, batch):
    x, kernel, g = operands(stride, size, batch, np.float64)
    seen, matrix = x[:, ::stride, ::stride], kernel[0, 0]
    g_x = np.zeros_like(x)
    g_x[:, ::stride, ::stride] = g @ matrix.T
    with jax.enable_x64(True):
        found = value_and_derivatives(pointwise_conv, stride)(x, kernel, g)
    expected = seen @ matrix, g_x, np.einsum("bpqi,bpqo->io", seen, g)[None, None]
    assert_close(found, expected, 1e-13)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.usefixtures("float64")
def test_second_derivatives(stride):
    def of_the_gradient(convolve):
        def first(x, kernel):
            by_x, by_kernel = jax.grad(lambda x, kernel: jnp.sin(convolve(x, kernel, stride=stride)).sum(), (0, 1))(
                x, kernel
            )
            return (by_x**2).sum() + (by_kernel**2).sum()

        return jax.jit(jax.grad(first, (0, 1)))

    x, kernel, _ = operands(stride, dtype=np.float64)
    assert_close(of_the_gradient(pointwise_conv)(x, kernel), of_the_gradient(native)(x, kernel), 1e-12)


@pytest.mark.parametrize("axes", [(0, None, 0), (None, 0, 0), (0, 0, 0)], ids=["x", "kernel", "both"])
def test_vmap_is_a_loop(axes):
    arrays, f = operands(2), value_and_derivatives(pointwise_conv, 2)
    stacked = [a if axis is None else jnp.stack([a, 2 * a]) for a, axis in zip(arrays, axes, strict=True)]
    loop = [f(*(a if axis is None else n * a for a, axis in zip(arrays, axes, strict=True))) for n in (1, 2)]
    expected = jax.tree.map(lambda *results: jnp.stack(results), *loop)
    assert_close(jax.vmap(f, in_axes=axes)(*stacked), expected, 1e-5)


def test_bfloat16():
    arrays = operands(2)
    half = value_and_derivatives(pointwise_conv, 2)(*(jnp.asarray(a, jnp.bfloat16) for a in arrays))
    assert all(a.dtype == jnp.bfloat16 for a in half)
    assert_close([a.astype(jnp.float32) for a in half], value_and_derivatives(native, 2)(*arrays), 2e-2)


@pytest.mark.parametrize(("platform", "products"), [("cpu", 2), ("cuda", 0), ("tpu", 0)])
def test_formulation_is_chosen_by_platform_at_lowering(platform, products):
    lowered = value_and_derivatives(pointwise_conv, 1).trace(*operands(1)).lower(lowering_platforms=(platform,))
    assert lowered.as_text().count("stablehlo.dot_general") == products


def test_is_one_equation_in_a_jaxpr():
    (equation,) = jax.make_jaxpr(partial(pointwise_conv, stride=2))(*operands(2)[:2]).eqns
    assert equation.primitive.name == "jit"
    assert equation.params["name"] == "xrcam_jax.pointwise_conv"
    assert len(equation.invars) == 2


@pytest.mark.parametrize(
    ("kind", "mapped"),
    [(AxisType.Auto, False), (AxisType.Explicit, False), (AxisType.Explicit, True)],
    ids=["jit-auto", "jit-explicit", "shard_map"],
)
def test_batch_sharded_over_devices_is_not_gathered(kind, mapped):
    arrays, compute = operands(2), value_and_derivatives(pointwise_conv, 2)
    expected = compute(*arrays)
    mesh, specs = jax.make_mesh((8,), ("b",), axis_types=(kind,)), (P("b"), P(), P("b"))
    if mapped:
        compute = jax.jit(jax.shard_map(compute, mesh=mesh, in_specs=specs, out_specs=(P("b"), P("b"), P())))
    with jax.set_mesh(mesh):
        placed = jax.device_put(arrays, [NamedSharding(mesh, spec) for spec in specs])
        compiled = compute.lower(*placed).compile()
        found = compiled(*placed)
    assert "all-gather" not in compiled.as_text()
    assert_close(found, expected, 1e-5)
