"""The classes that are explained of each image: their scores, and what is found for one after the other."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from xrcam_jax.classes import class_logits, softmax_logits

Score = Literal["logit", "probability", "log_odds"]


def over_targets(find: Callable[[Int[Array, " b"]], PyTree], targets: Int[Array, "b t"], axis: int = 0) -> PyTree:
    """Returns what ``find`` gives for each of an image's targets.

    Args:
      find: (one target for each image) -> a tree of arrays.
      targets: t classes for each image.
      axis: of the targets in the results.

    Returns:
      The tree, with one more axis of length t in each array.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.targets import over_targets
      >>> over_targets(lambda target: 10 * target, jnp.array([[1, 2], [3, 4]]), axis=1).tolist()
      [[10, 20], [30, 40]]
    """
    # There is most often a single target, which is not vmapped: vmap would join its axis with that of the batch, and
    # a batch that is laid across devices would be gathered from them.
    if targets.shape[1] == 1:
        return jax.tree.map(lambda a: jnp.expand_dims(a, axis), find(targets[:, 0]))
    return jax.vmap(find, in_axes=1, out_axes=axis)(targets)


def target_scores(logits: Float[Array, "*v b n"], targets: Int[Array, "b t"], score: Score) -> Float[Array, "*v b t"]:
    """Returns the targets' logits, probabilities p, or natural log-odds log(p / (1 - p)).

    Of a model of one output they are what :mod:`xrcam_jax.classes` says: p is the sigmoid of the target's logit.

    Args:
      logits: of n classes, for each image and perhaps for several versions of it.
      targets: t classes for each image; 0 or 1 if there is one logit.
      score: ``"logit"``, ``"probability"`` or ``"log_odds"``.

    Raises:
      ValueError: ``score`` is none of these.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.targets import target_scores
      >>> logits, targets = jnp.array([[0.0, 0.0, jnp.log(2.0)]]), jnp.array([[2, 0]])
      >>> [round(float(p), 3) for p in target_scores(logits, targets, "probability")[0]]
      [0.5, 0.25]
    """
    if score not in ("logit", "probability", "log_odds"):
        raise ValueError(f"score must be logit, probability or log_odds; got {score!r}")
    logits = class_logits(logits) if score == "logit" else softmax_logits(logits)
    values = jax.nn.softmax(logits, axis=-1) if score == "probability" else logits
    places = jnp.broadcast_to(targets, (*logits.shape[:-1], targets.shape[-1]))
    at_targets = jnp.take_along_axis(values, places, axis=-1)
    if score != "log_odds":
        return at_targets
    is_target = jax.nn.one_hot(places, logits.shape[-1], dtype=bool)
    return at_targets - jax.nn.logsumexp(jnp.where(is_target, -jnp.inf, logits[..., None, :]), axis=-1)
