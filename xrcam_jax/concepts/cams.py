"""Class activation maps of concepts: what arrives at an earlier layer of the relevance through a concept weighs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array

from xrcam_jax.attribution.case import Progress, no_progress
from xrcam_jax.concepts.attributing import ConceptMaps, by_layer, check_lowest
from xrcam_jax.concepts.conditions import Concepts
from xrcam_jax.concepts.way import Way, ask, check_options
from xrcam_jax.explain.methods import configure
from xrcam_jax.explain.passes import Cam


def cam(
    model: Callable,
    images: Any,
    layer: str | Mapping[str, Concepts],
    concepts: Concepts = None,
    *,
    at: str,
    method: str = "xrelevance_cam",
    targets: Any = None,
    chunk_size: int | None = None,
    progress: Progress = no_progress,
    **options: Any,
) -> ConceptMaps:
    """Returns XRelevance-CAM of each of some concepts, or another class activation map.

    The method gets, in the place of the relevance (or gradient) of the class at a layer, the part that has come through
    the concept at a layer above.

    Args:
      model: as for an :class:`xrcam_jax.Explainer`.
      images: a preprocessed batch.
      layer: that of the concepts, see :func:`xrcam_jax.concepts.attribute`.
      concepts: likewise.
      at: the layer whose channels are weighed: that of the concepts, or one below.
      method: the name of a class activation map of one pass in ``xrcam_jax.METHODS``; relevance or gradient, and what
        is put at the logits, are the method's.
      targets: the class to explain, one for all pictures or for each; the predicted one by default.
      chunk_size: how many concepts run at a time; by default as many as fit into a gibibyte, a power of two.
      progress: (iterable, its length, a name) -> the iterable; shows a bar for long loops.
      **options: of the method, such as ``composite=`` and ``seed=``.

    Returns:
      The maps (n, b, *space) at the size of the layer ``at``, before ReLU and scaling; and what goes through each
        concept (n, b).

    Raises:
      ValueError: as :func:`xrcam_jax.concepts.attribute` does, or for a method that is no such map.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> low = lambda images: xr.mark(jnp.maximum(images, 0), "low")
      >>> model = lambda images: xr.mark(low(images) @ jnp.array([[1.0, 0.0], [2.0, 1.0]]), "high").mean((1, 2))
      >>> images = jnp.array([[4.0, 0.0], [0.0, 4.0]]).reshape(1, 1, 2, 2)
      >>> found = xr.concepts.cam(model, images, "high", [0, 1], at="low", method="grad_cam", targets=0)
      >>> found.maps.tolist()  # class 0 has nothing of channel 1
      [[[[2.0, 4.0]]], [[[0.0, 0.0]]]]

    References:
      achtibat2023, you2024
    """
    check_options(options)
    kind = configure(method, options)
    if not isinstance(kind, Cam):
        raise ValueError(
            f"method: expected a class activation map of one pass, such as xrelevance_cam, found {method!r}"
        )
    given = by_layer(layer, concepts)
    found = ask(model, images, (*given, at), targets, kind.signal, chunk_size, progress)
    check_lowest(found, at)
    maps, relevance = found.each(found.concepts(given), _Weighed(kind))
    return ConceptMaps(maps, relevance, found.way.logits, found.way.targets)


@dataclass(frozen=True)
class _Weighed:
    """Makes the map of a method from what arrives at the lowest layer."""

    kind: Cam

    def __call__(self, way: Way, among: Array, r: Array, beside: tuple) -> tuple[Array, Array]:
        maps = self.kind.find(way.activations[0], r).maps
        assert maps is not None  # as of every class activation map
        return maps, among.sum(tuple(range(1, among.ndim)))
