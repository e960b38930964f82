"""A traced model becomes a program in which layers are marks, and a plan that says which rule each operation gets."""

from collections.abc import Sequence
from typing import NamedTuple

from jax.extend.core import ClosedJaxpr

from xrcam_jax.lrp.composites import Composite, gradient
from xrcam_jax.lrp.grouping import keep_operations
from xrcam_jax.lrp.layers import Layers, has_marks_in_loops, insertions
from xrcam_jax.lrp.plan import Plan, make_plan
from xrcam_jax.lrp.program import Insertions, Program, flatten, marks_of
from xrcam_jax.lrp.protocol import Rule, keeps_derivative
from xrcam_jax.lrp.scopes import find_layers
from xrcam_jax.lrp.sides import for_value, last_rule, rule_of_last_layer, with_sides


def program_for(closed: ClosedJaxpr, composite: Composite, insertions: Insertions | None = None) -> Program:
    """Flattens a traced model as a composite needs it: without rules, functions keep the derivatives they define.

    Args:
      closed: the jaxpr of the model.
      composite: the rules.
      insertions: what is to be put in.

    Returns:
      The program.

    Raises:
      TypeError: ``composite`` is something else, such as a rule.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.composites import gradient, relevance_cam
      >>> from xrcam_jax.lrp.planned import program_for
      >>> closed = jax.make_jaxpr(jax.jit(lambda x: jax.nn.relu(x).sum()))(jnp.ones(3))
      >>> [equation.primitive for equation in program_for(closed, relevance_cam()).equations]
      ['custom_jvp_call', 'reduce_sum']
    """
    if not isinstance(composite, Composite):
        raise TypeError(f"composite must be a Composite, which says which operation gets which rule; got {composite!r}")
    if composite != gradient():
        return flatten(closed, keep_operations, insertions)
    return flatten(closed, lambda eqn: eqn.primitive.name.startswith("custom_") or keep_operations(eqn), insertions)


def with_layers(
    closed: ClosedJaxpr,
    composite: Composite,
    explained: Sequence[bool],
    names: Sequence[str] | None,
    what: str = "mark",
) -> tuple[Program, tuple[str, ...]]:
    """Flattens a traced model so that each of some layers is a mark.

    Args:
      closed: the jaxpr of the model.
      composite: the rules.
      explained: for each of its inputs, whether it is explained.
      names: names and globs of layers; None means all marks.
      what: what a name stands for, in messages.

    Returns:
      The program, and the names of the marks: a glob's and a loop's are in the order of the program.

    Raises:
      ValueError: there is no such layer, a name could be one of several, or a mark is set twice.
      NotImplementedError: a layer is inside a branch or a loop of unknown length.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.composites import relevance_cam
      >>> from xrcam_jax.lrp.planned import with_layers
      >>> closed = jax.make_jaxpr(lambda x: jax.named_scope("head")(jnp.tanh)(2 * x))(jnp.ones(3))
      >>> program, names = with_layers(closed, relevance_cam(), [True], ["head"])
      >>> names, [equation.mark or equation.primitive for equation in program.equations]
      (('head',), ['mul', 'tanh', 'head'])
    """
    program = program_for(closed, composite)
    marks = tuple(marks_of(program))
    if names is None and not has_marks_in_loops(program):
        return program, marks
    if names is not None and set(names) <= set(marks):
        return program, tuple(dict.fromkeys(names))
    layers = Layers(*find_layers(closed, explained))
    every = layers.marks if names is None else names
    chosen = [{} if name in marks else layers.select(name, what) for name in every]
    program = program_for(closed, composite, insertions({name: at for some in chosen for name, at in some.items()}))
    order = list(marks_of(program))
    if names is None:
        return program, tuple(order)
    groups = [sorted(some, key=order.index) or [name] for name, some in zip(every, chosen, strict=True)]
    return program, tuple(dict.fromkeys(name for group in groups for name in group))


class Planned(NamedTuple):
    """Holds a traced model with the rules by which relevance goes from its outputs to some layers.

    Attributes:
      plan: what runs.
      names: the marks at the layers: a glob's and a loop's are in the order of the program.
      rule: that of the last layer.
    """

    plan: Plan
    names: tuple[str, ...]
    rule: Rule | None


def planned(
    closed: ClosedJaxpr,
    composite: Composite,
    explained: Sequence[bool],
    names: Sequence[str] | None,
    *,
    sides: bool = False,
    of_value: bool = False,
) -> Planned:
    """Plans the way of relevance from the outputs of a traced model to some layers.

    Args:
      closed: the jaxpr of the model.
      composite: the rules.
      explained: for each of its inputs, whether it is explained.
      names: names and globs of layers; None means all marks.
      sides: whether the model's one output z is to become (-z, z), see :func:`xrcam_jax.lrp.sides.two_sided`.
      of_value: whether a target function has made that output, see :func:`xrcam_jax.lrp.sides.for_value`.

    Returns:
      The plan, the names of the marks, and the rule of the last layer.

    Raises:
      ValueError: there is no such layer, or a mark is set twice.
      NotImplementedError: a primitive between the output and a layer has no rule, or the last layer of a model of two
        sides is inside remat, scan or cond.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.planned import planned
      >>> closed = jax.make_jaxpr(lambda x: xr.mark(x, "here") @ jnp.ones((2, 1)))(jnp.ones((1, 2)))
      >>> found = planned(closed, xr.composites.relevance_cam(), [True], None)
      >>> found.names, found.rule
      (('here',), AlphaBeta(alpha=1.0, beta=0.0, eps=1e-12, bias=False, zero='drop'))
    """
    program, marks = with_layers(closed, composite, explained, names)
    if sides:
        last = last_rule(composite)
        again = last is not None and not keeps_derivative(last, "dense")
        program = with_sides(program, explained, frozenset(marks), again=again)
    plan, sites = make_plan(program, composite, explained, frozenset(marks))
    rule = rule_of_last_layer(composite, sites)
    if of_value:
        plan, _ = make_plan(program, for_value(composite, sites), explained, frozenset(marks))
    return Planned(plan, marks, rule)
