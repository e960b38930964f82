"""What metrics judge: maps, outlines, and the function that makes the maps."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

#: m saliency maps of each picture.
Maps = Float[Array | np.ndarray, "m b *space"]
#: What a person outlined in each picture.
Masks = Bool[Array | np.ndarray, "b *space"]
#: One figure for each map of each picture.
Figures = Float[Array, "m b"]
#: (images, parameters, targets (b, 1)) -> m maps of each picture; pure, hashable, equal where it does the same.
Explain = Callable[[Float[Array, "b *space c"], PyTree, Int[Array, "b 1"]], Float[Array, "m b *space"]]
