"""grouped_conv against lax's own grouped convolution: the same numbers, whatever transforms it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from xrcam_jax.ops.grouped_conv import grouped_conv

pytestmark = pytest.mark.long(one_in=5)

PLAIN = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
# One case for each formulation on CPU: (channels, groups, options).
SHIFTED = (16, 4, PLAIN | {"strides": (2, 2)})
BLOCKS = (64, 4, PLAIN | {"dilation": (2, 1)})
DENSE = (32, 1, PLAIN | {"strides": (2, 3), "dilation": (3, 2)})
WINOGRAD = (128, 1, PLAIN)
formulations = pytest.mark.parametrize(
    "case", [SHIFTED, BLOCKS, DENSE, WINOGRAD], ids=["shifted", "blocks", "dense", "winograd"]
)


def reference(x, kernel, *, strides, padding, dilation, groups):
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def normal(seed, shape, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def operands(case, size=7, batch=2, dtype=jnp.float32):
    """Returns both functions with the case's options, and arrays x, kernel, g that fit them."""
    channels, groups, options = case
    if case is WINOGRAD:
        # With fewer tiles another formulation is the faster one.
        size = 2 * size + 3
    ours, theirs = (partial(f, **options, groups=groups) for f in (grouped_conv, reference))
    x = normal(0, (batch, size, size, channels), dtype)
    kernel = normal(1, (3, 3, channels // groups, channels), dtype)
    return ours, theirs, x, kernel, normal(2, jax.eval_shape(theirs, x, kernel).shape, dtype)


def value_and_derivatives(f):
    def compute(x, kernel, g):
        z, pullback = jax.vjp(f, x, kernel)
        return z, *pullback(g)

    return jax.jit(compute)


def assert_close(found, expected, tolerance):
    """Compares to a fraction of the largest number, since sums cancel and single elements may lose more digits."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(float(jnp.abs(b).max()), 1e-30))


@pytest.mark.parametrize(
    ("width", "size", "stride", "dilation"),
    [
        (128, 56, 1, 2),
        (128, 58, 1, 1),
        (256, 28, 1, 2),
        (256, 58, 2, 1),
        (512, 14, 1, 1),
        (512, 29, 2, 2),
        (1024, 7, 1, 2),
        (1024, 15, 2, 1),
        (256, 27, 3, 2),
    ],
)
def test_value_and_input_gradient_for_the_models_shapes(width, size, stride, dilation):
    pad = (dilation, dilation)
    options = {"strides": (stride, stride), "padding": (pad, pad), "dilation": pad}
    ours, theirs, x, kernel, g = operands((width, 32, options), size, batch=1)

    def value_and_gradient(f):
        def compute(x):
            z, pullback = jax.vjp(lambda x: f(x, kernel), x)
            return z, *pullback(g)

        return jax.jit(compute)

    assert_close(value_and_gradient(ours)(x), value_and_gradient(theirs)(x), 1e-5)


@pytest.mark.parametrize(
    ("channels", "groups", "stride"), [(128, 32, 1), (256, 32, 2), (64, 4, 1), (64, 2, 2), (12, 12, 1)]
)
def test_weight_gradient(channels, groups, stride):
    ours, theirs, x, kernel, g = operands((channels, groups, PLAIN | {"strides": (stride, stride)}), size=8)

    def gradient(f):
        return jax.jit(lambda kernel: jax.vjp(partial(f, x), kernel)[1](g))

    assert_close(gradient(ours)(kernel), gradient(theirs)(kernel), 1e-5)


@pytest.mark.long
@settings(max_examples=8)
@given(
    groups=st.integers(1, 4),
    inputs=st.sampled_from([1, 2, 3, 9, 32]),
    outputs=st.integers(1, 3),
    size=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    taps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    dilation=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(*[st.tuples(st.integers(0, 4), st.integers(0, 4))] * 2),
)
def test_any_small_shape_in_float64(groups, inputs, outputs, size, taps, strides, dilation, padding):
    for axis in (0, 1):
        assume(size[axis] + sum(padding[axis]) > (taps[axis] - 1) * dilation[axis])
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    with jax.enable_x64(True):
        x = normal(0, (2, *size, groups * inputs), jnp.float64)
        kernel = normal(1, (*taps, inputs, groups * outputs), jnp.float64)
        ours, theirs = (partial(f, **options) for f in (grouped_conv, reference))
        g = normal(2, jax.eval_shape(theirs, x, kernel).shape, jnp.float64)
        found, expected = (value_and_derivatives(f)(x, kernel, g) for f in (ours, theirs))
        assert_close(found, expected, 1e-12)


@pytest.mark.parametrize("inputs", [2, 20], ids=["shifted", "blocks"])
def test_taps_that_only_meet_padding(inputs):
    options = {"strides": (4, 4), "padding": ((1, 7), (1, 7)), "dilation": (4, 4)}
    ours, theirs, x, kernel, g = operands((2 * inputs, 2, options), size=1)
    assert_close(value_and_derivatives(ours)(x, kernel, g), value_and_derivatives(theirs)(x, kernel, g), 1e-6)


@formulations
@pytest.mark.usefixtures("float64")
def test_second_derivatives(case):
    ours, theirs, x, kernel, _ = operands(case, size=5, dtype=jnp.float64)

    def of_the_gradient(f):
        def first(x, kernel):
            by_x, by_kernel = jax.grad(lambda x, kernel: jnp.sin(f(x, kernel)).sum(), (0, 1))(x, kernel)
            return (by_x**2).sum() + (by_kernel**2).sum()

        return jax.jit(jax.grad(first, (0, 1)))

    assert_close(of_the_gradient(ours)(x, kernel), of_the_gradient(theirs)(x, kernel), 1e-12)


@pytest.mark.long(but=["x-", "both-winograd"])
@formulations
@pytest.mark.parametrize("axes", [(0, None, 0), (None, 0, 0), (0, 0, 0)], ids=["x", "kernel", "both"])
def test_vmap_is_a_loop(case, axes):
    ours, _, *arrays = operands(case, size=5)
    f = value_and_derivatives(ours)
    stacked = [a if axis is None else jnp.stack([a, 2 * a]) for a, axis in zip(arrays, axes, strict=True)]
    loop = [f(*(a if axis is None else n * a for a, axis in zip(arrays, axes, strict=True))) for n in (1, 2)]
    expected = jax.tree.map(lambda *results: jnp.stack(results), *loop)
    assert_close(jax.vmap(f, in_axes=axes)(*stacked), expected, 1e-5)


@formulations
def test_same_inside_and_outside_of_jit(case):
    ours, _, x, kernel, g = operands(case)
    z, pullback = jax.vjp(ours, x, kernel)
    assert_close((z, *pullback(g)), value_and_derivatives(ours)(x, kernel, g), 1e-6)


@formulations
def test_bfloat16(case):
    ours, theirs, x, kernel, g = operands(case)
    half = value_and_derivatives(ours)(*(a.astype(jnp.bfloat16) for a in (x, kernel, g)))
    assert all(a.dtype == jnp.bfloat16 for a in half)
    assert_close([a.astype(jnp.float32) for a in half], value_and_derivatives(theirs)(x, kernel, g), 2e-2)


@formulations
def test_is_one_equation_in_a_jaxpr(case):
    ours, _, x, kernel, _ = operands(case)
    (equation,) = jax.make_jaxpr(ours)(x, kernel).eqns
    assert equation.primitive.name == "jit"
    assert equation.params["name"] == "xrcam_jax.grouped_conv"
    assert len(equation.invars) == 2


@formulations
@pytest.mark.parametrize(("platform", "native"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_formulation_is_chosen_by_platform_at_lowering(case, platform, native):
    ours, _, x, kernel, g = operands(case)
    lowered = value_and_derivatives(ours).trace(x, kernel, g).lower(lowering_platforms=(platform,))
    if case is WINOGRAD:
        assert ("dot_general" in lowered.as_text()) != native
    else:
        # For a dense convolution, XLA's own input gradient spreads the cotangent by zeros.
        sign = "lhs_dilate = [2, 3]" if case is DENSE else f"feature_group_count = {case[1]}"
        assert (sign in lowered.as_text()) == native


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("size", "padded"), [(2, False), (3, True)])
def test_filters_that_exceed_the_picture_meet_a_padded_one(size, padded, groups):
    """XLA's CPU backend has nothing but a plain loop for a filter that reaches further than its picture."""
    x, kernel = jnp.ones((2, size, size, 64)), jnp.ones((3, 3, 64 // groups, 64))
    text = jax.jit(partial(grouped_conv, **PLAIN, groups=groups)).lower(x, kernel).as_text()
    (convolution,) = (line for line in text.splitlines() if "stablehlo.convolution" in line)
    assert ("pad = [[1, 1], [1, 1]]" in convolution) == padded


@pytest.mark.parametrize(("platform", "native"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_elsewhere_the_input_gradient_has_the_form_that_xla_knows(platform, native):
    """XLA knows a convolution with reversed filters whose inputs and outputs change places by name."""
    ours, _, x, kernel, g = operands((32, 1, PLAIN))
    lowered = jax.jit(lambda x, g: jax.vjp(lambda x: ours(x, kernel), x)[1](g)).trace(x, g)
    text = lowered.lower(lowering_platforms=(platform,)).as_text()
    assert ("x[0, 1, o, i]->" in text) == native
    assert ("stablehlo.transpose" in text) != native


def test_input_gradient_alone_does_not_compute_the_weight_gradient():
    ours, _, x, kernel, g = operands(BLOCKS)
    lowered = jax.jit(lambda x: jax.vjp(lambda x: ours(x, kernel), x)[1](g)).lower(x).as_text()
    assert "dot_general" not in lowered
    assert "dot_general" in value_and_derivatives(ours).lower(x, kernel, g).as_text()


@pytest.mark.long(but=["shard_map", "auto"])
@formulations
@pytest.mark.parametrize(
    ("kind", "mapped"),
    [(AxisType.Auto, False), (AxisType.Explicit, False), (AxisType.Explicit, True)],
    ids=["jit-auto", "jit-explicit", "shard_map"],
)
def test_batch_sharded_over_devices_is_not_gathered(case, kind, mapped):
    ours, _, *arrays = operands(case, size=5, batch=8)
    compute = value_and_derivatives(ours)
    expected = compute(*arrays)
    mesh = jax.make_mesh((8,), ("b",), axis_types=(kind,))
    specs = (P("b"), P(), P("b"))
    if mapped:
        compute = jax.jit(jax.shard_map(compute, mesh=mesh, in_specs=specs, out_specs=(P("b"), P("b"), P())))
    with jax.set_mesh(mesh):
        shardings = [NamedSharding(mesh, spec) for spec in specs]
        placed = jax.device_put(arrays, shardings)
        compiled = compute.lower(*placed).compile()
        found = compiled(*placed)
    assert "all-gather" not in compiled.as_text()
    assert_close(found, expected, 1e-5)


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "groups", "message"),
    [
        ((5, 5, 4), (3, 3, 2, 4), 2, "x must have the axes"),
        ((1, 5, 5, 4), (3, 2, 4), 2, "kernel must have the axes"),
        ((1, 5, 5, 4), (3, 3, 2, 4), 3, "groups=3"),
        ((1, 5, 5, 4), (3, 3, 2, 4), 0, "groups=0"),
        ((1, 5, 5, 4), (3, 3, 2, 5), 2, "groups=2"),
        ((1, 5, 5, 4), (3, 3, 4, 4), 2, "kernel must have 2 inputs per group"),
        ((1, 5, 5, 4), (9, 3, 2, 4), 2, "kernel of shape"),
    ],
)
def test_what_does_not_fit_is_named(x_shape, kernel_shape, groups, message):
    with pytest.raises(ValueError, match=message):
        grouped_conv(jnp.zeros(x_shape), jnp.zeros(kernel_shape), **PLAIN, groups=groups)
