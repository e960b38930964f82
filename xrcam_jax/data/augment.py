"""Mild random changes of frames that leave their labels true: flips, rotation and contrast, on the device."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, PRNGKeyArray, UInt8
from matplotlib.figure import Figure

from xrcam_jax.data.manifest import Statistics
from xrcam_jax.figures.comparison import comparison

Grey = UInt8[Array | np.ndarray, "b h w 1"] | Float[Array | np.ndarray, "b h w 1"]


@dataclass(frozen=True)
class Augmentation:
    """Says what :func:`augment` may do to a frame; each frame gets its own draw.

    Attributes:
      vertical_flip: whether a frame is turned upside down with a chance of one half.
      horizontal_flip: whether a frame is mirrored with a chance of one half.
      max_rotation: largest angle in degrees, in either direction, in [0, 180]; all angles up to it are equally likely.
      contrast: the least and the largest factor on the distance to the frame's mean intensity, from 0; all factors
        between them are equally likely.

    Raises:
      ValueError: naming the attribute that is out of range.
    """

    vertical_flip: bool = True
    horizontal_flip: bool = True
    max_rotation: float = 15.0
    contrast: tuple[float, float] = (0.8, 1.25)

    def __post_init__(self) -> None:
        if not 0 <= self.max_rotation <= 180:
            raise ValueError(f"max_rotation: {self.max_rotation} is not in [0, 180] degrees")
        pair = isinstance(self.contrast, tuple) and len(self.contrast) == 2
        if not pair or not 0 <= self.contrast[0] <= self.contrast[1] < math.inf:
            raise ValueError(f"contrast: expected a tuple with 0 <= least <= largest, got {self.contrast}")


@functools.partial(jax.jit, static_argnames="settings")
def augment(key: PRNGKeyArray, images: Grey, settings: Augmentation) -> Float32[Array, "b h w 1"]:
    """Changes each frame by chance: flips, then rotation, then contrast.

    Args:
      key: one for the batch; the same key gives the same changes.
      images: uint8, or floats in [0, 1].
      settings: what may be done. The function is compiled anew for each.

    Returns:
      Floats in [0, 1]; what the contrast pushes out of that range is clipped.

    Raises:
      ValueError: where the images have another shape.
      TypeError: where they are neither uint8 nor floats.
      ImportError: dm_pix is not installed.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.data.augment import Augmentation, augment
      >>> settings = Augmentation(vertical_flip=False, horizontal_flip=False, max_rotation=0.0, contrast=(0.0, 0.0))
      >>> frame = jnp.array([0.25, 0.75]).reshape(1, 1, 2, 1)
      >>> augment(jax.random.key(0), frame, settings).ravel().tolist()
      [0.5, 0.5]
    """
    pictures = _unit(images)
    keys = jax.random.split(key, pictures.shape[0])
    return jax.vmap(functools.partial(_augment_one, settings=settings))(keys, pictures)


@functools.partial(jax.jit, static_argnames="statistics")
def normalise(images: Grey, statistics: Statistics) -> Float32[Array, "b h w 3"]:
    """Returns the network's input, (intensity - mean) / std, with the grey copied to three channels.

    Args:
      images: uint8, or floats in [0, 1].
      statistics: of the training part.

    Returns:
      The normalised frames.

    Raises:
      ValueError: where the images have another shape.
      TypeError: where they are neither uint8 nor floats.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.data.augment import normalise
      >>> from xrcam_jax.data.manifest import Statistics
      >>> normalise(jnp.array([0.25, 1.0]).reshape(1, 1, 2, 1), Statistics(0.5, 0.25))[0, 0].tolist()
      [[-1.0, -1.0, -1.0], [2.0, 2.0, 2.0]]
    """
    return jnp.repeat((_unit(images) - statistics.mean) / statistics.std, 3, axis=-1)


def rotate(image: Float[Array | np.ndarray, "h w"], angle: Float[Array, ""]) -> Float[Array, "h w"]:
    """Turns a picture about its centre and keeps its size.

    Args:
      image: of one channel.
      angle: in radians, counterclockwise where it is positive.

    Returns:
      The picture, interpolated bilinearly. What is turned in from outside is the picture reflected at its edges, with
      the edge pixels repeated.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.data.augment import rotate
      >>> jnp.rint(rotate(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array(jnp.pi / 2))).tolist()
      [[2.0, 4.0], [1.0, 3.0]]
    """
    # dm_pix.rotate also interpolates across the channels, which took six times as long here, and longer with other
    # ways to fill the outside.
    image = jnp.asarray(image)
    height, width = image.shape
    down, right = jnp.meshgrid(_about_centre(height, image.dtype), _about_centre(width, image.dtype), indexing="ij")
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rows = cos * down + sin * right + (height - 1) / 2
    columns = cos * right - sin * down + (width - 1) / 2
    return jax.scipy.ndimage.map_coordinates(image, [rows, columns], order=1, mode="reflect")


def sheet(key: PRNGKeyArray, images: Grey, settings: Augmentation, *, draws: int = 4, cell: float = 1.2) -> Figure:
    """Draws a sheet that shows what :func:`augment` does: in each row a frame before and several times after.

    Args:
      key: the columns' keys are split from it.
      images: at least one, uint8 or floats in [0, 1].
      settings: what may be done.
      draws: columns of frames after, from 1.
      cell: the longer side of a frame on the sheet, in inches.

    Returns:
      The sheet.

    Raises:
      ValueError: where there are no images or draws.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.data.augment import Augmentation, sheet
      >>> settings = Augmentation(max_rotation=0.0)
      >>> figure = sheet(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), settings, draws=1)
      >>> [text.get_text() for text in figure.texts][-2:]
      ['before', 'after']
    """
    if draws < 1:
        raise ValueError(f"draws: expected 1 or more, got {draws}")
    after = [augment(column, images, settings) for column in jax.random.split(key, draws)]
    pictures = np.rint(255 * np.stack([_unit(images), *after], axis=1)).astype(np.uint8)
    rows = [list(np.repeat(row, 3, axis=-1)) for row in pictures]
    return comparison(rows, columns=["before", *["after"] * draws], title=_described(settings), cell=cell)


def _augment_one(key: PRNGKeyArray, image: Float32[Array, "h w 1"], settings: Augmentation) -> Float32[Array, "h w 1"]:
    pix = _dm_pix()
    for_vertical, for_horizontal, for_angle, for_contrast = jax.random.split(key, 4)
    if settings.vertical_flip:
        image = pix.random_flip_up_down(for_vertical, image)
    if settings.horizontal_flip:
        image = pix.random_flip_left_right(for_horizontal, image)
    if settings.max_rotation:
        most = math.radians(settings.max_rotation)
        angle = jax.random.uniform(for_angle, dtype=image.dtype, minval=-most, maxval=most)
        image = rotate(image[..., 0], angle)[..., None]
    if settings.contrast != (1, 1):
        image = pix.random_contrast(for_contrast, image, *settings.contrast)
    return jnp.clip(image, 0, 1).astype(jnp.float32)


def _about_centre(length: int, dtype: DTypeLike) -> Float[Array, "{length}"]:
    return jnp.arange(length, dtype=dtype) - (length - 1) / 2


def _unit(images: Grey) -> Float32[Array, "b h w 1"]:
    images = jnp.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 1:
        raise ValueError(f"images: expected (batch, height, width, 1), got shape {images.shape}")
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"images: expected uint8 or floats in [0, 1], got {images.dtype}")
    return images.astype(jnp.float32)


def _described(settings: Augmentation) -> str:
    flips = [name for name, on in [("up-down", settings.vertical_flip), ("left-right", settings.horizontal_flip)] if on]
    least, largest = settings.contrast
    return (
        f"flips: {' and '.join(flips) or 'none'}, {settings.max_rotation:g}° at most, contrast {least:g} to {largest:g}"
    )


def _dm_pix() -> Any:
    try:
        import dm_pix
    except ImportError:
        raise ImportError("augmentation takes dm_pix: pip install dm-pix") from None
    return dm_pix
