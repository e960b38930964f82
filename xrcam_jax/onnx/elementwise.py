"""Arithmetic, comparisons and conversions, element by element.

What does not depend on pictures and parameters is computed by NumPy, since shapes are.
"""

from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.values import Operator, library, pointwise


def _of_library(name: str) -> Operator:
    """Returns the operator that NumPy and JAX both have under a name."""
    return pointwise(lambda node, *values: getattr(library(*values), name)(*values))


def _repeated(name: str) -> Operator:
    """Returns the operator that applies a function of two values to any number of them."""
    return pointwise(lambda node, *values: reduce(getattr(library(*values), name), values))


def _divide(node: Node, x: Any, y: Any) -> Any:
    if not jnp.issubdtype(x.dtype, jnp.integer):
        return x / y
    # Whole numbers are divided towards zero.
    if library(x, y) is jnp:
        return lax.div(*jnp.broadcast_arrays(x, y))
    return (np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))).astype(x.dtype)


def _power(node: Node, x: Any, y: Any) -> Any:
    if library(y) is np and y.size == 1 and library(x) is jnp:
        exponent = float(y.ravel()[0])
        if exponent == 2:
            return jnp.square(x)
        if exponent == 0.5:
            return jnp.sqrt(x)
        if exponent.is_integer():
            return lax.integer_pow(x, int(exponent))
    return library(x, y).power(x, y).astype(x.dtype)


def _modulo(node: Node, x: Any, y: Any) -> Any:
    number = library(x, y)
    return number.fmod(x, y) if node.get("fmod", 0) else number.mod(x, y)


def _cast(node: Node, x: Any, like: Any = None) -> Any:
    dtype = node.get("to") if like is None else like.dtype
    if library(x) is np:
        return x.astype(dtype)
    return x.astype(jax.dtypes.canonicalize_dtype(dtype))


def _mean(node: Node, *values: Any) -> Any:
    return sum(values[1:], start=values[0]) / len(values)


_SAME_NAME = {
    "Abs": "abs", "Neg": "negative", "Sqrt": "sqrt", "Exp": "exp", "Log": "log", "Tanh": "tanh", "Floor": "floor",
    "Ceil": "ceil", "Round": "round", "Sign": "sign", "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "arcsin",
    "Acos": "arccos", "Atan": "arctan", "Sinh": "sinh", "Cosh": "cosh", "Asinh": "arcsinh", "Acosh": "arccosh",
    "Atanh": "arctanh", "Add": "add", "Sub": "subtract", "Mul": "multiply", "Equal": "equal", "Less": "less",
    "Greater": "greater", "LessOrEqual": "less_equal", "GreaterOrEqual": "greater_equal", "Not": "logical_not",
    "And": "logical_and", "Or": "logical_or", "Xor": "logical_xor", "Where": "where", "IsNaN": "isnan",
}  # fmt: skip

OPERATORS: dict[str, Operator] = {
    **{operator: _of_library(name) for operator, name in _SAME_NAME.items()},
    "Div": pointwise(_divide),
    "Pow": pointwise(_power),
    "Mod": pointwise(_modulo),
    "Min": _repeated("minimum"),
    "Max": _repeated("maximum"),
    "Sum": _repeated("add"),
    "Mean": pointwise(_mean),
    "Reciprocal": pointwise(lambda node, x: 1 / x),
    "Erf": pointwise(lambda node, x: lax.erf(x)),
    "Cast": pointwise(_cast),
    "CastLike": pointwise(_cast),
}
