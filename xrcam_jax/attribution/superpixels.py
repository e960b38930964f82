"""Superpixels: pieces of a picture of one colour, found by scikit-image (``pip install xrcam-jax[perturbation]``)."""

import numpy as np
from jaxtyping import Array, Float, Int


def superpixels(images: Float[Array | np.ndarray, "b *space c"], count: int) -> Int[np.ndarray, "b *space"]:
    """Returns the number of each pixel's superpixel, found by SLIC on the host, picture by picture.

    Args:
      images: signals, pictures or volumes, of any range: each is scaled to [0, 1].
      count: superpixels asked for, at least 2; SLIC may find a few less or more.

    Returns:
      int32, from 0 without gaps.

    Raises:
      ImportError: scikit-image is missing.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.attribution.superpixels import superpixels
      >>> image = np.zeros((1, 4, 8, 1), np.float32)
      >>> image[:, :, 4:] = 1
      >>> superpixels(image, 2)[0, 0].tolist()
      [0, 0, 0, 0, 1, 1, 1, 1]
    """
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise ImportError("superpixels need scikit-image: pip install xrcam-jax[perturbation]") from error

    def regions(image: np.ndarray) -> np.ndarray:
        low, high = image.min(), image.max()
        scaled = (image - low) / (high - low) if high > low else np.zeros_like(image)
        # A signal is a picture of one row.
        rows = scaled[None] if scaled.ndim == 2 else scaled
        found = slic(rows, n_segments=count, compactness=0.1, start_label=0, convert2lab=False, channel_axis=-1)
        return np.unique(found, return_inverse=True)[1].reshape(scaled.shape[:-1])

    return np.stack([regions(image) for image in np.asarray(images, np.float32)]).astype(np.int32)
