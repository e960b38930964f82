"""Computes on any device what TF32 does to a program.

A GPU's tensor cores take float32 operands with 10 of their 23 bits of mantissa and add the products up in float32
(NVIDIA A100 architecture, 2020). So a program whose convolutions and matrix products round their operands has TF32's
errors but for the order of sums, wherever it runs.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array, lax

from xrcam_jax.lrp.program import Equation, Probes, Program, Step, flatten, run, trace
from xrcam_jax.runtime import jaxprs

MANTISSA_BITS = 10
_EXPONENT_BITS = 8
_PRODUCTS = ("conv_general_dilated", "dot_general")


def with_rounded_operands(f: Callable[..., Any], mantissa_bits: int = MANTISSA_BITS) -> Callable[..., Any]:
    """Returns ``f`` as a GPU would run it with TF32; products that ask for the highest precision stay as they are.

    Where ``f`` has formulations by platform, the one for all other platforms is taken.

    Args:
      f: a function of arrays and trees of them.
      mantissa_bits: how many bits operands keep, rounded to the nearest; ties go to the even one.

    Raises:
      NotImplementedError: when called, if products are inside remat, scan or a branch that values choose, or if there
        is a while loop, whatever it holds.
    """

    def rounded(*args: Any) -> Any:
        closed, structure = trace(f, *args)
        program = flatten(closed)
        outputs, _ = run(program, _steps(program, mantissa_bits), jax.tree.leaves(args), Probes())
        return jax.tree.unflatten(structure, outputs)

    return rounded


def _steps(program: Program, mantissa_bits: int) -> dict[int, Step | None]:
    steps: dict[int, Step | None] = {}
    for position, equation in enumerate(program.equations):
        if equation.primitive in _PRODUCTS:
            if equation.eqn.params["precision"] != (lax.Precision.HIGHEST, lax.Precision.HIGHEST):
                steps[position] = _rounded_product(equation, mantissa_bits)
        elif (default := jaxprs.default_branch(equation.eqn)) is not None:
            steps[position] = _default_branch(equation, default, mantissa_bits)
        elif equation.primitive == "while" or any(map(_has_products, equation.bodies)):
            raise NotImplementedError(f"what is inside {equation.primitive} is not rounded: {equation.source}")
    return steps


def _has_products(program: Program) -> bool:
    return any(e.primitive in _PRODUCTS or any(map(_has_products, e.bodies)) for e in program.equations)


def _rounded_product(equation: Equation, mantissa_bits: int) -> Step:
    def product(values: Any, taps: Any) -> tuple[tuple[Array, ...], dict]:
        return equation.bind(*(lax.reduce_precision(a, _EXPONENT_BITS, mantissa_bits) for a in values)), {}

    return Step(equation.inputs, product)


def _default_branch(equation: Equation, default: int, mantissa_bits: int) -> Step:
    body = equation.bodies[default]

    def branch(values: Any, taps: Any) -> tuple[list[Any], dict]:
        return run(body, _steps(body, mantissa_bits), values[1:], taps)

    return Step(equation.inputs, branch)
