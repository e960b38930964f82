"""Squeeze and excitation: a gate that gives each channel of a picture a factor, by the means of all of its channels.

References:
  hu2018
"""

from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from xrcam_jax.models.layers import Conv, scoped
from xrcam_jax.models.mobile_specs import GateSpec
from xrcam_jax.models.variant import ACTIVATIONS


class SqueezeExcite(nnx.Module):
    """Multiplies each channel by a factor from 0 to 1.

    Args:
      features: number of channels.
      hidden: number of features between their means and their factors.
      spec: the activations.
      act: the activation of the hidden features where ``spec`` has none.
      dtype: dtype of the parameters.
      rngs: random streams for the parameters.
    """

    def __init__(self, features: int, hidden: int, spec: GateSpec, *, act: str, dtype: DTypeLike, rngs: nnx.Rngs):
        self.conv_reduce = Conv(features, hidden, 1, bias=True, dtype=dtype, rngs=rngs)
        self.conv_expand = Conv(hidden, features, 1, bias=True, dtype=dtype, rngs=rngs)
        self.act, self.gate = spec.act or act, spec.gate

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        means = x.mean(axis=(1, 2), keepdims=True)
        hidden = ACTIVATIONS[self.act](scoped("conv_reduce", self.conv_reduce, means))
        return x * ACTIVATIONS[self.gate](scoped("conv_expand", self.conv_expand, hidden))
