"""Maps with evidence for and against the class, for those methods that tell one from the other.

Maps in [0, 1] show evidence for the class alone.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.cam.saliency import Size, upsample
from xrcam_jax.explain.explanation import Explanation
from xrcam_jax.explain.methods import configure
from xrcam_jax.explain.repeated import AGGREGATE

#: Which share of a map's pixels is told apart by colour; captum leaves as much.
_SHARE = 0.98


def is_signed(method: str) -> bool:
    """Tells whether what a method gives speaks for the class where it is positive, and against it where it is negative.

    Class activation maps are defined by what is positive, and saliency such as that of the gradient has no sign.

    Args:
      method: its name, which may have options.

    Returns:
      Whether its maps are drawn with both signs.

    Example:
      >>> from xrcam_jax.explain.signed import is_signed
      >>> is_signed("lrp"), is_signed("integrated_gradients"), is_signed("grad_cam"), is_signed("gradient")
      (True, True, False, False)
    """
    return configure(method, {}).signed


def signed_maps(e: Explanation, method: str) -> dict[str, Float[Array, "b *rest"]]:
    """Returns the maps of a method that :func:`is_signed`, in [-1, 1] and with zero where there is no evidence.

    Args:
      e: an explanation.
      method: one that was asked for.

    Returns:
      By layer, what the explanation has as ``raw``, of the size of the pictures and scaled, so that the largest two
      pixels in a hundred have 1 or -1: at the input a few pixels would leave nothing to be seen of the others. Where
      maps of several layers have an aggregate, it is under ``"aggregate"``: their mean, likewise.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.explain.signed import signed_maps
      >>> model = lambda images: (images * jnp.array([[1.0], [-0.5]])).sum((1, 2))
      >>> e = xr.Explainer(model, ["gradient_x_input"])(jnp.ones((1, 2, 2, 1)), [1])
      >>> signed_maps(e, "gradient_x_input")["input"].tolist()
      [[[1.0, -0.5], [1.0, -0.5]]]
    """
    size = next(iter(e.maps[method].values())).shape[e.targets.ndim :]
    found = {layer: _scaled(upsample(raw, size), size) for layer, raw in e.raw[method].items()}
    if any(layer != "input" for layer in found):
        found[AGGREGATE] = _scaled(jnp.mean(jnp.stack(list(found.values())), axis=0), size)
    return found


@partial(jax.jit, static_argnames="size")
def _scaled(maps: Float[Array, "*maps"], size: Size) -> Float[Array, "*maps"]:
    space = tuple(range(-len(size), 0))
    largest = jnp.max(jnp.abs(maps), axis=space, keepdims=True)
    most = jnp.quantile(jnp.abs(maps), _SHARE, axis=space, keepdims=True, method="lower")
    # A map of which more than that is zero has its largest value for 1.
    scale = jnp.where(most > 0, most, largest)
    return jnp.clip(maps / jnp.where(scale > 0, scale, 1), -1, 1)
