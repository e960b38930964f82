"""The jaxpr loop: a function as a flat list of equations that can be run again with some of them replaced.

Nothing here knows a rule. Calls (``jit``, ``custom_jvp``, ...) are opened, so that an equation sees its neighbours.
Loops, branches and remat keep their bodies as programs of their own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var

from xrcam_jax.marks import MARK_PRIMITIVE
from xrcam_jax.runtime import jaxprs

# Its frames are on the way to every equation, so none of them is the user's line.
source_info_util.register_exclusion(__file__)


@dataclass(frozen=True, eq=False)
class Equation:
    """An equation applies one primitive to values, which are numbered as :class:`Program` says.

    Attributes:
      eqn: the equation of the jaxpr.
      inputs: the numbers of the values that it reads.
      outputs: the numbers of those that it makes.
      name_stack: the named scopes around it.
      source: the user's line that made it, as ``file:line (function)``, empty if no line is the user's.
      bodies: the programs inside, if it is a loop, a branch, remat, or a function with a derivative of its own.
    """

    eqn: JaxprEqn
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    name_stack: Any
    source: str
    bodies: tuple["Program", ...] = ()

    @property
    def primitive(self) -> str:
        """Returns the name of the primitive, or that of the function if this is a call that was kept closed."""
        return jaxprs.jitted(self.eqn) or self.eqn.primitive.name

    @property
    def out(self) -> Any:
        """Returns shape and dtype of the first output."""
        return self.eqn.outvars[0].aval

    @property
    def scope(self) -> str:
        """Returns the path of ``jax.named_scope`` and Linen modules around the equation, such as ``layer1/0/conv2``."""
        return str(self.name_stack)

    @property
    def mark(self) -> str | None:
        """Returns the name that :func:`xrcam_jax.mark` gave, if this is a mark."""
        return self.eqn.params["name"] if self.eqn.primitive.name == MARK_PRIMITIVE else None

    def bind(self, *values: Any) -> tuple[Any, ...]:
        """Applies the primitive to values as tracing did: same mesh and settings, same names in profiles."""
        params = self.eqn.primitive.get_bind_params(self.eqn.params)
        stack = source_info_util.current_name_stack() + self.name_stack
        with (
            source_info_util.user_context(self.eqn.source_info.traceback, name_stack=stack),
            self.eqn.ctx.manager,
        ):
            out = self.eqn.primitive.bind(*values, **params)
        return tuple(out) if self.eqn.primitive.multiple_results else (out,)


@dataclass(frozen=True, eq=False)
class Program:
    """A program is a flattened jaxpr, whose values are numbered from 0.

    Attributes:
      equations: in the order in which they run.
      inputs: the numbers of the inputs.
      outputs: the numbers of the outputs.
      constants: the arrays that are no inputs, by number.
      literals: which of these stand in the jaxpr itself.
      avals: for every value its shape and dtype.
    """

    equations: tuple[Equation, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: dict[int, Any]
    literals: frozenset[int]
    avals: tuple[Any, ...]

    def is_inexact(self, value: int) -> bool:
        """Returns whether a value holds real or complex floating-point numbers: no others can carry relevance."""
        return jnp.issubdtype(self.avals[value].dtype, jnp.inexact)

    def is_complex(self, value: int) -> bool:
        """Returns whether a value holds complex numbers, for which no rule is known."""
        return jnp.issubdtype(self.avals[value].dtype, jnp.complexfloating)


class _Flattener:
    """Numbers the values of a jaxpr and of the calls in it."""

    def __init__(self, keep: Callable[[JaxprEqn], bool]):
        self.keep = keep
        self.equations: list[Equation] = []
        self.constants: dict[int, Any] = {}
        self.literals: set[int] = set()
        self.avals: list[Any] = []

    def value(self, aval: Any) -> int:
        self.avals.append(aval)
        return len(self.avals) - 1

    def constant(self, aval: Any, array: Any) -> int:
        number = self.value(aval)
        self.constants[number] = array
        return number

    def add(self, closed: ClosedJaxpr, inputs: Sequence[int], name_stack: Any, caller: str) -> list[int]:
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

        for eqn in closed.eqns:
            operands = [read(atom) for atom in eqn.invars]
            stack = name_stack + eqn.source_info.name_stack
            source = source_info_util.summarize(eqn.source_info) or caller
            called = jaxprs.called(eqn)
            if called is not None and not self.keep(eqn):
                outputs = self.add(called, operands, stack, source)
            else:
                outputs = [self.value(var.aval) for var in eqn.outvars]
                bodies = tuple(flatten(body, self.keep) for body in jaxprs.bodies(eqn))
                self.equations.append(Equation(eqn, tuple(operands), tuple(outputs), stack, source, bodies))
            numbers.update(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in closed.outvars]


def flatten(closed: ClosedJaxpr, keep: Callable[[JaxprEqn], bool] = lambda eqn: False) -> Program:
    """Numbers the values of a jaxpr and opens its calls.

    Args:
      closed: the jaxpr.
      keep: tells which calls stay one equation.

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
    flat = _Flattener(keep)
    inputs = [flat.value(var.aval) for var in closed.invars]
    outputs = flat.add(closed, inputs, source_info_util.new_name_stack(), "")
    literals, avals = frozenset(flat.literals), tuple(flat.avals)
    return Program(tuple(flat.equations), tuple(inputs), tuple(outputs), flat.constants, literals, avals)


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
    closed, shape = jax.make_jaxpr(lambda *a: f(*a), return_shape=True)(*args)
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
    for equation in tappable(program):
        name = equation.mark
        if name is None:
            continue
        if name in found:
            raise ValueError(f"mark {name!r} is set twice in the model; every mark needs a name of its own")
        found[name] = equation.eqn.outvars[0].aval
    return found


def tappable(program: Program) -> Iterator[Equation]:
    """Yields the equations that run exactly once: those of a program and of its remat bodies.

    Args:
      program: any program.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.program import flatten, tappable, trace
      >>> closed, _ = trace(lambda x: jax.checkpoint(jnp.tanh)(x) * 2, jnp.ones(3))
      >>> [equation.primitive for equation in tappable(flatten(closed))]
      ['tanh', 'mul']
    """
    for equation in program.equations:
        if equation.eqn.primitive.name == jaxprs.REMAT:
            yield from tappable(equation.bodies[0])
        else:
            yield equation


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
