"""What can be known of a model without running it, and so at which of its layers a method is computed."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from xrcam_jax.attribution.asked import Asked, Beside, described, explained_flags, explained_inputs, is_ids
from xrcam_jax.attribution.case import INPUT, Function
from xrcam_jax.attribution.on_grid import OnGrid
from xrcam_jax.attribution.rollout import patch_grid
from xrcam_jax.attribution.shapes import Shapes, of_shapes, shapes
from xrcam_jax.attribution.tokens import Tokens
from xrcam_jax.classes import class_count
from xrcam_jax.explain.inputs import View
from xrcam_jax.explain.kinds import Kind
from xrcam_jax.lrp.assignments import Composite
from xrcam_jax.lrp.composites import deep_lift, gradient, relevance_cam
from xrcam_jax.lrp.layers import Layers, Turn, has_marks_in_loops, last_of_each_size
from xrcam_jax.lrp.plan import make_plan
from xrcam_jax.lrp.planned import program_for, with_layers
from xrcam_jax.lrp.program import marks_of, trace
from xrcam_jax.lrp.scopes import find_layers
from xrcam_jax.runtime.trace_cache import kept, name_of

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Outline:
    """Holds what can be known of a model without running it.

    Attributes:
      outputs: shape of what the model returns; None if that is no array.
      marks: shape of the activation at each mark.
    """

    outputs: Shape | None
    marks: dict[str, Shape]


def outline(function: Function, images: Any, parameters: PyTree) -> Outline:
    """Returns what tracing tells of a model.

    Args:
      function: the model.
      images: a batch, of which only shape and dtype count.
      parameters: of the model, likewise.

    Raises:
      ValueError: a mark is set twice, or the model returns numbers that are not of floating point.

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
    program = program_for(closed, gradient())
    if has_marks_in_loops(program):
        program, _ = with_layers(closed, gradient(), _explained(known), None)
    marks = {name: aval.shape for name, aval in marks_of(program).items()}
    if output.num_leaves != 1 or output.num_nodes != 1:
        return Outline(None, marks)
    logits = closed.out_avals[0]
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(f"the model must return logits of floating point; got {logits.dtype}, which has no derivative")
    return Outline(logits.shape, marks)


def count_classes(function: Function, images: Any, parameters: PyTree) -> int:
    """Returns how many classes a model decides between: two, if it has one output or is asked by a target function.

    Args:
      function: the model.
      images: a batch, of which only shape and dtype count.
      parameters: of the model, likewise.

    Raises:
      ValueError: the model does not return logits, or a target function not one number for each picture.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.outline import count_classes
      >>> count_classes(lambda images, parameters: images.mean((1, 2)), jnp.ones((2, 8, 8, 3)), ())
      3
    """
    outputs = outline(function, images, parameters).outputs
    if outputs is not None and len(outputs) == 2:
        return class_count(outputs[1])
    found = jax.eval_shape(function, *of_shapes(*shapes((images, parameters))))
    leaves = [(jax.tree_util.keystr(path), a.ndim) for path, a in jax.tree.leaves_with_path(found)]
    if not leaves:
        raise ValueError(f"the model must return logits (b, n), and (b, 1) for a single one; got {found!r}")
    name, ndim = next(((name, ndim) for name, ndim in leaves if ndim), ("", 1))
    example = f"out{name}" + (f".sum({tuple(range(1, ndim))})" if ndim > 1 else "")
    raise ValueError(
        "the model must return logits (b, n), and (b, 1) for a single one; got "
        f"{described(found) if outputs is None else outputs}: give target=, a function of the output that returns one "
        f"number for each picture, such as target=lambda out: {example}"
    )


def _explained(known: Shapes) -> list[bool]:
    """Says which inputs of a model's jaxpr are explained."""
    return explained_flags(*of_shapes(*known))


@lru_cache(maxsize=32)
def _layers(function: Function, known: Shapes) -> Layers:
    closed, _ = trace(jax.jit(function), *of_shapes(*known))
    return Layers(*find_layers(closed, _explained(known)))


def _named(function: Function, wanted: Sequence[str], marks: Mapping[str, Shape], known: Shapes) -> dict[str, Shape]:
    """Returns the layers that names and globs stand for, with their shapes; that of the input is not told."""
    found: dict[str, Shape] = {}
    for name in wanted:
        if name in marks:
            found[name] = marks[name]
        elif name == INPUT:
            images, parameters = of_shapes(*known)
            found |= dict.fromkeys(explained_inputs(images, parameters, function), ())
        else:
            turns = _selected(function, name, known)
            found |= {each: turn.layer.shape for each, turn in turns.items()}
    return found


def _selected(function: Function, name: str, known: Shapes) -> dict[str, Turn]:
    """Returns the layers of a name or glob, or says that they lie behind token ids that are not explained."""
    try:
        return _layers(function, known).select(name, also=(INPUT,))
    except ValueError as error:
        images, beside = of_shapes(*known)
        ids = {at: a for at, a in beside.others.items() if is_ids(a)} if isinstance(beside, Beside) else {}
        if not ids:
            raise
        explained = Beside({**beside.explained, **ids}, {}, beside.asked, beside.parameters)
        try:
            _layers(function, shapes((images, explained))).select(name)
        except (ValueError, NotImplementedError):
            raise error from None
        every = [at.removeprefix(f"{INPUT}.") for at in (*explained_inputs(images, beside, function), *ids)]
        raise ValueError(
            f"layer {name!r} lies behind token ids that are not explained; name them too, as in "
            f"explain=({', '.join(map(repr, every))})"
        ) from error


@lru_cache(maxsize=32)
def _chosen(function: Function, known: Shapes) -> dict[str, Shape]:
    """Chooses layers of a model that has no marks, and says which."""
    # What a target function computes is no layer of the model.
    model = replace(function, target=None) if isinstance(function, Asked) else function
    axes = _axes(jax.tree.leaves(of_shapes(*known)[0])[0])
    chosen = {name: turn.layer.shape for name, turn in last_of_each_size(_layers(model, known), axes).items()}
    if not chosen:
        raise ValueError(
            f"the model has no marked layers, and none of shape {_like(axes)} that could be chosen; put "
            "xr.mark(x, name) after those to explain"
        )
    listed = ", ".join(f"{name!r} {shape}" for name, shape in chosen.items())
    warnings.warn(
        f"the model has no marked layers, so the last one of each size is taken: {listed}; give layers= to choose "
        "others, which xr.layers lists",
        stacklevel=2,
    )
    return chosen


def layers_of(
    name: str, kind: Kind, wanted: Sequence[str] | None, function: Function, images: Any, parameters: PyTree
) -> tuple[str, ...]:
    """Returns the layers at which a method is computed.

    Args:
      name: of the method, for messages.
      kind: the method.
      wanted: names and globs of layers, and ``"input"``. By default all marks for maps of activations, or the last
        layer of each size if there are none, which a warning then says; and the input for methods that work there.
      function: the model.
      images: a batch, of which only shape and dtype count.
      parameters: of the model, likewise.

    Returns:
      Those of the wanted layers at which the method can be computed.

    Raises:
      ValueError: a layer that the model does not have, or none where the method can be computed.
      NotImplementedError: a layer inside a branch or a loop of unknown length.

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
    marks, known = outline(function, images, parameters).marks, shapes((images, parameters))
    named = _named(function, wanted or (), marks, known)
    inputs = explained_inputs(images, parameters, function)
    here, found, marks = (
        {at: shape for at, shape in some.items() if (at in inputs) == is_input}
        for some, is_input in ((named, True), (named, False), (marks, False))
    )
    if kind.where == "input":
        return tuple(here) or _with_places(name, inputs)
    if kind.changes_input and is_ids(images):
        raise ValueError(f"{name} changes pictures, and the model gets token ids, {described(images)}")
    if kind.where == "both":
        _check_axes(found, inputs, "a map")
        layers = tuple(named) or tuple(inputs)
        if ids := [layer for layer in layers if layer in inputs and is_ids(inputs[layer])]:
            raise ValueError(f"{name} needs the layer of an embedding in layers=: token ids, {ids[0]!r}, have no maps")
        return layers
    if wanted and not found:
        raise ValueError(f"{name} needs a layer of activations, not the input")
    found = found or marks or _chosen(function, known)
    _check_axes(found, inputs, "a class activation map")
    layers = tuple(found)
    if not kind.behind_pooling:
        return layers
    fitting = tuple(layer for layer in layers if _is_behind_pooling(function, layer, known))
    if not fitting:
        raise ValueError(
            f"{name} is defined for a layer that only global pooling and a linear layer follow; none of "
            f"{', '.join(layers)} is one"
        )
    return fitting


def _like(axes: int) -> str:
    """Says what shape layers have, by the number of axes of the images."""
    space = (*(f"s{number}" for number in range(axes - 5)), "d", "h", "w")[-(axes - 2) :]
    return f"({', '.join(('b', *space, 'k'))})"


def _check_axes(found: Mapping[str, Shape], inputs: Mapping[str, Any], what: str) -> None:
    """Refuses layers that do not lie in the space of an input, or where the tokens of an embedding are."""
    axes, images = [_axes(a) for a in inputs.values()], next(iter(inputs.values())).shape
    for layer, shape in found.items():
        if layer not in inputs and len(shape) not in axes:
            hint = _hint(shape[1], images[1:-1]) if len(shape) == 3 and len(images) > 3 else ""
            raise ValueError(f"layer {layer!r} must be {_like(axes[0])} for {what}, has shape {shape}{hint}")


def _axes(a: Any) -> int:
    """Returns how many axes the layers have that lie where an input does."""
    return len(a.shape) + is_ids(a)


def _hint(tokens: int, size: Shape) -> str:
    """Suggests where tokens could lie; only who knows the model can say whether they do."""
    try:
        prefix, grid = patch_grid(tokens, size)
    except NotImplementedError:
        return "; if these are tokens, say where they lie by tokens=xr.Tokens(grid=..., prefix=...)"
    guess = Tokens(grid, prefix)
    return f"; if these are tokens, say where they lie, as tokens=xr.{guess!r} does for {guess}"


def _with_places(name: str, inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the inputs parts of which can be hidden."""
    fitting = tuple(layer for layer, a in inputs.items() if len(a.shape) > 2 and not is_ids(a))
    if not fitting:
        found = ", ".join(f"{layer} is {described(a)}" for layer, a in inputs.items())
        raise ValueError(f"{name} changes parts of pictures; {found}")
    return fitting


def on_grid(
    views: Mapping[str, View], tokens: Tokens, wanted: Sequence[str] | None, *, needed: bool
) -> tuple[dict[str, View], tuple[str, ...] | None]:
    """Returns a model whose layers of tokens are marks on their grid, and the names of these and the others wanted.

    Args:
      views: the model as functions of its explained inputs; the tokens lie in the first.
      tokens: where the tokens lie.
      wanted: names and globs of layers, and ``"input"``; by default all marks of tokens.
      needed: whether a method needs a layer, so that there has to be one.

    Raises:
      ValueError: the grid has not as many axes as the images, a layer has another number of tokens, or the model does
        not have it; or no layer is named or marked, and one is needed.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.tokens import Tokens
      >>> from xrcam_jax.explain.inputs import views_of
      >>> from xrcam_jax.explain.outline import on_grid, outline
      >>> model = lambda images, parameters: xr.mark(images.reshape(1, 4, 3), "patches").mean(1)
      >>> views, names = on_grid(views_of(model, (), jnp.ones((1, 2, 2, 3))), Tokens((2, 2)), None, needed=True)
      >>> names, outline(*views["input"]).marks
      (('patches',), {'patches': (1, 2, 2, 3)})
    """
    first = next(iter(views.values()))
    axes = len(first.images.shape) - 2
    if len(tokens.grid) != axes:
        raise ValueError(
            f"tokens: the grid {tokens.grid} has {len(tokens.grid)} axes, and images {first.images.shape} {axes}"
        )
    inputs = explained_inputs(first.images, first.parameters, first.function)
    marks, known = outline(*first).marks, shapes((first.images, first.parameters))
    if wanted is None:
        names = tuple(name for name, shape in marks.items() if len(shape) == 3 and shape[1] == tokens.count)
        if needed and not names:
            raise ValueError(f"tokens: no mark has {tokens} of them; name layers in layers=, which xr.layers lists")
        if not names:
            return dict(views), None
        found = {name: marks[name] for name in names}
    else:
        found = _named(first.function, wanted, marks, known)
    for layer, shape in found.items():
        if len(shape) == 3 != axes + 2 and shape[1] != tokens.count:
            raise ValueError(f"tokens: layer {layer!r} has {shape[1]} of them, and the grid says {tokens}")
    laid = tuple(name for name in found if name not in inputs)
    return {name: view._replace(function=_laid(view.function, tokens, laid)) for name, view in views.items()}, (*found,)


def _laid(function: Function, tokens: Tokens, layers: tuple[str, ...]) -> Function:
    """Returns a model with marks of tokens on their grid; what is asked of it stays as it is."""
    if isinstance(function, Asked):
        return replace(function, model=OnGrid(function.model, tokens, layers))
    return OnGrid(function, tokens, layers)


@lru_cache(maxsize=128)
def _is_behind_pooling(function: Function, layer: str, known: Shapes) -> bool:
    """Says whether nothing but global pooling and a linear layer follows ``layer``."""
    # Maxima keep their derivative by the first composite, and by the second, all that is linear does.
    kinds = [_kinds_behind(function, layer, known, rules) for rules in (relevance_cam(), deep_lift())]
    return kinds == [["dense", "sum"], []]


def _kinds_behind(function: Function, layer: str, known: Shapes, rules: Composite) -> list[str] | None:
    """Returns the kinds of the operations behind ``layer`` that have a rule; None if one cannot have one."""
    closed, _ = trace(jax.jit(function), *of_shapes(*known))
    explained = _explained(known)
    program, names = with_layers(closed, rules, explained, [layer])
    try:
        _, sites = make_plan(program, rules, explained, frozenset(names))
    except NotImplementedError:
        return None
    return sorted(site.kind for site in sites)
