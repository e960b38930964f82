"""Checks of a conversion: the tensors by a digest, the computation by its logits."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from xrcam_jax.errors import DamagedError


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
        tensor = tensors[name].astype(tensors[name].dtype.newbyteorder("<"), order="C", copy=False)
        total.update(tensor.reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def seal(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Adds the digests by which :func:`check_seal` notices that a file was changed since it was written.

    Args:
      config: a description, as JSON can hold it.
      tensors: what it is of, by timm's key.

    Returns:
      The description with a field ``digest``: of the tensors, as :func:`digest` says, and of the description.

    Example:
      >>> import numpy as np
      >>> sorted(seal({"architecture": "resnet18"}, {"fc.bias": np.zeros(2)})["digest"])
      ['config', 'tensors']
    """
    return {**config, "digest": {"tensors": digest(tensors), "config": _config_digest(config)}}


def check_seal(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Compares tensors and description with the digests that :func:`seal` added; without these, there is nothing to do.

    Args:
      config: a description.
      tensors: what it is of.

    Raises:
      DamagedError: they differ.

    Example:
      >>> import numpy as np
      >>> check_seal(seal({}, {"a": np.zeros(2)}), {"a": np.ones(2)})
      Traceback (most recent call last):
      xrcam_jax.errors.DamagedError: damaged, or changed since it was written: the digest of its tensors is another
    """
    sealed = config.get("digest")
    if sealed is None:
        return
    found = {"tensors": digest(tensors), "config": _config_digest(config)}
    if not isinstance(sealed, Mapping) or sealed.keys() != found.keys():
        raise DamagedError("the field digest of its description is not as it is written")
    for what, value in found.items():
        if sealed[what] != value:
            raise DamagedError(f"damaged, or changed since it was written: the digest of its {what} is another")


def content_digest(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of what a checkpoint is: the same in a safetensors file and in an Orbax directory.

    Args:
      config: a description.
      tensors: what it is of.

    Returns:
      64 hexadecimal digits.

    Example:
      >>> import numpy as np
      >>> content_digest({}, {"a": np.zeros(2)}) == content_digest({"state": {}}, {"a": np.zeros(2)})
      True
    """
    # Where the arrays of an Orbax directory lie, and its digests, are not part of what it is.
    described = {key: value for key, value in config.items() if key not in ("digest", "state")}
    return hashlib.sha256(f"{digest(tensors)} {json.dumps(described, sort_keys=True)}".encode()).hexdigest()


def _config_digest(config: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in config.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


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
