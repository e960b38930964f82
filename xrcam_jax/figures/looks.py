"""What can be chosen of how maps are drawn, and what holds by default: read by the command line, without NumPy."""

from typing import Literal, get_args

#: What is drawn: colours whose opacity follows the map; colours of one opacity everywhere; lines of equal value; or the
#: picture where the map is largest, and a faint one elsewhere.
Look = Literal["overlay", "heat", "contour", "mask"]
LOOKS: tuple[Look, ...] = get_args(Look)
#: The colours of maps in [0, 1], and of maps in [-1, 1].
COLORMAP, SIGNED_COLORMAP = "plasma", "RdBu_r"
#: How opaque they are where a map is largest.
ALPHA = 0.8
