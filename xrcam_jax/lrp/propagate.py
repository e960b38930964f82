"""The one ``jax.custom_vjp`` behind every rule: an operation whose backward pass is a rule."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PyTree

from xrcam_jax.lrp.operations import Operation
from xrcam_jax.lrp.protocol import Loss, Rule, no_loss


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def propagate(operation: Operation, rule: Rule, x: PyTree, constants: PyTree, ledger: Array | None) -> Array:
    """Computes an operation as the model does; its pullback hands relevance to the inputs by a rule.

    Constants take no relevance: their cotangent is a symbolic zero, so that what computes them is not walked back. The
    cotangent of the ledger, if there is one, is the account of what the rule did.

    Args:
      operation: what is computed.
      rule: the rule.
      x: the explained inputs, a tuple of arrays.
      constants: all other values that the operation reads.
      ledger: an empty account, or None.

    Returns:
      The output z of the operation.

    Raises:
      ValueError: (in the pullback) the rule returns no relevances of the inputs' shapes, or no loss.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.facts import Fact, infer
      >>> from xrcam_jax.lrp.grouping import Grouper
      >>> from xrcam_jax.lrp.program import flatten, trace
      >>> from xrcam_jax.lrp.propagate import propagate
      >>> from xrcam_jax.lrp.rules import Pass
      >>> program = flatten(trace(jnp.tanh, jnp.ones(2))[0])
      >>> tanh = Grouper(program, infer(program, [Fact(explained=True)], frozenset())).alone(0)
      >>> z, pullback = jax.vjp(lambda x: propagate(tanh, Pass(), (x,), (), None), jnp.zeros(2))
      >>> pullback(jnp.array([3.0, 4.0]))[0].tolist()
      [3.0, 4.0]
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
    """Checks that a rule returned the relevance of each input, or None for it, and a loss.

    JAX would accept some results that are not, such as an array in the place of a tuple of one.
    """
    match found:
        case (tuple() as r_in, Loss()) if len(r_in) == len(x):
            if all(part is None or jnp.shape(part) == value.shape for part, value in zip(r_in, x, strict=True)):
                _check_dtypes(r_in, rule, x)
                return
    wanted = tuple(value.shape for value in x)
    shapes = jax.tree.map(lambda leaf: getattr(leaf, "shape", leaf), found)
    raise ValueError(f"the rule {rule} must return relevances of the shapes {wanted} and a Loss, got {shapes}")


def _check_dtypes(r_in: tuple[Array | None, ...], rule: Rule, x: tuple[Array, ...]) -> None:
    for part, value in zip(r_in, x, strict=True):
        if part is not None and jnp.result_type(part) != value.dtype:
            found = jnp.result_type(part)
            raise ValueError(
                f"the rule {rule} must return relevances of the dtype of its inputs, {value.dtype}, got {found}"
            )


@jax.custom_vjp
def absorb(value: Array, ledger: Array | None) -> Array:
    """Returns a value that is no part of what is explained; its pullback accounts for the relevance that ends there.

    Args:
      value: a constant, to which a loop, a branch or the output gives relevance.
      ledger: an empty account, or None.

    Returns:
      ``value``.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.propagate import absorb, new_ledger
      >>> _, pullback = jax.vjp(lambda ledger: absorb(jnp.ones(2), ledger), new_ledger())
      >>> pullback(jnp.array([3.0, 4.0]))[0].tolist()
      [7.0, 0.0, 7.0, 0.0, 0.0, 7.0]
    """
    return value


def _absorb_backward(ledger: Array | None, r: Array) -> tuple[None, Array | None]:
    return None, None if ledger is None else _account(r, (), no_loss(r)._replace(bias=r))


absorb.defvjp(lambda value, ledger: (value, ledger), _absorb_backward)


def new_ledger() -> Float[Array, "6"]:
    """Returns an empty account.

    Returns:
      Six zeros. Their cotangent says, as sums over the operation, how much relevance arrived at the output, was passed
      on to the inputs, and was left with the bias, the stabiliser, and outputs that are zero. The last entry is the sum
      of the absolute values that arrived.

    Example:
      >>> from xrcam_jax.lrp.propagate import new_ledger
      >>> new_ledger().tolist()
      [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    return jnp.zeros(6)


def total(a: Array) -> Array:
    """Sums all elements, one axis at a time: in float32 that keeps the error of long sums small.

    Args:
      a: an array of any shape.

    Returns:
      The sum, of shape ().

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.propagate import total
      >>> float(total(jnp.ones((2, 3))))
      6.0
    """
    while jnp.ndim(a):
        a = jnp.sum(a, axis=-1)
    return a


def _account(r: Array, r_in: PyTree, loss: Loss) -> Float[Array, "6"]:
    passed_on = sum(total(leaf) for leaf in jax.tree.leaves(r_in))
    entries = (total(r), passed_on, *map(total, loss), total(jnp.abs(r)))
    return jnp.stack([jnp.asarray(entry, new_ledger().dtype) for entry in entries])
