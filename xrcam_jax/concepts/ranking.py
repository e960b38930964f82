"""Which concepts of a layer the class of a picture hangs on most."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from xrcam_jax.attribution.case import no_progress
from xrcam_jax.concepts.attributing import propagated
from xrcam_jax.concepts.conditions import Concepts, amounts, checked_concepts
from xrcam_jax.concepts.measuring import shares
from xrcam_jax.concepts.way import ask
from xrcam_jax.runtime.brief import Brief
from xrcam_jax.runtime.compiling import compiled


@dataclass(frozen=True, repr=False)
class RankedConcepts(Brief):
    """Holds concepts of a layer, those of each picture in their order.

    Attributes:
      concepts: their numbers, which :func:`xrcam_jax.concepts.attribute` takes where concepts are channels.
      relevance: of each.
      share: of each, its relevance over the sum of the sizes of all concepts' relevances; from -1 to 1, and 0 where no
        concept has any.
      logits: what the model returns.
      targets: the class that is explained, for each picture.
    """

    concepts: Int[Array, "k b"]
    relevance: Float[Array, "k b"]
    share: Float[Array, "k b"]
    logits: Float[Array, "b n"]
    targets: Int[Array, " b"]


def most_relevant(
    model: Callable,
    images: Any,
    layer: str,
    k: int = 8,
    *,
    concepts: Concepts = None,
    targets: Any = None,
    absolute: bool = False,
    **options: Any,
) -> RankedConcepts:
    """Returns the k concepts of each picture that have the largest share of the relevance, from one pass.

    Args:
      model: as for an :class:`xrcam_jax.Explainer`.
      images: a preprocessed batch.
      layer: its name.
      k: how many; no more than there are concepts.
      concepts: among which, see :func:`xrcam_jax.concepts.attribute`; all channels by default.
      targets: the class to explain, one for all pictures or for each; the predicted one by default.
      absolute: whether those come first whose share is largest in size, be they for or against the class.
      **options: of the method ``lrp``: ``composite=`` and ``seed=``.

    Returns:
      Numbers of concepts (k, b), with their relevance and share. Those with a share above 0 speak for the class. Where
        there are fewer than k, those without relevance follow, and then those against it: where a logit is negative,
        there may be none, and the first has a share of 0.

    Raises:
      ValueError: an argument that does not fit the model, concepts that the layer does not have, or a k that is less
        than 1 or more than there are.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> model = lambda images: xr.mark(images * 1, "layer").sum((1, 2)) @ jnp.array([[1.0, 0.0], [3.0, 1.0]])
      >>> images = jnp.array([[5.0, 0.0], [0.0, 5.0]]).reshape(1, 1, 2, 2)
      >>> found = xr.concepts.most_relevant(model, images, "layer", 2, targets=0)
      >>> found.concepts.tolist(), found.share.round(4).tolist()
      ([[1], [0]], [[0.75], [0.25]])

    References:
      achtibat2023
    """
    asked = ask(model, images, [layer], targets, propagated(options), None, no_progress)
    chosen = checked_concepts(concepts, layer, asked.outline.activations[0])
    if np.ndim(k) or not 1 <= k <= len(chosen):
        raise ValueError(f"k: expected a number between 1 and that of the concepts, {len(chosen)}, found {k!r}")
    way = asked.way
    numbers, relevance, share = _ranked(jnp.asarray(chosen), way.activations[0], way.relevance, k=k, absolute=absolute)
    return RankedConcepts(numbers, relevance, share, way.logits, way.targets)


@compiled(static=("k", "absolute"))
def _ranked(concepts: Array, a: Array, r: Array, *, k: int, absolute: bool) -> tuple[Array, Array, Array]:
    relevance = amounts(concepts, a, r)
    share = shares(relevance)
    numbers = jax.lax.top_k((jnp.abs(share) if absolute else share).T, k)[1].T
    return numbers, jnp.take_along_axis(relevance, numbers, axis=0), jnp.take_along_axis(share, numbers, axis=0)
