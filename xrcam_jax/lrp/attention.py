"""Attention weights of a traced model, found by following the data from each softmax to the values that it weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jax import Array
from jax.extend.core import ClosedJaxpr

from xrcam_jax.lrp.equations import Place, Program
from xrcam_jax.lrp.facts import Fact, infer
from xrcam_jax.lrp.grouping import Grouper, keep_operations
from xrcam_jax.lrp.layers import marked
from xrcam_jax.lrp.program import Probes, flatten, marks_of, run
from xrcam_jax.lrp.transform import zeros_for


@dataclass(frozen=True)
class Weights:
    """Holds where the weights of one attention are in a program.

    Attributes:
      place: of the equation that makes them.
      output: which of its outputs they are.
      axes: their axes in the order examples, heads (any number), queries, keys.
      batched: whether they have an axis of examples. ``jnp.einsum`` takes it away where there is one example.
    """

    place: Place
    output: int
    axes: tuple[int, ...]
    batched: bool = True


def find_attention(closed: ClosedJaxpr, explained: Sequence[bool], examples: int) -> tuple[Weights, ...]:
    """Finds the attention weights of a model: softmaxes by which explained values are weighted and summed.

    Args:
      closed: the jaxpr of the model.
      explained: for each of its inputs, whether it is explained.
      examples: how many examples the batch has.

    Returns:
      One for each attention, from the input up. Those inside loops are not found.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.attention import find_attention
      >>> attend = lambda x: jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", x, x)) @ x
      >>> [found.axes for found in find_attention(jax.make_jaxpr(attend)(jnp.ones((2, 3, 4))), [True], 2)]
      [(0, 1, 2)]
    """
    program = flatten(closed, keep_operations)
    facts = infer(program, [Fact(depends=e, explained=e) for e in explained], frozenset())
    operations, found = Grouper(program, facts), []
    for position, equation in enumerate(program.equations):
        if equation.primitive != "dot_general" or operations.kind(position) != "matmul":
            continue
        for side, value in enumerate(equation.inputs):
            if operations.comes_from_softmax(value):
                producer = program.equations[operations.producer[value]]
                example, others = _axes(program, value, equation.eqn.params["dimension_numbers"], side, examples)
                output = producer.outputs.index(value)
                found.append(Weights(producer.place, output, (*example, *others), batched=bool(example)))
    return tuple(found)


def _axes(
    program: Program, value: int, dimensions: Any, side: int, examples: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the axis of the examples, if there is one, and those of heads, queries and keys."""
    shape = program.avals[value].shape
    (key, *_), batched = dimensions[0][side], dimensions[1][side]
    free = [axis for axis in range(len(shape)) if axis != key and axis not in batched]
    query = max(free, key=lambda axis: shape[axis])
    others = [axis for axis in range(len(shape)) if axis not in (key, query)]
    example = next(((axis,) for axis in others if shape[axis] == examples), ())
    if not example and examples > 1:
        raise NotImplementedError(
            f"attention weights of shape {shape} have no axis of the batch, which has {examples} examples: attention "
            "within windows is not supported"
        )
    return example, (*(axis for axis in others if axis not in example), query, key)


def tap_attention(
    closed: ClosedJaxpr, found: Sequence[Weights], values: Sequence[Any]
) -> tuple[list[Array], list[Array], Any]:
    """Runs a traced model, and finds its attention weights and the way back to their gradients.

    Args:
      closed: the jaxpr of the model.
      found: where its attention weights are.
      values: its inputs.

    Returns:
      The outputs; the weights of each attention, of shape (examples, heads..., queries, keys); and the map from the
      gradient of the outputs to those of the weights.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.attention import find_attention, tap_attention
      >>> attend = lambda x: jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", x, x)) @ x
      >>> x = jnp.array([[[1.0, 2.0], [0.0, 0.0]]])
      >>> closed = jax.make_jaxpr(attend)(x)
      >>> _, weights, pullback = tap_attention(closed, find_attention(closed, [True], 1), [x])
      >>> pullback([jnp.ones((1, 2, 2))])[0].tolist()
      [[[3.0, 0.0], [3.0, 0.0]]]
    """
    names = [f"attention {number}" for number in range(len(found))]
    put_in: dict[Place, list] = {}
    for name, weights in zip(names, found, strict=True):
        put_in.setdefault(weights.place, []).append((weights.output, partial(marked_weights, name=name, found=weights)))
    program = flatten(closed, keep_operations, put_in)
    avals = marks_of(program)

    def forward(zeros: dict[str, Array]) -> tuple[list[Array], dict[str, Array]]:
        return run(program, {}, values, Probes(zeros))

    zeros = {name: zeros_for(avals[name]) for name in names}
    outputs, pullback, activations = jax.vjp(forward, zeros, has_aux=True)

    def gradients(arriving: list[Array]) -> list[Array]:
        (arrived,) = pullback(arriving)
        return [arrived[name] for name in names]

    return outputs, [activations[name] for name in names], gradients


def marked_weights(weights: Array, name: str, found: Weights) -> Array:
    """Returns attention weights as they are, with a mark set while their axes are examples, heads, queries and keys.

    Args:
      weights: as the model has them.
      name: of the mark.
      found: their axes.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.attention import Weights, marked_weights
      >>> from xrcam_jax.lrp.equations import Place
      >>> found = Weights(Place((0,)), 0, (1, 0, 2))
      >>> closed = jax.make_jaxpr(lambda a: marked_weights(a, "here", found))(jnp.ones((2, 3, 4)))
      >>> [eqn.outvars[0].aval.shape for eqn in closed.eqns]
      [(3, 2, 4), (3, 2, 4), (2, 3, 4)]
    """
    if found.batched:
        return marked(weights, name, found.axes)
    return marked(weights[None], name, (0, *(axis + 1 for axis in found.axes)))[0]
