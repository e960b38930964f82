"""DenseNet: each layer sees the outputs of all layers before it in its block, side by side.

The numbers that tell the networks apart are in :mod:`xrcam_jax.models.densenet_specs`. Layers and names follow timm,
whose checkpoints they load.

References:
  huang2017
"""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.marks import mark
from xrcam_jax.models.classifier import Classifier
from xrcam_jax.models.densenet_specs import DenseSpec
from xrcam_jax.models.layers import BatchNorm, Conv, batch_norm, scoped
from xrcam_jax.models.specs import find_spec_of
from xrcam_jax.models.variant import ACTIVATIONS, PLAIN, Variant, pool
from xrcam_jax.ops.max_pool import max_pool

#: Channels inside of a layer, for each channel that it adds.
INNER = 4


class DenseLayer(nnx.Module):
    """Computes a few more channels: norm, activation and a 1x1 convolution, and the same with a 3x3 convolution.

    Args:
      features_in: input channels.
      growth: output channels.
      act: the activation, a key of :data:`xrcam_jax.models.variant.ACTIVATIONS`.
      dtype: dtype of parameters and statistics.
      rngs: random streams for the parameters.
    """

    def __init__(self, features_in: int, growth: int, *, act: str, dtype: DTypeLike, rngs: nnx.Rngs):
        self.norm1 = batch_norm(features_in, dtype=dtype, rngs=rngs)
        self.conv1 = Conv(features_in, INNER * growth, 1, dtype=dtype, rngs=rngs)
        self.norm2 = batch_norm(INNER * growth, dtype=dtype, rngs=rngs)
        self.conv2 = Conv(INNER * growth, growth, 3, dtype=dtype, rngs=rngs)
        self.act = act

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        y = scoped("conv1", self.conv1, _activated(self.norm1, self.act, x))
        return scoped("conv2", self.conv2, _activated(self.norm2, self.act, y))


class DenseBlock(nnx.Module):
    """Lays the channels of its layers beside those of its input, each layer's before the next one computes.

    Args:
      features_in: input channels.
      layers: number of layers.
      growth: channels that each layer adds.
      act: as for :class:`DenseLayer`.
      dtype: dtype of parameters and statistics.
      rngs: random streams for the parameters.
    """

    def __init__(self, features_in: int, layers: int, growth: int, *, act: str, dtype: DTypeLike, rngs: nnx.Rngs):
        self.names = tuple(f"denselayer{i + 1}" for i in range(layers))
        for i, name in enumerate(self.names):
            setattr(self, name, DenseLayer(features_in + i * growth, growth, act=act, dtype=dtype, rngs=rngs))

    def __call__(self, x: Float[Array, "b h w i"], dropout: Callable[[Array], Array]) -> Float[Array, "b h w o"]:
        for name in self.names:
            x = jnp.concatenate([x, dropout(scoped(name, getattr(self, name), x))], axis=-1)
        return x


class Transition(nnx.Module):
    """Halves the number of channels, and then the size by means of four places.

    Args:
      features_in: input channels.
      act: as for :class:`DenseLayer`.
      dtype: dtype of parameters and statistics.
      rngs: random streams for the parameters.
    """

    def __init__(self, features_in: int, *, act: str, dtype: DTypeLike, rngs: nnx.Rngs):
        self.norm = batch_norm(features_in, dtype=dtype, rngs=rngs)
        self.conv = Conv(features_in, features_in // 2, 1, dtype=dtype, rngs=rngs)
        self.act = act

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        y = scoped("conv", self.conv, _activated(self.norm, self.act, x))
        return _halved(y)


def _activated(norm: BatchNorm, act: str, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Normalises in the dtype of the norm, and applies the activation."""
    return ACTIVATIONS[act](norm(x).astype(x.dtype))


def _halved(x: Float[Array, "b h w c"]) -> Float[Array, "b p q c"]:
    """Takes the mean of four places; a last row or column without another one is left out."""
    height, width = (size // 2 for size in x.shape[1:3])
    pairs = x[:, : 2 * height, : 2 * width].reshape(len(x), height, 2, width, 2, x.shape[3])
    return pairs.mean(axis=(2, 4))


class DenseNet(Classifier):
    """Maps pictures to class logits through four blocks, each of layers that add channels.

    The marked layers are the outputs of the first three blocks, which have either sign, and those of the last after
    norm and activation, which are what the mean before the linear layer sees.
    """

    def __init__(
        self,
        name: str,
        *,
        num_classes: int,
        dropout_rate: float,
        variant: Variant = PLAIN,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        super().__init__(name, num_classes=num_classes, variant=variant, dtype=dtype)
        spec = find_spec_of(name, DenseSpec)
        self.act = variant.act_layer or "relu"
        options = {"dtype": self.param_dtype, "rngs": rngs}
        features = 2 * spec.growth
        self.features = nnx.Dict(
            conv0=Conv(variant.in_channels, features, 7, stride=2, **options),
            norm0=batch_norm(features, **options),
        )
        for i, layers in enumerate(spec.layers, 1):
            if i > 1:
                self.features[f"transition{i - 1}"] = Transition(features, act=self.act, **options)
                features //= 2
            self.features[f"denseblock{i}"] = DenseBlock(features, layers, spec.growth, act=self.act, **options)
            features += layers * spec.growth
        self.features["norm5"] = batch_norm(features, **options)
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)
        features *= 2 if variant.global_pool == "catavgmax" else 1
        self.fc = nnx.Linear(features, num_classes, dtype=self.dtype, param_dtype=self.param_dtype, rngs=rngs)

    def logits(self, x: Float[Array, "b h w c"], rngs: nnx.Rngs | None) -> Float[Array, "b n"]:
        """Computes the logits of pictures that are known to be some."""
        layers, dropout = self.features, partial(self.dropout, rngs=rngs)
        y = _activated(layers.norm0, self.act, scoped("features/conv0", layers.conv0, x))
        y = max_pool(y, window=3, stride=2, padding=1)
        for i in range(1, 5):
            if i > 1:
                y = scoped(f"features/transition{i - 1}", layers[f"transition{i - 1}"], y)
            y = scoped(f"features/denseblock{i}", partial(layers[f"denseblock{i}"], dropout=dropout), y)
            y = mark(y, f"layer{i}") if i < 4 else y
        y = mark(_activated(layers.norm5, self.act, y), "layer4")
        return scoped("fc", self.fc, pool(y, self.variant.global_pool))
