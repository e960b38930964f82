"""The two sides of a network of one output z: the network of two outputs -z and z, through which relevance is passed.

Relevance is what speaks for an output, and what speaks against z speaks for -z. A rule that looks at the sign of each
contribution, as z+ does, has to see them: so -z is computed by layers with weights -w and -b, beside those of z.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int, PyTree

from xrcam_jax.classes import class_logits, softmax_logits
from xrcam_jax.lrp import seeds
from xrcam_jax.lrp.assignments import Composite, Site
from xrcam_jax.lrp.equations import Equation, Program
from xrcam_jax.lrp.grouping import keep_operations
from xrcam_jax.lrp.primitives import PRODUCTS, STRUCTURE, SUMS
from xrcam_jax.lrp.program import Probes, flatten, run, trace
from xrcam_jax.lrp.protocol import Rule
from xrcam_jax.lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus
from xrcam_jax.runtime import jaxprs

Seed = Callable[[Array, Array], Array]

#: These operations give -z for the negatives of all numbers that they are given.
_ODD = (STRUCTURE | SUMS | {"add", "add_any", "sub", "tanh", "erf", "asinh", "atan", "cbrt"}) - {"sort", "top_k"}
#: These rules share relevance among what speaks for an output, so that it has to be positive ...
_BY_SUPPORT = (AlphaBeta, ZPlus, Flat, WSquare, ZBox)
#: ... and these divide it by the output, so that it has to have the output's sign.
_BY_QUOTIENT = (Epsilon, Gamma)


def two_sided(f: Callable[..., Array]) -> Callable[..., Array]:
    """Turns a network of one output z into the network of the two outputs (-z, z), its classes 0 and 1.

    Both are computed from the same layers, and the last one is there twice, with weights w and -w. So relevance of -z
    goes to what speaks against z.

    Args:
      f: a function of (x, *args), pytrees of arrays, that returns logits (b, 1).

    Returns:
      A function of the same arguments that returns logits (b, 2). It raises ValueError if ``f`` returns anything else.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> x, w = jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [-4.0]])
      >>> explained = xr.lrp(xr.two_sided(lambda x: x @ w), xr.composites.relevance_cam())
      >>> logits, pullback = jax.vjp(explained, x)
      >>> logits.tolist()
      [[5.0, -5.0]]
      >>> [pullback(jnp.array([seed]))[0].tolist() for seed in ([1.0, 0.0], [0.0, 1.0])]
      [[[0.0, 1.0]], [[1.0, 0.0]]]
    """

    def sides(x: PyTree, *args: PyTree) -> Array:
        closed, _ = trace(f, x, *args)
        program = flatten(closed, lambda eqn: eqn.primitive.name.startswith("custom_") or keep_operations(eqn))
        values = jax.tree.leaves((x, *args))
        explained = [i < len(jax.tree.leaves(x)) for i in range(len(values))]
        marks = frozenset(e.mark for e in program.equations if e.mark is not None)
        return run(with_sides(program, explained, marks), {}, values, Probes())[0][0]

    return sides


def with_sides(program: Program, explained: Sequence[bool], marks: frozenset[str], *, again: bool = True) -> Program:
    """Returns the program with the outputs (-z, z) in the place of its output z.

    What computes -z from the last layers' inputs is put at the end: the layers with the negatives of their weights, and
    what only adds up or moves their outputs. A value at a mark that is looked at, or of a function that is not odd, is
    computed once and negated.

    Args:
      program: a model of one output.
      explained: for each of its inputs, whether it is explained.
      marks: those that are looked at.
      again: whether the last layers are there twice. For derivatives it is enough that z is negated.

    Raises:
      ValueError: its output is not of shape (b, 1).
      NotImplementedError: the last layer is inside remat, scan or cond, and is to be there twice.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> from xrcam_jax.lrp.sides import with_sides
      >>> program = flatten(trace(lambda x, w: jnp.tanh(x) @ w, jnp.ones((1, 3)), jnp.ones((3, 1)))[0])
      >>> [equation.primitive for equation in with_sides(program, [True, False], frozenset()).equations]
      ['tanh', 'dot_general', 'neg', 'dot_general', 'concatenate']
    """
    shapes = [program.avals[v].shape for v in program.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] != 1:
        found = ", ".join(map(str, shapes))
        raise ValueError(f"a network of two sides has one output z of shape (b, 1), got {found}")
    (z,) = program.outputs
    sides = _Sides(program, explained, marks)
    other = sides.negative(z) if again else sides.new(lax.neg, z)
    both = sides.new(lambda a, b: lax.concatenate([a, b], 1), other, z)
    equations, avals = (*program.equations, *sides.equations), tuple(sides.avals)
    return replace(program, equations=equations, outputs=(both,), avals=avals)


class _Sides:
    """Collects the equations that compute the negatives of a program's values."""

    def __init__(self, program: Program, explained: Sequence[bool], marks: frozenset[str]):
        self.equations, self.avals, self.marks = list[Equation](), list(program.avals), marks
        self.producer = {v: e for e in program.equations for v in e.outputs}
        self.found: dict[int, int] = {}
        self.depends = {v for v, e in zip(program.inputs, explained, strict=True) if e}
        for equation in program.equations:
            if self.depends.intersection(equation.inputs):
                self.depends.update(equation.outputs)

    def negative(self, value: int) -> int:
        """Returns the number of a value's negative, which is computed by the same operations where they are odd."""
        if value not in self.found:
            equation = self.producer.get(value)
            turned = () if equation is None else self.turned(equation)
            if equation is None or not turned:
                self.found[value] = self.new(lax.neg, value)
            elif equation.mark is not None:
                self.found[value] = self.negative(*turned)
            else:
                self.found |= dict(zip(equation.outputs, self.again(equation, turned), strict=True))
        return self.found[value]

    def turned(self, equation: Equation) -> tuple[int, ...]:
        """Returns which operands have to be negative for the result to be: none if that is no matter of operands."""
        name, operands = equation.primitive, equation.inputs
        if equation.mark in self.marks:
            return ()
        if equation.eqn.primitive.name in (jaxprs.REMAT, jaxprs.SCAN, jaxprs.COND):
            raise NotImplementedError(
                f"relevance of a network of one output, for class 0 as for class 1, needs its last layer outside of "
                f"remat, scan and cond; it is inside {name!r} at {equation.source}"
            )
        signals = tuple(v for v in operands if v in self.depends)
        if name in _ODD:
            return tuple(v for v in operands if jnp.issubdtype(self.avals[v].dtype, jnp.inexact))
        if name in PRODUCTS and len(signals) == 1:
            return tuple(v for v in operands if v not in signals)
        scales = name == "mul" or (name == "div" and signals == operands[:1])
        return signals if scales and len(signals) == 1 else ()

    def again(self, equation: Equation, turned: Sequence[int]) -> tuple[int, ...]:
        """Appends an equation once more, with the negatives of some of its operands; returns its outputs."""
        inputs = tuple(self.negative(v) if v in turned else v for v in equation.inputs)
        return self.append(replace(equation, inputs=inputs))

    def append(self, equation: Equation) -> tuple[int, ...]:
        """Appends an equation, whose outputs get numbers of their own; returns them."""
        outputs = tuple(range(len(self.avals), len(self.avals) + len(equation.eqn.outvars)))
        self.avals += [var.aval for var in equation.eqn.outvars]
        self.equations.append(replace(equation, outputs=outputs))
        return outputs

    def new(self, function: Callable[..., Array], *values: int) -> int:
        """Appends a function of one equation; returns its output."""
        (equation,) = flatten(trace(function, *(self.avals[v] for v in values))[0]).equations
        (output,) = self.append(replace(equation, inputs=values))
        return output


def last_rule(composite: Composite) -> Rule | None:
    """Returns the rule that a composite has for a dense layer at the end of a model.

    Args:
      composite: the rules.

    Example:
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.sides import last_rule
      >>> last_rule(xr.composites.epsilon_plus(eps=0.5))
      Epsilon(eps=0.5, bias=True)
    """
    return composite.rule(Site("dense", "dot_general", "", "output", first=False, last=True, source=""))


def seed_of_sides(
    seed: Seed, composite: Composite, logits: Float[Array, "b 1"], targets: Int[Array, " b"]
) -> Float[Array, "b 2"]:
    """Returns the relevance of the two sides of a network of one output, of which the target is one.

    A seed such as L_t is negative where the target is not the predicted class. Rules that share by what speaks for an
    output, as z+ does, would then show all that as speaking against it; so here the target gets the seed's size. Rules
    that divide by the output, as ε does, see to the sign themselves if the seed has that of the output.

    Args:
      seed: (logits of the two classes, targets) -> their relevance.
      composite: the rules that it is for, of which that of the last layer counts.
      logits: what the network returns.
      targets: the class to explain in each example, 0 or 1.

    Returns:
      The relevance of the outputs of :func:`two_sided`.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.sides import seed_of_sides
      >>> z, against = jnp.array([[3.0]]), jnp.array([0])
      >>> for rules in (xr.composites.relevance_cam(), xr.composites.epsilon_plus()):
      ...     seed_of_sides(xr.seeds.one_hot, rules, z, against)[:, 0].tolist()
      [3.0]
      [-3.0]
    """
    rule = last_rule(composite)
    # The softmax of the halves has the probabilities of the two classes.
    sides = class_logits(logits)
    given = seed(softmax_logits(logits) if seed is seeds.sglrp else sides, targets)
    if not isinstance(rule, (*_BY_SUPPORT, *_BY_QUOTIENT)):
        return given
    given = given * _sign(jnp.take_along_axis(given, targets[:, None], axis=1))
    return given * _sign(sides) if isinstance(rule, _BY_QUOTIENT) else given


def _sign(a: Float[Array, "b n"]) -> Float[Array, "b n"]:
    return jnp.where(a < 0, -1, 1).astype(a.dtype)
