"""How parts of changes pass operations by DeepLIFT's RevealCancel (shrikumar2017, sections 3.5.1 and 3.5.3).

A rule is a function of a :class:`Step`, the operation at the values of the example and of the baseline. It returns the
parts of the output's change, and the way back: from the multipliers of the output's parts to those of each input's.

References:
  shrikumar2017
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.lrp.operations import Operation

#: A quotient by a part that is at most this share of the values would be mostly rounding error, and the derivative
#: takes its place.
LEAST = 1e-7
#: Elementwise functions beside the activations that are defined for all numbers.
_EVERYWHERE = frozenset({"asinh", "atan", "cbrt", "cos", "cosh", "erfc", "exp", "exp2", "sin", "sinh", "square"})
_MINIMA = frozenset({"min", "reduce_min", "reduce_window_min", "cummin"})


class Parts(NamedTuple):
    """Holds something for the positive part of a change and for the negative one: the parts, or their multipliers."""

    plus: Array
    minus: Array


#: The multipliers of an operation's output -> those of each of its inputs.
Back = Callable[[Parts], Sequence[Parts]]


@dataclass(frozen=True)
class Step:
    """Holds an operation at the values that it runs with.

    Attributes:
      operation: what is computed.
      x: its explained inputs, for the example.
      x0: those for the baseline.
      constants: its other inputs, for the example.
      constants0: those for the baseline.
      parts: of the change of each explained input.
    """

    operation: Operation
    x: list[Array]
    x0: list[Array]
    constants: list[Any]
    constants0: list[Any]
    parts: list[Parts]

    @property
    def changes(self) -> list[Array]:
        """Returns x - x⁰ of each explained input."""
        return [a - b for a, b in zip(self.x, self.x0, strict=True)]


def parts_of(change: Float[Array, "*shape"]) -> Parts:
    """Returns the positive and the negative part of a change of which nothing else is known.

    Args:
      change: x - x⁰.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.reveal_rules import parts_of
      >>> [part.tolist() for part in parts_of(jnp.array([2.0, -3.0]))]
      [[2.0, 0.0], [0.0, -3.0]]
    """
    return Parts(jnp.maximum(change, 0), jnp.minimum(change, 0))


def rule_for(operation: Operation) -> Callable[[Step], tuple[Parts, Back]] | None:
    """Returns the rule for an operation, or None if there is none.

    Args:
      operation: any operation.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.reveal_rules import rule_for
      >>> from xrcam_jax.lrp.facts import Fact, infer
      >>> from xrcam_jax.lrp.grouping import Grouper
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> program = flatten(trace(lambda x: jnp.log(jnp.tanh(x)), jnp.ones(2))[0])
      >>> operations = Grouper(program, infer(program, [Fact(explained=True)], frozenset()))
      >>> [rule_for(operations.alone(position)) is None for position in (0, 1)]
      [False, True]
    """
    last = operation.equations[-1]
    if last.primitive.startswith("scatter") or last.primitive == "cumlogsumexp" or not last.has_derivative:
        return None
    if operation.kind == "nonlinear":
        power = last.primitive == "integer_pow" and last.eqn.params["y"] > 0
        return _reveal if power or last.primitive in _EVERYWHERE else None
    return _RULES.get(operation.kind)


def _linear(step: Step) -> tuple[Parts, Back]:
    """Lets an input count for the part of z = sum_i w_i x_i to which it adds, with both of its parts (section 3.5.1).

    An input that does not change counts half for either, since its parts may cancel.
    """
    layer = step.operation.bilinear(step.x, step.constants)
    above, below = (jax.tree.map(lambda w, f=f: f(w, 0), layer.w) for f in (jnp.maximum, jnp.minimum))

    def split(totals: tuple[Array, ...]) -> Parts:
        rising = tuple(t * (1 + jnp.sign(d)) / 2 for t, d in zip(totals, step.changes, strict=True))
        falling = tuple(t * (1 - jnp.sign(d)) / 2 for t, d in zip(totals, step.changes, strict=True))
        plus = layer.apply(rising, above) + layer.apply(falling, below)
        return Parts(plus, layer.apply(falling, above) + layer.apply(rising, below))

    made, transpose = jax.vjp(split, tuple(plus + minus for plus, minus in step.parts))
    return made, lambda m: [Parts(each, each) for each in transpose(m)[0]]


def _affine(step: Step) -> tuple[Parts, Back]:
    """Scales the parts by a constant factor, as if the layer before had it; a negative one lets them change places."""
    views = [step.operation.bilinear(step.x, constants) for constants in (step.constants, step.constants0)]
    # Where a constant differs between example and baseline, its mean makes z - z⁰ exact in what x changes.
    factor = (views[0].w + views[1].w) / 2
    above, below, apply = jnp.maximum(factor, 0), jnp.minimum(factor, 0), views[0].apply

    def scale(parts: Parts) -> Parts:
        plus, minus = (parts.plus,), (parts.minus,)
        return Parts(apply(plus, above) + apply(minus, below), apply(minus, above) + apply(plus, below))

    made, transpose = jax.vjp(scale, step.parts[0])
    return made, transpose


def _reveal(step: Step) -> tuple[Parts, Back]:
    """Gives each part of z the mean of what it changes y = f(z) by, alone and after the other part (section 3.5.3)."""
    (z,), (z0,), ((plus, minus),) = step.x, step.x0, step.parts

    def f(z: Array) -> Array:
        return step.operation.forward((z,), step.constants)

    def slope(z: Array) -> Array:
        y, pullback = jax.vjp(f, z)
        return pullback(jnp.ones_like(y))[0]

    def multiplier(change: Array, part: Array, other: Array) -> Array:
        size = jnp.maximum(jnp.maximum(jnp.abs(z), jnp.abs(z0)), jnp.abs(other))
        near = jnp.abs(part) <= LEAST * size
        return jnp.where(near, (slope(z0) + slope(z0 + other)) / 2, change / jnp.where(near, 1, part))

    y, y0, raised, lowered = f(z), f(z0), f(z0 + plus), f(z0 + minus)
    made = Parts(((raised - y0) + (y - lowered)) / 2, ((lowered - y0) + (y - raised)) / 2)
    by = Parts(multiplier(made.plus, plus, minus), multiplier(made.minus, minus, plus))
    return made, lambda m: [Parts(m.plus * by.plus, m.minus * by.minus)]


def _maximum(step: Step) -> tuple[Parts, Back]:
    """Gives a maximum's rise to the place of the new one, its fall to that of the old one; a minimum's reversed."""

    def f(x: list[Array]) -> Array:
        return step.operation.forward(x, step.constants)

    (y, to_new), (y0, to_old) = jax.vjp(f, step.x), jax.vjp(f, step.x0)
    made, is_minimum = parts_of(y - y0), step.operation.equations[-1].primitive in _MINIMA

    def back(m: Parts) -> Sequence[Parts]:
        rise, fall = m.plus * made.plus, m.minus * made.minus
        (new,), (old,) = (to_new(fall), to_old(rise)) if is_minimum else (to_new(rise), to_old(fall))
        each = [_ratio(a + b, change) for a, b, change in zip(new, old, step.changes, strict=True)]
        return [Parts(multiplier, multiplier) for multiplier in each]

    return made, back


def _ratio(a: Array, b: Array) -> Array:
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


_RULES: dict[str, Callable[[Step], tuple[Parts, Back]]] = {
    "convolution": _linear,
    "dense": _linear,
    "add": _linear,
    "sum": _linear,
    "scale": _affine,
    "shift": _affine,
    "activation": _reveal,
    "max_pool": _maximum,
}
