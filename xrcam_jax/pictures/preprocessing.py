"""Preprocessing: from pictures of any size to the normalised batch that a checkpoint was trained on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
#: How frames are resized for training; timm knows no such thing.
AREA = "area"
CROP_MODES = ("center", "squash", "border")
PerChannel = tuple[float] | tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """Says how a checkpoint wants its pictures: what matters of timm's ``pretrained_cfg``, and how frames were cut.

    Attributes:
      mean: per channel RGB, of intensities in [0, 1]; or a single one, for networks that want one grey channel.
      std: as many deviations, of intensities in [0, 1].
      input_size: height and width in pixels of what the network is fed.
      crop_pct: share of the resized picture's shorter side that the centre crop keeps, in (0, 1].
      interpolation: ``"nearest"``, ``"bilinear"``, ``"bicubic"``, ``"lanczos"``, ``"box"`` or ``"hamming"``,
        antialiased; or ``"area"``, by means of areas where a picture shrinks and bilinearly where it grows, as
        ``xrcam train`` does.
      crop_mode: what is kept of a picture of another shape. ``"center"``: its proportions, and of the longer side what
        is in the middle. ``"squash"``: all of it, each side resized by itself. ``"border"``: its proportions and all of
        it, in a frame of the mean colour. All but the last are then cropped by ``crop_pct``, and so is the frame.
      field_of_view: ``"auto"`` where frames were cut to their field of view, as ``xrcam prepare`` does; ``"none"``
        where they were whole, or nothing is known. It is for those who read pictures
        (:func:`xrcam_jax.load_images`); :func:`preprocess` cuts nothing.
      grey: whether frames were grey. Colours are then turned into grey, which all channels get.

    Raises:
      ValueError: where an attribute is none of these.

    Example:
      >>> from xrcam_jax.pictures.preprocessing import Preprocessing
      >>> Preprocessing(input_size=(96, 96)).crop_pct
      0.875
    """

    mean: PerChannel = (0.485, 0.456, 0.406)
    std: PerChannel = (0.229, 0.224, 0.225)
    input_size: tuple[int, int] = (224, 224)
    crop_pct: float = 0.875
    interpolation: str = "bicubic"
    crop_mode: str = "center"
    field_of_view: Literal["auto", "none"] = "none"
    grey: bool = False

    def __post_init__(self) -> None:
        if len(self.mean) not in (1, 3) or len(self.std) != len(self.mean):
            raise ValueError(f"mean and std: {self.mean} and {self.std} are not both of 3 channels or both of one")
        if not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct: {self.crop_pct} is not in (0, 1]")
        if self.interpolation not in (*INTERPOLATIONS, AREA):
            raise ValueError(f"interpolation: {self.interpolation!r} is none of {', '.join((*INTERPOLATIONS, AREA))}")
        if self.field_of_view not in ("auto", "none"):
            raise ValueError(f"field_of_view: {self.field_of_view!r} is neither 'auto' nor 'none'")
        if self.crop_mode not in CROP_MODES:
            raise ValueError(f"crop_mode: {self.crop_mode!r} is none of {', '.join(CROP_MODES)}")

    @property
    def channels(self) -> int:
        """The number of channels that the network is fed: 3, or 1 for the luma of a picture."""
        return len(self.mean)

    def for_channels(self, channels: int) -> "Preprocessing":
        """Returns the same for a network of another number of channels.

        As timm has it, one channel gets the averages of three, and three channels get the same values each.
        """
        if channels == self.channels:
            return self
        mean, std = (sum(values) / len(values) for values in (self.mean, self.std))
        return (
            replace(self, mean=(mean,), std=(std,))
            if channels == 1
            else replace(self, mean=(mean,) * 3, std=(std,) * 3)
        )


class Box(NamedTuple):
    """A part of a picture: rows from ``top`` up to ``bottom``, columns from ``left`` up to ``right``.

    What the network sees of a picture may stick out of it, where there is a border around.

    Attributes:
      top: first row.
      left: first column.
      bottom: the row after the last.
      right: the column after the last.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.preprocessing import Box
      >>> np.arange(12).reshape(3, 4)[Box(1, 2, 3, 4).slices].tolist()
      [[6, 7], [10, 11]]
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The slices that cut the box out of an array of rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def scaled(self, down: float, across: float) -> "Box":
        """Returns the box in a picture that is resized by these factors; it keeps one pixel at least."""
        top, left = int(self.top * down), int(self.left * across)
        bottom, right = max(top + 1, round(self.bottom * down)), max(left + 1, round(self.right * across))
        return Box(top, left, bottom, right)

    def within(self, height: int, width: int) -> "Box":
        """Returns the part of the box that lies in a picture of that size."""
        return Box(max(self.top, 0), max(self.left, 0), min(self.bottom, height), min(self.right, width))

    def cut(self, picture: np.ndarray, fill: Any = 0) -> np.ndarray:
        """Cuts the box out of an array of rows and columns; what lies outside of that gets the value ``fill``."""
        inside = self.within(*picture.shape[:2])
        if inside == self:
            return picture[self.slices]
        whole = np.empty((self.bottom - self.top, self.right - self.left, *picture.shape[2:]), picture.dtype)
        whole[...] = fill
        whole[Box(*np.subtract(inside, (self.top, self.left) * 2).tolist()).slices] = picture[inside.slices]
        return whole


def preprocess(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]] | UInt8[np.ndarray, "b _ _ 3"], config: Preprocessing
) -> Float32[np.ndarray, "b h w c"]:
    """Resizes pictures, crops their centres and normalises them, as timm does when it evaluates.

    For a network of one channel, the picture's luma is taken first (ITU-R 601-2, as Pillow's mode L).

    Args:
      images: RGB pictures, each of its own size, or an array of them. They are taken whole: a field of view is cut out
        when they are read.
      config: the checkpoint's; (h, w) is its ``input_size``.

    Returns:
      (intensity - mean) / std of each channel, of intensities in [0, 1].

    Raises:
      TypeError: naming the picture whose dtype is wrong.
      ValueError: naming the picture whose shape is wrong, or saying that there are none.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.preprocessing import Preprocessing, preprocess
      >>> config = Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, input_size=(2, 3))
      >>> batch = preprocess([np.full((40, 50, 3), 255, np.uint8)], config)
      >>> batch.shape, float(batch.min()), float(batch.max())
      ((1, 2, 3, 3), 1.0, 1.0)
    """
    if isinstance(images, np.ndarray) and images.ndim != 4:
        raise ValueError(f"images: expected (batch, height, width, 3), got shape {images.shape}")
    if len(images) == 0:
        raise ValueError("images: there are none")
    crops = np.stack([_crop(_checked(image, index), config) for index, image in enumerate(images)])
    scaled = crops.astype(np.float32) / np.float32(255)
    return (scaled - np.asarray(config.mean, np.float32)) / np.asarray(config.std, np.float32)


def crop_box(height: int, width: int, config: Preprocessing) -> Box:
    """Returns the part of a picture that the network sees.

    A saliency map has the network's resolution: the box says where on the picture it lies.

    Args:
      height: of the picture, in pixels.
      width: of the picture, in pixels.
      config: the checkpoint's.

    Returns:
      The box, in the picture's own pixels. With ``crop_mode="border"`` it may stick out of the picture.

    Example:
      >>> from xrcam_jax.pictures.preprocessing import Preprocessing, crop_box
      >>> crop_box(100, 200, Preprocessing(input_size=(64, 64), crop_pct=0.5))
      Box(top=25, left=75, bottom=75, right=125)
      >>> crop_box(100, 200, Preprocessing(input_size=(64, 64), crop_pct=1.0, crop_mode="border"))
      Box(top=-50, left=0, bottom=150, right=200)
    """
    exact = exact_box(height, width, config)
    top, bottom = _whole(exact[0], exact[2], height)
    left, right = _whole(exact[1], exact[3], width)
    return Box(top, left, bottom, right)


def exact_box(height: int, width: int, config: Preprocessing) -> tuple[float, float, float, float]:
    """Returns the part of a picture that the network sees, without rounding it to whole pixels.

    Args:
      height: of the picture, in pixels.
      width: of the picture, in pixels.
      config: the checkpoint's.

    Returns:
      Top, left, bottom and right, in the picture's own pixels, as :func:`crop_box` has them.

    Example:
      >>> from xrcam_jax.pictures.preprocessing import Preprocessing, exact_box
      >>> exact_box(96, 96, Preprocessing(input_size=(56, 56), crop_pct=0.875))
      (6.0, 6.0, 90.0, 90.0)
    """
    resized_height, resized_width = _resized(height, width, config)
    box = _centre(resized_height, resized_width, config)
    down, across = height / resized_height, width / resized_width
    return box.top * down, box.left * across, box.bottom * down, box.right * across


def resize(
    image: UInt8[np.ndarray, "_ _ *channels"], height: int, width: int, interpolation: str
) -> UInt8[np.ndarray, "{height} {width} *channels"]:
    """Resizes a picture.

    Args:
      image: RGB or grey.
      height: of the result, in pixels, from 1.
      width: of the result, in pixels, from 1.
      interpolation: as in :class:`Preprocessing`.

    Returns:
      The picture, with as many channels.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.preprocessing import resize
      >>> resize(np.uint8([[0, 8], [16, 24]]), 1, 1, "area").tolist()
      [[12]]
    """
    if interpolation != AREA:
        return np.asarray(Image.fromarray(image).resize((width, height), INTERPOLATIONS[interpolation]))
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def to_grey(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """Turns a picture into grey.

    Args:
      image: RGB.

    Returns:
      Its luminance, 0.299 R + 0.587 G + 0.114 B, rounded; of a picture that is grey already, any of its channels.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.pictures.preprocessing import to_grey
      >>> to_grey(np.uint8([[[200, 0, 0], [7, 7, 7]]])).tolist()
      [[60, 7]]
    """
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _crop(image: UInt8[np.ndarray, "_ _ 3"], config: Preprocessing) -> UInt8[np.ndarray, "h w c"]:
    height, width = _resized(image.shape[0], image.shape[1], config)
    # Grey comes first, as in training: afterwards it would be rounded once more.
    resized = resize(_coloured(image, config), height, width, config.interpolation)
    if resized.ndim == 2:
        resized = np.repeat(resized[..., None], config.channels, axis=2)
    border = [round(255 * mean) for mean in config.mean]
    return _centre(height, width, config).cut(resized, border)


def _coloured(image: UInt8[np.ndarray, "_ _ 3"], config: Preprocessing) -> UInt8[np.ndarray, "_ _ *channels"]:
    if config.grey:
        return to_grey(image)
    return np.asarray(Image.fromarray(image).convert("L")) if config.channels == 1 else image


def _resized(height: int, width: int, config: Preprocessing) -> tuple[int, int]:
    """Returns the size at which the crop is cut.

    By ``crop_mode``, the scarcer side, both sides or the other one just cover ``input_size / crop_pct``.
    """
    goal_height, goal_width = (math.floor(side / config.crop_pct) for side in config.input_size)
    if config.crop_mode == "squash":
        return goal_height, goal_width
    if config.crop_mode == "border":
        ratio = max(height / goal_height, width / goal_width)
        return max(1, round(height / ratio)), max(1, round(width / ratio))
    # timm rounds the other side down for square inputs (torchvision's Resize) and to the nearest
    # for others (its own ResizeKeepRatio); one pixel, but it moves every sample of the resize.
    if goal_height != goal_width:
        ratio = min(height / goal_height, width / goal_width)
        return round(height / ratio), round(width / ratio)
    shorter = min(height, width)
    return int(goal_height * height / shorter), int(goal_width * width / shorter)


def _centre(height: int, width: int, config: Preprocessing) -> Box:
    crop_height, crop_width = config.input_size
    top, left = _start(height, crop_height), _start(width, crop_width)
    return Box(top, left, top + crop_height, left + crop_width)


def _start(length: int, crop: int) -> int:
    # Of an odd difference, timm puts the larger half of a border behind, and rounds a crop's start to the even number.
    return -((crop - length) // 2) if crop > length else round((length - crop) / 2)


def _whole(start: float, stop: float, length: int) -> tuple[int, int]:
    """Rounds an interval to whole pixels of ``[0, length)``, to one at least."""
    first = min(round(start), length - 1)
    return first, max(round(stop), first + 1)


def _checked(image: np.ndarray, index: int) -> np.ndarray:
    if image.dtype != np.uint8:
        raise TypeError(f"images[{index}]: expected uint8, got {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"images[{index}]: expected (height, width, 3), got shape {image.shape}")
    return image
