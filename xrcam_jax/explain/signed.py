"""Maps with evidence for and against the class, for those methods that tell one from the other.

Maps in [0, 1] show evidence for the class alone.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.cam.saliency import AGGREGATE, Size, upsample
from xrcam_jax.explain.methods import configure

#: Which share of a map's pixels is told apart by colour; captum leaves as much.
_SHARE = 0.98


def is_signed(method: str) -> bool:
    """Tells whether what a method gives speaks for the class where it is positive, and against it where it is negative.

    Class activation maps are defined by what is positive, and saliency such as that of the gradient has no sign.

    Args:
      method: its name, which may have options; any other name is of none.

    Returns:
      Whether its maps are drawn with both signs.

    Example:
      >>> from xrcam_jax.explain.signed import is_signed
      >>> is_signed("lrp"), is_signed("integrated_gradients"), is_signed("grad_cam"), is_signed("mine")
      (True, True, False, False)
    """
    try:
        return configure(method, {}).signed
    except ValueError:
        return False


def signed_maps(raw: Mapping[str, Float[Array, "..."]], size: Size) -> dict[str, Float[Array, "..."]]:
    """Returns the maps of a method that :func:`is_signed`, in [-1, 1] and with zero where there is no evidence.

    Args:
      raw: what the method gives, by layer, at the layers' own sizes: ``raw`` of an :class:`xrcam_jax.Explanation`.
      size: of the pictures.

    Returns:
      By layer, the same of the size of the pictures and scaled, so that the largest two pixels in a hundred have 1 or
      -1: at the input a few pixels would leave nothing to be seen of the others. Where maps of several layers have an
      aggregate, it is under ``"aggregate"``: their mean, likewise.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.signed import signed_maps
      >>> signed_maps({"input": jnp.array([[[2.0, 2.0, -1.0]]])}, (1, 3))["input"].tolist()
      [[[1.0, 1.0, -0.5]]]
    """
    found = {layer: signed_map(each, size) for layer, each in raw.items()}
    if any(layer != "input" for layer in found):
        found[AGGREGATE] = _scaled(jnp.mean(jnp.stack(list(found.values())), axis=0), size)
    return found


def signed_map(raw: Float[Array, "..."], size: Size) -> Float[Array, "..."]:
    """Returns what a method gives at a layer as maps in [-1, 1], as :func:`signed_maps` has them.

    Args:
      raw: at the layer's own size.
      size: of the pictures.

    Returns:
      The maps, of the size of the pictures.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.explain.signed import signed_map
      >>> signed_map(jnp.array([[[2.0, 2.0, -1.0]]]), (1, 3)).tolist()
      [[[1.0, 1.0, -0.5]]]
    """
    return _scaled(upsample(raw, size), size)


@partial(jax.jit, static_argnames="size")
def _scaled(maps: Float[Array, "*maps"], size: Size) -> Float[Array, "*maps"]:
    space = tuple(range(-len(size), 0))
    largest = jnp.max(jnp.abs(maps), axis=space, keepdims=True)
    most = jnp.quantile(jnp.abs(maps), _SHARE, axis=space, keepdims=True, method="lower")
    # A map of which more than that is zero has its largest value for 1.
    scale = jnp.where(most > 0, most, largest)
    return jnp.clip(maps / jnp.where(scale > 0, scale, 1), -1, 1)
