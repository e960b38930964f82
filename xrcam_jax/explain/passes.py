"""Single-pass methods: one forward pass and one backward pass for each signal, for all methods and layers together."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.attribution.case import INPUT, Function, Shapes, of_shapes, over_targets, shapes
from xrcam_jax.cam.saliency import weighted_sum
from xrcam_jax.explain.kinds import Cam, Found, Propagation
from xrcam_jax.lrp.composites import Composite, gradient, relevance_cam
from xrcam_jax.lrp.plan import make_plan
from xrcam_jax.lrp.program import marks_of, trace
from xrcam_jax.lrp.transform import Tapped, program_for, tap_program
from xrcam_jax.marks import mark
from xrcam_jax.runtime.compiling import compiled
from xrcam_jax.runtime.trace_cache import kept, name_of


@dataclass(frozen=True)
class Request:
    """A single-pass method and the layers where it is wanted."""

    name: str
    kind: Cam | Propagation
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Outline:
    """What can be known of a model without running it.

    Attributes:
      outputs: shape of what it returns, and None if that is no array.
      marks: shape of the activation at each mark.
    """

    outputs: tuple[int, ...] | None
    marks: dict[str, tuple[int, ...]]


def outline(function: Function, images: Any, parameters: PyTree) -> Outline:
    """Trace the model; of ``images`` and ``parameters`` only shapes and dtypes count."""
    return _outline(function, shapes((images, parameters)))


def is_behind_pooling(function: Function, images: Any, parameters: PyTree, layer: str) -> bool:
    """Whether nothing but global pooling and a linear layer follows ``layer``."""
    return _is_behind_pooling(function, layer, shapes((images, parameters)))


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


@lru_cache(maxsize=128)
def _is_behind_pooling(function: Function, layer: str, known: Shapes) -> bool:
    closed, _ = trace(jax.jit(function), *of_shapes(*known))
    rules = relevance_cam()
    explained = [i == 0 for i in range(len(closed.in_avals))]
    try:
        _, sites = make_plan(program_for(closed, rules), rules, explained, frozenset({layer}))
    except NotImplementedError:
        return False
    return sorted(site.kind for site in sites) == ["dense", "sum"]


@compiled(static=("function", "requests", "top_k"))
def single_pass(
    images: Float[Array, "b h w c"],
    parameters: PyTree,
    targets: Int[Array, "b t"] | None,
    *,
    function: Function,
    requests: tuple[Request, ...],
    top_k: int = 1,
) -> tuple[Float[Array, "b n"], Int[Array, "b t"], dict[str, dict[str, Found]]]:
    """Logits, targets, and what each request finds at each of its layers.

    Args:
      images: preprocessed.
      parameters: of the model.
      targets: what to explain; the ``top_k`` likeliest classes by default.
      function: the model.
      requests: what is wanted.
      top_k: how many classes, without ``targets``.
    """
    taps = _taps(images, parameters, function, requests)
    logits = next(iter(taps.values())).outputs[0] if taps else function(images, parameters)
    if targets is None:
        # Where a batch is laid across devices, top_k gathers it.
        targets = logits.argmax(1, keepdims=True) if top_k == 1 else jax.lax.top_k(logits, top_k)[1]
        targets = targets.astype(jnp.int32)
    signals = dict.fromkeys(request.kind.signal for request in requests)

    def find(target: Int[Array, " b"]) -> dict[str, dict[str, Found]]:
        arriving = {s: taps[s.composite].pullback([s.seed(logits, target)]) for s in signals}
        return {
            request.name: {
                layer: _found(
                    request.kind,
                    taps[request.kind.signal.composite].activations[layer],
                    arriving[request.kind.signal][layer],
                )
                for layer in request.layers
            }
            for request in requests
        }

    return logits, targets, over_targets(find, targets, axis=1)


def _taps(
    images: Array, parameters: PyTree, function: Function, requests: Sequence[Request]
) -> dict[Composite, Tapped]:
    """By composite: the outputs, the activations, and the pullback to all layers that its signals are wanted at."""
    wanted: dict[Composite, dict[str, None]] = {}
    for request in requests:
        wanted.setdefault(request.kind.signal.composite, {}).update(dict.fromkeys(request.layers))
    has_input = any(INPUT in layers for layers in wanted.values())
    # Of a jitted function, JAX keeps the trace: the outline has made it already.
    model = jax.jit(function)
    f = (lambda x, p: model(mark(x, INPUT), p)) if has_input else model
    closed, _ = trace(f, images, parameters)
    values = jax.tree.leaves((images, parameters))
    explained = [True] + [False] * (len(values) - 1)
    return {
        composite: tap_program(closed, composite, explained, values, tuple(layers))
        for composite, layers in wanted.items()
    }


def _found(kind: Cam | Propagation, value: Array, signal: Array) -> Found:
    if isinstance(kind, Propagation):
        return Found(values=signal * value if kind.times_value else signal)
    # Half precision would lose the small terms of the sums over space.
    dtype = jnp.promote_types(value.dtype, jnp.float32)
    a, s = value.astype(dtype), signal.astype(dtype)
    return Found(maps=weighted_sum(kind.weighed(a, s), kind.weights(a, s, **dict(kind.options))))
