"""Activations: functions of each element, and softmax.

Those of several steps are calls, so that rules see one activation and not, say, the 3 in relu6(x + 3) / 6 as a bias.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.values import Operator, Value, checked_axis, library, pointwise


@partial(jax.jit, static_argnames=("alpha",))
def _leaky(x: Array, alpha: float) -> Array:
    return jnp.where(x >= 0, x, alpha * x)


@partial(jax.jit, static_argnames=("alpha", "beta"))
def _hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    return jnp.clip(alpha * x + beta, 0, 1)


@partial(jax.jit, static_argnames=("alpha",))
def _elu(x: Array, alpha: float) -> Array:
    return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0, x)))


@partial(jax.jit, static_argnames=("alpha", "gamma"))
def _selu(x: Array, alpha: float, gamma: float) -> Array:
    return gamma * jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0, x)))


@partial(jax.jit, static_argnames=("alpha",))
def _celu(x: Array, alpha: float) -> Array:
    return jnp.maximum(x, 0) + jnp.minimum(0, alpha * jnp.expm1(x / alpha))


@partial(jax.jit, static_argnames=("alpha",))
def _above(x: Array, alpha: float) -> Array:
    return jnp.where(x > alpha, x, 0)


def _prelu(node: Node, x: Array, slope: Array) -> Array:
    return jnp.where(x >= 0, x, slope * x)


def _clip(node: Node, x: Any, least: Any = None, most: Any = None) -> Any:
    least, most = (node.get(name) if node.opset < 11 else given for name, given in (("min", least), ("max", most)))
    number = library(x)
    bounds = [bound if bound is None else number.asarray(bound, x.dtype).reshape(()) for bound in (least, most)]
    x = x if bounds[0] is None else number.maximum(x, bounds[0])
    return x if bounds[1] is None else number.minimum(x, bounds[1])


def _softmax(node: Node, x: Value) -> Value:
    axes = _normalised(node, x)
    return Value(jax.nn.softmax(jnp.asarray(x.array), axes), x.order)


def _log_softmax(node: Node, x: Value) -> Value:
    axes = _normalised(node, x)
    return Value(jax.nn.log_softmax(jnp.asarray(x.array), axes), x.order)


def _normalised(node: Node, x: Value) -> Any:
    """Returns the axes as they are stored that a softmax goes over."""
    if node.opset >= 13:
        return x.at(node.get("axis", -1))
    # All axes from one on were taken for a single one.
    axis = node.get("axis", 1)
    first = axis if axis == x.ndim else checked_axis(axis, x.ndim)
    axes = tuple(x.at(axis) for axis in range(first, x.ndim))
    return axes[0] if len(axes) == 1 else axes


OPERATORS: dict[str, Operator] = {
    "Relu": pointwise(lambda node, x: jax.nn.relu(x)),
    "LeakyRelu": pointwise(lambda node, x: _leaky(x, alpha=node.get("alpha", 0.01))),
    "PRelu": pointwise(_prelu),
    "ThresholdedRelu": pointwise(lambda node, x: _above(x, alpha=node.get("alpha", 1.0))),
    "Clip": pointwise(_clip),
    "Sigmoid": pointwise(lambda node, x: jax.nn.sigmoid(x)),
    "HardSigmoid": pointwise(
        lambda node, x: _hard_sigmoid(x, alpha=node.get("alpha", 0.2), beta=node.get("beta", 0.5))
    ),
    "HardSwish": pointwise(lambda node, x: jax.nn.hard_swish(x)),
    "Mish": pointwise(lambda node, x: jax.nn.mish(x)),
    "Elu": pointwise(lambda node, x: _elu(x, alpha=node.get("alpha", 1.0))),
    "Selu": pointwise(lambda node, x: _selu(x, alpha=node.get("alpha", 1.6732632), gamma=node.get("gamma", 1.0507010))),
    "Celu": pointwise(lambda node, x: _celu(x, alpha=node.get("alpha", 1.0))),
    "Gelu": pointwise(lambda node, x: jax.nn.gelu(x, approximate=node.get("approximate", "none") == "tanh")),
    "Softplus": pointwise(lambda node, x: jax.nn.softplus(x)),
    "Softsign": pointwise(lambda node, x: jax.nn.soft_sign(x)),
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
}
