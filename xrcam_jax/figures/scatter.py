"""Points in the plane, coloured by cluster, beside the eigenvalues that say how many clusters there are."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from xrcam_jax.figures.grid import DPI
from xrcam_jax.figures.texts import FONT, known

_SMALL = 8
#: One for each cluster in turn: more colours than can be told apart are told apart by their shape.
_MARKERS = "os^vDPX*"
_COLOURS = 10


def clustered(
    points: Float[np.ndarray, "n 2"],
    labels: Int[np.ndarray, " n"],
    names: Sequence[str],
    eigenvalues: Float[np.ndarray, " m"],
) -> Figure:
    """Draws the points of all clusters, and the eigenvalues with the gap behind which the clusters were cut off.

    Args:
      points: in the plane, whose axes mean nothing.
      labels: the cluster of each, from 0.
      names: of the clusters.
      eigenvalues: of the graph's Laplacian, ascending.

    Returns:
      The figure.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.figures.scatter import clustered
      >>> figure = clustered(np.eye(2), np.array([0, 1]), ["cluster 1", "cluster 2"], np.array([0.0, 0.1, 0.9]))
      >>> [axes.get_title() for axes in figure.axes]
      ['Each point is a map', 'Eigenvalues of the graph']
    """
    figure = Figure(figsize=(10, 4.5), dpi=DPI, facecolor="white", layout="constrained")
    plane, steps = figure.subplots(1, 2, width_ratios=[3, 2])
    for cluster, name in enumerate(names):
        x, y = points[labels == cluster].T
        marker = _MARKERS[cluster // _COLOURS % len(_MARKERS)]
        plane.scatter(x, y, s=18, marker=marker, color=f"C{cluster % _COLOURS}", label=known(name), linewidths=0)
    plane.set(xticks=[], yticks=[])
    plane.set_title("Each point is a map", parse_math=False, family=FONT)
    texts = plane.legend(fontsize=_SMALL, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False).get_texts()
    for text in texts:
        text.set_parse_math(False)
    steps.plot(range(1, len(eigenvalues) + 1), eigenvalues, marker="o", markersize=4, linewidth=1, color="black")
    steps.axvline(len(names) + 0.5, color="grey", linestyle=":")
    steps.set_xticks(range(1, len(eigenvalues) + 1))
    steps.set_title("Eigenvalues of the graph", parse_math=False, family=FONT)
    steps.grid(alpha=0.3)
    return figure
