"""An operation whose backward pass is a rule: the one ``jax.custom_vjp`` behind every rule."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PyTree

from xrcam_jax.lrp.operations import Operation
from xrcam_jax.lrp.protocol import Loss, Rule


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def propagate(operation: Operation, rule: Rule, x: PyTree, constants: PyTree, ledger: Array | None) -> Array:
    """z as the model computes it; its pullback hands relevance to ``x`` by ``rule``.

    Constants take no relevance: their cotangent is a symbolic zero, so what computes them is not walked
    back. The cotangent of ``ledger``, where there is one, is the account of what the rule did.
    """
    return operation.forward(x, constants)


def _forward(operation: Operation, rule: Rule, x: PyTree, constants: PyTree, ledger: Any) -> tuple[Array, Any]:
    return operation.forward(x, constants), (x, constants, ledger)


def _backward(operation: Operation, rule: Rule, residuals: Any, r: Array) -> tuple[PyTree, None, Any]:
    x, constants, ledger = residuals
    found = rule.relevance(operation.bilinear(x, constants), r)
    _check(found, rule, x)
    r_in, loss = found
    return r_in, None, None if ledger is None else _account(r, r_in, loss)


propagate.defvjp(_forward, _backward)


def _check(found: Any, rule: Rule, x: tuple[Array, ...]) -> None:
    """Refuse what is not the relevance of each input, or None for it, and a loss: JAX would take some of it."""
    match found:
        case (tuple() as r_in, Loss()) if len(r_in) == len(x):
            if all(part is None or jnp.shape(part) == value.shape for part, value in zip(r_in, x, strict=True)):
                return
    wanted = tuple(value.shape for value in x)
    shapes = jax.tree.map(lambda leaf: getattr(leaf, "shape", leaf), found)
    raise ValueError(f"the rule {rule} must return relevances of the shapes {wanted} and a Loss, got {shapes}")


def new_ledger() -> Float[Array, "6"]:
    """An empty account. Its cotangent says, as sums over the operation, what relevance arrived at the output,
    was passed on to the inputs, and was left with the bias, the stabiliser and outputs that are zero; last
    the sum of the absolute values that arrived.
    """
    return jnp.zeros(6)


def total(a: Array) -> Array:
    """Sum of all elements, one axis at a time: in float32 that keeps the error of long sums small."""
    while jnp.ndim(a):
        a = jnp.sum(a, axis=-1)
    return a


def _account(r: Array, r_in: PyTree, loss: Loss) -> Float[Array, "6"]:
    passed_on = sum(total(leaf) for leaf in jax.tree.leaves(r_in))
    entries = (total(r), passed_on, *map(total, loss), total(jnp.abs(r)))
    return jnp.stack([jnp.asarray(entry, new_ledger().dtype) for entry in entries])
