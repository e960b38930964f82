"""XRAI: regions of an image in the order in which integrated gradients are densest there.

Regions are scikit-image's (``pip install xrcam-jax[perturbation]``), found and ranked on the host.

References:
  kapishnikov2019
"""

import warnings
from typing import Any

import cv2
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from xrcam_jax.attribution.case import INPUT, Case
from xrcam_jax.attribution.gradients import integrated_gradients
from xrcam_jax.attribution.superpixels import check_on_host

# What the authors' code segments by: the scale of a segmentation is how large its regions like to be.
_SCALES, _SIGMA, _SIDE, _SMALLEST = (50, 100, 150, 250, 500, 1200), 0.8, 224, 150


def xrai(case: Case, *, steps: int = 100, dilation: int = 5, min_pixels: int = 50) -> Float[Array, "b t *space"]:
    """Returns at each pixel the mean attribution of the region with which it was chosen (kapishnikov2019, algorithm 1).

    Attributions are the mean of integrated gradients from black and from white, the least and the largest value of each
    image, and of a pixel the largest of its channels. Regions are those of six segmentations, coarser and coarser
    (Felzenszwalb and Huttenlocher), each grown by some pixels. Again and again the region is chosen whose pixels that
    are not yet covered have the highest mean. What no region covers in the end gets its own mean, so that the map sums
    to the attributions. The defaults are those of the authors' code, but integrals are by Gauss-Legendre.

    Args:
      case: what is explained: signals or images.
      steps: points of each integral, at least 2.
      dilation: pixels by which a region grows, at least 0.
      min_pixels: pixels that a region has to cover anew, or it is not chosen; at least 1.

    Raises:
      ImportError: scikit-image is missing.
      ValueError: less than two steps or one pixel, a region that is to shrink, inputs that are no signals or images, or
        a call inside jit.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.attribution.case import Case
      >>> from xrcam_jax.attribution.xrai import xrai
      >>> image = jnp.zeros((1, 24, 24, 1)).at[:, :, 12:].set(1.0)
      >>> case = Case(lambda images, parameters: images[:, :, 12:].sum((1, 2)), (), image, jnp.array([[1]]))
      >>> maps = xrai(case, steps=2, dilation=1, min_pixels=1)[0, 0]  # the half is 1 more than black alone
      >>> [round(float(v), 1) for v in maps[12, 6::12]]
      [0.0, 0.5]

    References:
      kapishnikov2019
    """
    if dilation < 0 or min_pixels < 1:
        raise ValueError(f"dilation must be at least 0 and min_pixels at least 1; got {dilation} and {min_pixels}")
    if not 3 <= case.images.ndim <= 4:
        raise ValueError(f"xrai segments signals and images; got inputs of {case.images.shape}")
    check_on_host(case, "xrai segments images")
    segment = _segmentation()
    space = tuple(range(1, case.images.ndim))
    ends = (extreme(case.images, axis=space, keepdims=True) for extreme in (jnp.min, jnp.max))
    black, white = (integrated_gradients(case, INPUT, baseline=end, steps=steps).values for end in ends)
    attributions = np.asarray(((black + white) / 2).max(-1), np.float64)
    images = np.asarray(case.images, np.float64)
    maps = [_explained(*each, segment, dilation, min_pixels) for each in zip(images, attributions, strict=True)]
    return jnp.asarray(np.stack(maps), black.dtype)


def _explained(
    image: Float[np.ndarray, "*space c"],
    attributions: Float[np.ndarray, "t *space"],
    segment: Any,
    dilation: int,
    min_pixels: int,
) -> Float[np.ndarray, "t *space"]:
    # A signal is a picture of one row.
    rows = image[None] if image.ndim == 2 else image
    masks = grown_masks([segment(rows, scale) for scale in _SCALES], dilation)
    return np.stack([ranked(masks, each.ravel(), min_pixels).reshape(each.shape) for each in attributions])


def _segmentation() -> Any:
    """Returns the function (image (h, w, c), scale) -> number of each pixel's region."""
    try:
        from skimage.segmentation import felzenszwalb
        from skimage.transform import resize
    except ImportError as error:
        raise ImportError("xrai needs scikit-image: pip install xrcam-jax[perturbation]") from error

    def segment(image: Float[np.ndarray, "h w c"], scale: float) -> Int[np.ndarray, "h w"]:
        low, high = image.min(), image.max()
        # Regions are alike at all sizes and ranges of images, since all have these when they are segmented.
        scaled = 2 * (image - low) / (high - low) - 1 if high > low else np.zeros_like(image)
        large = resize(scaled, (_SIDE, _SIDE), order=3, mode="constant", preserve_range=True, anti_aliasing=True)
        with warnings.catch_warnings():
            # Images of other channels than three are meant to be such.
            warnings.filterwarnings("ignore", message="Got image with third dimension")
            found = felzenszwalb(large, scale=scale, sigma=_SIGMA, min_size=_SMALLEST)
        kept = resize(found, image.shape[:2], order=0, mode="constant", preserve_range=True, anti_aliasing=False)
        return kept.astype(int)

    return segment


def grown_masks(segmentations: list[Int[np.ndarray, "h w"]], dilation: int) -> Bool[np.ndarray, "m p"]:
    """Returns the regions of some segmentations as masks, each with the pixels that are near to it.

    Args:
      segmentations: the number of each pixel's region.
      dilation: how far near is, in pixels.

    Returns:
      A flat mask for each region that has pixels, in the order of the segmentations.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.attribution.xrai import grown_masks
      >>> grown_masks([np.array([[0, 0, 0, 1, 1]])], 1).astype(int).tolist()
      [[1, 1, 1, 1, 0], [0, 0, 1, 1, 1]]
    """
    reach = np.arange(-dilation, dilation + 1)
    disk = (reach[:, None] ** 2 + reach**2 <= dilation**2).astype(np.uint8)
    masks = [found == region for found in segmentations for region in np.unique(found)]
    return np.stack([cv2.dilate(mask.astype(np.uint8), disk).ravel() > 0 for mask in masks])


def ranked(
    masks: Bool[np.ndarray, "m p"], attribution: Float[np.ndarray, " p"], min_pixels: int
) -> Float[np.ndarray, " p"]:
    """Returns at each pixel the mean attribution of those with which it was covered.

    Args:
      masks: of regions; the one whose pixels that are not yet covered have the highest mean covers them next.
      attribution: of each pixel.
      min_pixels: pixels that a region has to cover anew.

    Returns:
      The means. Pixels that are not covered have their own.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.attribution.xrai import ranked
      >>> masks = np.array([[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 0]], bool)
      >>> ranked(masks, np.array([1.0, 5.0, 2.0, 0.0, -1.0]), 1).tolist()
      [3.0, 3.0, 1.0, 1.0, -1.0]
    """
    found, left = np.empty_like(attribution), np.ones(len(attribution), bool)
    sums, sizes = masks @ attribution, masks.sum(1)
    while (fits := sizes >= min_pixels).any():
        best = np.argmax(np.where(fits, sums / np.maximum(sizes, 1), -np.inf))
        new = np.flatnonzero(masks[best] & left)
        found[new], left[new] = attribution[new].mean(), False
        # A pixel is taken out of the regions once, when it is covered.
        covered = masks[:, new]
        sums, sizes = sums - covered @ attribution[new], sizes - covered.sum(1)
    if left.any():
        found[left] = attribution[left].mean()
    return found
