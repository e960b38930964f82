"""A model is cut in two at a mark, so that the activation there can be changed and only the rest run again."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax import Array
from jax.extend.core import ClosedJaxpr
from jaxtyping import PyTree

from xrcam_jax.lrp.composites import gradient
from xrcam_jax.lrp.program import Probes, Program, run, trace
from xrcam_jax.lrp.transform import explained_leaves, with_layers


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
    closed, structure = trace(f, *jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (x, *args)))
    program, place = _cut_at(closed, explained_leaves(x, args) if explained is None else explained, mark)
    first, second = split(program, place)

    def head(*values: PyTree) -> tuple[Array, list[Array]]:
        found, *others = _run(first, jax.tree.leaves(values))
        return found, others

    def tail(activation: Array, rest: list[Array]) -> PyTree:
        return jax.tree.unflatten(structure, _run(second, [activation, *rest]))

    return Cut(head, tail)


def split(program: Program, place: int) -> tuple[Program, Program]:
    """Splits a program in two behind an equation of one output.

    Args:
      program: the program.
      place: the position of the equation.

    Returns:
      A program that puts out what the equation makes, and all else that comes from before it and is needed later; and
      one that takes these values in and puts out what the whole program does.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.cut import split
      >>> from xrcam_jax.lrp.program import Probes, flatten, run, trace
      >>> first, second = split(flatten(trace(lambda x: jnp.tanh(x) * 2 + x, jnp.ones(2))[0]), 0)
      >>> found = run(first, {}, [jnp.array([0.0, 1.0])], Probes())[0]
      >>> run(second, {}, [jnp.array([5.0, 6.0]), *found[1:]], Probes())[0][0].tolist()
      [10.0, 13.0]
    """
    (activation,) = program.equations[place].outputs
    changed, after = {activation}, []
    for equation in program.equations[place + 1 :]:
        if changed.intersection(equation.inputs):
            changed.update(equation.outputs)
            after.append(equation)
    read = [v for e in after for v in e.inputs] + list(program.outputs)
    rest = list(dict.fromkeys(v for v in read if v not in changed and v not in program.constants))
    later = set(map(id, after))
    first = replace(
        program,
        equations=tuple(e for e in program.equations if id(e) not in later),
        outputs=(activation, *rest),
    )
    return first, replace(program, equations=tuple(after), inputs=(activation, *rest))


def _cut_at(closed: ClosedJaxpr, explained: list[bool], mark: str) -> tuple[Program, int]:
    """Returns the program with a mark at a layer, and the position of that mark."""
    inside = f"mark {mark!r} is inside remat, scan or cond: the model cannot be cut there"
    try:
        program, names = with_layers(closed, gradient(), explained, [mark])
    except NotImplementedError as error:
        raise NotImplementedError(inside) from error
    if len(names) > 1:
        raise NotImplementedError(f"{inside}, only at one of {', '.join(names)}")
    place = next((i for i, e in enumerate(program.equations) if (e.mark,) == names), None)
    if place is None:
        raise NotImplementedError(inside)
    return program, place


def _run(program: Program, values: list[Any]) -> list[Any]:
    return run(program, {}, values, Probes())[0]
