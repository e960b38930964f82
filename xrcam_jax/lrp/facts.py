"""Static facts: what is known of each value of a program before it runs, carried through the jaxpr."""

from dataclasses import dataclass, replace

import numpy as np

from xrcam_jax.lrp.primitives import AFFINE, ELEMENTWISE, MAXIMA, NONLINEAR, NONNEGATIVE, PRODUCTS, STRUCTURE, SUMS
from xrcam_jax.lrp.program import Equation, Program
from xrcam_jax.runtime import jaxprs

#: These say how surely a value is a gate, which is a factor that says how much of a signal passes.
NO_GATE, ACTIVATED, CLIPPED, SQUASHED, GATE = range(5)
_GATES = {"clamp": CLIPPED, "tanh": SQUASHED, "erf": SQUASHED, "logistic": GATE}


@dataclass(frozen=True)
class Fact:
    """A fact is what is known of one value.

    Attributes:
      depends: whether it depends on the explained input in any way, if only as a truth value.
      explained: whether it depends on the explained input and can carry relevance.
      nonnegative: whether it is known to be >= 0 wherever it is read.
      gate: how surely it is a gate, ``NO_GATE`` to ``GATE``.
      depth: how many convolutions and dense layers lie between the explained input and it.
      seen: whether it depends on a chosen mark, or on the input if that is what is explained.
    """

    depends: bool = False
    explained: bool = False
    nonnegative: bool = False
    gate: int = NO_GATE
    depth: int = 0
    seen: bool = False


def is_elementwise(program: Program) -> bool:
    """Returns whether every equation of a program works element by element, as the body of ``jax.nn.relu`` does.

    Args:
      program: any program.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import is_elementwise
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> [is_elementwise(flatten(trace(f, jnp.ones(3))[0])) for f in (jnp.tanh, jnp.sum)]
      [True, False]
    """
    return all(e.primitive in ELEMENTWISE for e in program.equations)


def contracts_nothing(equation: Equation) -> bool:
    """Returns whether an equation is a product of matrices that adds nothing up, as ``einsum("hqk,h->hqk", x, w)`` is.

    Args:
      equation: any equation.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import contracts_nothing
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> x = jnp.ones((2, 2))
      >>> products = (lambda x: x @ x, lambda x: jnp.einsum("ij,ij->ij", x, x))
      >>> [contracts_nothing(flatten(trace(f, x)[0]).equations[0]) for f in products]
      [False, True]
    """
    return equation.primitive == "dot_general" and not equation.eqn.params["dimension_numbers"][0][0]


def infer(program: Program, inputs: list[Fact], marks: frozenset[str]) -> list[Fact]:
    """Infers the facts of every value of a program.

    Args:
      program: any program.
      inputs: the facts of its inputs.
      marks: the chosen marks, from which on values are seen.

    Returns:
      The facts, by the number of the value.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact, infer
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> program = flatten(trace(lambda x: jnp.abs(x).sum(), jnp.ones(3))[0])
      >>> facts = infer(program, [Fact(explained=True)], frozenset())
      >>> facts[program.inputs[0]].nonnegative, facts[program.outputs[0]].nonnegative
      (False, True)
    """
    facts = [Fact() for _ in program.avals]
    for number, array in program.constants.items():
        # Only literals are looked at, because other constants can be tracers, or large.
        if number in program.literals:
            facts[number] = Fact(nonnegative=bool(np.all(np.asarray(array) >= 0)))
    for number, fact in zip(program.inputs, inputs, strict=True):
        facts[number] = fact
    for equation in program.equations:
        operands = [facts[i] for i in equation.inputs]
        for number, fact in zip(equation.outputs, infer_equation(equation, operands, marks), strict=True):
            facts[number] = fact if program.is_inexact(number) else replace(fact, explained=False, seen=False)
    return facts


def infer_equation(equation: Equation, operands: list[Fact], marks: frozenset[str]) -> list[Fact]:
    """Infers the facts of the outputs of one equation.

    Args:
      equation: any equation.
      operands: the facts of its inputs.
      marks: the chosen marks.

    Returns:
      One fact for each output.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import GATE, Fact, infer_equation
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> (equation,) = flatten(trace(jnp.exp, jnp.ones(3))[0]).equations
      >>> infer_equation(equation, [Fact(explained=True)], frozenset())[0].gate == GATE
      True
    """
    if equation.bodies:
        return _through_bodies(equation, operands, marks)
    name = equation.primitive
    carried = [o for o in operands if o.explained] if name != "stop_gradient" else []
    depends = any(o.depends for o in operands)
    # What follows from integers, as an embedding does from token ids, is explained from a chosen mark on.
    chosen = equation.mark in marks and depends
    fact = Fact(
        depends=depends,
        explained=bool(carried) or chosen,
        nonnegative=_is_nonnegative(equation, operands),
        gate=_gate(equation, carried, operands),
        depth=max((o.depth for o in carried), default=0) + (name in PRODUCTS),
        seen=any(o.seen for o in carried) or chosen,
    )
    return [fact] * len(equation.outputs)


def _is_nonnegative(equation: Equation, operands: list[Fact]) -> bool:
    name, each = equation.primitive, [o.nonnegative for o in operands]
    if name in NONNEGATIVE:
        return True
    if name == "integer_pow":
        return equation.eqn.params["y"] % 2 == 0 or all(each)
    if name == "mul" and equation.inputs[0] == equation.inputs[1]:
        return True
    if name == "max":
        return any(each)
    if name == "clamp":
        return each[0]
    if name in ("select_n", "dynamic_slice", "gather"):
        return all(each[1:]) if name == "select_n" else each[0]
    if name == "dynamic_update_slice":
        return all(each[:2])
    if name in ("scatter", "scatter-add"):
        return each[0] and each[2]
    elementwise = ("add", "add_any", "mul", "div", "min", "erf", "expm1", "tanh", "log1p", "cbrt", "stop_gradient")
    return (name in elementwise or name in STRUCTURE or name in SUMS or name in MAXIMA) and all(each)


def _gate(equation: Equation, carried: list[Fact], operands: list[Fact]) -> int:
    if not carried:
        return NO_GATE
    name = "mul" if contracts_nothing(equation) else equation.primitive
    if name in _GATES:
        return max(_GATES[name], *(o.gate for o in carried))
    if name in NONLINEAR or (name == "div" and not operands[0].explained):
        return GATE
    if name == "min" and any(o.nonnegative for o in carried):
        return CLIPPED  # 0 <= x <= c
    if name == "max" and len(carried) == 1:
        return max(ACTIVATED, carried[0].gate)
    if name == "mul" and len(carried) == 2:
        # A gated signal is a signal, but beside one that is not gated it is the gate, as in SwiGLU.
        return max(ACTIVATED, min(o.gate for o in carried)) if _is_gated(carried) else NO_GATE
    if name in STRUCTURE or name in AFFINE or name in SUMS:
        return min(o.gate for o in carried)
    return NO_GATE


def _is_gated(factors: list[Fact]) -> bool:
    return factors[0].gate != factors[1].gate or factors[0].gate > ACTIVATED


def _through_bodies(equation: Equation, operands: list[Fact], marks: frozenset[str]) -> list[Fact]:
    """Returns the facts that hold whatever a body does: the weakest over the branches, and over the turns of a loop."""
    return [_weakest(list(each)) for each in zip(*(o for _, o in body_facts(equation, operands, marks)), strict=True)]


def body_inputs(equation: Equation, operands: list[Fact], marks: frozenset[str]) -> list[Fact]:
    """Infers the facts of the inputs of the bodies of an equation.

    Args:
      equation: a loop, a branch, remat, or a function with a derivative of its own.
      operands: the facts of its inputs.
      marks: the chosen marks.

    Returns:
      One fact for each input of a body; for what a loop carries, it holds at every turn.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact, body_inputs
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> (loop,) = flatten(trace(lambda x: jax.lax.fori_loop(0, 3, lambda _, c: c - 1, x), 1.0)[0]).equations
      >>> operands = [Fact(nonnegative=True) for _ in loop.inputs]
      >>> [fact.nonnegative for fact in body_inputs(loop, operands, frozenset())]
      [True, False]
    """
    if equation.eqn.primitive.name == jaxprs.COND:
        return operands[1:]
    if equation.eqn.primitive.name != jaxprs.SCAN:
        return operands
    scan, body, facts = jaxprs.scan(equation.eqn), equation.bodies[0], list(operands)
    carried = slice(scan.consts, scan.consts + scan.carries)
    while True:
        outputs = _outputs(body, infer(body, facts, marks))[: scan.carries]
        before = facts[carried]
        after = [_weakest([b, o]) for b, o in zip(before, outputs, strict=True)]
        # The depth would grow for ever. One turn tells all that is asked of it.
        after = [replace(a, depth=b.depth) for a, b in zip(after, before, strict=True)]
        if after == before:
            return facts
        facts[carried] = after


def body_facts(equation: Equation, operands: list[Fact], marks: frozenset[str]) -> list[tuple[list[Fact], list[Fact]]]:
    """Infers the facts of the inputs and of the outputs of every body of an equation.

    Args:
      equation: a loop, a branch, remat, or a function with a derivative of its own.
      operands: the facts of its inputs.
      marks: the chosen marks.

    Returns:
      For each body the facts of its inputs and those of its outputs.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact, body_facts
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> (remat,) = flatten(trace(jax.checkpoint(jnp.abs), jnp.ones(3))[0]).equations
      >>> [(inputs, outputs)] = body_facts(remat, [Fact(explained=True)], frozenset())
      >>> inputs[0].nonnegative, outputs[0].nonnegative
      (False, True)
    """
    inputs = body_inputs(equation, operands, marks)
    return [(inputs, _outputs(body, infer(body, inputs, marks))) for body in equation.bodies]


def _outputs(program: Program, facts: list[Fact]) -> list[Fact]:
    return [facts[i] for i in program.outputs]


def _weakest(facts: list[Fact]) -> Fact:
    return Fact(
        depends=any(f.depends for f in facts),
        explained=any(f.explained for f in facts),
        nonnegative=all(f.nonnegative for f in facts),
        gate=min(f.gate for f in facts),
        depth=max(f.depth for f in facts),
        seen=any(f.seen for f in facts),
    )
