"""KPCA-CAM: the first principal component of a layer's activations, as a kernel sees them.

References:
  karmani2024, scholkopf1998
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from xrcam_jax.attribution import chunks
from xrcam_jax.attribution.case import Case
from xrcam_jax.attribution.shapes import at_least_float32
from xrcam_jax.cam.components import centred
from xrcam_jax.cam.saliency import places
from xrcam_jax.runtime.compiling import compiled

Kernel = Literal["sigmoid", "rbf", "polynomial"]
#: Of more places the kernel would have more than a thousand million numbers.
_MOST_PLACES = 2**15
#: So many directions are looked at for the largest eigenvalue.
_DIRECTIONS = 100
# A GPU's fast products would cost the component its digits.
_EXACT = lax.Precision.HIGHEST


def kpca_cam(
    case: Case, layer: str, *, kernel: Kernel = "sigmoid", gamma: float | None = None
) -> Float[Array, "b t *layer"]:
    """Returns the projections of the places onto the first component of kernel PCA of A (karmani2024).

    With x_p the channels of A - mean_p A at place p, the kernel is K_pq = tanh(γ x_p·x_q + 1) (``"sigmoid"``),
    exp(-γ |x_p - x_q|²) (``"rbf"``) or (γ x_p·x_q + 1)³ (``"polynomial"``). The map is sqrt(λ) u with λ the largest
    eigenvalue of K, centred, and u its eigenvector (scholkopf1998). Its sign is that for which it rises with sum_k A,
    as of Eigen-CAM; the paper leaves it open, and gildenblat2021 makes the largest value positive. The class does not
    matter.

    Args:
      case: what is explained.
      layer: a mark. K has a row and a column for each of its places, so that deep layers are meant.
      kernel: one of these.
      gamma: γ, above 0; by default 1 over the number of channels.

    Raises:
      ValueError: there is no such mark, it has more than 32768 places, the kernel is none of these, or γ is not
        above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.kpca_cam import kpca_cam
      >>> model = lambda images, parameters: xr.mark(images, "layer").sum((1, 2))
      >>> case = Case(model, (), jnp.array([0.0, 1.0, 2.0]).reshape(1, 1, 3, 1), jnp.array([[1]]))
      >>> [round(float(v), 3) for v in kpca_cam(case, "layer", kernel="rbf").ravel()[::2]]
      [-0.701, 0.701]

    References:
      karmani2024, scholkopf1998, gildenblat2021
    """
    if kernel not in ("sigmoid", "rbf", "polynomial"):
        raise ValueError(f"kernel must be sigmoid, rbf or polynomial; got {kernel!r}")
    if gamma is not None and not gamma > 0:
        raise ValueError(f"gamma must be above 0; got {gamma}")
    activation, _ = case.at(layer)
    if places(activation) > _MOST_PLACES:
        raise ValueError(
            f"kpca_cam needs a layer of at most {_MOST_PLACES} places, since its kernel has a row and a column for "
            f"each; {layer} has {places(activation)}"
        )
    maps = _maps(activation, kernel=kernel, gamma=1 / activation.shape[-1] if gamma is None else gamma)
    return jnp.repeat(maps[:, None], case.targets.shape[1], axis=1)


@compiled(static=("kernel", "gamma"))
def _maps(activation: Float[Array, "b *layer k"], *, kernel: Kernel, gamma: float) -> Float[Array, "b *layer"]:
    a = at_least_float32(activation)
    x = centred(a).reshape(len(a), -1, a.shape[-1])
    # A few such matrices are there at a time.
    together = max(1, chunks.MEMORY // (4 * x.shape[1] ** 2 * x.dtype.itemsize))
    one = partial(_projection, kernel=kernel, gamma=gamma)
    maps = jax.vmap(one)(x) if together >= len(x) else lax.map(one, x, batch_size=together)
    return maps.reshape(a.shape[:-1])


def _projection(x: Float[Array, "p k"], kernel: Kernel, gamma: float) -> Float[Array, " p"]:
    k = _kernel(x, kernel, gamma)
    k -= k.mean(1, keepdims=True)
    found = _first_component(k - k.mean(0, keepdims=True))
    return jnp.where(jnp.sum(found * x.sum(1)) >= 0, found, -found)


def _kernel(x: Float[Array, "p k"], kernel: Kernel, gamma: float) -> Float[Array, "p p"]:
    products = jnp.einsum("pk,qk->pq", x, x, precision=_EXACT)
    if kernel == "sigmoid":
        return jnp.tanh(gamma * products + 1)
    if kernel == "polynomial":
        return (gamma * products + 1) ** 3
    squares = jnp.sum(x**2, axis=1)
    return jnp.exp(-gamma * (squares[:, None] + squares - 2 * products))


def _first_component(k: Float[Array, "p p"]) -> Float[Array, " p"]:
    """Returns sqrt(λ) u of the largest eigenvalue λ of a symmetric matrix, which may have negative ones too.

    It is the best that the first directions k^i b span (Lanczos), each made orthogonal to all before it.
    """
    product = partial(jnp.einsum, precision=_EXACT)
    turns, noise = min(len(k), _DIRECTIONS), 10 * jnp.finfo(k.dtype).eps * jnp.linalg.norm(k)

    def turn(i: Array, directions: Float[Array, "m p"]) -> Float[Array, "m p"]:
        found = product("pq,q->p", k, directions[i])
        for _ in range(2):  # Once is not enough in floating point.
            found -= product("mp,m->p", directions, product("mp,p->m", directions, found))
        # What is left of a space that has no more directions is noise.
        return directions.at[i + 1].set(_unit(found, noise))

    # The longest column is never orthogonal to all leading vectors.
    start = _unit(k[jnp.argmax(jnp.sum(k**2, axis=1))], noise)
    directions = lax.fori_loop(0, turns - 1, turn, jnp.zeros((turns, len(k)), k.dtype).at[0].set(start))
    values, vectors = jnp.linalg.eigh(product("mp,pq,nq->mn", directions, k, directions))
    return jnp.sqrt(jnp.maximum(values[-1], 0)) * product("m,mp->p", vectors[:, -1], directions)


def _unit(v: Float[Array, " p"], noise: Float[Array, ""]) -> Float[Array, " p"]:
    """Returns a vector at length 1, or 0 where it is noise."""
    length = jnp.linalg.norm(v)
    return jnp.where(length > noise, v / jnp.where(length > noise, length, 1), 0)
