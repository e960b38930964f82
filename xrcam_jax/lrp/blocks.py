"""The blocks of a transformer, told by its data: the tokens behind each attention, and what makes the logits of them.

Behind each block there is a sum that all later operations depend on, and on no other explained value: the tokens with
what the block adds to them. Such sums are found by counting which values are still to be read.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jax import Array
from jax.extend.core import ClosedJaxpr

from xrcam_jax.lrp.attention import Weights, marked_weights
from xrcam_jax.lrp.cut import split
from xrcam_jax.lrp.equations import Place
from xrcam_jax.lrp.facts import Fact, infer
from xrcam_jax.lrp.grouping import Grouper, keep_operations
from xrcam_jax.lrp.plan import Plan
from xrcam_jax.lrp.program import Probes, Program, flatten, marks_of
from xrcam_jax.lrp.transform import zeros_for
from xrcam_jax.marks import mark


@dataclass(frozen=True)
class Blocks:
    """Holds a transformer that ran, block by block.

    Attributes:
      tokens: what comes out of each block.
      head: the map from the tokens of the last block to the model's outputs. It may be applied to those of any block.
      pullback: the map from a gradient of the tokens of each block to that of the attention weights in the same block,
        (examples, heads..., queries, keys). No gradient goes on to the block before.
    """

    tokens: list[Array]
    head: Callable[[Array], list[Array]]
    pullback: Callable[[list[Array]], list[Array]]


def tap_blocks(
    closed: ClosedJaxpr, explained: Sequence[bool], found: Sequence[Weights], values: Sequence[Any]
) -> Blocks:
    """Runs a traced transformer, and finds its tokens behind each attention.

    Args:
      closed: the jaxpr of the model.
      explained: for each of its inputs, whether it is explained.
      found: where its attention weights are.
      values: its inputs.

    Returns:
      One block for each attention, from the input up.

    Raises:
      NotImplementedError: behind an attention there is no sum that alone decides what follows.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.attention import find_attention
      >>> from xrcam_jax.lrp.blocks import tap_blocks
      >>> attend = lambda x: x + jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", x, x)) @ x
      >>> x = jnp.array([[[1.0, 2.0], [0.0, 0.0]]])
      >>> closed = jax.make_jaxpr(lambda x: 10 * attend(x))(x)
      >>> blocks = tap_blocks(closed, [True], find_attention(closed, [True], 1), [x])
      >>> len(blocks.tokens), blocks.head(jnp.ones((1, 2, 2)))[0].tolist()
      (1, [[[10.0, 10.0], [10.0, 10.0]]])
      >>> blocks.pullback([jnp.ones((1, 2, 2))])[0].tolist()
      [[[3.0, 0.0], [3.0, 0.0]]]
    """
    weights, tokens = ([f"{what} {n}" for n in range(len(found))] for what in ("attention", "tokens"))
    put_in: dict[Place, list] = {}
    for name, each in zip(weights, found, strict=True):
        put_in.setdefault(each.place, []).append((each.output, partial(marked_weights, name=name, found=each)))
    for name, place in zip(tokens, _ends(closed, explained, found), strict=True):
        # Of the last block the gradient is wanted by the head.
        function = mark if name == tokens[-1] else _closed
        put_in.setdefault(place, []).append((0, partial(function, name=name)))
    program = flatten(closed, keep_operations, put_in)
    avals = marks_of(program)
    before, behind = split(Plan(program), next(i for i, e in enumerate(program.equations) if e.mark == tokens[-1]))
    constants = {name: zeros_for(avals[name]) for name in tokens}

    def forward(zeros: dict[str, Array]) -> tuple[list[Array], list[Array]]:
        outputs, activations = before.run(values, Probes({**constants, **zeros}))
        return [activations[name] for name in tokens], outputs[1:]

    zeros = {name: zeros_for(avals[name]) for name in weights}
    made, pullback, rest = jax.vjp(forward, zeros, has_aux=True)

    def head(last: Array) -> list[Array]:
        return behind.run([last, *rest], Probes())[0]

    def gradients(arriving: list[Array]) -> list[Array]:
        (arrived,) = pullback(arriving)
        return [arrived[name] for name in weights]

    return Blocks(made, head, gradients)


def _closed(tokens: Array, name: str) -> Array:
    """Returns the tokens as they are, but no gradient comes back through them."""
    return jax.lax.stop_gradient(mark(tokens, name))


def _ends(closed: ClosedJaxpr, explained: Sequence[bool], found: Sequence[Weights]) -> list[Place]:
    """Returns where each block ends: at the last sum, before the next attention, that alone decides what follows."""
    program = flatten(closed, keep_operations)
    facts = infer(program, [Fact(depends=e, explained=e) for e in explained], frozenset())
    operations = Grouper(program, facts)
    attentions = {equation.place: position for position, equation in enumerate(program.equations)}
    starts = [attentions[weights.place] for weights in found]
    made = program.equations[starts[0]].outputs[found[0].output]
    count = program.avals[made].shape[found[0].axes[-1]]
    # A norm's difference from the mean is no such sum.
    sums = [
        position
        for position in _alone(program, facts)
        if operations.kind(position) == "add"
        and program.equations[position].primitive != "sub"
        and count in program.avals[program.equations[position].outputs[0]].shape
    ]
    ends = []
    for number, (start, following) in enumerate(zip(starts, [*starts[1:], len(program.equations)], strict=True)):
        inside = [position for position in sums if start < position < following]
        if not inside:
            raise NotImplementedError(
                f"attention number {number + 1} must be in a block that adds to its {count} tokens, and whose sum is "
                "all that what follows depends on; found no such sum"
            )
        ends.append(program.equations[inside[-1]].place)
    return ends


def _alone(program: Program, facts: Sequence[Fact]) -> Iterator[int]:
    """Yields the positions behind which the equation's output is the only explained value that is still to be read."""
    last_read = {value: position for position, e in enumerate(program.equations) for value in e.inputs}
    last_read |= dict.fromkeys(program.outputs, len(program.equations))
    waiting = {value for value in program.inputs if facts[value].explained}
    for position, equation in enumerate(program.equations):
        waiting.update(value for value in equation.outputs if facts[value].explained)
        waiting = {value for value in waiting if last_read.get(value, -1) > position}
        if waiting and waiting.issubset(equation.outputs[:1]):
            yield position
