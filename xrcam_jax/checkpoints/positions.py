"""The embedding of positions: for pictures of which size it is, and the same for pictures of another size.

References:
  dosovitskiy2021, section 3.2
"""

import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from xrcam_jax.models.vision_transformer import grid_of
from xrcam_jax.models.vit_specs import VitSpec

#: timm's name of the embedding.
KEY = "pos_embed"


def picture_size(
    spec: VitSpec, tensors: Mapping[str, np.ndarray], said: Sequence[tuple[int, int] | None]
) -> tuple[int, int]:
    """Returns the size of the pictures that a vision transformer's positions are for.

    Args:
      spec: the network's shape.
      tensors: by timm's key.
      said: sizes that are named somewhere, the likeliest first; None for none.

    Returns:
      The first height and width in pixels that have as many patches as there are positions; or those of a square that
      has; or, where there is no such square, the network's own.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.models.vit_specs import VITS
      >>> picture_size(VITS["vit_tiny_patch16_224"], {"pos_embed": np.zeros((1, 1 + 24 * 24, 192))}, [(224, 224)])
      (384, 384)
    """
    own = spec.preprocessing.input_size
    positions = tensors.get(KEY)
    if positions is None or positions.ndim != 3:
        return own
    count = positions.shape[1] - spec.positioned_prefix
    for size in (*said, own):
        if size is not None and not any(side % spec.patch for side in size) and count == math.prod(grid_of(spec, size)):
            return size
    side = math.isqrt(max(count, 0))
    return (side * spec.patch, side * spec.patch) if side and side * side == count else own


def resampled(
    spec: VitSpec, tensors: Mapping[str, np.ndarray], old: tuple[int, int], new: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Returns the tensors of a vision transformer with its positions for pictures of another size.

    They are interpolated by cubic polynomials, and antialiased, as timm does it. Class token and registers keep theirs.

    Args:
      spec: the network's shape.
      tensors: by timm's key.
      old: height and width in pixels that they are for.
      new: height and width that are wanted.

    Returns:
      The tensors; as they are where they are not for pictures of the old size.

    Raises:
      ValueError: a side is no multiple of the patch's.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.models.vit_specs import VITS
      >>> spec, positions = VITS["vit_tiny_patch16_224"], np.ones((1, 1 + 14 * 14, 192), np.float32)
      >>> resampled(spec, {"pos_embed": positions}, (224, 224), (32, 48))["pos_embed"].shape
      (1, 7, 192)
    """
    before, after = grid_of(spec, old), grid_of(spec, new)
    positions = tensors.get(KEY)
    if before == after or positions is None or positions.shape[1:2] != (spec.positioned_prefix + math.prod(before),):
        return dict(tensors)
    prefix, patches = np.split(positions, [spec.positioned_prefix], axis=1)
    width = positions.shape[-1]
    grid = jax.image.resize(patches.reshape(1, *before, width), (1, *after, width), "cubic", antialias=True)
    moved = np.asarray(grid).reshape(1, -1, width).astype(positions.dtype)
    return {**tensors, KEY: np.concatenate([prefix, moved], axis=1)}
