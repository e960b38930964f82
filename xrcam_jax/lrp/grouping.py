"""Grouping: from equations to operations, by their kind and by which of them belong together."""

from collections.abc import Iterator, Sequence
from functools import cache

from jax.extend.core import JaxprEqn

from xrcam_jax.lrp import regions
from xrcam_jax.lrp.facts import Fact, contracts_nothing, is_elementwise
from xrcam_jax.lrp.layout import groups_of_reshape
from xrcam_jax.lrp.operations import Operation, feature_axes
from xrcam_jax.lrp.primitives import (
    ACTIVATIONS,
    CONVOLUTIONS,
    ELEMENTWISE,
    EXTREMES_AT_PLACES,
    JOINS,
    MAXIMA,
    NONLINEAR,
    STRUCTURE,
    SUMS,
)
from xrcam_jax.lrp.program import Equation, Program, flatten
from xrcam_jax.lrp.protocol import WEIGHTED_KINDS, OperationKind
from xrcam_jax.lrp.regions import Region
from xrcam_jax.marks import PREFIX
from xrcam_jax.runtime import jaxprs


def keep_operations(eqn: JaxprEqn) -> bool:
    """Returns whether a call is one operation to a rule: one of the package's own, or an activation with a derivative.

    Args:
      eqn: an equation of a jaxpr.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.grouping import keep_operations
      >>> user = jax.make_jaxpr(lambda x: jax.jit(lambda x: x.sum() * x)(x))(jnp.ones(3))
      >>> keep_operations(user.eqns[0])
      False
    """
    function = jaxprs.jitted(eqn)
    if function is not None:
        return function.startswith(PREFIX)
    return eqn.primitive.name == jaxprs.CUSTOM_JVP and is_elementwise(flatten(jaxprs.bodies(eqn)[0]))


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
      >>> from xrcam_jax.lrp.grouping import kind_of
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> (product,) = flatten(trace(jnp.multiply, jnp.ones(3), jnp.ones(3))[0]).equations
      >>> kind_of(product, [Fact(explained=True), Fact()]), kind_of(product, [Fact(explained=True)] * 2)
      ('scale', 'gate')
    """
    name, explained = equation.primitive, [o.explained for o in operands]
    both = sum(explained) > 1
    if name in CONVOLUTIONS:
        return "convolution" if explained == [True, False] else None
    if name == "dot_general":
        return "matmul" if both else "dense"
    if name in ("add", "add_any", "sub"):
        # A constant minus x has the derivative -1, as the negative of x has.
        return "add" if both else "scale" if name == "sub" and explained[1] else "shift"
    if name == "div":
        return "nonlinear" if not explained[0] else "gate" if both else "scale"
    if name in ("mul", "neg"):
        return "gate" if both else "scale"
    if name == "reduce_prod":
        return "product"
    if name in JOINS or name in EXTREMES_AT_PLACES:
        return "join"
    if name in SUMS:
        return "sum"
    if name in MAXIMA or (name in ("max", "min") and both):
        return "max_pool"
    if name in ACTIVATIONS or name == jaxprs.CUSTOM_JVP:
        return None if both else "activation"
    return "nonlinear" if name in NONLINEAR and not both else None


def innermost(equation: Equation) -> str:
    """Returns the primitive of an equation, or the only one in the body of a function with a derivative of its own.

    Args:
      equation: any equation.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.grouping import innermost, keep_operations
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> (relu,) = flatten(trace(jax.nn.relu, jnp.ones(3))[0], keep_operations).equations
      >>> innermost(relu)
      'max'
    """
    if equation.primitive == jaxprs.CUSTOM_JVP and len(equation.bodies[0].equations) == 1:
        return equation.bodies[0].equations[0].primitive
    return equation.primitive


def _reshaped(axes: set[int], before: tuple[int, ...], after: tuple[int, ...]) -> set[int]:
    """Returns the axes after a reshape that are made of nothing but ``axes``, which may be split or merged."""
    groups = groups_of_reshape(before, after)
    return {axis for old, new in groups if axes.issuperset(a for a in old if before[a] != 1) for axis in new}


class Grouper:
    """A grouper finds the operations of a program: which equations count as one, and what they read."""

    def __init__(self, program: Program, facts: Sequence[Fact]):
        self.program, self.facts = program, facts
        self.producer = {v: p for p, e in enumerate(program.equations) for v in e.outputs}
        self.readers: dict[int, list[int]] = {}
        for position, equation in enumerate(program.equations):
            for value in equation.inputs:
                self.readers.setdefault(value, []).append(position)
        for value in program.outputs:
            self.readers.setdefault(value, []).append(len(program.equations))
        # The outer calls come first.
        self.calls: dict[int, list[range]] = {}
        for call in reversed(program.calls):
            if call:
                self.calls.setdefault(call[-1], []).append(call)
        self.norm = cache(self._norm)

    def kind(self, position: int) -> OperationKind | None:
        """Returns the kind of the equation at ``position``, taken alone."""
        equation = self.program.equations[position]
        if any(self.program.is_complex(v) for v in (*equation.inputs, *equation.outputs)):
            return None
        return kind_of(equation, [self.facts[i] for i in equation.inputs])

    def alone(self, position: int) -> Operation | None:
        """Returns the equation at ``position`` as an operation, or None if no rule is known for it."""
        kind = self.kind(position)
        return None if kind is None else self._operation(kind, (position,))

    def of_several(self, position: int, *, fold: bool) -> Iterator[Operation]:
        """Yields the operations of several equations that end at ``position``."""
        found = (self.softmax(position), self.layer(position, fold=fold), self.mean(position))
        yield from (several for several in found if several is not None)
        activation = self.activation(position)
        if activation is not None:
            yield activation
        norm = self.norm(position)
        if norm is not None:
            yield self._in_region("norm", norm, ())

    def activation(self, position: int) -> Operation | None:
        """Returns the elementwise function of one value that the equation at ``position`` ends, such as GELU."""
        equation = self.program.equations[position]
        if equation.primitive not in ELEMENTWISE and equation.primitive != jaxprs.CUSTOM_JVP:
            return None
        functions = (regions.called(self.program, self.facts, call) for call in self.calls.get(position, ()))
        region = next((function for function in functions if function is not None), None)
        if region is None and sum(self.facts[v].depends for v in equation.inputs) > 1:
            region = regions.activation(self.program, self.facts, self.producer, position)
        return None if region is None else self._in_region("activation", region, ())

    def joins_constants(self, position: int) -> bool:
        """Returns whether the equation at ``position`` puts explained values beside constants that it reads."""
        equation = self.program.equations[position]
        return equation.primitive in JOINS and any(
            self.program.is_inexact(v) and not self.facts[v].explained for v in equation.inputs
        )

    def hidden(self, operation: Operation) -> list[int]:
        """Returns the positions of those equations of an operation whose results nothing but it reads."""
        *parts, last = operation.positions
        replaced = {last}
        for position in reversed(parts):
            outputs = self.program.equations[position].outputs
            if all(replaced.issuperset(self.readers.get(v, ())) for v in outputs):
                replaced.add(position)
        return sorted(replaced - {last})

    def softmax(self, position: int) -> Operation | None:
        """Returns exp(x) / sum(exp(x)), if the equation at ``position`` is that division."""
        equation = self.program.equations[position]
        if equation.primitive != "div" or self.kind(position) != "gate":
            return None
        numerator, denominator = equation.inputs
        total = self._climb(denominator, STRUCTURE)
        if not total or self.program.equations[total[0]].primitive != "reduce_sum":
            return None
        exp = self.producer.get(numerator)
        summed = self.program.equations[total[0]].inputs[0]
        masked = () if summed == numerator else self._climb(summed, STRUCTURE, numerator)
        if exp is None or masked is None or self.program.equations[exp].primitive != "exp":
            return None
        if len(self.readers[numerator]) != 2:
            return None
        # The subtraction of the maximum before exp is part of the softmax, whose input is what the model gives it.
        exponent = self.program.equations[exp].inputs[0]
        shift = self.producer.get(exponent)
        own = shift is not None and self.kind(shift) == "shift" and len(self.readers[exponent]) == 1
        return self._operation("softmax", (*((shift,) if own else ()), exp, *masked, *total, position))

    def comes_from_softmax(self, value: int) -> bool:
        """Returns whether a softmax makes a value, but for what moves, scales and shifts it and mixes its heads."""
        while (position := self.producer.get(value)) is not None:
            equation = self.program.equations[position]
            if self.softmax(position) is not None:
                return True
            passed = equation.primitive in STRUCTURE | {"mul", "div"} or self.kind(position) == "shift"
            if not passed and not contracts_nothing(equation) and not self.mixes_heads(position):
                return False
            value = self._explained_first(equation)[0]
        return False

    def mixes_heads(self, position: int) -> bool:
        """Returns whether a layer makes of several heads as many, as talking heads do (Shazeer et al., 2020)."""
        equation = self.program.equations[position]
        if equation.primitive != "dot_general" or self.kind(position) != "dense":
            return False
        explained = [self.facts[v].explained for v in equation.inputs].index(True)
        heads, weights = (self.program.avals[equation.inputs[i]].shape for i in (explained, 1 - explained))
        axis, *more = equation.eqn.params["dimension_numbers"][0][explained]
        return len(heads) > 2 and not more and weights == (heads[axis], heads[axis])

    def gating(self, kind: OperationKind, value: int) -> tuple[bool, int]:
        """Returns how surely a factor is the gate: the weights of attention are, even behind a layer of the heads."""
        return kind == "matmul" and self.comes_from_softmax(value), self.facts[value].gate

    def mean(self, position: int) -> Operation | None:
        """Returns a sum divided by a count, if the equation at ``position`` is that division."""
        equation = self.program.equations[position]
        if self.kind(position) != "scale" or equation.primitive not in ("mul", "div"):
            return None
        value, count = self._explained_first(equation)
        above = self._climb(value, STRUCTURE)
        if not above or self.kind(above[0]) != "sum" or not self.facts[count].nonnegative:
            return None
        return self._operation("sum", (*above, position))

    def layer(self, position: int, *, fold: bool) -> Operation | None:
        """Returns a layer or a normalisation with what scales and shifts its output up to ``position``.

        Without ``fold``, only the addition of a bias counts, which is one number for each output feature. What else is
        added, such as an embedding of positions, is no part of a layer.
        """
        if self.kind(position) not in ("scale", "shift"):
            return None
        chain = [position]
        while True:
            value = self._explained_first(self.program.equations[chain[0]])[0]
            above = self.producer.get(value)
            if above is None or len(self.readers[value]) > 1:
                return None
            region = self.norm(above)
            if region is not None:
                return self._in_region("norm", region, chain) if self._ends_with_bias(chain) else None
            kind = self.kind(above)
            if kind in WEIGHTED_KINDS:
                product = self.program.equations[above]
                explained = [self.facts[v].explained for v in product.inputs].index(True)
                features = set(feature_axes(product, explained))
                is_bias = self._is_bias(chain, features) or (fold and self._scales(chain, features))
                return self._operation(kind, (above, *chain), biased=True) if is_bias else None
            equation = self.program.equations[above]
            if kind not in ("scale", "shift") and (equation.primitive not in STRUCTURE or equation.mark is not None):
                return None
            chain.insert(0, above)

    def affine(self, position: int) -> Operation | None:
        """Returns what scales and shifts one value up to ``position``, as batch norm does at inference.

        The bias of a layer with weights that is above, and the rest of a layer that ends there, are no part of it.
        """
        if self.kind(position) not in ("scale", "shift"):
            return None
        chain = [position]
        while True:
            value = self._explained_first(self.program.equations[chain[0]])[0]
            above = self.producer.get(value)
            if above is None or len(self.readers[value]) > 1 or self.kind(above) not in ("scale", "shift"):
                break
            if self.activation(above) is not None or self.layer(above, fold=False) is not None:
                break
            chain.insert(0, above)
        return self._operation("shift", tuple(chain))

    def _norm(self, position: int) -> Region | None:
        equation = self.program.equations[position]
        if equation.primitive not in ("mul", "div", "add", "sub") or self.kind(position) not in ("gate", "add"):
            return None
        return regions.norm(self.program, self.facts, self.producer, position)

    def _in_region(self, kind: OperationKind, region: Region, chain: Sequence[int]) -> Operation:
        linear = regions.linear_positions(self.program, self.facts, region) if kind == "norm" else ()
        equations = [self.program.equations[p] for p in (*sorted(linear), *chain)]
        positions = (*region.positions, *chain)
        return self._operation(kind, positions, x=(region.root,), linear=tuple(equations), biased=bool(chain))

    def _operation(
        self,
        kind: OperationKind,
        positions: tuple[int, ...],
        *,
        x: tuple[int, ...] = (),
        linear: tuple[Equation, ...] = (),
        biased: bool = False,
    ) -> Operation:
        equations = tuple(self.program.equations[p] for p in positions)
        made = {v for e in equations for v in e.outputs}
        read = dict.fromkeys(v for e in equations for v in e.inputs if v not in made)
        explained = [*x] or [v for v in read if self.facts[v].explained]
        if kind in ("gate", "matmul"):
            explained = list(equations[-1].inputs)
            if equations[-1].primitive != "div":
                explained.sort(key=lambda v: self.gating(kind, v))
        if kind == "add" and len(explained) == 1:
            explained = explained * 2  # A value that is added to itself is read twice.
        constants = tuple(v for v in read if v not in explained)
        nonnegative = all(self.facts[v].nonnegative for v in explained)
        return Operation(kind, positions, equations, tuple(explained), constants, nonnegative, linear, biased)

    def _climb(self, value: int, through: frozenset[str], end: int | None = None) -> tuple[int, ...] | None:
        """Returns the positions from the first equation above ``value`` that is not in ``through``; each read once.

        If there is an ``end``, the path has to reach it, and all of it is in ``through``; otherwise it is None.
        """
        path: list[int] = []
        while value in self.producer and (value == end or len(self.readers[value]) == 1):
            if value == end:
                return tuple(path)
            path.insert(0, self.producer[value])
            equation = self.program.equations[path[0]]
            if equation.primitive not in through or equation.mark is not None:
                return tuple(path) if end is None else None
            value = self._explained_first(equation)[0]
        return () if end is None else None

    def _explained_first(self, equation: Equation) -> list[int]:
        return sorted(equation.inputs, key=lambda v: not self.facts[v].explained)

    def _constant(self, position: int) -> int:
        return self._explained_first(self.program.equations[position])[1]

    def _ends_with_bias(self, chain: Sequence[int]) -> bool:
        """Returns whether a chain ends with the addition of one number for each index of an axis."""
        if self.program.equations[chain[-1]].primitive not in ("add", "add_any", "sub"):
            return False
        constant = self._constant(chain[-1])
        return not self.facts[constant].depends and len(self._varying(constant)) <= 1

    def _is_bias(self, chain: Sequence[int], features: set[int]) -> bool:
        """Returns whether a chain only moves axes, and then adds one number for each of the features."""
        *moves, last = chain
        for equation in (self.program.equations[p] for p in moves):
            if equation.primitive == "transpose":
                features = {equation.eqn.params["permutation"].index(axis) for axis in features}
            elif equation.primitive in ("reshape", "squeeze", "expand_dims"):
                before, after = (self.program.avals[v].shape for v in (equation.inputs[0], equation.outputs[0]))
                features = _reshaped(features, before, after)
            elif equation.primitive not in ("convert_element_type", "copy"):
                return False
        if self.program.equations[last].primitive not in ("add", "add_any"):
            return False
        constant = self._constant(last)
        return not self.facts[constant].depends and self._varying(constant) <= features

    def _scales(self, chain: Sequence[int], features: set[int]) -> bool:
        """Returns whether each constant in ``chain`` is one number, or has one for each of the features."""
        if any(self.kind(p) not in ("scale", "shift") for p in chain):
            return False
        binary = (p for p in chain if len(self.program.equations[p].inputs) == 2)
        return all(self._varying(self._constant(p)) <= features for p in binary)

    def _varying(self, value: int) -> set[int]:
        """Returns the axes along which a value can differ, as far as what makes it tells."""
        above = self.producer.get(value)
        if above is not None and self.program.equations[above].primitive == "broadcast_in_dim":
            equation = self.program.equations[above]
            dimensions = equation.eqn.params["broadcast_dimensions"]
            return {int(dimensions[axis]) for axis in self._varying(equation.inputs[0])}
        return {axis for axis, n in enumerate(self.program.avals[value].shape) if n != 1}
