"""Regions: equations that together compute a known kind of function of one value, found by following the data.

GELU is x · Φ(x), and a layer norm is (x - mean(x)) · g(x). Equation by equation both are products of two explained
values. What makes the one an activation and the other a normalisation is that all of it comes from one value, its root.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xrcam_jax.lrp.facts import Fact
from xrcam_jax.lrp.primitives import ELEMENTWISE, MAXIMA, STRUCTURE, SUMS
from xrcam_jax.lrp.program import Equation, Program
from xrcam_jax.runtime import jaxprs

#: A normalisation or an activation has fewer equations than this, so that a search ends soon.
_LARGEST = 100
_INSIDE = ELEMENTWISE | STRUCTURE | SUMS | MAXIMA | {jaxprs.CUSTOM_JVP, "dot_general", "reduce_and", "reduce_or"}
_POOLING = SUMS | MAXIMA | {"dot_general"}
_LINEAR = STRUCTURE | SUMS | {"add", "add_any", "sub", "neg"}


@dataclass(frozen=True)
class Region:
    """A region holds all equations between a root and one output, which depends on nothing else that is explained.

    Attributes:
      root: the number of the value that it is a function of.
      positions: the positions of its equations in the program, ascending; the last one makes the output.
    """

    root: int
    positions: tuple[int, ...]


def find(
    program: Program, facts: Sequence[Fact], producer: Mapping[int, int], position: int, inside: Callable
) -> Region | None:
    """Finds the smallest region that ends at an equation which reads several values that depend on the input.

    Args:
      program: any program.
      facts: what is known of its values.
      producer: by value, the position of the equation that makes it.
      position: of the last equation.
      inside: tells which equations a region may hold.

    Returns:
      The region, or None if what the equation reads has no common root within reach.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact, infer
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> from xrcam_jax.lrp.regions import find
      >>> program = flatten(trace(lambda x: 2 * x * jnp.tanh(x + 1), 1.0)[0])
      >>> facts = infer(program, [Fact(explained=True, depends=True)], frozenset())
      >>> producer = {e.outputs[0]: p for p, e in enumerate(program.equations)}
      >>> region = find(program, facts, producer, 3, lambda equation: True)
      >>> region.root == program.inputs[0], region.positions
      (True, (0, 1, 2, 3))
    """
    equation = program.equations[position]
    frontier = {v for v in equation.inputs if facts[v].depends}
    positions = [position]
    while len(frontier) > 1 and len(positions) < _LARGEST:
        # All that depends on the value made last is found by then, so a value that is left alone is read by all paths.
        latest = max(frontier, key=lambda v: producer.get(v, -1))
        above = producer.get(latest)
        if above is None or program.equations[above].mark is not None or not inside(program.equations[above]):
            return None
        frontier.remove(latest)
        frontier.update(v for v in program.equations[above].inputs if facts[v].depends)
        positions.append(above)
    if len(frontier) != 1:
        return None
    (root,) = frontier
    return Region(root, tuple(sorted(positions))) if facts[root].explained else None


def activation(program: Program, facts: Sequence[Fact], producer: Mapping[int, int], position: int) -> Region | None:
    """Finds the elementwise function of one value that ends at an equation, such as x · sigmoid(x).

    Args:
      program: any program.
      facts: what is known of its values.
      producer: by value, the position of the equation that makes it.
      position: of the last equation.

    Returns:
      The region, or None if there is none, or it is linear.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact, infer
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> from xrcam_jax.lrp.regions import activation
      >>> program = flatten(trace(lambda x: x * jax.lax.logistic(x), jnp.ones(3))[0])
      >>> facts = infer(program, [Fact(explained=True, depends=True)], frozenset())
      >>> activation(program, facts, {program.equations[0].outputs[0]: 0}, 1).positions
      (0, 1)
    """
    if not _is_pointwise(program, program.equations[position], position):
        return None
    region = find(program, facts, producer, position, lambda e: _is_pointwise(program, e, position))
    return region if region is not None and _bends(program, facts, region) else None


def called(program: Program, facts: Sequence[Fact], call: range) -> Region | None:
    """Finds out whether a call is an elementwise function of one value and numbers, such as ``jax.nn.hard_sigmoid``.

    Without the call, the 3 in relu6(x + 3) / 6 could as well be a bias.

    Args:
      program: any program.
      facts: what is known of its values.
      call: the positions of the equations of the function.

    Returns:
      The region, or None if it is something else, or linear.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact, infer
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> from xrcam_jax.lrp.regions import called
      >>> program = flatten(trace(jax.jit(lambda x: jnp.tanh(x + 3)), jnp.ones(3))[0])
      >>> facts = infer(program, [Fact(explained=True, depends=True)], frozenset())
      >>> called(program, facts, program.calls[-1]).positions
      (0, 1)
    """
    inside = [program.equations[position] for position in call]
    made = {v for e in inside for v in e.outputs}
    outside = {v for e in inside for v in e.inputs} - made - program.literals
    if len(outside) != 1 or len(call) < 2 or len(call) > _LARGEST:
        return None
    (root,) = outside
    depending = [e for e in inside if any(facts[v].depends for v in e.outputs)]
    known = facts[root].explained and all(_is_pointwise(program, e, call[-1]) for e in depending)
    region = Region(root, tuple(call))
    return region if known and inside[-1] in depending and _bends(program, facts, region) else None


def _is_pointwise(program: Program, equation: Equation, last: int) -> bool:
    """Returns whether an equation works element by element on values of the shape of the last one."""
    known = equation.primitive in ELEMENTWISE or equation.primitive == jaxprs.CUSTOM_JVP
    shape = program.avals[program.equations[last].outputs[0]].shape
    return known and program.avals[equation.outputs[0]].shape == shape


def _bends(program: Program, facts: Sequence[Fact], region: Region) -> bool:
    """Returns whether a region is a function of elements of its root, and not linear."""
    last = region.positions[-1]
    same_shape = program.avals[region.root].shape == program.avals[program.equations[last].outputs[0]].shape
    return same_shape and last not in _linear(program, facts, region).made


def norm(program: Program, facts: Sequence[Fact], producer: Mapping[int, int], position: int) -> Region | None:
    """Finds the normalisation that ends at an equation: a linear map of one value, times a factor of its statistics.

    Layer, RMS, group and instance norms are such, and division by a length or by a sum, however they are written. What
    lies between value and statistics holds no weights, so that squeeze-and-excitation is none.

    Args:
      program: any program.
      facts: what is known of its values.
      producer: by value, the position of the equation that makes it.
      position: of the last equation, a product, a quotient or a sum.

    Returns:
      The region, or None if there is none.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact, infer
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> from xrcam_jax.lrp.regions import norm
      >>> program = flatten(trace(lambda x: x / jnp.sqrt(jnp.sum(jnp.square(x))), jnp.ones(3))[0])
      >>> facts = infer(program, [Fact(explained=True, depends=True)], frozenset())
      >>> producer = {e.outputs[0]: p for p, e in enumerate(program.equations)}
      >>> norm(program, facts, producer, 3).positions
      (0, 1, 2, 3)
    """

    def inside(equation: Equation) -> bool:
        is_inner_product = equation.primitive != "dot_general" or all(facts[v].depends for v in equation.inputs)
        return equation.primitive in _INSIDE and is_inner_product

    equation = program.equations[position]
    region = find(program, facts, producer, position, inside)
    if region is None or (region.root in equation.inputs and equation.primitive not in ("mul", "div")):
        return None  # The second is a residual connection around a normalisation.
    if program.avals[region.root].shape != program.avals[equation.outputs[0]].shape:
        return None
    split = _linear(program, facts, region)
    if not split.normalised or position not in split.made:
        return None
    return _with_centring(program, facts, producer, region, inside)


def _with_centring(
    program: Program, facts: Sequence[Fact], producer: Mapping[int, int], region: Region, inside: Callable
) -> Region:
    """Returns a normalisation from x on, if its root is x - mean(x), as where the variance is that of the centred x."""
    position = producer.get(region.root)
    if position is None or program.equations[position].primitive != "sub":
        return region
    if not all(facts[v].depends for v in program.equations[position].inputs):
        return region  # A constant is subtracted.
    centring = find(program, facts, producer, position, inside)
    if centring is None or _linear(program, facts, centring).made != set(centring.positions):
        return region
    return Region(centring.root, (*centring.positions, *region.positions))


@dataclass(frozen=True)
class _Linear:
    """Says which equations of a region are linear in its root, if the factors that come from statistics are fixed.

    Attributes:
      made: the positions of these equations.
      normalised: whether there is such a factor.
    """

    made: frozenset[int]
    normalised: bool


def linear_positions(program: Program, facts: Sequence[Fact], region: Region) -> frozenset[int]:
    """Returns the positions of the equations of a normalisation that are linear while its factors are fixed.

    Args:
      program: any program.
      facts: what is known of its values.
      region: a normalisation.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact, infer
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> from xrcam_jax.lrp.regions import Region, linear_positions
      >>> program = flatten(trace(lambda x: x / jnp.sqrt(jnp.sum(jnp.square(x))), jnp.ones(3))[0])
      >>> facts = infer(program, [Fact(explained=True, depends=True)], frozenset())
      >>> linear_positions(program, facts, Region(program.inputs[0], (0, 1, 2, 3)))
      frozenset({3})
    """
    return _linear(program, facts, region).made


def _linear(program: Program, facts: Sequence[Fact], region: Region) -> _Linear:
    linear, sums, statistics, factors = {region.root}, set[int](), set[int](), set[int]()
    signals: dict[int, list[int]] = {}
    for position in region.positions:
        equation = program.equations[position]
        depending = [v for v in equation.inputs if facts[v].depends]
        straight = all(v in linear for v in depending)
        if equation.primitive in _POOLING or any(v in sums for v in depending):
            sums.update(equation.outputs)
        # A mean of the value itself is no statistic of its size, as the mean of its squares is.
        squared = equation.primitive == "dot_general" or not straight
        if (equation.primitive in _POOLING and squared) or any(v in statistics for v in depending):
            statistics.update(equation.outputs)
        if equation.primitive in ("mul", "div"):
            signal, factor = equation.inputs
            if equation.primitive == "mul" and signal not in linear:
                signal, factor = factor, signal
            fixed = sums if equation.primitive == "div" else statistics - linear
            if signal not in linear or (facts[factor].depends and factor not in fixed):
                continue
            factors.update([factor] if facts[factor].depends else [])
            depending = [signal]
        elif not (straight and equation.primitive in _LINEAR):
            continue
        linear.update(equation.outputs)
        signals[position] = depending
    made, carrying = _leading_to(region.positions[-1], program, signals)
    return _Linear(made, bool(factors) and not factors & carrying)


def _leading_to(last: int, program: Program, signals: Mapping[int, list[int]]) -> tuple[frozenset[int], set[int]]:
    """Returns the positions among ``signals`` on the way to the last one, and the values there.

    The sum in x / sum(x) is linear in x too, but it is not on the way: it makes a factor.
    """
    made, carrying = set[int](), set(program.equations[last].outputs)
    for position in sorted(signals, reverse=True):
        if carrying.intersection(program.equations[position].outputs):
            made.add(position)
            carrying.update(signals[position])
    return frozenset(made), carrying
