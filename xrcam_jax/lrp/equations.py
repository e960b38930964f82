"""A traced function as a flat list of equations, each of which knows where it comes from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax.extend import source_info_util
from jax.extend.core import JaxprEqn

from xrcam_jax.marks import MARK_PRIMITIVE
from xrcam_jax.runtime import jaxprs

# Its frames are on the way to every equation, so none of them is the user's line.
source_info_util.register_exclusion(__file__)


@dataclass(frozen=True)
class Place:
    """A place is where an equation stands in a jaxpr, however the jaxpr is flattened.

    Attributes:
      path: its position in its jaxpr, after those of the calls, loops and branches around it, the outermost first.
      turns: which turn of the unrolled scans around it, likewise.
    """

    path: tuple[int, ...] = ()
    turns: tuple[int, ...] = ()


#: What is put into a program when it is flattened: by an equation's place, which of its outputs are replaced by what a
#: function makes of them.
Insertions = Mapping[Place, Sequence[tuple[int, Callable[[Any], Any]]]]


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
      place: where it stands in the jaxpr.
      inserted: whether it was put in when the jaxpr was flattened.
      stacks: the named scopes around the call at each level of ``place.path``, and at last around the equation.
    """

    eqn: JaxprEqn
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    name_stack: Any
    source: str
    bodies: tuple["Program", ...] = ()
    place: Place = Place()
    inserted: bool = False
    stacks: tuple[Any, ...] = ()

    def scopes_shared_with(self, other: Place) -> int:
        """Returns how many of the scopes around it are around two calls by which the same equation is at two places."""
        here = enumerate(zip(self.place.path, other.path, strict=False))
        apart = next((level for level, (one, two) in here if one != two), len(self.stacks) - 1)
        return len(jaxprs.scopes(self.stacks[apart]))

    @property
    def primitive(self) -> str:
        """Returns the name of the primitive, or that of the function if this is a call that was kept closed."""
        return jaxprs.jitted(self.eqn) or self.eqn.primitive.name

    @property
    def has_derivative(self) -> bool:
        """Returns False for maxima and minima over dilated windows, of which JAX has no derivative."""
        extreme = self.primitive in ("reduce_window_max", "reduce_window_min")
        return not extreme or all(gap == 1 for gap in self.eqn.params["window_dilation"])

    @property
    def out(self) -> Any:
        """Returns shape and dtype of the first output."""
        return self.eqn.outvars[0].aval

    @property
    def scope(self) -> str:
        """Returns the path of ``jax.named_scope`` and modules around the equation, such as ``layer1/0/conv2``."""
        return "/".join(name for name, _ in jaxprs.scopes(self.name_stack))

    @property
    def mark(self) -> str | None:
        """Returns the name of the mark, if this is one. In the third turn of an unrolled scan, ``a`` is ``a/2``."""
        name = self.eqn.params["name"] if self.eqn.primitive.name == MARK_PRIMITIVE else None
        return name if name is None or self.inserted else "/".join((name, *map(str, self.place.turns)))

    @property
    def mark_of_model(self) -> str | None:
        """Returns the name that the model gave with :func:`xrcam_jax.mark`, if this is such a mark.

        It does not depend on what is tapped, so that rules that are chosen by it do not either.
        """
        return self.eqn.params["name"] if self.eqn.primitive.name == MARK_PRIMITIVE and not self.inserted else None

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
      calls: the positions of the equations of each call that was opened, inner calls before those around them.
    """

    equations: tuple[Equation, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: dict[int, Any]
    literals: frozenset[int]
    avals: tuple[Any, ...]
    calls: tuple[range, ...] = ()

    def is_inexact(self, value: int) -> bool:
        """Returns whether a value holds real or complex floating-point numbers: no others can carry relevance."""
        return jnp.issubdtype(self.avals[value].dtype, jnp.inexact)

    def is_complex(self, value: int) -> bool:
        """Returns whether a value holds complex numbers, for which no rule is known."""
        return jnp.issubdtype(self.avals[value].dtype, jnp.complexfloating)
