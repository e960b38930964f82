"""Maps of concepts: where in the picture lies what a channel, or a direction, contributes to the class."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Float, Int

from xrcam_jax.attribution.asked import INPUT
from xrcam_jax.attribution.case import Progress, no_progress
from xrcam_jax.concepts.conditions import Concepts
from xrcam_jax.concepts.way import Asked, Way, ask, check_options
from xrcam_jax.explain.methods import configure
from xrcam_jax.explain.passes import Signal, SinglePass
from xrcam_jax.runtime.brief import Brief


@dataclass(frozen=True, repr=False)
class ConceptMaps(Brief):
    """Holds the relevance of concepts.

    Attributes:
      maps: of each concept and picture, the relevance at the input or another layer, summed over its channels.
      relevance: of each concept: the sum of what goes through it.
      logits: what the model returns.
      targets: the class that is explained, for each picture.
    """

    maps: Float[Array, "k b *space"]
    relevance: Float[Array, "k b"]
    logits: Float[Array, "b n"]
    targets: Int[Array, " b"]


def attribute(
    model: Callable,
    images: Any,
    layer: str | Mapping[str, Concepts],
    concepts: Concepts = None,
    *,
    targets: Any = None,
    at: str = INPUT,
    chunk_size: int | None = None,
    progress: Progress = no_progress,
    **options: Any,
) -> ConceptMaps:
    """Returns where in the pictures the relevance lies that goes through each of some concepts.

    The model runs forward once, relevance is propagated once from the target to the layer, and from there down for all
    concepts of a chunk together. What goes past the layer, as through the other branch of a residual connection, is of
    none of its concepts. The maps of all channels of a layer sum to the map of all that goes through it.

    Args:
      model: as for an :class:`xrcam_jax.Explainer`.
      images: a preprocessed batch.
      layer: its name; or concepts by layer, for relevance that goes through the first concept at each of them, through
        the second, and so on. A layer with one concept has it go with all of the others'.
      concepts: of the layer, see :mod:`xrcam_jax.concepts.conditions`: numbers of channels (n,), or (n, b) for each
        picture; sets of channels, (n, k) of True and False; directions, (n, k) of real numbers. By default all
        channels, one by one.
      targets: the class to explain, one for all pictures or for each, by number or name; the predicted one by default.
      at: the layer where relevance is wanted, the layer itself or below: by default the pictures.
      chunk_size: how many concepts run at a time; by default as many as fit into a gibibyte, a power of two.
      progress: (iterable, its length, a name) -> the iterable; shows a bar for long loops.
      **options: of the method ``lrp``: ``composite=`` and ``seed=``.

    Returns:
      The maps (n, b, *space), and the relevance of each concept (n, b).

    Raises:
      ValueError: an argument that does not fit the model, a layer that is below ``at`` or beside another, or concepts
        that the layer does not have.
      NotImplementedError: a layer is inside remat, scan or cond, or an operation has no rule.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> kernel, head = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[1.0, 0.0], [2.0, 1.0]])
      >>> model = lambda images: xr.mark(jnp.maximum(images @ kernel, 0), "layer").sum((1, 2)) @ head
      >>> images = jnp.array([[3.0, 0.0], [0.0, 5.0]]).reshape(1, 1, 2, 2)  # the first channel at the left
      >>> found = xr.concepts.attribute(model, images, "layer", [0, 1], targets=0)
      >>> found.maps.round().tolist(), found.relevance.round().tolist()
      ([[[[3.0, 0.0]]], [[[0.0, 10.0]]]], [[3.0], [10.0]])

    References:
      achtibat2023
    """
    given = by_layer(layer, concepts)
    found = ask(model, images, (*given, at), targets, propagated(options), chunk_size, progress)
    check_lowest(found, at)
    maps, relevance = found.each(found.concepts(given), _map_and_sum)
    return ConceptMaps(maps, relevance, found.way.logits, found.way.targets)


def by_layer(layer: str | Mapping[str, Concepts], concepts: Concepts) -> dict[str, Concepts]:
    """Returns concepts by layer.

    Args:
      layer: as of :func:`attribute`.
      concepts: likewise.

    Raises:
      ValueError: they are given twice, or there is no layer.

    Example:
      >>> from xrcam_jax.concepts.attributing import by_layer
      >>> by_layer("layer3", [1, 2])
      {'layer3': [1, 2]}
    """
    if isinstance(layer, str):
        return {layer: concepts}
    if concepts is not None:
        raise ValueError("give concepts by layer, {layer: concepts}, or a layer and concepts; found both")
    if not layer:
        raise ValueError("layer: expected at least one layer with concepts, found none")
    return dict(layer)


def propagated(options: Mapping[str, Any]) -> Signal:
    """Returns what is propagated, as options of the method ``lrp`` say.

    Args:
      options: ``composite`` and ``seed``, or neither.

    Raises:
      TypeError: they are none.
      ValueError: there are others.

    Example:
      >>> from xrcam_jax.concepts.attributing import propagated
      >>> propagated({}).seed.__name__
      'one_hot'
    """
    check_options(options)
    kind = configure("lrp", options)
    assert isinstance(kind, SinglePass)
    return kind.signal


def check_lowest(found: Asked, at: str) -> None:
    """Checks that no layer with concepts lies below the one where relevance is wanted.

    Args:
      found: the batch on its way through the layers.
      at: that layer.

    Raises:
      ValueError: one does.

    Example:
      >>> from xrcam_jax.concepts.attributing import check_lowest
      >>> check_lowest(found, "layer1")  # doctest: +SKIP
    """
    lowest = found.outline.layers[0]
    if lowest != at:
        raise ValueError(f"at: expected a layer below those with concepts, found {at!r} above {lowest!r}")


def _map_and_sum(way: Way, among: Array, r: Array, beside: tuple) -> tuple[Array, Array]:
    return r.sum(-1), among.sum(tuple(range(1, among.ndim)))
