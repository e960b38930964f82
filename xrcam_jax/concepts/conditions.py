"""Concepts of a layer, and which part of the relevance at a layer goes through them.

A concept is a set of channels, or a direction v among them. In the descriptions A and R are activation and relevance at
one place of the layer, vectors over its k channels.

Of a set of channels it is the relevance of these: R_j for j in the set, else 0 (achtibat2023).

Of a direction of length 1 it is A_j v_j (v · C) with C = R / A. The layer is written as its components along v and
across, v v' A and the rest, and each gets relevance as a linear layer without bias has it: (v · A)(v · C), of which
A_j v_j (v · C) goes on to channel j (chormai2024). Where A_j is 0, R_j / A_j counts as 0. Where no A_j is, it is a
projection of R: projecting again changes nothing. Directions that are an orthonormal basis share all relevance of
channels with A_j other than 0 among them, and the j-th unit vector is channel j.

References:
  achtibat2023, chormai2024
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

#: Channels by number, (n,) or (n, b) for each picture; sets of them, (n, k) of True and False; or directions, (n, k) of
#: real numbers. None means all channels, one by one.
Concepts = Any
#: Sets of channels, or directions of length 1.
Checked = Bool[np.ndarray, "n *b k"] | Float[np.ndarray, "n k"]
#: Each concept on its own.
Concept = Bool[Array, "*b k"] | Float[Array, " k"]

# A GPU's fast products would cost sums their digits.
_EXACT = jax.lax.Precision.HIGHEST


def checked_concepts(
    concepts: Concepts, layer: str, activation: Float[Array | jax.ShapeDtypeStruct, "b *space k"]
) -> Checked:
    """Returns concepts as sets of channels, or as directions of length 1.

    Args:
      concepts: channels, sets of channels, or directions; all channels if that is None.
      layer: whose they are, for messages.
      activation: of that layer, of which only shape and dtype count.

    Returns:
      n sets, for all pictures or for each; or n directions.

    Raises:
      ValueError: they are of another shape or dtype, there are none, a channel does not exist, or a direction is zero
        or not finite.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.concepts.conditions import checked_concepts
      >>> a = jnp.zeros((1, 4, 4, 3))
      >>> checked_concepts([2, 0], "layer", a).tolist()
      [[False, False, True], [True, False, False]]
      >>> checked_concepts([[0.0, -2.0, 0.0]], "layer", a).tolist()
      [[0.0, -1.0, 0.0]]
    """
    batch, channels = activation.shape[0], activation.shape[-1]
    found = np.arange(channels) if concepts is None else np.atleast_1d(np.asarray(concepts))
    if not found.size:
        raise ValueError(f"concepts of layer {layer!r}: expected at least one, found none")
    if found.dtype.kind in "iu" and found.ndim <= 2 and found.shape[1:] in ((), (batch,)):
        wrong = found[(found < 0) | (found >= channels)]
        if wrong.size:
            raise ValueError(f"concepts of layer {layer!r}: expected channels 0 to {channels - 1}, found {wrong[0]}")
        return found[..., None] == np.arange(channels)
    if found.dtype == bool and found.shape[1:] == (channels,):
        return found
    if jnp.issubdtype(found.dtype, jnp.floating) and found.shape[1:] == (channels,):
        return _of_length_1(found, layer, np.dtype(activation.dtype))
    raise ValueError(
        f"concepts of layer {layer!r}: expected channels (n,) or (n, {batch}), sets of them (n, {channels}) or "
        f"directions (n, {channels}); found {found.dtype} of shape {found.shape}"
    )


def _of_length_1(directions: np.ndarray, layer: str, dtype: np.dtype) -> np.ndarray:
    exact = directions.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    wrong = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if wrong.size:
        first = wrong[0]
        found = "values that are not finite" if exact[first].any() else "zeros alone"
        raise ValueError(
            f"concepts of layer {layer!r}: expected finite directions, none zero; found {found} in direction {first}"
        )
    return (exact / lengths).astype(dtype)


def through(
    concept: Concept, a: Float[Array, "b *space k"], r: Float[Array, "b *space k"]
) -> Float[Array, "b *space k"]:
    """Returns the part of the relevance at a layer that goes through a concept.

    Args:
      concept: a set of channels, for all pictures or for each, or a direction of length 1.
      a: A, the activation.
      r: R, the relevance.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.concepts.conditions import through
      >>> a, r = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]])
      >>> through(jnp.array([False, True]), a, r).tolist()
      [[0.0, 4.0]]
      >>> print(through(jnp.array([0.6, 0.8]), a, r).round(2))  # R / A is (3, 2), so v · C is 3.4
      [[2.04 5.44]]
    """
    if concept.dtype == bool:
        of_each = concept if concept.ndim == 1 else jnp.expand_dims(concept, range(1, a.ndim - 1))
        return jnp.where(of_each, r, jnp.zeros_like(r))
    return a * concept * jnp.einsum("...k,k->...", _context(a, r), concept, precision=_EXACT)[..., None]


def _context(a: Array, r: Array) -> Array:
    """Returns C = R / A, or 0 where A is 0."""
    return jnp.where(a == 0, jnp.zeros_like(r), r / jnp.where(a == 0, jnp.ones_like(a), a))


def amounts(
    concepts: Bool[Array, "n *of k"] | Float[Array, "n k"], a: Float[Array, "b *space k"], r: Float[Array, "b *space k"]
) -> Float[Array, "n b"]:
    """Returns how much of the relevance at a layer goes through each of several concepts.

    Args:
      concepts: sets of channels or directions of length 1.
      a: A, the activation.
      r: R, the relevance.

    Returns:
      The sum over places and channels of what :func:`through` returns.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.concepts.conditions import amounts
      >>> a, r = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]])
      >>> amounts(jnp.array([[True, False], [True, True]]), a, r).tolist()
      [[3.0], [7.0]]
    """
    a, r = (each.reshape(len(each), -1, each.shape[-1]) for each in (a, r))
    if concepts.dtype == bool:
        sums, chosen = r.sum(1), concepts.astype(r.dtype)
        return jnp.einsum("nk,bk->nb" if chosen.ndim == 2 else "nbk,bk->nb", chosen, sums, precision=_EXACT)
    along, context = (jnp.einsum("bpk,nk->nbp", each, concepts, precision=_EXACT) for each in (a, _context(a, r)))
    return (along * context).sum(2)
