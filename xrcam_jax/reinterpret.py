"""The jaxpr loop: a function as a flat list of equations that can be run again with some of them replaced.

Nothing here knows a rule. Calls (``jit``, ``custom_jvp``, ...) are opened so that an equation sees its
neighbours; loops, branches and remat keep their bodies as programs of their own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var

from xrcam_jax import jaxprs
from xrcam_jax.marks import MARK_PRIMITIVE

# Its frames are on the way to every equation, so none of them is the user's line.
source_info_util.register_exclusion(__file__)


@dataclass(frozen=True, eq=False)
class Equation:
    """One primitive application; values are numbered, see :class:`Program`.

    ``source`` is the user's line that made it, as ``file:line (function)``, empty if no line is the user's.
    """

    eqn: JaxprEqn
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    name_stack: Any
    source: str
    bodies: tuple["Program", ...] = ()

    @property
    def primitive(self) -> str:
        """The primitive's name; of a call that was kept closed, the function's."""
        return jaxprs.jitted(self.eqn) or self.eqn.primitive.name

    @property
    def scope(self) -> str:
        """Path of the ``jax.named_scope`` and Linen modules around the equation, e.g. ``layer1/0/conv2``."""
        return str(self.name_stack)

    @property
    def mark(self) -> str | None:
        """The name given by :func:`xrcam_jax.mark`, if this is a mark."""
        return self.eqn.params["name"] if self.eqn.primitive.name == MARK_PRIMITIVE else None

    def bind(self, *values: Any) -> tuple[Any, ...]:
        """Apply the primitive to ``values``, as tracing did: same mesh and settings, same names in profiles."""
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
    """A jaxpr, flattened: values are numbered 0..n-1, ``avals`` says what each one is."""

    equations: tuple[Equation, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: dict[int, Any]
    literals: frozenset[int]
    avals: tuple[Any, ...]

    def is_floating(self, value: int) -> bool:
        """Whether ``value`` holds floating-point numbers: no others can carry relevance."""
        return jnp.issubdtype(self.avals[value].dtype, jnp.floating)


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
        """Append ``closed``'s equations applied to the values ``inputs``; return its outputs."""
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
    """Number the values of ``closed`` and open its calls, but for those that ``keep`` wants whole."""
    flat = _Flattener(keep)
    inputs = [flat.value(var.aval) for var in closed.invars]
    outputs = flat.add(closed, inputs, source_info_util.new_name_stack(), "")
    return Program(
        tuple(flat.equations), tuple(inputs), tuple(outputs), flat.constants, frozenset(flat.literals),
        tuple(flat.avals),
    )  # fmt: skip


def trace(f: Callable, *args: Any) -> tuple[ClosedJaxpr, Any]:
    """Trace ``f(*args)``: the jaxpr, whose inputs are the leaves of ``args``, and the structure of the output."""
    closed, shape = jax.make_jaxpr(lambda *a: f(*a), return_shape=True)(*args)
    return closed, jax.tree.structure(shape)


def marks_of(program: Program) -> dict[str, Any]:
    """Name and aval of every mark that can be tapped, in program order; those inside remat too.

    Raises:
      ValueError: a name is used twice.
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
    """The equations that run exactly once: those of ``program`` and of its remat bodies."""
    for equation in program.equations:
        if equation.eqn.primitive.name == jaxprs.REMAT:
            yield from tappable(equation.bodies[0])
        else:
            yield equation


@dataclass(frozen=True, eq=False)
class Step:
    """What runs in place of an equation.

    Attributes:
      inputs: the values it takes.
      run: from these values and the taps to the equation's outputs and the activations found inside.
    """

    inputs: tuple[int, ...]
    run: Callable[[Sequence[Any], dict[str, Any]], tuple[Sequence[Any], dict[str, Any]]]


_PLAIN = Step((), lambda values, taps: ((), {}))


def run(
    program: Program,
    steps: Mapping[int, Step | None],
    values: Sequence[Any],
    taps: dict[Any, Any],
) -> tuple[list[Any], dict[str, Any]]:
    """Run ``program`` with some equations replaced.

    Args:
      program: what to run.
      steps: by an equation's position, what runs in its place; ``None`` leaves it out, since its result is
        part of a later step.
      values: one array for each of the program's inputs.
      taps: by mark, zeros to add there; the cotangent of the zeros is what arrives at the mark.

    Returns:
      The outputs, and the activation at each tapped mark.
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
            outputs, inside = step.run([env[i] for i in step.inputs], taps)
            activations.update(inside)
        if equation.mark is not None and equation.mark in taps:
            outputs = (outputs[0] + taps[equation.mark],)
            activations[equation.mark] = outputs[0]
        env.update(zip(equation.outputs, outputs, strict=True))
    return [env[i] for i in program.outputs], activations
