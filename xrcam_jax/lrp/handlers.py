"""From equations to operations: what kind each one is, which belong together, and how rules see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn

from xrcam_jax import facts as fact
from xrcam_jax import jaxprs
from xrcam_jax.facts import Fact
from xrcam_jax.lrp.composites import Kind
from xrcam_jax.lrp.ops import Operation
from xrcam_jax.lrp.rules import Bilinear
from xrcam_jax.ops.operation import PREFIX
from xrcam_jax.reinterpret import Equation, Program, flatten


def keep_operations(eqn: JaxprEqn) -> bool:
    """Keep whole what is one operation to a rule: the package's own, and activations with a derivative of their own."""
    function = jaxprs.jitted(eqn)
    if function is not None:
        return function.startswith(PREFIX)
    return eqn.primitive.name == jaxprs.CUSTOM_JVP and fact.is_elementwise(flatten(jaxprs.bodies(eqn)[0]))


def kind_of(equation: Equation, operands: Sequence[Fact]) -> Kind | None:
    """What ``equation`` does to the explained values among its operands; None where no rule is known."""
    name, explained = equation.primitive, [o.explained for o in operands]
    both = sum(explained) > 1
    if name in fact.CONVOLUTIONS:
        return "convolution" if explained == [True, False] else None
    if name == "dot_general":
        if both:  # values weighted by a gate, as by attention
            return None if operands[0].gate == operands[1].gate else "sum"
        return "dense"
    if name in ("add", "add_any", "sub"):
        return "add" if both else "shift"
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
    """The primitive, or the only one in the body of a function with a derivative of its own."""
    if equation.primitive == jaxprs.CUSTOM_JVP and len(equation.bodies[0].equations) == 1:
        return equation.bodies[0].equations[0].primitive
    return equation.primitive


@dataclass(frozen=True, eq=False)
class Group:
    """Equations that count as one operation.

    Attributes:
      kind: what they do together.
      positions: of the equations in the program, ascending; the last one's output is the operation's.
      x: the explained values, in the order in which the operation takes them.
      constants: all other values that the equations read.
    """

    kind: Kind
    positions: tuple[int, ...]
    x: tuple[int, ...]
    constants: tuple[int, ...]


class Grouper:
    """Finds the operations of a program."""

    def __init__(self, program: Program, facts: Sequence[Fact]):
        self.program, self.facts = program, facts
        self.producer = {v: p for p, e in enumerate(program.equations) for v in e.outputs}
        self.readers: dict[int, int] = {}
        for value in [*program.outputs, *(v for e in program.equations for v in e.inputs)]:
            self.readers[value] = self.readers.get(value, 0) + 1

    def kind(self, position: int) -> Kind | None:
        """Kind of the equation at ``position`` taken alone."""
        equation = self.program.equations[position]
        return kind_of(equation, [self.facts[i] for i in equation.inputs])

    def alone(self, position: int) -> Group | None:
        """The equation at ``position`` as an operation; None where no rule is known for it."""
        kind = self.kind(position)
        return None if kind is None else self._group(kind, (position,))

    def softmax(self, position: int) -> Group | None:
        """exp(x) / sum(exp(x)), if the equation at ``position`` is that division."""
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
        # The maximum that is subtracted before exp is part of it: its input is what the model gives it.
        exponent = self.program.equations[exp].inputs[0]
        shift = self.producer.get(exponent)
        if shift is not None and self.kind(shift) == "shift" and self.readers[exponent] == 1:
            return self._group("softmax", (shift, exp, *above, position))
        return self._group("softmax", (exp, *above, position))

    def mean(self, position: int) -> Group | None:
        """A sum divided by a count, if the equation at ``position`` is that division."""
        equation = self.program.equations[position]
        if self.kind(position) != "scale" or len(equation.inputs) != 2:
            return None
        value, count = self._explained_first(equation)
        above = self._climb(value, fact.STRUCTURE)
        if not above or self.kind(above[0]) != "sum" or not self.facts[count].nonnegative:
            return None
        return self._group("sum", (*above, position))

    def layer(self, position: int, *, fold: bool) -> Group | None:
        """A convolution or dense layer and what scales and shifts its output up to ``position``.

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
                return self._group(kind, (above, *chain)) if is_bias or folds else None
            if kind not in ("scale", "shift"):
                return None
            chain.insert(0, above)

    def _group(self, kind: Kind, positions: tuple[int, ...]) -> Group:
        equations = [self.program.equations[p] for p in positions]
        made = {v for e in equations for v in e.outputs}
        read = dict.fromkeys(v for e in equations for v in e.inputs if v not in made)
        x = [v for v in read if self.facts[v].explained]
        if kind in ("gate", "sum") and len(x) == 2:
            x.sort(key=lambda v: self.facts[v].gate)
            if equations[-1].primitive == "div":
                x = list(equations[-1].inputs)
        if kind == "add" and len(x) == 1:
            x = x * 2  # x + x
        taken = x[:1] if kind == "sum" else x
        return Group(kind, positions, tuple(taken), tuple(v for v in read if v not in taken))

    def _climb(self, value: int, through: frozenset[str]) -> tuple[int, ...]:
        """Positions from the first equation above ``value`` that is not in ``through``; each read only once."""
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
        """Whether the constants in ``chain`` have one number for all, or one per feature of ``product``."""
        feature = _feature_axes(product)[1]
        for equation in (self.program.equations[p] for p in chain):
            for value in self._explained_first(equation)[1:]:
                if any(n != 1 for axis, n in enumerate(self.program.avals[value].shape) if axis != feature):
                    return False
        return True


def operation(program: Program, group: Group, facts: Sequence[Fact]) -> Operation:
    """``group`` as a function that runs it and a view of it for the rules."""
    equations = [program.equations[p] for p in group.positions]
    nonnegative = all(facts[v].nonnegative for v in group.x)

    def values(x: Sequence[Array], constants: Sequence[Array]) -> dict[int, Array]:
        return {**dict(zip(group.constants, constants, strict=True)), **dict(zip(group.x, x, strict=True))}

    def forward(x: Sequence[Array], constants: Sequence[Array]) -> Array:
        return _replay(equations, values(x, constants))

    def bilinear(x: Sequence[Array], constants: Sequence[Array]) -> Bilinear:
        view = _VIEWS.get(group.kind, _nonlinear)
        return view(equations, group.x, values(x, constants), nonnegative)

    return Operation(forward, bilinear)


def _replay(equations: Sequence[Equation], env: dict[int, Array]) -> Array:
    env = dict(env)
    for equation in equations:
        env.update(zip(equation.outputs, equation.bind(*(env[i] for i in equation.inputs)), strict=True))
    return env[equations[-1].outputs[0]]


def _layer(equations: Sequence[Equation], x: tuple[int, ...], env: dict[int, Array], nonnegative: bool) -> Bilinear:
    product, *affine = equations
    weights = next(v for v in product.inputs if v not in x)

    def apply(inputs: tuple[Array], w: Array) -> Array:
        return _replay([product], {x[0]: inputs[0], weights: w})

    def after(z: Array) -> Array:
        return _replay(affine, {**env, product.outputs[0]: z})

    w, b = env[weights], None
    if affine:
        in_axis, out_axis = _feature_axes(product)
        shape = _output(product).shape
        zero = jnp.zeros([n if axis == out_axis else 1 for axis, n in enumerate(shape)], w.dtype)
        b, scale = jax.jvp(after, (zero,), (jnp.ones_like(zero),))
        w = w * scale.reshape([-1 if axis == in_axis else 1 for axis in range(w.ndim)])
    return Bilinear(apply, (env[x[0]],), w, b, nonnegative)


def _output(equation: Equation) -> Any:
    """Shape and dtype of the only output."""
    return equation.eqn.outvars[0].aval


def _feature_axes(product: Equation) -> tuple[int, int]:
    """Where the output features are: the axis of the weights, and the axis of the output."""
    params, out = product.eqn.params, _output(product)
    weights: Any = product.eqn.invars[1].aval
    if product.primitive == "conv_general_dilated":
        return params["dimension_numbers"].rhs_spec[0], params["dimension_numbers"].out_spec[1]
    if product.primitive == "dot_general":
        (_, contracted), (_, batched) = params["dimension_numbers"]
        return [axis for axis in range(weights.ndim) if axis not in (*contracted, *batched)][-1], out.ndim - 1
    return weights.ndim - 1, out.ndim - 1


def _add(equations: Sequence[Equation], x: tuple[int, ...], env: dict[int, Array], nonnegative: bool) -> Bilinear:
    sign = -1 if equations[0].primitive == "sub" else 1
    one = jnp.ones((), env[x[0]].dtype)

    def apply(inputs: tuple[Array, Array], w: tuple[Array, Array]) -> Array:
        return inputs[0] * w[0] + inputs[1] * w[1]

    return Bilinear(apply, tuple(env[v] for v in x), (one, sign * one), None, nonnegative)


def _sum(equations: Sequence[Equation], x: tuple[int, ...], env: dict[int, Array], nonnegative: bool) -> Bilinear:
    def apply(inputs: tuple[Array], w: Array) -> Array:
        return _replay(equations, {**env, x[0]: inputs[0]}) * w

    return Bilinear(apply, (env[x[0]],), jnp.ones((), env[x[0]].dtype), None, nonnegative)


def _scale(equations: Sequence[Equation], x: tuple[int, ...], env: dict[int, Array], nonnegative: bool) -> Bilinear:
    value = env[x[0]]
    factor = _replay(equations, {**env, x[0]: jnp.ones_like(value)})
    return Bilinear(lambda inputs, w: inputs[0] * w, (value,), factor, None, nonnegative)


def _shift(equations: Sequence[Equation], x: tuple[int, ...], env: dict[int, Array], nonnegative: bool) -> Bilinear:
    value = env[x[0]]
    b = _replay(equations, {**env, x[0]: jnp.zeros_like(value)})
    w = jnp.asarray(-1 if equations[0].primitive == "sub" and equations[0].inputs[1] == x[0] else 1, value.dtype)
    shape = _output(equations[-1]).shape
    return Bilinear(lambda inputs, w: jnp.broadcast_to(inputs[0] * w, shape), (value,), w, b, nonnegative)


def _nonlinear(equations: Sequence[Equation], x: tuple[int, ...], env: dict[int, Any], nonnegative: bool) -> Bilinear:
    def apply(inputs: tuple[Array, ...], w: tuple[()]) -> Array:
        return _replay(equations, {**env, **dict(zip(x, inputs, strict=True))})

    return Bilinear(apply, tuple(env[v] for v in x), (), None, nonnegative)


def _softmax(equations: Sequence[Equation], x: tuple[int, ...], env: dict[int, Any], nonnegative: bool) -> Bilinear:
    exp = next(i for i, e in enumerate(equations) if e.primitive == "exp")
    shift, rest, exponent = equations[:exp], equations[exp:], equations[exp].inputs[0]
    axes = rest[1].eqn.params["axes"]

    def apply(inputs: tuple[Array], w: tuple[()]) -> Array:
        values = {**env, x[0]: inputs[0]}
        shifted = _replay(shift, values) if shift else inputs[0]
        # What the model subtracts is the maximum of its own input: exp of another one could overflow.
        highest = jax.lax.stop_gradient(jnp.max(shifted, axis=axes, keepdims=True))
        return _replay(rest, {**values, exponent: shifted - highest})

    return Bilinear(apply, (env[x[0]],), (), None, nonnegative)


_VIEWS = {
    "convolution": _layer,
    "dense": _layer,
    "add": _add,
    "sum": _sum,
    "softmax": _softmax,
    "scale": _scale,
    "shift": _shift,
}
