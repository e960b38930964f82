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
        above = any(comes_from_softmax(operations, v) for v in operation.x)
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


def comes_from_softmax(operations: Grouper, value: int) -> bool:
    """Returns whether a value is made by a softmax, but for what moves, scales and shifts it and mixes its heads.

    Args:
      operations: the grouper of the program.
      value: the number of the value.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact, infer
      >>> from xrcam_jax.lrp.grouping import Grouper
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> from xrcam_jax.lrp.roles import comes_from_softmax
      >>> program = flatten(trace(lambda x: 2 * jax.nn.softmax(x), jnp.ones(3))[0])
      >>> operations = Grouper(program, infer(program, [Fact(explained=True, depends=True)], frozenset()))
      >>> comes_from_softmax(operations, program.outputs[0]), comes_from_softmax(operations, program.inputs[0])
      (True, False)
    """
    while value in operations.producer:
        position = operations.producer[value]
        equation = operations.program.equations[position]
        if operations.softmax(position) is not None:
            return True
        passed = equation.primitive in STRUCTURE | {"mul", "div"} or operations.kind(position) == "shift"
        if not passed and not contracts_nothing(equation) and not _mixes_heads(operations, position):
            return False
        value = max(equation.inputs, key=lambda v: operations.facts[v].explained)
    return False


def _mixes_heads(operations: Grouper, position: int) -> bool:
    """Returns whether a layer makes of several heads as many, as talking heads do (Shazeer et al., 2020)."""
    equation = operations.program.equations[position]
    if equation.primitive != "dot_general" or operations.kind(position) != "dense":
        return False
    explained = [operations.facts[v].explained for v in equation.inputs].index(True)
    heads, weights = (operations.program.avals[equation.inputs[i]].shape for i in (explained, 1 - explained))
    axis, *more = equation.eqn.params["dimension_numbers"][0][explained]
    return len(heads) > 2 and not more and weights == (heads[axis], heads[axis])


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
            if equation.primitive in _ON_THE_WAY or contracts_nothing(equation) or _mixes_heads(operations, position):
                pending.extend(equation.outputs)
    return False
