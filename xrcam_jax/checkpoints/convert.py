"""Models from named tensors and back, exactly or not at all."""

import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from xrcam_jax.checkpoints import efficientnet_keys, timm_keys
from xrcam_jax.checkpoints.timm_keys import NnxPath
from xrcam_jax.errors import DamagedError
from xrcam_jax.models import Classifier, create_model
from xrcam_jax.models.draws import OnlyShapes
from xrcam_jax.models.mobile_specs import MobileSpec
from xrcam_jax.models.specs import Spec, find_spec
from xrcam_jax.models.variant import PLAIN, Variant

#: Name of a norm's counter of training batches, which timm has and our models do not.
_COUNTER = "num_batches_tracked"
#: Ends of names of tensors that older versions of timm wrote, and that follow from the shape of the network.
_BUFFERS = (".relative_position_index", ".attn_mask")

# Orders of a kernel's axes by rank: OIHW to HWIO, and a dense layer's (out, in) to (in, out).
_TO_NNX = {4: (2, 3, 1, 0), 2: (1, 0)}
_TO_TIMM = {4: (3, 2, 0, 1), 2: (1, 0)}


def flat_state(model: Classifier) -> dict[NnxPath, Any]:
    """Returns a model's parameters and statistics, without the random state of a dropout layer.

    Args:
      model: any network of this package.

    Returns:
      Arrays by path, or their shapes for a model that has only these.

    Example:
      >>> from flax import nnx
      >>> state = flat_state(nnx.eval_shape(lambda: create_model("resnet18", num_classes=2)))
      >>> state["fc", "kernel"].shape
      (512, 2)
    """
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    return {path: variable.get_value() for path, variable in nnx.to_flat_state(state)}


def timm_tensors(name: str, arrays: Mapping[NnxPath, jax.Array | np.ndarray]) -> dict[str, np.ndarray]:
    """Brings a model's arrays under timm's keys and into its layout, bit for bit.

    The counters of batches that timm's strict loading asks for are added as zeros (int64). Our models do not keep
    them, so those of the file that a model came from are forgotten.

    Args:
      name: one of :func:`xrcam_jax.list_models`.
      arrays: parameters and statistics by path.

    Returns:
      Tensors by timm's key.

    Raises:
      ValueError: no network is called so.

    Example:
      >>> import numpy as np
      >>> tensors = timm_tensors("resnet18", {("conv1", "conv", "kernel"): np.zeros((7, 7, 3, 64))})
      >>> {key: tensor.shape for key, tensor in tensors.items()}
      {'conv1.weight': (64, 3, 7, 7)}
    """
    timm_key = _timm_key_of(name)
    tensors = {}
    for path, array in arrays.items():
        key = timm_key(path)
        tensors[key] = np.array(_turned(path, np.asarray(array), _TO_TIMM), order="C")
        if key.endswith("running_var"):
            tensors[key.replace("running_var", _COUNTER)] = np.zeros((), np.int64)
    return tensors


def to_timm(model: Classifier) -> dict[str, np.ndarray]:
    """Returns the whole of a model as tensors that load into timm with ``strict=True``.

    Args:
      model: any network of this package.

    Returns:
      Tensors by timm's key, as :func:`timm_tensors` makes them.

    Example:
      >>> from xrcam_jax.checkpoints.load import load_model
      >>> from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
      >>> to_timm(load_model(MODEL, WEIGHTS))["conv1.weight"].shape
      (16, 3, 7, 7)
    """
    return timm_tensors(model.name, flat_state(model))


def differences(expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Lists the tensors that are missing, left over, misshapen or not of floating point.

    Args:
      expected: the shape of each tensor that a model has.
      tensors: what is there. A counter of batches for each norm may be there too.

    Returns:
      A line for each of them; none if all is well.

    Example:
      >>> import numpy as np
      >>> differences({"fc.bias": (2,), "fc.weight": (2, 4)}, {"fc.bias": np.zeros(3)})
      ['missing: fc.weight (2, 4)', 'wrong shape: fc.bias (3,), expected (2,)']
    """
    counters = {key.replace("running_var", _COUNTER) for key in expected if key.endswith("running_var")}
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


def unusable(tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Lists the tensors that no network computes with: training has diverged, or the file is damaged.

    Args:
      tensors: by timm's key.

    Returns:
      A line for each tensor that is not finite, and for each negative variance.

    Example:
      >>> import numpy as np
      >>> unusable({"fc.bias": np.array([0.0, np.nan]), "bn1.running_var": np.array([-1.0])})
      ['not finite: fc.bias, 1 of 2 values', 'a negative variance: bn1.running_var, 1 of 1 values']
    """
    lines = []
    for key, tensor in tensors.items():
        if number := _count_not_finite(tensor):
            lines.append(f"not finite: {key}, {number} of {tensor.size} values")
        elif key.endswith("running_var") and (number := int(np.sum(tensor < 0))):
            lines.append(f"a negative variance: {key}, {number} of {tensor.size} values")
    return lines


def _count_not_finite(tensor: np.ndarray) -> int:
    with np.errstate(over="ignore", invalid="ignore"):
        # The sum is not finite if a value is not, and is found several times as fast as what the values are.
        total = tensor.sum()
    return 0 if np.isfinite(total) else int(np.sum(~np.isfinite(tensor)))


def from_timm(
    name: str,
    tensors: Mapping[str, np.ndarray],
    *,
    num_classes: int | None = None,
    dropout_rate: float = 0.0,
    variant: Variant = PLAIN,
    dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
) -> Classifier:
    """Makes a model of named tensors: each of them is used once, and each parameter is set once.

    Args:
      name: one of :func:`xrcam_jax.list_models`.
      tensors: tensors under timm's keys and in its layout. Counters of batches may be there and are ignored.
      num_classes: number of logits; by default as many as the tensors are for. If it is another number, their head is
        left out and a fresh one takes its place, with a ``UserWarning``.
      dropout_rate: as for :func:`xrcam_jax.create_model`.
      variant: how the network pools, its activation, stride and channels, which the tensors do not tell.
      dtype: as for :func:`xrcam_jax.create_model`.
      rngs: random streams for a fresh head and for dropout; ``nnx.Rngs(0)`` by default.

    Returns:
      The model, in inference mode.

    Raises:
      ValueError: no network is called so; or tensors are missing, left over, misshapen or not of floating point, all of
        them listed.
      DamagedError: values are not finite, or variances negative; the tensors are listed.

    Example:
      >>> from xrcam_jax.checkpoints.load import read_checkpoint
      >>> from xrcam_jax.checkpoints.packaged import MODEL, WEIGHTS
      >>> from_timm(MODEL, read_checkpoint(WEIGHTS).tensors).num_classes
      2
    """
    timm_key, spec = _timm_key_of(name), find_spec(name)
    tensors = {key: tensor for key, tensor in tensors.items() if not key.endswith(_BUFFERS)}
    found = _class_count(tensors.get(f"{spec.classifier}.weight"))
    wanted = num_classes if num_classes is not None else found or spec.num_classes
    wishes = {**vars(variant), "num_classes": wanted, "dtype": dtype, "rngs": OnlyShapes()}
    model = nnx.eval_shape(lambda: create_model(name, **wishes))
    if dropout_rate:
        model.dropout = nnx.Dropout(dropout_rate, deterministic=True, rngs=rngs or nnx.Rngs(0))
    fresh_head = (found is not None or not spec.num_classes) and found != (wanted or None)
    if fresh_head:
        tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(f"{spec.classifier}.")}
        if isinstance(head := model.fc, nnx.Linear):
            options = {"dtype": head.dtype, "param_dtype": head.param_dtype, "rngs": rngs or nnx.Rngs(0)}
            model.fc = nnx.Linear(head.in_features, wanted, **options)

    unset = {path: leaf for path, leaf in flat_state(model).items() if isinstance(leaf, jax.ShapeDtypeStruct)}
    keys = {path: timm_key(path) for path in unset}
    wrong = differences({keys[path]: _timm_shape(path, leaf.shape) for path, leaf in unset.items()}, tensors)
    if wrong:
        raise ValueError("\n  ".join([f"not the weights of {name}, {len(wrong)} of them differ:", *wrong]))
    if fresh_head:
        warnings.warn(
            f"{name}: weights for {found or 0} classes, {wanted} wanted: the head is fresh and needs training",
            stacklevel=2,
        )
    values = _values(unset, {path: tensors[keys[path]] for path in unset})
    if bad := unusable({keys[path]: value for path, value in values.items()}):
        raise DamagedError("\n  ".join([f"no network computes with {len(bad)} of the tensors:", *bad]))
    nnx.update(model, nnx.from_flat_state(jax.device_put(values)))
    return model


def _values(leaves: Mapping[NnxPath, Any], tensors: Mapping[NnxPath, np.ndarray]) -> dict[NnxPath, np.ndarray]:
    """Brings tensors into the layout and dtype that the model has them in.

    They are copies, since on a CPU JAX shares the memory of what it is given. NumPy makes them, which has nothing to
    compile, and lets threads copy side by side. What is too large for the dtype becomes infinite.
    """

    def value(path: NnxPath) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array(_turned(path, tensors[path], _TO_NNX), leaves[path].dtype, order="C")

    with ThreadPoolExecutor() as threads:
        return dict(zip(leaves, threads.map(value, leaves), strict=True))


def _timm_key_of(name: str) -> Callable[[NnxPath], str]:
    spec = find_spec(name)
    if isinstance(spec, Spec):
        return partial(timm_keys.timm_key, selective=spec.selective_kernel is not None)
    if isinstance(spec, MobileSpec):
        return partial(efficientnet_keys.timm_key, spec=spec)
    return partial(timm_keys.plain_key, classifier=spec.classifier)


def _class_count(head: np.ndarray | None) -> int | None:
    return None if head is None or head.ndim != 2 else head.shape[0]


def _turned(path: NnxPath, tensor: np.ndarray, orders: Mapping[int, tuple[int, ...]]) -> np.ndarray:
    """Returns a tensor in the other layout; only kernels differ."""
    return np.transpose(tensor, orders[tensor.ndim]) if path[-1] == "kernel" else tensor


def _timm_shape(path: NnxPath, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in _TO_TIMM[len(shape)]) if path[-1] == "kernel" else shape
