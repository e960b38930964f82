"""Writes how sure maps are, where pictures are explained several times.

Beside the mean of the passes there is the variation, their standard deviation over that mean. Its colours go from 0 to
1, where the passes differ as much as what they show, in every picture alike. It says something where the mean does:
that region is outlined, and ``summary.csv`` has the mean variation inside of it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from xrcam_jax.figures.comparison import comparison
from xrcam_jax.figures.grid import Scale, scales
from xrcam_jax.figures.overlay import outlined, reduced
from xrcam_jax.figures.overlay import overlay as lay
from xrcam_jax.figures.style import VARIATION, Style, table
from xrcam_jax.metrics.overlap import salient
from xrcam_jax.pictures.pages import RGB
from xrcam_jax.pictures.preprocessing import Box
from xrcam_jax.pictures.write import save_picture
from xrcam_jax.titles import method_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    import xrcam_jax as xr
    from xrcam_jax.explain.spread import Spread

FOLDER = "risk"
# Sheets and overlays are to be looked at. Larger ones would take minutes and gigabytes, as a small file may unfold to a
# huge picture.
LARGEST_SIDE = 4096
_CELL = 224
_VARIATION = Style(colormap=VARIATION)

Maps = dict[str, dict[str, Float[np.ndarray, "h w"]]]


class Risk(NamedTuple):
    """Holds how sure the maps of one picture are, on the host.

    Attributes:
      passes: how many there were.
      variation: by method and layer or aggregate, the deviation of the passes over their mean, from 0.
      low: likewise, what each pass shows at least, in [0, 1].
      high: what one of them shows at most, in [0, 1].
      probability: of each class, the mean over the passes.
      deviation: its standard deviation.
    """

    passes: int
    variation: Maps
    low: Maps
    high: Maps
    probability: Float[np.ndarray, " classes"]
    deviation: Float[np.ndarray, " classes"]

    def describe(self, target: int) -> str:
        """Says how likely the explained class is over the passes, and whether another one is likelier."""
        line = f"over {self.passes} passes {self.probability[target]:.3f} ± {self.deviation[target]:.3f}"
        likeliest = int(self.probability.argmax())
        return line if likeliest == target else f"{line}, class {likeliest} being likelier"

    def cells(self, target: int, means: Maps) -> list[str]:
        """Returns what the summary has in the columns of :func:`columns`."""
        inside = [_inside(maps, self.variation[method]) for method, maps in means.items()]
        figures = [float(self.probability[target]), float(self.deviation[target]), *inside]
        return [str(self.passes), *(f"{figure:.6f}" for figure in figures)]

    def arrays(self) -> dict[str, Any]:
        """Returns what ``maps/NAME.npz`` has beside the means, by key."""
        parts = {"variation": self.variation, "low": self.low, "high": self.high}
        found = {
            f"{method}/{layer}/{part}": values
            for part, maps in parts.items()
            for method, by_layer in maps.items()
            for layer, values in by_layer.items()
        }
        return {"passes": self.passes, "probability": self.probability, "deviation": self.deviation, **found}


def columns(methods: Sequence[str]) -> list[str]:
    """Returns the columns that the summary has more if there were passes."""
    return ["passes", "probability", "deviation", *(f"variation {method}" for method in methods)]


def _inside(means: dict[str, np.ndarray], variations: dict[str, np.ndarray]) -> float:
    """Returns the mean variation where the last of the maps, the aggregate if there is one, stands out."""
    layer = list(means)[-1]
    region = np.asarray(salient(means[layer]))
    return float(variations[layer][region].mean()) if region.any() else 0.0


def overlay(picture: RGB, mean: np.ndarray, variation: np.ndarray, box: Box) -> RGB:
    """Returns the variation on its picture, and the outline of where the mean stands out.

    Args:
      picture: that is explained.
      mean: of the passes.
      variation: of the passes; 1 and more have the last colour.
      box: the part of the picture that the maps are of.
    """
    laid = lay(picture, np.clip(variation, 0, 1), _VARIATION, box=box)
    size = (box.right - box.left, box.bottom - box.top)
    region = cv2.resize(np.asarray(salient(jnp.asarray(mean))).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    height, width = picture.shape[:2]
    whole = Box(-box.top, -box.left, height - box.top, width - box.left)
    return outlined(laid, whole.cut(region).astype(bool))


def write_risk(folder: Path, name: str, picture: RGB, box: Box, means: Maps, risk: Risk) -> None:
    """Writes the overlay of each variation, see :mod:`xrcam_jax.commands.results`.

    Raises:
      OSError: a file cannot be written.
    """
    shown, placed = reduced(picture, box, LARGEST_SIDE)
    for method, maps in means.items():
        for layer, mean in maps.items():
            laid = overlay(shown, mean, risk.variation[method][layer], placed)
            save_picture(folder / method / layer / f"{name}.png", laid)


def sheet(picture: RGB, box: Box, means: Maps, risk: Risk, title: str, style: Style) -> "Figure":
    """Returns a row per method: the picture, and mean, variation, low and high of the last of its maps."""
    # Small, so that the outline is still to be seen.
    shown, placed = reduced(picture, box, _CELL)

    def row(method: str, first: bool) -> list[RGB | None]:
        layer = list(means[method])[-1]
        mean, low, high = (lay(shown, each[method][layer], style, box=placed) for each in (means, risk.low, risk.high))
        variation = overlay(shown, means[method][layer], risk.variation[method][layer], placed)
        return [shown if first else None, mean, variation, low, high]

    return comparison(
        [row(method, number == 0) for number, method in enumerate(means)],
        columns=["picture", "mean", "variation", "all passes show", "some pass shows"],
        row_labels=list(map(method_title, means)),
        title=f"{title}; outlined: where the mean stands out",
        scales=[*scales(style), Scale("variation 0", table(_VARIATION.colormap), "1 and more")],
    )


def parts(e: "xr.RepeatedExplanation", spreads: dict[str, dict[str, "Spread"]]) -> tuple[dict, tuple]:
    """Returns the means of a batch, and what :func:`of_one` wants: arrays that may still be computed."""

    def of(part: str) -> dict[str, dict[str, Any]]:
        return {method: {x: getattr(spread, part) for x, spread in by.items()} for method, by in spreads.items()}

    assert e.probabilities is not None
    known = {"probability": e.probabilities.mean, "deviation": e.probabilities.deviation}
    return of("mean"), (e.passes, {**known, **{part: of(part) for part in ("variation", "low", "high")}})


def of_one(spread: tuple[int, dict[str, Any]], index: int) -> Risk:
    """Returns what there is of one picture of a batch."""
    passes, arrays = spread
    return Risk(int(passes), **jax.tree.map(lambda a: a[index], arrays))
