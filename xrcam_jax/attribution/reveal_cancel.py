"""DeepLIFT's RevealCancel follows what raises a value and what lowers it apart (shrikumar2017, section 3.5.3).

The change of a value between the baseline x⁰ and the example x has two parts, Δx = Δx+ + Δx-. Of a layer z they are
what its inputs contribute with either sign. Of an activation y = f(z) they are the means over the two orders in which
the parts of Δz can come in, as the Shapley values of two players are:

    Δy+ = ½ (f(z⁰ + Δz+) - f(z⁰)) + ½ (f(z) - f(z⁰ + Δz-)),    m+ = Δy+ / Δz+,
    Δy- = ½ (f(z⁰ + Δz-) - f(z⁰)) + ½ (f(z) - f(z⁰ + Δz+)),    m- = Δy- / Δz-.

So where evidence cancels, as in min(a, b) = a - ReLU(a - b), both sides get their share. Contributions sum to the
difference of the outputs. :mod:`xrcam_jax.attribution.reveal_rules` has the rules of operations.

References:
  shrikumar2017
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from xrcam_jax.attribution.reveal_rules import Parts, Step, parts_of, rule_for
from xrcam_jax.lrp import facts
from xrcam_jax.lrp.facts import Fact
from xrcam_jax.lrp.grouping import Grouper, keep_operations
from xrcam_jax.lrp.operations import Operation
from xrcam_jax.lrp.primitives import STRUCTURE
from xrcam_jax.lrp.program import Equation, Program, flatten, trace

#: The multipliers of what equations make -> those of the explained values that they read.
_Back = Callable[[list[Parts]], Sequence[Parts]]


class Revealed(NamedTuple):
    """Holds what :func:`reveal_cancel` finds.

    Attributes:
      output: what the function returns for the example.
      baseline: what it returns for the baseline.
      pullback: the map from multipliers of the output to those of the parts of the input's change.
    """

    output: Array
    baseline: Array
    pullback: Callable[[Array], Parts]


def reveal_cancel(
    f: Callable[[Array, PyTree], Array],
    x: Float[Array, "*shape"],
    x0: Float[Array, "*shape"],
    rest: PyTree = (),
    rest0: PyTree = (),
) -> Revealed:
    """Runs a function for an example and for its baseline, and follows the parts of the change through it.

    Layers, sums, pooling, constant factors, and elementwise functions of one value that are defined for all numbers
    are known. What multiplies or divides two values that change, such as a gate, attention or a norm, has no parts.

    Args:
      f: a function of (x, rest).
      x: the example.
      x0: the baseline.
      rest: what else the function reads, for the example.
      rest0: that for the baseline. Where it differs, that share of the change belongs to no input.

    Returns:
      The outputs, and the pullback of multipliers.

    Raises:
      NotImplementedError: an operation on the way is not known; names it and the user's line.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.reveal_cancel import reveal_cancel
      >>> def minimum(x, rest):
      ...     return x[0] - jax.nn.relu(x[0] - x[1])
      >>> x = jnp.array([6.0, 2.0])
      >>> multipliers = reveal_cancel(minimum, x, jnp.zeros(2)).pullback(jnp.ones(()))
      >>> [round(float(v), 3) for v in multipliers.plus * x]
      [1.0, 1.0]

    References:
      shrikumar2017
    """
    closed, _ = trace(f, x, rest)
    run = _Run(flatten(closed, keep_operations), [x, *jax.tree.leaves(rest)], [x0, *jax.tree.leaves(rest0)])
    (output,) = run.program.outputs
    return Revealed(run.values[output], run.baselines[output], run.pullback)


class _Run:
    """Runs a program for example and baseline, finds the parts of each change, and keeps the ways back."""

    def __init__(self, program: Program, values: list[Any], baselines: list[Any]):
        known = [Fact(depends=i == 0, explained=i == 0, seen=i == 0) for i in range(len(program.inputs))]
        self.program, self.facts = program, facts.infer(program, known, frozenset())
        self.values, self.baselines = (_all_values(program, given) for given in (values, baselines))
        self.x = program.inputs[0]
        self.parts = {self.x: parts_of(self.values[self.x] - self.baselines[self.x])}
        self.ways: list[tuple[Sequence[int], Sequence[int], _Back]] = []
        for equation, operation in self._on_the_way():
            self._pass(equation, operation)

    def _on_the_way(self) -> list[tuple[Equation, Operation | None]]:
        """Returns in order the equations through which x changes the output, with the operation that each one ends."""
        grouper, needed = Grouper(self.program, self.facts), set(self.program.outputs)
        found: list[tuple[Equation, Operation | None]] = []
        for position in reversed(range(len(self.program.equations))):
            equation = self.program.equations[position]
            if any(v in needed and self.facts[v].explained for v in equation.outputs):
                operation = grouper.activation(position) or grouper.alone(position)
                needed.update(equation.inputs if operation is None else operation.x)
                found.append((equation, operation))
        return found[::-1]

    def _pass(self, equation: Equation, operation: Operation | None) -> None:
        """Finds the parts of what an equation makes, and notes the way back."""
        rule = None if operation is None else rule_for(operation)
        if operation is not None and rule is not None:
            made, back = rule(self._step(operation))
            self.parts[equation.outputs[0]] = made
            self.ways.append((equation.outputs, operation.x, lambda multipliers: back(multipliers[0])))
        elif equation.mark is not None or self._only_moves(equation):
            self._move(equation)
        else:
            kind = f" (as {operation.kind})" if operation is not None else ""
            raise NotImplementedError(
                f"reveal_cancel has no rule for the primitive {equation.primitive!r} at {equation.source}{kind}; take "
                "rule='rescale', or explain from a layer after it"
            )

    def _step(self, operation: Operation) -> Step:
        x, x0 = ([values[v] for v in operation.x] for values in (self.values, self.baselines))
        constants, constants0 = ([values[v] for v in operation.constants] for values in (self.values, self.baselines))
        return Step(operation, x, x0, constants, constants0, [self.parts[v] for v in operation.x])

    def _only_moves(self, equation: Equation) -> bool:
        """Says whether an equation rearranges values in a way that does not depend on x."""
        told_by_x = any(self.facts[v].depends and not self.facts[v].explained for v in equation.inputs)
        return equation.primitive in STRUCTURE - {"sort", "top_k"} and not told_by_x

    def _move(self, equation: Equation) -> None:
        """Moves the parts as the values are moved. What constants are put beside them has none."""
        inputs = tuple(dict.fromkeys(v for v in equation.inputs if self.facts[v].explained))

        def move(explained: list[Array]) -> tuple[Array, ...]:
            given = dict(zip(inputs, explained, strict=True))
            return equation.bind(*(given[v] if v in given else self._constant(v) for v in equation.inputs))

        plus, transpose = jax.vjp(move, [self.parts[v].plus for v in inputs])
        minus = move([self.parts[v].minus for v in inputs])

        def back(multipliers: list[Parts]) -> Sequence[Parts]:
            (of_plus,), (of_minus,) = (transpose(tuple(each)) for each in zip(*multipliers, strict=True))
            return list(map(Parts, of_plus, of_minus))

        self.parts.update(zip(equation.outputs, map(Parts, plus, minus), strict=True))
        self.ways.append((equation.outputs, inputs, back))

    def _constant(self, value: int) -> Any:
        array = self.values[value]
        return jnp.zeros_like(array) if self.program.is_inexact(value) else array

    def pullback(self, multiplier: Array) -> Parts:
        """Returns the multipliers of x's parts, from one for both parts of the output."""
        found = {self.program.outputs[0]: Parts(multiplier, multiplier)}
        for outputs, inputs, back in reversed(self.ways):
            arriving = [found[v] if v in found else self._none(v) for v in outputs]
            for value, parts in zip(inputs, back(arriving), strict=True):
                found[value] = jax.tree.map(jnp.add, found[value], parts) if value in found else parts
        return found.get(self.x, self._none(self.x))

    def _none(self, value: int) -> Parts:
        return Parts(*map(jnp.zeros_like, self.parts[value]))


def _all_values(program: Program, inputs: list[Any]) -> dict[int, Any]:
    values = {**program.constants, **dict(zip(program.inputs, inputs, strict=True))}
    for equation in program.equations:
        values.update(zip(equation.outputs, equation.bind(*(values[v] for v in equation.inputs)), strict=True))
    return values
