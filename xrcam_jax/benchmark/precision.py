"""How far are maps in float32, TF32 and bfloat16 from those in float64?

    xrcam benchmark precision     # a minute on 2 cores

For XRelevance-CAM and Grad-CAM at each layer, the suite measures Spearman's rank correlation of the pixels with the
float64 map (mean and least over the pictures), and the largest difference of a pixel, of maps in [0, 1]. The network
that comes with the package explains drawn frames; others get seeded weights and noise. GPUs multiply float32 in TF32
unless told not to; on other devices, the operands of products are rounded as a GPU rounds them. All explain the class
that float64 predicts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import jax
import numpy as np

import xrcam_jax as xr
from xrcam_jax.arguments.parser import Options
from xrcam_jax.benchmark.runs import Peer, Row
from xrcam_jax.benchmark.tensor_cores import with_rounded_operands
from xrcam_jax.checkpoints.convert import from_timm, to_timm
from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
from xrcam_jax.data.cohort import SMALL, draw_frames
from xrcam_jax.errors import CommandError
from xrcam_jax.metrics.sanity import similarity
from xrcam_jax.models.resnet import STAGES
from xrcam_jax.studies.structures import network_input

METHODS = ("xrelevance_cam", "grad_cam")
ROUNDED = "TF32 (operands rounded)"
#: For each precision, what the network computes in and how float32 matrices are multiplied.
PRECISIONS = {
    "float32": ("float32", "float32"),
    "TF32": ("float32", "tensorfloat32"),
    ROUNDED: ("float32", "tensorfloat32"),
    "bfloat16": ("bfloat16", "default"),
}

Maps = dict[str, dict[str, np.ndarray]]


def measure(options: Options, peers: Mapping[str, Peer]) -> Iterator[Row]:
    """Yields a row for each model, precision, method and layer."""
    try:
        import scipy.stats  # noqa: F401
    except ImportError:
        raise CommandError("rank correlation needs SciPy: pip install 'xrcam-jax[evaluate]'") from None
    elsewhere = ROUNDED if jax.default_backend() == "gpu" else "TF32"
    for name in options.models:
        tensors, images = network(name, options.batch_size, options.size)
        wanted, targets = maps(name, tensors, images, "float64", "float32", None)
        for precision in (name for name in PRECISIONS if name != elsewhere):
            rounded = precision == ROUNDED
            found, _ = maps(name, tensors, images, *PRECISIONS[precision], targets, rounded=rounded)
            for method in METHODS:
                for layer in STAGES:
                    row = {"model": name, "precision": precision, "method": method, "layer": layer}
                    yield {**row, **compared(found[method][layer], wanted[method][layer])}


def network(name: str, count: int, size: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns weights under timm's names, and pictures (n, h, w, 3) as the network wants them."""
    if name != MODEL:
        noise = np.random.default_rng(0).standard_normal((count, size, size, 3))
        return to_timm(xr.create_model(name)), noise.astype(np.float32)
    model = xr.load_model(name, WEIGHTS)
    frames = draw_frames(replace(SMALL, gbm=1, meningioma=1, videos=1, frames=2 * -(-count // 2), seed=1))
    return to_timm(model), network_input(frames, model)[:count]


def maps(
    name: str,
    tensors: dict[str, np.ndarray],
    images: np.ndarray,
    dtype: str,
    products: str,
    targets: np.ndarray | None,
    *,
    rounded: bool = False,
) -> tuple[Maps, np.ndarray]:
    """Computes the maps by method and layer.

    Args:
      name: the model.
      tensors: its weights under timm's names.
      images: as the network wants them.
      dtype: what the network computes in.
      products: how JAX multiplies float32 matrices.
      targets: classes to explain; those that are predicted if None.
      rounded: whether the operands of products are rounded to TF32 first.

    Returns:
      The maps, and the classes that were explained.
    """
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(products):
        explain = xr.Explainer(from_timm(name, tensors, dtype=dtype), METHODS, STAGES)
        images = images.astype("float64" if dtype == "float64" else "float32")
        if rounded:
            e = jax.jit(with_rounded_operands(explain.explain))(explain.parameters, images, targets)
        else:
            e = explain(images, targets)
        found, chosen = jax.device_get((e.maps, e.targets))
    return found, chosen.astype(np.int32)


def compared(found: np.ndarray, wanted: np.ndarray) -> Row:
    """Compares maps (n, h, w) in [0, 1] with others: how alike they are in rank, and how far apart at most."""
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    ranks = [similarity("rank")(a, b) for a, b in zip(found, wanted, strict=True)]
    return {
        "rank_correlation": float(np.mean(ranks)),
        "least_rank_correlation": min(ranks),
        "largest_difference": float(np.abs(found - wanted).max()),
    }
