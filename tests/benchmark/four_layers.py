"""A network with the layers of a residual one that compiles in no time."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

import xrcam_jax as xr
from xrcam_jax.models.resnet import STAGES

#: The network of ``tests/tiny_networks.py``, and the smallest pictures.
TINY = ("--models", "tiny", "--size", "32")


class FourLayers(nnx.Module):
    """Has four convolutions that compile in no time, marked as the layers of a residual network are."""

    preprocessing = xr.Preprocessing(input_size=(32, 32))

    def __init__(self, dtype="float32"):
        self.dtype = dtype
        keys = jax.random.split(jax.random.key(0), 5)
        kernels = [
            jax.random.normal(key, (3, 3, 3 if i == 0 else 4, 4), "float32") / 6 for i, key in enumerate(keys[:4])
        ]
        self.kernels = nnx.List([nnx.Param(kernel.astype(dtype)) for kernel in kernels])
        self.head = nnx.Param(jax.random.normal(keys[4], (4, 2), "float32").astype(dtype))

    def __call__(self, x, rngs=None):
        x = jnp.asarray(x, self.dtype)
        for layer, kernel in zip(STAGES, self.kernels, strict=True):
            x = lax.conv_general_dilated(x, kernel[...], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = xr.mark(jax.nn.relu(x), layer)
        return x.mean((1, 2)) @ self.head[...]
