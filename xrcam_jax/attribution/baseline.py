"""What an image without information looks like: the start of paths, and what shows where a part is hidden."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Num, Shaped

from xrcam_jax.attribution.asked import is_ids
from xrcam_jax.attribution.case import Case

#: A number, or an array that can be broadcast to the images.
Baseline = Num[ArrayLike, "..."]


def baseline_images(case: Case, baseline: Baseline) -> Shaped[Array, "b ..."]:
    """Returns a baseline as a batch like the images.

    Args:
      case: what is explained.
      baseline: a number, or an array that can be broadcast to the images (b, *space, c); preprocessed as they are.

    Raises:
      ValueError: it cannot be broadcast to their shape, or is no id where they are token ids.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.baseline import baseline_images
      >>> from xrcam_jax.attribution.case import Case
      >>> model = lambda images, parameters: images.sum((1, 2))
      >>> case = Case(model, (), jnp.ones((1, 1, 2, 3)), jnp.zeros((1, 1), int))
      >>> baseline_images(case, jnp.array([0.0, 0.5, 1.0])).tolist()
      [[[[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]]]]
    """
    if is_ids(case.images) and not _are_ids(np.asarray(baseline)):
        raise ValueError(f"baseline must be a token id or ids, whole numbers from 0 up; got {baseline}")
    try:
        return jnp.broadcast_to(jnp.asarray(baseline, case.images.dtype), case.images.shape)
    except ValueError as error:
        shapes = f"{jnp.shape(baseline)} does not fit images {case.images.shape}"
        raise ValueError(f"baseline must be a number or an array like the images; shape {shapes}") from error


def _are_ids(numbers: Num[np.ndarray, "..."]) -> bool:
    return bool(np.all((numbers >= 0) & (numbers == np.floor(numbers))))
