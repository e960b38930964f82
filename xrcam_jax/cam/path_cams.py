"""CAMs that need more than one forward and one backward pass: Integrated Grad-CAM, Smooth Grad-CAM++, LIFT-CAM.

References:
  sattarzadeh2021, omeiza2019, jung2021
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from xrcam_jax.attribution.baseline import Baseline, baseline_images
from xrcam_jax.attribution.case import Case, Function, activation_at, onwards
from xrcam_jax.attribution.chunks import bytes_of_gradient, summed
from xrcam_jax.attribution.gradients import deep_lift_from_zero
from xrcam_jax.attribution.targets import over_targets
from xrcam_jax.cam import weights
from xrcam_jax.cam.channel_cams import noisy
from xrcam_jax.cam.saliency import weighted_sum
from xrcam_jax.lrp import seeds
from xrcam_jax.runtime.compiling import compiled


def integrated_grad_cam(
    case: Case, layer: str, *, baseline: Baseline = 0.0, steps: int = 20
) -> Float[Array, "b t *layer"]:
    """Returns mean_α ReLU(sum_k mean_p G_k(α) · (A_k(α) - A_k(0))), α from 0 to 1 (sattarzadeh2021, eq. 6).

    A(α) and G(α) are the activation and the gradient for the image x⁰ + α (x - x⁰).

    Args:
      case: what is explained.
      layer: a mark.
      baseline: x⁰, broadcast to the images.
      steps: points on the way, at least 1.

    Raises:
      ValueError: no steps, no such mark, or a baseline that does not fit the images.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.path_cams import integrated_grad_cam
      >>> model = lambda images, parameters: xr.mark(images, "layer").sum((1, 2, 3))[:, None]
      >>> case = Case(model, (), jnp.array([4.0, -2.0]).reshape(1, 1, 2, 1), jnp.array([[1]]))
      >>> integrated_grad_cam(case, "layer", steps=2).ravel().tolist()  # α is 1/2 and 1
      [3.0, 0.0]

    References:
      sattarzadeh2021
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    start = baseline_images(case, baseline)
    a0, _ = case.at(layer, start)

    def step(indices: Array, real: Array) -> Array:
        # The quotient of integers would be float32, whatever the images are.
        shares = (indices + 1).astype(case.images.dtype) / steps
        given = case.images, case.parameters, case.targets
        return _path_maps(*given, start, a0, shares, real / steps, function=case.function, layer=layer)

    each = bytes_of_gradient(case.function, "input", case.images, case.parameters)
    return jnp.moveaxis(summed(step, steps, case, each, f"Integrated Grad-CAM {layer}"), 0, 1)


@compiled(static=("function", "layer"))
def _path_maps(
    images: Float[Array, "b *space c"],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    start: Float[Array, "b *space c"],
    a0: Float[Array, "b *layer k"],
    shares: Float[Array, " n"],
    weight: Float[Array, " n"],
    *,
    function: Function,
    layer: str,
) -> Float[Array, "t b *layer"]:
    """Returns the weighted sum of the maps at some points of the way."""
    points = jax.vmap(lambda share: start + share * (images - start), out_axes=1)(shares)
    a, gradients = _gradients(function, layer, points, parameters, targets)
    change = a - jnp.repeat(a0, len(shares), axis=0)
    maps = jax.vmap(lambda g: jax.nn.relu(weighted_sum(change, weights.grad_cam(a, g))))(gradients)
    return _weighted(maps, weight)


def smooth_grad_cam_pp(
    case: Case, layer: str, *, samples: int = 16, noise: float = 0.15, eps: float = 1e-6
) -> Float[Array, "b t *layer"]:
    """Returns sum_k w_k A_k with the weights :func:`xrcam_jax.cam.weights.smooth_grad_cam_pp` (omeiza2019).

    Args:
      case: what is explained.
      layer: a mark.
      samples: noisy copies of the image, at least 1.
      noise: standard deviation of the noise, as a share of the image's range.
      eps: see :func:`xrcam_jax.cam.weights.grad_cam_pp`.

    Raises:
      ValueError: no samples, or no such mark.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.path_cams import smooth_grad_cam_pp
      >>> model = lambda images, parameters: xr.mark(images, "layer").sum((1, 2, 3))[:, None]
      >>> case = Case(model, (), jnp.array([1.0, 0.0]).reshape(1, 1, 2, 1), jnp.array([[1]]))
      >>> [round(float(v), 3) for v in smooth_grad_cam_pp(case, "layer").ravel()]  # 2 / (2 + 1)
      [0.667, 0.0]

    References:
      omeiza2019
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}")
    a, _ = case.at(layer)
    key = jax.random.key(case.random_seed)

    def step(indices: Array, real: Array) -> tuple[Array, Array, Array]:
        given = case.images, case.parameters, case.targets
        return _gradient_powers(*given, key, indices, real / samples, function=case.function, layer=layer, noise=noise)

    each = bytes_of_gradient(case.function, "input", case.images, case.parameters)
    powers = summed(step, samples, case, each, f"Smooth Grad-CAM++ {layer}")
    return jax.vmap(lambda g, g2, g3: weighted_sum(a, weights.smooth_grad_cam_pp(a, g, g2, g3, eps=eps)), out_axes=1)(
        *powers
    )


@compiled(static=("function", "layer", "noise"))
def _gradient_powers(
    images: Float[Array, "b *space c"],
    parameters: PyTree,
    targets: Int[Array, "b t"],
    key: Key[Array, ""],
    indices: Int[Array, " n"],
    weight: Float[Array, " n"],
    *,
    function: Function,
    layer: str,
    noise: float,
) -> tuple[Float[Array, "t b *layer k"], Float[Array, "t b *layer k"], Float[Array, "t b *layer k"]]:
    """Returns the weighted sums of the gradient's first three powers over some noisy copies."""
    copies = jax.vmap(lambda index: noisy(images, jax.random.fold_in(key, index), noise), out_axes=1)(indices)
    _, g = _gradients(function, layer, copies, parameters, targets)
    return _weighted(g, weight), _weighted(g**2, weight), _weighted(g**3, weight)


def _gradients(
    function: Function,
    layer: str,
    versions: Float[Array, "b n *space c"],
    parameters: PyTree,
    targets: Int[Array, "b t"],
) -> tuple[Float[Array, "bn *layer k"], Float[Array, "t bn *layer k"]]:
    """Returns the activation at a layer for versions of each image, and the gradient of each target's logit there."""
    images = versions.reshape(-1, *versions.shape[2:])
    a, rest = activation_at(images, parameters, function=function, layer=layer)
    tail = onwards(function, layer, images, parameters)
    logits, pullback = jax.vjp(lambda a: tail(a, rest), a)
    repeated = jnp.repeat(targets, versions.shape[1], axis=0)
    return a, over_targets(lambda t: pullback(seeds.unit(logits, t))[0], repeated)


def _weighted(found: Float[Array, "t bn *rest"], weight: Float[Array, " n"]) -> Float[Array, "t b *rest"]:
    """Returns the weighted sum over each image's versions."""
    each = found.reshape(len(found), -1, len(weight), *found.shape[2:])
    return jnp.tensordot(each, weight.astype(found.dtype), axes=(2, 0))


def lift_cam(
    case: Case, layer: str, *, max_pool: Literal["rescale", "gradient"] = "rescale"
) -> Float[Array, "b t *layer"]:
    """Returns sum_k w_k A_k with w_k = sum_p of DeepLIFT's contributions against zeros (jung2021, section 3.3).

    Args:
      case: what is explained.
      layer: a mark.
      max_pool: see :func:`xrcam_jax.lrp.composites.deep_lift`.

    Raises:
      ValueError: no such mark, or an unknown ``max_pool``.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.cam.path_cams import lift_cam
      >>> model = lambda images, parameters: xr.mark(images, "layer").sum((1, 2, 3))[:, None]
      >>> case = Case(model, (), jnp.array([4.0, -1.0]).reshape(1, 1, 2, 1), jnp.array([[1]]))
      >>> lift_cam(case, "layer").ravel().tolist()  # the contributions 4 and -1 sum to 3
      [12.0, -3.0]

    References:
      jung2021
    """
    a, _ = case.at(layer)
    contributions = deep_lift_from_zero(case, layer, max_pool=max_pool).values
    return jnp.sum(a[:, None] * contributions.sum(range(2, contributions.ndim - 1), keepdims=True), axis=-1)
