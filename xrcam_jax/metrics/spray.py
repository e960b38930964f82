"""Clusters of the maps of many pictures: spectral relevance analysis, SpRAy, and a picture of where each map lies.

Maps are made small, and become the nodes of a graph in which each is joined to those most like it. The lowest
eigenvalues of the graph's Laplacian say into how many groups it falls, and the eigenvectors into which. A network that
judges some pictures for another reason than the others shows as a cluster of its own.

References:
  lapuschkin2019, ng2001, luxburg2007
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

EXTRA = "pip install 'xrcam-jax[evaluate]'"
#: Of the graph's eigenvalues, what is zero but for rounding.
ZERO = 1e-9
#: All pairs are compared, and all eigenvalues are of one dense matrix: of this many, one of 800 MB.
MOST_MAPS, FEWEST_MAPS = 10_000, 4
#: Largest number of clusters that is looked for.
MOST = 10

Features = Float[np.ndarray, "n d"]
Graph = Float[np.ndarray, "n n"]


@dataclass(frozen=True, eq=False)
class Clusters:
    """Holds the clusters of some maps.

    Attributes:
      labels: the cluster of each map, from 0, the largest first.
      eigenvalues: the lowest of the graph's Laplacian, ascending.
      neighbours: to how many others each map was joined.
    """

    labels: Int[np.ndarray, " n"]
    eigenvalues: Float[np.ndarray, " m"]
    neighbours: int

    @property
    def count(self) -> int:
        """How many clusters there are."""
        return int(self.labels.max()) + 1


@partial(jax.jit, static_argnames="side")
def downsized(maps: Float[Array | np.ndarray, "b h w"], side: int = 20) -> Float[Array, "b p q"]:
    """Returns maps made small and of unit length, so that they differ by where the relevance lies, not by how much.

    Args:
      maps: of any range.
      side: of the small maps, in pixels; no side gets larger than it is. The paper has 20.

    Returns:
      The small maps, each divided by the root of its sum of squares; zeros where a map has nothing but zeros.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.spray import downsized
      >>> downsized(jnp.array([[[0.0, 5.0]], [[0.0, 0.0]]])).tolist()
      [[[0.0, 1.0]], [[0.0, 0.0]]]

    References:
      lapuschkin2019
    """
    count, height, width = maps.shape
    small = jax.image.resize(jnp.asarray(maps), (count, min(side, height), min(side, width)), "linear")
    largest = jnp.abs(small).max((1, 2), keepdims=True)
    scaled = small / jnp.where(largest > 0, largest, 1)
    return scaled / jnp.sqrt(jnp.maximum((scaled**2).sum((1, 2), keepdims=True), 1))


def affinity(features: Features, neighbours: int) -> Graph:
    """Returns which maps are joined: w_ij = 1 where i is among the k nearest of j, or j among those of i, else 0.

    Args:
      features: a row for each map.
      neighbours: k, less than the number of maps.

    Returns:
      W, symmetric, with zeros on the diagonal.

    Raises:
      ValueError: k does not fit the number of maps.
      ImportError: scikit-learn is not installed.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.spray import affinity
      >>> affinity(np.array([[0.0], [1.0], [5.0]]), 1).astype(int).tolist()
      [[0, 1, 0], [1, 0, 1], [0, 1, 0]]

    References:
      lapuschkin2019
    """
    try:
        from sklearn.neighbors import kneighbors_graph
    except ImportError:
        raise ImportError(f"spectral clusters need scikit-learn: {EXTRA}") from None
    if not 1 <= neighbours < len(features):
        raise ValueError(f"neighbours: expected 1 to {len(features) - 1}, of {len(features)} maps; got {neighbours}")
    near = kneighbors_graph(features.astype(np.float64), neighbours, include_self=False).toarray()
    return np.maximum(near, near.T)


def spectrum(graph: Graph, count: int) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "n m"]]:
    """Returns the lowest eigenvalues and the eigenvectors of the normalised Laplacian L = 1 - D^-1/2 W D^-1/2.

    As many eigenvalues are zero as there are pieces into which the graph falls; others that are small tell of pieces
    that hardly hang together.

    Args:
      graph: W, symmetric, with some neighbour for each node; D has the sums of its rows.
      count: of the eigenvalues; no more than there are nodes.

    Returns:
      Eigenvalues from 0 to 2, ascending, and their eigenvectors as columns.

    Raises:
      ImportError: SciPy is not installed.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.spray import spectrum
      >>> two_pairs = np.kron(np.eye(2), np.array([[0.0, 1.0], [1.0, 0.0]]))
      >>> np.abs(spectrum(two_pairs, 3)[0]).round(6).tolist()
      [0.0, 0.0, 2.0]

    References:
      luxburg2007
    """
    try:
        from scipy.linalg import eigh
        from scipy.sparse.csgraph import laplacian
    except ImportError:
        raise ImportError(f"spectral clusters need SciPy: {EXTRA}") from None
    last = min(count, len(graph)) - 1
    return eigh(laplacian(graph, normed=True), subset_by_index=(0, last))


def number_of_clusters(eigenvalues: Float[np.ndarray, " m"], fewest: int = 2) -> int:
    """Returns the number of clusters after which the largest gap between two eigenvalues is: argmax_q λ_q+1 - λ_q.

    Args:
      eigenvalues: the lowest of a Laplacian, ascending, more of them than ``fewest``.
      fewest: clusters that are looked for. The gap behind the first eigenvalue only says that the graph is one.

    Returns:
      The number, from ``fewest`` to one less than there are eigenvalues.

    Raises:
      ValueError: there are too few eigenvalues.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.spray import number_of_clusters
      >>> number_of_clusters(np.array([0.0, 0.01, 0.03, 0.6, 0.7]))
      3

    References:
      luxburg2007
    """
    if not 1 <= fewest < len(eigenvalues):
        raise ValueError(f"eigenvalues: expected more than {fewest}; got {len(eigenvalues)}")
    return fewest + int(np.diff(eigenvalues)[fewest - 1 :].argmax())


def embedding(vectors: Float[np.ndarray, "n m"], count: int) -> Float[np.ndarray, "n {count}"]:
    """Returns the first eigenvectors' entries of each map as a point on the sphere (ng2001).

    Args:
      vectors: of a normalised Laplacian, as columns, those of the lowest eigenvalues first.
      count: how many are taken: as many as there are clusters.

    Returns:
      Rows of unit length; zeros where a row has nothing but zeros.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.spray import embedding
      >>> embedding(np.array([[3.0, 4.0, 9.0], [0.0, 2.0, 9.0]]), 2).tolist()
      [[0.6, 0.8], [0.0, 1.0]]

    References:
      ng2001
    """
    some = vectors[:, :count]
    length = np.linalg.norm(some, axis=1, keepdims=True)
    return some / np.where(length > 0, length, 1)


def partition(points: Float[np.ndarray, "n d"], count: int, *, seed: int = 0) -> Int[np.ndarray, " n"]:
    """Returns the clusters of points, by k-means: the best of ten starts.

    Args:
      points: a row for each map.
      count: of the clusters.
      seed: of the starts.

    Returns:
      The cluster of each map, from 0; the largest first, and of equal ones that with the first map.

    Raises:
      ImportError: scikit-learn is not installed.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.spray import partition
      >>> partition(np.array([[9.0], [0.0], [0.1], [0.2]]), 2).tolist()
      [1, 0, 0, 0]
    """
    try:
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise ImportError(f"spectral clusters need scikit-learn: {EXTRA}") from None
    # Points that coincide are one point, of which there is no more than one cluster; k-means warns of more.
    count = min(count, len(np.unique(points.round(9), axis=0)))
    with threadpool_limits(1):
        found = KMeans(count, n_init=10, random_state=seed).fit_predict(points)
    _, firsts, inverse, sizes = np.unique(found, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((firsts, -sizes))
    return np.argsort(order)[inverse]


def clusters(
    features: Features, count: int | None = None, *, neighbours: int | None = None, most: int = MOST, seed: int = 0
) -> Clusters:
    """Returns the spectral clusters of maps.

    Args:
      features: a row for each map, such as :func:`downsized` gives them.
      count: of the clusters; by default that of the largest gap, see :func:`number_of_clusters`.
      neighbours: to how many others each map is joined; by default ln n as in the paper, and twice that and so on
        while the graph falls into more pieces than are looked for, as it does where frames of recordings follow.
      most: clusters that are looked for where ``count`` is not given.
      seed: of k-means.

    Returns:
      The clusters.

    Raises:
      ValueError: there are too few maps or too many, or an argument does not fit their number.
      ImportError: scikit-learn or SciPy is not installed.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.spray import clusters
      >>> features = np.random.default_rng(0).standard_normal((12, 3)) + 9 * (np.arange(12) > 7)[:, None]
      >>> clusters(features, 2).labels.tolist()
      [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]

    References:
      lapuschkin2019, luxburg2007
    """
    maps = len(features)
    if not FEWEST_MAPS <= maps <= MOST_MAPS:
        raise ValueError(f"features: expected {FEWEST_MAPS} to {MOST_MAPS} maps; got {maps}")
    if not np.isfinite(features).all():
        raise ValueError("features: expected finite numbers; some are not")
    if count is not None and not 1 <= count < maps:
        raise ValueError(f"count: expected 1 to {maps - 1} clusters of {maps} maps; got {count}")
    if most < 2:
        raise ValueError(f"most: expected 2 or more; got {most}")
    limit = min(most, maps - 2) if count is None else count
    near = neighbours if neighbours is not None else math.ceil(math.log(maps))
    values, vectors = spectrum(affinity(features, near), limit + 1)
    while neighbours is None and values[limit] < ZERO and near < maps - 1:
        near = min(2 * near, maps - 1)
        values, vectors = spectrum(affinity(features, near), limit + 1)
    wanted = number_of_clusters(values) if count is None else count
    return Clusters(partition(embedding(vectors, wanted), wanted, seed=seed), values, near)


def placed(features: Features, *, seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """Returns a point in the plane for each map, near to those of maps like it: t-SNE of the maps themselves.

    The clusters have no part in it, so that colours that lie together in the plane are no echo of the clustering.

    Args:
      features: a row for each map, in 2 columns or more.
      seed: of what is random.

    Returns:
      The points. Only what is near means something: neither the axes nor large distances do.

    Raises:
      ImportError: scikit-learn is not installed.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.spray import placed
      >>> placed(np.random.default_rng(0).standard_normal((8, 3))).shape
      (8, 2)

    References:
      maaten2008
    """
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise ImportError(f"a picture of all maps needs scikit-learn: {EXTRA}") from None
    perplexity = min(30.0, (len(features) - 1) / 3)
    # The start is that of the principal components, of equal length whatever the maps are; with none, they coincide.
    if not np.ptp(features, axis=0).any():
        return np.zeros((len(features), 2))
    reduce = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    # Its many small steps are quick; threads that wait for each other at every one of them are not.
    with threadpool_limits(1):
        return reduce.fit_transform(features.astype(np.float64)).astype(np.float64)
