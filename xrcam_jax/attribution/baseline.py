"""What an image without information looks like: the start of paths, and what shows where a part is hidden."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from xrcam_jax.attribution.case import Case

#: A number, or an array that can be broadcast to the images.
Baseline = Float[ArrayLike, "..."]


def baseline_images(case: Case, baseline: Baseline) -> Float[Array, "b h w c"]:
    """``baseline`` as a batch like the images.

    Raises:
      ValueError: it cannot be broadcast to their shape.
    """
    try:
        return jnp.broadcast_to(jnp.asarray(baseline, case.images.dtype), case.images.shape)
    except ValueError as error:
        shapes = f"{jnp.shape(baseline)} does not fit images {case.images.shape}"
        raise ValueError(f"baseline must be a number or an array like the images; shape {shapes}") from error
