"""Principal components of activations, for Eigen-CAM and KPCA-CAM."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Kernel = Literal["sigmoid", "rbf", "polynomial"]
_TURNS = 1000
#: Of this many directions the first component is made; that of a kernel with no gap at all needs as many as places.
_KRYLOV = 100
# A GPU's fast products would cost the component its digits.
_EXACT = jax.lax.Precision.HIGHEST


def centred(a: Float[Array, "b *space k"]) -> Float[Array, "b *space k"]:
    """Returns A - mean_p A, with p the places of space.

    Args:
      a: A, a layer's activation.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.components import centred
      >>> centred(jnp.array([1.0, 5.0]).reshape(1, 1, 2, 1)).ravel().tolist()
      [-2.0, 2.0]
    """
    return a - jnp.mean(a, axis=tuple(range(1, a.ndim - 1)), keepdims=True)


def first_component(a: Float[Array, "b *space k"]) -> Float[Array, "b *one k"]:
    """Returns the first right singular vector of the places-by-channels matrix of :func:`centred` A.

    Args:
      a: A, a layer's activation.

    Returns:
      For each example a vector of unit length, or zero where A does not vary. Its sign is that for which the projection
      rises with sum_k A.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.components import first_component
      >>> a = jnp.array([[0.0, 0.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
      >>> [round(float(v), 3) for v in first_component(a).ravel()]
      [0.6, 0.8]
    """
    # Power iteration on the smaller Gram matrix: a decomposition into all components takes longer than the network.
    batch, channels = len(a), a.shape[-1]
    m = centred(a).reshape(batch, -1, channels)
    # Squares of gradients can underflow, so the scale is taken out first.
    largest = jnp.max(jnp.abs(m), axis=(1, 2), keepdims=True)
    m = m / jnp.where(largest == 0, 1, largest)
    total = jnp.sum(m, axis=2)
    if m.shape[1] < channels:
        u = jax.vmap(_leading)(jnp.einsum("bpk,bqk->bpq", m, m))
        v = jnp.einsum("bpk,bp->bk", m, u)
    else:
        v = jax.vmap(_leading)(jnp.einsum("bpk,bpl->bkl", m, m))
    v = _unit(v)
    rises = jnp.einsum("bpk,bk,bp->b", m, v, total) >= 0
    return jnp.expand_dims(jnp.where(rises[:, None], v, -v), range(1, a.ndim - 1))


def kernel_projection(
    a: Float[Array, "b *space k"], *, kernel: Kernel = "sigmoid", gamma: float | None = None
) -> Float[Array, "b *space"]:
    """Returns the projections of the places onto the first principal component that a kernel sees (scholkopf1998).

    With x_p the channels of :func:`centred` A at place p, the kernel is K_pq = tanh(γ x_p·x_q + 1) (``"sigmoid"``),
    exp(-γ |x_p - x_q|²) (``"rbf"``) or (γ x_p·x_q + 1)³ (``"polynomial"``). The projections are sqrt(λ) u with λ the
    largest eigenvalue of the centred K, and u its eigenvector. K has a row and a column for each place.

    Args:
      a: A, a layer's activation.
      kernel: one of these.
      gamma: γ, above 0; by default 1 / k, with k the number of channels.

    Returns:
      For each example a map of either sign, or zero where A does not vary. Its sign is that for which it rises with
      sum_k A.

    Raises:
      ValueError: the kernel is none of these, or γ is not above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam.components import kernel_projection
      >>> a = jnp.array([0.0, 1.0, 2.0]).reshape(1, 1, 3, 1)
      >>> [round(float(v), 3) for v in kernel_projection(a, kernel="rbf").ravel()]
      [-0.701, 0.0, 0.701]

    References:
      scholkopf1998
    """
    gamma = 1 / a.shape[-1] if gamma is None else gamma
    if not gamma > 0:
        raise ValueError(f"gamma must be above 0; got {gamma}")
    x = centred(a).reshape(len(a), -1, a.shape[-1])
    products = jnp.einsum("bpk,bqk->bpq", x, x, precision=_EXACT)
    if kernel == "sigmoid":
        k = jnp.tanh(gamma * products + 1)
    elif kernel == "rbf":
        squares = jnp.einsum("bpp->bp", products)
        k = jnp.exp(-gamma * (squares[:, :, None] + squares[:, None] - 2 * products))
    elif kernel == "polynomial":
        k = (gamma * products + 1) ** 3
    else:
        raise ValueError(f"kernel must be sigmoid, rbf or polynomial; got {kernel!r}")
    rows = k - k.mean(2, keepdims=True)
    projected = jax.vmap(_projected)(rows - rows.mean(1, keepdims=True))
    rises = jnp.einsum("bp,bp->b", projected, x.sum(2)) >= 0
    return jnp.where(rises[:, None], projected, -projected).reshape(a.shape[:-1])


def _projected(k: Float[Array, "n n"]) -> Float[Array, " n"]:
    """Returns sqrt(λ) u of the largest eigenvalue λ of a symmetric matrix, which may have negative ones too.

    It is the best that the first directions k^i b span (Lanczos), each made orthogonal to all before it.
    """
    n = len(k)
    turns, noise = min(n, _KRYLOV), 10 * jnp.finfo(k.dtype).eps * jnp.linalg.norm(k)
    # The longest column is never orthogonal to all leading vectors.
    start = _unit(k[jnp.argmax(jnp.sum(k**2, axis=1))])

    def turn(i: Array, directions: Float[Array, "m n"]) -> Float[Array, "m n"]:
        found = jnp.einsum("pq,q->p", k, directions[i], precision=_EXACT)
        for _ in range(2):  # Once is not enough in floating point.
            along = jnp.einsum("mp,p->m", directions, found, precision=_EXACT)
            found -= jnp.einsum("mp,m->p", directions, along, precision=_EXACT)
        # What is left of a space that has no more directions is noise.
        return directions.at[i + 1].set(jnp.where(jnp.linalg.norm(found) > noise, _unit(found), 0))

    directions = lax.fori_loop(0, turns - 1, turn, jnp.zeros((turns, n), k.dtype).at[0].set(start))
    small = jnp.einsum("mp,pq,nq->mn", directions, k, directions, precision=_EXACT)
    values, vectors = jnp.linalg.eigh(small)
    return jnp.sqrt(jnp.maximum(values[-1], 0)) * jnp.einsum("m,mp->p", vectors[:, -1], directions, precision=_EXACT)


def _leading(gram: Float[Array, "n n"]) -> Float[Array, " n"]:
    """Returns the eigenvector of the largest eigenvalue of a matrix that has no negative ones."""
    tolerance = 4 * jnp.finfo(gram.dtype).eps
    # The longest column is never orthogonal to all leading vectors.
    start = _unit(gram[jnp.argmax(jnp.sum(gram**2, axis=1))])

    def unsettled(state: tuple[Array, Array, Array]) -> Array:
        turn, _, change = state
        return (turn < _TURNS) & (change > tolerance)

    def improve(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        turn, v, _ = state
        better = _unit(gram @ v)
        return turn + 1, better, jnp.max(jnp.abs(better - v))

    return lax.while_loop(unsettled, improve, (jnp.asarray(0), start, jnp.ones((), gram.dtype)))[1]


def _unit(v: Float[Array, "*b n"]) -> Float[Array, "*b n"]:
    length = jnp.linalg.norm(v, axis=-1, keepdims=True)
    return v / jnp.where(length == 0, 1, length)
