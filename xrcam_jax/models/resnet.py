"""ResNet, ResNeXt and their Selective Kernel versions.

There is one class for all of them; the numbers that tell them apart are in :mod:`xrcam_jax.models.specs`. Layers, names
and initialisation follow timm, whose checkpoints they load.

References:
  he2016, with the stride on the 3x3 convolution
  xie2017
  li2019
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Real

from xrcam_jax.marks import mark
from xrcam_jax.models.layers import ConvNorm, scoped
from xrcam_jax.models.selective_kernel import SelectiveKernel
from xrcam_jax.models.specs import Spec, find_spec
from xrcam_jax.ops.materialised import materialised
from xrcam_jax.ops.max_pool import max_pool

STAGES = ("layer1", "layer2", "layer3", "layer4")


class Block(nnx.Module):
    """Applies convolutions in a row, adds the input and ends in a ReLU: a residual block.

    Args:
      features_in: input channels.
      planes: 64, 128, 256, 512 by stage, unless the network is a narrow one.
      spec: the network's shape.
      stride: step of the 3x3 convolution and of the shortcut.
      dtype: dtype of the parameters.
      rngs: random streams for the parameters.
    """

    def __init__(
        self,
        features_in: int,
        planes: int,
        spec: Spec,
        *,
        stride: int,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        conv = partial(ConvNorm, dtype=dtype, rngs=rngs)
        if spec.selective_kernel is None:
            spatial = partial(conv, size=3)
        else:
            spatial = partial(SelectiveKernel, spec=spec.selective_kernel, dtype=dtype, rngs=rngs)

        features_out = spec.expansion * planes
        if spec.bottleneck:
            width = planes * spec.base_width // 64 * spec.groups
            self.conv1 = conv(features_in, width, 1)
            self.conv2 = spatial(width, width, stride=stride, groups=spec.groups)
            self.conv3 = conv(width, features_out, 1, relu=False)
        else:
            self.conv1 = spatial(features_in, planes, stride=stride)
            self.conv2 = conv(planes, features_out, 3, relu=False)
        self.names = ("conv1", "conv2", "conv3")[: 3 if spec.bottleneck else 2]

        reshapes = stride != 1 or features_in != features_out
        self.downsample = conv(features_in, features_out, 1, stride=stride, relu=False) if reshapes else None

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b p q o"]:
        y = x
        for name in self.names:
            y = scoped(name, getattr(self, name), y)
        shortcut = x if self.downsample is None else scoped("downsample", self.downsample, x)
        return materialised(nnx.relu(y + shortcut))


class ResNet(nnx.Module):
    """Maps pictures to class logits; :func:`create_model` builds it.

    The output of each stage is marked ``"layer1"`` to ``"layer4"`` (see :func:`xrcam_jax.mark`). That is what the next
    stage sees, after the dropout of the last block. For stochastic passes without training,
    ``model.set_attributes(deterministic=False)`` switches on dropout and leaves the norms alone.

    Attributes:
      name: timm's name of the network.
      num_classes: number of logits.
      preprocessing: how pictures have to be prepared for it.
      dtype: what it computes in.
    """

    def __init__(
        self,
        name: str,
        *,
        num_classes: int,
        dropout_rate: float,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        spec = find_spec(name)
        if num_classes < 1:
            raise ValueError(f"num_classes has to be at least 1, got {num_classes}")
        self.name = name
        self.num_classes = num_classes
        self.preprocessing = spec.preprocessing
        self.dtype = jnp.dtype(dtype)
        param_dtype = _parameter_dtype(self.dtype)

        self.conv1 = ConvNorm(3, spec.planes, 7, stride=2, dtype=param_dtype, rngs=rngs)
        features = spec.planes
        for i, (stage, depth) in enumerate(zip(STAGES, spec.depths, strict=True)):
            planes, blocks = spec.planes * 2**i, nnx.List()
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(Block(features, planes, spec, stride=stride, dtype=param_dtype, rngs=rngs))
                features = spec.expansion * planes
            setattr(self, stage, blocks)
        # One module serves all blocks, since its stream of keys moves on with each use.
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)
        self.fc = nnx.Linear(features, num_classes, dtype=self.dtype, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, x: Real[Array | np.ndarray, "b h w 3"], *, rngs: nnx.Rngs | None = None) -> Float[Array, "b n"]:
        """Computes the logits of a batch of preprocessed pictures.

        Args:
          x: pictures of any size (32 pixels or more are sensible), cast to the model's dtype.
          rngs: where active dropout takes its noise from; by default from a stream that the model carries and that each
            pass moves on. In a pure function: ``rngs=nnx.Rngs(dropout=key)``.

        Returns:
          The logits, in the model's dtype.

        Raises:
          ValueError: ``x`` is not a batch of pictures with three channels, channels last.
        """
        if jnp.ndim(x) != 4 or jnp.shape(x)[-1] != 3:
            raise ValueError(
                f"{self.name} takes a batch of pictures, shape (batch, height, width, 3), got {jnp.shape(x)}"
            )
        y = scoped("conv1", self.conv1, jnp.asarray(x, self.dtype))
        y = max_pool(y, window=3, stride=2, padding=1)
        for stage in STAGES:
            for i, block in enumerate(getattr(self, stage)):
                y = self.dropout(scoped(f"{stage}/{i}", block, y), rngs=rngs)
            y = mark(y, stage)
        return scoped("fc", self.fc, y.mean(axis=(1, 2)))


def create_model(
    name: str,
    *,
    num_classes: int = 1000,
    dropout_rate: float = 0.0,
    dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
) -> ResNet:
    """Creates a freshly initialised network in inference mode; training code calls ``.train()`` on it.

    Args:
      name: one of :func:`xrcam_jax.list_models`.
      num_classes: number of logits.
      dropout_rate: share of the activations that dropout sets to zero after each block, in training mode; in [0, 1).
      dtype: what the network computes in. Parameters and statistics are kept in float32, or in float64 for
        a float64 network (which needs ``jax_enable_x64``), since bfloat16 would not hold a checkpoint exactly.
      rngs: random streams for parameters and dropout; ``nnx.Rngs(0)`` by default.

    Returns:
      The network: a callable from ``(b, h, w, 3)`` pictures to ``(b, num_classes)`` logits.

    Raises:
      ValueError: no network is called so (the message offers the nearest name), ``num_classes`` is less than
        one, or ``dtype`` is not of floating point.

    Example:
      Only the shapes, since drawing the values takes a while:

      >>> from flax import nnx
      >>> model = nnx.eval_shape(lambda: create_model("resnet18", num_classes=2))
      >>> model.num_classes, model.fc.kernel.get_value().shape
      (2, (512, 2))
    """
    model = ResNet(
        name,
        num_classes=num_classes,
        dropout_rate=dropout_rate,
        dtype=dtype,
        rngs=nnx.Rngs(0) if rngs is None else rngs,
    )
    model.eval()
    return model


def _parameter_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """Returns what parameters are kept in for computations in ``dtype``: float32, or float64 for float64.

    Raises:
      ValueError: ``dtype`` is not a floating-point type, or JAX is not set to compute in it.
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype has to be a floating-point type, got {dtype}")
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError("dtype float64 needs jax.config.update('jax_enable_x64', True)")
    return jnp.dtype(jnp.float64 if dtype == jnp.float64 else jnp.float32)
