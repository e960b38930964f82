"""A network whose weights are set by hand, so that it is known which pixels it reads.

Of a patch x of 2 x 2 pixels in [0, 1] and a motif t of zeros and ones, the first convolution gives

    sum_i (2 t_i - 1) x_i + 1 - sum_i t_i  =  1 - sum_i |x_i - t_i|

so behind its ReLU a channel is 0 wherever the patch is at a distance of 1 or more from the channel's motif. Every patch
whose pixels lie in [1/4, 3/4] is, whatever it shows; and so is every other motif, since any two differ in two pixels.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from xrcam_jax.marks import mark

#: Side of a patch, in pixels.
PATCH = 2
#: What each channel looks for; the last two look for the same.
MOTIFS = np.array(
    [
        [[1, 0], [1, 0]],  # structure of class 0
        [[1, 1], [0, 0]],  # structure of class 1
        [[1, 0], [0, 1]],  # logo of class 0
        [[0, 1], [1, 0]],  # logo of class 1
        [[1, 1], [1, 1]],  # highlight
        [[1, 1], [1, 1]],  # highlight once more
    ],
    np.float32,
)
STRUCTURE, LOGO, HIGHLIGHT = (0, 1), (2, 3), (4, 5)
#: What is subtracted in front of the other ReLUs. A single patch that fits makes its places larger than that.
THRESHOLD = 1 / 64
#: What a channel of the last layer is cut off at, if the classifier is saturated. A single patch makes it larger.
CAP = 1 / 64
#: With it, a logit is about the share of the picture that the motif covers, in per cent.
GAIN = 100.0

#: The layers, and how many pixels a place of each has on a side.
LAYERS = {"layer1": 2, "layer2": 4, "layer3": 8}

Reads = Literal["structure", "logo"]


class Detector(nnx.Module):
    """Tells two classes apart by the motif of each.

    Each of the layers ``layer1``, ``layer2`` and ``layer3`` is a convolution of 2 x 2 with stride 2 and a ReLU, so they
    have a half, a quarter and an eighth of the picture's size. The first compares with motifs, the others average each
    channel. The last has each channel twice, z and max(0, z - CAP). Global pooling and a linear classifier follow.

    Args:
      reads: which motifs the logits depend on; the classifier's weights of all others are 0.
      cancelled: whether highlights are read as well, twice and with opposite weights, so that they have no effect.
      saturated: whether the classifier takes the difference of the twins, min(z, CAP). As z is more than CAP wherever
        a motif is, the logits are then the same for small changes of any pixel.
    """

    def __init__(self, reads: Reads = "structure", *, cancelled: bool = False, saturated: bool = False):
        channels, rngs = len(MOTIFS), nnx.Rngs(0)
        same = {"kernel_size": (PATCH, PATCH), "strides": PATCH, "padding": "VALID", "rngs": rngs}
        self.conv1 = nnx.Conv(3, channels, **same)
        # Grey pictures come as three equal colours.
        kernel = np.repeat((2 * MOTIFS - 1)[..., None] / 3, 3, axis=-1)
        self.conv1.kernel[...] = jnp.asarray(kernel.transpose(1, 2, 3, 0))
        self.conv1.bias[...] = jnp.asarray(1 - MOTIFS.sum((1, 2)))
        self.conv2, self.conv3 = nnx.Conv(channels, channels, **same), nnx.Conv(channels, 2 * channels, **same)
        for conv, twins in ((self.conv2, 1), (self.conv3, 2)):
            conv.kernel[...] = jnp.broadcast_to(jnp.tile(jnp.eye(channels) / PATCH**2, twins), conv.kernel.shape)
        self.conv2.bias[...] = jnp.full(channels, -THRESHOLD)
        self.conv3.bias[...] = -THRESHOLD - CAP * jnp.repeat(jnp.arange(2.0), channels)
        weights = np.zeros((channels, 2), np.float32)
        weights[list(STRUCTURE if reads == "structure" else LOGO)] = GAIN * np.eye(2)
        if cancelled:
            weights[list(HIGHLIGHT)] = GAIN * np.array([[1, -1], [-1, 1]])
        both = [weights / (4 * CAP), -weights / (4 * CAP)] if saturated else [weights, 0 * weights]
        self.fc = nnx.Linear(2 * channels, 2, use_bias=False, rngs=rngs)
        self.fc.kernel[...] = jnp.asarray(np.concatenate(both))

    def __call__(self, x: Float[Array | np.ndarray, "b h w 3"]) -> Float[Array, "b 2"]:
        """Returns the logits of pictures in [0, 1], whose sides are multiples of 8."""
        x = mark(nnx.relu(self.conv1(x)), "layer1")
        x = mark(nnx.relu(self.conv2(x)), "layer2")
        x = mark(nnx.relu(self.conv3(x)), "layer3")
        return self.fc(x.mean((1, 2)))
