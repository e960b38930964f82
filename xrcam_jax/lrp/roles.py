"""Roles: what a product is for in the network, told by what lies before and behind it."""

from typing import Any

from xrcam_jax.lrp.facts import contracts_nothing
from xrcam_jax.lrp.grouping import Grouper
from xrcam_jax.lrp.operations import Operation
from xrcam_jax.lrp.primitives import STRUCTURE
from xrcam_jax.lrp.program import Equation
from xrcam_jax.lrp.protocol import Role

#: Scores are scaled, capped, masked and moved on their way from queries and keys to the softmax.
_ON_THE_WAY = STRUCTURE | {"add", "sub", "mul", "div", "exp", "tanh", "stop_gradient"}


def role_of(operations: Grouper, operation: Operation) -> Role | None:
    """Returns what an operation is for.

    Args:
      operations: the grouper that found it.
      operation: the operation.

    Returns:
      The role, or None if it has none that is known.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact, infer
      >>> from xrcam_jax.lrp.grouping import Grouper
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> from xrcam_jax.lrp.roles import role_of
      >>> program = flatten(trace(lambda x: jax.nn.softmax(x @ x.T) @ x, jnp.ones((3, 2)))[0])
      >>> operations = Grouper(program, infer(program, [Fact(explained=True, depends=True)], frozenset()))
      >>> products = [p for p, e in enumerate(program.equations) if e.primitive == "dot_general"]
      >>> [role_of(operations, operations.alone(p)) for p in products]
      ['attention', 'attention']
    """
    if operation.kind == "matmul":
        above = any(operations.comes_from_softmax(v) for v in operation.x)
        return "attention" if above or _reaches_softmax(operations, operation.equations[-1].outputs[0]) else None
    if operation.kind == "convolution":
        return "patch_embedding" if _is_first(operations, operation) and _sees_patches(operation.equations[0]) else None
    if operation.kind == "dense":
        return "patch_embedding" if _is_first(operations, operation) and _reads_moved(operations, operation) else None
    return None


def _is_first(operations: Grouper, operation: Operation) -> bool:
    return max(operations.facts[v].depth for v in operation.x) == 0


def _sees_patches(convolution: Equation) -> bool:
    """Returns whether the windows of a convolution touch and do not overlap."""
    params = convolution.eqn.params
    if convolution.primitive != "conv_general_dilated":
        return False
    kernel: Any = convolution.eqn.invars[1].aval
    sizes = tuple(kernel.shape[axis] for axis in params["dimension_numbers"].rhs_spec[2:])
    plain = all(d == 1 for d in (*params["lhs_dilation"], *params["rhs_dilation"]))
    return plain and max(sizes) > 1 and tuple(params["window_strides"]) == sizes


def _reads_moved(operations: Grouper, operation: Operation) -> bool:
    """Returns whether the axes of a picture were split and moved before it or by it, as patches are cut."""
    value, product = operation.x[0], operation.equations[0]
    contracted = product.eqn.params["dimension_numbers"][0][product.inputs.index(value)]
    # A product over axes that do not lie side by side moves them itself.
    moved = max(contracted) - min(contracted) >= len(contracted)
    while value in operations.producer:
        position = operations.producer[value]
        equation = operations.program.equations[position]
        if equation.primitive not in STRUCTURE and operations.kind(position) not in ("scale", "shift"):
            return False
        moved = moved or equation.primitive == "transpose"
        value = max(equation.inputs, key=lambda v: operations.facts[v].explained)
    return moved and len(operations.program.avals[value].shape) >= 3


def _reaches_softmax(operations: Grouper, value: int) -> bool:
    pending, seen = [value], set[int]()
    while pending:
        for position in operations.readers.get(pending.pop(), ()):
            if position in seen or position == len(operations.program.equations):
                continue
            seen.add(position)
            equation = operations.program.equations[position]
            if operations.softmax(position) is not None:
                return True
            if equation.primitive in _ON_THE_WAY or contracts_nothing(equation) or operations.mixes_heads(position):
                pending.extend(equation.outputs)
    return False
