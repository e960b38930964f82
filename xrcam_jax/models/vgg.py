"""VGG: 3x3 convolutions in a row, halved in size five times, and a head of three layers.

The numbers that tell the networks apart are in :mod:`xrcam_jax.models.vgg_specs`. Layers and names follow timm, whose
checkpoints they load.

References:
  simonyan2015
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.marks import mark
from xrcam_jax.models.classifier import Classifier
from xrcam_jax.models.layers import Conv, batch_norm, scoped
from xrcam_jax.models.specs import find_spec_of
from xrcam_jax.models.variant import PLAIN, Variant, pool
from xrcam_jax.models.vgg_specs import VggSpec
from xrcam_jax.ops.max_pool import max_pool

#: Places along each side that the first layer of the head sees: those of a picture of 224 pixels.
SEEN = 7
#: The least side of a picture, which is halved five times.
LEAST = 32
#: Marks of all stages but the first.
STAGES = ("layer1", "layer2", "layer3", "layer4")


class Vgg(Classifier):
    """Maps pictures to class logits through five stages of convolutions, which end in a maximum of four places.

    The marked layers are the outputs of the last four stages. The last of them, all that the head sees, is the layer
    that class activation maps of VGG are usually of; what is there before the maximum has a name, like every layer of
    timm's (``"features/29"`` in VGG16). Dropout is where the paper has it, after both hidden layers of the head.
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
        spec = find_spec_of(name, VggSpec)
        options = {"dtype": self.param_dtype, "rngs": rngs}
        self.features, features, ends = nnx.List(), variant.in_channels, []
        for depth, planes in zip(spec.depths, spec.planes, strict=True):
            for _ in range(depth):
                self.features.append(Conv(features, planes, 3, bias=True, **options))
                if spec.normed:
                    self.features.append(batch_norm(planes, **options))
                self.features.append(nnx.relu)
                features = planes
            self.features.append(_halved)
            ends.append(len(self.features) - 1)
        # The first halving has no mark.
        self.marks = tuple(zip(ends[1:], STAGES, strict=True))
        self.pre_logits = nnx.Dict(
            fc1=Conv(features, spec.hidden, SEEN, padding=0, bias=True, **options),
            fc2=Conv(spec.hidden, spec.hidden, 1, bias=True, **options),
        )
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)
        features = spec.hidden * (2 if variant.global_pool == "catavgmax" else 1)
        self.fc = nnx.Linear(features, num_classes, dtype=self.dtype, param_dtype=self.param_dtype, rngs=rngs)

    def logits(self, x: Float[Array, "b h w c"], rngs: nnx.Rngs | None) -> Float[Array, "b n"]:
        """Computes the logits of pictures that are known to be some."""
        if min(x.shape[1:3]) < LEAST:
            raise ValueError(f"{self.name} takes pictures of {LEAST} x {LEAST} pixels or more, got shape {x.shape}")
        y, marks = x, dict(self.marks)
        for i, layer in enumerate(self.features):
            # Norms compute in the dtype of their parameters.
            y = scoped(f"features/{i}", layer, y).astype(x.dtype)
            y = mark(y, marks[i]) if i in marks else y
        y = nnx.relu(scoped("pre_logits/fc1", self.pre_logits.fc1, widened(y)))
        y = nnx.relu(scoped("pre_logits/fc2", self.pre_logits.fc2, self.dropout(y, rngs=rngs)))
        return scoped("fc", self.fc, self.dropout(pool(y, self.variant.global_pool), rngs=rngs))


def _halved(x: Float[Array, "b h w c"]) -> Float[Array, "b p q c"]:
    """Takes the maximum of four places."""
    return max_pool(x, window=2, stride=2, padding=0)


def widened(x: Float[Array, "b h w c"]) -> Float[Array, "b p q c"]:
    """Makes a layer large enough for the head: where a side has less than 7 places, 7 means of neighbours take theirs.

    Args:
      x: the layer.

    Returns:
      The layer, with no side of less than 7 places.

    Example:
      >>> import jax.numpy as jnp
      >>> widened(jnp.array([0.0, 7.0]).reshape(1, 1, 2, 1))[0, 0, :, 0].tolist()
      [0.0, 0.0, 0.0, 3.5, 7.0, 7.0, 7.0]
    """
    height, width = x.shape[1:3]
    if min(height, width) >= SEEN:
        return x
    rows, columns = (jnp.asarray(_means(places), x.dtype) for places in (height, width))
    return jnp.einsum("bhwc,ph,qw->bpqc", x, rows, columns)


def _means(places: int) -> np.ndarray:
    """Returns a matrix that takes so many places to 7, or to as many: PyTorch's adaptive average pooling."""
    wanted = max(SEEN, places)
    first = np.arange(wanted)[:, None] * places // wanted
    last = -(-(np.arange(wanted)[:, None] + 1) * places // wanted)
    inside = (first <= np.arange(places)) & (np.arange(places) < last)
    return inside / inside.sum(1, keepdims=True)
