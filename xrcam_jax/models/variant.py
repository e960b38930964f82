"""What may differ between networks of one name: pooling, activation, stride, channels, and the size of pictures.

These are timm's arguments of the same meaning. Checkpoints keep them, and two networks that differ in one of them
compute different logits from the same tensors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrcam_jax.errors import unknown
from xrcam_jax.models.differences import POOLINGS

#: timm's names of activations that JAX computes alike. The others have parameters or no equal here.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "celu": jax.nn.celu,
    "selu": jax.nn.selu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "mish": jax.nn.mish,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish": jax.nn.hard_swish,
}
OUTPUT_STRIDES = (32, 16, 8)
CHANNELS = (3, 1)


@dataclass(frozen=True)
class Variant:
    """Says in what a network differs from others of its name; by default in nothing.

    Attributes:
      global_pool: what becomes of the last layer before the classifier: its mean over all places (``"avg"``), its
        maximum (``"max"``), the mean of both (``"avgmax"``), both side by side (``"catavgmax"``), or its class token
        (``"token"``); None for what the network has by its name.
      act_layer: the activation, a key of :data:`ACTIVATIONS`; None for the one that the network has by its name.
      output_stride: how many pixels apart the places of the last layer lie: 32, 16 or 8. Below 32, later stages keep
        their size and their kernels are dilated instead.
      in_channels: channels of a picture: 3, or 1 for grey ones.
      img_size: height and width of the pictures that positions are known for, of a network that knows them by heart;
        None for the size that it has by its name.

    Raises:
      ValueError: naming the attribute that is none of these.

    Example:
      >>> Variant(global_pool="max").output_stride
      32
    """

    global_pool: str | None = None
    act_layer: str | None = None
    output_stride: int = 32
    in_channels: int = 3
    img_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.global_pool is not None:
            _check("global_pool", self.global_pool, (*POOLINGS, "token"))
        _check("output_stride", self.output_stride, OUTPUT_STRIDES)
        _check("in_channels", self.in_channels, CHANNELS)
        if self.act_layer is not None and str(self.act_layer) not in ACTIVATIONS:
            raise unknown("act_layer", str(self.act_layer), ACTIVATIONS)
        if self.img_size is not None and not _is_size(self.img_size):
            raise ValueError(f"img_size: expected a height and a width in pixels, found {self.img_size!r}")


def _is_size(size: Any) -> bool:
    return isinstance(size, tuple) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)


def _check(name: str, value: Any, known: tuple[Any, ...]) -> None:
    if type(value) is not type(known[0]) or value not in known:
        raise ValueError(f"{name}: {value!r} is none of {', '.join(map(str, known))}")


#: The network as its name has it.
PLAIN = Variant()


def pool(x: Float[Array, "b h w c"], kind: str | None) -> Float[Array, "b d"]:
    """Reduces each channel of a layer to one value, or to two.

    Args:
      x: the last layer.
      kind: one of :data:`POOLINGS`; None is the mean.

    Returns:
      The pooled values; of ``"catavgmax"`` all means come first, and then all maxima.

    Example:
      >>> x = jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1)
      >>> [pool(x, kind).tolist() for kind in POOLINGS]
      [[[2.0]], [[4.0]], [[3.0]], [[2.0, 4.0]]]
    """
    if kind in (None, "avg"):
        return x.mean(axis=(1, 2))
    if kind == "max":
        return x.max(axis=(1, 2))
    mean, most = x.mean(axis=(1, 2)), x.max(axis=(1, 2))
    return 0.5 * mean + 0.5 * most if kind == "avgmax" else jnp.concatenate([mean, most], axis=-1)


def stage_strides(strides: tuple[int, ...], start: int, output_stride: int) -> list[tuple[int, int, int]]:
    """Turns strides into dilations where the whole would exceed ``output_stride``, as timm does.

    Args:
      strides: of the first block of each stage.
      start: pixels between neighbouring places before the first stage.
      output_stride: the most pixels that there may be at the end.

    Returns:
      For each stage its stride, the dilation of its first block and that of the others.

    Example:
      >>> stage_strides((1, 2, 2, 2), 4, 16)
      [(1, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 2)]
    """
    found, reached, dilation = [], start, 1
    for stride in strides:
        first = dilation
        if reached * stride > output_stride:
            dilation, stride = dilation * stride, 1
        reached *= stride
        found.append((stride, first, dilation))
    return found
