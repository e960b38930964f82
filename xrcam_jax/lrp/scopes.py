"""Where the layers of a traced model are: at its marks, at the ends of its named scopes, and at every other value.

The output of a scope is the last value made inside it that is read outside of it, and depends on what is explained: an
embedding depends on its token ids, though these have no relevance. A scope that is entered again is another layer, and
so is a primitive that is applied again: the second ``conv`` is ``conv:2``. What is in a scan is there once, and stands
for as many layers as there are turns.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from xrcam_jax.lrp import facts
from xrcam_jax.lrp.facts import Fact
from xrcam_jax.lrp.grouping import innermost
from xrcam_jax.lrp.layout import Axes, channels_last, infer_axes
from xrcam_jax.lrp.primitives import STRUCTURE
from xrcam_jax.lrp.program import Equation, Place, Program, flatten
from xrcam_jax.marks import MARK_PRIMITIVE, PREFIX
from xrcam_jax.runtime import jaxprs

_CONSTRUCTS = {jaxprs.SCAN, jaxprs.REMAT, jaxprs.COND}


@dataclass(frozen=True)
class Layer:
    """A layer is a value inside a model that has a name.

    Attributes:
      name: its name.
      kind: ``"mark"``, ``"scope"``, or ``"value"`` if only its primitive and its number name it.
      shape: its shape, with the channels last where a convolution made it.
      dtype: its dtype.
      scope: the name of the scope around it, empty if there is none.
      primitives: what it is made by, without what only moves values.
      lengths: how many turns the scans around it have, the outermost first.
      place: of the equation that makes it.
      output: which output of that equation it is.
      axes: which axes of the value are those of ``shape``; None if no convolution tells, and ``shape`` is the value's.
      alone: whether all that the model's output has of the input passes through it.
      joins: whether it is made of several values that depend on the input, as the sum at the end of a residual block.
      half_resized: whether it is a picture between two products along its axes, as one whose rows alone are resized.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: Any
    scope: str
    primitives: tuple[str, ...]
    lengths: tuple[int, ...]
    place: Place
    output: int
    axes: tuple[int, ...] | None
    alone: bool
    joins: bool
    half_resized: bool


@dataclass(eq=False)
class _Scope:
    """One entry of a named scope: the scope around it, where it is, and what was found in it so far.

    Attributes:
      name: its name, with those of the scopes around it.
      level: where it was entered.
      positions: of its equations at that level.
      equations: the places of these equations, which would come again if it was entered again.
      primitives: what is in it, also further down, each once and in order.
      names: how often each name was given inside.
    """

    name: str
    level: "_Level"
    positions: list[int] = field(default_factory=list)
    equations: dict[int, Place] = field(default_factory=dict)
    primitives: dict[str, None] = field(default_factory=dict)
    names: Counter[str] = field(default_factory=Counter)

    def child(self, name: str) -> str:
        """Returns a name for something inside."""
        self.names[name] += 1
        numbered = name if self.names[name] == 1 else f"{name}:{self.names[name]}"
        return f"{self.name}/{numbered}" if self.name else numbered


@dataclass(eq=False)
class _Level:
    """A level is a program, or the program of a body inside it, with what is known of its values.

    Attributes:
      program: the program.
      facts: of its values.
      axes: of its values, as far as a convolution made them.
      lengths: how many turns the scans around it have.
      scopes: the scopes that were entered so far, by the scope around them, their name and the entry's number.
      above: of the body of a remat, the level around it and the position of that remat there.
      passed: of a body, whether something that depends on the input goes around it.
      entered: the scopes of this level.
    """

    program: Program
    facts: Sequence[Fact]
    axes: dict[int, Axes]
    lengths: tuple[int, ...] = ()
    scopes: dict[tuple[_Scope, str, int | None], _Scope] = field(default_factory=dict)
    above: "tuple[_Level, int] | None" = None
    passed: bool = False
    entered: list[_Scope] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.producer = {v: position for position, e in enumerate(self.program.equations) for v in e.outputs}
        self.readers: dict[int, list[int]] = {}
        for position, equation in enumerate(self.program.equations):
            for value in equation.inputs:
                self.readers.setdefault(value, []).append(position)
        self.live = live_values(self.program, [v for v in range(len(self.program.avals)) if self.can_be_layer(v)])

    def is_alone(self, position: int, value: int) -> bool:
        """Returns whether nothing else that depends on the input is needed after an equation."""
        return not self.passed and self.live[position] == {value}

    def joins(self, position: int) -> bool:
        """Returns whether an equation reads several values that depend on the input."""
        return len({v for v in self.program.equations[position].inputs if self.can_be_layer(v)}) > 1

    def is_half_resized(self, value: int) -> bool:
        """Returns whether a picture is made by a product along its height or width, and read by such products alone."""
        above = self.producer.get(value)
        while above is not None and self.program.equations[above].primitive in STRUCTURE:
            above = self.producer.get(self.program.equations[above].inputs[0])
        pending, products = [value] if above is not None and self.goes_along_space(above) else [], 0
        while pending:
            read = pending.pop()
            if read in self.program.outputs:
                return False
            for position in self.readers.get(read, ()):
                if self.goes_along_space(position):
                    products += 1
                elif self.program.equations[position].primitive in STRUCTURE:
                    pending.extend(self.program.equations[position].outputs)
                else:
                    return False
        return products > 0

    def goes_along_space(self, position: int) -> bool:
        """Returns whether an equation is a product along the height or width of a picture, as resizing is."""
        equation = self.program.equations[position]
        if equation.primitive != "dot_general":
            return False
        contracted = equation.eqn.params["dimension_numbers"][0]
        sides = [(axes, self.axes[v]) for axes, v in zip(contracted, equation.inputs, strict=True) if v in self.axes]
        return len(sides) == 1 and len(sides[0][0]) == 1 and sides[0][0][0] in sides[0][1].spatial

    def up_to(self, level: "_Level", position: int) -> "tuple[_Level, int]":
        """Returns the level around all remats that are inside another level, and the position there."""
        here = self
        while here is not level and here.above is not None:
            here, position = here.above
        return here, position

    def output_of(self, scope: _Scope) -> tuple[int, int] | None:
        """Returns position and index of the last value made in a scope that is read outside of it."""
        inside, outputs = set(scope.positions), set(self.program.outputs)
        for position in reversed(scope.positions):
            for index, value in enumerate(self.program.equations[position].outputs):
                read = value in outputs or not inside.issuperset(self.readers.get(value, ()))
                if read and self.can_be_layer(value):
                    return position, index
        return None

    def can_be_layer(self, value: int) -> bool:
        """Returns whether a value can carry relevance once it is a mark."""
        # Of the inputs those alone are said to be depended on that are integers.
        fact = self.facts[value]
        return fact.explained or (fact.depends and self.program.is_inexact(value))


def find_layers(closed: ClosedJaxpr, explained: Sequence[bool]) -> tuple[tuple[Layer, ...], dict[str, str]]:
    """Finds the layers of a traced model.

    Args:
      closed: the jaxpr of the model.
      explained: for each of its inputs, whether it is explained.

    Returns:
      The layers, each before those inside it; and the names of scopes and marks where no layer can be, with what they
      are in.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.scopes import find_layers
      >>> closed = jax.make_jaxpr(lambda x: jax.named_scope("head")(jnp.tanh)(2 * x))(jnp.ones(3))
      >>> [(layer.name, layer.kind) for layer in find_layers(closed, [True])[0]]
      [('mul', 'value'), ('head', 'scope'), ('head/tanh', 'value')]
    """
    # All calls that are one operation to some composite stay one, so that names are the same for all composites.
    program = flatten(closed, _keep)
    inexact = [program.is_inexact(v) for v in program.inputs]
    inputs = [Fact(depends=e and not i, explained=e and i) for i, e in zip(inexact, explained, strict=True)]
    finder, level = _Finder(), _Level(program, facts.infer(program, inputs, frozenset()), infer_axes(program, {}))
    finder.visit(level, _Scope("", level))
    order = {name: position for position, name in reversed(list(enumerate(finder.order)))}
    return tuple(sorted(finder.found, key=lambda layer: order[layer.name])), finder.hidden


def live_values(program: Program, depending: Iterable[int]) -> list[set[int]]:
    """Returns, for each equation of a program, the values that are made by then and needed later.

    Args:
      program: the program.
      depending: the values that count.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.program import flatten
      >>> from xrcam_jax.lrp.scopes import live_values
      >>> program = flatten(jax.make_jaxpr(lambda x: jnp.sin(x) + jnp.exp(x))(1.0))
      >>> [len(live) for live in live_values(program, range(len(program.avals)))]
      [2, 2, 1]
    """
    needed = set(program.outputs)
    for equation in reversed(program.equations):
        if needed.intersection(equation.outputs):
            needed.update(equation.inputs)
    last = {
        v: i for i, equation in enumerate(program.equations) for v in equation.inputs if needed & {*equation.outputs}
    }
    last |= dict.fromkeys(program.outputs, len(program.equations))
    counting, found = last.keys() & set(depending), list[set[int]]()
    live = counting.intersection(program.inputs)
    for position, equation in enumerate(program.equations):
        live = {v for v in live | counting.intersection(equation.outputs) if last[v] > position}
        found.append(live)
    return found


def _keep(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name.startswith("custom_") or (jaxprs.jitted(eqn) or "").startswith(PREFIX)


class _Finder:
    """Walks through a program and the bodies in it, and notes what it finds."""

    def __init__(self) -> None:
        self.found: list[Layer] = []
        self.hidden: dict[str, str] = {}
        self.order: list[str] = []

    def visit(self, level: _Level, root: _Scope) -> None:
        """Finds the layers of a level and of those below it."""
        for position, equation in enumerate(level.program.equations):
            around = self.enter(level, position, equation, root)
            self.note(level, position, equation, around[-1])
            for scope in around:
                if equation.primitive not in STRUCTURE | _CONSTRUCTS:
                    scope.primitives[innermost(equation)] = None
            self.descend(level, position, equation, root)
        for scope in level.entered:
            end = level.output_of(scope)
            if end is not None:
                outer = scope.name.rpartition("/")[0]
                self.add(level, *end, scope.name, "scope", outer, tuple(scope.primitives))

    def enter(self, level: _Level, position: int, equation: Equation, root: _Scope) -> list[_Scope]:
        """Returns the scopes around an equation, the outermost first, after those that are new were entered."""
        around = [root]
        for depth, (name, number) in enumerate(jaxprs.scopes(equation.name_stack)):
            # The first part of a name such as blocks/1 is no entry of a scope. It goes on after a remat.
            here, at = (level, position) if number else level.up_to(around[-1].level, position)
            key = (around[-1], name, number)
            scope = here.scopes.get(key)
            # A function under jax.jit is traced once. Where it is called again, its equations come again, and with them
            # the scopes inside it.
            again = scope and number and scope.level is level and scope.equations.get(id(equation.eqn))
            if scope is None or (again and depth >= equation.scopes_shared_with(again)):
                scope = here.scopes[key] = _Scope(around[-1].child(name), here)
                here.entered.append(scope)
                self.order.append(scope.name)
            if scope.level is here:
                scope.positions.append(at)
                scope.equations[id(equation.eqn)] = equation.place
            around.append(scope)
        return around

    def note(self, level: _Level, position: int, equation: Equation, scope: _Scope) -> None:
        """Notes the value that an equation makes."""
        index = next((i for i, v in enumerate(equation.outputs) if level.can_be_layer(v)), None)
        if equation.mark is not None:
            self.order.append(equation.mark)
            self.add(level, position, 0, equation.mark, "mark", scope.name, ())
        elif index is not None:
            primitive = innermost(equation)
            self.order.append(scope.child(primitive))
            self.add(level, position, index, self.order[-1], "value", scope.name, (primitive,))

    def add(
        self, level: _Level, position: int, index: int, name: str, kind: str, scope: str, primitives: tuple[str, ...]
    ) -> None:
        value = level.program.equations[position].outputs[index]
        axes = channels_last(level.axes.get(value)) if kind != "mark" else None
        half = level.is_half_resized(value)
        # What remat puts out is taken outside of it, where the model can be cut.
        while kind != "mark" and level.above is not None and value in level.program.outputs:
            index = level.program.outputs.index(value)
            level, position = level.above
            value = level.program.equations[position].outputs[index]
        aval, place = level.program.avals[value], level.program.equations[position].place
        shape = aval.shape if axes is None else tuple(aval.shape[axis] for axis in axes)
        alone, joins = level.is_alone(position, value), level.joins(position)
        where = level.lengths, place, index, axes
        self.found.append(Layer(name, kind, shape, aval.dtype, scope, primitives, *where, alone, joins, half))

    def descend(self, level: _Level, position: int, equation: Equation, root: _Scope) -> None:
        """Finds what is in the bodies of an equation, or what is hidden there."""
        name = equation.eqn.primitive.name
        if name not in (jaxprs.SCAN, jaxprs.REMAT):
            self.hidden.update(dict.fromkeys(_names(jaxprs.all_bodies(equation.eqn), equation.scope), name))
            return
        (body,) = equation.bodies
        known = facts.body_inputs(equation, [level.facts[v] for v in equation.inputs], frozenset())
        lengths, axes = level.lengths, level.axes
        above: tuple[_Level, int] | None = (level, position)
        given = {inner: axes[outer] for inner, outer in zip(body.inputs, equation.inputs, strict=True) if outer in axes}
        if name == jaxprs.SCAN:
            scan = jaxprs.scan(equation.eqn)
            lengths, above = (*lengths, scan.length), None
            given = {v: given[v] for v in body.inputs[: scan.consts + scan.carries] if v in given}
        inside = facts.infer(body, known, frozenset())
        passed = level.passed or not level.live[position] <= set(equation.outputs)
        self.visit(_Level(body, inside, infer_axes(body, given), lengths, dict(level.scopes), above, passed), root)


def _names(bodies: Sequence[ClosedJaxpr | Jaxpr], scope: str) -> Iterator[str]:
    """Yields the names of the marks and scopes in some jaxprs."""
    for eqn in (eqn for body in bodies for eqn in body.eqns):
        inside = "/".join((*filter(None, (scope,)), *(name for name, _ in jaxprs.scopes(eqn.source_info.name_stack))))
        if eqn.primitive.name == MARK_PRIMITIVE:
            yield eqn.params["name"]
        elif inside != scope:
            yield inside
        yield from _names(jaxprs.all_bodies(eqn), inside)
