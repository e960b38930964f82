"""How much each channel of a layer has to do with a picture: its share of the relevance, its activation, and where."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from xrcam_jax.attribution.case import Function
from xrcam_jax.concepts.way import find_way
from xrcam_jax.explain.passes import Signal
from xrcam_jax.runtime.brief import Brief
from xrcam_jax.runtime.compiling import compiled


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["share", "relevant_place", "activation", "active_place", "logits"],
    meta_fields=[],
)
@dataclass(frozen=True, repr=False)
class Measured(Brief):
    """Holds what is found of each picture of a batch and each channel of a layer, (b, k).

    Attributes:
      share: the relevance that goes through the channel, over the sum of the sizes of all channels' relevances; from -1
        to 1, and 0 where no channel has any.
      relevant_place: the place where the channel's relevance is largest; places are counted along the rows.
      activation: the channel's largest.
      active_place: where it is.
      logits: what the model returns, (b, n).
    """

    # JAX also makes it of what stands for arrays, so that no annotation could promise them.
    share: Any
    relevant_place: Any
    activation: Any
    active_place: Any
    logits: Any


@compiled(static=("function", "signal", "layer"))
def measured(
    images: Any, parameters: PyTree, targets: Any, *, function: Function, signal: Signal, layer: str
) -> Measured:
    """Measures the channels of a layer in one forward pass, and one of relevance from the target to the layer.

    Args:
      images: preprocessed, (b, h, w, c).
      parameters: of the model.
      targets: the class of each image; the predicted one if that is None.
      function: the model.
      signal: what is propagated.
      layer: its name; its activations are (b, p, q, k).

    Returns:
      What each channel has to do with each picture.

    Raises:
      ValueError: there is no such layer.
      NotImplementedError: it is inside remat, scan or cond, or an operation above it has no rule.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.concepts.attributing import propagated
      >>> from xrcam_jax.concepts.measuring import measured
      >>> def model(images, parameters):
      ...     return xr.mark(images * 1, "layer").sum((1, 2)) @ jnp.array([[1.0, 0.0], [3.0, 1.0]])
      >>> images = jnp.array([[5.0, 0.0], [0.0, 5.0]]).reshape(1, 1, 2, 2)
      >>> targets = jnp.array([0], jnp.int32)
      >>> found = measured(images, (), targets, function=model, signal=propagated({}), layer="layer")
      >>> found.share.round(4).tolist(), found.relevant_place.tolist(), found.activation.tolist()
      ([[0.25, 0.75]], [[0, 1]], [[5.0, 5.0]])
    """
    way = find_way(images, parameters, targets, function=function, signal=signal, layers=(layer,))
    a, r = (each.reshape(len(each), -1, each.shape[-1]) for each in (way.activations[0], way.relevance))
    share = shares(r.sum(1).T).T
    return Measured(share, r.argmax(1).astype(jnp.int32), a.max(1), a.argmax(1).astype(jnp.int32), way.logits)


def shares(relevance: Float[Array, "k b"]) -> Float[Array, "k b"]:
    """Returns the relevance of concepts over the sum of the sizes of all; 0 where no concept has any.

    Args:
      relevance: of each concept and picture.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.concepts.measuring import shares
      >>> shares(jnp.array([[1.0, 0.0], [-3.0, 0.0]])).tolist()
      [[0.25, 0.0], [-0.75, 0.0]]
    """
    size = jnp.abs(relevance).sum(0)
    return jnp.where(size == 0, jnp.zeros_like(relevance), relevance / jnp.where(size == 0, jnp.ones_like(size), size))


def layer_shape(
    picture: tuple[int, int, int], parameters: PyTree, *, function: Callable, signal: Signal, layer: str
) -> tuple[int, ...]:
    """Returns the shape of a layer for one picture, without running the model.

    Args:
      picture: height, width and channels.
      parameters: of the model.
      function: the model.
      signal: what is to be propagated to the layer.
      layer: its name.

    Raises:
      ValueError: there is no such layer.
      NotImplementedError: it is inside remat, scan or cond, or an operation above it has no rule.

    Example:
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.concepts.attributing import propagated
      >>> from xrcam_jax.concepts.measuring import layer_shape
      >>> model = lambda images, parameters: xr.mark(images * 2, "layer").sum((1, 2))
      >>> layer_shape((4, 6, 3), (), function=model, signal=propagated({}), layer="layer")
      (1, 4, 6, 3)
    """
    images = jax.ShapeDtypeStruct((1, *picture), jnp.float32)
    targets = jax.ShapeDtypeStruct((1,), jnp.int32)
    known = partial(find_way, function=function, signal=signal, layers=(layer,))
    return jax.eval_shape(known, images, parameters, targets).activations[0].shape
