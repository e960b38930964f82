"""The biases of a model: what its operations add to what is linear in their inputs, wherever they do.

At the values that it runs with, an operation y = f(x) is J x + c with J its derivative there. Of a layer c is the bias,
of batch norm at inference β - μ γ / σ, of ReLU and max pooling 0, and of any other function the bias that is implicit
in it, f(x) - J x. So the output of a whole model is its gradient times the input, and the sum of what the c of all
operations give: each c times the gradient at its operation (srinivas2019).

References:
  srinivas2019
"""

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr

from xrcam_jax.lrp.equations import Equation, Program
from xrcam_jax.lrp.facts import Fact, infer
from xrcam_jax.lrp.grouping import Grouper, keep_operations
from xrcam_jax.lrp.layout import Axes, channels_last, infer_axes
from xrcam_jax.lrp.operations import Operation
from xrcam_jax.lrp.primitives import STRUCTURE
from xrcam_jax.lrp.program import Probes, Step, flatten, run
from xrcam_jax.lrp.transform import is_floating, zeros_for
from xrcam_jax.runtime import jaxprs

#: These have no bias of their own.
_LINEAR = frozenset({"convolution", "dense", "add", "max_pool"})
_WHOLE = frozenset({"activation", "norm", "softmax"})


class Biased(NamedTuple):
    """Holds a model that ran, with the biases of its operations.

    Attributes:
      outputs: the leaves of what the model returns.
      biases: c of each operation that has some, of its output's shape, from the input up.
      orders: of each, the order of axes in which it is (batch, ..., channels); None where no places are known.
      pullback: the map from a gradient of the outputs to those of the explained inputs, and to those at the output of
        each operation. It can be mapped over several gradients.
    """

    outputs: list[Array]
    biases: list[Array]
    orders: list[tuple[int, ...] | None]
    pullback: Callable[[list[Array]], tuple[list[Array], list[Array]]]


def tap_biases(closed: ClosedJaxpr, explained: Sequence[bool], values: Sequence[Any]) -> Biased:
    """Runs a traced model, and finds the biases of its operations.

    Args:
      closed: the jaxpr of the model.
      explained: for each of its inputs, whether it is explained.
      values: its inputs; those that are explained are (batch, ..., channels) if they have places.

    Returns:
      The outputs, the biases, and the pullback to both.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.biases import tap_biases
      >>> x, w, b = jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [-1.0]]), jnp.array([5.0])
      >>> closed = jax.make_jaxpr(lambda x, w, b: 10 * jax.nn.relu(x @ w + b))(x, w, b)
      >>> found = tap_biases(closed, [True, False, False], [x, w, b])
      >>> (at_input,), (at_bias,) = found.pullback([jnp.ones((1, 1))])
      >>> found.outputs[0].tolist(), at_input.tolist(), found.biases[0].tolist(), at_bias.tolist()
      ([[60.0]], [[30.0, -10.0]], [[5.0]], [[10.0]])

    References:
      srinivas2019
    """
    program = flatten(closed, keep_operations)
    floating = [e and is_floating(v) for e, v in zip(explained, values, strict=True)]
    facts = infer(
        program, [Fact(depends=e, explained=f) for e, f in zip(explained, floating, strict=True)], frozenset()
    )
    steps, taps = _steps(Grouper(program, facts))
    axes = infer_axes(program, {v: _channels_behind(program, v) for v in compress(program.inputs, floating)})

    def forward(inputs: list[Array], zeros: dict[str, Array]) -> tuple[list[Array], tuple[list[Array], dict[str, Any]]]:
        given = iter(inputs)
        all_values = [next(given) if f else value for f, value in zip(floating, values, strict=True)]
        outputs, biases = run(program, steps, all_values, Probes(zeros))
        return [out for out in outputs if is_floating(out)], (outputs, biases)

    zeros = {name: zeros_for(program.avals[value]) for name, value in taps.items()}
    _, back, (outputs, biases) = jax.vjp(forward, list(compress(values, floating)), zeros, has_aux=True)

    def pullback(arriving: list[Array]) -> tuple[list[Array], list[Array]]:
        at_inputs, at_taps = back([r for r, out in zip(arriving, outputs, strict=True) if is_floating(out)])
        return at_inputs, [at_taps[name] for name in taps]

    orders = [channels_last(axes.get(value)) for value in taps.values()]
    return Biased(outputs, [biases[name] for name in taps], orders, pullback)


def _channels_behind(program: Program, value: int) -> Axes:
    n = program.avals[value].ndim
    return Axes(0, tuple(range(1, n - 1)), n - 1)


def _steps(operations: Grouper) -> tuple[dict[int, Step | None], dict[str, int]]:
    """Returns what runs in the place of operations with a bias, and by the name of its tap the value of each."""
    program, steps, taps = operations.program, dict[int, Step | None](), list[tuple[str, int]]()
    for position in reversed(range(len(program.equations))):
        if position in steps:
            continue
        operation = _biased(operations, position)
        if operation is not None:
            steps.update(dict.fromkeys(operations.hidden(operation)))
            steps[position] = _step(operation, name := f"bias {position}")
            taps.append((name, program.equations[position].outputs[0]))
        elif _is_construct(program.equations[position]):
            places = [i for i, v in enumerate(program.equations[position].outputs) if operations.facts[v].explained]
            steps[position] = _construct(operations, position, places)
            outputs = [program.equations[position].outputs[i] for i in places]
            taps += [(f"bias {position} {i}", v) for i, v in reversed(list(zip(places, outputs, strict=True)))]
    return steps, dict(reversed(taps))


def _biased(operations: Grouper, position: int) -> Operation | None:
    """Returns the largest operation that ends at a position if it can have a bias."""
    equation = operations.program.equations[position]
    if equation.mark is not None or not operations.facts[equation.outputs[0]].explained:
        return None
    if _is_relu(operations.program, equation):
        return None
    for several in operations.of_several(position, fold=False):
        if several.kind in _WHOLE:
            return several
    if equation.primitive in STRUCTURE and not operations.joins_constants(position):
        return None
    affine = operations.affine(position)
    if affine is not None:
        return affine if any(e.primitive in ("add", "add_any", "sub") for e in affine.equations) else None
    alone = operations.alone(position)
    has_constants = alone is not None and any(map(operations.program.is_inexact, alone.constants))
    return None if alone is None or alone.kind in _LINEAR or (alone.kind == "sum" and not has_constants) else alone


def _is_relu(program: Program, equation: Equation) -> bool:
    """Returns whether an equation is the maximum of a value and 0."""
    if equation.primitive == jaxprs.CUSTOM_JVP and len(equation.bodies[0].equations) == 1:
        return _is_relu(equation.bodies[0], equation.bodies[0].equations[0])
    zeros = (v in program.literals and not np.any(program.constants[v]) for v in equation.inputs)
    return equation.primitive == "max" and any(zeros)


def _step(operation: Operation, name: str) -> Step:
    n = len(operation.x)

    def step(values: Sequence[Any], probes: Probes) -> tuple[Sequence[Any], dict[str, Array]]:
        x, constants = tuple(values[:n]), tuple(values[n:])
        if operation.kind == "shift":
            y, bias = operation.forward(x, constants), operation.forward((jnp.zeros_like(x[0]),), constants)
        else:
            y, linear = jax.jvp(lambda *x: operation.forward(x, constants), x, x)
            bias = y - linear
        return [y + probes.taps[name]], {name: bias}

    return Step((*operation.x, *operation.constants), step)


def _is_construct(equation: Equation) -> bool:
    return equation.eqn.primitive.name in (jaxprs.REMAT, jaxprs.SCAN, jaxprs.COND)


def _construct(operations: Grouper, position: int, places: Sequence[int]) -> Step:
    """Returns a loop, a branch or remat as one operation: its bias is what all inside give together at its outputs."""
    equation = operations.program.equations[position]
    explained = [operations.facts[v].explained for v in equation.inputs]

    def step(values: Sequence[Any], probes: Probes) -> tuple[Sequence[Any], dict[str, Array]]:
        x = list(compress(values, explained))

        def outputs(*x: Array) -> tuple[Array, ...]:
            given = iter(x)
            return equation.bind(*(next(given) if e else value for e, value in zip(explained, values, strict=True)))

        y, linear = jax.jvp(outputs, tuple(x), tuple(x))
        names = {i: f"bias {position} {i}" for i in places}
        tapped = [out + probes.taps[names[i]] if i in names else out for i, out in enumerate(y)]
        return tapped, {name: y[i] - linear[i] for i, name in names.items()}

    return Step(equation.inputs, step)
