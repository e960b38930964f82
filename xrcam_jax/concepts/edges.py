"""The attribution graph: how much of a concept's relevance comes from each concept of a layer below."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xrcam_jax.attribution.case import Progress, no_progress
from xrcam_jax.concepts.attributing import propagated
from xrcam_jax.concepts.conditions import Concepts, amounts, checked_concepts
from xrcam_jax.concepts.way import Way, ask
from xrcam_jax.runtime.brief import Brief


@dataclass(frozen=True, repr=False)
class ConceptGraph(Brief):
    """Holds relevance between the concepts of two layers.

    Attributes:
      upper: the layer nearer to the output.
      lower: the other.
      edges: of each upper and each lower concept, the relevance that goes through both.
      relevance: of each upper concept. As far as rules conserve relevance between the layers and nothing passes the
        lower one by, it is the sum of its edges to all channels of the lower layer.
      logits: what the model returns.
      targets: the class that is explained, for each picture.
    """

    upper: str
    lower: str
    edges: Float[Array, "u l b"]
    relevance: Float[Array, "u b"]
    logits: Float[Array, "b n"]
    targets: Int[Array, " b"]


def graph(
    model: Callable,
    images: Any,
    layers: Mapping[str, Concepts],
    *,
    targets: Any = None,
    chunk_size: int | None = None,
    progress: Progress = no_progress,
    **options: Any,
) -> ConceptGraph:
    """Returns how much relevance goes through each concept of a layer and then through each of a layer below.

    One pullback for each upper concept, those of a chunk together, serves all lower ones.

    Args:
      model: as for an :class:`xrcam_jax.Explainer`.
      images: a preprocessed batch.
      layers: two layers, in any order, each with its concepts as :func:`xrcam_jax.concepts.attribute` takes them; None
        means all channels.
      targets: the class to explain, one for all pictures or for each; the predicted one by default.
      chunk_size: how many upper concepts run at a time; by default as many as fit into a gibibyte, a power of two.
      progress: (iterable, its length, a name) -> the iterable; shows a bar for long loops.
      **options: of the method ``lrp``: ``composite=`` and ``seed=``.

    Returns:
      The edges (upper, lower, b), and the relevance of the upper concepts.

    Raises:
      ValueError: there are not two layers, neither lies above the other, or as :func:`xrcam_jax.concepts.attribute`
        does.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> low = lambda images: xr.mark(jnp.maximum(images, 0), "low")
      >>> model = lambda images: xr.mark(low(images) @ jnp.array([[1.0, 0.0], [2.0, 1.0]]), "high").sum((1, 2))
      >>> images = jnp.array([[4.0, 0.0], [0.0, 4.0]]).reshape(1, 1, 2, 2)
      >>> found = xr.concepts.graph(model, images, {"high": [0], "low": [0, 1]}, targets=0)
      >>> found.edges.round().tolist(), found.relevance.round().tolist()
      ([[[4.0], [8.0]]], [[12.0]])

    References:
      achtibat2023
    """
    if len(layers) != 2:
        raise ValueError(f"layers: expected two with concepts, found {', '.join(layers) or 'none'}")
    found = ask(model, images, tuple(layers), targets, propagated(options), chunk_size, progress)
    lower, upper = found.outline.layers
    below = jnp.asarray(checked_concepts(layers[lower], lower, found.outline.activations[0]))
    edges, relevance = found.each(found.concepts({upper: layers[upper]}), _edges, below)
    return ConceptGraph(upper, lower, edges, relevance, found.way.logits, found.way.targets)


def _edges(way: Way, among: Array, r: Array, below: Array) -> tuple[Array, Array]:
    return amounts(below, way.activations[0], r), among.sum(tuple(range(1, among.ndim)))
