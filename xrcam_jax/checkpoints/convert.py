"""Named tensors to a model and back, exactly or not at all."""

import warnings
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from xrcam_jax.checkpoints.timm_keys import Path, timm_key
from xrcam_jax.models import ResNet, create_model
from xrcam_jax.models.specs import find_spec

#: timm counts training batches for each norm; we do not.
COUNTER = "num_batches_tracked"

# By rank: OIHW to HWIO, and a dense layer's (out, in) to (in, out).
_TO_NNX = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
_TO_TIMM = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}


def flat_state(model: ResNet) -> dict[Path, jax.Array]:
    """Parameters and statistics of ``model`` by their place; not the random state of a dropout layer."""
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    return {path: variable.get_value() for path, variable in nnx.to_flat_state(state)}


def timm_tensors(name: str, arrays: Mapping[Path, jax.Array | np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of the model ``name`` under timm's keys and in its layout, bit for bit.

    The counters of batches that timm's strict loading asks for are there too, as zeros (int64): a model
    here does not keep them, so those of the file that it came from are forgotten.
    """
    selective = _is_selective(name)
    tensors = {}
    for path, array in arrays.items():
        key = timm_key(path, selective=selective)
        tensors[key] = np.ascontiguousarray(np.transpose(np.asarray(array), _TO_TIMM[array.ndim]))
        if key.endswith("running_var"):
            tensors[key.replace("running_var", COUNTER)] = np.zeros((), np.int64)
    return tensors


def to_timm(model: ResNet) -> dict[str, np.ndarray]:
    """The whole of ``model`` as :func:`timm_tensors`; loads into timm with ``strict=True``."""
    return timm_tensors(model.name, flat_state(model))


def differences(expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, np.ndarray]) -> list[str]:
    """One line for each tensor that is missing, left over, misshapen or not of floating point.

    Args:
      expected: the shape of each tensor that a model has.
      tensors: what is there instead. A counter of batches for each norm may be there too.
    """
    counters = {key.replace("running_var", COUNTER) for key in expected if key.endswith("running_var")}
    lines = [f"missing: {key} {shape}" for key, shape in expected.items() if key not in tensors]
    for key, tensor in tensors.items():
        if key in counters:
            continue
        if key not in expected:
            lines.append(f"left over: {key} {tensor.shape}")
        elif tensor.shape != expected[key]:
            lines.append(f"wrong shape: {key} {tensor.shape}, expected {expected[key]}")
        elif not jnp.issubdtype(tensor.dtype, jnp.floating):
            lines.append(f"not of floating point: {key} {tensor.dtype}")
    return lines


def from_timm(
    name: str,
    tensors: Mapping[str, np.ndarray],
    *,
    num_classes: int | None = None,
    dropout_rate: float = 0.0,
    dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
) -> ResNet:
    """The model ``name`` with the given tensors: each of them used once, and each parameter set once.

    Args:
      name: one of :func:`xrcam_jax.list_models`.
      tensors: under timm's keys and in its layout. Counters of batches may be there and are ignored.
      num_classes: as many as the tensors are for, by default. If that is another number, their head is left
        out and a fresh one takes its place, with a `UserWarning`.
      dropout_rate: as for :func:`xrcam_jax.create_model`.
      dtype: as for :func:`xrcam_jax.create_model`.
      rngs: for a fresh head and for dropout; ``nnx.Rngs(0)`` by default.

    Returns:
      The model, in inference mode.

    Raises:
      ValueError: unknown ``name``; or tensors are missing, left over, misshapen or not of floating point,
        all of them listed.
    """
    rngs = nnx.Rngs(0) if rngs is None else rngs
    found = _class_count(tensors)
    wanted = num_classes if num_classes is not None else found or 1000
    # Shapes without values: initialising costs more than loading.
    model = nnx.eval_shape(lambda: create_model(name, num_classes=wanted, dtype=dtype, rngs=_OneKey()))
    if dropout_rate:
        model.dropout = nnx.Dropout(dropout_rate, deterministic=True, rngs=rngs)
    fresh_head = found not in (None, wanted)
    if fresh_head:
        tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith("fc.")}
        head = model.fc
        model.fc = nnx.Linear(head.in_features, wanted, dtype=head.dtype, param_dtype=head.param_dtype, rngs=rngs)

    unset = {path: leaf for path, leaf in flat_state(model).items() if isinstance(leaf, jax.ShapeDtypeStruct)}
    keys = {path: timm_key(path, selective=_is_selective(name)) for path in unset}
    wrong = differences({keys[path]: _timm_shape(leaf.shape) for path, leaf in unset.items()}, tensors)
    if wrong:
        raise ValueError("\n  ".join([f"not the weights of {name}, {len(wrong)} of them differ:", *wrong]))
    if fresh_head:
        warnings.warn(
            f"{name}: weights for {found} classes, {wanted} wanted: the head is fresh and needs training",
            stacklevel=2,
        )
    # Copies: on a CPU, JAX shares the memory of what it is given. NumPy makes them, which has nothing to compile.
    values = {
        path: np.array(np.transpose(tensors[keys[path]], _TO_NNX[leaf.ndim]), leaf.dtype, order="C")
        for path, leaf in unset.items()
    }
    nnx.update(model, nnx.from_flat_state(jax.device_put(values)))
    return model


class _OneKey(nnx.Rngs):
    """The same key for every parameter, where only shapes count: counting keys takes seconds under a trace."""

    def __init__(self) -> None:
        self.key = jax.random.key(0)

    def params(self) -> jax.Array:
        return self.key


def _is_selective(name: str) -> bool:
    return find_spec(name).selective_kernel is not None


def _class_count(tensors: Mapping[str, np.ndarray]) -> int | None:
    head = tensors.get("fc.weight")
    return None if head is None or head.ndim != 2 else head.shape[0]


def _timm_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in _TO_TIMM[len(shape)])
