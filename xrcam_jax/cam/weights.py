"""The weights of class activation maps: one pure function per method.

Every function takes a layer's activation A and what the method propagates to it, the gradient G of the target's logit
or the relevance R, all of shape (b, *space, k), and returns weights that broadcast to that shape. Space is (h, w) for
images, (w,) for signals and (d, h, w) for volumes; sum_p and mean_p go over its places p. The map is sum_k weight · A_k
(see :func:`xrcam_jax.cam.saliency.weighted_sum`). Methods that have to run the network again find their weights in
:mod:`xrcam_jax.cam.channel_cams` and their maps in :mod:`xrcam_jax.cam.path_cams`.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.cam.components import first_component
from xrcam_jax.cam.saliency import over_space, places

GradCamPpVariant = Literal["library", "inside", "normalised"]


def cam(a: Float[Array, "b *space k"], g: Float[Array, "b *space k"]) -> Float[Array, "b *one k"]:
    """Returns w_k = the classifier's weight for channel k (zhou2016, eq. 2).

    Behind global average pooling and a linear layer, and only there, that is sum_p G.

    Args:
      a: A, the activation.
      g: G, the gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a = jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1)
      >>> g = jnp.array([0.5, 0.5]).reshape(1, 1, 2, 1)
      >>> weights.cam(a, g).ravel().tolist()
      [1.0]

    References:
      zhou2016
    """
    return over_space(g)


def grad_cam(a: Float[Array, "b *space k"], g: Float[Array, "b *space k"]) -> Float[Array, "b *one k"]:
    """Returns w_k = mean_p G (selvaraju2017, eq. 1).

    Args:
      a: A, the activation.
      g: G, the gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a = jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1)
      >>> g = jnp.array([3.0, -1.0]).reshape(1, 1, 2, 1)
      >>> weights.grad_cam(a, g).ravel().tolist()
      [1.0]

    References:
      selvaraju2017
    """
    return over_space(g) / places(g)


def grad_cam_pp(
    a: Float[Array, "b *space k"],
    g: Float[Array, "b *space k"],
    *,
    variant: GradCamPpVariant = "library",
    eps: float = 1e-6,
) -> Float[Array, "b *one k"]:
    """Returns w_k = sum_p α ReLU(G), α = G² / (2 G² + sum_p(A) G³) or 0 where G = 0 (chattopadhay2018, eq. 19).

    Args:
      a: A, the activation.
      g: G, the gradient.
      variant: ``"library"`` adds ε to the denominator (gildenblat2021; the thesis's tables); ``"inside"`` has
        sum_p(A G³) there and no ε (the code of lee2021); ``"normalised"`` has no ε and divides α by its sum over the
        places where G > 0 (the authors' code).
      eps: ε of ``"library"``. It is absolute and not small beside G², so the scale of G matters.

    Raises:
      ValueError: the variant is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a, g = jnp.array([1.0, 0.0]).reshape(1, 1, 2, 1), jnp.array([1.0, -1.0]).reshape(1, 1, 2, 1)
      >>> round(float(weights.grad_cam_pp(a, g, variant="inside")[0, 0, 0, 0]), 4)  # 1 / (2 + 1)
      0.3333

    References:
      chattopadhay2018, gildenblat2021, lee2021
    """
    if variant not in ("library", "inside", "normalised"):
        raise ValueError(f"variant must be library, inside or normalised; got {variant!r}")
    return _grad_cam_pp(a, g, g**2, g**3, variant, eps)


def smooth_grad_cam_pp(
    a: Float[Array, "b *space k"],
    g: Float[Array, "b *space k"],
    g2: Float[Array, "b *space k"],
    g3: Float[Array, "b *space k"],
    *,
    eps: float = 1e-6,
) -> Float[Array, "b *one k"]:
    """Returns Grad-CAM++'s weights with G, G² and G³ each averaged over noisy images (omeiza2019, eq. 8).

    Args:
      a: A, the activation.
      g: mean of G, the gradient.
      g2: mean of G².
      g3: mean of G³.
      eps: see :func:`grad_cam_pp`.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a, g = jnp.array([1.0, 0.0]).reshape(1, 1, 2, 1), jnp.array([1.0, -1.0]).reshape(1, 1, 2, 1)
      >>> bool((weights.smooth_grad_cam_pp(a, g, g**2, g**3) == weights.grad_cam_pp(a, g)).all())
      True

    References:
      omeiza2019
    """
    return _grad_cam_pp(a, g, g2, g3, "library", eps)


def _grad_cam_pp(a: Array, g: Array, g2: Array, g3: Array, variant: GradCamPpVariant, eps: float) -> Array:
    cubes = over_space(a * g3) if variant == "inside" else over_space(a) * g3
    denominator = 2 * g2 + cubes + (eps if variant == "library" else 0)
    alpha = jnp.where(g == 0, 0, _ratio(g2, denominator))
    if variant == "normalised":
        alpha = _ratio(alpha, over_space(jnp.where(g > 0, alpha, 0)))
    return over_space(alpha * jax.nn.relu(g))


def x_grad_cam(
    a: Float[Array, "b *space k"], g: Float[Array, "b *space k"], *, eps: float = 1e-7
) -> Float[Array, "b *one k"]:
    """Returns w_k = sum_p G A / (ε + sum_p A) (fu2020, eq. 8; the thesis's eq. 2.17).

    Args:
      a: A, the activation.
      g: G, the gradient.
      eps: ε.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a = jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1)
      >>> g = jnp.array([4.0, 8.0]).reshape(1, 1, 2, 1)
      >>> round(float(weights.x_grad_cam(a, g)[0, 0, 0, 0]), 4)  # (1 · 4 + 3 · 8) / (1 + 3)
      7.0

    References:
      fu2020
    """
    return _ratio(over_space(g * a), eps + over_space(a))


def hires_cam(a: Float[Array, "b *space k"], g: Float[Array, "b *space k"]) -> Float[Array, "b *space k"]:
    """Returns w = G at each place (draelos2020, eq. 4).

    Args:
      a: A, the activation.
      g: G, the gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a = jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1)
      >>> g = jnp.array([3.0, -1.0]).reshape(1, 1, 2, 1)
      >>> weights.hires_cam(a, g).ravel().tolist()
      [3.0, -1.0]

    References:
      draelos2020
    """
    return g


def layer_cam(a: Float[Array, "b *space k"], g: Float[Array, "b *space k"]) -> Float[Array, "b *space k"]:
    """Returns w = ReLU(G) at each place (jiang2021, eq. 6; the thesis's eq. 2.19).

    Args:
      a: A, the activation.
      g: G, the gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a = jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1)
      >>> g = jnp.array([3.0, -1.0]).reshape(1, 1, 2, 1)
      >>> weights.layer_cam(a, g).ravel().tolist()
      [3.0, 0.0]

    References:
      jiang2021
    """
    return jax.nn.relu(g)


def elementwise_grad_cam(a: Float[Array, "b *space k"], g: Float[Array, "b *space k"]) -> Float[Array, "b *space k"]:
    """Returns w = G where G A > 0, else 0, so that the map is sum_k ReLU(G A) (gildenblat2021).

    Args:
      a: A, the activation.
      g: G, the gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a = jnp.array([1.0, -2.0]).reshape(1, 1, 2, 1)
      >>> g = jnp.array([3.0, 1.0]).reshape(1, 1, 2, 1)
      >>> weights.elementwise_grad_cam(a, g).ravel().tolist()
      [3.0, 0.0]

    References:
      gildenblat2021
    """
    return jnp.where(g * a > 0, g, 0)


def eigen_cam(a: Float[Array, "b *space k"], g: Float[Array, "b *space k"]) -> Float[Array, "b *one k"]:
    """Returns w = first principal component of A over the places (muhammad2020).

    The map is that of A - mean_p A. The sign of w is chosen so that the map rises with the total activation.

    Args:
      a: A, the activation.
      g: is not used.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a = jnp.array([[0.0, 0.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
      >>> [round(float(v), 3) for v in weights.eigen_cam(a, a).ravel()]
      [0.6, 0.8]

    References:
      muhammad2020
    """
    return first_component(a)


def eigen_grad_cam(a: Float[Array, "b *space k"], g: Float[Array, "b *space k"]) -> Float[Array, "b *one k"]:
    """Returns w = first principal component of G A over the places (gildenblat2021).

    The map is that of G A - mean_p G A. The sign of w is chosen so that the map rises with the total of G A.

    Args:
      a: A, the activation.
      g: G, the gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a = jnp.array([[0.0, 0.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
      >>> [round(float(v), 3) for v in weights.eigen_grad_cam(a, jnp.ones_like(a)).ravel()]
      [0.6, 0.8]

    References:
      gildenblat2021, muhammad2020
    """
    return first_component(g * a)


def relevance_cam(a: Float[Array, "b *space k"], r: Float[Array, "b *space k"]) -> Float[Array, "b *one k"]:
    """Returns w_k = mean_p R (lee2021, eq. 5; the thesis's eq. 2.18).

    Args:
      a: A, the activation.
      r: R, the relevance.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a = jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1)
      >>> r = jnp.array([3.0, -1.0]).reshape(1, 1, 2, 1)
      >>> weights.relevance_cam(a, r).ravel().tolist()
      [1.0]

    References:
      lee2021
    """
    return over_space(r) / places(r)


def xrelevance_cam(
    a: Float[Array, "b *space k"], r: Float[Array, "b *space k"], *, eps: float = 1e-9
) -> Float[Array, "b *one k"]:
    """Returns w_k = sum_p R / (ε + sum_p A) (you2024; the thesis's eq. 4.1, 4.2).

    So sum_k w_k sum_p A_k = sum R: the weighted activations conserve the relevance of the layer.

    Args:
      a: A, the activation.
      r: R, the relevance.
      eps: ε.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> a = jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1)
      >>> r = jnp.array([1.5, 0.5]).reshape(1, 1, 2, 1)
      >>> weights.xrelevance_cam(a, r).ravel().tolist()
      [0.5]

    References:
      you2024
    """
    return _ratio(over_space(r), eps + over_space(a))


def phi(r: Float[Array, "b *space k"], contrast: Float[Array, " b"] | float) -> Float[Array, " b"]:
    """Returns φ = (C + sum R) / sum R: by how much less relevance there is than score (the thesis's eq. 4.6).

    Of N classes the contrastive seed takes C = (N - 1) / N away at the others, and leaves 1 / N in all. So φ = N
    wherever relevance is conserved.

    Args:
      r: R, the relevance of a layer, or its sums over the places.
      contrast: C, in units of what the seed puts at the target.

    Returns:
      φ for each image, of either sign; 1 where sum R is 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.cam import weights
      >>> r = jnp.array([0.75, -0.5]).reshape(1, 1, 2, 1)
      >>> weights.phi(r, 3 / 4).tolist()  # of 4 classes
      [4.0]

    References:
      you2024
    """
    left = r.sum(range(1, r.ndim))
    return jnp.where(left == 0, 1, (contrast + left) / jnp.where(left == 0, 1, left))


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Returns the quotient, or 0 where the denominator is 0."""
    return jnp.where(denominator == 0, 0, numerator / jnp.where(denominator == 0, 1, denominator))
