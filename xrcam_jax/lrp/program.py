"""The jaxpr loop: a function as a flat list of equations that can be run again with some of them replaced.

Nothing here knows a rule. Calls (``jit``, ``custom_jvp``, ...) are opened, so that an equation sees its neighbours.
Loops, branches and remat keep their bodies as programs of their own. A scan is unrolled if a layer in one of its turns
is asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var

from xrcam_jax.lrp.equations import Equation, Insertions, Place, Program
from xrcam_jax.runtime import jaxprs
from xrcam_jax.runtime.named_modules import named

# Its frames are on the way to every equation, so none of them is the user's line.
source_info_util.register_exclusion(__file__)


@dataclass(frozen=True)
class _Around:
    """Holds what is around an equation: scopes, also those at each level of calls, the user's line, and its place."""

    name_stack: Any
    source: str = ""
    place: Place = field(default_factory=Place)
    inserted: bool = False
    stacks: tuple[Any, ...] = ()

    def within(self, eqn: JaxprEqn, position: int) -> "_Around":
        """Returns what is around an equation of the jaxpr that this is around, with the equation's own place."""
        stack = self.name_stack + eqn.source_info.name_stack
        source = source_info_util.summarize(eqn.source_info) or self.source
        place = Place((*self.place.path, position), self.place.turns)
        return _Around(stack, source, place, self.inserted, (*self.stacks, stack))


class _Flattener:
    """Numbers the values of a jaxpr and of the calls in it."""

    def __init__(self, keep: Callable[[JaxprEqn], bool], insertions: Insertions):
        self.keep, self.insertions = keep, insertions
        self.unrolled = {place.path[:n] for place in insertions if place.turns for n in range(1, len(place.path))}
        self.equations: list[Equation] = []
        self.constants: dict[int, Any] = {}
        self.literals: set[int] = set()
        self.avals: list[Any] = []
        self.calls: list[range] = []

    def program(self, closed: ClosedJaxpr, around: _Around) -> Program:
        """Returns the program of a jaxpr."""
        inputs = [self.value(var.aval) for var in closed.invars]
        outputs = self.add(closed, inputs, around)
        literals, avals = frozenset(self.literals), tuple(self.avals)
        equations, calls = tuple(self.equations), tuple(self.calls)
        return Program(equations, tuple(inputs), tuple(outputs), self.constants, literals, avals, calls)

    def value(self, aval: Any) -> int:
        self.avals.append(aval)
        return len(self.avals) - 1

    def constant(self, aval: Any, array: Any) -> int:
        number = self.value(aval)
        self.constants[number] = array
        return number

    def add(self, closed: ClosedJaxpr, inputs: Sequence[int], around: _Around) -> list[int]:
        """Appends the equations of ``closed`` applied to the values ``inputs``, and returns its outputs."""
        numbers: dict[Var, int] = dict(zip(closed.invars, inputs, strict=True))
        for var, array in zip(closed.constvars, closed.consts, strict=True):
            numbers[var] = self.constant(var.aval, array)

        def read(atom: Var | Literal) -> int:
            if isinstance(atom, Literal):
                number = self.constant(atom.aval, atom.val)
                self.literals.add(number)
                return number
            return numbers[atom]

        for position, eqn in enumerate(closed.eqns):
            here = around.within(eqn, position)
            outputs = self.equation(eqn, [read(atom) for atom in eqn.invars], here)
            for index, function in self.insertions.get(here.place, ()):
                put_in, _ = trace(function, self.avals[outputs[index]])
                (outputs[index],) = self.add(put_in, [outputs[index]], replace(here, inserted=True))
            numbers.update(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in closed.outvars]

    def equation(self, eqn: JaxprEqn, operands: list[int], here: _Around) -> list[int]:
        """Appends an equation, or what it calls, and returns its outputs."""
        called = jaxprs.called(eqn)
        if called is not None and not self.keep(eqn):
            start = len(self.equations)
            outputs = self.add(called, operands, here)
            self.calls.append(range(start, len(self.equations)))
            return outputs
        if eqn.primitive.name == jaxprs.SCAN and here.place.path in self.unrolled:
            return self.turns(eqn, operands, here)
        outputs = [self.value(var.aval) for var in eqn.outvars]
        bodies = tuple(_Flattener(self.keep, self.insertions).program(body, here) for body in jaxprs.bodies(eqn))
        found = Equation(
            eqn,
            tuple(operands),
            tuple(outputs),
            name_stack=here.name_stack,
            source=here.source,
            bodies=bodies,
            place=here.place,
            inserted=here.inserted,
            stacks=here.stacks,
        )
        self.equations.append(found)
        return outputs

    def turns(self, eqn: JaxprEqn, operands: list[int], here: _Around) -> list[int]:
        """Appends all turns of a scan, and returns its outputs."""
        scan, (body,) = jaxprs.scan(eqn), jaxprs.bodies(eqn)
        consts, carry = operands[: scan.consts], operands[scan.consts : scan.consts + scan.carries]
        xs = operands[scan.consts + scan.carries :]
        stacked: list[list[int]] = []

        def slices(*xs: Any) -> list[list[Any]]:
            return [[jax.lax.index_in_dim(x, turn, keepdims=False) for x in xs] for turn in range(scan.length)]

        sliced = self.add(trace(slices, *(self.avals[x] for x in xs))[0], xs, here)
        order = range(scan.length)
        for turn in reversed(order) if scan.reverse else order:
            within = replace(here, place=Place(here.place.path, (*here.place.turns, turn)))
            given = sliced[turn * len(xs) : (turn + 1) * len(xs)]
            outputs = self.add(body, [*consts, *carry, *given], within)
            carry, ys = outputs[: scan.carries], outputs[scan.carries :]
            stacked = [ys, *stacked] if scan.reverse else [*stacked, ys]
        each = list(zip(*stacked, strict=True))
        together, _ = trace(lambda *ys: [jnp.stack(y) for y in ys], *([self.avals[v] for v in y] for y in each))
        return [*carry, *self.add(together, [v for y in each for v in y], here)]


def flatten(
    closed: ClosedJaxpr, keep: Callable[[JaxprEqn], bool] = lambda eqn: False, insertions: Insertions | None = None
) -> Program:
    """Numbers the values of a jaxpr and opens its calls.

    Args:
      closed: the jaxpr.
      keep: tells which calls stay one equation.
      insertions: what is to be put in. A scan that has some in one of its turns is unrolled.

    Returns:
      The program.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.program import flatten
      >>> program = flatten(jax.make_jaxpr(lambda x: jax.jit(jnp.tanh)(x) * 2)(jnp.ones(3)))
      >>> [equation.primitive for equation in program.equations]
      ['tanh', 'mul']
    """
    return _Flattener(keep, insertions or {}).program(closed, _Around(source_info_util.new_name_stack()))


def trace(f: Callable, *args: Any) -> tuple[ClosedJaxpr, Any]:
    """Traces a function.

    Args:
      f: the function.
      *args: examples of its arguments, pytrees of arrays or of ``jax.ShapeDtypeStruct``.

    Returns:
      The jaxpr, whose inputs are the leaves of ``args``, and the structure of the output.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.program import trace
      >>> closed, structure = trace(lambda x: {"double": 2 * x}, jnp.ones(3))
      >>> structure
      PyTreeDef({'double': *})
    """
    closed, shape = jax.make_jaxpr(lambda *a: named(f)(*a), return_shape=True)(*args)
    return closed, jax.tree.structure(shape)


def marks_of(program: Program) -> dict[str, Any]:
    """Finds the marks that can be tapped; those inside remat too.

    Args:
      program: the model.

    Returns:
      The shape and dtype at each mark, by name, in the order of the program.

    Raises:
      ValueError: a name is used twice.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.program import flatten, marks_of, trace
      >>> closed, _ = trace(lambda x: xr.mark(x.sum(1), "sums"), jnp.ones((2, 3)))
      >>> marks_of(flatten(closed))["sums"].shape
      (2,)
    """
    found: dict[str, Any] = {}
    for inside, equation in tappable(program):
        name = equation.mark
        if name is None:
            continue
        if name in found:
            raise ValueError(f"mark {name!r} is set twice in the model; every mark needs a name of its own")
        found[name] = inside.avals[equation.outputs[0]]
    return found


def tappable(program: Program) -> Iterator[tuple[Program, Equation]]:
    """Yields the equations that run exactly once, those of a program and of its remat bodies, each with its program.

    Args:
      program: any program.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.program import flatten, tappable, trace
      >>> closed, _ = trace(lambda x: jax.checkpoint(jnp.tanh)(x) * 2, jnp.ones(3))
      >>> [equation.primitive for _, equation in tappable(flatten(closed))]
      ['tanh', 'mul']
    """
    for equation in program.equations:
        if equation.eqn.primitive.name == jaxprs.REMAT:
            yield from tappable(equation.bodies[0])
        else:
            yield program, equation


@partial(jax.tree_util.register_dataclass, data_fields=("taps", "ledgers"), meta_fields=())
@dataclass(frozen=True)
class Probes:
    """Probes are zeros that a run takes in beside its values: their cotangents tell what a backward pass finds.

    Attributes:
      taps: by mark, zeros that are added there. Their cotangent is what arrives at the mark.
      ledgers: by the number of a step, an empty account. Its cotangent is what the step writes there.
    """

    taps: dict[str, Any] = field(default_factory=dict)
    ledgers: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Step:
    """A step is what runs in place of an equation.

    Attributes:
      inputs: the numbers of the values that it takes.
      run: the map from these values and the probes to the equation's outputs and the activations found inside.
    """

    inputs: tuple[int, ...]
    run: Callable[[Sequence[Any], Probes], tuple[Sequence[Any], dict[str, Any]]]


_PLAIN = Step((), lambda values, probes: ((), {}))


def run(
    program: Program,
    steps: Mapping[int, Step | None],
    values: Sequence[Any],
    probes: Probes,
) -> tuple[list[Any], dict[str, Any]]:
    """Runs a program with some equations replaced.

    Args:
      program: what to run.
      steps: by an equation's position, what runs in its place. None leaves it out, since its result is part of a
        later step.
      values: one array for each of the program's inputs.
      probes: the zeros whose cotangents are wanted.

    Returns:
      The outputs, and the activation at each tapped mark.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.program import Probes, Step, flatten, run, trace
      >>> program = flatten(trace(lambda x: jnp.tanh(x) * 2, jnp.ones(2))[0])
      >>> cube = Step(program.equations[0].inputs, lambda values, probes: ([values[0] ** 3], {}))
      >>> run(program, {0: cube}, [jnp.array([1.0, 2.0])], Probes())[0][0].tolist()
      [2.0, 16.0]
    """
    env: dict[int, Any] = dict(program.constants)
    env.update(zip(program.inputs, values, strict=True))
    activations: dict[str, Any] = {}
    for position, equation in enumerate(program.equations):
        step = steps.get(position, _PLAIN)
        if step is None:
            continue
        if step is _PLAIN:
            outputs: Sequence[Any] = equation.bind(*(env[i] for i in equation.inputs))
        else:
            outputs, inside = step.run([env[i] for i in step.inputs], probes)
            activations.update(inside)
        if equation.mark is not None and equation.mark in probes.taps:
            outputs = (outputs[0] + probes.taps[equation.mark],)
            activations[equation.mark] = outputs[0]
        env.update(zip(equation.outputs, outputs, strict=True))
    return [env[i] for i in program.outputs], activations
