"""The weights of class activation maps: one pure function per method.

Every function takes a layer's activation A and what the method propagates to it, the gradient G of the
target's logit or the relevance R, all of shape (b, h, w, k), and returns weights that broadcast to that
shape. The map is sum_k weight · A_k (see :func:`xrcam_jax.cam.saliency.weighted_sum`). Methods that have to run
the network again find their weights in :mod:`xrcam_jax.cam.channel_cams` and :mod:`xrcam_jax.cam.path_cams`.

References:
  zhou2016: Zhou et al., Learning deep features for discriminative localization, CVPR 2016.
  selvaraju2017: Selvaraju et al., Grad-CAM: visual explanations from deep networks, ICCV 2017.
  chattopadhay2018: Chattopadhay et al., Grad-CAM++: improved visual explanations for deep convolutional
    networks, WACV 2018.
  omeiza2019: Omeiza et al., Smooth Grad-CAM++, arXiv:1908.01224.
  fu2020: Fu et al., Axiom-based Grad-CAM (XGrad-CAM), BMVC 2020.
  draelos2020: Draelos and Carin, Use HiResCAM instead of Grad-CAM, arXiv:2011.08891.
  muhammad2020: Muhammad and Yeasin, Eigen-CAM: class activation map using principal components, IJCNN 2020.
  jiang2021: Jiang et al., LayerCAM: exploring hierarchical class activation maps, IEEE TIP 2021.
  lee2021: Lee et al., Relevance-CAM: your model already knows where to look, CVPR 2021.
  you2024: You et al., XRelevanceCAM: towards explainable tissue characterization with improved localisation
    of pathological structures in probe-based confocal laser endomicroscopy, IJCARS 2024.
  gildenblat2021: Gildenblat et al., pytorch-grad-cam, https://github.com/jacobgil/pytorch-grad-cam.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.cam.components import first_component
from xrcam_jax.cam.saliency import over_space

GradCamPpVariant = Literal["library", "inside", "normalised"]


def cam(a: Float[Array, "b h w k"], g: Float[Array, "b h w k"]) -> Float[Array, "b 1 1 k"]:
    """w_k = the classifier's weight for channel k (zhou2016, eq. 2).

    Behind global average pooling and a linear layer, and only there, that is sum_hw G.
    """
    return over_space(g)


def grad_cam(a: Float[Array, "b h w k"], g: Float[Array, "b h w k"]) -> Float[Array, "b 1 1 k"]:
    """w_k = mean_hw G (selvaraju2017, eq. 1)."""
    return over_space(g) / (g.shape[1] * g.shape[2])


def grad_cam_pp(
    a: Float[Array, "b h w k"],
    g: Float[Array, "b h w k"],
    *,
    variant: GradCamPpVariant = "library",
    eps: float = 1e-6,
) -> Float[Array, "b 1 1 k"]:
    """w_k = sum_hw α · ReLU(G), α = G² / (2 G² + sum_hw(A) G³), 0 where G = 0 (chattopadhay2018, eq. 19).

    Args:
      a: A.
      g: G.
      variant: ``"library"`` adds ε to the denominator (gildenblat2021; the thesis's tables); ``"inside"`` has
        sum_hw(A G³) there and no ε (the code of lee2021); ``"normalised"`` has no ε and divides α by its sum over
        the places where G > 0 (the authors' code).
      eps: ε of ``"library"``. It is absolute and not small beside G², so the scale of G matters.

    Raises:
      ValueError: the variant is unknown.
    """
    if variant not in ("library", "inside", "normalised"):
        raise ValueError(f"variant must be library, inside or normalised; got {variant!r}")
    return _grad_cam_pp(a, g, g**2, g**3, variant, eps)


def smooth_grad_cam_pp(
    a: Float[Array, "b h w k"],
    g: Float[Array, "b h w k"],
    g2: Float[Array, "b h w k"],
    g3: Float[Array, "b h w k"],
    *,
    eps: float = 1e-6,
) -> Float[Array, "b 1 1 k"]:
    """Grad-CAM++ with G, G² and G³ each averaged over noisy inputs (omeiza2019, eq. 8)."""
    return _grad_cam_pp(a, g, g2, g3, "library", eps)


def _grad_cam_pp(a: Array, g: Array, g2: Array, g3: Array, variant: GradCamPpVariant, eps: float) -> Array:
    cubes = over_space(a * g3) if variant == "inside" else over_space(a) * g3
    denominator = 2 * g2 + cubes + (eps if variant == "library" else 0)
    alpha = jnp.where(g == 0, 0, _ratio(g2, denominator))
    if variant == "normalised":
        alpha = _ratio(alpha, over_space(jnp.where(g > 0, alpha, 0)))
    return over_space(alpha * jax.nn.relu(g))


def x_grad_cam(a: Float[Array, "b h w k"], g: Float[Array, "b h w k"], *, eps: float = 1e-7) -> Float[Array, "b 1 1 k"]:
    """w_k = sum_hw G A / (ε + sum_hw A) (fu2020, eq. 8; the thesis's eq. 2.17)."""
    return _ratio(over_space(g * a), eps + over_space(a))


def hires_cam(a: Float[Array, "b h w k"], g: Float[Array, "b h w k"]) -> Float[Array, "b h w k"]:
    """w = G at each place (draelos2020, eq. 4)."""
    return g


def layer_cam(a: Float[Array, "b h w k"], g: Float[Array, "b h w k"]) -> Float[Array, "b h w k"]:
    """w = ReLU(G) at each place (jiang2021, eq. 6; the thesis's eq. 2.19)."""
    return jax.nn.relu(g)


def elementwise_grad_cam(a: Float[Array, "b h w k"], g: Float[Array, "b h w k"]) -> Float[Array, "b h w k"]:
    """w = G where G A > 0, else 0, so that the map is sum_k ReLU(G A) (gildenblat2021)."""
    return jnp.where(g * a > 0, g, 0)


def eigen_cam(a: Float[Array, "b h w k"], g: Float[Array, "b h w k"]) -> Float[Array, "b 1 1 k"]:
    """w = first principal component of A over the places, the map that of A - mean_hw A (muhammad2020).

    Its sign is chosen so that the map rises with the total activation.
    """
    return first_component(a)


def eigen_grad_cam(a: Float[Array, "b h w k"], g: Float[Array, "b h w k"]) -> Float[Array, "b 1 1 k"]:
    """The same of G A instead of A (gildenblat2021)."""
    return first_component(g * a)


def relevance_cam(a: Float[Array, "b h w k"], r: Float[Array, "b h w k"]) -> Float[Array, "b 1 1 k"]:
    """w_k = mean_hw R (lee2021, eq. 5; the thesis's eq. 2.18)."""
    return over_space(r) / (r.shape[1] * r.shape[2])


def xrelevance_cam(
    a: Float[Array, "b h w k"], r: Float[Array, "b h w k"], *, eps: float = 1e-9
) -> Float[Array, "b 1 1 k"]:
    """w_k = sum_hw R / (ε + sum_hw A) (you2024; the thesis's eq. 4.1, 4.2).

    So sum_k w_k sum_hw A_k = sum R: the weighted activations conserve the relevance of the layer.
    """
    return _ratio(over_space(r), eps + over_space(a))


def _ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient, 0 where the denominator is."""
    return jnp.where(denominator == 0, 0, numerator / jnp.where(denominator == 0, 1, denominator))
