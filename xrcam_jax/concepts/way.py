"""One forward pass, the relevance at the highest layer, and the way from there down, which each concept takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree, Shaped

from xrcam_jax.attribution.asked import INPUT, explained_flags
from xrcam_jax.attribution.case import Case, Function, Progress
from xrcam_jax.attribution.chunks import MEMORY, stacked
from xrcam_jax.attribution.shapes import Shapes, of_shapes, shapes
from xrcam_jax.classes import class_logits
from xrcam_jax.concepts.conditions import Concepts, checked_concepts, through
from xrcam_jax.explain.explainer import Explainer
from xrcam_jax.explain.inputs import is_tree
from xrcam_jax.explain.passes import Signal
from xrcam_jax.lrp.parts import in_parts
from xrcam_jax.lrp.program import trace
from xrcam_jax.lrp.sides import seed_of_sides
from xrcam_jax.marks import mark
from xrcam_jax.runtime.compiling import compiled
from xrcam_jax.runtime.devices import shards
from xrcam_jax.runtime.memory import peak_bytes

#: What is said to who asks for more than a class.
_CLASSES_ALONE = (
    "concepts explain a class for each picture; what a function f says of the output is class 1 of "
    "lambda images: f(model(images))[:, None]"
)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["logits", "targets", "activations", "relevance", "pullbacks"],
    meta_fields=["layers"],
)
@dataclass(frozen=True)
class Way:
    """Holds what the forward pass left, and the relevance of the target at the highest layer.

    Attributes:
      layers: from the lowest up.
      logits: what the model returns, (b, n).
      targets: the class that is explained, for each picture, (b,).
      activations: at each layer.
      relevance: at the highest layer.
      pullbacks: from each layer but the lowest to that below, each a :data:`xrcam_jax.lrp.parts.Pullback`.
    """

    layers: tuple[str, ...]
    # JAX also makes it of what stands for arrays, so that no annotation could promise them.
    logits: Any
    targets: Any
    activations: tuple[Any, ...]
    relevance: Any
    pullbacks: tuple[Any, ...]

    def down(self, concepts: Mapping[str, Array]) -> tuple[Array, Array]:
        """Returns what goes through concepts on its way down.

        Args:
          concepts: by layer, one concept. The lowest layer need have none.

        Returns:
          The relevance at the lowest layer that has a concept, and that at the lowest layer.
        """
        r = among = self.relevance
        for i in reversed(range(len(self.layers))):
            if self.layers[i] in concepts:
                r = among = through(concepts[self.layers[i]], self.activations[i], r)
            if i:
                (r,) = self.pullbacks[i - 1](r)
        return among, r


#: (the way, relevance at the lowest layer that has a concept, that at the lowest layer, arrays) -> what is wanted.
Reduce = Callable[[Way, Array, Array, PyTree], PyTree]


@compiled(static=("function", "signal", "layers"))
def find_way(
    images: Shaped[Array | np.ndarray, "b ..."],
    parameters: PyTree,
    targets: Int[Array | np.ndarray, " b"] | None,
    *,
    function: Function,
    signal: Signal,
    layers: tuple[str, ...],
) -> Way:
    """Runs a model forward, and propagates to the highest of some layers.

    Args:
      images: preprocessed.
      parameters: of the model.
      targets: the class of each image; the predicted one by default.
      function: the model.
      signal: what is propagated.
      layers: names of layers, or ``"input"``, in any order.

    Returns:
      The way from the highest of them down.

    Raises:
      ValueError: there is no such layer, or one of them does not depend on that below.
      NotImplementedError: a layer is inside remat, scan or cond, or an operation has no rule.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.concepts.way import find_way
      >>> from xrcam_jax.explain.cam_methods import GRADIENT
      >>> model = lambda images, parameters: xr.mark(images**2, "squares").sum((1, 2))
      >>> images = jnp.array([[1.0, 5.0], [2.0, 0.0]]).reshape(1, 2, 2, 1) * jnp.array([1.0, 2.0])
      >>> way = find_way(images, (), None, function=model, signal=GRADIENT, layers=("squares", "input"))
      >>> way.layers, way.targets.tolist(), way.pullbacks[0](way.relevance)[0][0, 0].tolist()
      (('input', 'squares'), [1], [[0.0, 4.0], [0.0, 20.0]])
    """
    model = (lambda x, p: function(mark(x, INPUT), p)) if INPUT in layers else function
    closed, _ = trace(model, images, parameters)
    one_output = closed.out_avals[0].shape[1] == 1
    parts = in_parts(closed, signal.composite, layers, explained_flags(images, parameters), sides=one_output)
    output, activations, pullbacks = parts.run(jax.tree.leaves((images, parameters)))
    logits = output[:, 1:] if one_output else output
    chosen = class_logits(logits).argmax(1) if targets is None else jnp.asarray(targets)
    chosen = chosen.astype(jnp.int32)
    seed = partial(seed_of_sides, signal.seed, signal.composite, rule=parts.rule) if one_output else signal.seed
    (relevance,) = pullbacks[-1](seed(logits, chosen))
    return Way(parts.layers, logits, chosen, activations, relevance, pullbacks[:-1])


@dataclass(frozen=True)
class Asked:
    """Holds a batch whose concepts are asked for.

    The model runs when :attr:`way` is first read. What is asked is checked by :attr:`outline` before.

    Attributes:
      own: the model, and how large chunks are.
      images: preprocessed.
      classes: of each image; None for the predicted ones.
      signal: what is propagated.
      names: of the layers, in any order.
    """

    own: Explainer
    images: Any
    classes: Any
    signal: Signal
    names: tuple[str, ...]

    @property
    def outline(self) -> Way:
        """The way, of shapes in the place of arrays: the model is traced, and does not run."""
        known = shapes((self.images, self.own.parameters, self.classes))
        return _outline(known, self.own.function, self.signal, self.names)

    @cached_property
    def way(self) -> Way:
        """The way of the batch."""
        kept = {"function": self.own.function, "signal": self.signal, "layers": self.names}
        return find_way(self.images, self.own.parameters, self.classes, **kept)

    def concepts(self, given: Mapping[str, Concepts]) -> dict[str, np.ndarray]:
        """Returns concepts by layer, the same number at each, of which one goes with all of the others."""
        activations = dict(zip(self.outline.layers, self.outline.activations, strict=True))
        found = {layer: checked_concepts(each, layer, activations[layer]) for layer, each in given.items()}
        count = max(map(len, found.values()))
        if {len(each) for each in found.values()} - {1, count}:
            numbers = ", ".join(f"{len(each)} at {layer}" for layer, each in found.items())
            raise ValueError(f"concepts: expected as many at each layer, or one; found {numbers}")
        return {layer: np.broadcast_to(each, (count, *each.shape[1:])) for layer, each in found.items()}

    def each(self, concepts: Mapping[str, np.ndarray], reduce: Reduce, beside: PyTree = ()) -> PyTree:
        """Returns for each concept what ``reduce`` makes of its relevance, for as many at a time as fit into memory.

        Args:
          concepts: by layer, of :meth:`concepts`.
          reduce: hashable.
          beside: its arrays.
        """
        given, own = jax.tree.map(jnp.asarray, dict(concepts)), self.own
        count = len(next(iter(given.values())))
        batch, targets = jnp.asarray(self.images), self.way.targets[:, None]
        size = own.chunk_size
        if size is None:
            fitting = max(1, MEMORY * shards(batch) // _bytes_each(shapes((self.way, given, beside)), reduce))
            # A power of two: on 2 cores a concept takes up to a sixth less than in chunks of other sizes.
            size = 1 << (fitting.bit_length() - 1)

        def step(indices: Array) -> PyTree:
            return _each(self.way, given, beside, indices, reduce=reduce)

        case = Case(own.function, own.parameters, batch, targets, size, own.progress)
        return stacked(step, count, case, 1, "concepts")


@lru_cache(maxsize=64)
def _outline(known: Shapes, function: Function, signal: Signal, layers: tuple[str, ...]) -> Way:
    return jax.eval_shape(partial(find_way, function=function, signal=signal, layers=layers), *of_shapes(*known))


@compiled(static=("reduce",))
def _each(way: Way, concepts: dict[str, Array], beside: PyTree, indices: Array, *, reduce: Reduce) -> PyTree:
    chosen = jax.tree.map(lambda a: a[indices], concepts)
    return jax.vmap(lambda one: reduce(way, *way.down(one), beside))(chosen)


@lru_cache(maxsize=64)
def _bytes_each(known: Shapes, reduce: Reduce) -> int:
    """Returns an estimate of the memory that one concept takes."""
    index = jax.ShapeDtypeStruct((1,), jnp.int32)
    return peak_bytes(jax.make_jaxpr(partial(_each, reduce=reduce))(*of_shapes(*known), index))


def ask(
    model: Callable,
    images: Any,
    layers: Sequence[str],
    targets: Any,
    signal: Signal,
    chunk_size: int | None,
    progress: Progress,
) -> Asked:
    """Checks a batch that is to run forward.

    Args:
      model: as for an :class:`xrcam_jax.Explainer`.
      images: a preprocessed batch.
      layers: names of layers.
      targets: one class for all pictures or for each, by number or name; the predicted one by default.
      signal: what is propagated.
      chunk_size: how many concepts run at a time; as many as fit into memory by default.
      progress: is told of long loops.

    Returns:
      The batch, whose way through the layers is still to be found.

    Raises:
      ValueError: images or targets are not what the model has, or ``chunk_size`` is less than 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import no_progress
      >>> from xrcam_jax.concepts.way import ask
      >>> from xrcam_jax.explain.cam_methods import GRADIENT
      >>> model = lambda images: images.mean((1, 2))
      >>> ask(model, jnp.ones((1, 2, 2, 3)), ["input"], 1, GRADIENT, None, no_progress).way.targets.tolist()
      [1]
    """
    own = Explainer(model, (), chunk_size=chunk_size, progress=progress)
    if is_tree(images):
        raise ValueError("images: expected one batch of pictures, found several inputs")
    if callable(targets):
        raise ValueError(f"targets: expected classes, found a function: {_CLASSES_ALONE}")
    try:
        batch, classes, _, _ = own.checked(images, targets, top_k=None, target=None)
    except ValueError as error:
        # The Explainer's cure for a model without classes is none here.
        said, cure, _ = str(error).partition("give target=")
        raise ValueError(f"{said}{_CLASSES_ALONE}") if cure else error from None
    if classes is not None and classes.ndim != 1:
        raise ValueError(f"targets: expected one class for each picture, found {classes.shape[1]}")
    names = tuple(dict.fromkeys(layers))
    return Asked(own, batch, classes, signal, names)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses what an Explainer's call takes to say what is explained, where ``targets`` alone say it.

    Args:
      options: of a method, by name.

    Raises:
      ValueError: ``target`` or ``top_k`` is among them.

    Example:
      >>> from xrcam_jax.concepts.way import check_options
      >>> check_options({"eps": 1e-6})
    """
    for name in ("target", "top_k"):
        if name in options:
            raise ValueError(f"{name}: expected targets=, which names classes: {_CLASSES_ALONE}")
