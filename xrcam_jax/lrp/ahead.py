"""What a pullback computes without looking at relevance, such as the sums that it divides by, is computed once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
from jax.extend.core import JaxprEqn
from jaxtyping import PyTree

from xrcam_jax.lrp.equations import Equation, Program
from xrcam_jax.lrp.program import Probes, flatten, run, trace
from xrcam_jax.marks import PREFIX
from xrcam_jax.runtime import jaxprs


@partial(jax.tree_util.register_dataclass, data_fields=["known"], meta_fields=["program", "structure"])
@dataclass(frozen=True)
class Ahead:
    """Is a function of which all is computed that does not depend on its argument; a pytree.

    Attributes:
      known: the values that the rest needs.
      program: the rest, a program of the argument's leaves and of these values.
      structure: that of the result.
    """

    known: tuple[Any, ...]
    program: Program
    structure: Any

    def __call__(self, x: PyTree) -> PyTree:
        outputs, _ = run(self.program, {}, [*jax.tree.leaves(x), *self.known], Probes())
        return jax.tree.unflatten(self.structure, outputs)


def ahead(f: Callable[[PyTree], PyTree], x: PyTree) -> Ahead:
    """Computes what a function needs no argument for.

    Args:
      f: the function; it may hold arrays, and values of a trace that is under way.
      x: an example of its argument, of which only shape and dtype count.

    Returns:
      The same function, which a compiled function may return.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.ahead import ahead
      >>> weights = jnp.array([1.0, 3.0])
      >>> found = ahead(lambda x: x / jnp.exp(weights).sum(), jnp.ones(2))
      >>> [equation.primitive for equation in found.program.equations], len(found.known)
      (['div'], 1)
    """
    closed, structure = trace(f, x)
    program = flatten(closed, keep=_is_operation)
    changed, before, after = set(program.inputs), [], []
    for equation in _needed(program):
        if changed.intersection(equation.inputs):
            changed.update(equation.outputs)
            after.append(equation)
        else:
            before.append(equation)
    read = [value for equation in after for value in equation.inputs] + list(program.outputs)
    own = changed | program.literals
    rest = tuple(dict.fromkeys(value for value in read if value not in own))
    first = replace(program, equations=tuple(before), inputs=(), outputs=rest)
    literals = {value: array for value, array in program.constants.items() if value in program.literals}
    second = replace(program, equations=tuple(after), inputs=(*program.inputs, *rest), constants=literals)
    return Ahead(tuple(run(first, {}, [], Probes())[0]), second, structure)


def _is_operation(eqn: JaxprEqn) -> bool:
    """Says whether a call is one of this package's operations, which have derivatives and formulations of their own."""
    return (jaxprs.jitted(eqn) or "").startswith(PREFIX)


def _needed(program: Program) -> list[Equation]:
    """Returns the equations that the outputs depend on."""
    needed, found = set(program.outputs), []
    for equation in reversed(program.equations):
        if needed.intersection(equation.outputs):
            needed.update(equation.inputs)
            found.append(equation)
    return found[::-1]
