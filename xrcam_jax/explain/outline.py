"""What can be known of a model without running it, and so at which of its layers a method is computed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
from jaxtyping import PyTree

from xrcam_jax.attribution.case import INPUT, Function
from xrcam_jax.attribution.shapes import Shapes, of_shapes, shapes
from xrcam_jax.errors import unknown
from xrcam_jax.explain.kinds import Kind
from xrcam_jax.lrp.composites import gradient, relevance_cam
from xrcam_jax.lrp.plan import make_plan
from xrcam_jax.lrp.program import marks_of, trace
from xrcam_jax.lrp.transform import program_for
from xrcam_jax.runtime.trace_cache import kept, name_of


@dataclass(frozen=True)
class Outline:
    """Holds what can be known of a model without running it.

    Attributes:
      outputs: shape of what the model returns; None if that is no array.
      marks: shape of the activation at each mark.
    """

    outputs: tuple[int, ...] | None
    marks: dict[str, tuple[int, ...]]


def outline(function: Function, images: Any, parameters: PyTree) -> Outline:
    """Returns what tracing tells of a model.

    Args:
      function: the model.
      images: a batch, of which only shape and dtype count.
      parameters: of the model, likewise.

    Raises:
      ValueError: a mark is set twice.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.explain.outline import outline
      >>> model = lambda images, parameters: xr.mark(images @ parameters, "colours").mean((1, 2))
      >>> found = outline(model, jnp.ones((2, 8, 8, 3)), jnp.ones((3, 5)))
      >>> found.outputs, found.marks
      ((2, 5), {'colours': (2, 8, 8, 5)})
    """
    return _outline(function, shapes((images, parameters)))


@lru_cache(maxsize=32)
def _outline(function: Function, known: Shapes) -> Outline:
    def find() -> bytes:
        found = _traced_outline(function, known)
        return json.dumps([found.outputs, found.marks]).encode()

    name = name_of(outline, {"function": function}, known)
    if name is None:
        return _traced_outline(function, known)
    outputs, marks = json.loads(kept(name, find))
    return Outline(outputs and tuple(outputs), {mark: tuple(shape) for mark, shape in marks.items()})


def _traced_outline(function: Function, known: Shapes) -> Outline:
    closed, output = trace(jax.jit(function), *of_shapes(*known))
    marks = {name: aval.shape for name, aval in marks_of(program_for(closed, gradient())).items()}
    return Outline(closed.out_avals[0].shape if jax.tree_util.treedef_is_leaf(output) else None, marks)


def layers_of(
    name: str, kind: Kind, wanted: Sequence[str] | None, function: Function, images: Any, parameters: PyTree
) -> tuple[str, ...]:
    """Returns the layers at which a method is computed.

    Args:
      name: of the method, for messages.
      kind: the method.
      wanted: names of marks, and ``"input"``. By default all marks for maps of activations, and the input for methods
        that work there.
      function: the model.
      images: a batch, of which only shape and dtype count.
      parameters: of the model, likewise.

    Returns:
      Those of the wanted layers at which the method can be computed.

    Raises:
      ValueError: a layer that the model does not have, or none where the method can be computed.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.explain.methods import METHODS
      >>> from xrcam_jax.explain.outline import layers_of
      >>> model = lambda images, parameters: xr.mark(images @ parameters, "colours").mean((1, 2))
      >>> images, parameters = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 5))
      >>> [layers_of(name, METHODS[name].kind, None, model, images, parameters) for name in ("grad_cam", "gradient")]
      [('colours',), ('input',)]
    """
    marks = outline(function, images, parameters).marks
    for layer in wanted or ():
        if layer not in marks and layer != INPUT:
            raise unknown("layer", layer, [*marks, INPUT])
    if kind.where == "input":
        return (INPUT,)
    if kind.where == "both":
        return tuple(wanted) if wanted else (INPUT,)
    layers = tuple(layer for layer in wanted or marks if layer != INPUT)
    if not layers:
        raise ValueError(
            f"{name} needs a layer of activations, not the input"
            if marks
            else "the model has no marked layers; put xr.mark(x, name) after those to explain"
        )
    for layer in layers:
        if len(marks[layer]) != 4:
            raise ValueError(
                f"layer {layer!r} must be (b, h, w, k) for a class activation map, has shape {marks[layer]}"
            )
    if not kind.behind_pooling:
        return layers
    known = shapes((images, parameters))
    fitting = tuple(layer for layer in layers if _is_behind_pooling(function, layer, known))
    if not fitting:
        raise ValueError(
            f"{name} is defined for a layer that only global pooling and a linear layer follow; none of "
            f"{', '.join(layers)} is one"
        )
    return fitting


@lru_cache(maxsize=128)
def _is_behind_pooling(function: Function, layer: str, known: Shapes) -> bool:
    """Says whether nothing but global pooling and a linear layer follows ``layer``."""
    closed, _ = trace(jax.jit(function), *of_shapes(*known))
    rules = relevance_cam()
    explained = [i == 0 for i in range(len(closed.in_avals))]
    try:
        _, sites = make_plan(program_for(closed, rules), rules, explained, frozenset({layer}))
    except NotImplementedError:
        return False
    return sorted(site.kind for site in sites) == ["dense", "sum"]
