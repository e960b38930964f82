"""Missing pixels filled in from their neighbours, so that their shape tells a network as little as possible.

Each missing pixel is to be the weighted mean of its eight neighbours, x_i = sum_j w_ij x_j / sum_j w_ij, with 1/6 for
the four that share a side and 1/12 for the four at the corners (rong2022); at the border of the picture
those that are there count. So the missing pixels solve D x - W x = W (known pixels), where D has the sums of weights:
a system with as many unknowns as pixels are missing, but of a stencil. It is solved by conjugate gradients, whose
steps a multigrid V-cycle preconditions: of a picture of 224 × 224 they take 5 to 22 instead of up to 600 steps.

References:
  rong2022
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from xrcam_jax.attribution.shapes import at_least_float32

#: Conjugate gradients end after so many steps at the latest.
STEPS = 64
#: The part of a Jacobi step that is taken, which damps errors of short wavelength best.
DAMPING = 0.8
#: Solution, residual, direction, product of the residual with its V-cycle, number of steps.
State = tuple[Array, Array, Array, Array, Array]
#: w, the weights of a pixel's neighbours.
NEIGHBOURS = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12
#: What a pixel has of those of half the size, 3/4 of the nearer and 1/4 of the farther one along each axis.
BETWEEN = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
#: What makes the same of pixels that are repeated.
SMOOTH = np.outer([1, 2, 1], [1, 2, 1]) / 16


def imputed(
    images: Float[Array, "b h w c"], missing: Bool[Array, "b h w"], *, tolerance: float = 1e-5
) -> Float[Array, "b h w c"]:
    """Returns pictures with each missing pixel the weighted mean of its neighbours (rong2022).

    Args:
      images: of any range; the values of missing pixels do not matter.
      missing: which pixels are to be filled in. At least one of a picture must be known.
      tolerance: the residual's share of the right-hand side at which the solution is taken, norms of all of a
        picture's missing pixels. At 1e-5 pixels are right to about 1e-3 of the picture's standard deviation, a tenth
        of ROAD's noise.

    Returns:
      The pictures, known pixels as they were; NaN where no pixel of a picture is known.

    Raises:
      ValueError: ``missing`` does not say yes or no.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.imputation import imputed
      >>> picture = jnp.array([[0.0, 9.0, 3.0]]).reshape(1, 1, 3, 1)
      >>> imputed(picture, jnp.array([[[False, True, False]]]))[0, 0, :, 0].round(4).tolist()
      [0.0, 1.5, 3.0]

    References:
      rong2022
    """
    if missing.dtype != bool:
        raise ValueError(f"missing must be of bool; got {missing.dtype}")
    wide = jnp.moveaxis(at_least_float32(images), -1, 1)
    known = ~missing[:, None]
    # Squares of very large and very small values leave the floating-point range. Powers of two round nothing.
    exponent = jnp.frexp(jnp.abs(jnp.where(known, wide, 0)).max((1, 2, 3), keepdims=True))[1]
    near_one = jnp.ldexp(jnp.where(known, wide, 0), -exponent)
    # A constant is its own imputation, so the mean is left out: there is less to solve then, and less to round.
    means = near_one.sum((2, 3), keepdims=True) / known.sum((2, 3), keepdims=True, dtype=wide.dtype)
    filled = jax.vmap(lambda image, gap: _solved(image, gap, tolerance))(jnp.where(known, near_one - means, 0), missing)
    found = jnp.moveaxis(jnp.ldexp(filled + means, exponent), 1, -1)
    return jnp.where(missing[..., None], found.astype(images.dtype), images)


def _solved(image: Float[Array, "c h w"], missing: Bool[Array, "h w"], tolerance: float) -> Float[Array, "c h w"]:
    """Returns missing pixels that solve D x - W x = W (known pixels), and zeros elsewhere."""
    gaps = [level.astype(image.dtype) for level in _levels(missing)]
    # Outside of loops XLA leaves a convolution to a library that takes thirty times as long for a single channel.
    right = gaps[0] * jax.lax.map(_weighted, image[:, None])[:, 0]
    least = tolerance**2 * jnp.vdot(right, right)

    def unsolved(state: State) -> Bool[Array, ""]:
        _, r, _, _, step = state
        return (jnp.vdot(r, r) > least) & (step < STEPS)

    # Written out, since jax.scipy.sparse.linalg.cg has the V-cycle, which takes long to compile, in its program twice.
    def improved(state: State) -> State:
        x, r, p, before, step = state
        z = _v_cycle(gaps, r)
        product = jnp.vdot(r, z)
        p = z + product / before * p
        image_of_p = _residual(gaps[0], p)
        length = product / jnp.vdot(p, image_of_p)
        return x + length * p, r - length * image_of_p, p, product, step + 1

    nothing = jnp.zeros_like(right)
    start = (nothing, right, nothing, jnp.ones((), right.dtype), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(unsolved, improved, start)[0]


def _levels(missing: Bool[Array, "h w"]) -> list[Bool[Array, "_h _w"]]:
    """Returns the mask at full size, half of it, a quarter, ...; a pixel is missing if all it stands for are."""
    levels = [missing]
    while max(levels[-1].shape) > 4:
        fine = jnp.pad(levels[-1], [(0, side % 2) for side in levels[-1].shape], mode="edge")
        rows = fine[::2] & fine[1::2]
        levels.append(rows[:, ::2] & rows[:, 1::2])
    return levels


def _weighted(x: Float[Array, "c h w"]) -> Float[Array, "c h w"]:
    """Returns W x, the weighted sum of each pixel's neighbours; outside of the picture there are zeros."""
    return _convolved(x, NEIGHBOURS, padding=((1, 1), (1, 1)))


def _sums(gap: Float[Array, "h w"]) -> Float[np.ndarray, "h w"]:
    """Returns D, the sum of the weights of those neighbours that are in the picture: W of a picture of ones."""
    # In NumPy, since XLA takes minutes to compute a convolution of constants while it compiles.
    along = [np.full(side, 4.0) for side in gap.shape]
    for each in along:
        each[0] -= 1
        each[-1] -= 1
    return ((np.outer(*along) - 4) / 12).astype(gap.dtype)


def _residual(gap: Float[Array, "h w"], x: Float[Array, "c h w"]) -> Float[Array, "c h w"]:
    """Returns D x - W x at missing pixels."""
    return gap * (_sums(gap) * x - _weighted(gap * x))


def _v_cycle(gaps: list[Float[Array, "_h _w"]], r: Float[Array, "c h w"]) -> Float[Array, "c h w"]:
    """Returns what roughly solves D x - W x = r: a Jacobi step before and after what half the size solves roughly.

    In two dimensions the stencil's energy does not depend on the size of pixels, so that at each size it is the same.
    """
    gap, *coarser = gaps
    step = DAMPING * gap / np.where(_sums(gap) > 0, _sums(gap), 1)
    x = step * r
    if coarser:
        left = coarser[0] * _halved(r - _residual(gap, x))
        rough = _doubled(_v_cycle(coarser, left))
        x = x + gap * rough[:, : gap.shape[0], : gap.shape[1]]
    return x + step * (r - _residual(gap, x))


def _halved(a: Float[Array, "c h w"]) -> Float[Array, "c _h _w"]:
    """Returns the transpose of :func:`_doubled`, of a picture that zeros make even."""
    height, width = a.shape[1:]
    return _convolved(a, BETWEEN, strides=(2, 2), padding=((1, 1 + height % 2), (1, 1 + width % 2)))


def _doubled(a: Float[Array, "c h w"]) -> Float[Array, "c 2*h 2*w"]:
    """Returns the picture at twice the size, interpolated along lines."""
    return _convolved(jnp.repeat(jnp.repeat(a, 2, 1), 2, 2), SMOOTH, padding=((1, 1), (1, 1)))


def _convolved(a: Array, kernel: np.ndarray, *, strides: tuple[int, int] = (1, 1), **options: Any) -> Array:
    """Returns each channel convolved with a symmetric kernel, as exactly as its dtype allows on any device."""
    weights = jnp.asarray(kernel, a.dtype)[None, None]
    return jax.lax.conv_general_dilated(a[:, None], weights, strides, precision="highest", **options)[:, 0]
