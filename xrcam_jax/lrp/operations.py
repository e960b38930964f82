"""Operations: one equation, or a few that count as one, run as the model does and seen as rules see them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from xrcam_jax.lrp.primitives import STRUCTURE
from xrcam_jax.lrp.program import Equation
from xrcam_jax.lrp.protocol import Bilinear, OperationKind

Env = dict[int, Any]


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
      linear: of a normalisation, those equations that are linear in x while the factors are fixed that come from x's
        statistics.
      biased: whether it ends with the addition of constants that only rules with a bias are to see as a part of it.
    """

    kind: OperationKind
    positions: tuple[int, ...]
    equations: tuple[Equation, ...]
    x: tuple[int, ...]
    constants: tuple[int, ...]
    nonnegative: bool
    linear: tuple[Equation, ...] = ()
    biased: bool = False

    def forward(self, x: Sequence[Array], constants: Sequence[Any]) -> Array:
        """Returns the operation's output, exactly as the model computes it."""
        return _replay(self.equations, self._values(x, constants))

    def bilinear(self, x: Sequence[Array], constants: Sequence[Any]) -> Bilinear:
        """Returns the operation at these values as a rule sees it."""
        return _VIEWS.get(self.kind, _nonlinear)(self, self._values(x, constants))

    def _values(self, x: Sequence[Array], constants: Sequence[Any]) -> Env:
        return {**dict(zip(self.constants, constants, strict=True)), **dict(zip(self.x, x, strict=True))}


def _run(equations: Sequence[Equation], env: Env) -> Env:
    env = dict(env)
    for equation in equations:
        env.update(zip(equation.outputs, equation.bind(*(env[i] for i in equation.inputs)), strict=True))
    return env


def _replay(equations: Sequence[Equation], env: Env) -> Array:
    return _run(equations, env)[equations[-1].outputs[0]]


def feature_axes(product: Equation, explained: int) -> dict[int, int]:
    """Returns the axes of a product's output that its weights have too: those of the output features.

    Args:
      product: a convolution, or a product with a constant.
      explained: which operand is explained, 0 or 1.

    Returns:
      By the axis of the output, the axis of the weights.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> from xrcam_jax.lrp.operations import feature_axes
      >>> heads = lambda x, w: jnp.einsum("btc,chd->bthd", x, w)
      >>> (product,) = flatten(trace(heads, jnp.ones((1, 5, 8)), jnp.ones((8, 2, 4)))[0]).equations
      >>> feature_axes(product, 0)
      {2: 1, 3: 2}
    """
    params, out = product.eqn.params, product.out
    if product.primitive == "conv_general_dilated":
        return {params["dimension_numbers"].out_spec[1]: params["dimension_numbers"].rhs_spec[0]}
    weights: Any = product.eqn.invars[1 - explained].aval
    if product.primitive != "dot_general":
        return {out.ndim - 1: weights.ndim - 1}
    contracted, batched = (pair[1 - explained] for pair in params["dimension_numbers"])
    free = [axis for axis in range(weights.ndim) if axis not in (*contracted, *batched)]
    start = out.ndim - len(free) if explained == 0 else len(batched)
    return {**dict(enumerate(batched)), **{start + i: axis for i, axis in enumerate(free)}}


def _layer(op: Operation, env: Env) -> Bilinear:
    product, *affine = op.equations
    explained = product.inputs.index(op.x[0])
    weights = product.inputs[1 - explained]
    w, b = jnp.asarray(env[weights]), None
    moved = [e for e in affine if e.primitive in STRUCTURE]

    def apply(inputs: tuple[Array], w: Any) -> Array:
        return _replay([product, *moved], {op.x[0]: inputs[0], weights: w})

    def after(z: Array) -> Array:
        return _replay(affine, {**env, product.outputs[0]: z})

    if len(affine) == len(moved) + 1 and affine[-1].primitive in ("add", "add_any"):
        made = (product.outputs[0], *(e.outputs[0] for e in moved))
        b = jnp.asarray(next(env[v] for v in affine[-1].inputs if v not in made))
    elif affine:
        axes, out = feature_axes(product, explained), product.out
        zero = jnp.zeros([n if axis in axes else 1 for axis, n in enumerate(out.shape)], out.dtype)
        b, scale = jax.jvp(after, (zero,), (jnp.ones_like(zero),))
        # The axes of the features come in the order of the weights' axes, with 1 in the place of the others.
        order = sorted(axes, key=axes.__getitem__)
        scale = jnp.squeeze(scale, tuple(axis for axis in range(out.ndim) if axis not in axes))
        scale = scale.transpose([sorted(axes).index(axis) for axis in order])
        w = w * jnp.expand_dims(scale, tuple(axis for axis in range(w.ndim) if axis not in axes.values()))
    return Bilinear(apply, (env[op.x[0]],), w, b, op.nonnegative)


def _add(op: Operation, env: Env) -> Bilinear:
    sign = -1 if op.equations[0].primitive == "sub" else 1
    one = jnp.ones((), env[op.x[0]].dtype)

    def apply(inputs: tuple[Array, Array], w: tuple[Any, Any]) -> Array:
        return inputs[0] * w[0] + inputs[1] * w[1]

    return Bilinear(apply, tuple(env[v] for v in op.x), (one, sign * one), None, op.nonnegative)


def _sum(op: Operation, env: Env) -> Bilinear:
    # Constants that something is added to, or that are added at some places, are no part of the linear map.
    scatters = op.equations[0].primitive.startswith("scatter")
    constants = [v for v in op.constants if scatters and jnp.issubdtype(jnp.result_type(env[v]), jnp.inexact)]
    fixed = {**env, **{v: jnp.zeros_like(env[v]) for v in constants}}

    def apply(inputs: tuple[Array, ...], w: Array) -> Array:
        return _replay(op.equations, {**fixed, **dict(zip(op.x, inputs, strict=True))}) * w

    x = tuple(env[v] for v in op.x)
    return Bilinear(apply, x, jnp.ones((), x[0].dtype), None, op.nonnegative)


def _scale(op: Operation, env: Env) -> Bilinear:
    if op.equations[0].primitive == "sub":
        return _shift(op, env)
    value = env[op.x[0]]
    factor = _replay(op.equations, {**env, op.x[0]: jnp.ones_like(value)})
    return Bilinear(lambda inputs, w: inputs[0] * w, (value,), factor, None, op.nonnegative)


def _shift(op: Operation, env: Env) -> Bilinear:
    value = env[op.x[0]]
    b = _replay(op.equations, {**env, op.x[0]: jnp.zeros_like(value)})
    w = jnp.asarray(-1 if op.kind == "scale" else 1, value.dtype)
    shape = op.equations[0].out.shape
    return Bilinear(lambda inputs, w: jnp.broadcast_to(inputs[0] * w, shape), (value,), w, b, op.nonnegative)


def _product(op: Operation, env: Env) -> Bilinear:
    (equation,) = op.equations

    def apply(inputs: tuple[Array, Array], w: tuple[()]) -> Array:
        # The operands are named by their place, because both are one value where a value is multiplied by itself.
        places = inputs if equation.inputs == op.x else inputs[::-1]
        return equation.bind(*places)[0]

    return Bilinear(apply, tuple(env[v] for v in op.x), (), None, op.nonnegative)


def _join(op: Operation, env: Env) -> Bilinear:
    """Returns the map that puts x and constants where they belong; the constants are shown as weights."""
    constants = [v for v in op.constants if jnp.issubdtype(jnp.result_type(env[v]), jnp.inexact)]

    def apply(inputs: tuple[Array, ...], w: tuple[Array, ...]) -> Array:
        return _replay(op.equations, {**env, **dict(zip((*op.x, *constants), (*inputs, *w), strict=True))})

    x, w = (tuple(jnp.asarray(env[v]) for v in values) for values in (op.x, constants))
    return Bilinear(apply, x, w, None, op.nonnegative)


def _nonlinear(op: Operation, env: Env) -> Bilinear:
    def apply(inputs: tuple[Array, ...], w: tuple[()]) -> Array:
        return _replay(op.equations, {**env, **dict(zip(op.x, inputs, strict=True))})

    return Bilinear(apply, tuple(env[v] for v in op.x), (), None, op.nonnegative)


def _norm(op: Operation, env: Env) -> Bilinear:
    """Returns the map that is linear in x, with the factors that come from x's statistics at their values."""
    values, (x,) = _run(op.equations, env), (env[v] for v in op.x)

    def affine(x: Array) -> Array:
        carried = {op.x[0]: x}
        for equation in op.linear:
            operands = [carried.get(v, values[v]) for v in equation.inputs]
            if equation.primitive == "div":
                # What is divided by is a statistic, though as a plain sum it is linear in x itself.
                operands[1] = values[equation.inputs[1]]
            carried.update(zip(equation.outputs, equation.bind(*operands), strict=True))
        return carried[op.linear[-1].outputs[0]]

    def apply(inputs: tuple[Array], w: tuple[()]) -> Array:
        return jax.jvp(affine, inputs, inputs)[1]

    carrying = {*op.x, *(v for e in op.linear for v in e.outputs)}
    additions = [e for e in op.linear if e.primitive in ("add", "add_any", "sub")]
    b = affine(jnp.zeros_like(x)) if any(v not in carrying for e in additions for v in e.inputs) else None
    return Bilinear(apply, (x,), (), b, op.nonnegative)


def _softmax(op: Operation, env: Env) -> Bilinear:
    exp = next(i for i, e in enumerate(op.equations) if e.primitive == "exp")
    shift, rest, exponent = op.equations[:exp], op.equations[exp:], op.equations[exp].inputs[0]
    axes = next(e for e in rest if e.primitive == "reduce_sum").eqn.params["axes"]

    def apply(inputs: tuple[Array], w: tuple[()]) -> Array:
        values = {**env, op.x[0]: inputs[0]}
        shifted = _replay(shift, values) if shift else inputs[0]
        # The model subtracts the maximum of its own input. For another input, exp could overflow.
        highest = jax.lax.stop_gradient(jnp.max(shifted, axis=axes, keepdims=True))
        return _replay(rest, {**values, exponent: shifted - highest})

    return Bilinear(apply, (env[op.x[0]],), (), None, op.nonnegative)


_VIEWS: dict[OperationKind, Callable[[Operation, Env], Bilinear]] = {
    "convolution": _layer,
    "dense": _layer,
    "matmul": _product,
    "add": _add,
    "sum": _sum,
    "gate": _product,
    "norm": _norm,
    "join": _join,
    "softmax": _softmax,
    "scale": _scale,
    "shift": _shift,
}
