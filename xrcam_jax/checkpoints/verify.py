"""Checks of a conversion: the tensors by a digest, the computation by its logits."""

import hashlib
from collections.abc import Mapping

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float


def digest(tensors: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of the names, sorted, each followed by its tensor's bytes (little-endian, C order).

    Args:
      tensors: by name.

    Returns:
      64 hexadecimal digits.

    Example:
      >>> import numpy as np
      >>> digest({"a": np.zeros(2)}) == digest({"a": np.zeros(2)}) != digest({"b": np.zeros(2)})
      True
    """
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].astype(tensors[name].dtype.newbyteorder("<")).tobytes(order="C"))
    return total.hexdigest()


def logits_error(
    model: nnx.Module,
    images: Float[Array | np.ndarray, "b h w c"],
    expected: Float[Array | np.ndarray, "b n"],
) -> float:
    """Returns the largest difference of a model's logits from the expected ones, relative to the largest of these.

    Args:
      model: from images to logits.
      images: preprocessed pictures.
      expected: the logits that the original computes for them.

    Returns:
      The relative difference, 0 or more.

    Raises:
      ValueError: the model has another number of logits.

    Example:
      A stand-in for a network, whose logits are the mean colours:

      >>> import numpy as np
      >>> from flax import nnx
      >>> class Mean(nnx.Module):
      ...     def __call__(self, x):
      ...         return x.mean((1, 2))
      >>> logits_error(Mean(), np.ones((1, 2, 2, 3), np.float32), np.array([[1.0, 2.0, 1.0]]))
      0.5
    """
    graph, state = nnx.split(model)
    logits = np.asarray(jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, images), np.float64)
    if logits.shape != expected.shape:
        raise ValueError(f"expected logits of shape {expected.shape}, the model's are {logits.shape}")
    return float(np.abs(logits - expected).max() / np.abs(expected).max())
