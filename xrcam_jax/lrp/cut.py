"""A model is cut in two at a mark, so that the activation there can be changed and only the rest run again."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax import Array
from jax.extend.core import ClosedJaxpr
from jaxtyping import PyTree

from xrcam_jax.lrp.composites import Composite, gradient
from xrcam_jax.lrp.plan import Plan
from xrcam_jax.lrp.planned import planned, with_layers
from xrcam_jax.lrp.program import Probes, Program, trace
from xrcam_jax.lrp.protocol import Rule
from xrcam_jax.lrp.transform import explained_leaves


@dataclass(frozen=True)
class Cut:
    """A cut holds the two halves of f(x, *args) at a mark: ``tail(*head(x, *args))`` is f(x, *args).

    Attributes:
      head: the map from (x, *args) to the activation at the mark, and all else that the tail needs.
      tail: the map from these two to the output.
    """

    head: Callable[..., tuple[Array, list[Array]]]
    tail: Callable[[Array, list[Array]], PyTree]


def cut(f: Callable, mark: str, x: PyTree, *args: PyTree, explained: list[bool] | None = None) -> Cut:
    """Cuts a function in two at a mark.

    Args:
      f: a function of (x, *args).
      mark: the name of a mark in it, or of another layer (see :func:`xrcam_jax.layers`).
      x: an example of its input, of which only shape and dtype count (``jax.ShapeDtypeStruct`` will do).
      *args: examples of its other arguments, likewise.
      explained: for each leaf of (x, *args), whether it is explained, which layers are found by; all of ``x`` by
        default.

    Returns:
      The two halves.

    Raises:
      ValueError: there is no such layer.
      NotImplementedError: the layer is inside remat, scan or cond.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.cut import cut
      >>> def model(x, w):
      ...     return xr.mark(x * 2, "hidden") @ w
      >>> x, w = jnp.array([[1.0, 3.0]]), jnp.array([[1.0], [1.0]])
      >>> halves = cut(model, "hidden", x, w)
      >>> activation, rest = halves.head(x, w)
      >>> activation.tolist(), halves.tail(activation, rest).tolist(), halves.tail(0 * activation, rest).tolist()
      ([[2.0, 6.0]], [[8.0]], [[0.0]])
    """
    closed, structure = _traced(f, x, args)
    explained = explained_leaves(x, args) if explained is None else explained
    try:
        program, names = with_layers(closed, gradient(), explained, [mark])
    except NotImplementedError as error:
        raise NotImplementedError(_inside(mark)) from error
    return _halves(Plan(program), place_of(program, names, mark), structure)


def cut_relevance(
    f: Callable,
    composite: Composite,
    mark: str,
    x: PyTree,
    *args: PyTree,
    explained: list[bool] | None = None,
    sides: bool = False,
    of_value: bool = False,
) -> tuple[Cut, Rule | None]:
    """Cuts a function in two at a mark, so that the pullback of the second half propagates relevance to the mark.

    Rules are chosen in the whole function, so the relevance is that of :func:`xrcam_jax.taps`.

    Args:
      f: a function of (x, *args).
      composite: which operation gets which rule.
      mark: the name of a mark in it, or of another layer.
      x: an example of its input, of which only shape and dtype count.
      *args: examples of its other arguments, likewise.
      explained: for each leaf of (x, *args), whether it is explained; all of ``x`` by default.
      sides: whether its one output z is to become (-z, z), see :func:`xrcam_jax.lrp.sides.two_sided`.
      of_value: whether a target function has made that output, see :func:`xrcam_jax.lrp.sides.for_value`.

    Returns:
      The two halves, and the rule of the last layer.

    Raises:
      ValueError: there is no such layer.
      NotImplementedError: the layer is inside remat, scan or cond, or an operation behind it has no rule.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.cut import cut_relevance
      >>> def model(x, w):
      ...     return xr.mark(x * 2, "hidden") @ w
      >>> x, w = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[2.0], [-1.0], [1.0]])
      >>> halves, _ = cut_relevance(model, xr.composites.relevance_cam(), "hidden", x, w)
      >>> activation, rest = halves.head(x, w)
      >>> jax.vjp(lambda a: halves.tail(a, rest), activation)[1](jnp.array([[10.0]]))[0].tolist()
      [[4.0, 0.0, 6.0]]
    """
    closed, structure = _traced(f, x, args)
    explained = explained_leaves(x, args) if explained is None else explained
    plan, names, rule = planned(closed, composite, explained, [mark], sides=sides, of_value=of_value)
    return _halves(plan, place_of(plan.program, names, mark), structure), rule


def _traced(f: Callable, x: PyTree, args: PyTree) -> tuple[ClosedJaxpr, Any]:
    return trace(f, *jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (x, *args)))


def _halves(plan: Plan, place: int, structure: Any) -> Cut:
    first, second = split(plan, place)

    def head(*values: PyTree) -> tuple[Array, list[Array]]:
        found, *others = first.run(jax.tree.leaves(values), Probes())[0]
        return found, others

    def tail(activation: Array, rest: list[Array]) -> PyTree:
        return jax.tree.unflatten(structure, second.run([activation, *rest], Probes())[0])

    return Cut(head, tail)


def split(plan: Plan, place: int) -> tuple[Plan, Plan]:
    """Splits a plan in two behind an equation of one output.

    Args:
      plan: what runs.
      place: the position of the equation.

    Returns:
      A plan that puts out what the equation makes, and all else that comes from before it and is needed later; and
      one that takes these values in and puts out what the whole plan does. Each keeps its rules.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.cut import split
      >>> from xrcam_jax.lrp.plan import Plan
      >>> from xrcam_jax.lrp.program import Probes, flatten, trace
      >>> first, second = split(Plan(flatten(trace(lambda x: jnp.tanh(x) * 2 + x, jnp.ones(2))[0])), 0)
      >>> found, _ = first.run([jnp.array([0.0, 1.0])], Probes())
      >>> second.run([jnp.array([5.0, 6.0]), *found[1:]], Probes())[0][0].tolist()
      [10.0, 13.0]
    """
    program, steps = plan.program, plan.steps
    (activation,) = program.equations[place].outputs
    changed, after = {activation}, []
    for position, equation in enumerate(program.equations[place + 1 :], place + 1):
        # A step reads what its whole operation does, of which earlier equations may be gone in a part of a plan.
        if changed.intersection(_reads(plan, position)):
            changed.update(equation.outputs)
            after.append(position)
    # What is part of a later step does not run.
    run = [position for position in after if steps.get(position, ...) is not None]
    read = [v for position in run for v in _reads(plan, position)] + list(program.outputs)
    rest = list(dict.fromkeys(v for v in read if v not in changed and v not in program.constants))
    behind = set(after)
    before = [position for position in range(len(program.equations)) if position not in behind]
    first = _part(plan, before, program.inputs, (activation, *rest))
    return first, _part(plan, run, (activation, *rest), program.outputs)


def _part(plan: Plan, positions: list[int], inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Plan:
    """Returns the plan of some equations."""
    program, steps = plan.program, plan.steps
    equations = tuple(program.equations[position] for position in positions)
    part = replace(program, equations=equations, inputs=inputs, outputs=outputs)
    return Plan(part, {i: steps[position] for i, position in enumerate(positions) if position in steps})


def _reads(plan: Plan, position: int) -> tuple[int, ...]:
    step = plan.steps.get(position)
    return plan.program.equations[position].inputs if step is None else step.inputs


def place_of(program: Program, names: tuple[str, ...], mark: str) -> int:
    """Returns the position of a mark.

    Args:
      program: the model.
      names: the marks that were found for it, which are to be one.
      mark: what it was asked for as.

    Raises:
      NotImplementedError: it is inside remat, scan or cond.

    Returns:
      The number of the equation that is the mark.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.cut import place_of
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> program = flatten(trace(lambda x: xr.mark(jnp.tanh(x), "here") * 2, jnp.ones(2))[0])
      >>> place_of(program, ("here",), "here")
      1
    """
    if len(names) > 1:
        raise NotImplementedError(f"{_inside(mark)}, only at one of {', '.join(names)}")
    place = next((i for i, e in enumerate(program.equations) if (e.mark,) == names), None)
    if place is None:
        raise NotImplementedError(_inside(mark))
    return place


def _inside(mark: str) -> str:
    return f"mark {mark!r} is inside remat, scan or cond: the model cannot be cut there"
