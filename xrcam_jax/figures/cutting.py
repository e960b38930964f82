"""What a place of a layer sees of a picture, cut out with a little around it, which is darkened."""

import numpy as np
from jaxtyping import UInt8

from xrcam_jax.pictures.preprocessing import Box

#: How bright what lies around is.
AROUND = 0.3


def field_cut(picture: UInt8[np.ndarray, "h w *c"], field: Box, least: int = 0) -> UInt8[np.ndarray, "p q *c"]:
    """Cuts a receptive field out of a picture.

    Args:
      picture: all of it.
      field: what a place sees, within the picture.
      least: sides that the cut has at least, in pixels; what it has beyond the field is darkened, and what lies beyond
        the picture is black.

    Returns:
      The cut, with the field in the middle.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.cutting import field_cut
      >>> from xrcam_jax.pictures.preprocessing import Box
      >>> field_cut(np.full((4, 4), 100, np.uint8), Box(0, 1, 2, 2), least=3).tolist()
      [[30, 100, 30], [30, 100, 30], [30, 30, 30]]
    """
    top, bottom = _around(field.top, field.bottom, least)
    left, right = _around(field.left, field.right, least)
    dark = np.rint(picture * AROUND).astype(np.uint8)
    dark[field.slices] = picture[field.slices]
    return Box(top, left, bottom, right).cut(dark)


def _around(start: int, end: int, least: int) -> tuple[int, int]:
    """Returns a range of some length at least with another one in its middle."""
    more = max(0, least - (end - start))
    return start - more // 2, end + more - more // 2
