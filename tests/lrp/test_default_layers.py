"""Which layers are chosen where nobody names any: those that all paths pass, not what a branch makes on its way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

import xrcam_jax as xr
from xrcam_jax.lrp.layers import last_of_each_size
from xrcam_jax.lrp.program import flatten
from xrcam_jax.lrp.scopes import live_values

KERNEL = 0.1 * np.random.default_rng(0).standard_normal((3, 3, 4, 4)).astype(np.float32)
X = jnp.ones((1, 16, 16, 4))


def conv(x, stride=1):
    return lax.conv_general_dilated(
        x, jnp.asarray(KERNEL), (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def named(name, f, *args):
    with jax.named_scope(name):
        return f(*args)


def block(x, stride=1):
    """A residual block whose stride is in its second convolution, as in ResNet's later version and in DPN."""
    inside = named("second", conv, jax.nn.relu(named("first", conv, x)), stride)
    return jax.nn.relu(inside + named("shortcut", conv, x, stride))


def chosen(model, x=X):
    return {name: turn.layer.shape[1] for name, turn in last_of_each_size(xr.layers(model, x)).items()}


def residual(x):
    x = named("stage1", lambda x: block(block(x)), x)
    return named("stage2", lambda x: block(block(x, 2)), x).mean((1, 2))


def test_a_stage_ends_before_what_a_branch_of_the_next_one_makes():
    assert chosen(residual) == {"stage1": 16, "stage2": 8}


@pytest.mark.parametrize("wrap", [jax.checkpoint, jax.jit], ids=["remat", "jit"])
def test_blocks_may_be_wrapped(wrap):
    def model(x):
        x = named("stage1", lambda x: wrap(block)(wrap(block)(x)), x)
        return named("stage2", lambda x: wrap(block, static_argnums=1)(x, 2), x).mean((1, 2))

    assert chosen(model) == {"stage1": 16, "stage2": 8}


def test_a_scan_ends_with_its_last_turn():
    def model(x):
        x, _ = named("stage1", lambda x: lax.scan(lambda x, _: (block(x), None), x, length=3), x)
        return named("stage2", block, x, 2).mean((1, 2))

    assert chosen(model) == {"stage1/max:2/2": 16, "stage2": 8}


def test_branches_that_go_side_by_side_end_where_they_join():
    """As in HRNet: nothing of the finer size is passed by all paths after the first convolution."""

    def model(x):
        fine, coarse = named("stem", conv, x), named("down", conv, x, 2)
        for i in range(2):
            fine, coarse = named(f"fine{i}", lambda x: x + conv(x), fine), named(f"coarse{i}", jnp.tanh, coarse)
        return named("joined", lambda a, b: conv(a, 2) + b, fine, coarse).mean((1, 2))

    assert chosen(model) == {"fine1": 16, "joined": 8}


def test_a_gate_that_looks_at_the_whole_picture_is_passed_by_all_paths():
    def model(x):
        x = named("conv", conv, x)
        return named("gated", lambda x: x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True)), x).mean((1, 2))

    assert chosen(model) == {"gated": 16}


def merged_last(x):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 4, 2, 5).reshape(b, h // 2, w // 2, 4 * c)


def merged_first(x):
    b, h, w, c = x.shape
    x = x.transpose(0, 3, 1, 2).reshape(b, c, h // 2, 2, w // 2, 2).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(b, 4 * c, h // 2, w // 2).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("merged", [merged_last, merged_first])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_picture_whose_squares_became_channels_is_one(merged, batch):
    """As the stages of Swin begin. Its windows are moved likewise, and are no pictures."""
    mix = np.ones((16, 4), np.float32)

    def windows(x):
        b, h, w, c = x.shape
        moved = x.reshape(b, h // 4, 4, w // 4, 4, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 4, 4, c)
        moved = jnp.tanh(moved).reshape(b, h // 4, w // 4, 4, 4, c).transpose(0, 1, 3, 2, 4, 5)
        return x + moved.reshape(x.shape)

    def model(x):
        x = named("stage1", lambda x: windows(conv(x)), x)
        return named("stage2", lambda x: windows(merged(x) @ mix), x).mean((1, 2))

    shapes = {
        name: turn.layer.shape
        for name, turn in last_of_each_size(xr.layers(model, jnp.ones((batch, 16, 16, 4)))).items()
    }
    assert shapes == {"stage1": (batch, 16, 16, 4), "stage2": (batch, 8, 8, 4)}


def by_rows_then_columns(x):
    rows, columns = (np.random.default_rng(i).random((10, n)).astype(np.float32) for i, n in enumerate(x.shape[1:3]))
    return jnp.einsum("bhwc,vw->bhvc", jnp.moveaxis(jnp.tensordot(x, rows, ((1,), (1,))), -1, 1), columns)


@pytest.mark.parametrize(
    "resize",
    [by_rows_then_columns, lambda x: jax.image.resize(x, (len(x), 10, 10, 4), "linear")],
    ids=["products", "jax"],
)
def test_a_picture_that_is_resized_along_one_axis_is_no_size_of_its_own(resize):
    def model(x):
        x = named("up", resize, named("fine", block, x, 2))
        return named("head", lambda x: conv(x).mean((1, 2)), x)

    shapes = [turn.layer.shape[1:3] for turn in last_of_each_size(xr.layers(model, X)).values()]
    assert shapes == [(16, 16), (8, 8), (10, 10)]


def test_a_layer_along_one_axis_is_a_picture_whatever_reads_it():
    def model(x):
        shorter = jnp.einsum("bhwc,vh->bvwc", conv(x), np.ones((8, 16), np.float32))
        return jnp.einsum("bhwc,vw->bhvc", jnp.tanh(shorter), np.ones((8, 16), np.float32)).mean((1, 2))

    assert [turn.layer.shape[1:3] for turn in last_of_each_size(xr.layers(model, X)).values()] == [
        (16, 16),
        (8, 16),
        (8, 8),
    ]


def test_what_leads_nowhere_is_no_path():
    def model(x):
        x = named("stage1", block, x)
        jnp.sum(jnp.exp(X * x.mean()))
        unused = named("aside", conv, x)
        y = named("stage2", block, x, 2)
        jnp.sum(unused)
        return y.mean((1, 2))

    assert chosen(model) == {"stage1": 16, "stage2": 8}


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=8))
def test_an_articulation_point_is_what_no_path_goes_around(reads):
    """Each value is the sum of two of those before; a value is alone if the output no longer depends without it."""

    def model(x, without=None):
        values = [x]
        for i, (a, b) in enumerate(reads):
            value = values[a % len(values)] + values[b % len(values)]
            values.append(value * 0 if i == without else value)
        return values[-1]

    program = flatten(jax.make_jaxpr(model)(1.0))
    live = live_values(program, range(len(program.avals)))
    adds = [i for i, equation in enumerate(program.equations) if equation.primitive == "add"]
    for i, position in enumerate(adds):
        assert (live[position] == set(program.equations[position].outputs)) == (jax.grad(model)(1.0, i) == 0)
