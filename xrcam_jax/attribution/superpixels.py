"""Superpixels: regions of like pixels, which are hidden together. LIME and KernelSHAP ask what each of them counts.

They are scikit-image's (``pip install xrcam-jax[perturbation]``), found on the host; what hides them is on the device.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from xrcam_jax.attribution.case import Case

# The number of superpixels is rounded up to a multiple of this, so that images share a program.
_ROUND = 32


class Superpixels(NamedTuple):
    """Holds the superpixels of a batch.

    Attributes:
      regions: the number of each pixel's superpixel, from 0 on in each image.
      filling: the mean colour of its superpixel at each pixel.
      width: as many superpixels as the image of most has, or more.
    """

    regions: Int[Array, "b *space"]
    filling: Float[Array, "b *space c"]
    width: int


def superpixels(case: Case, segments: int, method: str) -> Superpixels:
    """Returns the superpixels (SLIC) of a batch of signals, images or volumes.

    Args:
      case: what is explained.
      segments: superpixels asked for in each image; SLIC may find a few less or more.
      method: what errors call the method.

    Raises:
      ImportError: scikit-image is missing.
      ValueError: images of more than three dimensions, or a call inside jit.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.superpixels import superpixels
      >>> signal = jnp.array([0.0, 0.0, 0.0, 0.0, 6.0, 6.0, 6.0, 6.0]).reshape(1, 8, 1)
      >>> found = superpixels(Case(lambda images, parameters: images.sum(1), (), signal, jnp.array([[0]])), 2, "lime")
      >>> found.regions.tolist(), found.filling.ravel().tolist()
      ([[0, 0, 0, 0, 1, 1, 1, 1]], [0.0, 0.0, 0.0, 0.0, 6.0, 6.0, 6.0, 6.0])
    """
    if not 3 <= case.images.ndim <= 5:
        raise ValueError(
            f"{method} finds superpixels of signals, images and volumes; got images of {case.images.shape}"
        )
    check_on_host(case, f"{method} finds superpixels")
    found = slic_regions(case.images, segments, method)
    width, regions = -(-(int(found.max()) + 1) // _ROUND) * _ROUND, jnp.asarray(found)
    return Superpixels(regions, _filled(case.images, regions, width), width)


def check_on_host(case: Case, what: str) -> None:
    """Refuses a case inside jit, where the host does not know its values.

    Args:
      case: what is explained.
      what: what has to be done on the host, for the message.

    Returns:
      Nothing.

    Raises:
      ValueError: the case is inside jit, vmap or shard_map.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.superpixels import check_on_host
      >>> case = Case(lambda images, parameters: images.sum((1, 2)), (), jnp.ones((1, 2, 2, 1)), jnp.array([[0]]))
      >>> check_on_host(case, "lime finds superpixels")
    """
    # Inside jit a new key is traced even where all that is given is known.
    given = (case.images, case.parameters, case.targets, jax.random.key(0))
    if any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves(given)):
        raise ValueError(f"{what} on the host: it cannot run inside jit, vmap or shard_map")


def slic_regions(
    images: Float[Array | np.ndarray, "b *space c"], segments: int, method: str = "slic_regions"
) -> Int[np.ndarray, "b *space"]:
    """Returns the number of each pixel's superpixel, found by SLIC on the host, picture by picture.

    Args:
      images: signals, pictures or volumes, of any range: each is scaled to [0, 1].
      segments: superpixels asked for, at least 2; SLIC may find a few less or more.
      method: who asks, for errors.

    Returns:
      int32, from 0 without gaps.

    Raises:
      ValueError: less than 2 superpixels.
      ImportError: scikit-image is missing.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.attribution.superpixels import slic_regions
      >>> image = np.zeros((1, 4, 8, 1), np.float32)
      >>> image[:, :, 4:] = 1
      >>> slic_regions(image, 2)[0, 0].tolist()
      [0, 0, 0, 0, 1, 1, 1, 1]
    """
    if segments < 2:
        raise ValueError(f"superpixels must be at least 2; got {segments}")
    slic = _scikit_image(method)

    def regions(image: np.ndarray) -> np.ndarray:
        low, high = image.min(), image.max()
        scaled = (image - low) / (high - low) if high > low else np.zeros_like(image)
        # A signal is a picture of one row.
        rows = scaled[None] if scaled.ndim == 2 else scaled
        found = slic(rows, n_segments=segments, compactness=0.1, start_label=0, convert2lab=False, channel_axis=-1)
        return np.unique(found, return_inverse=True)[1].reshape(scaled.shape[:-1])

    return np.stack([regions(image) for image in np.asarray(images, np.float32)]).astype(np.int32)


def _scikit_image(method: str) -> Any:
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise ImportError(f"{method} needs scikit-image: pip install xrcam-jax[perturbation]") from error
    return slic


def _filled(
    images: Float[Array, "b *space c"], regions: Int[Array, "b *space"], width: int
) -> Float[Array, "b *space c"]:
    """Returns for each pixel the mean colour of its superpixel."""

    def fill(image: Array, region: Array) -> Array:
        flat = region.ravel()
        sums = jax.ops.segment_sum(image.reshape(-1, image.shape[-1]), flat, width)
        sizes = jax.ops.segment_sum(jnp.ones_like(flat, image.dtype), flat, width)
        return (sums / jnp.maximum(sizes, 1)[:, None])[region]

    return jax.vmap(fill)(images, regions)
