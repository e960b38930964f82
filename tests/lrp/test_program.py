"""The jaxpr loop: running a program again changes nothing, and the models hold no primitive unknown to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xrcam_jax as xr
from xrcam_jax.lrp import facts
from xrcam_jax.lrp.facts import Fact
from xrcam_jax.lrp.grouping import keep_operations
from xrcam_jax.lrp.program import Probes, flatten, marks_of, run, trace

#: All that a network of the family is made of on the way from the pictures to the logits.
PRIMITIVES = {
    "add", "broadcast_in_dim", "concatenate", "conv_general_dilated", "convert_element_type", "custom_jvp_call",
    "div", "dot_general", "exp", "max", "mul", "name", "reduce_max", "reduce_sum", "reshape", "slice", "split",
    "squeeze", "stack", "stop_gradient", "sub", "transpose", "xrcam_jax.grouped_conv", "xrcam_jax.materialised",
    "xrcam_jax.max_pool", "xrcam_jax.pointwise_conv",
}  # fmt: skip


def test_a_users_functions_are_opened_whatever_their_names():
    def user(x):
        for name in ("grouped_conv", "materialised", "max_pool", "pointwise_conv"):
            f = lambda x: jnp.tanh(x) * 2  # noqa: E731
            f.__name__ = name
            x = jax.jit(f)(x)
        return x

    program = flatten(trace(user, jnp.ones(3))[0], keep_operations)
    assert [e.primitive for e in program.equations] == ["tanh", "mul"] * 4


def explained_primitives(program, inputs):
    known = facts.infer(program, inputs, frozenset())
    return {e.primitive for e in program.equations if any(known[v].explained for v in e.inputs)}


@pytest.mark.long(but=["resnet18", "skresnet18"])
@pytest.mark.parametrize("name", ["resnet18", "skresnet18", "resnext50_32x4d", "skresnext50_32x4d"])
def test_primitives_of_the_models(name):
    model = nnx.eval_shape(lambda: xr.create_model(name))
    definition, state = nnx.split(model)
    shape = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    closed, _ = trace(lambda x, state: nnx.merge(definition, state)(x), shape, state)
    program = flatten(closed, keep_operations)
    inputs = [Fact(explained=i == 0) for i in range(len(program.inputs))]
    assert explained_primitives(program, inputs) <= PRIMITIVES
    assert list(marks_of(program)) == ["layer1", "layer2", "layer3", "layer4"]
    # what a convolution or the classifier reads comes out of a ReLU or a pooling of one
    known = facts.infer(program, inputs, frozenset())
    layers = [e for e in program.equations if e.primitive in facts.PRODUCTS and known[e.inputs[0]].explained]
    first, *others = layers
    assert not known[first.inputs[0]].nonnegative
    assert all(known[e.inputs[0]].nonnegative for e in others)


def test_running_again_changes_nothing_but_rounding_and_opens_calls():
    def f(x, w):
        y = jax.jit(lambda a: jnp.tanh(a) @ w)(x)
        return jax.nn.softmax(jax.lax.scan(lambda c, a: (c + a, c * a), y[0], y)[1])

    x, w = jnp.arange(6.0).reshape(2, 3), jnp.eye(3)
    program = flatten(trace(f, x, w)[0])
    assert "jit" not in {e.eqn.primitive.name for e in program.equations}
    (out,), _ = run(program, {}, [x, w], Probes())
    np.testing.assert_allclose(out, f(x, w), rtol=1e-5)


def nonnegative(f, *shapes):
    program = flatten(trace(f, *(jnp.ones(s) for s in shapes))[0], keep_operations)
    inputs = [Fact(explained=True) for _ in program.inputs]
    return facts.infer(program, inputs, frozenset())[program.outputs[0]].nonnegative


@pytest.mark.parametrize(
    ("f", "known"),
    [
        (jax.nn.relu, True),
        (lambda x: jax.nn.relu(x)[::2].reshape(-1, 1).mean(0), True),
        (lambda x: jax.nn.relu(x) + jax.nn.sigmoid(x) * jnp.abs(x), True),
        (lambda x: x * x, True),
        (lambda x: jnp.maximum(x, -1.0), False),
        (lambda x: jax.nn.relu(x) - jax.nn.relu(-x), False),
        (lambda x: jax.nn.relu(x) * -2.0, False),
        (jax.nn.relu6, True),
        (jax.nn.leaky_relu, False),
        (jnp.tanh, False),
        (lambda x: jax.lax.scan(lambda c, a: (c + a, c), x[0], x)[0], False),
        (lambda x: jax.checkpoint(jax.nn.relu)(x), True),
    ],
)
def test_what_is_known_to_be_nonnegative(f, known):
    assert nonnegative(f, (4,)) is known


@pytest.mark.parametrize(
    ("f", "gate"),
    [
        (jax.nn.sigmoid, facts.GATE),
        (jax.nn.softmax, facts.GATE),
        (lambda x: 1 / (1 + jnp.exp(-x)), facts.GATE),
        (jnp.tanh, facts.SQUASHED),
        (jax.nn.relu6, facts.CLIPPED),
        (jax.nn.relu, facts.ACTIVATED),
        (lambda x: x * jax.nn.sigmoid(x), facts.ACTIVATED),
        (lambda x: x * jnp.flip(x), facts.NO_GATE),
        (lambda x: jax.nn.sigmoid(x).reshape(2, 2) @ jnp.ones((2, 2)), facts.NO_GATE),
    ],
)
def test_what_is_a_gate(f, gate):
    program = flatten(trace(f, jnp.ones(4))[0], keep_operations)
    assert facts.infer(program, [Fact(explained=True)], frozenset())[program.outputs[0]].gate == gate
