"""The two sides of a network of one output z: the network of two outputs -z and z, through which relevance is passed.

Relevance is what speaks for an output, and what speaks against z speaks for -z. A rule that looks at the sign of each
contribution, as z+ does, has to see them: so -z is computed by layers with weights -w and -b, beside those of z.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int, PyTree

from xrcam_jax.classes import class_logits, softmax_logits
from xrcam_jax.lrp import seeds
from xrcam_jax.lrp.assignments import Assign, Composite, Site
from xrcam_jax.lrp.equations import Equation, Program
from xrcam_jax.lrp.grouping import keep_operations
from xrcam_jax.lrp.primitives import PRODUCTS, STRUCTURE, SUMS
from xrcam_jax.lrp.program import Probes, flatten, run, trace
from xrcam_jax.lrp.protocol import WEIGHTED_KINDS, Bilinear, Rule, fits, keeps_derivative
from xrcam_jax.lrp.rules import BySize
from xrcam_jax.runtime import jaxprs

Seed = Callable[[Array, Array], Array]

#: These operations give -z for the negatives of all numbers that they are given.
_ODD = (STRUCTURE | SUMS | {"add", "add_any", "sub", "tanh", "erf", "asinh", "atan", "cbrt"}) - {"sort", "top_k"}


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
    other, one = (sides.negative(z), sides.without_minus(z)) if again else (sides.new(lax.neg, z), z)
    both = sides.new(lambda a, b: lax.concatenate([a, b], 1), other, one)
    equations, avals = (*program.equations, *sides.equations), tuple(sides.avals)
    return replace(program, equations=equations, outputs=(both,), avals=avals)


class _Sides:
    """Collects the equations that compute the negatives of a program's values."""

    def __init__(self, program: Program, explained: Sequence[bool], marks: frozenset[str]):
        self.equations, self.avals, self.marks = list[Equation](), list(program.avals), marks
        self.literals = {v: program.constants[v] for v in program.literals}
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
            minus = self.behind_minus(equation)
            if equation is not None and minus is not None:
                self.found[value] = self.less(equation, self.without_minus(minus))
            elif equation is None or not turned:
                self.found[value] = self.new(lax.neg, value)
            elif equation.mark is not None:
                self.found[value] = self.negative(*turned)
            else:
                self.found |= dict(zip(equation.outputs, self.again(equation, turned), strict=True))
        return self.found[value]

    def without_minus(self, value: int) -> int:
        """Returns the number of a value that is computed without a minus in front, which the layers below take over.

        Rules hand relevance on through a minus as through a factor, whatever its sign: what speaks for y would be shown
        as speaking for -y.
        """
        equation = self.producer.get(value)
        signals = [] if equation is None else [v for v in equation.inputs if v in self.depends]
        if equation is None or equation.mark is not None or len(signals) != 1:
            return value
        minus = self.behind_minus(equation)
        if minus is not None and equation.primitive == "sub":
            return self.new(lax.add, equation.inputs[0], self.negative(minus))
        if minus is not None:
            return self.less(equation, self.negative(minus))
        linear = equation.primitive in STRUCTURE | SUMS or self.scales(equation)
        inner = self.without_minus(*signals) if linear else signals[0]
        inputs = tuple(inner if v in signals else v for v in equation.inputs)
        return value if inner in signals else self.append(replace(equation, inputs=inputs))[0]

    def behind_minus(self, equation: Equation | None) -> int | None:
        """Returns the operand y of an equation -y, c - y, or c y or y / c with a negative constant c."""
        if equation is None or equation.mark is not None:
            return None
        signals, others = ([v for v in equation.inputs if (v in self.depends) == e] for e in (True, False))
        is_minus = equation.primitive == "neg" or (equation.primitive == "sub" and signals == [equation.inputs[1]])
        is_minus = is_minus or (self.scales(equation) and self.is_negative(*others))
        return signals[0] if is_minus and len(signals) == 1 else None

    def scales(self, equation: Equation) -> bool:
        """Says whether an equation multiplies or divides a value by a constant."""
        signals = [v for v in equation.inputs if v in self.depends]
        whole = equation.primitive == "mul" or (equation.primitive == "div" and signals == [equation.inputs[0]])
        return whole and len(signals) == 1

    def less(self, equation: Equation, value: int) -> int:
        """Returns such an equation of another value y without its minus: y, y - c, or |c| y."""
        if equation.primitive == "neg":
            return value
        if equation.primitive == "sub":
            return self.new(lax.sub, value, equation.inputs[0])
        signals = self.depends.intersection(equation.inputs)
        inputs = tuple(value if v in signals else self.new(lax.neg, v) for v in equation.inputs)
        return self.append(replace(equation, inputs=inputs))[0]

    def is_negative(self, value: int) -> bool:
        """Says whether a value is a literal below zero; other constants can be tracers, or large."""
        return value in self.literals and bool(np.all(np.asarray(self.literals[value]) < 0))

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
        return signals if self.scales(equation) else ()

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


def rule_of_last_layer(composite: Composite, sites: Sequence[Site]) -> Rule | None:
    """Returns the rule of the last layer that has weights.

    Args:
      composite: the rules.
      sites: the operations under a rule, from the output down.

    Returns:
      The rule; that of a dense layer at the end if there is no layer among ``sites``.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.plan import make_plan
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> from xrcam_jax.lrp.sides import rule_of_last_layer
      >>> program = flatten(trace(lambda x, w: 3 * (x @ w).sum(1), jnp.ones((1, 3)), jnp.ones((3, 2)))[0])
      >>> rules = xr.composites.epsilon_plus(eps=0.5)
      >>> rule_of_last_layer(rules, make_plan(program, rules, [True, False], None)[1])
      Epsilon(eps=0.5, bias=True)
    """
    last = next((site for site in sites if site.kind in WEIGHTED_KINDS), None)
    return last_rule(composite) if last is None else composite.rule(last)


def for_value(composite: Composite, sites: Sequence[Site]) -> Composite:
    """Returns the rules for a number that a target function makes of a model's outputs.

    If the last layer's rule shares among what speaks for an output, the sums behind it share by size, with the sign
    with which a term counts: an output that counts gets relevance of that sign, whether it is itself negative or not.

    Args:
      composite: the rules.
      sites: the operations under a rule, from the output down.

    Example:
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.sides import for_value
      >>> for_value(xr.composites.relevance_cam(), []).assignments[0].rule
      BySize(eps=1e-12)
      >>> for_value(xr.composites.cp_lrp(), []) == xr.composites.cp_lrp()
      True
    """
    if divides_by_output(rule_of_last_layer(composite, sites)) is not False:
        return composite
    behind = Assign(BySize(), kinds=("add", "sum", "scale"), last=True)
    return replace(composite, assignments=(behind, *composite.assignments))


def seed_of_sides(
    seed: Seed,
    composite: Composite,
    logits: Float[Array, "b 1"],
    targets: Int[Array, " b"],
    rule: Rule | None = None,
) -> Float[Array, "b 2"]:
    """Returns the relevance of the two sides of a network of one output, of which the target is one.

    A seed such as L_t is negative where the target is not the predicted class. Rules that share by what speaks for an
    output, as z+ does, would then show all that as speaking against it; so here the target gets the seed's size. Rules
    that divide by the output, as ε does, see to the sign themselves if the seed has that of the output.

    Args:
      seed: (logits of the two classes, targets) -> their relevance.
      composite: the rules that it is for.
      logits: what the network returns.
      targets: the class to explain in each example, 0 or 1.
      rule: that of the last layer; by default what the composite has for a dense one.

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
    divides = divides_by_output(last_rule(composite) if rule is None else rule)
    # The softmax of the halves has the probabilities of the two classes.
    sides = class_logits(logits)
    given = seed(softmax_logits(logits) if seed is seeds.sglrp else sides, targets)
    if divides is None:
        return given
    given = given * _sign(jnp.take_along_axis(given, targets[:, None], axis=1))
    return given * _sign(sides) if divides else given


def divides_by_output(rule: Any) -> bool | None:
    """Tries whether a rule divides relevance by the output, so that the shares change their signs with it.

    Args:
      rule: any rule, also one of a user's own, of which nothing else is known; or None.

    Returns:
      True for rules as ε and γ, False for those as z+ that share among what speaks for an output, and None for those
      that take the derivative, or are not for layers.

    Example:
      >>> from xrcam_jax.lrp.rules import Epsilon, Gradient, ZPlus
      >>> from xrcam_jax.lrp.sides import divides_by_output
      >>> divides_by_output(Epsilon()), divides_by_output(ZPlus()), divides_by_output(Gradient())
      (True, False, None)
    """
    if rule is None or keeps_derivative(rule, "dense") or not fits(rule, "dense"):
        return None
    return _tried(rule)


@lru_cache(maxsize=256)
def _tried(rule: Any) -> bool | None:
    # Of the inputs 1 and 1 the first speaks for the output -2, the other against it.
    with jax.ensure_compile_time_eval():
        x, w = jnp.ones((1, 2), jnp.float32), jnp.array([[1], [-3]], jnp.float32)
        operation = Bilinear(lambda inputs, w: inputs[0] @ w, (x,), w)
        try:
            (shares,), _ = jax.jit(lambda r: rule.relevance(operation, r))(jnp.ones((1, 1), jnp.float32))
            return bool(shares[0, 0] < 0)
        except Exception:
            # It may be for convolutions alone, or for other numbers: then the seed is left as it is.
            return None


def _sign(a: Float[Array, "b n"]) -> Float[Array, "b n"]:
    return jnp.where(a < 0, -1, 1).astype(a.dtype)
