"""Whether an explanation depends on what the model has learnt: weights are drawn anew and the maps compared.

References:
  adebayo2018, wang2004
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from xrcam_jax.errors import unknown

EXTRA = "pip install 'xrcam-jax[evaluate]'"
SIMILARITIES = ("ssim", "rank", "rank_abs", "hog")


def randomised(
    parameters: PyTree, parts: Collection[str], key: Array, *, draw: Literal["normal", "own"] = "normal"
) -> PyTree:
    """Returns a model's parameters with the kernels of some parts drawn anew (adebayo2018).

    Kernels are those of convolutions and linear layers. Biases, and all of batch norm, stay as they are.

    Args:
      parameters: of a model, nested by name, as :func:`xrcam_jax.explain.functional.as_function` gives them.
      parts: names of modules, such as ``"layer4"`` or ``"fc"``, or paths such as ``"layer4/0/conv1"``.
      key: of the draw. What is drawn for one part does not depend on the others.
      draw: ``"normal"`` for N(0, 1), as in the XRelevance-CAM thesis; ``"own"`` for the normal distribution that the
        layers of a ResNet here start from: its variance is 2 / (k k features out) for a convolution with kernels of
        k x k pixels, and 1 / features in for a linear layer.

    Returns:
      Parameters of the same structure, shapes and dtypes.

    Raises:
      ValueError: a part that the model does not have, or another ``draw``.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.metrics.sanity import randomised
      >>> layer = {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3)}
      >>> drawn = randomised({"fc": layer, "conv1": layer}, ["fc"], jax.random.key(0))
      >>> [bool((drawn[part][name] == 0).all()) for part in ("fc", "conv1") for name in ("kernel", "bias")]
      [False, True, True, True]

    References:
      adebayo2018
    """
    if draw not in ("normal", "own"):
        raise ValueError(f"draw must be normal or own; got {draw!r}")
    leaves, structure = jax.tree_util.tree_flatten_with_path(parameters)
    names = [[_name(entry) for entry in path] for path, _ in leaves]
    for part in parts:
        if not any(_is_within(name, [part]) for name in names):
            raise unknown("part of the model", part, list(dict.fromkeys(name[0] for name in names)))
    drawn = [
        _drawn(value, jax.random.fold_in(key, index), draw) if _is_within(name, parts) and "kernel" in name else value
        for index, (name, (_, value)) in enumerate(zip(names, leaves, strict=True))
    ]
    return jax.tree.unflatten(structure, drawn)


def exchanged(parameters: PyTree, others: PyTree, parts: Collection[str]) -> PyTree:
    """Returns a model's parameters with some parts from others.

    So the weights of a model are drawn once, by :func:`randomised`, for all networks of which parts are drawn anew.

    Args:
      parameters: of a model, nested by name.
      others: of the same structure.
      parts: names of modules or paths, as for :func:`randomised`.

    Example:
      >>> from xrcam_jax.metrics.sanity import exchanged
      >>> own, others = {"conv1": {"kernel": 1}, "fc": {"kernel": 2}}, {"conv1": {"kernel": 3}, "fc": {"kernel": 4}}
      >>> exchanged(own, others, ["fc"])
      {'conv1': {'kernel': 1}, 'fc': {'kernel': 4}}
    """

    def chosen(path: tuple[Any, ...], own: Any, other: Any) -> Any:
        return other if _is_within([_name(entry) for entry in path], parts) else own

    return jax.tree.map_with_path(chosen, parameters, others)


def kernels(parameters: PyTree) -> tuple[str | None, ...]:
    """Returns for each leaf of a model's parameters the path of the layer whose kernel it is; None for other leaves.

    Args:
      parameters: of a model, nested by name.

    Example:
      >>> from xrcam_jax.metrics.sanity import kernels
      >>> kernels({"layer1": [{"kernel": 1, "bias": 2}], "fc": {"kernel": 3}})
      ('fc', None, 'layer1/0')
    """
    names = [[_name(entry) for entry in path] for path, _ in jax.tree_util.tree_flatten_with_path(parameters)[0]]
    return tuple("/".join(name[: name.index("kernel")]) if "kernel" in name else None for name in names)


def _is_within(name: Sequence[str], parts: Collection[str]) -> bool:
    """Tells whether a parameter, by the names on its path, belongs to one of some parts."""
    return any(list(name[: part.count("/") + 1]) == part.split("/") for part in parts)


def _name(entry: Any) -> str:
    return str(getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", entry))))


def _drawn(kernel: Array | np.ndarray, key: Array, draw: str) -> Array:
    values = jax.random.normal(key, kernel.shape, kernel.dtype)
    if draw == "normal":
        return values
    fan = kernel.shape[0] if kernel.ndim == 2 else kernel.size // kernel.shape[-2] / 2
    return values / jnp.sqrt(fan).astype(kernel.dtype)


def similarity(name: str) -> Callable[[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]], float]:
    """Returns the measure of how alike two maps are that has the given name (adebayo2018).

    Args:
      name: ``"ssim"`` for the structural similarity in windows of 7 pixels (wang2004), ``"rank"`` for Spearman's rank
        correlation of the pixels, ``"rank_abs"`` for that of their absolute values, as signed maps need it, and
        ``"hog"`` for the correlation of histograms of oriented gradients in cells of 16 pixels.

    Returns:
      A function of two maps, in [0, 1] for ``"ssim"`` and ``"hog"``. Its values are in [-1, 1], and 1 for equal maps.
      All but ``"ssim"`` are 0 where a map is constant. It raises ImportError where scikit-image or SciPy is missing.

    Raises:
      ValueError: another name.

    Example:
      >>> import numpy as np
      >>> from xrcam_jax.metrics.sanity import similarity
      >>> one, other = np.array([[0.0, 0.1], [0.5, 1.0]]), np.array([[1.0, 0.8], [0.6, 0.0]])
      >>> [round(similarity("rank")(one, each), 3) for each in (one, other)]
      [1.0, -1.0]

    References:
      adebayo2018, wang2004
    """
    functions = {"ssim": _ssim, "rank": _rank, "rank_abs": _rank_abs, "hog": _hog}
    if name not in functions:
        raise unknown("similarity", name, functions)
    return functions[name]


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        raise ImportError(f"SSIM needs scikit-image: {EXTRA}") from None
    return float(structural_similarity(a.astype(np.float64), b.astype(np.float64), data_range=1.0))


def _rank(a: np.ndarray, b: np.ndarray) -> float:
    try:
        from scipy.stats import rankdata
    except ImportError:
        raise ImportError(f"rank correlation needs SciPy: {EXTRA}") from None
    return _correlation(rankdata(a), rankdata(b))


def _rank_abs(a: np.ndarray, b: np.ndarray) -> float:
    return _rank(np.abs(a), np.abs(b))


def _hog(a: np.ndarray, b: np.ndarray) -> float:
    try:
        from skimage.feature import hog
    except ImportError:
        raise ImportError(f"HOG needs scikit-image: {EXTRA}") from None
    cell = min(16, max(1, min(a.shape) // 2))
    settings = {"orientations": 9, "pixels_per_cell": (cell, cell), "cells_per_block": (1, 1)}
    return _correlation(hog(a.astype(np.float64), **settings), hog(b.astype(np.float64), **settings))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (np.ravel(v) - np.mean(v) for v in (a, b))
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / scale) if scale > 0 else 0.0
