"""Which layers of a network are drawn anew, one after the other.

References:
  adebayo2018
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import jax

from xrcam_jax.attribution.case import Case, Function
from xrcam_jax.attribution.shapes import Shapes, of_shapes, shapes
from xrcam_jax.lrp.program import flatten, trace
from xrcam_jax.metrics.sanity import kernels

#: Which layers are drawn anew together.
Order = Literal["top_down", "bottom_up", "independent"]


def layers_in_order(case: Case) -> tuple[str, ...]:
    """Returns the layers of a model that have a kernel, in the order in which it uses them.

    Args:
      case: the model and its parameters, nested by name.

    Returns:
      Paths such as ``"layer4/0/conv1"``, from the input to the output.

    Raises:
      ValueError: no parameter is called ``kernel``.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.metrics.cascade import layers_in_order
      >>> def model(images, parameters):
      ...   return images.mean((1, 2)) @ parameters["stem"]["kernel"] @ parameters["head"]["kernel"]
      >>> parameters = {"stem": {"kernel": jnp.ones((3, 4))}, "head": {"kernel": jnp.ones((4, 2))}}
      >>> layers_in_order(Case(model, parameters, jnp.ones((1, 8, 8, 3)), jnp.zeros((1, 1), int)))
      ('stem', 'head')
    """
    if not any(kernels(case.parameters)):
        raise ValueError("randomisation needs a model with parameters that are called kernel; got one without")
    return _layers_in_order(case.function, shapes((case.images, case.parameters)))


@lru_cache(maxsize=64)
def _layers_in_order(function: Function, known: Shapes) -> tuple[str, ...]:
    images, parameters = of_shapes(*known)
    program = flatten(trace(function, images, parameters)[0])
    names = dict(zip(program.inputs[-len(jax.tree.leaves(parameters)) :], kernels(parameters), strict=True))
    used = (names[value] for equation in program.equations for value in equation.inputs if names.get(value))
    return tuple(dict.fromkeys(name for name in used if name is not None))


def steps_of(parts: Sequence[str], order: Order) -> list[tuple[str, ...]]:
    """Returns which parts are drawn anew at each step.

    Args:
      parts: from the input to the output.
      order: see :func:`xrcam_jax.metrics.randomisation.mprt_curve`.

    Example:
      >>> from xrcam_jax.metrics.cascade import steps_of
      >>> steps_of(["conv1", "layer1", "fc"], "top_down")
      [('fc',), ('layer1', 'fc'), ('conv1', 'layer1', 'fc')]
    """
    parts = tuple(parts)
    if order == "independent":
        return [(part,) for part in parts]
    if order == "bottom_up":
        return [parts[: i + 1] for i in range(len(parts))]
    return [parts[i:] for i in reversed(range(len(parts)))]
