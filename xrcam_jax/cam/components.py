"""Principal components of activations, for Eigen-CAM."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

#: Power iteration ends after so many steps at the latest. Whether it may end sooner is asked once in so many of them,
#: since a GPU asks its host, for which all that is under way has to end.
_TURNS, _AT_A_TIME = 1008, 16


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
        before = lax.fori_loop(1, _AT_A_TIME, lambda _, v: _unit(gram @ v), v)
        better = _unit(gram @ before)
        return turn + _AT_A_TIME, better, jnp.max(jnp.abs(better - before))

    return lax.while_loop(unsettled, improve, (jnp.asarray(0), start, jnp.ones((), gram.dtype)))[1]


def _unit(v: Float[Array, "*b n"]) -> Float[Array, "*b n"]:
    length = jnp.linalg.norm(v, axis=-1, keepdims=True)
    return v / jnp.where(length == 0, 1, length)
