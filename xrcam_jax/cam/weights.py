"""The weights of class activation maps: one pure function per method.

Every function takes a layer's activation A and what the method propagates to it, the gradient G of the
target's logit or the relevance R, all of shape (b, h, w, k), and returns weights that broadcast to that
shape. The map is sum_k weight · A_k (see :func:`xrcam_jax.cam.saliency.weighted_sum`).

References:
  selvaraju2017: Selvaraju et al., Grad-CAM: visual explanations from deep networks, ICCV 2017.
  lee2021: Lee et al., Relevance-CAM: your model already knows where to look, CVPR 2021.
  you2024: You et al., XRelevanceCAM: towards explainable tissue characterization with improved localisation
    of pathological structures in probe-based confocal laser endomicroscopy, IJCARS 2024.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

_SPACE = (1, 2)


def grad_cam(a: Float[Array, "b h w k"], g: Float[Array, "b h w k"]) -> Float[Array, "b 1 1 k"]:
    """w_k = mean_hw G (selvaraju2017, eq. 1)."""
    return jnp.mean(g, axis=_SPACE, keepdims=True)


def relevance_cam(a: Float[Array, "b h w k"], r: Float[Array, "b h w k"]) -> Float[Array, "b 1 1 k"]:
    """w_k = mean_hw R (lee2021, eq. 5; the thesis's eq. 2.18)."""
    return jnp.mean(r, axis=_SPACE, keepdims=True)


def xrelevance_cam(
    a: Float[Array, "b h w k"], r: Float[Array, "b h w k"], *, eps: float = 1e-9
) -> Float[Array, "b 1 1 k"]:
    """w_k = sum_hw R / (ε + sum_hw A) (you2024; the thesis's eq. 4.1, 4.2).

    So sum_k w_k sum_hw A_k = sum R: the weighted activations conserve the relevance of the layer.
    """
    return jnp.sum(r, axis=_SPACE, keepdims=True) / (eps + jnp.sum(a, axis=_SPACE, keepdims=True))
