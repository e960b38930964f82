"""Products of matrices."""

from typing import Any

import jax.numpy as jnp
from jax import lax

from xrcam_jax.onnx.graph import Node
from xrcam_jax.onnx.values import Operator, in_graphs_order, library


def _gemm(node: Node, a: Any, b: Any, c: Any = None) -> Any:
    """alpha A B + beta C, each of A and B transposed if the node says so."""
    summed = ((0 if node.get("transA", 0) else 1,), (1 if node.get("transB", 0) else 0,))
    z = lax.dot_general(jnp.asarray(a), jnp.asarray(b), (summed, ((), ())))
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    z = z if alpha == 1 else alpha * z
    if c is None or beta == 0:
        return z
    return z + (c if beta == 1 else beta * c)


def _einsum(node: Node, *values: Any) -> Any:
    return jnp.einsum(node.get("equation").replace(" ", ""), *values)


OPERATORS: dict[str, Operator] = {
    "Gemm": in_graphs_order(_gemm),
    "MatMul": in_graphs_order(lambda node, a, b: library(a, b).matmul(a, b)),
    "Einsum": in_graphs_order(_einsum),
}
