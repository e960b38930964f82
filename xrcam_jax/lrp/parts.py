"""A model is cut at several layers, one above another, so that relevance can be changed at each on its way down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
from jax import Array
from jax.extend.core import ClosedJaxpr

from xrcam_jax.lrp.ahead import ahead
from xrcam_jax.lrp.composites import Composite
from xrcam_jax.lrp.cut import place_of, split
from xrcam_jax.lrp.plan import Plan
from xrcam_jax.lrp.planned import planned
from xrcam_jax.lrp.program import Probes
from xrcam_jax.lrp.protocol import Rule

#: From the relevance at a layer to (that at the layer below,); a pytree, which compiled functions may return.
Pullback = Callable[[Array], tuple[Array]]


@dataclass(frozen=True)
class Parts:
    """Parts hold a traced model between layers.

    What goes past a layer, as the other branch of a residual connection does, is a constant of the part above: the
    relevance that a part hands down is what goes through the layer.

    Attributes:
      layers: their names, from the lowest up.
      plans: what runs below the lowest, between each two and above the highest. Each puts out the activation at the
        next layer, and all else that the following part takes in beside it; the last the output.
      rule: that of the last layer of the model.
    """

    layers: tuple[str, ...]
    plans: tuple[Plan, ...]
    rule: Rule | None

    def run(self, values: Sequence[Array]) -> tuple[Array, tuple[Array, ...], tuple[Pullback, ...]]:
        """Runs the model once.

        Args:
          values: its inputs.

        Returns:
          The output, of which there is one; the activation at each layer; and the pullbacks from each layer to that
            below, of which the last is that from the output to the highest layer.
        """
        found, *rest = self.plans[0].run(list(values), Probes())[0]
        activations, pullbacks = [], []
        for plan in self.plans[1:]:
            activations.append(found)
            found, pullback, rest = jax.vjp(partial(_onwards, plan, rest), found, has_aux=True)
            # Each concept is propagated anew, and not what all of them are divided by.
            pullbacks.append(ahead(pullback, found))
        return found, tuple(activations), tuple(pullbacks)


def _onwards(plan: Plan, rest: list[Array], activation: Array) -> tuple[Array, list[Array]]:
    found, *others = plan.run([activation, *rest], Probes())[0]
    return found, others


def in_parts(
    closed: ClosedJaxpr,
    composite: Composite,
    layers: Sequence[str],
    explained: Sequence[bool],
    *,
    sides: bool = False,
    of_value: bool = False,
) -> Parts:
    """Cuts a traced model of one output at layers, with rules chosen in the whole of it.

    Args:
      closed: the jaxpr of the model.
      composite: which operation gets which rule.
      layers: names of layers, in any order.
      explained: for each of its inputs, whether it is explained.
      sides: whether its one output z is to become (-z, z), see :func:`xrcam_jax.lrp.sides.two_sided`.
      of_value: whether a target function has made that output, see :func:`xrcam_jax.lrp.sides.for_value`.

    Returns:
      The parts, with the layers in their order.

    Raises:
      ValueError: there is no such layer, or one of them does not depend on that below.
      NotImplementedError: a layer is inside remat, scan or cond, or an operation above the lowest has no rule.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.parts import in_parts
      >>> closed = jax.make_jaxpr(lambda x: xr.mark(2 * xr.mark(x, "low"), "high") * 5)(jnp.ones(3))
      >>> parts = in_parts(closed, xr.composites.gradient(), ["high", "low"], [True])
      >>> parts.layers
      ('low', 'high')
      >>> output, activations, (to_low, to_high) = parts.run([jnp.ones(1)])
      >>> output.tolist(), to_high(jnp.ones(1))[0].tolist(), to_low(jnp.ones(1))[0].tolist()
      ([10.0], [5.0], [2.0])
    """
    plan, names, rule = planned(closed, composite, explained, layers, sides=sides, of_value=of_value)
    for layer in layers:
        if layer not in names:
            raise NotImplementedError(f"layer {layer!r} must be one place of the model; it is {', '.join(names)}")
    above = sorted(layers, key=lambda layer: place_of(plan.program, (layer,), layer))
    plans = []
    for below, layer in zip([None, *above], above, strict=False):
        if not any(equation.mark == layer for equation in plan.program.equations):
            raise ValueError(f"layers must lie one above another; {layer!r} does not depend on {below!r}")
        first, plan = split(plan, place_of(plan.program, (layer,), layer))
        plans.append(first)
    return Parts(tuple(above), (*plans, plan), rule)
