"""Relevance is a transformation of functions: ``lrp``, and ``taps`` for what is inside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import ClosedJaxpr
from jaxtyping import PyTree

from xrcam_jax.lrp.composites import Composite
from xrcam_jax.lrp.plan import make_plan
from xrcam_jax.lrp.planned import planned, program_for
from xrcam_jax.lrp.program import Probes, marks_of, trace
from xrcam_jax.lrp.protocol import Rule
from xrcam_jax.runtime.brief import Brief

#: The relevance of the output: a tree of arrays, or a function of the output that returns one.
Seed = Any


def lrp(f: Callable, composite: Composite) -> Callable:
    """Turns a function into one whose pullback propagates relevance.

    The function is traced, and every operation that depends on ``x`` gets a ``jax.custom_vjp`` whose backward pass is
    the rule that the composite names for it. The result composes with jit, vmap, grad, shard_map and remat. Relevance
    can be differentiated in turn, with respect to ``x`` and ``args``. The pullback itself gives zeros to ``args``.

    Args:
      f: a function of (x, *args), pytrees of arrays: a model, or anything else in JAX.
      composite: which operation gets which rule.

    Returns:
      A function of the same arguments with the same value. When it is called, it raises NotImplementedError for a
      primitive that depends on ``x`` and has no rule, and ValueError for a rule that does not fit.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> def model(x, w):
      ...     return jax.nn.relu(x @ w)
      >>> x, w = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[2.0], [-1.0], [1.0]])
      >>> explained = xr.lrp(model, xr.composites.relevance_cam())
      >>> out, pullback = jax.vjp(lambda x: explained(x, w), x)
      >>> out.tolist()
      [[3.0]]
      >>> pullback(jnp.array([[10.0]]))[0].tolist()
      [[4.0, 0.0, 6.0]]

    References:
      bach2015, montavon2019
    """

    def explained(x: PyTree, *args: PyTree) -> PyTree:
        check_floating(x)
        closed, structure = trace(f, x, *args)
        plan, _ = make_plan(program_for(closed, composite), composite, explained_leaves(x, args), None)
        outputs, _ = plan.run(jax.tree.leaves((x, *args)), Probes())
        return jax.tree.unflatten(structure, outputs)

    return explained


@dataclass(frozen=True, repr=False)
class Taps(Brief):
    """Holds what :func:`taps` finds.

    Attributes:
      output: what the function returns.
      activations: the activation at each mark.
      relevances: the relevance at each mark, of its activation's shape.
    """

    output: PyTree
    activations: dict[str, Array]
    relevances: dict[str, Array]


jax.tree_util.register_dataclass(Taps, ["output", "activations", "relevances"], [])


def taps(
    f: Callable,
    composite: Composite,
    x: PyTree,
    *args: PyTree,
    seed: Seed,
    marks: Sequence[str] | None = None,
) -> Taps:
    """Finds activation and relevance at layers of a function, in one forward and one backward pass.

    Layers are the places of ``mark(x, name)``, the named scopes, and other values, as :func:`xrcam_jax.layers` lists
    them. Nothing is propagated below the lowest one.

    Args:
      f: a function of (x, *args), or an NNX or Equinox module.
      composite: which operation gets which rule.
      x: what the output is explained by, a pytree of arrays.
      *args: the function's other arguments.
      seed: the relevance of the output: arrays of its shapes, or a function of the output that returns them.
      marks: names and globs of the layers that are wanted; all marks by default.

    Returns:
      The output, and for each layer its activation and its relevance.

    Raises:
      ValueError: a name in ``marks`` is not in ``f``, or could be one of several; a mark is set twice; the seed has
        not the output's shape; or a rule does not fit its operation.
      NotImplementedError: a primitive between the output and a layer has no rule, or a layer is inside a branch or a
        loop of unknown length.

    Example:
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> def model(x, w):
      ...     return xr.mark(x * 2, "hidden") @ w
      >>> x, w = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[2.0], [-1.0], [1.0]])
      >>> taps = xr.taps(model, xr.composites.relevance_cam(), x, w, seed=jnp.array([[10.0]]))
      >>> taps.activations["hidden"].tolist(), taps.relevances["hidden"].tolist()
      ([[2.0, 4.0, 6.0]], [[4.0, 0.0, 6.0]])
    """
    closed, structure = trace(f, x, *args)
    values = jax.tree.leaves((x, *args))
    tapped = tap_program(closed, composite, explained_leaves(x, args), values, marks)
    output = jax.tree.unflatten(structure, tapped.outputs)
    relevance = seed(output) if callable(seed) else seed
    check_seed(relevance, output)
    return Taps(output, tapped.activations, tapped.pullback(jax.tree.leaves(relevance)))


def explained_leaves(x: PyTree, args: PyTree) -> list[bool]:
    """Returns for each leaf of (x, *args) whether it is explained: those of ``x`` are.

    Args:
      x: what is explained, a pytree.
      args: the other arguments.

    Example:
      >>> from xrcam_jax.lrp.transform import explained_leaves
      >>> explained_leaves({"a": 1.0, "b": 2.0}, (3.0,))
      [True, True, False]
    """
    return [True] * len(jax.tree.leaves(x)) + [False] * len(jax.tree.leaves(args))


def is_floating(leaf: Any) -> bool:
    """Returns whether an array or a number can carry relevance: whether it is made of floating-point numbers.

    Args:
      leaf: an array, a number or their abstract value.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.transform import is_floating
      >>> is_floating(jnp.ones(2)), is_floating(jnp.array([1, 2]))
      (True, False)
    """
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def check_floating(x: PyTree) -> None:
    """Checks that there is something to explain.

    Args:
      x: what is to be explained, a pytree of arrays.

    Raises:
      TypeError: it has leaves, and none of them holds floating-point numbers.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.transform import check_floating
      >>> check_floating(jnp.array([5, 7, 9]))
      Traceback (most recent call last):
      TypeError: x must hold floating-point numbers to be explained, got int32 of shape (3,); ...
    """
    leaves = jax.tree.leaves(x)
    if leaves and not any(map(is_floating, leaves)):
        found = ", ".join(f"{jnp.result_type(leaf)} of shape {jnp.shape(leaf)}" for leaf in leaves)
        raise TypeError(
            f"x must hold floating-point numbers to be explained, got {found}; the relevance of token ids is that of "
            "their embedding: mark it, and use taps"
        )


class Tapped(NamedTuple):
    """Holds what a traced model computed on its way forward, and the way back.

    Attributes:
      outputs: the leaves of what the model returns.
      activations: the activation at each mark.
      pullback: the map from the relevance of the outputs to that at each mark. It can be mapped over several
        relevances, to explain several targets. Outputs that are no floating-point numbers have none, whatever it says.
      rule: that of the last layer.
    """

    outputs: list[Array]
    activations: dict[str, Array]
    pullback: Callable[[list[Array]], dict[str, Array]]
    rule: Rule | None


def tap_program(
    closed: ClosedJaxpr,
    composite: Composite,
    explained: Sequence[bool],
    values: Sequence[Any],
    marks: Sequence[str] | None,
    *,
    sides: bool = False,
    of_value: bool = False,
) -> Tapped:
    """Runs a traced model forward with taps at its marks; :func:`taps` without a seed.

    Args:
      closed: the jaxpr of the model.
      composite: which operation gets which rule.
      explained: for each of its inputs, whether it is explained.
      values: its inputs.
      marks: names and globs of the layers that are wanted; None means all marks.
      sides: whether the model's one output z is to become (-z, z), see :func:`xrcam_jax.lrp.sides.two_sided`.
      of_value: whether a target function has made that output, see :func:`xrcam_jax.lrp.sides.for_value`.

    Returns:
      The outputs, the activations, and the pullback to the marks.

    Raises:
      ValueError: there is no such layer, or a mark is set twice.
      NotImplementedError: a primitive between the output and a layer has no rule, or the last layer of a model of two
        sides is inside remat, scan or cond.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import xrcam_jax as xr
      >>> from xrcam_jax.lrp.transform import tap_program
      >>> x = jnp.array([1.0, 2.0])
      >>> closed = jax.make_jaxpr(lambda x: 3 * xr.mark(x, "here"))(x)
      >>> tapped = tap_program(closed, xr.composites.gradient(), [True], [x], None)
      >>> tapped.pullback([jnp.array([1.0, 10.0])])["here"].tolist()
      [3.0, 30.0]
    """
    plan, names, rule = planned(closed, composite, explained, marks, sides=sides, of_value=of_value)
    found = marks_of(plan.program)

    def forward(zeros: dict[str, Array]) -> tuple[list[Array], tuple[list[Array], dict[str, Array]]]:
        outputs, activations = plan.run(values, Probes(zeros))
        return [out for out in outputs if is_floating(out)], (outputs, activations)

    zeros = {name: zeros_for(found[name]) for name in names}
    _, pullback, (outputs, activations) = jax.vjp(forward, zeros, has_aux=True)
    floating = [is_floating(out) for out in outputs]

    # JAX sorts dictionaries by their keys.
    def in_order(found: dict[str, Array]) -> dict[str, Array]:
        return {name: found[name] for name in names}

    def back(relevance: list[Array]) -> dict[str, Array]:
        return in_order(pullback(list(compress(relevance, floating)))[0])

    return Tapped(outputs, in_order(activations), back, rule)


def zeros_for(aval: Any) -> Array:
    """Returns zeros like a value, sharded as it is over explicit axes and varying as it does over manual ones.

    Args:
      aval: the abstract value, which has a shape, a dtype and a sharding.

    Returns:
      Zeros of that shape and dtype.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.transform import zeros_for
      >>> zeros_for(jax.typeof(jnp.ones(2))).tolist()
      [0.0, 0.0]
    """
    zeros = jax.lax.full(aval.shape, 0, aval.dtype, sharding=aval.sharding)
    manual = getattr(aval, "manual_axis_type", None)  # called vma before JAX 0.10
    varying = manual.varying if manual is not None else getattr(aval, "vma", ())
    return jax.lax.pcast(zeros, tuple(varying), to="varying") if varying else zeros


def check_seed(seed: PyTree, output: PyTree) -> None:
    """Checks that a seed has the shape of the output.

    Args:
      seed: the relevance of the output, a pytree of arrays.
      output: what the model returns.

    Raises:
      ValueError: it has not; names both shapes.

    Example:
      >>> import jax.numpy as jnp
      >>> from xrcam_jax.lrp.transform import check_seed
      >>> check_seed(jnp.ones(3), jnp.ones((1, 3)))
      Traceback (most recent call last):
      ValueError: seed must have the output's shape (1, 3), got (3,)
    """
    wanted, found = (jax.tree.map(jnp.shape, tree) for tree in (output, seed))
    if wanted != found:
        raise ValueError(f"seed must have the output's shape {wanted}, got {found}")
