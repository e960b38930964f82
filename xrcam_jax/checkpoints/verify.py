"""Whether a conversion is right: the tensors by a digest, the computation by its logits."""

import hashlib
from collections.abc import Mapping

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from xrcam_jax.models import ResNet


def digest(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over the names, sorted, each followed by its tensor's bytes (little-endian, C order)."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].astype(tensors[name].dtype.newbyteorder("<")).tobytes(order="C"))
    return total.hexdigest()


def logits_error(
    model: ResNet,
    images: Float[Array | np.ndarray, "b h w 3"],
    expected: Float[Array | np.ndarray, "b n"],
) -> float:
    """The largest difference of the model's logits from the expected ones, relative to the largest of these.

    Args:
      model: any of ours.
      images: already preprocessed.
      expected: the logits that the original computes for them.

    Raises:
      ValueError: the model has another number of logits.
    """
    graph, state = nnx.split(model)
    logits = np.asarray(jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, images), np.float64)
    if logits.shape != expected.shape:
        raise ValueError(f"expected logits of shape {expected.shape}, the model's are {logits.shape}")
    return float(np.abs(logits - expected).max() / np.abs(expected).max())
