"""How maps are drawn: their colours, how strong these are, and what is shown of a map."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

from xrcam_jax.errors import unknown
from xrcam_jax.figures.looks import ALPHA, COLORMAP, LOOKS, SIGNED_COLORMAP, Look

#: The colours of how much maps vary; unlike those of the maps, lest one be taken for the other.
VARIATION = "viridis"
#: Of a signed map there is a colour in the middle, for zero, so that their number is odd.
_COLOURS, _SIGNED_COLOURS = 256, 255


@dataclass(frozen=True)
class Style:
    """Says how maps are drawn.

    Attributes:
      colormap: of maps in [0, 1], by its name in matplotlib. Those of equal steps for the eye are viridis, plasma,
        inferno, magma and cividis.
      signed_colormap: of maps in [-1, 1], whose middle is zero.
      alpha: how opaque the colours are where a map is largest, in [0, 1].
      look: "overlay", whose opacity follows the map, so that the picture stays as it is where the map is zero; "heat",
        of the same opacity everywhere; "contour", lines at a quarter, half and three quarters of the largest value; or
        "mask", which leaves the picture where the map is largest.
      share: of "mask", which share of the pixels is left, in (0, 1]; by default those above the mean plus the standard
        deviation of their map (the thesis's eq. 5.1).

    Raises:
      ValueError: naming what is wrong.

    Example:
      >>> from xrcam_jax.figures.style import Style
      >>> Style(colormap="viridis", look="contour").alpha
      0.8
      >>> Style(alpha=2.0)
      Traceback (most recent call last):
      ...
      ValueError: alpha: expected a number in [0, 1], found 2.0
    """

    colormap: str = COLORMAP
    signed_colormap: str = SIGNED_COLORMAP
    alpha: float = ALPHA
    look: Look = "overlay"
    share: float | None = None

    def __post_init__(self) -> None:
        from matplotlib import colormaps

        for name in (self.colormap, self.signed_colormap):
            if name not in colormaps:
                known = [each for each in colormaps if not each.endswith("_r")]
                raise ValueError(f"colormap: {unknown('name', name, known, shown=12)}")
        if self.look not in LOOKS:
            raise ValueError(f"look: {unknown('name', self.look, LOOKS)}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha: expected a number in [0, 1], found {self.alpha}")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"share: expected a number in (0, 1], found {self.share}")

    def colours(self, values: Float[np.ndarray, "*shape"], *, signed: bool = False) -> UInt8[np.ndarray, "*shape 3"]:
        """Returns the colour of each value of a map, which is in [0, 1], or in [-1, 1] if ``signed``.

        Values outside are shown as the nearest inside.
        """
        if signed:
            middle = _SIGNED_COLOURS // 2
            return table(self.signed_colormap, _SIGNED_COLOURS)[_levels(values, -1, middle) + middle]
        return table(self.colormap, _COLOURS)[_levels(values, 0, _COLOURS - 1)]


def _levels(values: np.ndarray, lowest: int, steps: int) -> np.ndarray:
    return np.rint(np.clip(values, lowest, 1) * steps).astype(np.int16)


@lru_cache(maxsize=32)
def table(colormap: str, count: int = _COLOURS) -> UInt8[np.ndarray, "count 3"]:
    """Returns the colours of a colour map of matplotlib, from its lowest to its highest.

    Args:
      colormap: its name.
      count: how many.

    Example:
      >>> from xrcam_jax.figures.style import table
      >>> table("gray", 3).tolist()
      [[0, 0, 0], [128, 128, 128], [255, 255, 255]]
    """
    from matplotlib import colormaps

    return colormaps[colormap](np.linspace(0, 1, count), bytes=True)[:, :3]
