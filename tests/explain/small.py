"""A small convolutional network behind global pooling, cheap to compile, for all methods."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

import xrcam_jax as xr

LAYERS = ("first", "last")
#: Options that keep the methods which sample cheap.
FEW = {
    "smooth_grad_cam_pp": {"samples": 2},
    "smoothed_score_cam": {"samples": 2},
    "integrated_grad_cam": {"steps": 2},
    "smooth_grad": {"samples": 2},
    "integrated_gradients": {"steps": 4},
    "occlusion": {"window": 8, "stride": 8},
    "rise": {"samples": 10, "grid": 3},
    "expected_gradients": {"samples": 4},
    "blur_integrated_gradients": {"max_sigma": 4.0, "steps": 4},
    "xrai": {"steps": 2},
    "lime": {"samples": 20},
    "kernel_shap": {"samples": 20},
    "prediction_difference": {"window": 8, "border": 1, "stride": 8, "samples": 2},
}


def weights(classes=3, seed=0, dtype=np.float32):
    """Kernels of two convolutions and a head, without biases."""
    rng = np.random.default_rng(seed)
    shapes = ((3, 3, 3, 4), (3, 3, 4, 6), (6, classes))
    return [jnp.asarray(rng.standard_normal(shape) / np.prod(shape[:-1]) ** 0.5, dtype) for shape in shapes]


class Network(nnx.Module):
    """conv, relu, max pool, conv, relu, mean, dense; marked ``"first"`` and ``"last"``."""

    def __init__(self, kernels):
        self.kernels = nnx.List([nnx.Param(kernel) for kernel in kernels])

    def __call__(self, x):
        one, two, head = (kernel[...] for kernel in self.kernels)
        x = xr.mark(jax.nn.relu(_conv(x, one)), "first")
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
        x = xr.mark(jax.nn.relu(_conv(x, two)), "last")
        return x.mean((1, 2)) @ head


def _conv(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def images(batch=2, height=16, width=16, seed=1, dtype=np.float32):
    """Random pictures."""
    return np.random.default_rng(seed).standard_normal((batch, height, width, 3)).astype(dtype)
