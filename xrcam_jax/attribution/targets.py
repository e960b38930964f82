"""The classes that are explained of each image: their scores, and what is found for one after the other."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

Score = Literal["logit", "probability", "log_odds"]


def over_targets(find: Callable[[Int[Array, " b"]], PyTree], targets: Int[Array, "b t"], axis: int = 0) -> PyTree:
    """What ``find`` gives for each of an image's targets, along ``axis`` of the results.

    A single target, which is the rule, is not vmapped: its axis would be joined with the batch's, and that would be
    gathered from the devices that it is laid across.
    """
    if targets.shape[1] == 1:
        return jax.tree.map(lambda a: jnp.expand_dims(a, axis), find(targets[:, 0]))
    return jax.vmap(find, in_axes=1, out_axes=axis)(targets)


def target_scores(logits: Float[Array, "*c b n"], targets: Int[Array, "b t"], score: Score) -> Float[Array, "*c b t"]:
    """The targets' logits, softmax probabilities p, or natural log-odds log(p / (1 - p)).

    Raises:
      ValueError: ``score`` is none of these.
    """
    if score not in ("logit", "probability", "log_odds"):
        raise ValueError(f"score must be logit, probability or log_odds; got {score!r}")
    values = jax.nn.softmax(logits, axis=-1) if score == "probability" else logits
    places = jnp.broadcast_to(targets, (*logits.shape[:-1], targets.shape[-1]))
    at_targets = jnp.take_along_axis(values, places, axis=-1)
    if score != "log_odds":
        return at_targets
    is_target = jax.nn.one_hot(places, logits.shape[-1], dtype=bool)
    return at_targets - jax.nn.logsumexp(jnp.where(is_target, -jnp.inf, logits[..., None, :]), axis=-1)
