"""From equations to operations: what kind each one is, which belong together, and how rules see them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn

from xrcam_jax.lrp import facts as fact
from xrcam_jax.lrp.facts import Fact
from xrcam_jax.lrp.program import Equation, Program, flatten
from xrcam_jax.lrp.protocol import Bilinear, OperationKind
from xrcam_jax.marks import PREFIX
from xrcam_jax.runtime import jaxprs


def keep_operations(eqn: JaxprEqn) -> bool:
    """Returns whether a call is one operation to a rule: one of the package's own, or an activation with a derivative.

    Args:
      eqn: an equation of a jaxpr.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.operations import keep_operations
      >>> user = jax.make_jaxpr(lambda x: jax.jit(lambda x: x.sum() * x)(x))(jnp.ones(3))
      >>> keep_operations(user.eqns[0])
      False
    """
    function = jaxprs.jitted(eqn)
    if function is not None:
        return function.startswith(PREFIX)
    return eqn.primitive.name == jaxprs.CUSTOM_JVP and fact.is_elementwise(flatten(jaxprs.bodies(eqn)[0]))


def kind_of(equation: Equation, operands: Sequence[Fact]) -> OperationKind | None:
    """Returns what an equation does to the explained values among its operands.

    Args:
      equation: any equation that has some.
      operands: the facts of its inputs.

    Returns:
      The kind of operation, or None if no rule is known for what it does.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact
      >>> from xrcam_jax.lrp.operations import kind_of
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> (product,) = flatten(trace(jnp.multiply, jnp.ones(3), jnp.ones(3))[0]).equations
      >>> kind_of(product, [Fact(explained=True), Fact()]), kind_of(product, [Fact(explained=True)] * 2)
      ('scale', 'gate')
    """
    name, explained = equation.primitive, [o.explained for o in operands]
    both = sum(explained) > 1
    if name in fact.CONVOLUTIONS:
        return "convolution" if explained == [True, False] else None
    if name == "dot_general":
        if both:  # Values are weighted by a gate, as by attention.
            return None if operands[0].gate == operands[1].gate else "sum"
        return "dense"
    if name in ("add", "add_any", "sub"):
        # A constant minus x has the derivative -1, as the negative of x has.
        return "add" if both else "scale" if name == "sub" and explained[1] else "shift"
    if name == "div":
        return "nonlinear" if not explained[0] else "gate" if both else "scale"
    if name in ("mul", "neg"):
        return "gate" if both else "scale"
    if name in fact.SUMS:
        return "sum"
    if name in fact.MAXIMA or (name in ("max", "min") and both):
        return "max_pool"
    if name in fact.ACTIVATIONS or name == jaxprs.CUSTOM_JVP:
        return None if both else "activation"
    return "nonlinear" if name in fact.NONLINEAR and not both else None


def innermost(equation: Equation) -> str:
    """Returns the primitive of an equation, or the only one in the body of a function with a derivative of its own.

    Args:
      equation: any equation.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.operations import innermost, keep_operations
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> (relu,) = flatten(trace(jax.nn.relu, jnp.ones(3))[0], keep_operations).equations
      >>> innermost(relu)
      'max'
    """
    if equation.primitive == jaxprs.CUSTOM_JVP and len(equation.bodies[0].equations) == 1:
        return equation.bodies[0].equations[0].primitive
    return equation.primitive


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation is one equation, or a few that count as one, with the values that it reads.

    Attributes:
      kind: what the equations do together.
      positions: their positions in the program, ascending.
      equations: the equations. The output of the last one is that of the operation.
      x: the numbers of the explained values, in the order in which a rule sees them.
      constants: the numbers of all other values that the equations read.
      nonnegative: whether all of ``x`` is known to be >= 0.
    """

    kind: OperationKind
    positions: tuple[int, ...]
    equations: tuple[Equation, ...]
    x: tuple[int, ...]
    constants: tuple[int, ...]
    nonnegative: bool

    def forward(self, x: Sequence[Array], constants: Sequence[Any]) -> Array:
        """Returns the operation's output, exactly as the model computes it."""
        return _replay(self.equations, self._values(x, constants))

    def bilinear(self, x: Sequence[Array], constants: Sequence[Any]) -> Bilinear:
        """Returns the operation at these values as a rule sees it."""
        return _VIEWS.get(self.kind, _nonlinear)(self, self._values(x, constants))

    def _values(self, x: Sequence[Array], constants: Sequence[Any]) -> dict[int, Any]:
        return {**dict(zip(self.constants, constants, strict=True)), **dict(zip(self.x, x, strict=True))}


class Grouper:
    """A grouper finds the operations of a program: which equations count as one, and what they read."""

    def __init__(self, program: Program, facts: Sequence[Fact]):
        self.program, self.facts = program, facts
        self.producer = {v: p for p, e in enumerate(program.equations) for v in e.outputs}
        self.readers: dict[int, int] = {}
        for value in [*program.outputs, *(v for e in program.equations for v in e.inputs)]:
            self.readers[value] = self.readers.get(value, 0) + 1

    def kind(self, position: int) -> OperationKind | None:
        """Returns the kind of the equation at ``position``, taken alone."""
        equation = self.program.equations[position]
        return kind_of(equation, [self.facts[i] for i in equation.inputs])

    def alone(self, position: int) -> Operation | None:
        """Returns the equation at ``position`` as an operation, or None if no rule is known for it."""
        kind = self.kind(position)
        return None if kind is None else self._operation(kind, (position,))

    def of_several(self, position: int, *, fold: bool) -> Iterator[Operation]:
        """Yields the operations of several equations that end at ``position``."""
        found = self.softmax(position), self.layer(position, fold=fold), self.mean(position)
        yield from (several for several in found if several is not None)

    def softmax(self, position: int) -> Operation | None:
        """Returns exp(x) / sum(exp(x)), if the equation at ``position`` is that division."""
        equation = self.program.equations[position]
        if equation.primitive != "div" or self.kind(position) != "gate":
            return None
        numerator, denominator = equation.inputs
        above = self._climb(denominator, fact.STRUCTURE)
        if not above or self.program.equations[above[0]].primitive != "reduce_sum":
            return None
        exp = self.producer.get(numerator)
        summed = self.program.equations[above[0]].inputs[0]
        if exp is None or summed != numerator or self.program.equations[exp].primitive != "exp":
            return None
        if self.readers[numerator] != 2:
            return None
        # The subtraction of the maximum before exp is part of the softmax, whose input is what the model gives it.
        exponent = self.program.equations[exp].inputs[0]
        shift = self.producer.get(exponent)
        if shift is not None and self.kind(shift) == "shift" and self.readers[exponent] == 1:
            return self._operation("softmax", (shift, exp, *above, position))
        return self._operation("softmax", (exp, *above, position))

    def mean(self, position: int) -> Operation | None:
        """Returns a sum divided by a count, if the equation at ``position`` is that division."""
        equation = self.program.equations[position]
        if self.kind(position) != "scale" or equation.primitive not in ("mul", "div"):
            return None
        value, count = self._explained_first(equation)
        above = self._climb(value, fact.STRUCTURE)
        if not above or self.kind(above[0]) != "sum" or not self.facts[count].nonnegative:
            return None
        return self._operation("sum", (*above, position))

    def layer(self, position: int, *, fold: bool) -> Operation | None:
        """Returns a convolution or dense layer with what scales and shifts its output up to ``position``.

        Without ``fold``, only the addition of a bias right after it counts.
        """
        if self.kind(position) not in ("scale", "shift"):
            return None
        chain = [position]
        while True:
            equation = self.program.equations[chain[0]]
            value = self._explained_first(equation)[0]
            above = self.producer.get(value)
            if above is None or self.readers[value] > 1:
                return None
            kind = self.kind(above)
            if kind in ("convolution", "dense"):
                is_bias = len(chain) == 1 and equation.primitive == "add"
                folds = fold and self._per_feature(self.program.equations[above], chain)
                return self._operation(kind, (above, *chain)) if is_bias or folds else None
            if kind not in ("scale", "shift"):
                return None
            chain.insert(0, above)

    def _operation(self, kind: OperationKind, positions: tuple[int, ...]) -> Operation:
        equations = tuple(self.program.equations[p] for p in positions)
        made = {v for e in equations for v in e.outputs}
        read = dict.fromkeys(v for e in equations for v in e.inputs if v not in made)
        x = [v for v in read if self.facts[v].explained]
        if kind in ("gate", "sum") and len(x) == 2:
            x.sort(key=lambda v: self.facts[v].gate)
            if equations[-1].primitive == "div":
                x = list(equations[-1].inputs)
        if kind in ("add", "gate") and len(x) == 1:
            x = x * 2  # A value that is added to itself, or multiplied by itself, is read twice.
        taken = x[:1] if kind == "sum" else x
        constants = tuple(v for v in read if v not in taken)
        nonnegative = all(self.facts[v].nonnegative for v in taken)
        return Operation(kind, positions, equations, tuple(taken), constants, nonnegative)

    def _climb(self, value: int, through: frozenset[str]) -> tuple[int, ...]:
        """Returns the positions from the first equation above ``value`` that is not in ``through``; each read once."""
        path: list[int] = []
        while value in self.producer and self.readers[value] == 1:
            path.insert(0, self.producer[value])
            equation = self.program.equations[path[0]]
            if equation.primitive not in through or equation.mark is not None:
                return tuple(path)
            value = self._explained_first(equation)[0]
        return ()

    def _explained_first(self, equation: Equation) -> list[int]:
        return sorted(equation.inputs, key=lambda v: not self.facts[v].explained)

    def _per_feature(self, product: Equation, chain: Sequence[int]) -> bool:
        """Returns whether each constant in ``chain`` is one number, or has one for each feature of ``product``."""
        feature = _feature_axes(product)[1]
        for equation in (self.program.equations[p] for p in chain):
            for value in self._explained_first(equation)[1:]:
                if any(n != 1 for axis, n in enumerate(self.program.avals[value].shape) if axis != feature):
                    return False
        return True


def _replay(equations: Sequence[Equation], env: dict[int, Any]) -> Array:
    env = dict(env)
    for equation in equations:
        env.update(zip(equation.outputs, equation.bind(*(env[i] for i in equation.inputs)), strict=True))
    return env[equations[-1].outputs[0]]


def _layer(op: Operation, env: dict[int, Any]) -> Bilinear:
    product, *affine = op.equations
    weights = next(v for v in product.inputs if v not in op.x)

    def apply(inputs: tuple[Array], w: Any) -> Array:
        return _replay([product], {op.x[0]: inputs[0], weights: w})

    def after(z: Array) -> Array:
        return _replay(affine, {**env, product.outputs[0]: z})

    w, b = jnp.asarray(env[weights]), None
    if affine:
        in_axis, out_axis = _feature_axes(product)
        shape = _output(product).shape
        zero = jnp.zeros([n if axis == out_axis else 1 for axis, n in enumerate(shape)], w.dtype)
        b, scale = jax.jvp(after, (zero,), (jnp.ones_like(zero),))
        w = w * scale.reshape([-1 if axis == in_axis else 1 for axis in range(w.ndim)])
    return Bilinear(apply, (env[op.x[0]],), w, b, op.nonnegative)


def _output(equation: Equation) -> Any:
    """Returns the shape and dtype of the only output."""
    return equation.eqn.outvars[0].aval


def _feature_axes(product: Equation) -> tuple[int, int]:
    """Returns where the output features are: the axis of the weights, and the axis of the output."""
    params, out = product.eqn.params, _output(product)
    weights: Any = product.eqn.invars[1].aval
    if product.primitive == "conv_general_dilated":
        return params["dimension_numbers"].rhs_spec[0], params["dimension_numbers"].out_spec[1]
    if product.primitive == "dot_general":
        (_, contracted), (_, batched) = params["dimension_numbers"]
        return [axis for axis in range(weights.ndim) if axis not in (*contracted, *batched)][-1], out.ndim - 1
    return weights.ndim - 1, out.ndim - 1


def _add(op: Operation, env: dict[int, Any]) -> Bilinear:
    sign = -1 if op.equations[0].primitive == "sub" else 1
    one = jnp.ones((), env[op.x[0]].dtype)

    def apply(inputs: tuple[Array, Array], w: tuple[Any, Any]) -> Array:
        return inputs[0] * w[0] + inputs[1] * w[1]

    return Bilinear(apply, tuple(env[v] for v in op.x), (one, sign * one), None, op.nonnegative)


def _sum(op: Operation, env: dict[int, Any]) -> Bilinear:
    def apply(inputs: tuple[Array], w: Array) -> Array:
        return _replay(op.equations, {**env, op.x[0]: inputs[0]}) * w

    return Bilinear(apply, (env[op.x[0]],), jnp.ones((), env[op.x[0]].dtype), None, op.nonnegative)


def _scale(op: Operation, env: dict[int, Any]) -> Bilinear:
    if op.equations[0].primitive == "sub":
        return _shift(op, env)
    value = env[op.x[0]]
    factor = _replay(op.equations, {**env, op.x[0]: jnp.ones_like(value)})
    return Bilinear(lambda inputs, w: inputs[0] * w, (value,), factor, None, op.nonnegative)


def _shift(op: Operation, env: dict[int, Any]) -> Bilinear:
    value = env[op.x[0]]
    b = _replay(op.equations, {**env, op.x[0]: jnp.zeros_like(value)})
    w = jnp.asarray(-1 if op.kind == "scale" else 1, value.dtype)
    shape = _output(op.equations[0]).shape
    return Bilinear(lambda inputs, w: jnp.broadcast_to(inputs[0] * w, shape), (value,), w, b, op.nonnegative)


def _gate(op: Operation, env: dict[int, Any]) -> Bilinear:
    (equation,) = op.equations

    def apply(inputs: tuple[Array, Array], w: tuple[()]) -> Array:
        # The equation is not replayed, because both inputs are one value of it where a value is multiplied by itself.
        return inputs[0] / inputs[1] if equation.primitive == "div" else inputs[0] * inputs[1]

    return Bilinear(apply, tuple(env[v] for v in op.x), (), None, op.nonnegative)


def _nonlinear(op: Operation, env: dict[int, Any]) -> Bilinear:
    def apply(inputs: tuple[Array, ...], w: tuple[()]) -> Array:
        return _replay(op.equations, {**env, **dict(zip(op.x, inputs, strict=True))})

    return Bilinear(apply, tuple(env[v] for v in op.x), (), None, op.nonnegative)


def _softmax(op: Operation, env: dict[int, Any]) -> Bilinear:
    exp = next(i for i, e in enumerate(op.equations) if e.primitive == "exp")
    shift, rest, exponent = op.equations[:exp], op.equations[exp:], op.equations[exp].inputs[0]
    axes = rest[1].eqn.params["axes"]

    def apply(inputs: tuple[Array], w: tuple[()]) -> Array:
        values = {**env, op.x[0]: inputs[0]}
        shifted = _replay(shift, values) if shift else inputs[0]
        # The model subtracts the maximum of its own input. For another input, exp could overflow.
        highest = jax.lax.stop_gradient(jnp.max(shifted, axis=axes, keepdims=True))
        return _replay(rest, {**values, exponent: shifted - highest})

    return Bilinear(apply, (env[op.x[0]],), (), None, op.nonnegative)


_VIEWS = {
    "convolution": _layer,
    "dense": _layer,
    "add": _add,
    "sum": _sum,
    "gate": _gate,
    "softmax": _softmax,
    "scale": _scale,
    "shift": _shift,
}
